/* gemm_bf16.c: matrix products of factors rounded to bfloat16, summed in fp32.
 *
 * Panels are packed as floats and then rounded where they lie. Most processors multiply the rounded floats as they stand, which
 * is no faster, but the same arithmetic. Those with vdpbf16ps (AVX512-BF16) multiply two pairs a lane: there a panel is folded to
 * (depth / 2, width) pairs; and tiles want the pairs of A's rows side by side. BFT_BF16_PAIRS compiles and takes the second way on a
 * machine that lacks it. */
#include "kernels/cpu/gemm.h"

#include "kernels/quantize.h"

bool CPU(bf16_in_pairs)(void) {
#if defined(BFT_BF16_PAIRS) || defined(BFT_TILES)
    return true;
#elif defined(__AVX512F__)
    return __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

/* To bfloat16 with ties to even, as a float. NaN stays: adding to its bits could make it another number. */
VECTOR_INLINE vu rounded(vf x) {
    vu bits = (vu)x, to = (bits + 0x7FFFu + (bits >> 16 & 1u)) & 0xFFFF0000u;
    vi number = (vi)(x == x);
    return (to & (vu)number) | ((bits | 0x00400000u) & 0xFFFF0000u & ~(vu)number);
}

void CPU(bf16_round)(float *panel, size_t count) {
    for (size_t i = 0; i < count; i += LANES) {
        vf_store_some(panel + i, (vf)rounded(vf_load_some(panel + i, count - i)), count - i);
    }
}

#if defined(__AVX512F__) && BFT_LANES == 16
#define PAIRS __attribute__((target("avx512bf16")))

/* Rounds as `rounded`, but for numbers below the normal ones, which vdpbf16ps takes for 0 anyway. */
PAIRS static inline vf fold(vf low, vf high) {
    const vi turn = {0x100000, 0x110001, 0x120002, 0x130003, 0x140004, 0x150005, 0x160006, 0x170007,
                     0x180008, 0x190009, 0x1A000A, 0x1B000B, 0x1C000C, 0x1D000D, 0x1E000E, 0x1F000F};
    return (vf)_mm512_permutexvar_epi16((__m512i)turn, (__m512i)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low));
}

/* Those of a row, 32 floats, to 16 pairs. */
PAIRS static inline vf neighbours(vf low, vf high) {
    return (vf)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low);
}

#else
#define PAIRS
static inline vf fold(vf low, vf high) {
    return (vf)(rounded(low) >> 16 | rounded(high));
}

#if BFT_LANES == 16
static inline vf neighbours(vf low, vf high) {
    vu a = rounded(low), b = rounded(high);
    vu even = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    vu odd = __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    return (vf)(even >> 16 | odd);
}
#endif

#endif

/* Row p of pairs, of rows 2p and 2p + 1 of floats, lies before both, so that the panel can be folded in its own place. */
PAIRS void CPU(bf16_fold)(float *panel, size_t width, size_t depth) {
    for (size_t k = 0; k < depth; k += 2) {
        const float *low = panel + k * width, *high = low + width;
        float *to = panel + k / 2 * width;
        for (size_t i = 0; i < width; i += LANES) {
            size_t count = width - i;
            vf b = k + 1 < depth ? vf_load_some(high + i, count) : (vf){0};
            vf_store_some(to + i, fold(vf_load_some(low + i, count), b), count);
        }
    }
}

#if BFT_LANES == 16
/* Up to 16 rows, `width` of the panel's `stride`: as pack_block in gemm.c, but of pairs. */
PAIRS static void pack_pairs(float *panel, size_t stride, size_t width, const float *const *x, size_t rows,
                             size_t depth) {
    size_t pairs = (depth + 1) / 2;
    for (size_t p = 0; p < pairs; p += LANES) {
        size_t count = size_min(LANES, pairs - p), left = depth - 2 * p;
        vf v[LANES];
        UNROLLED
        for (size_t r = 0; r < LANES; r++) {
            v[r] = (vf){0};
            if (r < rows) {
                const float *from = x[r] + 2 * p;
                vf high = left > LANES ? vf_load_some(from + LANES, left - LANES) : (vf){0};
                v[r] = neighbours(vf_load_some(from, left), high);
            }
        }
        vf16_transpose(v);
        UNROLLED
        for (size_t i = 0; i < LANES; i++) {
            if (i < count) {
                vf_store_some(panel + (p + i) * stride, v[i], p + i + 1 == pairs ? width : LANES);
            }
        }
    }
}

void CPU(bf16_pack_pairs)(float *panel, size_t width, const float *const *x, size_t rows, size_t depth) {
    for (size_t r = 0; r < width; r += LANES) {
        size_t count = r < rows ? size_min(LANES, rows - r) : 0;
        pack_pairs(panel + r, width, size_min(LANES, width - r), x + r, count, depth);
    }
}
#endif

#ifdef BFT_TILES

PAIRS void CPU(bf16_pack_row_pairs)(float *panel, const float *x, size_t stride, size_t rows, size_t depth) {
    size_t pairs = blocks_of(depth, 2);
    memset(panel + rows * pairs, 0, (TILE_ROWS - rows) * pairs * sizeof *panel);
    for (size_t r = 0; r < rows; r++) {
        for (size_t p = 0; p < pairs; p += LANES) {
            const float *from = x + r * stride + 2 * p;
            size_t left = depth - 2 * p;
            vf high = left > LANES ? vf_load_some(from + LANES, left - LANES) : (vf){0};
            vf_store_some(panel + r * pairs + p, neighbours(vf_load_some(from, left), high), pairs - p);
        }
    }
}

PAIRS void CPU(bf16_pack_column_pairs)(float *panel, const float *x, size_t stride, size_t columns, size_t depth) {
    size_t pairs = blocks_of(depth, 2);
    for (size_t p = 0; p < pairs; p += LANES) {
        vf v[LANES];
        UNROLLED
        for (size_t i = 0; i < LANES; i++) {
            v[i] = (vf){0};
            if (p + i < pairs) {
                const float *low = x + 2 * (p + i) * stride;
                vf high = 2 * (p + i) + 1 < depth ? vf_load_some(low + stride, columns) : (vf){0};
                v[i] = fold(vf_load_some(low, columns), high);
            }
        }
        vf16_transpose(v);
        for (size_t r = 0; r < TILE_ROWS; r++) {
            vf_store_some(panel + r * pairs + p, v[r], pairs - p);
        }
    }
}

/* As gemm_tile, over row pairs and a folded panel, between tiles_begin and tiles_end. */
void CPU(gemm_tile_pairs)(size_t depth, const float *a, const float *b, float *tile) {
    size_t pairs = blocks_of(depth, 2);
    CPU(tiles_bf16)(pairs, a, pairs * sizeof *a, b, tile);
}

#else

#if defined(__AVX512F__) && BFT_LANES == 16
PAIRS static inline vf multiply_pairs(vf sum, vf a, vf b) {
    return (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}
#else
static inline vf multiply_pairs(vf sum, vf a, vf b) {
    vf low = (vf)((vu)a << 16) * (vf)((vu)b << 16);
    return sum + low + (vf)((vu)a & 0xFFFF0000u) * (vf)((vu)b & 0xFFFF0000u);
}
#endif

/* As gemm_tile, over folded panels. */
PAIRS void CPU(gemm_tile_pairs)(size_t depth, const float *a, const float *b, float *tile) {
    vf sum[TILE_ROWS][TILE_VECTORS] = {0};
    for (size_t k = 0; k < depth; k += 2) {
        vf right[TILE_VECTORS];
        UNROLLED
        for (int v = 0; v < TILE_VECTORS; v++) {
            memcpy(&right[v], b + v * LANES, sizeof right[v]);
        }
        UNROLLED
        for (int r = 0; r < TILE_ROWS; r++) {
            uint32_t pair;
            memcpy(&pair, a + r, sizeof pair);
            vf left = (vf)(pair + (vu){0});
            UNROLLED
            for (int v = 0; v < TILE_VECTORS; v++) {
                sum[r][v] = multiply_pairs(sum[r][v], left, right[v]);
            }
        }
        a += TILE_ROWS;
        b += TILE_COLUMNS;
    }
    memcpy(tile, sum, sizeof sum);
}

#endif
