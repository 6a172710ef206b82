/* mask.c: dropout by itself. */
#include "kernels/ref/ref.h"

void REF(mask)(bft_device *device, const bft_mask *op) {
    (void)device;
    const real *x = op->x;
    for (size_t r = 0; r < op->rows; r++) {
        for (size_t c = 0; c < op->channels; c++) {
            size_t i = r * op->channels + c;
            ((real *)op->y)[i] = (real)((double)x[i] * dropout_in_row(&op->dropout, r, c));
        }
    }
}
