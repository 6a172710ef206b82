/* residual_norm.c: y = LayerNorm(dropout(x) + residual). */
#include "kernels/ref/ref.h"

void REF(residual_norm_memory)(const bft_residual_norm *op, bft_memory *out) {
    *out = (bft_memory){.saved = REF(norm_saved_bytes)(op->rows, op->channels), .scratch = 0};
}

void REF(residual_norm_forward)(bft_device *device, const bft_residual_norm *op) {
    (void)device;
    const real *x = op->x, *residual = op->residual;
    real *y = op->y;
    norm_saved saved = REF(norm_saved_at)(op->saved, op->rows, op->channels);
    for (size_t r = 0; r < op->rows; r++) {
        for (size_t c = 0; c < op->channels; c++) {
            size_t i = r * op->channels + c;
            y[i] = (real)((double)x[i] * dropout_in_row(&op->dropout, r, c) + (double)residual[i]);
        }
        REF(norm_row)(r, op->channels, op->eps, op->gamma, op->beta, y, saved);
    }
}

void REF(residual_norm_backward)(bft_device *device, const bft_residual_norm *op) {
    (void)device;
    norm_saved saved = REF(norm_saved_at)(op->saved, op->rows, op->channels);
    REF(norm_backward)(op->rows, op->channels, op->gamma, saved, op->dy, op->dresidual, op->dgamma, op->dbeta);
    const real *dresidual = op->dresidual;
    real *dx = op->dx;
    for (size_t r = 0; r < op->rows; r++) {
        for (size_t c = 0; c < op->channels; c++) {
            size_t i = r * op->channels + c;
            dx[i] = (real)((double)dresidual[i] * dropout_in_row(&op->dropout, r, c));
        }
    }
}
