/* prepared.h: the forms of weights for inference, and the tiles that multiply rows with them.
 *
 * A panel is a strip of a weight, PANEL_COLUMNS of its rows (the columns of y), laid out along the depth. Its columns are two
 * vectors of sums; what belongs to one depth of both lies side by side in the lanes of one load. */
#ifndef BFT_KERNELS_CPU_PREPARED_H
#define BFT_KERNELS_CPU_PREPARED_H

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/tiles.h"

/* ---- linear with a prepared weight ---- */

size_t CPU(linear_prepared_scratch)(const bft_linear *op);
void CPU(linear_prepared)(bft_device *device, const bft_linear *op);
void CPU(linear_fp32)(bft_device *device, const bft_linear *op);

/* ---- Tiles ---- */

#if BFT_LANES == 16 || defined(__aarch64__)
#define MANY_REGISTERS 1
#else
#define MANY_REGISTERS 0
#endif

/* Rows of a tile: with two vectors of sums each, two of a panel, one of a row and one product they fill 16 or 32 registers. */
enum { PANEL_COLUMNS = 2 * LANES, PANEL_ROWS = MANY_REGISTERS ? 12 : 6 };

/* The most rows that any of the tiles below takes. */
enum { TAKEN_ROWS = (int)PANEL_ROWS > (int)TILE_X_ROWS ? (int)PANEL_ROWS : (int)TILE_X_ROWS };

/* How many of `rows` rows the next tile takes, one of those that MULTIPLY_ROWS compiles. What is left for two tiles goes in halves: a panel
 * is read once more for each tile. */
static inline size_t tile_rows(size_t rows) {
    size_t half = round_up(blocks_of(rows, 2), 2);
    size_t most = rows > PANEL_ROWS && rows < 2 * PANEL_ROWS ? half : rows;
    return most >= PANEL_ROWS ? PANEL_ROWS : most >= 2 ? most / 2 * 2 : 1;
}

/* multiply(ROWS, ...), compiled for each number of rows that tile_rows gives; gives that number. */
#define MULTIPLY_ROWS(rows, ...)                                                                                       \
    (tile_rows(rows) == 12   ? (multiply(12 < PANEL_ROWS ? 12 : PANEL_ROWS, __VA_ARGS__), (size_t)PANEL_ROWS)          \
     : tile_rows(rows) == 10 ? (multiply(10 < PANEL_ROWS ? 10 : PANEL_ROWS, __VA_ARGS__), (size_t)10)                  \
     : tile_rows(rows) == 8  ? (multiply(8 < PANEL_ROWS ? 8 : PANEL_ROWS, __VA_ARGS__), (size_t)8)                     \
     : tile_rows(rows) == 6  ? (multiply(6, __VA_ARGS__), (size_t)6)                                                   \
     : tile_rows(rows) == 4  ? (multiply(4, __VA_ARGS__), (size_t)4)                                                   \
     : tile_rows(rows) == 2  ? (multiply(2, __VA_ARGS__), (size_t)2)                                                   \
                             : (multiply(1, __VA_ARGS__), (size_t)1))

/* Where a tile's rows of x stand: every third by a pointer, and those between by one and two strides, which addresses have room for. A
 * pointer for each of a dozen rows would leave no register for anything else. */
typedef struct tile_x {
    const char *third[4];
    size_t stride; /* bytes */
} tile_x;

VECTOR_INLINE tile_x tile_x_at(const void *x, size_t stride, int rows) {
    tile_x at = {.stride = stride};
    for (int i = 0; i < 4; i++) {
        at.third[i] = (const char *)x + (3 * i < rows ? 3 * (size_t)i * stride : 0);
    }
    return at;
}

VECTOR_INLINE const void *tile_x_row(const tile_x *x, int row) {
    return x->third[row / 3] + (size_t)(row % 3) * x->stride;
}

VECTOR_INLINE void tile_x_step(tile_x *x, size_t bytes) {
    UNROLLED
    for (int i = 0; i < 4; i++) {
        x->third[i] += bytes;
    }
}

/* ---- int8: weights are rounded to 8 bits, x on the fly, sums are exact ---- */

/* int8.c rounds x to as many of 16 bits as fit, for instructions that multiply these; int8_bytes.c to 8, for those that multiply
 * bytes and add four products to a sum (vpdpbusd, sdot). BFT_INT8_BYTES compiles the latter for a machine that lacks it. */
#if (defined(__AVX512VNNI__) || defined(__ARM_FEATURE_DOTPROD)) && !defined(BFT_INT8_BYTES)
#define BFT_INT8_BYTES
#endif

enum { INT8_DEPTH = 1 << 16 }; /* the most that sums of 32 bits have room for */

size_t CPU(int8_panel_bytes)(size_t in);
/* One column of a panel that began as zeros: (in) integers. */
void CPU(int8_pack)(int8_t *panel, size_t column, const int8_t *weight, size_t in);

/* x_i gains_i = step (q_i - zero). */
typedef struct int8_row {
    float step;
    int32_t zero;
} int8_row;

size_t CPU(int8_row_bytes)(size_t in); /* of a row of x, a multiple of 64 */
int8_row CPU(int8_round)(void *to, const float *x, const float *gains, size_t in);

/* sums (TAKEN_ROWS, PANEL_COLUMNS) = the rounded rows, `stride` bytes apart, times the panel, before zero and the steps: integers, as
 * bits. Returns how many of the rows it took. Tiles read TILE_X_ROWS rows, of which those behind `rows` may hold anything, and
 * want tiles_begin before and tiles_end behind. */
size_t CPU(int8_tile)(size_t rows, const void *x, size_t stride, const int8_t *panel, size_t in, float *sums);

/* ---- bf16: weights are rounded to bfloat16 and widened again in registers; x and sums are floats ---- */

size_t CPU(bf16_panel_bytes)(size_t in);
void CPU(bf16_pack)(uint16_t *panel, size_t column, const float *weight, size_t in);
size_t CPU(bf16_tile)(size_t rows, const float *x, size_t stride, const uint16_t *panel, size_t in, float *sums);

#endif
