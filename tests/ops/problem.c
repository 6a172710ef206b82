/* problem.c: what subjects make their problems of: tensors of random values, sequences, dropout. */
#include "tests/ops/ops_test.h"

#include <math.h>

void *take(problem *p, size_t count, size_t size) {
    bft_error err;
    void *memory;
    must(bft_arena_alloc(&err, &p->arena, count, size, &memory), &err);
    return memory;
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
                        .backward = true});
}

sequences make_sequences(problem *p, size_t batch, size_t longest) {
    sequences s = {.batch = batch, .longest = longest};
    s.start = take(p, batch + 1, sizeof *s.start);
    s.sample_of = take(p, batch, sizeof *s.sample_of);
    for (size_t b = 0; b < batch; b++) {
        uint32_t length = b == 0 ? (uint32_t)longest : 1 + bft_random_below(&p->random, (uint32_t)longest);
        s.start[b + 1] = s.start[b] + length;
        s.sample_of[b] = (uint32_t)(5 * b + 3); /* not b: a micro-batch starts anywhere */
    }
    s.rows = s.start[batch];
    s.sample = take(p, s.rows, sizeof *s.sample);
    s.position = take(p, s.rows, sizeof *s.position);
    for (size_t b = 0; b < batch; b++) {
        for (uint32_t r = s.start[b]; r < s.start[b + 1]; r++) {
            s.sample[r] = s.sample_of[b];
            s.position[r] = r - s.start[b];
        }
    }
    return s;
}

bft_dropout make_dropout(float rate, bft_site site, const uint32_t *sample, const uint32_t *position) {
    return (bft_dropout){.rate = rate,
                         .seed = 0x123456789ABCDEF0u,
                         .step = 77,
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
