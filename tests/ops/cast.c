/* cast.c: to_device: every half and every bfloat16, and floats of all kinds, from memory at an odd address. */
#include "tests/ops/ops_test.h"

#include <math.h>
#include <string.h>

enum { Y };

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
    unsigned char *host = take(p, s->count * 4 + 1, 1);
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

/* A sign, `exponent_bits` of exponent and `fraction_bits` of fraction, as IEEE 754 reads them. */
static double value_of(uint32_t bits, int exponent_bits, int fraction_bits) {
    uint32_t fraction = bits & ((1u << fraction_bits) - 1);
    int exponent = (int)(bits >> fraction_bits & ((1u << exponent_bits) - 1)), top = (1 << exponent_bits) - 1;
    int bias = top / 2;
    double sign = bits >> (exponent_bits + fraction_bits) ? -1 : 1, unit = pow(2, -fraction_bits);
    if (exponent == top) {
        return fraction == 0 ? sign * INFINITY : NAN;
    }
    return exponent == 0 ? sign * fraction * unit * pow(2, 1 - bias)
                         : sign * (1 + fraction * unit) * pow(2, exponent - bias);
}

static void truth(problem *p) {
    const shape *s = p->shape;
    for (size_t i = 0; i < s->count; i++) {
        uint32_t bits = bits_at(s, i);
        p->tensor[Y].truth[i] = s->type == BFT_F16    ? value_of(bits, 5, 10)
                                : s->type == BFT_BF16 ? value_of(bits, 8, 7)
                                                      : value_of(bits, 8, 23);
    }
}

static void bound(problem *p) {
    (void)p; /* exact */
}

const subject cast_subject = {
    .op = "to_device",
    .shapes = shapes,
    .shape_size = sizeof shapes[0],
    .shape_count = sizeof shapes / sizeof shapes[0],
    .prepare = prepare,
    .forward = forward,
    .truth = truth,
    .bound = bound,
};
