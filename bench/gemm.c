/* gemm.c: how fast `linear` is on the shapes that encoders have, in GFLOP/s and as a share of what the processor's
 * multiply-adds can do. Usage: gemm [BACKEND [THREADS]] */
#include "kernels/ops.h"
#include "kernels/peak.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

typedef struct setup {
    const bft_ops *ops;
    bft_device *device;
    double peak; /* of all threads */
} setup;

static float *values(const setup *s, size_t count) {
    void *memory;
    bft_error err;
    if (s->ops->alloc(&err, s->device, count * sizeof(float), &memory) != BFT_OK) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    float *x = memory;
    for (size_t i = 0; i < count; i++) {
        x[i] = (float)(i * 2654435761u >> 8 & 0xFFFF) / 65536 - 0.5f;
    }
    return x;
}

/* The best of several runs, after one that warms up. */
static double seconds(const setup *s, bft_linear *op, void (*run)(bft_device *device, const bft_linear *op)) {
    double best = 1e9, total = 0;
    run(s->device, op);
    for (int i = 0; i < 30 && total < 0.5; i++) {
        double start = now();
        run(s->device, op);
        double took = now() - start;
        best = took < best ? took : best;
        total += took;
    }
    return best;
}

/* Forward with the weight in 8 bits. */
static double int8_seconds(const setup *s, bft_linear op) {
    bft_memory memory;
    op.saved = NULL;
    op.form = BFT_FORM_INT8;
    s->ops->linear_memory(&op, &memory);
    float *prepared = values(s, s->ops->prepared_bytes(op.form, op.out, op.in) / sizeof(float));
    float *scratch = values(s, memory.scratch / sizeof(float));
    (void)s->ops->prepare(s->device, op.form,
                          &(bft_weight){.out = op.out, .in = op.in, .parts = 1, .values = {op.weight}}, prepared);
    op.prepared = prepared;
    op.scratch = scratch;
    double took = seconds(s, &op, s->ops->linear_forward);
    s->ops->free(s->device, prepared);
    s->ops->free(s->device, scratch);
    return took;
}

static void measure(const setup *s, size_t rows, size_t in, size_t out, bft_activation activation) {
    bft_linear op = {.rows = rows, .in = in, .out = out, .activation = activation};
    bft_memory memory;
    s->ops->linear_memory(&op, &memory);
    float *x = values(s, rows * in), *weight = values(s, out * in), *bias = values(s, out);
    float *y = values(s, rows * out), *dx = values(s, rows * in), *dweight = values(s, out * in);
    float *dbias = values(s, out), *saved = values(s, memory.saved / sizeof(float));
    float *scratch = values(s, memory.scratch / sizeof(float));
    op.x = x;
    op.weight = weight;
    op.bias = bias;
    op.y = y;
    op.scratch = scratch;
    op.dy = y;
    op.dx = dx;
    op.dweight = dweight;
    op.dbias = dbias;
    double flops = 2.0 * (double)rows * (double)in * (double)out * 1e-9;
    double forward = flops / seconds(s, &op, s->ops->linear_forward);
    op.saved = saved;
    double training = flops / seconds(s, &op, s->ops->linear_forward);
    double backward = 2 * flops / seconds(s, &op, s->ops->linear_backward);
    printf("%5zu x %4zu -> %4zu %-8s  forward %6.1f (%3.0f%%)  training %6.1f (%3.0f%%)  backward %6.1f (%3.0f%%)"
           "  int8 %6.1f\n",
           rows, in, out, activation == BFT_GELU ? "gelu" : "", forward, 100 * forward / s->peak, training,
           100 * training / s->peak, backward, 100 * backward / s->peak, flops / int8_seconds(s, op));
    float *all[] = {x, weight, bias, y, dx, dweight, dbias, saved, scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        s->ops->free(s->device, all[i]);
    }
}

int main(int count, char **words) {
    static const struct {
        size_t rows, in, out;
        bft_activation activation;
    } shapes[] = {
        {32, 312, 312, BFT_IDENTITY}, {1000, 312, 312, BFT_IDENTITY},  {1000, 312, 936, BFT_IDENTITY},
        {1000, 312, 600, BFT_GELU},   {1000, 600, 312, BFT_IDENTITY},  {4000, 312, 936, BFT_IDENTITY},
        {1000, 384, 1536, BFT_GELU},  {1000, 768, 768, BFT_IDENTITY},  {1000, 768, 2304, BFT_IDENTITY},
        {1000, 768, 3072, BFT_GELU},  {1000, 3072, 768, BFT_IDENTITY}, {4000, 768, 768, BFT_IDENTITY},
    };
    setup s = {0};
    bft_error err;
    if (bft_ops_find(&err, count > 1 ? words[1] : "cpu", &s.ops) != BFT_OK ||
        s.ops->open(&err, &(bft_device_options){.threads = count > 2 ? atoi(words[2]) : 0}, &s.device) != BFT_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 2;
    }
    int threads = s.ops->threads(s.device);
    bft_peak peak;
    if (bft_peak_measure(&err, threads, &peak) != BFT_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    s.peak = peak.flops * 1e-9;
    printf("%s, %d threads; peak %.1f GFLOP/s, bf16 %.1f, int8 %.1f\n", s.ops->name, threads, s.peak, peak.bf16 * 1e-9,
           peak.int8 * 1e-9);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        measure(&s, shapes[i].rows, shapes[i].in, shapes[i].out, shapes[i].activation);
    }
    s.ops->close(s.device);
    return 0;
}
