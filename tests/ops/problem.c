/* problem.c: what subjects make their problems of: tensors of random values, sequences, dropout. */
#include "tests/ops/ops_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void *take(problem *p, size_t count, size_t size) {
    bft_error err;
    void *memory;
    must(bft_arena_alloc(&err, &p->arena, count, size, &memory), &err);
    return memory;
}

void *take_array(problem *p, size_t count, size_t size) {
    void *memory = p->arrays < MAX_ARRAYS ? calloc(count, size) : NULL;
    if (memory == NULL) {
        bft_error err;
        must(bft_error_memory(&err, count * size), &err);
    }
    p->array[p->arrays++] = memory;
    return memory;
}

/* What tensors have in common with each other is known when all are there. */
static void finish(problem *p) {
    for (int at = 0; at < MAX_TENSORS; at++) {
        tensor *t = &p->tensor[at];
        if (t->name != NULL && t->upstream != NONE) {
            p->tensor[t->upstream].gradient = true;
        }
        for (size_t i = 0; t->numbers == VALUES && t->start != NULL && i < t->count; i++) {
            t->start[i] = round_value(p->values, t->start[i]);
        }
    }
}

void problem_open(problem *p, const subject *s, size_t shape, uint64_t seed, bft_dtype values,
                  size_t (*padded)(size_t)) {
    uint32_t stream = 0;
    for (const char *c = s->op; *c != '\0'; c++) {
        stream = stream * 31 + (unsigned char)*c;
    }
    stream += (uint32_t)shape;
    *p = (problem){.subject = s,
                   .shape = (const char *)s->shapes + shape * s->shape_size,
                   .values = values,
                   .padded = padded,
                   .lengths = bft_random_create(seed, stream, (uint64_t)1 << 40),
                   .random = bft_random_create(seed, stream, padded == NULL ? 0 : (uint64_t)1 << 41)};
    s->prepare(p);
    finish(p);
}

void problem_close(problem *p) {
    for (size_t i = 0; i < p->arrays; i++) {
        free(p->array[i]);
    }
    bft_arena_free(&p->arena);
}

float draw(problem *p, double scale) {
    return (float)(scale * bft_random_normal(&p->random));
}

static tensor *add(problem *p, int at, tensor made) {
    made.truth = take(p, made.count, sizeof(double));
    made.error = take(p, made.count, sizeof(double));
    made.slack = take(p, made.count, sizeof(double));
    p->tensor[at] = made;
    return &p->tensor[at];
}

static double *draw_many(problem *p, size_t count, double scale) {
    double *value = take(p, count, sizeof *value);
    for (size_t i = 0; i < count; i++) {
        value[i] = (double)draw(p, scale);
    }
    return value;
}

tensor *add_input(problem *p, int at, const char *name, size_t count, double scale) {
    return add(p, at,
               (tensor){.name = name,
                        .role = INPUT,
                        .count = count,
                        .start = draw_many(p, count, scale),
                        .gradient_of = NONE,
                        .upstream = NONE,
                        .shares = NONE});
}

tensor *add_output(problem *p, int at, const char *name, size_t count, int upstream) {
    return add(p, at,
               (tensor){.name = name,
                        .role = OUTPUT,
                        .count = count,
                        .gradient_of = NONE,
                        .upstream = p->inference ? NONE : upstream,
                        .shares = NONE});
}

tensor *add_gradient(problem *p, int at, const char *name, size_t count, int gradient_of, role kind) {
    return add(p, at,
               (tensor){.name = name,
                        .role = kind,
                        .count = count,
                        .start = kind == OUTPUT ? NULL : draw_many(p, count, 1),
                        .gradient_of = gradient_of,
                        .upstream = NONE,
                        .shares = NONE,
                        .gradient = true,
                        .backward = true});
}

tensor *add_struct(problem *p, int at, const char *name, const void *bytes, size_t size) {
    double *start = take(p, size / sizeof(double), sizeof *start);
    memcpy(start, bytes, size);
    return add(p, at,
               (tensor){.name = name,
                        .role = INPUT,
                        .numbers = DOUBLES,
                        .count = size / sizeof(double),
                        .start = start,
                        .gradient_of = NONE,
                        .upstream = NONE,
                        .shares = NONE});
}

tensor *flows(tensor *t, size_t rows) {
    t->numbers = VALUES;
    t->rows = rows;
    return t;
}

size_t size_in(const problem *p, size_t size) {
    return p->padded != NULL && size > 1 && p->padded(size - 1) == p->padded(size) ? size - 1 : size;
}

static void draw_lengths(problem *p, uint32_t *length, size_t batch, size_t longest) {
    for (size_t b = 0; b < batch; b++) {
        length[b] = b == 0 ? (uint32_t)longest : 1 + bft_random_below(&p->lengths, (uint32_t)longest);
    }
}

/* Other lengths, whose number and sum are the same when padded. Returns their number. */
static size_t draw_others(problem *p, uint32_t *length, size_t batch, size_t longest) {
    size_t rows = 0, fewer = size_in(p, batch);
    for (size_t b = 0; b < batch; b++) {
        rows += length[b];
    }
    batch = p->padded(fewer * longest) >= p->padded(rows) ? fewer : batch;
    size_t sum = size_in(p, rows);
    sum = sum < batch ? batch : sum > batch * longest ? batch * longest : sum;
    for (size_t b = 0; b < batch; b++) {
        length[b] = 1;
    }
    for (size_t left = sum - batch; left > 0;) {
        uint32_t *one = &length[bft_random_below(&p->random, (uint32_t)batch)];
        size_t more = 1 + bft_random_below(&p->random, (uint32_t)longest), most = longest - *one;
        more = more > most ? most : more;
        more = more > left ? left : more;
        *one += (uint32_t)more;
        left -= more;
    }
    return batch;
}

sequences make_sequences(problem *p, size_t batch, size_t longest) {
    uint32_t *length = take(p, batch, sizeof *length);
    draw_lengths(p, length, batch, longest);
    sequences s = {.batch = p->padded == NULL ? batch : draw_others(p, length, batch, longest)};
    s.start = take_array(p, s.batch + 1, sizeof *s.start);
    s.sample_of = take_array(p, s.batch, sizeof *s.sample_of);
    for (size_t b = 0; b < s.batch; b++) {
        s.longest = length[b] > s.longest ? length[b] : s.longest;
        s.start[b + 1] = s.start[b] + length[b];
        s.sample_of[b] = (uint32_t)(5 * b + 3); /* not b: a micro-batch starts anywhere */
    }
    s.rows = s.start[s.batch];
    s.sample = take_array(p, s.rows, sizeof *s.sample);
    s.position = take_array(p, s.rows, sizeof *s.position);
    for (size_t b = 0; b < s.batch; b++) {
        for (uint32_t r = s.start[b]; r < s.start[b + 1]; r++) {
            s.sample[r] = s.sample_of[b];
            s.position[r] = r - s.start[b];
        }
    }
    return s;
}

bft_dropout make_dropout(const problem *p, float rate, bft_site site, const uint32_t *sample,
                         const uint32_t *position) {
    return (bft_dropout){.rate = rate,
                         .seed = 0x123456789ABCDEF0u,
                         .step = p->padded == NULL ? 77 : 78,
                         .layer = 2,
                         .site = (uint8_t)site,
                         .sample = sample,
                         .position = position};
}

double dropout_factor(const bft_dropout *dropout, uint32_t sample, uint32_t position, uint32_t channel) {
    if (dropout->rate <= 0) {
        return 1;
    }
    bft_philox counter = {
        {channel >> 2, position + 65536u * dropout->layer + 16777216u * dropout->site, sample, dropout->step}};
    uint32_t word = bft_philox_block(counter, dropout->seed).word[channel & 3];
    bool dropped = (double)word < floor((double)dropout->rate * 0x1p32);
    return dropped ? 0 : 1 / (1 - (double)dropout->rate);
}

double row_factor(const bft_dropout *dropout, size_t row, size_t channel) {
    if (dropout->rate <= 0) {
        return 1;
    }
    return dropout_factor(dropout, dropout->sample[row], dropout->position[row], (uint32_t)channel);
}
