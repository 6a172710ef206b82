/* attention.c: softmax(q k^T / sqrt(D)) v; a unit is a sequence and a head, the longest sequences first.
 *
 * Scores stand on their side, keys down and TILE_COLUMNS queries across: the softmax then works on whole vectors, with no
 * tails and no sums across lanes, and a panel of scores is packed as it is for the product with v. Queries are taken a
 * panel at a time, so a thread needs memory for T x TILE_COLUMNS scores, never T x T. Nothing is saved: the backward
 * computes the probabilities again. */
#include "kernels/cpu/attention.h"

#include <math.h>

/* Scratch: the order of the sequences. Panels lie in the threads' own memory, which grows with T. */
void CPU(attention_memory)(const bft_attention *op, bft_memory *out) {
    *out = (bft_memory){.saved = 0, .scratch = op->batch * sizeof(uint32_t)};
}

static head head_of(const bft_attention *op, size_t unit) {
    const uint32_t *order = op->scratch;
    size_t b = order[unit / op->heads], h = unit % op->heads, size = op->head_size;
    size_t query = op->query_start[b], key = op->key_start[b], wide = op->heads * size;
    return (head){.op = op,
                  .sequence = b,
                  .head = h,
                  .keys = op->key_start[b + 1] - key,
                  .queries = op->query_start[b + 1] - query,
                  .size = size,
                  .padded = round_up(size, TILE_ROWS),
                  .q_first = query * op->q_stride + h * size,
                  .kv_first = key * op->kv_stride + h * size,
                  .y_first = query * wide + h * size,
                  .y_stride = wide,
                  .scale = 1 / sqrtf((float)size)};
}

/* ---- Panels ---- */

/* Keys (or values) as the rows of a product over the head's size: strips of TILE_ROWS keys. */
static void pack_keys(const head *h, const float *x, float *to) {
    for (size_t key = 0; key < h->keys; key += TILE_ROWS) {
        size_t rows = size_min(TILE_ROWS, h->keys - key), stride = h->op->kv_stride;
        CPU(pack_rows)(to + key * h->size, TILE_ROWS, x + key * stride, stride, rows, h->size);
    }
}

/* Rows of a head, `count` of them in the first of `depth` places, as the depth of a product that gives D rows. */
static void pack_depth(const head *h, const float *x, size_t stride, size_t count, size_t depth, float *to) {
    for (size_t d = 0; d < h->size; d += TILE_ROWS) {
        float *strip = to + d * depth;
        CPU(pack_columns)(strip, TILE_ROWS, x + d, stride, size_min(TILE_ROWS, h->size - d), count);
        memset(strip + count * TILE_ROWS, 0, (depth - count) * TILE_ROWS * sizeof *strip);
    }
}

/* How many of `left` queries the next panel takes, and in *wide how many of its columns are worked on: whole vectors. One vector
 * alone keeps half of the multipliers waiting for its sums, so a little more than a panel goes in halves. */
static size_t next_panel(size_t left, size_t *wide) {
    size_t most = left > TILE_COLUMNS && left <= TILE_COLUMNS + LANES && TILE_VECTORS > 2 ? 2 * LANES : TILE_COLUMNS;
    size_t count = size_min(left, most);
    *wide = round_up(count, LANES);
    return count;
}

/* panel (keys, wide) = packed keys times a packed panel of queries (D, wide), rows TILE_COLUMNS apart */
static void multiply_keys(const head *h, size_t wide, const float *keys, const float *queries, float *panel) {
    for (size_t key = 0; key < h->keys; key += TILE_ROWS) {
        CPU(gemm_tile_narrow)(wide, h->size, keys + key * h->size, queries, panel + key * TILE_COLUMNS);
    }
}

/* panel (D, wide) = packed columns of depth `depth` times a panel (depth, wide) */
static void multiply_depth(const head *h, size_t wide, size_t depth, const float *columns, const float *right,
                           float *panel) {
    for (size_t d = 0; d < h->size; d += TILE_ROWS) {
        CPU(gemm_tile_narrow)(wide, depth, columns + d * depth, right, panel + d * TILE_COLUMNS);
    }
}

/* The same, += */
static void add_depth(const head *h, size_t wide, size_t depth, const float *columns, const float *right,
                      float *panel) {
    _Alignas(64) float tile[TILE_SIZE];
    for (size_t d = 0; d < h->size; d += TILE_ROWS) {
        CPU(gemm_tile_narrow)(wide, depth, columns + d * depth, right, tile);
        for (size_t r = 0; r < TILE_SIZE; r += TILE_COLUMNS) {
            float *to = panel + d * TILE_COLUMNS + r;
            for (size_t v = 0; v < wide; v += LANES) {
                vf_store(to + v, vf_load(to + v) + vf_load(tile + r + v));
            }
        }
    }
}

/* Columns of a panel (D, TILE_COLUMNS) out to rows of a tensor. */
#if BFT_LANES == 16
static void unpack(const head *h, const float *panel, size_t count, float *to, size_t stride) {
    for (size_t d = 0; d < h->size; d += LANES) {
        for (size_t c = 0; c < count; c += LANES) {
            vf v[LANES];
            UNROLLED
            for (size_t i = 0; i < LANES; i++) {
                v[i] = d + i < h->size ? vf_load(panel + (d + i) * TILE_COLUMNS + c) : (vf){0};
            }
            vf16_transpose(v);
            UNROLLED
            for (size_t i = 0; i < LANES; i++) {
                if (c + i < count) {
                    vf_store_some(to + (c + i) * stride + d, v[i], h->size - d);
                }
            }
        }
    }
}
#else
static void unpack(const head *h, const float *panel, size_t count, float *to, size_t stride) {
    size_t d = 0;
    for (; d + 4 <= h->size; d += 4) {
        for (size_t c = 0; c < count; c += 4) {
            vf4 v[4];
            for (size_t i = 0; i < 4; i++) {
                memcpy(&v[i], panel + (d + i) * TILE_COLUMNS + c, sizeof v[i]);
            }
            vf4_transpose(&v[0], &v[1], &v[2], &v[3]);
            for (size_t i = 0; i < size_min(4, count - c); i++) {
                memcpy(to + (c + i) * stride + d, &v[i], sizeof v[i]);
            }
        }
    }
    for (; d < h->size; d++) {
        for (size_t c = 0; c < count; c++) {
            to[c * stride + d] = panel[d * TILE_COLUMNS + c];
        }
    }
}
#endif

/* ---- Softmax, down the columns; s becomes p. ---- */
static void softmax(size_t keys, size_t wide, float scale, float *panel) {
    for (float *s = panel; s < panel + wide; s += LANES) {
        vf largest = vf_load(s), sum = {0};
        for (size_t i = 1; i < keys; i++) {
            largest = vf_most(largest, vf_load(s + i * TILE_COLUMNS)); /* a NaN shows in its exponential */
        }
        for (size_t i = 0; i < keys; i++) {
            vf e = vf_exp((vf_load(s + i * TILE_COLUMNS) - largest) * scale);
            sum += e;
            vf_store(s + i * TILE_COLUMNS, e);
        }
        vf share = 1.0f / sum;
        for (size_t i = 0; i < keys; i++) {
            vf_store(s + i * TILE_COLUMNS, vf_load(s + i * TILE_COLUMNS) * share);
        }
    }
}

static void multiply(size_t keys, size_t wide, float *x, const float *factors) {
    for (size_t i = 0; i < keys * TILE_COLUMNS; i += TILE_COLUMNS) {
        for (size_t v = i; v < i + wide; v += LANES) {
            vf_store(x + v, vf_load(x + v) * vf_load(factors + v));
        }
    }
}

/* The longest first, so that no thread begins a long one when the others are done. */
static void order_sequences(const bft_attention *op) {
    uint32_t *order = op->scratch;
    for (uint32_t b = 0; b < op->batch; b++) {
        uint32_t length = op->key_start[b + 1] - op->key_start[b], at = b;
        for (; at > 0 && op->key_start[order[at - 1] + 1] - op->key_start[order[at - 1]] < length; at--) {
            order[at] = order[at - 1];
        }
        order[at] = b;
    }
}

/* A thread's memory, cut into panels. */
typedef struct cut {
    float *next;
} cut;

static float *take(cut *c, size_t rows, size_t width) {
    float *panel = c->next;
    c->next += round_up(rows * width, 64 / sizeof *panel);
    return panel;
}

typedef struct task {
    const bft_attention *op;
    bft_device *device;
} task;

/* Floats in `panels` panels of D rows and T columns, and `scores` of T rows and TILE_COLUMNS, all generously rounded. */
static size_t panel_count(const bft_attention *op, size_t panels, size_t scores) {
    size_t size = round_up(op->head_size, TILE_ROWS), keys = round_up(op->longest, TILE_ROWS * TILE_COLUMNS);
    return panels * size * (keys + TILE_COLUMNS) + scores * keys * TILE_COLUMNS + 1024;
}

/* ---- Forward ---- */

static void head_forward(void *context, size_t unit, int thread) {
    const task *t = context;
    const bft_attention *op = t->op;
    head h = head_of(op, unit);
    if (h.queries == 1) {
        CPU(attention_first_forward)(&h, t->device->local[thread]);
        return;
    }
    cut c = {t->device->local[thread]};
    size_t rows = round_up(h.keys, TILE_ROWS);
    float *keys = take(&c, rows, h.size), *values = take(&c, h.keys, h.padded);
    float *queries = take(&c, h.padded, TILE_COLUMNS), *scores = take(&c, rows, TILE_COLUMNS);
    float *factors = take(&c, rows, TILE_COLUMNS);
    pack_keys(&h, (const float *)op->k + h.kv_first, keys);
    pack_depth(&h, (const float *)op->v + h.kv_first, op->kv_stride, h.keys, h.keys, values);
    for (size_t query = 0, count, wide; query < h.queries; query += count) {
        count = next_panel(h.queries - query, &wide);
        const float *q = (const float *)op->q + h.q_first + query * op->q_stride;
        CPU(pack_rows)(queries, TILE_COLUMNS, q, op->q_stride, count, h.size);
        multiply_keys(&h, wide, keys, queries, scores);
        softmax(h.keys, wide, h.scale, scores);
        if (op->dropout.rate > 0) {
            CPU(dropout_panel)(&op->dropout, h.sequence, h.head, query, wide, h.keys, factors);
            multiply(h.keys, wide, scores, factors);
        }
        multiply_depth(&h, wide, h.keys, values, scores, queries);
        unpack(&h, queries, count, (float *)op->y + h.y_first + query * h.y_stride, h.y_stride);
    }
}

static void run(bft_device *device, const bft_attention *op, size_t local, bft_work *work) {
    if (CPU(device_reserve)(device, size_max(local, CPU(attention_first_count)(op->longest)))) {
        order_sequences(op);
        bft_pool_run(device->pool, op->batch * op->heads, work, &(task){op, device});
    }
}

void CPU(attention_forward)(bft_device *device, const bft_attention *op) {
    run(device, op, panel_count(op, 3, 2), head_forward);
}

/* ---- Backward ----
 * With P the probabilities, M the dropout factors: y = (P M) v, so dv = (P M)^T dy and dP = (dy v^T) M; through the
 * softmax dS = P (dP - sum(P dP)); and S = q k^T / sqrt(D). */

typedef struct workspace {
    float *keys, *values;         /* strips of keys, over D */
    float *keys_deep;             /* k with the keys as depth */
    float *dkeys, *dvalues;       /* (keys / TILE_COLUMNS, D, TILE_COLUMNS) sums over the queries */
    float *queries, *dout;        /* (D, TILE_COLUMNS) */
    float *queries_deep, *d_deep; /* q and dy with the queries as depth */
    float *p, *dp, *factors;      /* (keys, TILE_COLUMNS) */
    float *turned;                /* (TILE_COLUMNS queries, TILE_COLUMNS keys) */
} workspace;

static workspace workspace_of(const head *h, float *local) {
    cut c = {local};
    size_t rows = round_up(h->keys, TILE_ROWS), columns = round_up(h->keys, TILE_COLUMNS);
    return (workspace){.keys = take(&c, rows, h->size),
                       .values = take(&c, rows, h->size),
                       .keys_deep = take(&c, h->keys, h->padded),
                       .dkeys = take(&c, columns, h->padded),
                       .dvalues = take(&c, columns, h->padded),
                       .queries = take(&c, h->padded, TILE_COLUMNS),
                       .dout = take(&c, h->padded, TILE_COLUMNS),
                       .queries_deep = take(&c, h->padded, TILE_COLUMNS),
                       .d_deep = take(&c, h->padded, TILE_COLUMNS),
                       .p = take(&c, rows, TILE_COLUMNS),
                       .dp = take(&c, rows, TILE_COLUMNS),
                       .factors = take(&c, rows, TILE_COLUMNS),
                       .turned = take(&c, TILE_COLUMNS, TILE_COLUMNS)};
}

/* dp becomes dS / sqrt(D), down the columns. */
static void softmax_backward(size_t keys, size_t wide, float scale, const float *p, float *dp) {
    for (size_t v = 0; v < wide; v += LANES) {
        vf along = {0};
        for (size_t i = v; i < keys * TILE_COLUMNS; i += TILE_COLUMNS) {
            along += vf_load(p + i) * vf_load(dp + i);
        }
        for (size_t i = v; i < keys * TILE_COLUMNS; i += TILE_COLUMNS) {
            vf_store(dp + i, vf_load(p + i) * (vf_load(dp + i) - along) * scale);
        }
    }
}

/* sum (keys, D) on its side += panel (keys, queries) times rows (queries, D), which are packed by depth `wide`. */
static void add_to_keys(const head *h, size_t wide, const float *panel, const float *rows, float *turned, float *sum) {
    for (size_t key = 0; key < h->keys; key += TILE_COLUMNS) {
        size_t count = size_min(TILE_COLUMNS, h->keys - key), columns = round_up(count, LANES);
        CPU(pack_rows)(turned, TILE_COLUMNS, panel + key * TILE_COLUMNS, TILE_COLUMNS, count, wide);
        add_depth(h, columns, wide, rows, turned, sum + key * h->padded);
    }
}

static void queries_backward(const head *h, const workspace *w, size_t query, size_t count, size_t wide) {
    const bft_attention *op = h->op;
    size_t q_at = h->q_first + query * op->q_stride, y_at = h->y_first + query * h->y_stride;
    const float *q = (const float *)op->q + q_at, *dy = (const float *)op->dy + y_at;
    CPU(pack_rows)(w->queries, TILE_COLUMNS, q, op->q_stride, count, h->size);
    CPU(pack_rows)(w->dout, TILE_COLUMNS, dy, h->y_stride, count, h->size);
    pack_depth(h, q, op->q_stride, count, wide, w->queries_deep);
    pack_depth(h, dy, h->y_stride, count, wide, w->d_deep);
    multiply_keys(h, wide, w->keys, w->queries, w->p);
    multiply_keys(h, wide, w->values, w->dout, w->dp);
    softmax(h->keys, wide, h->scale, w->p);
    if (op->dropout.rate > 0) {
        CPU(dropout_panel)(&op->dropout, h->sequence, h->head, query, wide, h->keys, w->factors);
        multiply(h->keys, wide, w->dp, w->factors);
        multiply(h->keys, wide, w->factors, w->p); /* now P M */
    }
    softmax_backward(h->keys, wide, h->scale, w->p, w->dp);
    add_to_keys(h, wide, op->dropout.rate > 0 ? w->factors : w->p, w->d_deep, w->turned, w->dvalues);
    add_to_keys(h, wide, w->dp, w->queries_deep, w->turned, w->dkeys);
    multiply_depth(h, wide, h->keys, w->keys_deep, w->dp, w->queries);
    unpack(h, w->queries, count, (float *)op->dq + q_at, op->q_stride);
}

static void head_backward(void *context, size_t unit, int thread) {
    const task *t = context;
    const bft_attention *op = t->op;
    head h = head_of(op, unit);
    if (h.queries == 1) {
        CPU(attention_first_backward)(&h, t->device->local[thread]);
        return;
    }
    workspace w = workspace_of(&h, t->device->local[thread]);
    const float *k = (const float *)op->k + h.kv_first, *v = (const float *)op->v + h.kv_first;
    size_t plane = round_up(h.keys, TILE_COLUMNS) * h.padded;
    pack_keys(&h, k, w.keys);
    pack_keys(&h, v, w.values);
    pack_depth(&h, k, op->kv_stride, h.keys, h.keys, w.keys_deep);
    memset(w.dkeys, 0, plane * sizeof *w.dkeys);
    memset(w.dvalues, 0, plane * sizeof *w.dvalues);
    for (size_t query = 0, count, wide; query < h.queries; query += count) {
        count = next_panel(h.queries - query, &wide);
        queries_backward(&h, &w, query, count, wide);
    }
    for (size_t key = 0; key < h.keys; key += TILE_COLUMNS) {
        size_t count = size_min(TILE_COLUMNS, h.keys - key), at = h.kv_first + key * op->kv_stride;
        unpack(&h, w.dkeys + key * h.padded, count, (float *)op->dk + at, op->kv_stride);
        unpack(&h, w.dvalues + key * h.padded, count, (float *)op->dv + at, op->kv_stride);
    }
}

void CPU(attention_backward)(bft_device *device, const bft_attention *op) {
    run(device, op, panel_count(op, 9, 3) + TILE_COLUMNS * TILE_COLUMNS, head_backward);
}
