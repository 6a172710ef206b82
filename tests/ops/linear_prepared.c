/* linear_prepared.c: the cases of linear with weights in the forms of inference: fp32, int8 and bfloat16.
 *
 * The truth is written here by the book: rounded weights in double. A backend may also round x, to 255 steps or more across
 * what a row holds, which moves a sum by half a step times the sum of |w|; that hides small mistakes. So some cases have an x
 * that lies on such steps, of which a backend that has 255 loses nothing, and one that has more at most half of its own, finer
 * ones. The fewest that int8 leaves it, where sums have 32 bits, are those of a row with 2^31 / (127 in) on either side of 0. */
#include "tests/ops/ops_test.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { X, WEIGHT, BIAS, Y };

typedef struct shape {
    const char *title;
    size_t rows, in, out;
    bft_form form;
    bft_activation activation;
    bool no_bias, stepped, zeros, lasting, gains;
    size_t parts; /* 0: one */
} shape;

static const shape shapes[] = {
    {"fp32, 1 x 1 x 1", 1, 1, 1, .form = BFT_FORM_FP32, .activation = BFT_IDENTITY},
    {"fp32, 3 x 5 to 7, gelu, lasting", 3, 5, 7, .form = BFT_FORM_FP32, .activation = BFT_GELU, .lasting = true},
    {"fp32, 7 x 31 to 33, tanh, without bias", 7, 31, 33, .form = BFT_FORM_FP32, .activation = BFT_TANH,
     .no_bias = true},
    {"fp32, 50 x 312 to 600, gelu", 50, 312, 600, .form = BFT_FORM_FP32, .activation = BFT_GELU},
    {"fp32, 5 x 26 to 66, three parts", 5, 26, 66, .form = BFT_FORM_FP32, .activation = BFT_IDENTITY, .parts = 3,
     .lasting = true},
    {"fp32, 20 x 768 to 129, three parts, relu", 20, 768, 129, .form = BFT_FORM_FP32, .activation = BFT_RELU,
     .parts = 3},
    {"fp32, 2 x 3072 to 40, two parts", 2, 3072, 40, .form = BFT_FORM_FP32, .activation = BFT_IDENTITY, .parts = 2},
    {"int8, 1 x 1 x 1", 1, 1, 1, .form = BFT_FORM_INT8, .activation = BFT_IDENTITY},
    {"int8, 3 x 5 to 7, gelu", 3, 5, 7, .form = BFT_FORM_INT8, .activation = BFT_GELU},
    {"int8, 3 x 5 to 7, tanh, without bias", 3, 5, 7, .form = BFT_FORM_INT8, .activation = BFT_TANH, .no_bias = true},
    {"int8, 7 x 31 to 33, relu, rows of zeros", 7, 31, 33, .form = BFT_FORM_INT8, .activation = BFT_RELU,
     .zeros = true},
    {"int8, 1 x 312 to 936", 1, 312, 936, .form = BFT_FORM_INT8, .activation = BFT_IDENTITY},
    {"int8, 97 x 312 to 600, gelu", 97, 312, 600, .form = BFT_FORM_INT8, .activation = BFT_GELU},
    {"int8 on steps, 1 x 1 to 2", 1, 1, 2, .form = BFT_FORM_INT8, .activation = BFT_IDENTITY, .stepped = true},
    {"int8 on steps, 2 x 3 to 17", 2, 3, 17, .form = BFT_FORM_INT8, .activation = BFT_IDENTITY, .stepped = true},
    {"int8 on steps, 5 x 26 to 22, gelu", 5, 26, 22, .form = BFT_FORM_INT8, .activation = BFT_GELU, .stepped = true},
    {"int8 on steps, 11 x 33 to 65", 11, 33, 65, .form = BFT_FORM_INT8, .activation = BFT_IDENTITY, .stepped = true},
    {"int8 on steps, 23 x 312 to 312", 23, 312, 312, .form = BFT_FORM_INT8, .activation = BFT_IDENTITY,
     .stepped = true},
    {"int8 on steps, 50 x 600 to 312", 50, 600, 312, .form = BFT_FORM_INT8, .activation = BFT_IDENTITY,
     .stepped = true},
    {"int8 on steps, 67 x 768 to 129, gelu", 67, 768, 129, .form = BFT_FORM_INT8, .activation = BFT_GELU,
     .stepped = true},
    {"int8 on steps, 9 x 3072 to 40", 9, 3072, 40, .form = BFT_FORM_INT8, .activation = BFT_IDENTITY, .stepped = true},
    {"int8 on steps, 5 x 65536 to 2", 5, 65536, 2, .form = BFT_FORM_INT8, .activation = BFT_IDENTITY, .stepped = true},
    {"int8 with gains, 1 x 1 x 1", 1, 1, 1, .form = BFT_FORM_INT8, .activation = BFT_IDENTITY, .gains = true},
    {"int8 with gains, 21 x 312 to 67", 21, 312, 67, .form = BFT_FORM_INT8, .activation = BFT_GELU, .gains = true},
    {"int8 with gains on steps, 11 x 33 to 65", 11, 33, 65, .form = BFT_FORM_INT8, .activation = BFT_IDENTITY,
     .stepped = true, .gains = true},
    {"int8 with gains on steps, 9 x 600 to 40, two parts", 9, 600, 40, .form = BFT_FORM_INT8,
     .activation = BFT_IDENTITY, .parts = 2, .stepped = true, .gains = true},
    {"bf16, 1 x 1 x 1", 1, 1, 1, .form = BFT_FORM_BF16, .activation = BFT_IDENTITY},
    {"bf16, 3 x 5 to 7, gelu", 3, 5, 7, .form = BFT_FORM_BF16, .activation = BFT_GELU},
    {"bf16, 5 x 26 to 22, relu", 5, 26, 22, .form = BFT_FORM_BF16, .activation = BFT_RELU},
    {"bf16, 7 x 31 to 33, tanh, without bias", 7, 31, 33, .form = BFT_FORM_BF16, .activation = BFT_TANH,
     .no_bias = true},
    {"bf16, 50 x 312 to 600, gelu", 50, 312, 600, .form = BFT_FORM_BF16, .activation = BFT_GELU},
    {"bf16, 67 x 768 to 129, three parts", 67, 768, 129, .form = BFT_FORM_BF16, .activation = BFT_IDENTITY, .parts = 3},
    {"int8, 5 x 26 to 66, three parts", 5, 26, 66, .form = BFT_FORM_INT8, .activation = BFT_IDENTITY, .parts = 3},
};

/* Powers of two where x is to lie on steps when they are in. */
static float *make_gains(problem *p, const shape *s) {
    float *gains = take_array(p, s->in, sizeof *gains);
    for (size_t i = 0; i < s->in; i++) {
        double size = s->gains ? exp2((double)draw(p, 1.5)) : 1;
        gains[i] = (float)(s->stepped ? exp2(rint(log2(size))) : size);
    }
    return gains;
}

/* Rows of x that hold -127 and 128 of their steps, and nothing between two steps. */
static void put_on_steps(problem *p, const shape *s, const float *gains, double *x) {
    for (size_t r = 0; r < s->rows; r++) {
        double step = ldexp(1 + fabs((double)draw(p, 1)), -7);
        for (size_t i = 0; i < s->in; i++) {
            double steps = i == 0 ? 128 : i == 1 ? -127 : fmax(-127, fmin(rint((double)draw(p, 50)), 128));
            step = ldexp(rint(ldexp(step, 14)), -14); /* few bits: a float */
            x[r * s->in + i] = steps * step / (double)gains[i];
        }
    }
}

static void prepare(problem *p) {
    const shape *s = p->shape;
    p->inference = true;
    tensor *x = flows(add_input(p, X, "x", s->rows * s->in, 1), s->rows);
    const float *gains = p->extra = make_gains(p, s);
    if (s->stepped) {
        put_on_steps(p, s, gains, x->start);
    }
    tensor *weight = add_input(p, WEIGHT, "weight", s->out * s->in, 1.5 / sqrt((double)s->in));
    weight->numbers = VALUES;
    for (size_t i = 0; i < s->in && s->zeros; i++) {
        x->start[i] = weight->start[i] = 0;
    }
    if (!s->no_bias) {
        add_input(p, BIAS, "bias", s->out, 0.5);
    }
    flows(add_output(p, Y, "y", s->rows * s->out, NONE), s->rows);
}

static bft_linear describe(const run *r, void *prepared) {
    const shape *s = r->problem->shape;
    return (bft_linear){.rows = s->rows,
                        .in = s->in,
                        .out = s->out,
                        .activation = s->activation,
                        .x = r->memory[X],
                        .bias = r->memory[BIAS],
                        .y = r->memory[Y],
                        .scratch = r->scratch,
                        .form = s->form,
                        .prepared = prepared};
}

static void memory(const run *r, bft_memory *out) {
    const shape *s = r->problem->shape;
    r->ops->linear_memory(
        &(bft_linear){.rows = s->rows, .in = s->in, .out = s->out, .activation = s->activation, .form = s->form}, out);
}

/* fp32 promises the bits that the plain weight gives. */
static bool has_bits_of_plain(const run *r) {
    const shape *s = r->problem->shape;
    bft_error err;
    bft_memory memory;
    bft_linear op = describe(r, NULL);
    op.form = BFT_FORM_PLAIN;
    op.weight = r->memory[WEIGHT];
    r->ops->linear_memory(&op, &memory);
    size_t bytes = s->rows * s->out * r->ops->real;
    must(r->ops->alloc(&err, r->device, memory.scratch, &op.scratch), &err);
    must(r->ops->alloc(&err, r->device, bytes, &op.y), &err);
    r->ops->linear_forward(r->device, &op);
    bool same = memcmp(op.y, r->memory[Y], bytes) == 0;
    r->ops->free(r->device, op.y);
    r->ops->free(r->device, op.scratch);
    return same;
}

static void forward(const run *r) {
    const shape *s = r->problem->shape;
    size_t bytes = r->ops->prepared_bytes(s->form, s->out, s->in), count = s->parts == 0 ? 1 : s->parts;
    void *prepared = guarded_alloc(r, bytes);
    guarded_poison(r, prepared, bytes, bytes);
    bft_weight weight = {s->out, s->in, count, .lasting = s->lasting, .gains = s->gains ? r->problem->extra : NULL};
    for (size_t part = 0; part < count; part++) {
        weight.values[part] = (const char *)r->memory[WEIGHT] + part * (s->out / count) * s->in * r->ops->real;
    }
    bft_error err;
    must(r->ops->prepare(r->device, s->form, &weight, prepared)
             ? BFT_OK
             : bft_error_set(&err, BFT_FAILED, "%s, %s: finite weights are said not to be", r->ops->name, s->title),
         &err);
    bft_linear op = describe(r, prepared);
    r->ops->linear_forward(r->device, &op);
    must(guards_hold(r, prepared, bytes, bytes)
             ? BFT_OK
             : bft_error_set(&err, BFT_FAILED, "%s, %s: bytes beside the prepared weight were written", r->ops->name,
                             s->title),
         &err);
    bool same = s->form != BFT_FORM_FP32 || has_bits_of_plain(r);
    if (s->lasting) { /* the second product may go another way */
        r->ops->linear_forward(r->device, &op);
        same = same && has_bits_of_plain(r);
    }
    must(same
             ? BFT_OK
             : bft_error_set(&err, BFT_FAILED, "%s, %s: other bits than with the plain weight", r->ops->name, s->title),
         &err);
    guarded_free(r, prepared);
}

static bool is_known(const bft_ops *ops, const void *of) {
    bft_form form = ((const shape *)of)->form;
    bool other = ops->factors == ops->values || form == BFT_FORM_FP32; /* else it is the table with longer factors */
    return other && ops->prepared_bytes(form, 1, 1) > 0;
}

/* ---- The truth and its bounds ---- */

/* A row of the weight as it is in its form. */
static void round_weight(const shape *s, const double *weight, const float *gains, double *rounded) {
    double largest = 0;
    for (size_t i = 0; i < s->in; i++) {
        largest = fmax(largest, (double)fabsf((float)weight[i] / gains[i]));
    }
    float step = (float)largest / 127;
    for (size_t i = 0; i < s->in; i++) {
        rounded[i] = s->form == BFT_FORM_FP32   ? weight[i]
                     : s->form == BFT_FORM_BF16 ? round_value(BFT_BF16, weight[i])
                     : step == 0                ? 0
                                 : rint((double)((float)weight[i] / gains[i] / step)) * (double)step * (double)gains[i];
    }
}

static double activate(bft_activation activation, double z) {
    return activation == BFT_GELU   ? z / 2 * (1 + erf(z / sqrt(2)))
           : activation == BFT_TANH ? tanh(z)
           : activation == BFT_RELU ? fmax(z, 0)
                                    : z;
}

/* Half of the largest step that x, its gains in, may be rounded to in this row. Nothing where it lies on 255 steps, but for those of an integer
 * of fewer than 16 bits. */
static double half_step(const shape *s, const double *x, const float *gains) {
    double largest = 0;
    for (size_t i = 0; i < s->in; i++) {
        largest = fmax(largest, fabs(x[i]) * (double)gains[i]);
    }
    double fewest = s->stepped ? fmin(floor(0x1p31 / 127 / (double)s->in), 32767) : 127;
    return s->form != BFT_FORM_INT8 ? 0 : largest / fewest / 2;
}

/* The steps themselves are off by a few roundings, which the sum's bound has room for: it counts one more for each of its terms. */
static void truth(problem *p) {
    const shape *s = p->shape;
    const double *x = p->tensor[X].start, *bias = s->no_bias ? NULL : p->tensor[BIAS].start;
    const float *gains = p->extra;
    double *weight = take(p, s->in, sizeof *weight);
    tensor *y = &p->tensor[Y];
    for (size_t o = 0; o < s->out; o++) {
        round_weight(s, p->tensor[WEIGHT].start + o * s->in, gains, weight);
        for (size_t r = 0; r < s->rows; r++) {
            double z = bias == NULL ? 0 : bias[o], size = fabs(z), weights = 0;
            for (size_t i = 0; i < s->in; i++) {
                z += x[r * s->in + i] * weight[i];
                size += fabs(x[r * s->in + i] * weight[i]);
                weights += fabs(weight[i]) / (double)gains[i];
            }
            size_t at = r * s->out + o;
            double steepest = s->activation == BFT_GELU ? 1.13 : 1;
            double own = s->activation == BFT_GELU ? FUNCTION * fabs(z) : s->activation == BFT_TANH ? FUNCTION : 0;
            y->truth[at] = activate(s->activation, z);
            y->error[at] = steepest * growth(s->in + 8) * size + own;
            y->slack[at] = steepest * half_step(s, x + r * s->in, gains) * weights;
        }
    }
}

static void bound(problem *p) {
    (void)p; /* known with the truth */
}

const subject linear_prepared_subject = {
    .op = "linear_prepared",
    .shapes = shapes,
    .shape_size = sizeof shapes[0],
    .shape_count = sizeof shapes / sizeof shapes[0],
    .prepare = prepare,
    .memory = memory,
    .forward = forward,
    .truth = truth,
    .bound = bound,
    .is_known = is_known,
};
