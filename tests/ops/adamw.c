/* adamw.c: the cases of adamw and adamw_rows, both judged by the formula of ops.h in double: deferred rows must
 * come to where dense steps with zero gradients would have taken them. */
#include "tests/ops/ops_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { P, M, V, GRAD, COPY, ROUNDED, STEPS, NORM };

static const double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;

/* Large rates and much decay, so that a step too few or too many shows; no two steps alike. */
static bft_adamw_step make_step(uint32_t t, const bft_adamw_step *before) {
    bft_adamw_step step = {.lr = 1e-2 * (1 + 0.5 * sin(t)), .weight_decay = 0.1};
    step.correction1 = 1 - pow(beta1, t);
    step.correction2 = 1 - pow(beta2, t);
    step.decay_product = before->decay_product * (1 - step.lr * step.weight_decay);
    return step;
}

static bft_adamw_step *make_history(problem *p, uint32_t last) {
    bft_adamw_step *history = take(p, last + 1, sizeof *history);
    history[0].decay_product = 1;
    for (uint32_t t = 1; t <= last; t++) {
        history[t] = make_step(t, &history[t - 1]);
    }
    return history;
}

/* One element: values, and bounds of their errors. */
typedef struct element {
    double p, m, v, p_error, m_error, v_error;
    double left_out; /* of p, absolute: updates behind the gap */
} element;

/* The formula of ops.h and its rounding. Constants are rounded (1), products and sums are (1 each); m may be
 * computed as b1 m + (1 - b1) g or as m + (1 - b1)(g - m), v's terms are never negative. */
static void step_element(element *e, const bft_adamw_step *step, bool decay, double g) {
    double kept = decay ? 1 - step->lr * step->weight_decay : 1, rest = 1 - beta1;
    e->m_error = beta1 * e->m_error + 5 * (fabs(e->m) + rest * fabs(g));
    e->m = beta1 * e->m + rest * g;
    e->v_error = beta2 * e->v_error + 3 * beta2 * e->v + 8 * (1 - beta2) * g * g;
    e->v = beta2 * e->v + (1 - beta2) * g * g;
    double root = sqrt(step->correction2), below = sqrt(e->v) / root + eps, rate = step->lr / step->correction1;
    double v_share = e->v > 0 ? e->v_error / (2 * e->v) : 0, update = rate * e->m / below;
    e->p_error = kept * e->p_error + 3 * fabs(kept * e->p) + rate / below * e->m_error + fabs(update) * (v_share + 10);
    e->p = kept * e->p - update;
    e->p_error += fabs(e->p);
}

static void prepare_state(problem *p, size_t count) {
    add_input(p, P, "p", count, 0.5)->role = ADDED;
    add_input(p, M, "m", count, 0.01)->role = ADDED;
    add_input(p, V, "v", count, 0.01)->role = ADDED;
    for (size_t i = 0; i < count; i++) {
        p->tensor[V].start[i] = (double)(float)(p->tensor[V].start[i] * p->tensor[V].start[i]);
    }
}

/* As the op finds it on the device; `failed` is a step before this one, or 0. */
static void add_norm(problem *p, double scale, bool failed) {
    bft_norm_result norm;
    memset(&norm, 0, sizeof norm);
    norm.norm = 1;
    norm.scale = p->padded == NULL ? scale : scale / 2;
    norm.failed = failed ? 5 : 0;
    add_struct(p, NORM, "norm", &norm, sizeof norm);
}

static double scale_of(const problem *p) {
    return p->tensor[NORM].start[offsetof(bft_norm_result, scale) / sizeof(double)];
}

static element load_element(const problem *p, size_t i) {
    return (element){.p = p->tensor[P].start[i], .m = p->tensor[M].start[i], .v = p->tensor[V].start[i]};
}

static void store_element(problem *p, size_t i, const element *e) {
    const double truth[] = {e->p, e->m, e->v}, error[] = {e->p_error, e->m_error, e->v_error};
    for (int at = P; at <= V; at++) {
        p->tensor[at].truth[i] = truth[at];
        p->tensor[at].error[i] = error[at];
    }
}

/* ---- adamw ---- */

typedef struct shape {
    const char *title;
    size_t count;
    uint32_t step;
    double scale;
    bool no_decay, fresh; /* fresh: m = v = 0 */
    bool failed;          /* the norm was not finite: nothing changes */
} shape;

static const shape shapes[] = {
    {"1 element, first step", 1, 1, .scale = 1, .fresh = true},
    {"33 elements, first step, no decay", 33, 1, .scale = 1, .no_decay = true, .fresh = true},
    {"1023 elements, step 2", 1023, 2, .scale = 1},
    {"4099 elements, step 1000, clipped", 4099, 1000, .scale = 0.125},
    {"33 elements after a failure", 33, 1000, .scale = 1, .failed = true},
    {"100003 elements, step 100000, clipped, no decay", 100003, 100000, .scale = 0.3, .no_decay = true},
};

static bft_adamw_step step_of(const problem *p) {
    bft_adamw_step before = {.decay_product = 1};
    return make_step(((const shape *)p->shape)->step + (p->padded == NULL ? 0 : 1), &before);
}

/* The block is a tensor with decay or none, one element that belongs to nobody, and a tensor of the other kind. */
enum { MOST_TENSORS = 2 };

static size_t tensors_of(const shape *s, bft_adamw_tensor out[MOST_TENSORS]) {
    size_t first = s->count > 2 ? s->count / 2 : s->count;
    out[0] = (bft_adamw_tensor){0, first, !s->no_decay};
    out[1] = (bft_adamw_tensor){first + 1, s->count - first - (s->count > first), s->no_decay};
    return s->count > first ? 2 : 1;
}

static void prepare(problem *p) {
    const shape *s = p->shape;
    bft_adamw_step step = step_of(p);
    p->extra = take_array(p, MOST_TENSORS, sizeof(bft_adamw_tensor));
    prepare_state(p, s->count);
    if (p->values != BFT_F32) {
        tensor *rounded = add_input(p, ROUNDED, "values", s->count, 0.5);
        rounded->role = ADDED;
        rounded->numbers = VALUES;
    }
    add_struct(p, STEPS, "step", &step, sizeof step);
    add_norm(p, s->scale, s->failed);
    add_input(p, GRAD, "grad", s->count, 0.1);
    if (s->fresh) {
        memset(p->tensor[M].start, 0, s->count * sizeof(double));
        memset(p->tensor[V].start, 0, s->count * sizeof(double));
    }
}

static void forward(const run *r) {
    const shape *s = r->problem->shape;
    bft_adamw_tensor *tensors = r->problem->extra;
    bft_adamw op = {.beta1 = beta1,
                    .beta2 = beta2,
                    .eps = eps,
                    .norm = r->memory[NORM],
                    .step = r->memory[STEPS],
                    .tensors = tensors,
                    .tensor_count = tensors_of(s, tensors),
                    .p = r->memory[P],
                    .m = r->memory[M],
                    .v = r->memory[V],
                    .grad = r->memory[GRAD],
                    .values = r->memory[ROUNDED]};
    r->ops->adamw(r->device, &op);
}

static void truth(problem *p) {
    const shape *s = p->shape;
    bft_adamw_step step = step_of(p);
    bft_adamw_tensor tensors[MOST_TENSORS];
    tensor *rounded = &p->tensor[ROUNDED];
    size_t count = s->failed ? 0 : tensors_of(s, tensors);
    for (int at = P; at <= ROUNDED; at++) {
        if (p->tensor[at].name != NULL && p->tensor[at].role == ADDED) {
            memcpy(p->tensor[at].truth, p->tensor[at].start, s->count * sizeof(double));
        }
    }
    for (size_t t = 0; t < count; t++) {
        for (size_t i = tensors[t].offset; i < tensors[t].offset + tensors[t].count; i++) {
            element e = load_element(p, i);
            step_element(&e, &step, tensors[t].decay, scale_of(p) * p->tensor[GRAD].start[i]);
            store_element(p, i, &e);
            if (rounded->name != NULL) {
                rounded->truth[i] = e.p;
                rounded->error[i] = e.p_error + stored(p, e.p);
            }
        }
    }
}

/* What was rounded is p as it is, to the bit. */
static const char *check(const run *r) {
    const problem *p = r->problem;
    const shape *s = p->shape;
    bft_adamw_tensor tensors[MOST_TENSORS];
    size_t count = s->failed || p->tensor[ROUNDED].name == NULL ? 0 : tensors_of(s, tensors);
    double *now = calloc(2 * s->count, sizeof *now), *rounded = now + s->count;
    bool right = now != NULL;
    for (size_t t = 0; t < count && right; t++) {
        tensor_read(r, P, now);
        tensor_read(r, ROUNDED, rounded);
        for (size_t i = tensors[t].offset; i < tensors[t].offset + tensors[t].count; i++) {
            right = right && rounded[i] == round_value(p->values, now[i]);
        }
    }
    free(now);
    return right ? NULL : "values are not p, rounded to nearest";
}

static void bound(problem *p) {
    (void)p; /* `truth` has found them on its way */
}

const subject adamw_subject = {
    .op = "adamw",
    .shapes = shapes,
    .shape_size = sizeof shapes[0],
    .shape_count = sizeof shapes / sizeof shapes[0],
    .prepare = prepare,
    .forward = forward,
    .truth = truth,
    .bound = bound,
    .check = check,
};

/* ---- adamw_rows ---- */

typedef struct rows_shape {
    const char *title;
    size_t rows, channels;
    uint32_t last, missed; /* now = last + missed, and one more where there is a gradient */
    bool gradient, copy;
    bool at_rest; /* m = v = 0 in every second row */
    double v_scale;
    bool untrained; /* every third row has no slot: it lies in the copy */
    bool failed;    /* the norm was not finite: nothing changes */
} rows_shape;

enum { GAP = 158 }; /* 0.9^158 < 2^-24 < 0.9^157 */

static const rows_shape row_shapes[] = {
    {"before training, copy", 3, 5, 0, .missed = 0, .copy = true},
    {"first step of fresh rows", 3, 26, 0, .missed = 0, .gradient = true, .at_rest = true},
    {"nothing missed", 7, 312, 10, .missed = 0, .gradient = true},
    {"1 missed", 7, 312, 10, .missed = 1, .gradient = true},
    {"5 missed", 7, 312, 10, .missed = 5, .gradient = true, .at_rest = true},
    {"gap - 1 missed", 3, 264, 10, .missed = GAP - 1, .gradient = true},
    {"gap missed", 3, 264, 10, .missed = GAP, .gradient = true},
    {"gap + 1 missed", 3, 264, 10, .missed = GAP + 1, .gradient = true, .at_rest = true},
    {"1000 missed", 3, 264, 10, .missed = 1000, .gradient = true, .at_rest = true},
    {"1000 missed from the start", 3, 31, 0, .missed = 1000, .gradient = true, .at_rest = true},
    {"5 missed, no gradient", 7, 31, 10, .missed = 5},
    {"gap missed, no gradient", 7, 31, 1000, .missed = GAP, .at_rest = true},
    {"1000 missed, no gradient", 7, 31, 1000, .missed = 1000, .at_rest = true},
    {"nothing missed, copy", 7, 31, 10, .missed = 0, .copy = true},
    {"5 missed, copy", 7, 312, 10, .missed = 5, .copy = true},
    {"gap + 1 missed, copy", 7, 31, 10, .missed = GAP + 1, .copy = true, .at_rest = true},
    {"1000 missed, copy", 7, 264, 10, .missed = 1000, .copy = true, .at_rest = true},
    {"1000 missed, copy, some never trained", 7, 264, 10, .missed = 1000, .copy = true, .untrained = true},
    {"before training, copy of untrained rows", 3, 31, 0, .missed = 0, .copy = true, .untrained = true},
    {"5 missed, after a failure", 3, 31, 10, .missed = 5, .gradient = true, .failed = true},
    {"1 missed, v near the smallest normal number", 7, 31, 10, .missed = 1, .gradient = true, .v_scale = 1e-38},
    {"100 missed, v near the smallest normal number", 7, 31, 10, .missed = 100, .v_scale = 2e-38},
    {"1000 missed, v near the smallest normal number", 7, 31, 10, .missed = 1000, .v_scale = 2e-38},
};

/* Slots: every second one of twice the rows, last row first; a row without one lies in the copy. `last` differs from
 * row to row by up to 3 steps where it can. */
typedef struct table {
    const bft_adamw_step *history;
    uint32_t now, *slot, *last;
    size_t rows, slots;
} table;

static void prepare_rows(problem *p) {
    const rows_shape *s = p->shape;
    table *t = take(p, 1, sizeof *t);
    p->extra = t;
    uint32_t last = s->last + (p->padded != NULL && s->last > 0 ? 1 : 0);
    t->now = last + s->missed + (s->gradient ? 1 : 0);
    uint32_t most = s->last + s->missed + 2; /* of both problems */
    t->history = make_history(p, most);
    t->rows = size_in(p, s->rows);
    t->slots = 2 * s->rows;
    t->slot = take_array(p, t->rows, sizeof *t->slot);
    t->last = take_array(p, t->rows, sizeof *t->last);
    add_struct(p, STEPS, "history", t->history, (most + 1) * sizeof *t->history);
    add_norm(p, 0.25, s->failed);
    prepare_state(p, t->slots * s->channels);
    for (size_t r = 0; r < t->rows; r++) {
        bool untrained = s->untrained && r % 3 == 0;
        t->slot[r] = untrained ? BFT_NO_SLOT : (uint32_t)(2 * (t->rows - 1 - r));
        t->last[r] = untrained ? 0 : last > 3 ? last - (uint32_t)((t->rows - 1 - r) % 4) : last;
    }
    for (size_t slot = 0; slot < t->slots; slot++) {
        for (size_t i = slot * s->channels; i < (slot + 1) * s->channels; i++) {
            if (s->v_scale > 0) {
                p->tensor[V].start[i] = (double)(float)(s->v_scale * (1 + (double)(i % 7) / 7));
            }
            if (s->at_rest && slot / 2 % 2 == 0) {
                p->tensor[M].start[i] = p->tensor[V].start[i] = 0;
            }
        }
    }
    if (s->gradient) {
        add_input(p, GRAD, "grad", t->rows * s->channels, 0.1);
    }
    if (s->copy && s->untrained) {
        add_input(p, COPY, "copy", t->rows * s->channels, 0.5)->role = ADDED;
    } else if (s->copy) {
        add_output(p, COPY, "copy", t->rows * s->channels, NONE);
    }
}

static void rows_forward(const run *r) {
    const rows_shape *s = r->problem->shape;
    const table *t = r->problem->extra;
    bft_adamw_rows op = {.beta1 = beta1,
                         .beta2 = beta2,
                         .eps = eps,
                         .rows = t->rows,
                         .channels = s->channels,
                         .history = r->memory[STEPS],
                         .now = t->now,
                         .slot = t->slot,
                         .last = t->last,
                         .p = r->memory[P],
                         .m = r->memory[M],
                         .v = r->memory[V],
                         .grad = r->memory[GRAD],
                         .norm = r->memory[NORM],
                         .copy = r->memory[COPY]};
    r->ops->adamw_rows(r->device, &op);
}

/* Dense steps. Behind the gap an op leaves out the updates: what they would have been is allowed in p. */
static element dense_steps(const problem *p, size_t row, size_t c) {
    const rows_shape *s = p->shape;
    const table *t = p->extra;
    uint32_t last = t->last[row];
    element e = t->slot[row] == BFT_NO_SLOT ? (element){.p = p->tensor[COPY].start[row * s->channels + c]}
                                            : load_element(p, t->slot[row] * s->channels + c);
    for (uint32_t step = last + 1; step <= t->now; step++) {
        bool with_gradient = s->gradient && step == t->now;
        double p_before = e.p, g = with_gradient ? scale_of(p) * p->tensor[GRAD].start[row * s->channels + c] : 0;
        step_element(&e, &t->history[step], true, g);
        e.m_error += with_gradient ? 2 * 0.1 * fabs(g) : 0;
        if (step - last > GAP && !with_gradient) {
            double decayed = p_before * (1 - t->history[step].lr * t->history[step].weight_decay);
            e.left_out += fabs(e.p - decayed);
        }
    }
    return e;
}

static void rows_truth(problem *p) {
    const rows_shape *s = p->shape;
    const table *t = p->extra;
    for (int at = P; at <= V; at++) {
        memcpy(p->tensor[at].truth, p->tensor[at].start, p->tensor[at].count * sizeof(double));
    }
    for (size_t row = 0; row < t->rows && !s->failed; row++) {
        for (size_t c = 0; c < s->channels; c++) {
            element e = dense_steps(p, row, c);
            if (s->copy) {
                p->tensor[COPY].truth[row * s->channels + c] = e.p;
                p->tensor[COPY].error[row * s->channels + c] = e.p_error;
                p->tensor[COPY].slack[row * s->channels + c] = e.left_out;
            } else {
                p->tensor[P].slack[t->slot[row] * s->channels + c] = e.left_out;
                store_element(p, t->slot[row] * s->channels + c, &e);
            }
        }
    }
}

static const char *rows_check(const run *r) {
    (void)r;
    return bft_adamw_gap(beta1) == GAP ? NULL : "bft_adamw_gap(0.9) is not 158";
}

const subject adamw_rows_subject = {
    .op = "adamw_rows",
    .shapes = row_shapes,
    .shape_size = sizeof row_shapes[0],
    .shape_count = sizeof row_shapes / sizeof row_shapes[0],
    .prepare = prepare_rows,
    .forward = rows_forward,
    .truth = rows_truth,
    .bound = bound,
    .check = rows_check,
};
