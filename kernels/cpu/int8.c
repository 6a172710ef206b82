/* int8.c: products of int8 weights with x in as many bits as their sum leaves room for, up to 16.
 *
 * Two steps of the depth are one: instructions that multiply pairs of 16 bits and add the two products (vpmaddwd) exist
 * everywhere. A panel is (in / 2, LANES, 2 of the depth, 2 vectors) bytes: two bytes beside each other, of the same depth, are made
 * two vectors by shifts, which cost less than instructions that widen bytes. */
#include "kernels/cpu/prepared.h"

#ifndef BFT_INT8_BYTES

typedef int16_t vs __attribute__((vector_size(4 * BFT_LANES)));
typedef uint16_t vus __attribute__((vector_size(4 * BFT_LANES)));
typedef int16_t half_s __attribute__((vector_size(2 * BFT_LANES)));

/* a[2i] b[2i] + a[2i + 1] b[2i + 1] */
VECTOR_INLINE vi multiply_pairs(vi a, vs b) {
#if defined(__AVX512BW__) && BFT_LANES == 16
    return (vi)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__) && BFT_LANES == 8
    return (vi)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__) && BFT_LANES == 4
    return (vi)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
    vi a_low = (vi)((vu)a << 16) >> 16, b_low = (vi)((vu)b << 16) >> 16;
    return a_low * b_low + (a >> 16) * ((vi)b >> 16);
#endif
}

size_t CPU(int8_panel_bytes)(size_t in) {
    return round_up(in, 2) * PANEL_COLUMNS;
}

void CPU(int8_pack)(int8_t *panel, size_t column, const int8_t *weight, size_t in) {
    int8_t *to = panel + column % LANES * 4 + column / LANES;
    for (size_t i = 0; i < in; i++) {
        to[i / 2 * LANES * 4 + i % 2 * 2] = weight[i];
    }
}

/* ---- Rounding x: symmetric, so that zero is 0 ---- */

size_t CPU(int8_row_bytes)(size_t in) {
    return (round_up(in, 32) + 32) * sizeof(int16_t); /* the 32 keep rows of powers of two out of one cache set */
}

/* The largest |x gains| as bits, among which NaN is the largest and so isn't lost. */
static float largest_of(const float *x, const float *gains, size_t in) {
    vi most = {0};
    for (size_t i = 0; i < in; i += LANES) {
        vi bits = (vi)vf_abs(vf_load_some(x + i, in - i) * vf_load_some(gains + i, in - i));
        vi less = most < bits;
        most = (bits & less) | (most & ~less);
    }
    int32_t bits = 0;
    for (int i = 0; i < LANES; i++) {
        bits = most[i] > bits ? most[i] : bits;
    }
    float largest;
    memcpy(&largest, &bits, sizeof largest);
    return largest;
}

int8_row CPU(int8_round)(void *to, const float *x, const float *gains, size_t in) {
    int16_t *q = to;
    size_t room = (size_t)INT32_MAX / 127 / in;
    float most = (float)size_min(room, INT16_MAX), largest = largest_of(x, gains, in);
    float scale = largest > 1e-30f ? most / largest : 0;
    for (size_t i = 0; i < in; i += LANES) {
        vf shifted = vf_load_some(x + i, in - i) * vf_load_some(gains + i, in - i) * scale +
                     0x1.8p23f; /* the integer stands in the low bits */
        half_s rounded = __builtin_convertvector((vi)shifted, half_s);
        memcpy(q + i, &rounded, sizeof rounded);
    }
    return (int8_row){.step = largest / most};
}

/* ---- The tile ---- */

VECTOR_INLINE void multiply(int rows, const char *x, size_t stride, const int8_t *panel, size_t in, float *sums) {
    vi sum[PANEL_ROWS][2] = {0};
    tile_x at = tile_x_at(x, stride, rows);
    for (size_t i = 0; i < in; i += 2, panel += 4 * LANES, tile_x_step(&at, 2 * sizeof(int16_t))) {
        vs both;
        memcpy(&both, panel, sizeof both);
        vs first = (vs)((vus)both << 8) >> 8, second = both >> 8;
        UNROLLED
        for (int r = 0; r < rows; r++) {
            int32_t pair;
            memcpy(&pair, tile_x_row(&at, r), sizeof pair);
            vi left = pair - (vi){0};
            sum[r][0] += multiply_pairs(left, first);
            sum[r][1] += multiply_pairs(left, second);
        }
    }
    UNROLLED
    for (int r = 0; r < rows; r++) {
        vf_store(sums + r * PANEL_COLUMNS, (vf)sum[r][0]); /* as bits */
        vf_store(sums + r * PANEL_COLUMNS + LANES, (vf)sum[r][1]);
    }
}

size_t CPU(int8_tile)(size_t rows, const void *x, size_t stride, const int8_t *panel, size_t in, float *sums) {
    return MULTIPLY_ROWS(rows, x, stride, panel, in, sums);
}

#endif
