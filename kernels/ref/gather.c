/* gather.c: picking rows, and adding them back. */
#include "kernels/ref/ref.h"

void REF(gather_forward)(bft_device *device, const bft_gather *op) {
    (void)device;
    for (size_t r = 0; r < op->rows; r++) {
        for (size_t c = 0; c < op->channels; c++) {
            ((real *)op->y)[r * op->channels + c] = ((const real *)op->x)[op->index[r] * op->channels + c];
        }
    }
}

void REF(gather_backward)(bft_device *device, const bft_gather *op) {
    (void)device;
    for (size_t r = 0; r < op->rows; r++) {
        for (size_t c = 0; c < op->channels; c++) {
            ((real *)op->dx)[op->index[r] * op->channels + c] += ((const real *)op->dy)[r * op->channels + c];
        }
    }
}
