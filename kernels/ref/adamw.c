/* adamw.c: dense AdamW, in the order and the precision of torch.optim.AdamW's single-tensor path: scalars are
 * computed in double and rounded to the element's type once, elements are computed in their own type. */
#include "kernels/ref/ref.h"

#include <math.h>

void REF(adamw_element)(double beta1, double beta2, double eps, const bft_adamw_step *step, double decay, real g,
                        real *p, real *m, real *v) {
    real rate = (real)(-step->lr / step->correction1), root = (real)sqrt(step->correction2);
    *p *= (real)decay;
    *m += (real)(1 - beta1) * (g - *m);
    *v = *v * (real)beta2 + (real)(1 - beta2) * g * g;
    real denominator = (real)sqrt((double)*v) / root + (real)eps; /* a double root rounded to float is the float root */
    *p += rate * *m / denominator;
}

void REF(adamw)(bft_device *device, const bft_adamw *op) {
    (void)device;
    real *p = op->p, *m = op->m, *v = op->v;
    const real *grad = op->grad;
    if (op->norm->failed != 0) {
        return;
    }
    for (size_t t = 0; t < op->tensor_count; t++) {
        const bft_adamw_tensor *tensor = &op->tensors[t];
        double decay = tensor->decay ? 1 - op->step->lr * op->step->weight_decay : 1;
        for (size_t i = tensor->offset; i < tensor->offset + tensor->count; i++) {
            real g = (real)op->norm->scale * grad[i];
            REF(adamw_element)(op->beta1, op->beta2, op->eps, op->step, decay, g, &p[i], &m[i], &v[i]);
        }
    }
}
