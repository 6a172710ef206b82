/* embed.c: the cases of embed. */
#include "tests/ops/norm_bound.h"

#include <math.h>

enum { WORD, POSITIONS, TYPES, GAMMA, BETA, Y, DY, DWORD, DPOSITIONS, DTYPES, DGAMMA, DBETA };

typedef struct shape {
    const char *title;
    size_t batch, longest, words, channels;
    float rate;
    bool no_types, inference, frozen, frozen_words;
} shape;

static const shape shapes[] = {
    {"one token of 4", 1, 1, 1, .channels = 4},
    {"few tokens of 6, dropout 0.5", 3, 4, 5, .channels = 6, .rate = 0.5f},
    {"few tokens of 5 without types", 3, 4, 5, .channels = 5, .no_types = true},
    {"few tokens of 26, dropout 0.1", 2, 5, 4, .channels = 26, .rate = 0.1f},
    {"one token of 312, dropout 0.1", 1, 1, 1, .channels = 312, .rate = 0.1f},
    {"tokens of 312, dropout 0.1", 5, 14, 20, .channels = 312, .rate = 0.1f},
    {"tokens of 264 without types, dropout 0.1", 5, 14, 20, .channels = 264, .rate = 0.1f, .no_types = true},
    {"tokens of 768", 3, 9, 11, .channels = 768},
    {"one sequence of 512 tokens of 22", 1, 512, 64, .channels = 22, .rate = 0.1f},
    {"1000 sequences of one token of 26, of 3 words", 1000, 1, 3, .channels = 26, .rate = 0.2f},
    {"tokens of 312, frozen", 3, 9, 11, .channels = 312, .rate = 0.1f, .frozen = true},
    {"tokens of 312, frozen words", 3, 9, 11, .channels = 312, .rate = 0.1f, .frozen_words = true},
    {"tokens of 312, inference", 5, 14, 20, .channels = 312, .inference = true},
};

enum { TYPE_ROWS = 2 };

typedef struct tokens {
    sequences rows;
    size_t words;
    uint32_t *word; /* (N) */
} tokens;

/* The last word of several never occurs: its gradient must be overwritten all the same. Positions beyond the
 * longest sequence are there and stay as they are. */
static tokens make_tokens(problem *p, const shape *s) {
    tokens t = {.rows = make_sequences(p, s->batch, s->longest), .words = size_in(p, s->words)};
    t.word = take_array(p, t.rows.rows, sizeof *t.word);
    for (size_t i = 0; i < t.rows.rows; i++) {
        t.word[i] = t.words == 1 ? 0 : bft_random_below(&p->random, (uint32_t)t.words - 1);
    }
    return t;
}

static void prepare(problem *p) {
    const shape *s = p->shape;
    p->inference = s->inference;
    tokens *t = take(p, 1, sizeof *t);
    *t = make_tokens(p, s);
    p->extra = t;
    size_t count = t->rows.rows * s->channels, positions = (s->longest + 2) * s->channels;
    add_input(p, WORD, "word", t->words * s->channels, 1);
    add_input(p, POSITIONS, "position_table", positions, 0.5);
    if (!s->no_types) {
        add_input(p, TYPES, "type_table", TYPE_ROWS * s->channels, 0.5);
    }
    add_input(p, GAMMA, "gamma", s->channels, 1);
    add_input(p, BETA, "beta", s->channels, 1);
    flows(add_output(p, Y, "y", count, DY), t->rows.rows)->mask = s->rate > 0;
    if (s->inference) {
        return;
    }
    flows(add_input(p, DY, "dy", count, 1), t->rows.rows);
    if (!s->frozen && !s->frozen_words) {
        add_gradient(p, DWORD, "dword", t->words * s->channels, WORD, OUTPUT);
    }
    if (!s->frozen) {
        add_gradient(p, DPOSITIONS, "dposition_table", positions, POSITIONS, ADDED);
        add_gradient(p, DGAMMA, "dgamma", s->channels, GAMMA, ADDED);
        add_gradient(p, DBETA, "dbeta", s->channels, BETA, ADDED);
    }
    if (!s->frozen && !s->no_types) {
        add_gradient(p, DTYPES, "dtype_table", TYPE_ROWS * s->channels, TYPES, ADDED);
    }
}

static bft_dropout dropout_of(const problem *p) {
    const tokens *t = p->extra;
    const shape *s = p->shape;
    return make_dropout(p, s->rate, BFT_SITE_EMBED, t->rows.sample, t->rows.position);
}

static bft_embed describe(const run *r) {
    const shape *s = r->problem->shape;
    const tokens *t = r->problem->extra;
    return (bft_embed){
        .rows = t->rows.rows,
        .words = t->words,
        .channels = s->channels,
        .eps = 1e-12f,
        .word = r->memory[WORD],
        .word_row = t->word,
        .position = t->rows.position,
        .position_table = r->memory[POSITIONS],
        .type_table = r->memory[TYPES],
        .gamma = r->memory[GAMMA],
        .beta = r->memory[BETA],
        .dropout = dropout_of(r->problem),
        .y = r->memory[Y],
        .saved = r->saved,
        .scratch = r->scratch,
        .dy = r->memory[DY],
        .dword = r->memory[DWORD],
        .dposition_table = r->memory[DPOSITIONS],
        .dtype_table = r->memory[DTYPES],
        .dgamma = r->memory[DGAMMA],
        .dbeta = r->memory[DBETA],
    };
}

static void memory(const run *r, bft_memory *out) {
    const shape *s = r->problem->shape;
    const tokens *t = r->problem->extra;
    bft_embed op = {.rows = t->rows.rows, .words = t->words, .channels = s->channels};
    r->ops->embed_memory(&op, out);
}

static void forward(const run *r) {
    bft_embed op = describe(r);
    r->ops->embed_forward(r->device, &op);
}

static void backward(const run *r) {
    bft_embed op = describe(r);
    r->ops->embed_backward(r->device, &op);
}

/* ---- Bounds ---- */

static norm_bound bound_sum(problem *p, size_t count) {
    const shape *s = p->shape;
    const tokens *t = p->extra;
    double *sum = take(p, count, sizeof *sum), *error = take(p, count, sizeof *error);
    for (size_t i = 0; i < count; i++) {
        size_t row = i / s->channels, c = i % s->channels;
        double word = p->tensor[WORD].start[t->word[row] * s->channels + c];
        double position = p->tensor[POSITIONS].start[t->rows.position[row] * s->channels + c];
        double type = s->no_types ? 0 : p->tensor[TYPES].start[c];
        sum[i] = word + position + type;
        error[i] = 2 * (fabs(word) + fabs(position) + fabs(type));
    }
    return bound_norm(p, t->rows.rows, s->channels, sum, error, (double)1e-12f);
}

/* A table's row gets the sum of the rows of gradients (`size` is their absolute value) that point at it; `index` is
 * NULL where all point at row 0. */
static void bound_table(const problem *p, tensor *table, const uint32_t *index, const double *size,
                        const double *error) {
    const shape *s = p->shape;
    const tokens *t = p->extra;
    for (size_t i = 0; i < table->count; i++) {
        size_t terms = 1, row = i / s->channels;
        double sum = table->start == NULL ? 0 : fabs(table->start[i]), passed_on = 0;
        for (size_t r = 0; r < t->rows.rows; r++) {
            if ((index == NULL ? 0 : index[r]) == row) {
                size_t at = r * s->channels + i % s->channels;
                terms++;
                sum += size[at];
                passed_on += error[at];
            }
        }
        table->error[i] = growth(terms) * sum + passed_on;
    }
}

static void bound(problem *p) {
    const shape *s = p->shape;
    const tokens *t = p->extra;
    bft_dropout dropout = dropout_of(p);
    size_t count = t->rows.rows * s->channels;
    norm_bound norm = bound_sum(p, count);
    const double *gamma = p->tensor[GAMMA].start, *beta = p->tensor[BETA].start;
    double *dy = take(p, count, sizeof *dy), *dy_error = take(p, count, sizeof *dy_error);
    double *size = take(p, count, sizeof *size), *error = take(p, count, sizeof *error);
    for (size_t i = 0; i < count; i++) {
        size_t c = i % s->channels;
        double factor = row_factor(&dropout, i / s->channels, c);
        p->tensor[Y].error[i] = factor * bound_norm_output(&norm, i, gamma[c], beta[c]) +
                                2 * fabs(p->tensor[Y].truth[i]) + stored(p, p->tensor[Y].truth[i]);
        if (!s->inference) {
            dy[i] = p->tensor[DY].start[i] * factor;
            dy_error[i] = 2 * fabs(dy[i]);
        }
    }
    if (s->inference) {
        return;
    }
    bound_norm_backward(&norm, gamma, dy, dy_error, size, error);
    bound_gamma_beta(&norm, dy, dy_error, &p->tensor[DGAMMA], &p->tensor[DBETA]);
    bound_table(p, &p->tensor[DWORD], t->word, size, error);
    bound_table(p, &p->tensor[DPOSITIONS], t->rows.position, size, error);
    bound_table(p, &p->tensor[DTYPES], NULL, size, error);
}

const subject embed_subject = {
    .op = "embed",
    .shapes = shapes,
    .shape_size = sizeof shapes[0],
    .shape_count = sizeof shapes / sizeof shapes[0],
    .prepare = prepare,
    .memory = memory,
    .forward = forward,
    .backward = backward,
    .bound = bound,
};
