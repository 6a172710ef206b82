/* vector.h: vectors of floats over the compilers' vector extensions, as wide as the instruction set.
 *
 * One source serves all sets: SSE2 and NEON at 4 lanes, AVX2 at 8, AVX-512 at 16. Defining BFT_LANES compiles the code
 * of a wider set for a machine that lacks it. */
#ifndef BFT_KERNELS_CPU_VECTOR_H
#define BFT_KERNELS_CPU_VECTOR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <immintrin.h>
#endif

#ifndef BFT_LANES
#if defined(__AVX512F__)
#define BFT_LANES 16
#elif defined(__AVX2__)
#define BFT_LANES 8
#else
#define BFT_LANES 4
#endif
#endif

enum { LANES = BFT_LANES };

typedef float vf __attribute__((vector_size(4 * BFT_LANES)));
typedef int32_t vi __attribute__((vector_size(4 * BFT_LANES)));
typedef uint32_t vu __attribute__((vector_size(4 * BFT_LANES)));
typedef uint64_t vq __attribute__((vector_size(4 * BFT_LANES)));
typedef float vf4 __attribute__((vector_size(16)));

#define VECTOR_INLINE static inline __attribute__((always_inline))

/* The loop behind it is laid out flat, so that an array of vectors becomes registers. */
#ifdef __clang__
#define UNROLLED _Pragma("clang loop unroll(full)")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif

VECTOR_INLINE vf vf_set(float x) {
    return x - (vf){0}; /* x - 0 is x for every x, so this folds to a broadcast; 0 + x isn't for x = -0 */
}

VECTOR_INLINE vf vf_load(const float *p) {
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}

VECTOR_INLINE void vf_store(float *p, vf v) {
    memcpy(p, &v, sizeof v);
}

/* ---- Tails: only the first `count` lanes, where count < LANES, else all. What isn't read is 0. ---- */

#if defined(__AVX2__) && BFT_LANES == 8
VECTOR_INLINE __m256i vf_mask(size_t count) {
    static const int32_t ones[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256((const __m256i *)(ones + 8 - count));
}
#endif

VECTOR_INLINE vf vf_load_some(const float *p, size_t count) {
    if (count >= LANES) {
        return vf_load(p);
    }
#if defined(__AVX512F__) && BFT_LANES == 16
    return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), p);
#elif defined(__AVX2__) && BFT_LANES == 8
    return (vf)_mm256_maskload_ps(p, vf_mask(count));
#else
    vf v = {0};
    for (size_t i = 0; i < count; i++) {
        v[i] = p[i];
    }
    return v;
#endif
}

VECTOR_INLINE void vf_store_some(float *p, vf v, size_t count) {
    if (count >= LANES) {
        vf_store(p, v);
        return;
    }
#if defined(__AVX512F__) && BFT_LANES == 16
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << count) - 1), (__m512)v);
#elif defined(__AVX2__) && BFT_LANES == 8
    _mm256_maskstore_ps(p, vf_mask(count), (__m256)v);
#else
    for (size_t i = 0; i < count; i++) {
        p[i] = v[i];
    }
#endif
}

/* v in the first `count` lanes, 0 behind them. */
VECTOR_INLINE vf vf_first(vf v, size_t count) {
    if (count >= LANES) {
        return v;
    }
    for (size_t i = count; i < LANES; i++) {
        v[i] = 0;
    }
    return v;
}

VECTOR_INLINE vf vf_select(vi mask, vf yes, vf no) {
    return (vf)((mask & (vi)yes) | (~mask & (vi)no));
}

VECTOR_INLINE vf vf_max(vf a, vf b) {
    return vf_select(a < b, b, a); /* NaN in a stays */
}

VECTOR_INLINE vf vf_min(vf a, vf b) {
    return vf_select(a > b, b, a);
}

/* The same where a NaN may get lost: one instruction. */
VECTOR_INLINE vf vf_most(vf a, vf b) {
#if defined(__AVX512F__) && BFT_LANES == 16
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__) && BFT_LANES == 8
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return vf_max(a, b);
#endif
}

VECTOR_INLINE vf vf_least(vf a, vf b) {
#if defined(__AVX512F__) && BFT_LANES == 16
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__) && BFT_LANES == 8
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return vf_min(a, b);
#endif
}

VECTOR_INLINE vf vf_abs(vf v) {
    return (vf)((vi)v & 0x7FFFFFFF);
}

/* Each lane gets what is `by` lanes behind it, in a circle: LANES / 2, then half of it and so on bring all lanes together. */
VECTOR_INLINE vf vf_turn(vf v, int by) {
    vf to = v;
    UNROLLED
    for (int i = 0; i < LANES; i++) {
        to[i] = v[(i + by) % LANES];
    }
    return to;
}

VECTOR_INLINE float vf_sum(vf v) {
    UNROLLED
    for (int half = LANES / 2; half > 0; half /= 2) {
        v += vf_turn(v, half);
    }
    return v[0];
}

/* e^x to 1 ulp or so for x <= 88, and e^88 above; NaN stays NaN. Below -87, where e^x nears the subnormal numbers, which
 * processors compute slowly, it is 0.
 * x = n ln 2 + r with |r| <= ln 2 / 2, n by adding and taking away 1.5 * 2^23, ln 2 in two parts of which the first has few enough
 * bits for n * part to be exact; e^r by a polynomial with the least largest relative error (3e-9) among those that
 * start with 1 + r; 2^n by its exponent bits, which stand in the low bits of the sum. */
VECTOR_INLINE vf vf_exp(vf x) {
    vi tiny = x < -87.0f;
    x = vf_min(x, vf_set(88.0f));
    vf shifted = x * 0x1.715476p+0f + 0x1.8p23f;
    vf n = shifted - 0x1.8p23f;
    vf r = (x - n * 0x1.62ep-1f) - n * 0x1.0bfbe8p-15f;
    vf p = vf_set(0x1.6a2434p-10f);
    p = p * r + 0x1.1239e2p-7f;
    p = p * r + 0x1.5558f2p-5f;
    p = p * r + 0x1.555492p-3f;
    p = p * r + 0x1.fffffcp-2f;
    p = p * (r * r) + r;
    vf power = (vf)(((vu)shifted << 23) + 0x3F800000u);
    return (vf)((vi)(power + power * p) & ~tiny);
}

/* The upper tail of the normal distribution, Q(t) = erfc(t / sqrt 2) / 2, for t >= 0, and e^(-t^2 / 2) into *bell.
 * Q(t) e^(t^2 / 2) falls smoothly from 1/2 to about 0.4 / t, which makes it nearly a polynomial in d = 0.3 t / (1 + 0.3 t), from 0 to
 * 1: interpolated in the ten Chebyshev points of 0 <= t <= 14, constant term set to 1/2. Beyond 13.2 the bell
 * is 0. Written with d, which is small where Q is large, it loses least in rounding: 7.3e-8 at most. */
VECTOR_INLINE vf vf_normal_tail(vf t, vf *bell) {
    vf scaled = t * 0.3f;
    vf d = scaled / (scaled + 1.0f);
    vf p = vf_set(0x1.5cb346p-7f);
    p = p * d - 0x1.e6a9c0p-10f;
    p = p * d - 0x1.2f8da8p-4f;
    p = p * d + 0x1.0716d6p-4f;
    p = p * d + 0x1.15ba4ep-3f;
    p = p * d - 0x1.b055b6p-5f;
    p = p * d - 0x1.66598ap-1f;
    p = p * d + 0x1.72b00ep+0f;
    p = p * d - 0x1.546e52p+0f;
    p = p * d + 0.5f;
    *bell = vf_exp(t * t * -0.5f);
    return *bell * p;
}

/* The whole product of each 64-bit lane's lower half: one instruction, which compilers don't find by themselves. */
VECTOR_INLINE vq vq_multiply_low(vq a, uint32_t by) {
#if defined(__AVX512F__) && BFT_LANES == 16
    return (vq)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(by));
#elif defined(__AVX2__) && BFT_LANES == 8
    return (vq)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(by));
#elif defined(__SSE2__) && BFT_LANES == 4
    return (vq)_mm_mul_epu32((__m128i)a, _mm_set1_epi64x(by));
#else
    return (a & 0xFFFFFFFFu) * (uint64_t)by;
#endif
}

/* A 4 x 4 block on its other side. */
VECTOR_INLINE void vf4_transpose(vf4 *a, vf4 *b, vf4 *c, vf4 *d) {
    vf4 ab_low = __builtin_shufflevector(*a, *b, 0, 4, 1, 5), ab_high = __builtin_shufflevector(*a, *b, 2, 6, 3, 7);
    vf4 cd_low = __builtin_shufflevector(*c, *d, 0, 4, 1, 5), cd_high = __builtin_shufflevector(*c, *d, 2, 6, 3, 7);
    *a = __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5);
    *b = __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7);
    *c = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
    *d = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
}

#if BFT_LANES == 16
/* A 16 x 16 block on its other side: 2 x 2 blocks of lanes, then 4 x 4, then the quarters of four vectors. */
VECTOR_INLINE void vf16_transpose(vf v[16]) {
#define LOW2(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define HIGH2(a, b) __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
#define LOW4(a, b) __builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
#define HIGH4(a, b) __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)
#define EVEN(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27)
#define ODD(a, b) __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31)
    vf four[16]; /* [4 g + j]: column j of each quarter, of rows 4 g to 4 g + 3 */
    UNROLLED
    for (int g = 0; g < 16; g += 4) {
        vf low_a = LOW2(v[g], v[g + 1]), low_b = LOW2(v[g + 2], v[g + 3]);
        vf high_a = HIGH2(v[g], v[g + 1]), high_b = HIGH2(v[g + 2], v[g + 3]);
        four[g] = LOW4(low_a, low_b);
        four[g + 1] = HIGH4(low_a, low_b);
        four[g + 2] = LOW4(high_a, high_b);
        four[g + 3] = HIGH4(high_a, high_b);
    }
    UNROLLED
    for (int j = 0; j < 4; j++) {
        vf even_a = EVEN(four[j], four[4 + j]), even_b = EVEN(four[8 + j], four[12 + j]);
        vf odd_a = ODD(four[j], four[4 + j]), odd_b = ODD(four[8 + j], four[12 + j]);
        v[j] = EVEN(even_a, even_b);
        v[4 + j] = EVEN(odd_a, odd_b);
        v[8 + j] = ODD(even_a, even_b);
        v[12 + j] = ODD(odd_a, odd_b);
    }
#undef LOW2
#undef HIGH2
#undef LOW4
#undef HIGH4
#undef EVEN
#undef ODD
}
#endif

#endif
