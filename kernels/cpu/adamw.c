/* adamw.c: AdamW on dense tensors, and the step that adamw_rows shares. */
#include "kernels/cpu/adamw.h"

enum { PIECE = 16384 };

typedef struct task {
    const bft_adamw *op;
    const bft_adamw_tensor *tensor;
} task;

static void step_piece(void *context, size_t unit, int thread) {
    (void)thread;
    const task *t = context;
    const bft_adamw *op = t->op;
    size_t inside = unit * PIECE, count = size_min(PIECE, t->tensor->count - inside);
    size_t start = t->tensor->offset + inside;
    const float *grad = (const float *)op->grad + start;
    float *p = (float *)op->p + start, *m = (float *)op->m + start, *v = (float *)op->v + start;
    adamw_factors f = adamw_factors_of(op->beta1, op->beta2, op->eps, op->step, t->tensor->decay);
    adamw_step(&f, (float)op->norm->scale, grad, count, p, m, v);
}

void CPU(adamw)(bft_device *device, const bft_adamw *op) {
    for (size_t i = 0; i < op->tensor_count && op->norm->failed == 0; i++) {
        const bft_adamw_tensor *tensor = &op->tensors[i];
        bft_pool_run(device->pool, blocks_of(tensor->count, PIECE), step_piece, &(task){op, tensor});
    }
}
