/* norm.c: the norm of all gradients, and the factor that clips it. */
#include "kernels/ref/ref.h"

#include <math.h>

static double sum_squares(const real *x, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    return sum;
}

void REF(norm)(bft_device *device, const bft_norm *op) {
    (void)device;
    double squares = 0;
    for (size_t block = 0; block < BFT_NORM_BLOCKS; block++) {
        squares += op->x[block] == NULL ? 0 : sum_squares(op->x[block], op->count[block]);
    }
    bft_norm_result *result = op->result;
    result->norm = sqrt(squares);
    result->scale = op->limit > 0 ? fmin(1, op->limit / (result->norm + 1e-6)) : 1;
    if (result->failed == 0 && !isfinite(result->norm)) {
        result->failed = op->step;
    }
}
