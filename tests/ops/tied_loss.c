/* tied_loss.c: the cases of tied_loss. */
#include "tests/ops/ops_test.h"

#include <math.h>

enum { X, TABLE, BIAS, LOSS, TOTAL, HITS, DX, DTABLE, DBIAS };

typedef struct shape {
    const char *title;
    size_t rows, channels, vocabulary;
    double scale; /* of the logits */
    bool no_gradient, frozen;
} shape;

/* Backends go over the vocabulary in tiles of 1,152 or 8,192 words. */
static const shape shapes[] = {
    {"1 row of 2, 1 word", 1, 2, 1, .scale = 2},
    {"3 rows of 7, 11 words", 3, 7, 11, .scale = 2},
    {"7 rows of 26, 300 words", 7, 26, 300, .scale = 2},
    {"33 rows of 22, 591 words", 33, 22, 591, .scale = 3},
    {"50 rows of 31, 1,153 words", 50, 31, 1153, .scale = 3},
    {"5 rows of 312, 2,100 words", 5, 312, 2100, .scale = 3},
    {"9 rows of 4, 8,200 words", 9, 4, 8200, .scale = 3},
    {"9 rows of 8, 1,200 words, logits of 1e3", 9, 8, 1200, .scale = 1e3},
    {"5 rows of 8, 1,200 words, equal logits", 5, 8, 1200, .scale = 0},
    {"33 rows of 22, 1,200 words, frozen", 33, 22, 1200, .scale = 2, .frozen = true},
    {"65 rows of 22, 1,200 words, no gradient", 65, 22, 1200, .scale = 2, .no_gradient = true},
};

typedef struct masked {
    size_t rows;
    uint32_t *target;
    double normalizer;
} masked;

static double logit(const problem *p, size_t row, size_t word) {
    size_t channels = ((const shape *)p->shape)->channels;
    const double *x = p->tensor[X].start + row * channels, *w = p->tensor[TABLE].start + word * channels;
    double sum = p->tensor[BIAS].start[word];
    for (size_t c = 0; c < channels; c++) {
        sum += x[c] * w[c];
    }
    return sum;
}

/* Every other row's target is its best word, so that there are hits; of equal logits, the first row's is the first. */
static void choose_targets(problem *p, masked *m) {
    const shape *s = p->shape;
    for (size_t row = 0; row < m->rows; row++) {
        m->target[row] = bft_random_below(&p->random, (uint32_t)s->vocabulary);
        for (size_t word = 0, best = 0; word < s->vocabulary && row % 2 == 0; word++) {
            best = logit(p, row, word) > logit(p, row, best) ? word : best;
            m->target[row] = (uint32_t)best;
        }
    }
}

static void add_double(problem *p, int at, const char *name) {
    tensor *t = add_input(p, at, name, 1, 1);
    t->role = ADDED;
    t->numbers = DOUBLES;
}

/* The normalizer is that of a batch twice as large, or three times: a micro-batch is a part. */
static void prepare(problem *p) {
    const shape *s = p->shape;
    masked *m = take(p, 1, sizeof *m);
    p->extra = m;
    m->rows = size_in(p, s->rows);
    m->normalizer = (p->padded == NULL ? 2.0 : 3.0) * (double)m->rows;
    flows(add_input(p, X, "x", m->rows * s->channels, 1), m->rows);
    add_input(p, TABLE, "table", s->vocabulary * s->channels, s->scale / sqrt((double)s->channels))->numbers = VALUES;
    add_input(p, BIAS, "bias", s->vocabulary, s->scale / 4);
    m->target = take_array(p, m->rows, sizeof *m->target);
    choose_targets(p, m);
    tensor *loss = add_output(p, LOSS, "loss", m->rows, NONE);
    loss->numbers = DOUBLES;
    loss->rows = m->rows;
    add_double(p, TOTAL, "total");
    add_double(p, HITS, "hits");
    p->tensor[HITS].start[0] = 3;
    if (s->no_gradient) {
        return;
    }
    flows(add_gradient(p, DX, "dx", m->rows * s->channels, X, OUTPUT), m->rows)->backward = false;
    if (!s->frozen) {
        add_gradient(p, DTABLE, "dtable", s->vocabulary * s->channels, TABLE, ADDED)->backward = false;
        add_gradient(p, DBIAS, "dbias", s->vocabulary, BIAS, ADDED)->backward = false;
    }
}

static bft_tied_loss describe(const run *r) {
    const shape *s = r->problem->shape;
    const masked *m = r->problem->extra;
    return (bft_tied_loss){.rows = m->rows,
                           .channels = s->channels,
                           .vocabulary = s->vocabulary,
                           .x = r->memory[X],
                           .table = r->memory[TABLE],
                           .bias = r->memory[BIAS],
                           .target = m->target,
                           .normalizer = m->normalizer,
                           .loss = r->memory[LOSS],
                           .total = r->memory[TOTAL],
                           .hits = r->memory[HITS],
                           .scratch = r->scratch,
                           .dx = r->memory[DX],
                           .dtable = r->memory[DTABLE],
                           .dbias = r->memory[DBIAS]};
}

static void memory(const run *r, bft_memory *out) {
    bft_tied_loss op = describe(r);
    r->ops->tied_loss_memory(&op, out);
}

static void forward(const run *r) {
    bft_tied_loss op = describe(r);
    r->ops->tied_loss(r->device, &op);
}

/* ---- Bounds ---- */

/* A row's logits, their gradient, and the errors of both. */
typedef struct bounds {
    double *x, *x_error, *d, *d_error; /* (V), (V), (M, V), (M, V) */
} bounds;

static void bound_logits(const problem *p, size_t row, bounds *b) {
    const shape *s = p->shape;
    for (size_t word = 0; word < s->vocabulary; word++) {
        double size = fabs(p->tensor[BIAS].start[word]);
        for (size_t c = 0; c < s->channels; c++) {
            size += fabs(p->tensor[X].start[row * s->channels + c] * p->tensor[TABLE].start[word * s->channels + c]);
        }
        b->x[word] = logit(p, row, word);
        b->x_error[word] = growth(s->channels + 1) * size;
    }
}

/* As loss.c has it for cross-entropy; a logit's error reaches the logarithm of the sum with its probability's weight. */
static void bound_row(problem *p, size_t row, bounds *b) {
    const shape *s = p->shape;
    const masked *m = p->extra;
    tensor *loss = &p->tensor[LOSS];
    double largest = -INFINITY, sum = 0;
    bound_logits(p, row, b);
    for (size_t word = 0; word < s->vocabulary; word++) {
        largest = fmax(largest, b->x[word]);
    }
    for (size_t word = 0; word < s->vocabulary; word++) {
        sum += exp(b->x[word] - largest);
    }
    double whole = largest + log(sum), of_sum = fabs(whole) + 3 * FUNCTION + growth(s->vocabulary);
    for (size_t word = 0; word < s->vocabulary; word++) {
        of_sum += exp(b->x[word] - whole) * (b->x_error[word] + fabs(b->x[word]) + fabs(largest));
    }
    size_t target = m->target[row];
    loss->error[row] = (of_sum + b->x_error[target] + 4 * (fabs(b->x[target]) + fabs(whole))) / m->normalizer;
    for (size_t word = 0; word < s->vocabulary; word++) {
        size_t i = row * s->vocabulary + word;
        double share = exp(b->x[word] - whole), one = word == target ? 1 : 0;
        double error = b->x_error[word] + fabs(b->x[word]) + fabs(largest) + of_sum + FUNCTION + 4;
        b->d[i] = (share - one) / m->normalizer;
        b->d_error[i] = (share * error + 4 * one + UNDERFLOW) / m->normalizer;
    }
}

/* Of sums over rows: what the table's and the bias's gradients become. */
static void bound_word(problem *p, size_t word, const bounds *b) {
    const shape *s = p->shape;
    const masked *m = p->extra;
    tensor *dtable = &p->tensor[DTABLE], *dbias = &p->tensor[DBIAS];
    double size = fabs(dbias->start[word]), error = 0;
    for (size_t row = 0; row < m->rows; row++) {
        size += fabs(b->d[row * s->vocabulary + word]);
        error += b->d_error[row * s->vocabulary + word];
    }
    dbias->error[word] = growth(m->rows + 1) * size + error;
    for (size_t i = word * s->channels; i < (word + 1) * s->channels; i++) {
        size = fabs(dtable->start[i]);
        error = 0;
        for (size_t row = 0; row < m->rows; row++) {
            double x = fabs(p->tensor[X].start[row * s->channels + i % s->channels]);
            size_t at = row * s->vocabulary + word;
            size += fabs(b->d[at]) * x;
            error += (b->d_error[at] + stored(p, b->d[at])) * x;
        }
        dtable->error[i] = growth(m->rows + 1) * size + error;
    }
}

static void bound_dx(problem *p, size_t row, const bounds *b) {
    const shape *s = p->shape;
    tensor *dx = &p->tensor[DX];
    for (size_t c = 0; c < s->channels; c++) {
        double size = 0, error = 0;
        for (size_t word = 0; word < s->vocabulary; word++) {
            double w = fabs(p->tensor[TABLE].start[word * s->channels + c]);
            size_t at = row * s->vocabulary + word;
            size += fabs(b->d[at]) * w;
            error += (b->d_error[at] + stored(p, b->d[at])) * w;
        }
        size_t i = row * s->channels + c;
        dx->error[i] = growth(s->vocabulary) * size + error + stored(p, dx->truth[i]);
    }
}

static void bound(problem *p) {
    const shape *s = p->shape;
    const masked *m = p->extra;
    bounds b = {.x = take(p, s->vocabulary, sizeof *b.x),
                .x_error = take(p, s->vocabulary, sizeof *b.x_error),
                .d = take(p, m->rows * s->vocabulary, sizeof *b.d),
                .d_error = take(p, m->rows * s->vocabulary, sizeof *b.d_error)};
    tensor *total = &p->tensor[TOTAL];
    double size = fabs(total->start[0]);
    for (size_t row = 0; row < m->rows; row++) {
        bound_row(p, row, &b);
        total->error[0] += p->tensor[LOSS].error[row];
        size += fabs(p->tensor[LOSS].truth[row]);
        if (!s->no_gradient) {
            bound_dx(p, row, &b);
        }
    }
    total->error[0] += growth(m->rows + 1) * size;
    for (size_t word = 0; word < s->vocabulary && !s->no_gradient && !s->frozen; word++) {
        bound_word(p, word, &b);
    }
}

const subject tied_loss_subject = {
    .op = "tied_loss",
    .shapes = shapes,
    .shape_size = sizeof shapes[0],
    .shape_count = sizeof shapes / sizeof shapes[0],
    .prepare = prepare,
    .memory = memory,
    .forward = forward,
    .bound = bound,
};
