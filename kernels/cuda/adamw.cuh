/* adamw.cuh: one element's step, for the dense tensors and the rows: torch's order and precision: scalars in double, rounded
 * once; elements in float, without contraction into fused operations, so that both give the same bits. */
#ifndef BFT_KERNELS_CUDA_ADAMW_CUH
#define BFT_KERNELS_CUDA_ADAMW_CUH

#include "kernels/cuda/device.cuh"

struct adamw_scalars {
    float rate, root, decay; /* -lr / correction1; sqrt(correction2); 1 - lr wd */
};

struct adamw_betas {
    float grow1, beta2, grow2, eps; /* 1 - beta1; beta2; 1 - beta2 */
};

static inline adamw_betas betas_of(double beta1, double beta2, double eps) {
    adamw_betas b = {(float)(1 - beta1), (float)beta2, (float)(1 - beta2), (float)eps};
    return b;
}

__device__ __forceinline__ adamw_scalars scalars_of(const bft_adamw_step *step, bool decay) {
    adamw_scalars s = {(float)(-step->lr / step->correction1), (float)sqrt(step->correction2),
                       (float)(decay ? 1 - step->lr * step->weight_decay : 1)};
    return s;
}

__device__ __forceinline__ void adamw_element(const adamw_betas &b, const adamw_scalars &s, float g, float *p, float *m,
                                              float *v) {
    *p *= s.decay;
    *m += b.grow1 * (g - *m);
    *v = *v * b.beta2 + b.grow2 * g * g;
    *p += s.rate * *m / (sqrtf(*v) / s.root + b.eps);
}

#endif
