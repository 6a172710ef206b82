/* gemm.h: matrix products from packed panels, and the two packings, which attention uses too.
 *
 * A panel is a strip of a matrix, `width` wide, laid out along the depth of the product: (depth, width), zeros where
 * the matrix ends. The microkernel multiplies a strip of TILE_ROWS by one of TILE_COLUMNS into a tile that it holds in registers. */
#ifndef BFT_KERNELS_CPU_GEMM_H
#define BFT_KERNELS_CPU_GEMM_H

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/tiles.h"

/* The tile, in registers: 4 x 3 vectors of 16 registers, 12 x 2 or 8 x 3 of 32, 4 x 2 where a product needs one for itself.
 * Multiples of 4 in height, for packing by 4 x 4 blocks. */
#if BFT_LANES == 16
enum { TILE_ROWS = 12, TILE_VECTORS = 2 };
#elif BFT_LANES == 8
enum { TILE_ROWS = 4, TILE_VECTORS = 3 };
#elif defined(__aarch64__)
enum { TILE_ROWS = 8, TILE_VECTORS = 3 };
#else
enum { TILE_ROWS = 4, TILE_VECTORS = 2 };
#endif
enum { TILE_COLUMNS = TILE_VECTORS * LANES, TILE_SIZE = TILE_ROWS * TILE_COLUMNS };

/* tile (TILE_ROWS, TILE_COLUMNS) = a b^T over panels a (depth, TILE_ROWS), b (depth, TILE_COLUMNS) */
void CPU(gemm_tile)(size_t depth, const float *a, const float *b, float *tile);

/* The same for the tile's first `columns` columns, whole vectors of them; the rest of its rows is left as it is. */
void CPU(gemm_tile_narrow)(size_t columns, size_t depth, const float *a, const float *b, float *tile);

/* gemm_bf16.c: a packed panel's values rounded to bfloat16 in their place; or folded there too, for gemm_tile_pairs. */
bool CPU(bf16_in_pairs)(void); /* whether this processor is made for it */
void CPU(bf16_round)(float *panel, size_t count);
void CPU(bf16_fold)(float *panel, size_t width, size_t depth);
void CPU(gemm_tile_pairs)(size_t depth, const float *a, const float *b, float *tile);
#ifdef BFT_TILES
/* Where tiles multiply, a panel of A is (TILE_ROWS, pairs of depth) instead, whose rows lie as pack_rows and pack_columns have them. */
void CPU(bf16_pack_row_pairs)(float *panel, const float *x, size_t stride, size_t rows, size_t depth);
void CPU(bf16_pack_column_pairs)(float *panel, const float *x, size_t stride, size_t columns, size_t depth);
#endif
#if BFT_LANES == 16
/* A panel packed and folded in one: `rows` <= width pointers to rows of `depth` floats. */
void CPU(bf16_pack_pairs)(float *panel, size_t width, const float *const *x, size_t rows, size_t depth);
#endif

/* The strip's `rows` <= width rows lie as rows of x, `stride` apart: panel[k][r] = x[r][k]. */
void CPU(pack_rows)(float *panel, size_t width, const float *x, size_t stride, size_t rows, size_t depth);

/* The strip's `columns` <= width rows lie as columns of x: panel[k][c] = x[k][c]. */
void CPU(pack_columns)(float *panel, size_t width, const float *x, size_t stride, size_t columns, size_t depth);

/* Asks for a block of a matrix that a tile is about to be written to: memory brings it during the multiplication. */
VECTOR_INLINE void fetch_block(const float *to, size_t stride, size_t rows, size_t columns) {
    enum { LINE = 64 / sizeof(float) };
    for (size_t r = 0; r < rows; r++, to += stride) {
        for (size_t c = 0; c < columns; c += LINE) {
            __builtin_prefetch(to + c, 1);
        }
        __builtin_prefetch(to + columns - 1, 1);
    }
}

/* C = (or +=) A B, then bias and activation. A is (m, k), or lies as (k, m) where a_by_depth; B lies as (k, n) where b_by_depth,
 * else as (n, k), as the weights of a linear layer do. Dense, row-major. */
typedef struct gemm {
    size_t m, n, k;
    const float *a, *b;
    const void *const *parts; /* instead of b, not by depth: its rows in parts of part_rows; or NULL */
    size_t part_rows;
    bool a_by_depth, b_by_depth;
    float *c; /* (m, n) */
    bool add;
    const float *bias; /* (n) or NULL */
    bft_activation activation;
    float *slope;        /* (m, n) derivative of the activation at its input, or NULL */
    float *packed;       /* gemm_scratch_bytes(n) */
    const float *panels; /* all of B as gemm_pack has left it: `b` and `packed` aren't read then; or NULL */
} gemm;

size_t CPU(gemm_scratch_bytes)(size_t n);
void CPU(gemm_run)(bft_device *device, const gemm *g);

/* B (n, k) packed for good: one panel of it, for all slices of the depth. Its rows are rows[0] to rows[count - 1]. */
size_t CPU(gemm_packed_bytes)(size_t n, size_t k);
void CPU(gemm_pack)(const bft_device *device, size_t n, size_t k, size_t panel, const float *const *rows, size_t count,
                    float *panels);

/* Floats of its own that each thread needs: reserved when the device is opened. */
size_t CPU(gemm_local_count)(void);

#endif
