/* norm.c: the norm of all gradients, in double, and the factor that clips it. */
#include "kernels/cpu/cpu.h"

#include <math.h>

enum { PIECE = 8192, UNITS = 64, PARTS = 16 };

typedef struct task {
    const float *x;
    size_t count, stretch; /* elements in all, and in a unit: whole pieces */
    double sum[UNITS];
} task;

/* PARTS sums side by side, for the vectoriser; put together at the end of each piece. */
static double piece_sum(const float *x, size_t count) {
    double part[PARTS] = {0}, sum = 0;
    size_t i = 0;
    for (; i + PARTS <= count; i += PARTS) {
        UNROLLED
        for (size_t j = 0; j < PARTS; j++) {
            part[j] += (double)x[i + j] * (double)x[i + j];
        }
    }
    for (; i < count; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    for (size_t j = 0; j < PARTS; j++) {
        sum += part[j];
    }
    return sum;
}

static void sum_stretch(void *context, size_t unit, int thread) {
    (void)thread;
    task *t = context;
    size_t end = size_min((unit + 1) * t->stretch, t->count);
    for (size_t start = unit * t->stretch; start < end; start += PIECE) {
        t->sum[unit] += piece_sum(t->x + start, size_min(PIECE, end - start));
    }
}

static double sum_squares(bft_device *device, const void *x, size_t count) {
    task t = {.x = x, .count = count, .stretch = round_up(blocks_of(count, UNITS), PIECE)};
    size_t units = count == 0 ? 0 : blocks_of(count, t.stretch);
    bft_pool_run(device->pool, units, sum_stretch, &t);
    double sum = 0;
    for (size_t unit = 0; unit < units; unit++) {
        sum += t.sum[unit];
    }
    return sum;
}

void CPU(norm)(bft_device *device, const bft_norm *op) {
    double squares = 0;
    for (size_t block = 0; block < BFT_NORM_BLOCKS; block++) {
        squares += op->x[block] == NULL ? 0 : sum_squares(device, op->x[block], op->count[block]);
    }
    bft_norm_result *result = op->result;
    result->norm = sqrt(squares);
    result->scale = op->limit > 0 ? fmin(1, op->limit / (result->norm + 1e-6)) : 1;
    if (result->failed == 0 && !isfinite(result->norm)) {
        result->failed = op->step;
    }
}
