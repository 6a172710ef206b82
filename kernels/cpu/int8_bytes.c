/* int8_bytes.c: products of int8 weights with x in 8 bits: bytes from 0 up, of which a row's `zero` stands for 0; on Arm from -128 up,
 * since its instruction takes signed bytes on either side.
 *
 * Four steps of the depth are one instruction (vpdpbusd, sdot). A panel is (in / 4, 2 vectors, LANES, 4 of the depth) bytes, which
 * is what tiles take too. */
#include "kernels/cpu/prepared.h"

#ifdef BFT_INT8_BYTES

#include <math.h>

#ifdef __ARM_FEATURE_DOTPROD
#include <arm_neon.h>
enum { LOWEST = -128 };
#else
enum { LOWEST = 0 };
#endif

typedef uint8_t quarter_u __attribute__((vector_size(BFT_LANES)));

/* sum + the four products of the bytes a, LOWEST and up, and b, from -128 to 127 */
VECTOR_INLINE vi add_products(vi sum, vi a, vi b) {
#if defined(__AVX512VNNI__) && BFT_LANES == 16
    return (vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#elif defined(__ARM_FEATURE_DOTPROD)
    return (vi)vdotq_s32((int32x4_t)sum, (int8x16_t)a, (int8x16_t)b);
#else
    UNROLLED
    for (int byte = 0; byte < 4; byte++) {
        vi left = (vi)((vu)a >> (8 * byte) & 0xFFu), right = (vi)((vu)b << (24 - 8 * byte)) >> 24;
        sum += left * right;
    }
    return sum;
#endif
}

size_t CPU(int8_panel_bytes)(size_t in) {
    return round_up(in, 4) * PANEL_COLUMNS;
}

void CPU(int8_pack)(int8_t *panel, size_t column, const int8_t *weight, size_t in) {
    int8_t *to = panel + column * 4;
    for (size_t i = 0; i < in; i++) {
        to[i / 4 * PANEL_COLUMNS * 4 + i % 4] = weight[i];
    }
}

/* ---- Rounding x ---- */

size_t CPU(int8_row_bytes)(size_t in) {
    return round_up(in, 64) + 64; /* the 64 keep rows of powers of two out of one cache set */
}

/* The least and the largest of x gains and 0. False where one isn't finite: nothing that is made of it may be. */
static bool find_range(const float *x, const float *gains, size_t in, float *least, float *largest) {
    enum { CHAINS = 4 }; /* of which each waits for itself only */
    vf low[CHAINS] = {0}, high[CHAINS] = {0}, hold[CHAINS] = {0};
    size_t i = 0;
    for (; i + CHAINS * LANES <= in; i += CHAINS * LANES) {
        UNROLLED
        for (int c = 0; c < CHAINS; c++) {
            vf v = vf_load(x + i + c * LANES) * vf_load(gains + i + c * LANES);
            low[c] = vf_least(low[c], v);
            high[c] = vf_most(high[c], v);
            hold[c] += v * 0.0f; /* NaN where v isn't finite, and stays so */
        }
    }
    for (; i < in; i += LANES) {
        vf v = vf_load_some(x + i, in - i) * vf_load_some(gains + i, in - i);
        low[0] = vf_least(low[0], v);
        high[0] = vf_most(high[0], v);
        hold[0] += v * 0.0f;
    }
    vf all_low = vf_least(vf_least(low[0], low[1]), vf_least(low[2], low[3]));
    vf all_high = vf_most(vf_most(high[0], high[1]), vf_most(high[2], high[3]));
    vf all_hold = (hold[0] + hold[1]) + (hold[2] + hold[3]);
    UNROLLED
    for (int half = LANES / 2; half > 0; half /= 2) {
        all_low = vf_least(all_low, vf_turn(all_low, half));
        all_high = vf_most(all_high, vf_turn(all_high, half));
        all_hold += vf_turn(all_hold, half);
    }
    *least = all_low[0];
    *largest = all_high[0];
    return all_hold[0] == 0;
}

/* Integers, some perhaps a little below 0 or above 255, to bytes from LOWEST up. */
VECTOR_INLINE quarter_u to_bytes(vi q) {
#if defined(__AVX512F__) && BFT_LANES == 16
    return (quarter_u)_mm512_cvtusepi32_epi8(_mm512_max_epi32((__m512i)q, _mm512_setzero_si512()));
#else
    vi positive = q & ~(q >> 31), least = positive > 255;
    return __builtin_convertvector(((positive & ~least) | (least & 255)) + LOWEST, quarter_u);
#endif
}

int8_row CPU(int8_round)(void *to, const float *x, const float *gains, size_t in) {
    uint8_t *q = to;
    float least, largest;
    bool finite = find_range(x, gains, in, &least, &largest);
    float range = largest - least, scale = finite && range > 1e-30f ? 255 / range : 0;
    float zero = finite ? rintf(-least * scale) : 0;
    int32_t base = (int32_t)zero - 0x4B400000; /* what the bits of 1.5 * 2^23 are, behind which the integer stands */
    for (size_t i = 0; i < in; i += LANES) {
        vf rounded = vf_load_some(x + i, in - i) * vf_load_some(gains + i, in - i) * scale + 0x1.8p23f;
        quarter_u bytes = to_bytes((vi)rounded + base);
        memcpy(q + i, &bytes, sizeof bytes);
    }
    return (int8_row){.step = finite ? range / 255 : NAN, .zero = (int32_t)zero + LOWEST};
}

/* ---- The tile ---- */

VECTOR_INLINE vi load_bytes(const int8_t *p) {
    vi v;
    memcpy(&v, p, sizeof v);
    return v;
}

VECTOR_INLINE void multiply(int rows, const char *x, size_t stride, const int8_t *panel, size_t in, float *sums) {
    vi sum[PANEL_ROWS][2] = {0};
    tile_x at = tile_x_at(x, stride, rows);
    for (size_t i = 0; i < in; i += 4, panel += 8 * LANES, tile_x_step(&at, 4)) {
        vi first = load_bytes(panel), second = load_bytes(panel + 4 * LANES);
        UNROLLED
        for (int r = 0; r < rows; r++) {
            int32_t four;
            memcpy(&four, tile_x_row(&at, r), sizeof four);
            vi left = four - (vi){0};
            sum[r][0] = add_products(sum[r][0], left, first);
            sum[r][1] = add_products(sum[r][1], left, second);
        }
    }
    UNROLLED
    for (int r = 0; r < rows; r++) {
        vf_store(sums + r * PANEL_COLUMNS, (vf)sum[r][0]); /* as bits */
        vf_store(sums + r * PANEL_COLUMNS + LANES, (vf)sum[r][1]);
    }
}

size_t CPU(int8_tile)(size_t rows, const void *x, size_t stride, const int8_t *panel, size_t in, float *sums) {
#ifdef BFT_TILES
    if (rows >= TILE_X_LEAST) {
        CPU(tiles_int8)(blocks_of(in, 4), x, stride, panel, sums);
        return size_min(TILE_X_ROWS, rows);
    }
#endif
    return MULTIPLY_ROWS(rows, x, stride, panel, in, sums);
}

#endif
