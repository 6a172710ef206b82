/* cast.c: the cases of to_device, to_values, to_host and values_to_host: all exact. */
#include "tests/ops/ops_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { Y, X };

/* ---- to_device: every half and every bfloat16, and floats of all kinds, from an odd address ---- */

typedef struct shape {
    const char *title;
    bft_dtype type;
    size_t count;
} shape;

static const shape shapes[] = {
    {"all 65536 halves", BFT_F16, 65536},
    {"all 65536 bfloat16s", BFT_BF16, 65536},
    {"33 halves", BFT_F16, 33},
    {"every 65521st float", BFT_F32, 65550},
};

static uint32_t bits_at(const shape *s, size_t i) {
    return s->type == BFT_F32 ? (uint32_t)(i * 65521) : (uint32_t)i;
}

static void prepare(problem *p) {
    const shape *s = p->shape;
    unsigned char *host = take_array(p, s->count * bft_dtype_size(s->type) + 1, 1);
    for (size_t i = 0; i < s->count; i++) {
        uint32_t wide = bits_at(s, i);
        uint16_t narrow = (uint16_t)wide;
        const void *from = s->type == BFT_F32 ? (const void *)&wide : &narrow;
        memcpy(host + 1 + i * bft_dtype_size(s->type), from, bft_dtype_size(s->type));
    }
    p->extra = host + 1;
    add_output(p, Y, "reals", s->count, NONE);
}

static void forward(const run *r) {
    const shape *s = r->problem->shape;
    r->ops->to_device(r->device, s->type, r->problem->extra, r->memory[Y], s->count);
}

static void truth(problem *p) {
    const shape *s = p->shape;
    for (size_t i = 0; i < s->count; i++) {
        p->tensor[Y].truth[i] = value_of(s->type, bits_at(s, i));
    }
}

static void bound(problem *p) {
    (void)p; /* exact */
}

const subject to_device_subject = {
    .op = "to_device",
    .shapes = shapes,
    .shape_size = sizeof shapes[0],
    .shape_count = sizeof shapes / sizeof shapes[0],
    .prepare = prepare,
    .forward = forward,
    .truth = truth,
    .bound = bound,
};

/* ---- to_values, and both kinds of elements back to the host ---- */

/* What is rounded: numbers that a type has, or lie between two of them, in the middle or a float beside it. */
typedef enum place { ON, MIDDLE, BELOW_MIDDLE, ABOVE_MIDDLE } place;

typedef struct rounding_shape {
    const char *title;
    bft_dtype type;
    place place;
} rounding_shape;

static const rounding_shape rounding_shapes[] = {
    {"all 65536 halves", BFT_F16, ON},
    {"all 65536 bfloat16s", BFT_BF16, ON},
    {"half way from half to half", BFT_F16, MIDDLE},
    {"half way from bfloat16 to bfloat16", BFT_BF16, MIDDLE},
    {"less than half way from half to half", BFT_F16, BELOW_MIDDLE},
    {"less than half way from bfloat16 to bfloat16", BFT_BF16, BELOW_MIDDLE},
    {"more than half way from half to half", BFT_F16, ABOVE_MIDDLE},
    {"more than half way from bfloat16 to bfloat16", BFT_BF16, ABOVE_MIDDLE},
    {"every 65521st float", BFT_F32, ON},
};

/* The middle of the largest number and what the next would be is the first that becomes infinity. */
static double number_at(const rounding_shape *s, uint32_t i) {
    double x = value_of(s->type, s->type == BFT_F32 ? i * 65521u : i), next = value_of(s->type, i + 1);
    if (s->place == ON || !isfinite(x)) {
        return x;
    }
    next = isfinite(next) ? next : 2 * x - value_of(s->type, i - 1);
    float middle = (float)((x + next) / 2);
    return (double)(s->place == MIDDLE ? middle : nextafterf(middle, (float)(s->place == BELOW_MIDDLE ? x : next)));
}

static void to_values_prepare(problem *p) {
    tensor *x = add_input(p, X, "reals", 65536, 1);
    for (uint32_t i = 0; i < x->count; i++) {
        x->start[i] = number_at(p->shape, p->padded == NULL ? i : i ^ 1);
    }
    add_output(p, Y, "values", x->count, NONE)->numbers = VALUES;
}

static void to_values_forward(const run *r) {
    r->ops->to_values(r->device, r->memory[X], r->memory[Y], r->problem->tensor[X].count);
}

static void to_values_truth(problem *p) {
    for (size_t i = 0; i < p->tensor[Y].count; i++) {
        p->tensor[Y].truth[i] = round_value(p->values, p->tensor[X].start[i]);
    }
}

static bool is_same(double a, double b) {
    return isnan(b) ? isnan(a) : a == b && signbit(a) == signbit(b);
}

static const char *to_values_check(const run *r) {
    size_t count = r->problem->tensor[X].count;
    float *host = malloc(2 * count * sizeof *host);
    if (host == NULL) {
        return "there is no memory";
    }
    r->ops->to_host(r->device, r->memory[X], host, count);
    r->ops->values_to_host(r->device, r->memory[Y], host + count, count);
    bool same = true;
    for (size_t i = 0; i < 2 * count; i++) {
        double x = r->problem->tensor[X].start[i % count];
        same = same && is_same((double)host[i], i < count ? x : round_value(r->problem->values, x));
    }
    free(host);
    return same ? NULL : "what comes back to the host is something else";
}

const subject to_values_subject = {
    .op = "to_values",
    .shapes = rounding_shapes,
    .shape_size = sizeof rounding_shapes[0],
    .shape_count = sizeof rounding_shapes / sizeof rounding_shapes[0],
    .prepare = to_values_prepare,
    .forward = to_values_forward,
    .truth = to_values_truth,
    .bound = bound,
    .check = to_values_check,
};
