/* gather.c: y[i] = x[index[i]] and back: dx[index[i]] += dy[i]. */
#include "kernels/cpu/cpu.h"

static void block_forward(void *context, size_t unit, int thread) {
    (void)thread;
    const bft_gather *op = context;
    size_t channels = op->channels, start = unit * ROW_BLOCK;
    for (size_t row = start; row < size_min(start + ROW_BLOCK, op->rows); row++) {
        const float *x = (const float *)op->x + op->index[row] * channels;
        memcpy((float *)op->y + row * channels, x, channels * sizeof *x);
    }
}

void CPU(gather_forward)(bft_device *device, const bft_gather *op) {
    bft_pool_run(device->pool, blocks_of(op->rows, ROW_BLOCK), block_forward, (void *)op);
}

static void block_backward(void *context, size_t unit, int thread) {
    (void)thread;
    const bft_gather *op = context;
    size_t channels = op->channels, start = unit * ROW_BLOCK;
    for (size_t row = start; row < size_min(start + ROW_BLOCK, op->rows); row++) {
        const float *dy = (const float *)op->dy + row * channels;
        float *dx = (float *)op->dx + op->index[row] * channels;
        for (size_t c = 0; c < channels; c++) {
            dx[c] += dy[c];
        }
    }
}

void CPU(gather_backward)(bft_device *device, const bft_gather *op) {
    bft_pool_run(device->pool, blocks_of(op->rows, ROW_BLOCK), block_backward, (void *)op);
}
