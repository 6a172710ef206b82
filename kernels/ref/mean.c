/* mean.c: the mean of a sequence's rows. */
#include "kernels/ref/ref.h"

void REF(mean_forward)(bft_device *device, const bft_mean *op) {
    (void)device;
    const real *x = op->x;
    for (size_t b = 0; b < op->batch; b++) {
        for (size_t c = 0; c < op->channels; c++) {
            double sum = 0;
            for (size_t r = op->start[b]; r < op->start[b + 1]; r++) {
                sum += (double)x[r * op->channels + c];
            }
            ((real *)op->y)[b * op->channels + c] = (real)(sum / (op->start[b + 1] - op->start[b]));
        }
    }
}

void REF(mean_backward)(bft_device *device, const bft_mean *op) {
    (void)device;
    const real *dy = op->dy;
    for (size_t b = 0; b < op->batch; b++) {
        for (size_t r = op->start[b]; r < op->start[b + 1]; r++) {
            for (size_t c = 0; c < op->channels; c++) {
                double share = (double)dy[b * op->channels + c] / (op->start[b + 1] - op->start[b]);
                ((real *)op->dx)[r * op->channels + c] = (real)share;
            }
        }
    }
}
