/* rows.c: the cases of the small ops on rows: gather, mean and mask. */
#include "tests/ops/ops_test.h"

#include <math.h>

enum { X, Y, DY, DX };

typedef struct shape {
    const char *title;
    size_t batch, longest, channels;
    float rate;
    bool real;     /* gather: of reals */
    bool gradient; /* mask: x is dy, y is dx */
    bool in_place;
} shape;

static const shape mean_shapes[] = {
    {"1 x 1 x 1", 1, 1, .channels = 1},
    {"few rows of 5", 3, 4, .channels = 5},
    {"one row of 312", 1, 1, .channels = 312},
    {"rows of 312", 7, 33, .channels = 312},
    {"rows of 264", 3, 33, .channels = 264},
    {"one sequence of 512 rows of 26", 1, 512, .channels = 26},
    {"1000 sequences of one row of 22", 1000, 1, .channels = 22},
};

static const shape gather_shapes[] = {
    {"1 x 1 x 1", 1, 1, .channels = 1},
    {"few rows of 5", 3, 4, .channels = 5},
    {"few rows of 5, reals", 3, 4, .channels = 5, .real = true},
    {"one row of 312", 1, 1, .channels = 312},
    {"rows of 312", 7, 33, .channels = 312},
    {"rows of 312, reals", 7, 33, .channels = 312, .real = true},
    {"rows of 264", 3, 33, .channels = 264},
    {"one sequence of 512 rows of 26", 1, 512, .channels = 26},
    {"1000 sequences of one row of 22", 1000, 1, .channels = 22},
    {"1000 sequences of one row of 22, reals", 1000, 1, .channels = 22, .real = true},
};

static const shape mask_shapes[] = {
    {"1 x 1 x 1, rate 0", 1, 1, 1, .rate = 0},
    {"few rows of 5, rate 0.5", 3, 4, 5, .rate = 0.5f},
    {"rows of 312, rate 0.1", 7, 33, 312, .rate = 0.1f},
    {"rows of 264, rate 0.9", 3, 33, 264, .rate = 0.9f},
    {"rows of 31, rate 0.1, in place", 3, 33, 31, .rate = 0.1f, .in_place = true},
    {"rows of 31, rate 0.1, a gradient", 3, 33, 31, .rate = 0.1f, .gradient = true},
    {"one sequence of 2048 rows of 26, rate 0.3", 1, 2048, 26, .rate = 0.3f},
    {"1000 sequences of one row of 22, rate 0.3", 1000, 1, 22, .rate = 0.3f},
    {"rows of 312, rate 2^-32", 3, 3, 312, .rate = 0x1p-32f},
};

static sequences *prepare_rows(problem *p) {
    const shape *s = p->shape;
    sequences *rows = take(p, 1, sizeof *rows);
    *rows = make_sequences(p, s->batch, s->longest);
    p->extra = rows;
    flows(add_input(p, X, "x", rows->rows * s->channels, 1), rows->rows)->gradient = s->gradient;
    return rows;
}

/* ---- gather: the first row of each sequence, last sequence first ---- */

typedef struct picks {
    size_t count;
    uint32_t *index;
} picks;

static void gather_prepare(problem *p) {
    const shape *s = p->shape;
    const sequences *rows = prepare_rows(p);
    picks *chosen = take(p, 1, sizeof *chosen);
    *chosen = (picks){rows->batch, take_array(p, rows->batch, sizeof *chosen->index)};
    for (size_t b = 0; b < rows->batch; b++) {
        chosen->index[b] = rows->start[rows->batch - 1 - b];
    }
    p->extra = chosen;
    flows(add_output(p, Y, "y", rows->batch * s->channels, DY), rows->batch);
    flows(add_input(p, DY, "dy", rows->batch * s->channels, 1), rows->batch);
    flows(add_gradient(p, DX, "dx", rows->rows * s->channels, X, ADDED), rows->rows);
    for (int at = X; s->real && at <= DX; at++) {
        p->tensor[at].numbers = REALS;
    }
}

static bft_gather gather_describe(const run *r) {
    const shape *s = r->problem->shape;
    const picks *chosen = r->problem->extra;
    return (bft_gather){.rows = chosen->count,
                        .channels = s->channels,
                        .real = s->real,
                        .index = chosen->index,
                        .x = r->memory[X],
                        .y = r->memory[Y],
                        .dy = r->memory[DY],
                        .dx = r->memory[DX]};
}

static void gather_forward(const run *r) {
    bft_gather op = gather_describe(r);
    r->ops->gather_forward(r->device, &op);
}

static void gather_backward(const run *r) {
    bft_gather op = gather_describe(r);
    r->ops->gather_backward(r->device, &op);
}

/* y is a copy: equal. What wasn't picked stays equal too. */
static void gather_bound(problem *p) {
    const shape *s = p->shape;
    const picks *chosen = p->extra;
    for (size_t i = 0; i < chosen->count * s->channels; i++) {
        size_t at = chosen->index[i / s->channels] * s->channels + i % s->channels;
        double sum = p->tensor[DX].truth[at];
        p->tensor[DX].error[at] = fabs(sum) + (s->real ? 0 : stored(p, sum));
    }
}

const subject gather_subject = {
    .op = "gather",
    .shapes = gather_shapes,
    .shape_size = sizeof gather_shapes[0],
    .shape_count = sizeof gather_shapes / sizeof gather_shapes[0],
    .prepare = gather_prepare,
    .forward = gather_forward,
    .backward = gather_backward,
    .bound = gather_bound,
};

/* ---- mean ---- */

static void mean_prepare(problem *p) {
    const shape *s = p->shape;
    const sequences *rows = prepare_rows(p);
    flows(add_output(p, Y, "y", rows->batch * s->channels, DY), rows->batch);
    flows(add_input(p, DY, "dy", rows->batch * s->channels, 1), rows->batch);
    flows(add_gradient(p, DX, "dx", rows->rows * s->channels, X, OUTPUT), rows->rows);
}

static bft_mean mean_describe(const run *r) {
    const sequences *rows = r->problem->extra;
    return (bft_mean){.batch = rows->batch,
                      .channels = ((const shape *)r->problem->shape)->channels,
                      .start = rows->start,
                      .x = r->memory[X],
                      .y = r->memory[Y],
                      .dy = r->memory[DY],
                      .dx = r->memory[DX]};
}

static void mean_forward(const run *r) {
    bft_mean op = mean_describe(r);
    r->ops->mean_forward(r->device, &op);
}

static void mean_backward(const run *r) {
    bft_mean op = mean_describe(r);
    r->ops->mean_backward(r->device, &op);
}

static void mean_bound(problem *p) {
    const sequences *rows = p->extra;
    size_t channels = ((const shape *)p->shape)->channels;
    for (size_t i = 0; i < rows->batch * channels; i++) {
        size_t first = rows->start[i / channels], last = rows->start[i / channels + 1];
        double size = 0;
        for (size_t r = first; r < last; r++) {
            size += fabs(p->tensor[X].start[r * channels + i % channels]);
        }
        p->tensor[Y].error[i] = (growth(last - first) * size) / (double)(last - first) +
                                2 * fabs(p->tensor[Y].truth[i]) + stored(p, p->tensor[Y].truth[i]);
    }
    for (size_t i = 0; i < p->tensor[DX].count; i++) {
        p->tensor[DX].error[i] = 2 * fabs(p->tensor[DX].truth[i]) + stored(p, p->tensor[DX].truth[i]);
    }
}

const subject mean_subject = {
    .op = "mean",
    .shapes = mean_shapes,
    .shape_size = sizeof mean_shapes[0],
    .shape_count = sizeof mean_shapes / sizeof mean_shapes[0],
    .prepare = mean_prepare,
    .forward = mean_forward,
    .backward = mean_backward,
    .bound = mean_bound,
};

/* ---- mask ---- */

static bft_dropout mask_dropout(const problem *p) {
    const sequences *rows = p->extra;
    return make_dropout(p, ((const shape *)p->shape)->rate, BFT_SITE_HEAD, rows->sample, rows->position);
}

static void mask_prepare(problem *p) {
    const sequences *rows = prepare_rows(p);
    const shape *s = p->shape;
    tensor *y = flows(add_output(p, Y, "y", rows->rows * s->channels, NONE), rows->rows);
    y->gradient = s->gradient;
    y->mask = true;
    y->shares = s->in_place ? X : NONE;
}

static void mask_forward(const run *r) {
    const sequences *rows = r->problem->extra;
    bft_mask op = {.rows = rows->rows,
                   .channels = ((const shape *)r->problem->shape)->channels,
                   .x = r->memory[X],
                   .dropout = mask_dropout(r->problem),
                   .y = r->memory[Y]};
    r->ops->mask(r->device, &op);
}

static void mask_truth(problem *p) {
    bft_dropout dropout = mask_dropout(p);
    size_t channels = ((const shape *)p->shape)->channels;
    for (size_t i = 0; i < p->tensor[Y].count; i++) {
        p->tensor[Y].truth[i] = p->tensor[X].start[i] * row_factor(&dropout, i / channels, i % channels);
    }
}

static void mask_bound(problem *p) {
    for (size_t i = 0; i < p->tensor[Y].count; i++) {
        double y = p->tensor[Y].truth[i];
        p->tensor[Y].error[i] = ((const shape *)p->shape)->rate > 0 ? 2 * fabs(y) + stored(p, y) : 0;
    }
}

const subject mask_subject = {
    .op = "mask",
    .shapes = mask_shapes,
    .shape_size = sizeof mask_shapes[0],
    .shape_count = sizeof mask_shapes / sizeof mask_shapes[0],
    .prepare = mask_prepare,
    .forward = mask_forward,
    .truth = mask_truth,
    .bound = mask_bound,
};
