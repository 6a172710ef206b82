/* product.c: one matrix product again and again, for bench/run.py to hold against a library's.
 *
 * Usage: product BACKEND THREADS FORM ROWS IN OUT, with FORM plain (packed on the way, with a BACKEND such as cpu-bf16 rounded too), packed
 * (once before), or int8 (weights once before, activations on the way). Each line of stdin is a number of runs, and answered with
 * {"seconds": [...]}. */
#include "kernels/ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_RUNS = 1000 };

typedef struct product {
    const bft_ops *ops;
    bft_device *device;
    bft_linear op;
} product;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bft_status take(bft_error *err, const product *p, size_t count, void **out) {
    BFT_TRY(p->ops->alloc(err, p->device, count * sizeof(float), out));
    float *x = *out;
    for (size_t i = 0; i < count; i++) {
        x[i] = (float)(i * 2654435761u >> 8 & 0xFFFF) / 65536 - 0.5f;
    }
    return BFT_OK;
}

static bft_status prepare(bft_error *err, product *p) {
    bft_linear *op = &p->op;
    size_t bytes = p->ops->prepared_bytes(op->form, op->out, op->in);
    void *prepared;
    if (bytes == 0) {
        return bft_error_set(err, BFT_BAD, "%s has no such form", p->ops->name);
    }
    BFT_TRY(p->ops->alloc(err, p->device, bytes, &prepared));
    (void)p->ops->prepare(p->device, op->form,
                          &(bft_weight){.out = op->out, .in = op->in, .parts = 1, .values = {op->weight}}, prepared);
    op->prepared = prepared;
    return BFT_OK;
}

static bft_status open_product(bft_error *err, product *p, char **words) {
    bft_linear *op = &p->op;
    void *x, *weight, *bias;
    BFT_TRY(bft_ops_find(err, words[1], &p->ops));
    BFT_TRY(p->ops->open(err, &(bft_device_options){.threads = atoi(words[2])}, &p->device));
    *op = (bft_linear){
        .rows = strtoul(words[4], NULL, 10), .in = strtoul(words[5], NULL, 10), .out = strtoul(words[6], NULL, 10)};
    op->form = strcmp(words[3], "int8") == 0     ? BFT_FORM_INT8
               : strcmp(words[3], "packed") == 0 ? BFT_FORM_FP32
                                                 : BFT_FORM_PLAIN;
    BFT_TRY(take(err, p, op->rows * op->in, &x));
    BFT_TRY(take(err, p, op->out * op->in, &weight));
    BFT_TRY(take(err, p, op->out, &bias));
    BFT_TRY(take(err, p, op->rows * op->out, &op->y));
    op->x = x;
    op->weight = weight;
    op->bias = bias;
    if (op->form != BFT_FORM_PLAIN) {
        BFT_TRY(prepare(err, p));
    }
    bft_memory memory;
    p->ops->linear_memory(op, &memory);
    return p->ops->alloc(err, p->device, memory.scratch, &op->scratch);
}

static void serve(const product *p) {
    char line[32];
    while (fgets(line, sizeof line, stdin) != NULL) {
        size_t runs = strtoul(line, NULL, 10);
        printf("{\"seconds\": [");
        for (size_t i = 0; i < runs && i < MOST_RUNS; i++) {
            double start = now();
            p->ops->linear_forward(p->device, &p->op);
            printf("%s%.9f", i == 0 ? "" : ", ", now() - start);
        }
        printf("]}\n");
        fflush(stdout);
    }
}

int main(int count, char **words) {
    if (count != 7) {
        fprintf(stderr, "usage: product BACKEND THREADS FORM ROWS IN OUT\n");
        return 2;
    }
    bft_error err;
    product p = {0};
    if (open_product(&err, &p, words) != BFT_OK) {
        fprintf(stderr, "product: %s\n", err.message);
        return 1;
    }
    p.ops->linear_forward(p.device, &p.op);
    puts("{\"ready\": true}");
    fflush(stdout);
    serve(&p);
    p.ops->close(p.device); /* its memory goes with the process */
    return 0;
}
