/* tied_loss.c: the loss over a decoder that is the word table, by tiles of WORDS words, all rows of a tile at once.
 *
 * Twice over the vocabulary: the first time for each row's sum of e^logits, the second time for the gradient, which needs it. Logits are
 * computed both times, so that no more than a tile of them is ever there. The products are linear's. */
#include "kernels/cpu/gemm.h"

#include <math.h>

enum { WORDS = 1152 };
_Static_assert(WORDS % TILE_COLUMNS == 0, "a tile's rows are whole vectors");

/* What is known of a row so far. */
typedef struct row_state {
    double sum, target; /* of e^(logit - largest); the target's logit */
    float largest;
    uint32_t best; /* whose logit that is: of equal ones the first */
} row_state;

typedef struct tile {
    const bft_tied_loss *op;
    size_t first, words;
    float *logits;    /* (M, words), then their gradient */
    row_state *state; /* (M) */
    float *packed;    /* of gemm_run */
} tile;

static size_t words_of(const bft_tied_loss *op) {
    return size_min(WORDS, op->vocabulary);
}

static size_t logits_bytes(const bft_tied_loss *op) {
    return round_up(op->rows * words_of(op) * sizeof(float), 64);
}

static size_t state_bytes(const bft_tied_loss *op) {
    return round_up(op->rows * sizeof(row_state), 64);
}

void CPU(tied_loss_memory)(const bft_tied_loss *op, bft_memory *out) {
    size_t packed = CPU(gemm_scratch_bytes)(size_max(words_of(op), op->channels));
    *out = (bft_memory){.scratch = logits_bytes(op) + state_bytes(op) + packed};
}

static void tile_at(tile *t, size_t first) {
    t->first = first;
    t->words = size_min(words_of(t->op), t->op->vocabulary - first);
}

static const float *rows_of_table(const tile *t) {
    return (const float *)t->op->table + t->first * t->op->channels;
}

static void multiply_logits(bft_device *device, const tile *t) {
    CPU(gemm_run)
    (device, &(gemm){.m = t->op->rows,
                     .n = t->words,
                     .k = t->op->channels,
                     .a = t->op->x,
                     .b = rows_of_table(t),
                     .c = t->logits,
                     .bias = (const float *)t->op->bias + t->first,
                     .packed = t->packed});
}

/* ---- The first time ---- */

static float largest_of(const float *x, size_t count) {
    vf largest = vf_set(-INFINITY);
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        largest = vf_most(largest, vf_load(x + i));
    }
    float most = -INFINITY;
    for (size_t lane = 0; lane < LANES; lane++) {
        most = largest[lane] > most ? largest[lane] : most;
    }
    for (; i < count; i++) {
        most = x[i] > most ? x[i] : most;
    }
    return most;
}

/* A NaN among them shows in the sum. */
static float sum_of_powers(const float *x, size_t count, float largest) {
    vf sum = {0};
    for (size_t i = 0; i < count; i += LANES) {
        sum += vf_first(vf_exp(vf_load_some(x + i, count - i) - largest), count - i);
    }
    return vf_sum(sum);
}

static void watch_row(const tile *t, size_t row) {
    const float *x = t->logits + row * t->words;
    row_state *s = &t->state[row];
    float largest = largest_of(x, t->words);
    if (largest > s->largest || t->first == 0) {
        size_t i = 0;
        while (i + 1 < t->words && x[i] != largest) {
            i++;
        }
        s->sum = t->first == 0 ? 0 : s->sum * exp((double)s->largest - (double)largest);
        s->largest = largest;
        s->best = (uint32_t)(t->first + i);
    }
    s->sum += (double)sum_of_powers(x, t->words, s->largest);
    size_t target = t->op->target[row];
    if (target >= t->first && target < t->first + t->words) {
        s->target = (double)x[target - t->first];
    }
}

static void watch_rows(void *context, size_t unit, int thread) {
    (void)thread;
    const tile *t = context;
    for (size_t row = unit * ROW_BLOCK; row < size_min((unit + 1) * ROW_BLOCK, t->op->rows); row++) {
        watch_row(t, row);
    }
}

static double log_sum(const row_state *s) {
    return (double)s->largest + log(s->sum);
}

static void add_up(const tile *t) {
    const bft_tied_loss *op = t->op;
    for (size_t row = 0; row < op->rows; row++) {
        op->loss[row] = (log_sum(&t->state[row]) - t->state[row].target) / op->normalizer;
        *op->total += op->loss[row];
        *op->hits += t->state[row].best == op->target[row] ? 1 : 0;
    }
}

/* ---- The second time ---- */

/* Logits to their gradient: (probability - [it is the target's]) / normalizer. */
static void turn_rows(void *context, size_t unit, int thread) {
    (void)thread;
    const tile *t = context;
    float scale = (float)(1 / t->op->normalizer);
    for (size_t row = unit * ROW_BLOCK; row < size_min((unit + 1) * ROW_BLOCK, t->op->rows); row++) {
        float *x = t->logits + row * t->words;
        const row_state *s = &t->state[row];
        float part = (float)(1 / (s->sum * t->op->normalizer));
        for (size_t i = 0; i < t->words; i += LANES) {
            vf_store_some(x + i, vf_exp(vf_load_some(x + i, t->words - i) - s->largest) * part, t->words - i);
        }
        size_t target = t->op->target[row];
        if (target >= t->first && target < t->first + t->words) {
            x[target - t->first] -= scale;
        }
    }
}

/* A strip of the bias's gradient: its columns' sums, a block of rows at a time. */
static void sum_columns(void *context, size_t unit, int thread) {
    (void)thread;
    const tile *t = context;
    size_t column = unit * TILE_COLUMNS, count = size_min(TILE_COLUMNS, t->words - column);
    float *to = (float *)t->op->dbias + t->first + column;
    for (size_t block = 0; block < t->op->rows; block += ROW_BLOCK) {
        float sum[TILE_COLUMNS] = {0};
        for (size_t row = block; row < size_min(block + ROW_BLOCK, t->op->rows); row++) {
            for (size_t c = 0; c < count; c++) {
                sum[c] += t->logits[row * t->words + column + c];
            }
        }
        for (size_t c = 0; c < count; c++) {
            to[c] += sum[c];
        }
    }
}

static void multiply_back(bft_device *device, const tile *t) {
    const bft_tied_loss *op = t->op;
    CPU(gemm_run)
    (device, &(gemm){.m = op->rows,
                     .n = op->channels,
                     .k = t->words,
                     .a = t->logits,
                     .b = rows_of_table(t),
                     .b_by_depth = true,
                     .c = op->dx,
                     .add = t->first > 0,
                     .packed = t->packed});
    if (op->dtable != NULL) {
        CPU(gemm_run)
        (device, &(gemm){.m = t->words,
                         .n = op->channels,
                         .k = op->rows,
                         .a = t->logits,
                         .a_by_depth = true,
                         .b = op->x,
                         .b_by_depth = true,
                         .c = (float *)op->dtable + t->first * op->channels,
                         .add = true,
                         .packed = t->packed});
    }
}

void CPU(tied_loss)(bft_device *device, const bft_tied_loss *op) {
    tile t = {.op = op, .logits = op->scratch};
    t.state = (row_state *)((char *)op->scratch + logits_bytes(op));
    t.packed = (float *)((char *)t.state + state_bytes(op));
    size_t blocks = blocks_of(op->rows, ROW_BLOCK);
    for (tile_at(&t, 0); op->rows > 0 && t.first < op->vocabulary; tile_at(&t, t.first + t.words)) {
        multiply_logits(device, &t);
        bft_pool_run(device->pool, blocks, watch_rows, &t);
    }
    add_up(&t);
    for (tile_at(&t, 0); op->dx != NULL && op->rows > 0 && t.first < op->vocabulary; tile_at(&t, t.first + t.words)) {
        multiply_logits(device, &t);
        bft_pool_run(device->pool, blocks, turn_rows, &t);
        if (op->dbias != NULL) {
            bft_pool_run(device->pool, blocks_of(t.words, TILE_COLUMNS), sum_columns, &t);
        }
        multiply_back(device, &t);
    }
}
