/* quantize.h: how weights are rounded, in one place, so that all backends have the same. */
#ifndef BFT_KERNELS_QUANTIZE_H
#define BFT_KERNELS_QUANTIZE_H

#include <float.h>
#include <stdint.h>
#include <string.h>

/* The step of a row whose largest |w| this is. A row of zeros, or nearly so, gets 1, and is zeros. */
static inline float bft_quantize_step(float largest) {
    float step = largest / 127;
    return step < FLT_MIN ? 1 : step;
}

/* w / step to the nearest integer, ties to even, from -127 to 127: adding 1.5 * 2^23 leaves it in the sum's low bits. Written
 * as a division, which no compiler contracts with the sum. */
static inline int8_t bft_quantize(float w, float step) {
    float shifted = w / step + 0x1.8p23f;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    return (int8_t)(uint8_t)bits;
}

/* To bfloat16, ties to even; w is finite. */
static inline uint16_t bft_to_bf16(float w) {
    uint32_t bits;
    memcpy(&bits, &w, sizeof bits);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

static inline float bft_from_bf16(uint16_t value) {
    uint32_t bits = (uint32_t)value << 16;
    float w;
    memcpy(&w, &bits, sizeof w);
    return w;
}

#endif
