/* loss.c: the losses, a sample a unit, in double: there are few logits, and training is steered by them. */
#include "kernels/cpu/cpu.h"

#include <math.h>

static double weight_of(const bft_loss *op, size_t k) {
    return op->weight == NULL ? 1 : (double)op->weight[k];
}

static void put_gradient(const bft_loss *op, size_t b, size_t k, double gradient) {
    if (op->dlogits != NULL) {
        ((float *)op->dlogits)[b * op->classes + k] = (float)(gradient / op->normalizer);
    }
}

/* With s the smoothing, w the weights, y the target, p = softmax(x):
 *   loss = -(1 - s) w_y ln p_y - s / K sum_k w_k ln p_k
 *   its gradient: (1 - s) w_y (p_k - [k = y]) + s / K (p_k sum(w) - w_k) */
static double cross_entropy(const bft_loss *op, size_t b, const float *x) {
    size_t classes = op->classes, target = op->target[b];
    double largest = -INFINITY, sum = 0, weights = 0, spread = 0;
    for (size_t k = 0; k < classes; k++) {
        largest = (double)x[k] > largest ? (double)x[k] : largest;
    }
    for (size_t k = 0; k < classes; k++) {
        sum += exp((double)x[k] - largest);
    }
    double level = largest + log(sum), share = (double)op->smoothing / (double)classes;
    double sharp = (1 - (double)op->smoothing) * weight_of(op, target);
    for (size_t k = 0; k < classes; k++) {
        weights += weight_of(op, k);
        spread += weight_of(op, k) * (level - (double)x[k]);
    }
    for (size_t k = 0; k < classes; k++) {
        double p = exp((double)x[k] - level);
        put_gradient(op, b, k, sharp * (p - (k == target ? 1 : 0)) + share * (p * weights - weight_of(op, k)));
    }
    return sharp * (level - (double)x[target]) + share * spread;
}

/* -(w y ln p + (1 - y) ln(1 - p)), p = sigmoid(x), as (1 - y) x + (1 + (w - 1) y) ln(1 + e^-x). */
static double binary(const bft_loss *op, size_t b, const float *logits) {
    double loss = 0;
    for (size_t k = 0; k < op->classes; k++) {
        double x = (double)logits[k], y = (double)op->targets[b * op->classes + k];
        double factor = 1 + (weight_of(op, k) - 1) * y, small = exp(-fabs(x));
        double other = (x >= 0 ? small : 1) / (1 + small); /* 1 - p */
        loss += (1 - y) * x + factor * (log1p(small) + fmax(-x, 0));
        put_gradient(op, b, k, 1 - y - factor * other);
    }
    return loss;
}

static double squared(const bft_loss *op, size_t b, const float *x) {
    double loss = 0;
    for (size_t k = 0; k < op->classes; k++) {
        double off = (double)x[k] - (double)op->targets[b * op->classes + k];
        loss += off * off;
        put_gradient(op, b, k, 2 * off);
    }
    return loss;
}

static void loss_sample(void *context, size_t b, int thread) {
    (void)thread;
    const bft_loss *op = context;
    const float *x = (const float *)op->logits + b * op->classes;
    double loss = op->kind == BFT_CROSS_ENTROPY ? cross_entropy(op, b, x)
                  : op->kind == BFT_BINARY      ? binary(op, b, x)
                                                : squared(op, b, x);
    op->loss[b] = loss / op->normalizer;
}

void CPU(loss)(bft_device *device, const bft_loss *op) {
    bft_pool_run(device->pool, op->batch, loss_sample, (void *)op);
    for (size_t b = 0; b < op->batch; b++) {
        *op->total += op->loss[b];
    }
}
