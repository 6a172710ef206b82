/* adamw.c: AdamW on dense tensors, and the step that adamw_rows shares. */
#include "kernels/cpu/adamw.h"

enum { PIECE = 16384 };

static void step_piece(void *context, size_t unit, int thread) {
    (void)thread;
    const bft_adamw *op = context;
    size_t start = unit * PIECE, count = size_min(PIECE, op->count - start);
    const float *grad = (const float *)op->grad + start;
    float *p = (float *)op->p + start, *m = (float *)op->m + start, *v = (float *)op->v + start;
    adamw_factors f = adamw_factors_of(op->beta1, op->beta2, op->eps, &op->step, op->decay);
    adamw_step(&f, (float)op->scale, grad, count, p, m, v);
}

void CPU(adamw)(bft_device *device, const bft_adamw *op) {
    bft_pool_run(device->pool, blocks_of(op->count, PIECE), step_piece, (void *)op);
}
