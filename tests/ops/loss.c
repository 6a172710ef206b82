/* loss.c: the cases of the three losses. */
#include "tests/ops/ops_test.h"

#include <math.h>

enum { LOGITS, LOSS, TOTAL, DLOGITS };

typedef struct shape {
    const char *title;
    bft_loss_kind kind;
    size_t batch, classes;
    double scale; /* of the logits */
    float smoothing;
    bool weighted, no_gradient;
} shape;

static const shape shapes[] = {
    {"cross-entropy, 3 x 2", BFT_CROSS_ENTROPY, 3, 2, .scale = 2},
    {"cross-entropy, 1 x 1", BFT_CROSS_ENTROPY, 1, 1, .scale = 2},
    {"cross-entropy, 7 x 28", BFT_CROSS_ENTROPY, 7, 28, .scale = 2},
    {"cross-entropy, 7 x 5, weights", BFT_CROSS_ENTROPY, 7, 5, .scale = 2, .weighted = true},
    {"cross-entropy, 7 x 5, smoothing 0.1", BFT_CROSS_ENTROPY, 7, 5, .scale = 2, .smoothing = 0.1f},
    {"cross-entropy, 33 x 6, weights, smoothing 0.3", BFT_CROSS_ENTROPY, 33, 6, .scale = 2, .smoothing = 0.3f,
     .weighted = true},
    {"cross-entropy, 33 x 6, logits of 1e4", BFT_CROSS_ENTROPY, 33, 6, .scale = 1e4},
    {"cross-entropy, 33 x 6, logits of 1e4, weights, smoothing", BFT_CROSS_ENTROPY, 33, 6, .scale = 1e4,
     .smoothing = 0.1f, .weighted = true},
    {"cross-entropy, 1000 x 3, no gradient", BFT_CROSS_ENTROPY, 1000, 3, .scale = 2, .no_gradient = true},
    {"binary, 3 x 1", BFT_BINARY, 3, 1, .scale = 2},
    {"binary, 7 x 5", BFT_BINARY, 7, 5, .scale = 2},
    {"binary, 7 x 28, weights", BFT_BINARY, 7, 28, .scale = 4, .weighted = true},
    {"binary, 33 x 6, logits of 1e4", BFT_BINARY, 33, 6, .scale = 1e4},
    {"binary, 33 x 6, no gradient", BFT_BINARY, 33, 6, .scale = 2, .no_gradient = true},
    {"squared, 3 x 1", BFT_SQUARED, 3, 1, .scale = 2},
    {"squared, 7 x 5", BFT_SQUARED, 7, 5, .scale = 2},
    {"squared, 33 x 6, logits of 1e4", BFT_SQUARED, 33, 6, .scale = 1e4},
    {"squared, 33 x 1, no gradient", BFT_SQUARED, 33, 1, .scale = 2, .no_gradient = true},
};

typedef struct labels {
    size_t batch;
    uint32_t *target;
    float *targets, *weight;
    double normalizer;
} labels;

/* Binary targets are 0, 1, or between; squared ones are any number. The normalizer is that of a batch twice as
 * large, or three times: a micro-batch is a part. */
static void prepare(problem *p) {
    const shape *s = p->shape;
    double part = p->padded == NULL ? 2 : 3;
    labels *l = take(p, 1, sizeof *l);
    l->batch = size_in(p, s->batch);
    l->target = take_array(p, l->batch, sizeof *l->target);
    l->targets = take_array(p, l->batch * s->classes, sizeof *l->targets);
    l->weight = s->weighted ? take_array(p, s->classes, sizeof *l->weight) : NULL;
    for (size_t k = 0; s->weighted && k < s->classes; k++) {
        l->weight[k] = (float)(0.25 + 2 * bft_random_unit(&p->random));
    }
    for (size_t b = 0; b < l->batch; b++) {
        l->target[b] = bft_random_below(&p->random, (uint32_t)s->classes);
        l->normalizer += s->weighted ? part * (double)l->weight[l->target[b]] : part;
    }
    for (size_t i = 0; i < l->batch * s->classes; i++) {
        l->targets[i] = s->kind == BFT_SQUARED ? draw(p, 2) : (float)bft_random_below(&p->random, 5) / 4;
    }
    if (s->kind != BFT_CROSS_ENTROPY) {
        l->normalizer = part * (double)(l->batch * s->classes);
    }
    p->extra = l;
    add_input(p, LOGITS, "logits", l->batch * s->classes, s->scale)->rows = l->batch;
    tensor *loss = add_output(p, LOSS, "loss", l->batch, NONE);
    loss->numbers = DOUBLES;
    loss->rows = l->batch;
    tensor *total = add_input(p, TOTAL, "total", 1, 1);
    total->role = ADDED;
    total->numbers = DOUBLES;
    if (!s->no_gradient) {
        tensor *dlogits = add_gradient(p, DLOGITS, "dlogits", l->batch * s->classes, LOGITS, OUTPUT);
        dlogits->backward = false;
        dlogits->rows = l->batch;
    }
}

static void forward(const run *r) {
    const shape *s = r->problem->shape;
    const labels *l = r->problem->extra;
    bft_loss op = {.kind = s->kind,
                   .batch = l->batch,
                   .classes = s->classes,
                   .logits = r->memory[LOGITS],
                   .target = s->kind == BFT_CROSS_ENTROPY ? l->target : NULL,
                   .targets = s->kind == BFT_CROSS_ENTROPY ? NULL : l->targets,
                   .weight = l->weight,
                   .smoothing = s->smoothing,
                   .normalizer = l->normalizer,
                   .loss = r->memory[LOSS],
                   .total = r->memory[TOTAL],
                   .dlogits = r->memory[DLOGITS]};
    r->ops->loss(r->device, &op);
}

/* ---- Bounds, before the division by the normalizer ---- */

static void put(problem *p, int at, size_t i, double error) {
    const labels *l = p->extra;
    tensor *t = &p->tensor[at];
    if (i < t->count) {
        t->error[i] = error / l->normalizer + 2 * fabs(t->truth[i]);
    }
}

/* log softmax_k = x_k - L with L = largest + log(sum of exp): |x_k| + |L| for the subtraction of rounded numbers,
 * FUNCTION for the logarithm and for the exponentials that it sees, growth(K) for their sum. */
static void bound_cross_entropy(problem *p, size_t b) {
    const shape *s = p->shape;
    const labels *l = p->extra;
    const double *x = p->tensor[LOGITS].start + b * s->classes;
    double largest = -INFINITY, sum = 0, all = 0, error = 0, size = 0, smoothing = (double)s->smoothing;
    for (size_t k = 0; k < s->classes; k++) {
        largest = fmax(largest, x[k]);
    }
    for (size_t k = 0; k < s->classes; k++) {
        sum += exp(x[k] - largest);
    }
    double whole = largest + log(sum);
    for (size_t k = 0; k < s->classes; k++) {
        double weight = s->weighted ? (double)l->weight[k] : 1;
        double share = weight * (smoothing / (double)s->classes + (k == l->target[b] ? 1 - smoothing : 0));
        double of_log = fabs(x[k]) + fabs(largest) + fabs(whole) + 3 * FUNCTION + growth(s->classes);
        all += share;
        size += share * fabs(whole - x[k]);
        error += share * (of_log + 4 * fabs(whole - x[k]));
    }
    put(p, LOSS, b, error + growth(s->classes) * size);
    for (size_t k = 0; k < s->classes; k++) {
        double of_log = fabs(x[k]) + fabs(largest) + fabs(whole) + 3 * FUNCTION + growth(s->classes);
        put(p, DLOGITS, b * s->classes + k,
            all * (exp(x[k] - whole) * (of_log + FUNCTION) + UNDERFLOW) + 2 * growth(s->classes + 2) * all);
    }
}

/* softplus and the logistic function are sums with 1, so their errors are absolute ones. */
static void bound_binary(problem *p, size_t b) {
    const shape *s = p->shape;
    const labels *l = p->extra;
    double error = 0, size = 0;
    for (size_t k = 0; k < s->classes; k++) {
        size_t i = b * s->classes + k;
        double x = p->tensor[LOGITS].start[i], target = (double)l->targets[i];
        double yes = (s->weighted ? (double)l->weight[k] : 1) * target, no = 1 - target;
        double of_yes = fmax(-x, 0) + log1p(exp(-fabs(x))), of_no = fmax(x, 0) + log1p(exp(-fabs(x)));
        size += yes * of_yes + no * of_no;
        error += (yes + no) * 3 * FUNCTION + 4 * (yes * of_yes + no * of_no);
        put(p, DLOGITS, i, (yes + no) * (2 * FUNCTION + 4));
    }
    put(p, LOSS, b, error + growth(s->classes) * size);
}

static void bound_squared(problem *p, size_t b) {
    const shape *s = p->shape;
    const labels *l = p->extra;
    double size = 0;
    for (size_t k = 0; k < s->classes; k++) {
        size_t i = b * s->classes + k;
        double off = p->tensor[LOGITS].start[i] - (double)l->targets[i];
        size += off * off;
        put(p, DLOGITS, i, 2 * fabs(2 * off));
    }
    put(p, LOSS, b, (growth(s->classes) + 3) * size);
}

/* The total is what it was and the losses. */
static void bound_total(problem *p) {
    const tensor *loss = &p->tensor[LOSS];
    tensor *total = &p->tensor[TOTAL];
    double size = fabs(total->start[0]);
    for (size_t b = 0; b < loss->count; b++) {
        size += fabs(loss->truth[b]);
        total->error[0] += loss->error[b];
    }
    total->error[0] += growth(loss->count + 1) * size;
}

static void bound(problem *p) {
    const shape *s = p->shape;
    const labels *l = p->extra;
    for (size_t b = 0; b < l->batch; b++) {
        if (s->kind == BFT_CROSS_ENTROPY) {
            bound_cross_entropy(p, b);
        } else if (s->kind == BFT_BINARY) {
            bound_binary(p, b);
        } else {
            bound_squared(p, b);
        }
    }
    bound_total(p);
}

const subject loss_subject = {
    .op = "loss",
    .shapes = shapes,
    .shape_size = sizeof shapes[0],
    .shape_count = sizeof shapes / sizeof shapes[0],
    .prepare = prepare,
    .forward = forward,
    .bound = bound,
};
