/* tied_loss.c: cross-entropy over a decoder that is the word table, a row at a time, in double. Logits are computed as often as they
 * are needed. */
#include "kernels/ref/ref.h"

#include <math.h>

void REF(tied_loss_memory)(const bft_tied_loss *op, bft_memory *out) {
    (void)op;
    *out = (bft_memory){0};
}

static double logit(const bft_tied_loss *op, size_t row, size_t word) {
    const real *x = (const real *)op->x + row * op->channels, *w = (const real *)op->table + word * op->channels;
    double sum = (double)((const real *)op->bias)[word];
    for (size_t c = 0; c < op->channels; c++) {
        sum += (double)x[c] * (double)w[c];
    }
    return sum;
}

/* The gradient of each logit is (its probability - [it is the target's]) / normalizer. */
static void row_backward(const bft_tied_loss *op, size_t row, double log_sum) {
    const real *x = (const real *)op->x + row * op->channels;
    real *dx = (real *)op->dx + row * op->channels;
    for (size_t c = 0; c < op->channels; c++) {
        dx[c] = 0;
    }
    for (size_t word = 0; word < op->vocabulary; word++) {
        const real *w = (const real *)op->table + word * op->channels;
        double d = (exp(logit(op, row, word) - log_sum) - (word == op->target[row] ? 1 : 0)) / op->normalizer;
        for (size_t c = 0; c < op->channels; c++) {
            dx[c] = (real)((double)dx[c] + d * (double)w[c]);
            if (op->dtable != NULL) {
                real *to = (real *)op->dtable + word * op->channels + c;
                *to = (real)((double)*to + d * (double)x[c]);
            }
        }
        if (op->dbias != NULL) {
            real *to = (real *)op->dbias + word;
            *to = (real)((double)*to + d);
        }
    }
}

void REF(tied_loss)(bft_device *device, const bft_tied_loss *op) {
    (void)device;
    for (size_t row = 0; row < op->rows; row++) {
        double largest = -INFINITY, sum = 0;
        size_t best = 0;
        for (size_t word = 0; word < op->vocabulary; word++) {
            double x = logit(op, row, word);
            best = x > largest ? word : best;
            largest = fmax(largest, x);
        }
        for (size_t word = 0; word < op->vocabulary; word++) {
            sum += exp(logit(op, row, word) - largest);
        }
        double log_sum = largest + log(sum);
        op->loss[row] = (log_sum - logit(op, row, op->target[row])) / op->normalizer;
        *op->total += op->loss[row];
        *op->hits += best == op->target[row] ? 1 : 0;
        if (op->dx != NULL) {
            row_backward(op, row, log_sum);
        }
    }
}
