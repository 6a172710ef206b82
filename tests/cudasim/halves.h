/* halves.h: bfloat16 and IEEE half on the host: their bits, and casts that round to nearest, ties to even, as CUDA's do. */
#ifndef BFT_TESTS_CUDASIM_HALVES_H
#define BFT_TESTS_CUDASIM_HALVES_H

#include <cstdint>
#include <cstring>

struct bf16 {
    uint16_t bits;
};

struct fp16 {
    uint16_t bits;
};

inline uint32_t bits_of(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}

inline float float_of(uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

inline float to_float(bf16 x) {
    return float_of((uint32_t)x.bits << 16);
}

/* The exponent's bias goes from 15 to 127; a subnormal half is its fraction times 2^-24. */
inline float to_float(fp16 x) {
    uint32_t sign = (uint32_t)(x.bits & 0x8000u) << 16, exponent = x.bits >> 10 & 31u, fraction = x.bits & 0x3FFu;
    if (exponent == 31) {
        return float_of(sign | 0x7F800000u | fraction << 13);
    }
    float size = exponent == 0 ? (float)fraction * 0x1p-24f : float_of((exponent + 112) << 23 | fraction << 13);
    return sign != 0 ? -size : size;
}

inline void round_to(float x, bf16 *to) {
    uint32_t bits = bits_of(x);
    to->bits = x != x ? 0x7FFF : (uint16_t)((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

/* Below the smallest normal half the unit is 2^-24, which adding 0.5 to the size makes a float round to. */
inline void round_to(float x, fp16 *to) {
    uint32_t bits = bits_of(x), sign = bits >> 16 & 0x8000u, size = bits & 0x7FFFFFFFu, rounded;
    if (x != x) {
        rounded = 0x7FFF;
    } else if (size >= 0x477FF000u) { /* 65520 and more */
        rounded = 0x7C00u;
    } else if (size < 0x38800000u) {
        rounded = bits_of(float_of(size) + 0.5f) - 0x3F000000u;
    } else {
        rounded = ((size + 0xFFFu + (size >> 13 & 1u)) >> 13) - (112u << 10);
    }
    to->bits = (uint16_t)(sign | rounded);
}

#endif
