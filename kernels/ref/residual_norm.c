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
            y[i] = (real)((double)x[i] * dropout_in_row(&op->dropout, r, c) +
                          (residual == NULL ? 0 : (double)residual[i]));
        }
        REF(norm_row)(r, op->channels, op->eps, op->gamma, op->beta, y, saved);
    }
}

void REF(residual_norm_backward)(bft_device *device, const bft_residual_norm *op) {
    (void)device;
    norm_saved saved = REF(norm_saved_at)(op->saved, op->rows, op->channels);
    real *dx = op->dx, *dresidual = op->dresidual != NULL ? op->dresidual : dx;
    REF(norm_backward)(op->rows, op->channels, op->gamma, saved, op->dy, dresidual, op->dgamma, op->dbeta);
    for (size_t r = 0; r < op->rows; r++) {
        for (size_t c = 0; c < op->channels; c++) {
            size_t i = r * op->channels + c;
            dx[i] = (real)((double)dresidual[i] * dropout_in_row(&op->dropout, r, c));
        }
    }
}
