/* gemm.c: the matrix product behind linear: blocking, packing, the microkernel, and its epilogue.
 *
 * The depth is cut into slices of about DEPTH. For each slice all of B is packed, then C is worked off in blocks of ROWS rows: a thread
 * packs its block of A, which stays in its L2, and takes B panel by panel through L1. */
#include "kernels/cpu/gemm.h"

#include "kernels/cpu/gelu.h"

#include <math.h>

enum { DEPTH = 768, ROWS = 48, UNITS_PER_THREAD = 8, PANELS_LEAST = 4, LAST_PIECES = 4 };
_Static_assert(ROWS % TILE_ROWS == 0, "a block of A is whole panels");

size_t CPU(gemm_scratch_bytes)(size_t n) {
    return round_up(n, TILE_COLUMNS) * DEPTH * sizeof(float);
}

/* The depth of a slice: all but the last have it. */
static size_t slice_depth(size_t k) {
    return blocks_of(k, blocks_of(k, DEPTH));
}

size_t CPU(gemm_packed_bytes)(size_t n, size_t k) {
    return round_up(n, TILE_COLUMNS) * k * sizeof(float);
}

size_t CPU(gemm_local_count)(void) {
    return (size_t)ROWS * DEPTH;
}

/* ---- Packing ---- */

void CPU(pack_columns)(float *panel, size_t width, const float *x, size_t stride, size_t columns, size_t depth) {
    for (size_t k = 0; k < depth; k++, x += stride, panel += width) {
        size_t c = 0;
        for (; c + LANES <= columns; c += LANES) {
            vf_store(panel + c, vf_load(x + c));
        }
        for (; c + 4 <= columns; c += 4) {
            memcpy(panel + c, x + c, 4 * sizeof *x);
        }
        for (; c < width; c++) {
            panel[c] = c < columns ? x[c] : 0;
        }
    }
}

#if BFT_LANES == 16

enum { ROWS_AT_ONCE = 16 };

/* `rows` <= 16 rows at once, by 16 x 16 blocks; zeros for the rows that aren't there, up to `width` <= 16. A panel's rows are written from
 * the first to the last in whole vectors: what one has beyond the width is overwritten by the next, and cut off in the last. */
static void pack_block(float *panel, size_t stride, size_t width, const float *const *x, size_t rows, size_t depth) {
    for (size_t k = 0; k < depth; k += LANES) {
        size_t count = size_min(LANES, depth - k);
        vf v[LANES];
        UNROLLED
        for (size_t r = 0; r < LANES; r++) {
            v[r] = r < rows ? vf_load_some(x[r] + k, count) : (vf){0};
        }
        vf16_transpose(v);
        float *to = panel + k * stride;
        UNROLLED
        for (size_t i = 0; i < LANES; i++) {
            if (i < count) {
                vf_store_some(to + i * stride, v[i], k + i + 1 == depth ? width : LANES);
            }
        }
    }
}

#else

enum { ROWS_AT_ONCE = 4 };

/* Four rows at once, by 4 x 4 blocks; `rows` fewer of them one by one, and zeros for those that aren't there. */
static void pack_block(float *panel, size_t stride, size_t width, const float *const *x, size_t rows, size_t depth) {
    size_t k = 0;
    for (; rows == 4 && k + 4 <= depth; k += 4) {
        vf4 v[4];
        for (size_t r = 0; r < 4; r++) {
            memcpy(&v[r], x[r] + k, sizeof v[r]);
        }
        vf4_transpose(&v[0], &v[1], &v[2], &v[3]);
        for (size_t r = 0; r < 4; r++) {
            memcpy(panel + (k + r) * stride, &v[r], sizeof v[r]);
        }
    }
    for (; k < depth; k++) {
        for (size_t r = 0; r < width; r++) {
            panel[k * stride + r] = r < rows ? x[r][k] : 0;
        }
    }
}

#endif

/* x are `rows` pointers to rows. */
static void pack_pointed(float *panel, size_t width, const float *const *x, size_t rows, size_t depth) {
    for (size_t r = 0; r < width; r += ROWS_AT_ONCE) {
        size_t count = r < rows ? size_min(ROWS_AT_ONCE, rows - r) : 0;
        pack_block(panel + r, width, size_min(ROWS_AT_ONCE, width - r), x + r, count, depth);
    }
}

void CPU(pack_rows)(float *panel, size_t width, const float *x, size_t stride, size_t rows, size_t depth) {
    const float *row[TILE_COLUMNS] = {0};
    for (size_t r = 0; r < rows; r++) {
        row[r] = x + r * stride;
    }
    pack_pointed(panel, width, row, rows, depth);
}

/* ---- The microkernel ---- */

VECTOR_INLINE void multiply_tile(int vectors, size_t depth, const float *a, const float *b, float *tile) {
    vf sum[TILE_ROWS][TILE_VECTORS] = {0};
    for (size_t k = 0; k < depth; k++) {
        vf right[TILE_VECTORS];
        UNROLLED
        for (int v = 0; v < vectors; v++) {
            right[v] = vf_load(b + v * LANES);
        }
        UNROLLED
        for (int r = 0; r < TILE_ROWS; r++) {
            vf left = vf_set(a[r]);
            UNROLLED
            for (int v = 0; v < vectors; v++) {
                sum[r][v] += left * right[v];
            }
        }
        a += TILE_ROWS;
        b += TILE_COLUMNS;
    }
    UNROLLED
    for (int r = 0; r < TILE_ROWS; r++) {
        UNROLLED
        for (int v = 0; v < vectors; v++) {
            vf_store(tile + r * TILE_COLUMNS + v * LANES, sum[r][v]);
        }
    }
}

void CPU(gemm_tile)(size_t depth, const float *a, const float *b, float *tile) {
    multiply_tile(TILE_VECTORS, depth, a, b, tile);
}

void CPU(gemm_tile_narrow)(size_t columns, size_t depth, const float *a, const float *b, float *tile) {
    if (columns <= LANES) {
        multiply_tile(1, depth, a, b, tile);
    } else if (columns <= 2 * LANES) {
        multiply_tile(2, depth, a, b, tile);
    } else {
        multiply_tile(TILE_VECTORS, depth, a, b, tile);
    }
}

/* ---- The epilogue: a tile goes to C as soon as it is there. The chain of a GELU is long, and a tile's vectors side by side fill
 * it. ---- */

/* x -> f(x), and f'(x) into slope where that is wanted; `count` is whole vectors. */
static void activate(bft_activation activation, size_t count, float *x, float *slope) {
    vf rise;
    switch (activation) {
    case BFT_GELU:
        for (size_t i = 0; i < count && slope == NULL; i += LANES) {
            vf_store(x + i, vf_gelu(vf_load(x + i)));
        }
        for (size_t i = 0; i < count && slope != NULL; i += LANES) {
            vf_store(x + i, vf_gelu_with_slope(vf_load(x + i), &rise));
            vf_store(slope + i, rise);
        }
        break;
    case BFT_TANH:
        for (size_t i = 0; i < count; i++) {
            x[i] = tanhf(x[i]);
            if (slope != NULL) {
                slope[i] = 1 - x[i] * x[i];
            }
        }
        break;
    case BFT_RELU:
        for (size_t i = 0; i < count; i++) {
            if (slope != NULL) {
                slope[i] = x[i] > 0 ? 1 : 0;
            }
            x[i] = x[i] < 0 ? 0 : x[i];
        }
        break;
    case BFT_IDENTITY:
        break;
    }
}

/* to = from + more + bias, of which the last two may be NULL; `count` of the row's elements exist. */
static void finish_row(const float *from, const float *more, const float *bias, size_t count, float *to) {
    for (size_t c = 0; c < count; c += LANES) {
        vf x = vf_load(from + c);
        if (more != NULL) {
            x += vf_load_some(more + c, count - c);
        }
        if (bias != NULL) {
            x += vf_load_some(bias + c, count - c);
        }
        vf_store_some(to + c, x, count - c);
    }
}

/* Which part of C a tile is. */
typedef struct place {
    size_t row, rows, column, columns;
    bool add, last; /* C holds a part of the sum; the sum is complete with this tile */
} place;

/* A tile whose columns are all there. Inlined for each case: the inner loop is two or three vectors. */
VECTOR_INLINE void finish_whole(bool add, const float *bias, size_t rows, const float *tile, float *to, size_t stride) {
    vf more[TILE_VECTORS] = {0};
    for (int v = 0; v < TILE_VECTORS && bias != NULL; v++) {
        more[v] = vf_load(bias + v * LANES);
    }
    for (size_t r = 0; r < rows; r++, tile += TILE_COLUMNS, to += stride) {
        UNROLLED
        for (int v = 0; v < TILE_VECTORS; v++) {
            vf x = vf_load(tile + v * LANES);
            x = add ? x + vf_load(to + v * LANES) : x;
            vf_store(to + v * LANES, bias != NULL ? x + more[v] : x);
        }
    }
}

static void finish_plain(const place *at, const float *bias, const float *tile, float *to, size_t stride) {
    if (at->columns < TILE_COLUMNS) {
        for (size_t r = 0; r < at->rows; r++, tile += TILE_COLUMNS, to += stride) {
            finish_row(tile, at->add ? to : NULL, bias, at->columns, to);
        }
    } else if (at->add && bias != NULL) {
        finish_whole(true, bias, at->rows, tile, to, stride);
    } else if (at->add) {
        finish_whole(true, NULL, at->rows, tile, to, stride);
    } else if (bias != NULL) {
        finish_whole(false, bias, at->rows, tile, to, stride);
    } else {
        finish_whole(false, NULL, at->rows, tile, to, stride);
    }
}

static void finish_tile(const gemm *g, const place *at, float *tile) {
    float *c = g->c + at->row * g->n + at->column;
    const float *bias = at->last && g->bias != NULL ? g->bias + at->column : NULL;
    if (!at->last || g->activation == BFT_IDENTITY) {
        finish_plain(at, bias, tile, c, g->n);
        return;
    }
    for (size_t r = 0; r < at->rows; r++) {
        float *from = tile + r * TILE_COLUMNS;
        finish_row(from, at->add ? c + r * g->n : NULL, bias, at->columns, from);
    }
    place all = {.rows = at->rows, .columns = at->columns};
    _Alignas(64) float slope[TILE_SIZE];
    activate(g->activation, at->rows * TILE_COLUMNS, tile, g->slope != NULL ? slope : NULL);
    finish_plain(&all, NULL, tile, c, g->n);
    if (g->slope != NULL) {
        finish_plain(&all, NULL, slope, g->slope + at->row * g->n + at->column, g->n);
    }
}

/* ---- Blocking ---- */

typedef void tile_product(size_t depth, const float *a, const float *b, float *tile);

/* One slice of the depth. */
typedef struct slice {
    const gemm *g;
    bft_device *device;
    size_t start, depth;
    const float *packed; /* its panels of B */
    size_t panels;       /* of B */
    size_t whole, columns,
        blocks; /* of C: rows of blocks that aren't cut; panels in a cut one's width, and how many lie side by side */
} slice;

/* Where products take bfloat16: panels that lie one behind the other. */
static void round_panels(const bft_device *device, float *panels, size_t width, size_t count, size_t depth) {
    if (device->pairs) {
        for (size_t p = 0; p < count; p++) {
            CPU(bf16_fold)(panels + p * width * depth, width, depth);
        }
    } else if (device->bf16) {
        CPU(bf16_round)(panels, count * width * depth);
    }
}

/* `rows` rows, wherever they lie, to a panel. */
static void pack_panel(const bft_device *device, float *panel, size_t width, const float *const *x, size_t rows,
                       size_t depth) {
#if BFT_LANES == 16
    if (device->pairs) {
        CPU(bf16_pack_pairs)(panel, width, x, rows, depth);
        return;
    }
#endif
    pack_pointed(panel, width, x, rows, depth);
    round_panels(device, panel, width, 1, depth);
}

void CPU(gemm_pack)(const bft_device *device, size_t n, size_t k, size_t panel, const float *const *rows, size_t count,
                    float *panels) {
    size_t columns = round_up(n, TILE_COLUMNS), depth;
    for (size_t start = 0; start < k; start += depth) {
        depth = size_min(slice_depth(k), k - start);
        float *to = panels + columns * start + panel * TILE_COLUMNS * depth;
        const float *at[TILE_COLUMNS] = {0};
        for (size_t r = 0; r < count; r++) {
            at[r] = rows[r] + start;
        }
        pack_panel(device, to, TILE_COLUMNS, at, count, depth);
    }
}

static void pack_b(void *context, size_t panel, int thread) {
    (void)thread;
    const slice *s = context;
    const gemm *g = s->g;
    size_t column = panel * TILE_COLUMNS, count = size_min(TILE_COLUMNS, g->n - column);
    float *to = g->packed + column * s->depth;
    if (g->b_by_depth) {
        CPU(pack_columns)(to, TILE_COLUMNS, g->b + s->start * g->n + column, g->n, count, s->depth);
        round_panels(s->device, to, TILE_COLUMNS, 1, s->depth);
        return;
    }
    const float *at[TILE_COLUMNS] = {0};
    for (size_t r = 0, row = column; r < count; r++, row++) {
        const float *part = g->parts == NULL ? g->b : g->parts[row / g->part_rows];
        at[r] = part + (g->parts == NULL ? row : row % g->part_rows) * g->k + s->start;
    }
    pack_panel(s->device, to, TILE_COLUMNS, at, count, s->depth);
}

/* A block of A that lies by depth: a row of it, `rows` floats side by side, goes to as many panels, four to each. */
static void pack_across(const slice *s, size_t row, size_t rows, float *to) {
    const float *from = s->g->a + s->start * s->g->m + row;
    size_t whole = rows / 4 * 4, behind = round_up(rows, TILE_ROWS);
    for (size_t k = 0; k < s->depth; k++, from += s->g->m) {
        size_t r = 0;
        for (; r < whole; r += 4) {
            memcpy(to + r / TILE_ROWS * TILE_ROWS * s->depth + k * TILE_ROWS + r % TILE_ROWS, from + r,
                   4 * sizeof *from);
        }
        for (; r < behind; r++) {
            to[r / TILE_ROWS * TILE_ROWS * s->depth + k * TILE_ROWS + r % TILE_ROWS] = r < rows ? from[r] : 0;
        }
    }
}

#ifdef BFT_TILES
/* Panels of A as tiles take them. */
static void pack_a_pairs(const slice *s, size_t row, size_t rows, float *to) {
    const gemm *g = s->g;
    for (size_t r = 0; r < rows; r += TILE_ROWS) {
        size_t count = size_min(TILE_ROWS, rows - r);
        float *panel = to + r * s->depth;
        if (g->a_by_depth) {
            CPU(bf16_pack_column_pairs)(panel, g->a + s->start * g->m + row + r, g->m, count, s->depth);
        } else {
            CPU(bf16_pack_row_pairs)(panel, g->a + (row + r) * g->k + s->start, g->k, count, s->depth);
        }
    }
}
#endif

static void pack_a(const slice *s, size_t row, size_t rows, float *to) {
    const gemm *g = s->g;
#ifdef BFT_TILES
    if (s->device->pairs) {
        pack_a_pairs(s, row, rows, to);
        return;
    }
#endif
    if (g->a_by_depth) {
        pack_across(s, row, rows, to);
        round_panels(s->device, to, TILE_ROWS, blocks_of(rows, TILE_ROWS), s->depth);
        return;
    }
    const float *at[ROWS];
    for (size_t r = 0; r < rows; r++) {
        at[r] = g->a + (row + r) * g->k + s->start;
    }
    for (size_t r = 0; r < rows; r += TILE_ROWS) {
        pack_panel(s->device, to + r * s->depth, TILE_ROWS, at + r, size_min(TILE_ROWS, rows - r), s->depth);
    }
}

static void multiply_block(void *context, size_t unit, int thread) {
    const slice *s = context;
    const gemm *g = s->g;
    bool cut = unit >= s->whole;
    size_t row = (cut ? s->whole + (unit - s->whole) / s->blocks : unit) * ROWS, rows = size_min(ROWS, g->m - row);
    size_t first = cut ? (unit - s->whole) % s->blocks * s->columns : 0;
    size_t behind = cut ? size_min(first + s->columns, s->panels) : s->panels;
    place at = {.add = g->add || s->start > 0, .last = s->start + s->depth == g->k};
    float *a = s->device->local[thread];
    _Alignas(64) float tile[TILE_SIZE];
    tile_product *product = s->device->pairs ? CPU(gemm_tile_pairs) : CPU(gemm_tile);
    pack_a(s, row, rows, a);
    if (s->device->pairs) {
        CPU(tiles_begin)(TILE_ROWS, blocks_of(s->depth, 2));
    }
    for (size_t panel = first; panel < behind; panel++) {
        at.column = panel * TILE_COLUMNS;
        at.columns = size_min(TILE_COLUMNS, g->n - at.column);
        for (size_t r = 0; r < rows; r += TILE_ROWS) {
            at.row = row + r;
            at.rows = size_min(TILE_ROWS, rows - r);
            fetch_block(g->c + at.row * g->n + at.column, g->n, at.rows, at.columns);
            product(s->depth, a + r * s->depth, s->packed + at.column * s->depth, tile);
            finish_tile(g, &at, tile);
        }
    }
    if (s->device->pairs) {
        CPU(tiles_end)();
    }
}

/* Few rows are cut by columns too, so that there is work for all threads; of many only the last, so that all threads end at once. That
 * changes no sum, only who computes it. */
static void share_out(slice *s, size_t row_blocks, size_t threads) {
    size_t wanted = threads == 1 ? 1 : UNITS_PER_THREAD * threads, pieces = blocks_of(wanted, row_blocks);
    if (pieces == 1) {
        s->whole = threads == 1 ? row_blocks : row_blocks - threads;
        pieces = LAST_PIECES;
    }
    s->columns = size_max(PANELS_LEAST, blocks_of(s->panels, pieces));
    s->blocks = blocks_of(s->panels, s->columns);
}

void CPU(gemm_run)(bft_device *device, const gemm *g) {
    size_t row_blocks = blocks_of(g->m, ROWS), panels = blocks_of(g->n, TILE_COLUMNS);
    if (g->k == 0 || row_blocks == 0 || panels == 0) {
        return;
    }
    slice s = {.g = g, .device = device, .panels = panels};
    share_out(&s, row_blocks, (size_t)bft_pool_threads(device->pool));
    for (s.start = 0; s.start < g->k; s.start += s.depth) {
        s.depth = size_min(slice_depth(g->k), g->k - s.start);
        s.packed = g->packed;
        if (g->panels != NULL) {
            s.packed = g->panels + panels * TILE_COLUMNS * s.start;
        } else {
            bft_pool_run(device->pool, panels, pack_b, &s);
        }
        bft_pool_run(device->pool, s.whole + (row_blocks - s.whole) * s.blocks, multiply_block, &s);
    }
}
