/* norm.c: the sum of squares, for the norm of all gradients. */
#include "kernels/ref/ref.h"

double REF(sum_squares)(bft_device *device, const void *x, size_t count) {
    (void)device;
    const real *value = x;
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (double)value[i] * (double)value[i];
    }
    return sum;
}
