/* mask.c: y = dropout(x) by itself. */
#include "kernels/cpu/cpu.h"

static void mask_block(void *context, size_t unit, int thread) {
    (void)thread;
    const bft_mask *op = context;
    size_t channels = op->channels, start = unit * ROW_BLOCK;
    for (size_t row = start; row < size_min(start + ROW_BLOCK, op->rows); row++) {
        const float *x = (const float *)op->x + row * channels;
        CPU(dropout_add)(&op->dropout, row, channels, x, NULL, (float *)op->y + row * channels);
    }
}

void CPU(mask)(bft_device *device, const bft_mask *op) {
    bft_pool_run(device->pool, blocks_of(op->rows, ROW_BLOCK), mask_block, (void *)op);
}
