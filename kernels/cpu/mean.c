/* mean.c: y[b] = mean of the rows of sequence b, a sequence a unit. */
#include "kernels/cpu/cpu.h"

static void sequence_forward(void *context, size_t b, int thread) {
    (void)thread;
    const bft_mean *op = context;
    size_t channels = op->channels, first = op->start[b], behind = op->start[b + 1];
    const float *x = op->x;
    float *y = (float *)op->y + b * channels, scale = 1 / (float)(behind - first);
    memset(y, 0, channels * sizeof *y);
    for (size_t row = first; row < behind; row++) {
        for (size_t c = 0; c < channels; c++) {
            y[c] += x[row * channels + c];
        }
    }
    for (size_t c = 0; c < channels; c++) {
        y[c] *= scale;
    }
}

void CPU(mean_forward)(bft_device *device, const bft_mean *op) {
    bft_pool_run(device->pool, op->batch, sequence_forward, (void *)op);
}

static void sequence_backward(void *context, size_t b, int thread) {
    (void)thread;
    const bft_mean *op = context;
    size_t channels = op->channels, first = op->start[b], behind = op->start[b + 1];
    const float *dy = (const float *)op->dy + b * channels;
    float *dx = op->dx, scale = 1 / (float)(behind - first);
    for (size_t row = first; row < behind; row++) {
        for (size_t c = 0; c < channels; c++) {
            dx[row * channels + c] = dy[c] * scale;
        }
    }
}

void CPU(mean_backward)(bft_device *device, const bft_mean *op) {
    bft_pool_run(device->pool, op->batch, sequence_backward, (void *)op);
}
