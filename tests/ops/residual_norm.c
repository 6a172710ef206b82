/* residual_norm.c: the cases of residual_norm. */
#include "tests/ops/norm_bound.h"

#include <math.h>

enum { X, RESIDUAL, GAMMA, BETA, Y, DY, DX, DRESIDUAL, DGAMMA, DBETA };

/* What lies in whose memory. */
typedef enum sharing { APART, Y_IN_X, Y_IN_RESIDUAL, DRESIDUAL_IN_DY, DRESIDUAL_IN_DX } sharing;

typedef struct shape {
    const char *title;
    size_t batch, longest, channels;
    float rate;
    double offset;                 /* added to all of x: a mean far from 0 */
    bool inference, frozen, alone; /* alone: no residual */
    sharing sharing;
} shape;

static const shape shapes[] = {
    {"1 row of 2", 1, 1, .channels = 2},
    {"3 rows of 7, dropout 0.5", 1, 3, .channels = 7, .rate = 0.5f},
    {"few rows of 26, dropout 0.1", 3, 4, .channels = 26, .rate = 0.1f},
    {"few rows of 26, far from 0", 3, 4, .channels = 26, .offset = 1000},
    {"1 row of 312, dropout 0.1", 1, 1, .channels = 312, .rate = 0.1f},
    {"33 rows of 312, dropout 0.1", 1, 33, .channels = 312, .rate = 0.1f},
    {"rows of 264, dropout 0.1", 5, 14, .channels = 264, .rate = 0.1f},
    {"rows of 264, far from 0", 5, 14, .channels = 264, .offset = 1000},
    {"rows of 768", 3, 7, .channels = 768},
    {"1000 sequences of one row of 22, dropout 0.3", 1000, 1, .channels = 22, .rate = 0.3f},
    {"33 rows of 312, y in x", 1, 33, .channels = 312, .rate = 0.1f, .sharing = Y_IN_X},
    {"33 rows of 312, y in residual", 1, 33, .channels = 312, .rate = 0.1f, .sharing = Y_IN_RESIDUAL},
    {"33 rows of 312, dresidual in dy", 1, 33, .channels = 312, .rate = 0.1f, .sharing = DRESIDUAL_IN_DY},
    {"33 rows of 312, dresidual in dx", 1, 33, .channels = 312, .sharing = DRESIDUAL_IN_DX},
    {"7 rows of 312, frozen, dropout 0.1", 1, 7, .channels = 312, .rate = 0.1f, .frozen = true},
    {"33 rows of 312, no residual", 1, 33, .channels = 312, .alone = true},
    {"7 rows of 31, no residual, dropout 0.1", 1, 7, .channels = 31, .rate = 0.1f, .alone = true},
    {"33 rows of 22, no residual, inference, y in x", 1, 33, .channels = 22, .inference = true, .alone = true,
     .sharing = Y_IN_X},
    {"33 rows of 312, inference", 1, 33, .channels = 312, .inference = true},
    {"33 rows of 31, inference, y in x", 1, 33, .channels = 31, .inference = true, .sharing = Y_IN_X},
};

static void share(problem *p, sharing how) {
    switch (how) {
    case Y_IN_X:
        p->tensor[Y].shares = X;
        break;
    case Y_IN_RESIDUAL:
        p->tensor[Y].shares = RESIDUAL;
        break;
    case DRESIDUAL_IN_DY:
        p->tensor[DRESIDUAL].shares = DY;
        break;
    case DRESIDUAL_IN_DX:
        p->tensor[DRESIDUAL].shares = DX;
        break;
    case APART:
        break;
    }
}

static void prepare(problem *p) {
    const shape *s = p->shape;
    p->inference = s->inference;
    sequences *rows = take(p, 1, sizeof *rows);
    *rows = make_sequences(p, s->batch, s->longest);
    p->extra = rows;
    size_t count = rows->rows * s->channels;
    tensor *x = flows(add_input(p, X, "x", count, 1), rows->rows);
    for (size_t i = 0; i < count; i++) {
        x->start[i] = (double)(float)(x->start[i] + s->offset);
    }
    if (!s->alone) {
        flows(add_input(p, RESIDUAL, "residual", count, 1), rows->rows);
    }
    add_input(p, GAMMA, "gamma", s->channels, 1);
    add_input(p, BETA, "beta", s->channels, 1);
    flows(add_output(p, Y, "y", count, DY), rows->rows);
    if (!s->inference) {
        flows(add_input(p, DY, "dy", count, 1), rows->rows);
        flows(add_gradient(p, DX, "dx", count, X, OUTPUT), rows->rows)->mask = s->rate > 0;
        if (!s->alone) {
            flows(add_gradient(p, DRESIDUAL, "dresidual", count, RESIDUAL, OUTPUT), rows->rows);
        }
        if (!s->frozen) {
            add_gradient(p, DGAMMA, "dgamma", s->channels, GAMMA, ADDED);
            add_gradient(p, DBETA, "dbeta", s->channels, BETA, ADDED);
        }
    }
    share(p, s->sharing);
}

static bft_dropout dropout_of(const problem *p) {
    const sequences *rows = p->extra;
    const shape *s = p->shape;
    return make_dropout(p, s->rate, BFT_SITE_ATTENTION_OUT, rows->sample, rows->position);
}

static bft_residual_norm describe(const run *r) {
    const shape *s = r->problem->shape;
    const sequences *rows = r->problem->extra;
    return (bft_residual_norm){
        .rows = rows->rows,
        .channels = s->channels,
        .eps = 1e-12f,
        .x = r->memory[X],
        .residual = r->memory[RESIDUAL],
        .gamma = r->memory[GAMMA],
        .beta = r->memory[BETA],
        .dropout = dropout_of(r->problem),
        .y = r->memory[Y],
        .saved = r->saved,
        .scratch = r->scratch,
        .dy = r->memory[DY],
        .dx = r->memory[DX],
        .dresidual = r->memory[DRESIDUAL],
        .dgamma = r->memory[DGAMMA],
        .dbeta = r->memory[DBETA],
    };
}

static void memory(const run *r, bft_memory *out) {
    const shape *s = r->problem->shape;
    const sequences *rows = r->problem->extra;
    bft_residual_norm op = {.rows = rows->rows, .channels = s->channels};
    r->ops->residual_norm_memory(&op, out);
}

static void forward(const run *r) {
    bft_residual_norm op = describe(r);
    r->ops->residual_norm_forward(r->device, &op);
}

static void backward(const run *r) {
    bft_residual_norm op = describe(r);
    r->ops->residual_norm_backward(r->device, &op);
}

static void bound(problem *p) {
    const shape *s = p->shape;
    const sequences *rows = p->extra;
    bft_dropout dropout = dropout_of(p);
    size_t count = rows->rows * s->channels;
    double *sum = take(p, count, sizeof *sum), *error = take(p, count, sizeof *error);
    for (size_t i = 0; i < count; i++) {
        double x = p->tensor[X].start[i] * row_factor(&dropout, i / s->channels, i % s->channels);
        sum[i] = x + (s->alone ? 0 : p->tensor[RESIDUAL].start[i]);
        error[i] = 2 * fabs(x) + fabs(sum[i]);
    }
    norm_bound norm = bound_norm(p, rows->rows, s->channels, sum, error, (double)1e-12f);
    const double *gamma = p->tensor[GAMMA].start, *beta = p->tensor[BETA].start;
    for (size_t i = 0; i < count; i++) {
        size_t c = i % s->channels;
        p->tensor[Y].error[i] = bound_norm_output(&norm, i, gamma[c], beta[c]) + stored(p, p->tensor[Y].truth[i]);
    }
    if (s->inference) {
        return;
    }
    double *exact = take(p, count, sizeof *exact), *size = take(p, count, sizeof *size);
    double *sum_error = take(p, count, sizeof *sum_error); /* of the sum's gradient */
    const double *dy = p->tensor[DY].start;
    tensor *dx = &p->tensor[DX], *dresidual = &p->tensor[DRESIDUAL];
    bound_norm_backward(&norm, gamma, dy, exact, size, sum_error);
    bound_gamma_beta(&norm, dy, exact, &p->tensor[DGAMMA], &p->tensor[DBETA]);
    for (size_t i = 0; i < count; i++) {
        double factor = row_factor(&dropout, i / s->channels, i % s->channels);
        dx->error[i] = factor * sum_error[i] + 2 * fabs(dx->truth[i]) + stored(p, dx->truth[i]);
        if (!s->alone) {
            dresidual->error[i] = sum_error[i] + stored(p, dresidual->truth[i]);
        }
    }
}

const subject residual_norm_subject = {
    .op = "residual_norm",
    .shapes = shapes,
    .shape_size = sizeof shapes[0],
    .shape_count = sizeof shapes / sizeof shapes[0],
    .prepare = prepare,
    .memory = memory,
    .forward = forward,
    .backward = backward,
    .bound = bound,
};
