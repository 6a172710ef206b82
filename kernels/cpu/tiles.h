/* tiles.h: products on AMX's tiles, registers of 16 rows of 64 bytes; Intel 64 and IA-32 Architectures Software Developer's Manual,
 * TDPBUSD and TDPBF16PS.
 *
 * Each step of the depth is 4 bytes: four of int8, or a pair of bfloat16. Rows of x lie as they are, `stride` bytes apart; a panel of
 * weights is (depth, 2 vectors, LANES, 4 bytes), as int8_bytes.c and gemm_bf16.c pack them anyway.
 * BFT_TILES compiles it in; for a machine that lacks AMX with tests/ops/amx.h, which has the intrinsics in C. */
#ifndef BFT_KERNELS_CPU_TILES_H
#define BFT_KERNELS_CPU_TILES_H

#include "kernels/cpu/cpu.h"

#ifdef BFT_TILES
/* The most rows of x, and the fewest for which tiles should be faster than vectors. */
enum { TILE_X_ROWS = 16, TILE_X_LEAST = 4 };

/* Sets the thread's tiles up for products of `rows` <= TILE_X_ROWS rows with this depth, until tiles_end. Not cheap: once for all of
 * a unit. */
void CPU(tiles_begin)(size_t rows, size_t depth);
void CPU(tiles_end)(void);

/* sums (rows, 2 LANES) = x times the panel: integers as bits, of unsigned bytes of x; or floats. */
void CPU(tiles_int8)(size_t depth, const void *x, size_t stride, const void *panel, float *sums);
void CPU(tiles_bf16)(size_t depth, const void *x, size_t stride, const void *panel, float *sums);
#else
enum { TILE_X_ROWS = 1, TILE_X_LEAST = 1 };

static inline void CPU(tiles_begin)(size_t rows, size_t depth) {
    (void)rows, (void)depth;
}

static inline void CPU(tiles_end)(void) {
}
#endif

#endif
