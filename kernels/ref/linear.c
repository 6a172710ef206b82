/* linear.c: y = activation(x weight^T + bias). */
#include "kernels/ref/ref.h"

#include <math.h>

/* Saved: z = x weight^T + bias, (rows, out); scratch: dz, (rows, out). Without an activation z isn't needed, and dz
 * is dy. */
void REF(linear_memory)(const bft_linear *op, bft_memory *out) {
    size_t bytes = op->activation == BFT_IDENTITY ? 0 : op->rows * op->out * sizeof(real);
    *out = (bft_memory){.saved = bytes, .scratch = bytes};
}

static double activate(bft_activation activation, double z) {
    switch (activation) {
    case BFT_GELU:
        return z / 2 * (1 + erf(z / sqrt(2.0)));
    case BFT_TANH:
        return tanh(z);
    case BFT_RELU:
        return z > 0 ? z : 0;
    case BFT_IDENTITY:
        break;
    }
    return z;
}

static double slope(bft_activation activation, double z) {
    const double inverse_sqrt_2_pi = 0.39894228040143267794;
    switch (activation) {
    case BFT_GELU:
        return (1 + erf(z / sqrt(2.0))) / 2 + z * inverse_sqrt_2_pi * exp(-z * z / 2);
    case BFT_TANH:
        return 1 - tanh(z) * tanh(z);
    case BFT_RELU:
        return z > 0 ? 1 : 0;
    case BFT_IDENTITY:
        break;
    }
    return 1;
}

static double weight_at(const bft_linear *op, size_t o, size_t i) {
    return op->form == BFT_FORM_PLAIN ? (double)((const real *)op->weight)[o * op->in + i]
                                      : REF(prepared_weight)(op, o, i);
}

void REF(linear_forward)(bft_device *device, const bft_linear *op) {
    (void)device;
    const real *x = op->x, *bias = op->bias;
    real *y = op->y, *saved = op->saved;
    for (size_t r = 0; r < op->rows; r++) {
        for (size_t o = 0; o < op->out; o++) {
            double sum = bias == NULL ? 0 : (double)bias[o];
            for (size_t i = 0; i < op->in; i++) {
                sum += (double)x[r * op->in + i] * weight_at(op, o, i);
            }
            if (op->activation != BFT_IDENTITY && saved != NULL) {
                saved[r * op->out + o] = (real)sum;
            }
            y[r * op->out + o] = (real)activate(op->activation, sum);
        }
    }
}

/* dx = dz weight */
static void input_gradient(const bft_linear *op, const real *dz) {
    const real *weight = op->weight;
    real *dx = op->dx;
    for (size_t r = 0; r < op->rows; r++) {
        for (size_t i = 0; i < op->in; i++) {
            double sum = op->dx_add ? (double)dx[r * op->in + i] : 0;
            for (size_t o = 0; o < op->out; o++) {
                sum += (double)dz[r * op->out + o] * (double)weight[o * op->in + i];
            }
            dx[r * op->in + i] = (real)sum;
        }
    }
}

/* dweight += (or =) dz^T x */
static void weight_gradient(const bft_linear *op, const real *dz) {
    const real *x = op->x;
    real *dweight = op->dweight;
    for (size_t o = 0; o < op->out; o++) {
        for (size_t i = 0; i < op->in; i++) {
            double sum = 0;
            for (size_t r = 0; r < op->rows; r++) {
                sum += (double)dz[r * op->out + o] * (double)x[r * op->in + i];
            }
            dweight[o * op->in + i] = (real)sum + (op->dweight_fresh ? 0 : dweight[o * op->in + i]);
        }
    }
}

static void bias_gradient(const bft_linear *op, const real *dz) {
    real *dbias = op->dbias;
    for (size_t o = 0; o < op->out; o++) {
        double sum = 0;
        for (size_t r = 0; r < op->rows; r++) {
            sum += (double)dz[r * op->out + o];
        }
        dbias[o] += (real)sum;
    }
}

void REF(linear_backward)(bft_device *device, const bft_linear *op) {
    (void)device;
    const real *dz = op->dy;
    if (op->activation != BFT_IDENTITY) {
        const real *dy = op->dy, *z = op->saved;
        real *scratch = op->scratch;
        for (size_t i = 0; i < op->rows * op->out; i++) {
            scratch[i] = (real)((double)dy[i] * slope(op->activation, (double)z[i]));
        }
        dz = scratch;
    }
    if (op->dx != NULL) {
        input_gradient(op, dz);
    }
    if (op->dweight != NULL) {
        weight_gradient(op, dz);
    }
    if (op->dbias != NULL) {
        bias_gradient(op, dz);
    }
}
