/* adamw.h: one AdamW step over a run of elements; plain loops, which the compiler vectorises. */
#ifndef BFT_KERNELS_CPU_ADAMW_H
#define BFT_KERNELS_CPU_ADAMW_H

#include "kernels/cpu/cpu.h"

#include <math.h>

/* A step's numbers, computed in double and then rounded once. */
typedef struct adamw_factors {
    float decay;                           /* 1 - lr wd */
    float beta1, rest1, beta2, rest2, eps; /* rest: 1 - beta */
    float rate, root;                      /* lr / (1 - b1^t), 1 / sqrt(1 - b2^t) */
} adamw_factors;

static inline adamw_factors adamw_factors_of(double beta1, double beta2, double eps, const bft_adamw_step *step,
                                             bool decay) {
    return (adamw_factors){.decay = decay ? (float)(1 - step->lr * step->weight_decay) : 1,
                           .beta1 = (float)beta1,
                           .rest1 = (float)(1 - beta1),
                           .beta2 = (float)beta2,
                           .rest2 = (float)(1 - beta2),
                           .eps = (float)eps,
                           .rate = (float)(step->lr / step->correction1),
                           .root = (float)(1 / sqrt(step->correction2))};
}

static inline void adamw_step(const adamw_factors *f, float scale, const float *restrict grad, size_t count,
                              float *restrict p, float *restrict m, float *restrict v) {
    for (size_t i = 0; i < count; i++) {
        float g = scale * grad[i];
        m[i] = f->beta1 * m[i] + f->rest1 * g;
        v[i] = f->beta2 * v[i] + f->rest2 * (g * g);
        p[i] = p[i] * f->decay - f->rate * (m[i] / (sqrtf(v[i]) * f->root + f->eps));
    }
}

#endif
