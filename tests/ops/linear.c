/* linear.c: the cases of linear, and the bounds of its errors. */
#include "tests/ops/ops_test.h"

#include <math.h>

enum { X, WEIGHT, BIAS, Y, DY, DX, DWEIGHT, DBIAS };

typedef struct shape {
    const char *title;
    size_t rows, in, out;
    bft_activation activation;
    bool no_bias, real_y, inference, dx_add, no_dx, no_dweight, no_dbias, fresh;
} shape;

static const shape shapes[] = {
    {"1 x 1 x 1", 1, 1, 1, .activation = BFT_IDENTITY},
    {"3 x 5 to 7", 3, 5, 7, .activation = BFT_IDENTITY},
    {"3 x 5 to 7, gelu", 3, 5, 7, .activation = BFT_GELU},
    {"3 x 5 to 7, tanh", 3, 5, 7, .activation = BFT_TANH},
    {"3 x 5 to 7, relu", 3, 5, 7, .activation = BFT_RELU},
    {"7 x 26 to 22, gelu, dx added", 7, 26, 22, .activation = BFT_GELU, .dx_add = true},
    {"3 x 9 to 4 without bias, relu, dx added", 3, 9, 4, .activation = BFT_RELU, .no_bias = true, .no_dbias = true,
     .dx_add = true},
    {"1 x 312 to 1, a head of one class", 1, 312, 1, .activation = BFT_IDENTITY, .real_y = true},
    {"33 x 312 to 2, a head of two classes", 33, 312, 2, .activation = BFT_IDENTITY, .real_y = true},
    {"7 x 31 to 6, a head without bias, dx added", 7, 31, 6, .activation = BFT_IDENTITY, .no_bias = true,
     .no_dbias = true, .real_y = true, .dx_add = true},
    {"7 x 31 to 6, real gelu", 7, 31, 6, .activation = BFT_GELU, .real_y = true},
    {"3 x 312 to 312, pooler", 3, 312, 312, .activation = BFT_TANH},
    {"7 x 264 to 264, pre_classifier", 7, 264, 264, .activation = BFT_RELU},
    {"33 x 264 to 792, packed qkv", 33, 264, 792, .activation = BFT_IDENTITY},
    {"33 x 312 to 936, packed qkv, dx added", 33, 312, 936, .activation = BFT_IDENTITY, .dx_add = true},
    {"33 x 312 to 600, gelu", 33, 312, 600, .activation = BFT_GELU},
    {"33 x 600 to 312", 33, 600, 312, .activation = BFT_IDENTITY},
    {"1 x 312 to 600, gelu", 1, 312, 600, .activation = BFT_GELU},
    {"67 x 801 to 129, gelu", 67, 801, 129, .activation = BFT_GELU},
    {"801 x 65 to 63", 801, 65, 63, .activation = BFT_IDENTITY},
    {"33 x 312 to 600, gelu, inference", 33, 312, 600, .activation = BFT_GELU, .inference = true},
    {"33 x 26 to 17, inference", 33, 26, 17, .activation = BFT_IDENTITY, .inference = true},
    {"7 x 31 to 33, gelu, dweight fresh", 7, 31, 33, .activation = BFT_GELU, .fresh = true},
    {"801 x 65 to 63, dweight fresh", 801, 65, 63, .activation = BFT_IDENTITY, .fresh = true},
    {"7 x 31 to 33, gelu, frozen", 7, 31, 33, .activation = BFT_GELU, .no_dweight = true, .no_dbias = true},
    {"7 x 31 to 33, tanh, dx not wanted", 7, 31, 33, .activation = BFT_TANH, .no_dx = true},
    {"7 x 31 to 33, only dbias wanted", 7, 31, 33, .activation = BFT_IDENTITY, .no_dx = true, .no_dweight = true},
    {"7 x 31 to 33, only dweight wanted", 7, 31, 33, .activation = BFT_GELU, .no_dx = true, .no_dbias = true},
};

static size_t rows_of(const problem *p) {
    return size_in(p, ((const shape *)p->shape)->rows);
}

static void prepare(problem *p) {
    const shape *s = p->shape;
    size_t rows = rows_of(p);
    numbers of_y = s->real_y ? REALS : VALUES;
    p->inference = s->inference;
    flows(add_input(p, X, "x", rows * s->in, 1), rows);
    add_input(p, WEIGHT, "weight", s->out * s->in, 1.5 / sqrt((double)s->in))->numbers =
        VALUES; /* z within some units: where gelu bends */
    if (!s->no_bias) {
        add_input(p, BIAS, "bias", s->out, 0.5);
    }
    flows(add_output(p, Y, "y", rows * s->out, DY), rows)->numbers = of_y;
    if (s->inference) {
        return;
    }
    flows(add_input(p, DY, "dy", rows * s->out, 1), rows)->numbers = of_y;
    if (!s->no_dx) {
        flows(add_gradient(p, DX, "dx", rows * s->in, X, s->dx_add ? ADDED : OUTPUT), rows);
    }
    if (!s->no_dweight) {
        add_gradient(p, DWEIGHT, "dweight", s->out * s->in, WEIGHT, s->fresh ? OUTPUT : ADDED);
    }
    if (!s->no_dbias) {
        add_gradient(p, DBIAS, "dbias", s->out, BIAS, ADDED);
    }
}

static bft_linear describe(const run *r) {
    const shape *s = r->problem->shape;
    return (bft_linear){
        .rows = rows_of(r->problem),
        .in = s->in,
        .out = s->out,
        .activation = s->activation,
        .x = r->memory[X],
        .weight = r->memory[WEIGHT],
        .bias = r->memory[BIAS],
        .real_y = s->real_y,
        .y = r->memory[Y],
        .saved = r->saved,
        .scratch = r->scratch,
        .dy = r->memory[DY],
        .dx = r->memory[DX],
        .dx_add = s->dx_add,
        .dweight = r->memory[DWEIGHT],
        .dweight_fresh = s->fresh,
        .dbias = r->memory[DBIAS],
    };
}

static void memory(const run *r, bft_memory *out) {
    const shape *s = r->problem->shape;
    bft_linear op = {
        .rows = rows_of(r->problem), .in = s->in, .out = s->out, .activation = s->activation, .real_y = s->real_y};
    r->ops->linear_memory(&op, out);
}

static void forward(const run *r) {
    bft_linear op = describe(r);
    r->ops->linear_forward(r->device, &op);
}

static void backward(const run *r) {
    bft_linear op = describe(r);
    r->ops->linear_backward(r->device, &op);
}

/* ---- Bounds ---- */

/* Largest slopes of the activations and of their slopes: gelu's are 1.1290 and 0.7979, tanh's 1 and 0.7699. */
static double steepest(bft_activation activation) {
    return activation == BFT_GELU ? 1.13 : 1;
}

static double bends(bft_activation activation) {
    return activation == BFT_GELU ? 0.798 : activation == BFT_TANH ? 0.77 : 0;
}

/* The value of z and the bound of its error. */
static void pre_activation(const problem *p, size_t r, size_t o, double *z, double *error) {
    const shape *s = p->shape;
    const double *x = p->tensor[X].start + r * s->in, *weight = p->tensor[WEIGHT].start + o * s->in;
    double bias = s->no_bias ? 0 : p->tensor[BIAS].start[o], size = fabs(bias);
    *z = bias;
    for (size_t i = 0; i < s->in; i++) {
        *z += x[i] * weight[i];
        size += fabs(x[i] * weight[i]);
    }
    *error = growth(s->in + 1) * size;
}

/* 1 + erf has an absolute error where it is near 0, which z multiplies; so do 1 - tanh^2 and gelu's slope. */
static double activation_error(bft_activation activation, double z, double z_error) {
    double own = activation == BFT_GELU ? FUNCTION * fabs(z) : activation == BFT_TANH ? FUNCTION : 0;
    return steepest(activation) * z_error + own;
}

static double slope_size(bft_activation activation, double z) {
    double bell = 0.3989422804014327 * exp(-z * z / 2);
    switch (activation) {
    case BFT_GELU:
        return fabs((1 + erf(z * 0.7071067811865476)) / 2 + z * bell);
    case BFT_TANH:
        return 1 / (cosh(z) * cosh(z));
    case BFT_RELU:
        return z > 0;
    case BFT_IDENTITY:
        break;
    }
    return 1;
}

static double slope_error(bft_activation activation, double z, double z_error) {
    if (activation == BFT_IDENTITY) {
        return 0;
    }
    if (activation == BFT_RELU) { /* which side of 0 is not known when z is that near */
        return fabs(z) <= z_error * 0x1p-24 ? 1 / 0x1p-24 : 0;
    }
    return bends(activation) * z_error + FUNCTION * (1 + fabs(z)) + 1;
}

/* What z loses where the forward keeps it as a value before it goes on: z itself, the bare product that the bias is
 * added to later, or a sum with a bias that is a value. Without an activation it is so only where there is a bias and y
 * is a value. */
static double kept(const problem *p, size_t o, double z) {
    const shape *s = p->shape;
    double bias = s->no_bias ? 0 : p->tensor[BIAS].start[o];
    bool exact = s->activation == BFT_IDENTITY && (s->no_bias || s->real_y);
    return exact ? 0 : stored(p, z) + stored(p, bias);
}

/* dz and its bound, (rows, out) both. It is a factor of products: that rounds, but where dz is dy and a value
 * already. */
static void bound_dz(problem *p, double *dz, double *error) {
    const shape *s = p->shape;
    tensor *y = &p->tensor[Y];
    for (size_t r = 0; r < s->rows; r++) {
        for (size_t o = 0; o < s->out; o++) {
            size_t i = r * s->out + o;
            double z, z_error;
            pre_activation(p, r, o, &z, &z_error);
            z_error += kept(p, o, z);
            y->error[i] = activation_error(s->activation, z, z_error) + (s->real_y ? 0 : stored(p, y->truth[i]));
            if (!s->inference) {
                double dy = fabs(p->tensor[DY].start[i]);
                dz[i] = dy * slope_size(s->activation, z);
                error[i] = dy * slope_error(s->activation, z, z_error) + (s->activation == BFT_IDENTITY ? 0 : dz[i]);
                error[i] += s->activation == BFT_IDENTITY && !s->real_y ? 0 : stored(p, dz[i]);
            }
        }
    }
}

/* A sum of products dz[i] other[i], of `terms` values each with its stride, added to `start`. */
static double product_error(const double *dz, const double *dz_error, size_t dz_stride, const double *other,
                            size_t other_stride, size_t terms, double start) {
    double size = fabs(start), passed_on = 0;
    for (size_t i = 0; i < terms; i++) {
        double factor = other == NULL ? 1 : fabs(other[i * other_stride]);
        size += dz[i * dz_stride] * factor;
        passed_on += dz_error[i * dz_stride] * factor;
    }
    return growth(terms + 1) * size + passed_on;
}

static double start_of(const tensor *t, size_t i) {
    return t->start == NULL ? 0 : t->start[i];
}

/* Where dx is added to, cuBLASLt rounds the product to the type of dx before it adds (seen on an H100): once more. */
static void bound(problem *p) {
    const shape *s = p->shape;
    double *dz = take(p, s->rows * s->out, sizeof *dz), *error = take(p, s->rows * s->out, sizeof *error);
    const double *x = p->tensor[X].start, *weight = p->tensor[WEIGHT].start;
    tensor *dx = &p->tensor[DX], *dweight = &p->tensor[DWEIGHT], *dbias = &p->tensor[DBIAS];
    bound_dz(p, dz, error);
    for (size_t i = 0; i < dx->count; i++) {
        size_t row = i / s->in * s->out;
        double start = start_of(dx, i), product = dx->truth[i] - start;
        dx->error[i] = product_error(dz + row, error + row, 1, weight + i % s->in, s->in, s->out, start) +
                       stored(p, dx->truth[i]) + (s->dx_add ? stored(p, product) : 0);
    }
    for (size_t i = 0; i < dweight->count; i++) {
        size_t o = i / s->in;
        dweight->error[i] =
            product_error(dz + o, error + o, s->out, x + i % s->in, s->in, s->rows, start_of(dweight, i));
    }
    for (size_t o = 0; o < dbias->count; o++) {
        dbias->error[o] = product_error(dz + o, error + o, s->out, NULL, 0, s->rows, dbias->start[o]);
    }
}

const subject linear_subject = {
    .op = "linear",
    .shapes = shapes,
    .shape_size = sizeof shapes[0],
    .shape_count = sizeof shapes / sizeof shapes[0],
    .prepare = prepare,
    .memory = memory,
    .forward = forward,
    .backward = backward,
    .bound = bound,
};
