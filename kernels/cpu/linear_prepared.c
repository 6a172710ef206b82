/* linear_prepared.c: linear with weights in a form for inference: packing them, and y = activation(x weight^T + bias).
 *
 * x is worked off in blocks of ROWS rows, panel by panel. A panel goes through L1, and what is made of a tile's sums (steps, bias,
 * activation) is made as soon as they are there: the chain of a GELU is long, and a tile's vectors side by side fill it. */
#include "kernels/cpu/gelu.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/prepared.h"

#include "kernels/quantize.h"

#include <math.h>
#include <sys/mman.h>

enum { ROWS = 48, ROUNDED_ROWS = 4, UNITS_WANTED = 128, PANELS_LEAST = 4 };
_Static_assert(ROWS % PANEL_ROWS == 0 && ROWS % TILE_X_ROWS == 0, "a block is whole tiles");

/* fp32: the panels of gemm_pack stand behind this. Fresh memory for them can take longer to come than a product or two, so weights that
 * last are multiplied once as they lie, and packed when they are asked for again. */
typedef struct fp32_weight {
    bft_weight weight;
    bool used, packed;
} fp32_weight;

static float *panels_of(fp32_weight *w) {
    return (float *)((char *)w + round_up(sizeof *w, 64));
}

/* The bytes of int8 and bf16: all panels, and for int8 behind them each column's step, the sum of its integers, and the gains. */
typedef struct layout {
    size_t panels, panel_bytes, panels_bytes, columns;
} layout;

static layout layout_of(bft_form form, size_t out, size_t in) {
    layout l = {.panels = blocks_of(out, PANEL_COLUMNS)};
    l.panel_bytes = form == BFT_FORM_INT8 ? CPU(int8_panel_bytes)(in) : CPU(bf16_panel_bytes)(in);
    l.columns = l.panels * PANEL_COLUMNS;
    l.panels_bytes = round_up(l.panels * l.panel_bytes, 64);
    return l;
}

size_t CPU(prepared_bytes)(bft_form form, size_t out, size_t in) {
    layout l = layout_of(form, out, in);
    if (form == BFT_FORM_PLAIN || (form == BFT_FORM_INT8 && in > INT8_DEPTH)) {
        return 0;
    }
    if (form == BFT_FORM_FP32) {
        return round_up(sizeof(fp32_weight), 64) + round_up(CPU(gemm_packed_bytes)(out, in), 64);
    }
    return l.panels_bytes + (form == BFT_FORM_INT8 ? round_up((2 * l.columns + in) * sizeof(float), 64) : 0);
}

/* ---- Preparing, a panel a unit ---- */

typedef struct preparing {
    bft_device *device;
    bft_form form;
    const bft_weight *weight;
    size_t out, in;
    char *prepared;
    layout layout;
    float *gains; /* (in), of int8 */
    bool finite;  /* no unit has found a value that isn't */
} preparing;

static const float *row_of(const preparing *p, size_t row) {
    size_t part_rows = p->out / p->weight->parts;
    return (const float *)p->weight->values[row / part_rows] + row % part_rows * p->in;
}

static bool is_finite(const float *x, size_t count) {
    vf hold = {0};
    for (size_t i = 0; i < count; i += LANES) {
        vf v = vf_load_some(x + i, count - i);
        hold += v - v; /* NaN, and stays so */
    }
    return vf_sum(hold) == 0;
}

static void quantize_column(const preparing *p, size_t column, int8_t *panel) {
    const float *weight = row_of(p, column);
    float largest = 0, *step = (float *)(p->prepared + p->layout.panels_bytes) + column;
    int32_t total = 0;
    for (size_t i = 0; i < p->in; i++) {
        largest = fmaxf(largest, fabsf(weight[i] / p->gains[i]));
    }
    *step = bft_quantize_step(largest);
    enum { PIECE = 512 };
    int8_t piece[PIECE];
    for (size_t at = 0; at < p->in; at += PIECE) {
        size_t count = size_min(PIECE, p->in - at);
        for (size_t i = 0; i < count; i++) {
            piece[i] = bft_quantize(weight[at + i] / p->gains[at + i], *step);
            total += piece[i];
        }
        CPU(int8_pack)(panel + CPU(int8_panel_bytes)(at), column % PANEL_COLUMNS, piece, count);
    }
    memcpy(step + p->layout.columns, &total, sizeof total);
}

static void prepare_panel(void *context, size_t unit, int thread) {
    (void)thread;
    preparing *p = context;
    char *panel = p->prepared + unit * p->layout.panel_bytes;
    memset(panel, 0, p->layout.panel_bytes);
    for (size_t c = 0; c < size_min(PANEL_COLUMNS, p->out - unit * PANEL_COLUMNS); c++) {
        size_t column = unit * PANEL_COLUMNS + c;
        if (!is_finite(row_of(p, column), p->in)) {
            __atomic_store_n(&p->finite, false, __ATOMIC_RELAXED);
        }
        if (p->form == BFT_FORM_INT8) {
            quantize_column(p, column, (int8_t *)panel);
        } else {
            CPU(bf16_pack)((uint16_t *)panel, c, row_of(p, column), p->in);
        }
    }
}

static void check_panel(void *context, size_t unit, int thread) {
    (void)thread;
    preparing *p = context;
    for (size_t row = unit * TILE_COLUMNS; row < size_min((unit + 1) * TILE_COLUMNS, p->out); row++) {
        if (!is_finite(row_of(p, row), p->in)) {
            __atomic_store_n(&p->finite, false, __ATOMIC_RELAXED);
        }
    }
}

static void pack_panel(void *context, size_t unit, int thread) {
    (void)thread;
    const preparing *p = context;
    const float *rows[TILE_COLUMNS];
    size_t count = size_min(TILE_COLUMNS, p->out - unit * TILE_COLUMNS);
    for (size_t r = 0; r < count; r++) {
        rows[r] = row_of(p, unit * TILE_COLUMNS + r);
    }
    CPU(gemm_pack)(p->device, p->out, p->in, unit, rows, count, panels_of((fp32_weight *)p->prepared));
}

/* Whether memory comes in huge pages, which take long to come where one word is written and are what panels want. Only advice. */
static void advise(const preparing *p, int advice) {
    enum { PAGE = 4096 };
    uintptr_t from = (uintptr_t)p->prepared / PAGE * PAGE;
    uintptr_t end = (uintptr_t)p->prepared + CPU(prepared_bytes)(BFT_FORM_FP32, p->out, p->in);
    (void)madvise((void *)from, end - from, advice);
}

static void pack_fp32(const preparing *p) {
    advise(p, MADV_HUGEPAGE);
    bft_pool_run(p->device->pool, blocks_of(p->out, TILE_COLUMNS), pack_panel, (void *)p);
    ((fp32_weight *)p->prepared)->packed = true;
}

static bool prepare_fp32(preparing *p) {
    if (p->weight->lasting) {
        advise(p, MADV_NOHUGEPAGE);
    }
    *(fp32_weight *)p->prepared = (fp32_weight){.weight = *p->weight};
    bft_pool_run(p->device->pool, blocks_of(p->out, TILE_COLUMNS), check_panel, p);
    if (!p->weight->lasting) {
        pack_fp32(p);
    }
    return p->finite;
}

static preparing preparing_of(bft_device *device, bft_form form, const bft_weight *weight, void *prepared) {
    preparing p = {device, form, weight, weight->out, weight->in, prepared, layout_of(form, weight->out, weight->in),
                   NULL,   true};
    p.gains = (float *)(p.prepared + p.layout.panels_bytes) + 2 * p.layout.columns;
    return p;
}

bool CPU(prepare)(bft_device *device, bft_form form, const bft_weight *weight, void *prepared) {
    preparing p = preparing_of(device, form, weight, prepared);
    if (form == BFT_FORM_FP32) {
        return prepare_fp32(&p);
    }
    size_t written = p.layout.panels * p.layout.panel_bytes;
    if (form == BFT_FORM_INT8) {
        memset(p.prepared + p.layout.panels_bytes, 0, CPU(prepared_bytes)(form, p.out, p.in) - p.layout.panels_bytes);
        for (size_t i = 0; i < p.in; i++) {
            p.gains[i] = weight->gains == NULL ? 1 : weight->gains[i];
        }
    }
    memset(p.prepared + written, 0, p.layout.panels_bytes - written);
    bft_pool_run(device->pool, p.layout.panels, prepare_panel, &p);
    return p.finite;
}

/* ---- Multiplying: fp32 by the product of plain weights ---- */

void CPU(linear_fp32)(bft_device *device, const bft_linear *op) {
    fp32_weight *weight = op->prepared;
    if (weight->used && !weight->packed) {
        preparing p = preparing_of(device, BFT_FORM_FP32, &weight->weight, op->prepared);
        pack_fp32(&p);
    }
    weight->used = true;
    gemm product = {.m = op->rows,
                    .n = op->out,
                    .k = op->in,
                    .a = op->x,
                    .c = op->y,
                    .bias = op->bias,
                    .activation = op->activation,
                    .packed = op->scratch};
    if (weight->packed) {
        product.panels = panels_of(weight);
    } else {
        product.parts = weight->weight.values;
        product.part_rows = op->out / weight->weight.parts;
    }
    CPU(gemm_run)(device, &product);
}

/* ---- Multiplying: int8 and bf16 ---- */

/* Scratch: x rounded, with room for the rows that the last tile has too many, and what its rows were rounded by. */
static size_t rounded_bytes(const bft_linear *op) {
    return round_up(op->rows, TILE_X_ROWS) * CPU(int8_row_bytes)(op->in);
}

size_t CPU(linear_prepared_scratch)(const bft_linear *op) {
    return op->form == BFT_FORM_INT8 ? rounded_bytes(op) + op->rows * sizeof(int8_row) : 0;
}

typedef struct product {
    const bft_linear *op;
    layout layout;
    size_t columns, blocks; /* panels in a block's width, and how many blocks lie side by side */
    char *rounded;          /* int8: (rows) of int8_row_bytes */
    int8_row *rows;         /* (rows) */
    size_t row_bytes;
    const float *steps, *gains; /* (columns), and behind them the columns' sums; (in) */
} product;

static void round_rows(void *context, size_t unit, int thread) {
    (void)thread;
    const product *p = context;
    const float *x = p->op->x;
    for (size_t r = unit * ROUNDED_ROWS; r < size_min((unit + 1) * ROUNDED_ROWS, p->op->rows); r++) {
        p->rows[r] = CPU(int8_round)(p->rounded + r * p->row_bytes, x + r * p->op->in, p->gains, p->op->in);
    }
}

/* tanh comes behind pooled rows alone. */
static void activate_tanh(size_t count, float *x) {
    for (size_t i = 0; i < count; i++) {
        x[i] = tanhf(x[i]);
    }
}

VECTOR_INLINE vf activate(bft_activation activation, vf x) {
    return activation == BFT_GELU ? vf_gelu(x) : activation == BFT_RELU ? vf_select(x < 0.0f, (vf){0}, x) : x;
}

/* What a panel's columns, a vector of them, have in common. */
typedef struct column {
    vf bias, step;
    vi sum;
} column;

VECTOR_INLINE column column_at(const product *p, size_t at) {
    const bft_linear *op = p->op;
    column c = {0};
    if (op->bias != NULL) {
        c.bias = vf_load_some((const float *)op->bias + at, op->out - at);
    }
    if (op->form == BFT_FORM_INT8) {
        c.step = vf_load(p->steps + at);
        memcpy(&c.sum, p->steps + p->layout.columns + at, sizeof c.sum);
    }
    return c;
}

/* Exact sums of integers to numbers. */
VECTOR_INLINE vf apply_steps(vf bits, const column *c, int8_row row) {
    vi sum = (vi)bits;
#ifdef BFT_INT8_BYTES
    sum -= row.zero * c->sum;
#endif
    return __builtin_convertvector(sum, vf) * (row.step * c->step);
}

/* A tile of sums, (rows, PANEL_COLUMNS), to y: steps, bias and activation in one go. Inlined for each form and activation. */
VECTOR_INLINE void finish_as(bool int8, bft_activation activation, const product *p, size_t row, size_t rows,
                             size_t panel, const float *sums) {
    size_t out = p->op->out, first = panel * PANEL_COLUMNS, count = size_min(PANEL_COLUMNS, out - first);
    bool bias = p->op->bias != NULL;
    column c[2];
    for (size_t v = 0; v < 2; v++) {
        c[v] = column_at(p, count > v * LANES ? first + v * LANES : first);
    }
    const int8_row *of = int8 ? p->rows + row : NULL;
    float *to = (float *)p->op->y + row * out + first;
    for (size_t r = 0; r < rows; r++, sums += PANEL_COLUMNS, to += out) {
        UNROLLED
        for (size_t v = 0; v < 2; v++) {
            vf x = vf_load(sums + v * LANES);
            x = int8 ? apply_steps(x, &c[v], of[r]) : x;
            x = activate(activation, bias ? x + c[v].bias : x);
            if (count > v * LANES) {
                vf_store_some(to + v * LANES, x, count - v * LANES);
            }
        }
    }
}

static void finish_tile(const product *p, size_t row, size_t rows, size_t panel, float *sums) {
    const bft_linear *op = p->op;
    bool int8 = op->form == BFT_FORM_INT8;
    if (op->activation == BFT_GELU) {
        int8 ? finish_as(true, BFT_GELU, p, row, rows, panel, sums)
             : finish_as(false, BFT_GELU, p, row, rows, panel, sums);
    } else if (op->activation == BFT_RELU) {
        int8 ? finish_as(true, BFT_RELU, p, row, rows, panel, sums)
             : finish_as(false, BFT_RELU, p, row, rows, panel, sums);
    } else {
        int8 ? finish_as(true, BFT_IDENTITY, p, row, rows, panel, sums)
             : finish_as(false, BFT_IDENTITY, p, row, rows, panel, sums);
    }
    size_t first = panel * PANEL_COLUMNS;
    for (size_t r = 0; r < rows && op->activation == BFT_TANH; r++) {
        activate_tanh(size_min(PANEL_COLUMNS, op->out - first), (float *)op->y + (row + r) * op->out + first);
    }
}

static void multiply_block(void *context, size_t unit, int thread) {
    (void)thread;
    const product *p = context;
    const bft_linear *op = p->op;
    size_t row = unit / p->blocks * ROWS, rows = size_min(ROWS, op->rows - row);
    size_t first = unit % p->blocks * p->columns, behind = size_min(first + p->columns, p->layout.panels);
    _Alignas(64) float sums[TAKEN_ROWS * PANEL_COLUMNS];
    bool tiles = op->form == BFT_FORM_INT8 && rows >= TILE_X_LEAST;
    if (tiles) {
        CPU(tiles_begin)(TILE_X_ROWS, blocks_of(op->in, 4));
    }
    for (size_t panel = first; panel < behind; panel++) {
        const void *weights = (const char *)op->prepared + panel * p->layout.panel_bytes;
        size_t from = panel * PANEL_COLUMNS, count = size_min(PANEL_COLUMNS, op->out - from);
        for (size_t r = row, taken; r < row + rows; r += taken) {
            size_t left = row + rows - r;
            fetch_block((const float *)op->y + r * op->out + from, op->out, size_min(TAKEN_ROWS, left), count);
            taken = op->form == BFT_FORM_INT8
                        ? CPU(int8_tile)(left, p->rounded + r * p->row_bytes, p->row_bytes, weights, op->in, sums)
                        : CPU(bf16_tile)(left, (const float *)op->x + r * op->in, op->in, weights, op->in, sums);
            finish_tile(p, r, taken, panel, sums);
        }
    }
    if (tiles) {
        CPU(tiles_end)();
    }
}

/* Few rows are cut by columns too, so that there is work for many threads. */
void CPU(linear_prepared)(bft_device *device, const bft_linear *op) {
    product p = {.op = op, .layout = layout_of(op->form, op->out, op->in), .rounded = op->scratch};
    size_t row_blocks = blocks_of(op->rows, ROWS);
    p.columns = size_max(PANELS_LEAST, blocks_of(p.layout.panels, blocks_of(UNITS_WANTED, row_blocks)));
    p.blocks = blocks_of(p.layout.panels, p.columns);
    if (op->form == BFT_FORM_INT8) {
        p.row_bytes = CPU(int8_row_bytes)(op->in);
        p.rows = (int8_row *)(p.rounded + rounded_bytes(op));
        p.steps = (const float *)((const char *)op->prepared + p.layout.panels_bytes);
        p.gains = p.steps + 2 * p.layout.columns;
        bft_pool_run(device->pool, blocks_of(op->rows, ROUNDED_ROWS), round_rows, &p);
    }
    bft_pool_run(device->pool, row_blocks * p.blocks, multiply_block, &p);
}
