/* adamw_rows.c: AdamW on rows that lag behind, a row a unit: what dense AdamW gives, up to rounding. */
#include "kernels/cpu/adamw.h"

#include <float.h>

/* The state of one row: the slot's own, or a copy of it. */
typedef struct row_state {
    float *p, *m, *v; /* (C) */
} row_state;

static float flushed(float x) {
    return fabsf(x) < FLT_MIN ? 0 : x;
}

/* A step with gradient 0. */
static void replay_step(const bft_adamw_rows *op, const bft_adamw_step *step, row_state row) {
    adamw_factors f = adamw_factors_of(op->beta1, op->beta2, op->eps, step, true);
    float *restrict p = row.p, *restrict m = row.m, *restrict v = row.v;
    for (size_t c = 0; c < op->channels; c++) {
        float mc = f.beta1 * m[c], vc = f.beta2 * v[c];
        p[c] = p[c] * f.decay - f.rate * (mc / (sqrtf(vc) * f.root + f.eps));
        m[c] = flushed(mc);
        v[c] = flushed(vc);
    }
}

/* Steps from + 1 .. to, of which only decay is left. */
static void replay_decay(const bft_adamw_rows *op, uint32_t from, uint32_t to, row_state row) {
    double before = op->history[from].decay_product;
    double decay = before == 0 ? 0 : op->history[to].decay_product / before;
    double shrink1 = pow(op->beta1, to - from), shrink2 = pow(op->beta2, to - from);
    for (size_t c = 0; c < op->channels; c++) {
        row.p[c] = (float)((double)row.p[c] * decay);
        row.m[c] = flushed((float)((double)row.m[c] * shrink1));
        row.v[c] = flushed((float)((double)row.v[c] * shrink2));
    }
}

static bool at_rest(const row_state *row, size_t channels) {
    for (size_t c = 0; c < channels; c++) {
        if (row->m[c] != 0 || row->v[c] != 0) {
            return false;
        }
    }
    return true;
}

static void replay(const bft_adamw_rows *op, uint32_t from, uint32_t to, row_state row) {
    uint32_t gap = at_rest(&row, op->channels) ? 0 : bft_adamw_gap(op->beta1);
    uint32_t middle = to - from > gap ? from + gap : to;
    for (uint32_t t = from + 1; t <= middle; t++) {
        replay_step(op, &op->history[t], row);
    }
    if (middle < to) {
        replay_decay(op, middle, to, row);
    }
}

typedef struct task {
    const bft_adamw_rows *op;
    bft_device *device;
} task;

/* The row's state as it will be changed: a copy's moments lie in the thread's own memory. */
static row_state state_of(const task *t, size_t row, int thread) {
    const bft_adamw_rows *op = t->op;
    size_t channels = op->channels;
    float *local = t->device->local[thread];
    row_state copy = {(float *)op->copy + row * channels, local, local + channels};
    if (op->slot[row] == BFT_NO_SLOT) { /* lies in the copy already */
        memset(copy.m, 0, channels * sizeof *copy.m);
        memset(copy.v, 0, channels * sizeof *copy.v);
        return copy;
    }
    size_t start = op->slot[row] * channels;
    row_state state = {(float *)op->p + start, (float *)op->m + start, (float *)op->v + start};
    if (op->copy == NULL) {
        return state;
    }
    memcpy(copy.p, state.p, channels * sizeof *copy.p);
    memcpy(copy.m, state.m, channels * sizeof *copy.m);
    memcpy(copy.v, state.v, channels * sizeof *copy.v);
    return copy;
}

static void bring_row(void *context, size_t row, int thread) {
    const task *t = context;
    const bft_adamw_rows *op = t->op;
    row_state state = state_of(t, row, thread);
    replay(op, op->last[row], op->grad == NULL ? op->now : op->now - 1, state);
    if (op->grad != NULL) {
        adamw_factors f = adamw_factors_of(op->beta1, op->beta2, op->eps, &op->history[op->now], true);
        const float *grad = (const float *)op->grad + row * op->channels;
        adamw_step(&f, (float)op->norm->scale, grad, op->channels, state.p, state.m, state.v);
    }
}

void CPU(adamw_rows)(bft_device *device, const bft_adamw_rows *op) {
    bool stopped = op->grad != NULL && op->norm->failed != 0;
    if (!stopped && (op->copy == NULL || CPU(device_reserve)(device, 2 * op->channels))) {
        bft_pool_run(device->pool, op->rows, bring_row, &(task){op, device});
    }
}
