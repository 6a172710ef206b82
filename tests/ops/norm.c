/* norm.c: the cases of norm: doubles, whatever the elements are; a float's square is exact in them. */
#include "tests/ops/ops_test.h"

#include <math.h>
#include <string.h>

enum { FIRST, SECOND, RESULT };

typedef struct shape {
    const char *title;
    size_t first, second; /* elements */
    double scale, limit;
    double poison;          /* one of the elements; 0: none */
    uint32_t failed_before; /* the step that failed earlier */
} shape;

static const shape shapes[] = {
    {"1", 1, 0, .scale = 1},
    {"33 and 5", 33, 5, .scale = 1, .limit = 1},
    {"1023", 1023, 0, .scale = 1, .limit = 1000},
    {"4097 and 312", 4097, 312, .scale = 1, .limit = 0.5},
    {"100003 and 4097", 100003, 4097, .scale = 1, .limit = 1},
    {"1000 of 1e30, whose squares are no floats", 1000, 0, .scale = 1e30, .limit = 1},
    {"1000 of 1e-30", 1000, 33, .scale = 1e-30, .limit = 1},
    {"an infinity", 1000, 33, .scale = 1, .limit = 1, .poison = INFINITY},
    {"a NaN", 33, 1000, .scale = 1, .limit = 1, .poison = NAN},
    {"finite again", 33, 1000, .scale = 1, .limit = 1, .failed_before = 3},
    {"an infinity again", 33, 0, .scale = 1, .poison = INFINITY, .failed_before = 3},
};

/* The other problem is another step's, and has another number of gradients of words. */
static uint32_t step_of(const problem *p) {
    return p->padded == NULL ? 7 : 8;
}

static void prepare(problem *p) {
    const shape *s = p->shape;
    add_input(p, FIRST, "first", s->first, s->scale);
    if (s->second > 0) {
        add_input(p, SECOND, "second", size_in(p, s->second), s->scale);
    }
    if (s->poison != 0) {
        p->tensor[FIRST].start[s->first / 2] = s->poison;
    }
    bft_norm_result result;
    memset(&result, 0, sizeof result);
    result.norm = result.scale = -1;
    result.failed = s->failed_before;
    add_struct(p, RESULT, "result", &result, sizeof result)->role = ADDED;
}

static void forward(const run *r) {
    const shape *s = r->problem->shape;
    bft_norm op = {.x = {r->memory[FIRST], r->memory[SECOND]},
                   .count = {s->first, r->problem->tensor[SECOND].count},
                   .limit = s->limit,
                   .step = step_of(r->problem),
                   .result = r->memory[RESULT]};
    r->ops->norm(r->device, &op);
}

static long double squares(const tensor *t) {
    long double sum = 0;
    for (size_t i = 0; i < t->count; i++) {
        sum += (long double)t->start[i] * (long double)t->start[i];
    }
    return sum;
}

/* The result is one struct, not a tensor of numbers. */
static const char *check(const run *r) {
    const shape *s = r->problem->shape;
    bft_norm_result result;
    r->ops->read(r->device, r->memory[RESULT], &result, sizeof result);
    const tensor *first = &r->problem->tensor[FIRST], *second = &r->problem->tensor[SECOND];
    double norm = (double)sqrtl(squares(first) + squares(second));
    double clipped = s->limit > 0 ? fmin(1, s->limit / (norm + 1e-6)) : 1;
    double error = (growth(first->count + second->count + 1) + 4) * 0x1p-53;
    if (result.failed != (s->failed_before != 0 ? s->failed_before : s->poison != 0 ? step_of(r->problem) : 0)) {
        return "`failed` is not what it should be";
    }
    if (s->poison != 0) {
        return isfinite(result.norm) ? "the norm of an infinity is finite" : NULL;
    }
    if (!(fabs(result.norm - norm) <= error * norm)) {
        return "the norm is off";
    }
    return fabs(result.scale - clipped) <= 2 * error * clipped ? NULL : "the clip factor is off";
}

static void nothing(problem *p) {
    (void)p;
}

static void bound(problem *p) {
    for (size_t i = 0; i < p->tensor[RESULT].count; i++) {
        p->tensor[RESULT].slack[i] = INFINITY;
    }
}

const subject norm_subject = {
    .op = "norm",
    .shapes = shapes,
    .shape_size = sizeof shapes[0],
    .shape_count = sizeof shapes / sizeof shapes[0],
    .prepare = prepare,
    .forward = forward,
    .truth = nothing,
    .bound = bound,
    .check = check,
};
