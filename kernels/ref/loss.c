/* loss.c: the three losses and their gradients, in double. */
#include "kernels/ref/ref.h"

#include <math.h>

static double weight_of(const bft_loss *op, size_t class) {
    return op->weight == NULL ? 1 : (double)op->weight[class];
}

static void put_gradient(const bft_loss *op, size_t at, double gradient) {
    if (op->dlogits != NULL) {
        ((real *)op->dlogits)[at] = (real)(gradient / op->normalizer);
    }
}

/* -sum_k share_k log softmax_k, where share_k = w_k ((1 - smoothing) [k is the target] + smoothing / K); the gradient
 * of log softmax_k by logit j is [j = k] - softmax_j. */
static double cross_entropy(const bft_loss *op, size_t b, const real *logits) {
    double largest = -INFINITY, sum = 0, total = 0, loss = 0;
    for (size_t k = 0; k < op->classes; k++) {
        largest = fmax(largest, (double)logits[k]);
    }
    for (size_t k = 0; k < op->classes; k++) {
        sum += exp((double)logits[k] - largest);
    }
    double smoothing = (double)op->smoothing, log_sum = largest + log(sum);
    for (size_t k = 0; k < op->classes; k++) {
        double share = weight_of(op, k) * (smoothing / (double)op->classes + (k == op->target[b] ? 1 - smoothing : 0));
        total += share;
        loss += share * (log_sum - (double)logits[k]);
    }
    for (size_t k = 0; k < op->classes; k++) {
        double share = weight_of(op, k) * (smoothing / (double)op->classes + (k == op->target[b] ? 1 - smoothing : 0));
        put_gradient(op, b * op->classes + k, total * exp((double)logits[k] - log_sum) - share);
    }
    return loss;
}

/* log(1 + e^x) without overflow; its derivative is the logistic function. */
static double softplus(double x) {
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

/* w t softplus(-x) + (1 - t) softplus(x), summed over the classes. */
static double binary(const bft_loss *op, size_t b, const real *logits) {
    double loss = 0;
    for (size_t k = 0; k < op->classes; k++) {
        double x = (double)logits[k], target = (double)op->targets[b * op->classes + k], weight = weight_of(op, k);
        double yes = 1 / (1 + exp(-x)), no = 1 / (1 + exp(x));
        loss += weight * target * softplus(-x) + (1 - target) * softplus(x);
        put_gradient(op, b * op->classes + k, (1 - target) * yes - weight * target * no);
    }
    return loss;
}

static double squared(const bft_loss *op, size_t b, const real *logits) {
    double loss = 0;
    for (size_t k = 0; k < op->classes; k++) {
        double off = (double)logits[k] - (double)op->targets[b * op->classes + k];
        loss += off * off;
        put_gradient(op, b * op->classes + k, 2 * off);
    }
    return loss;
}

void REF(loss)(bft_device *device, const bft_loss *op) {
    (void)device;
    for (size_t b = 0; b < op->batch; b++) {
        const real *logits = (const real *)op->logits + b * op->classes;
        double loss = op->kind == BFT_CROSS_ENTROPY ? cross_entropy(op, b, logits)
                      : op->kind == BFT_BINARY      ? binary(op, b, logits)
                                                    : squared(op, b, logits);
        op->loss[b] = loss / op->normalizer;
        *op->total += op->loss[b];
    }
}
