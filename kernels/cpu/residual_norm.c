/* residual_norm.c: y = LayerNorm(dropout(x) + residual). */
#include "kernels/cpu/cpu.h"

/* Scratch: the row blocks' shares of dgamma and dbeta. */
void CPU(residual_norm_memory)(const bft_residual_norm *op, bft_memory *out) {
    *out = (bft_memory){CPU(norm_saved_bytes)(op->rows, op->channels), CPU(norm_partial_bytes)(op->rows, op->channels)};
}

typedef struct task {
    const bft_residual_norm *op;
    norm_saved saved;
} task;

static task task_of(const bft_residual_norm *op) {
    return (task){op, CPU(norm_saved_at)(op->saved, op->rows, op->channels)};
}

/* The sum is put where the normal row goes, or into y itself: both are read no more by then, if they were x or residual. */
static void block_forward(void *context, size_t unit, int thread) {
    (void)thread;
    const task *t = context;
    const bft_residual_norm *op = t->op;
    size_t channels = op->channels, start = unit * ROW_BLOCK;
    for (size_t row = start; row < size_min(start + ROW_BLOCK, op->rows); row++) {
        const float *x = (const float *)op->x + row * channels;
        const float *residual = op->residual == NULL ? NULL : (const float *)op->residual + row * channels;
        float *y = (float *)op->y + row * channels,
              *sum = t->saved.normal == NULL ? y : t->saved.normal + row * channels;
        CPU(dropout_add)(&op->dropout, row, channels, x, residual, sum);
        CPU(norm_row)(row, channels, op->eps, op->gamma, op->beta, sum, y, t->saved);
    }
}

void CPU(residual_norm_forward)(bft_device *device, const bft_residual_norm *op) {
    task t = task_of(op);
    bft_pool_run(device->pool, blocks_of(op->rows, ROW_BLOCK), block_forward, &t);
}

static void block_backward(void *context, size_t unit, int thread) {
    (void)thread;
    const task *t = context;
    const bft_residual_norm *op = t->op;
    size_t channels = op->channels, start = unit * ROW_BLOCK;
    float *partial = (float *)op->scratch + unit * 2 * channels;
    memset(partial, 0, 2 * channels * sizeof *partial);
    for (size_t row = start; row < size_min(start + ROW_BLOCK, op->rows); row++) {
        const float *dy = (const float *)op->dy + row * channels;
        float *dx = (float *)op->dx + row * channels;
        float *dresidual = op->dresidual == NULL ? dx : (float *)op->dresidual + row * channels;
        CPU(norm_row_backward)(row, channels, op->gamma, t->saved, dy, dresidual, partial);
        CPU(dropout_add)(&op->dropout, row, channels, dresidual, NULL, dx);
    }
}

void CPU(residual_norm_backward)(bft_device *device, const bft_residual_norm *op) {
    task t = task_of(op);
    bft_pool_run(device->pool, blocks_of(op->rows, ROW_BLOCK), block_backward, &t);
    CPU(norm_combine)(op->rows, op->channels, op->scratch, op->dgamma, op->dbeta);
}
