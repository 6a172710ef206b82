/* tiles.c: products on AMX's tiles; see tiles.h. A tile of x meets two of weights, whose sums stay in two tiles all along the depth. What
 * is left of the depth has tiles of its own, so that nothing is read behind a row or a panel. */
#include "kernels/cpu/tiles.h"

#ifdef BFT_TILES

/* The eight tiles. Macros, since the intrinsics want numbers. */
#define SUM_0 0
#define SUM_1 1
#define X 2
#define WEIGHT_0 3
#define WEIGHT_1 4
#define X_REST 5
#define WEIGHT_REST_0 6
#define WEIGHT_REST_1 7

enum { STEPS = 16, STEP_BYTES = 4, VECTOR_BYTES = 64, PANEL_STRIDE = 2 * VECTOR_BYTES };

_Static_assert(LANES == 16, "a tile's row is a vector");

/* gcc's intrinsics don't say what they read: all that was to be written by now is. */
#define MEMORY_IS_READ() __asm__ volatile("" ::: "memory")

/* As LDTILECFG reads it. A tile of no rows isn't there. */
typedef struct tile_shapes {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_shapes;
_Static_assert(sizeof(tile_shapes) == 64, "as the processor reads it");

static void set_shape(tile_shapes *shapes, int tile, size_t rows, size_t row_bytes) {
    shapes->rows[tile] = (uint8_t)rows;
    shapes->row_bytes[tile] = (uint16_t)(rows > 0 ? row_bytes : 0);
}

void CPU(tiles_begin)(size_t rows, size_t depth) {
    _Alignas(64) tile_shapes shapes = {.palette = 1};
    size_t rest = depth % STEPS;
    set_shape(&shapes, SUM_0, rows, VECTOR_BYTES);
    set_shape(&shapes, SUM_1, rows, VECTOR_BYTES);
    set_shape(&shapes, X, rows, STEPS * STEP_BYTES);
    set_shape(&shapes, WEIGHT_0, STEPS, VECTOR_BYTES);
    set_shape(&shapes, WEIGHT_1, STEPS, VECTOR_BYTES);
    set_shape(&shapes, X_REST, rest > 0 ? rows : 0, rest * STEP_BYTES);
    set_shape(&shapes, WEIGHT_REST_0, rest, VECTOR_BYTES);
    set_shape(&shapes, WEIGHT_REST_1, rest, VECTOR_BYTES);
    __asm__ volatile("" ::"r"(&shapes) : "memory"); /* as MEMORY_IS_READ, of what no one else sees */
    _tile_loadconfig(&shapes);
}

void CPU(tiles_end)(void) {
    _tile_release();
}

/* One step of x's tile and of both of the weights'. */
#define STEP(multiply, x, weight_0, weight_1)                                                                          \
    do {                                                                                                               \
        _tile_loadd(x, row, stride);                                                                                   \
        _tile_loadd(weight_0, weights, PANEL_STRIDE);                                                                  \
        multiply(SUM_0, x, weight_0);                                                                                  \
        _tile_loadd(weight_1, weights + VECTOR_BYTES, PANEL_STRIDE);                                                   \
        multiply(SUM_1, x, weight_1);                                                                                  \
    } while (0)

/* One for each instruction, which takes numbers of tiles only. */
#define PRODUCT(name, multiply)                                                                                        \
    void CPU(name)(size_t depth, const void *x, size_t stride, const void *panel, float *sums) {                       \
        const char *row = x, *weights = panel;                                                                         \
        MEMORY_IS_READ();                                                                                              \
        _tile_zero(SUM_0);                                                                                             \
        _tile_zero(SUM_1);                                                                                             \
        for (; depth >= STEPS; depth -= STEPS, row += STEPS * STEP_BYTES, weights += STEPS * PANEL_STRIDE) {           \
            STEP(multiply, X, WEIGHT_0, WEIGHT_1);                                                                     \
        }                                                                                                              \
        if (depth > 0) {                                                                                               \
            STEP(multiply, X_REST, WEIGHT_REST_0, WEIGHT_REST_1);                                                      \
        }                                                                                                              \
        _tile_stored(SUM_0, sums, PANEL_STRIDE);                                                                       \
        _tile_stored(SUM_1, sums + LANES, PANEL_STRIDE);                                                               \
    }

PRODUCT(tiles_int8, _tile_dpbusd)
PRODUCT(tiles_bf16, _tile_dpbf16ps)

#endif
