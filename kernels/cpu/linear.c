/* linear.c: y = activation(x weight^T + bias), three products in all. */
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/prepared.h"

enum { SUM_COLUMNS = 64, SUM_ROWS = 64 }; /* a bias gradient's unit, and how many rows it sums on their own */

/* Saved: (rows, out) the activation's derivative. Scratch: a packed matrix, and the gradient before the activation. */
void CPU(linear_memory)(const bft_linear *op, bft_memory *out) {
    if (op->form != BFT_FORM_PLAIN && op->form != BFT_FORM_FP32) {
        *out = (bft_memory){.scratch = CPU(linear_prepared_scratch)(op)};
        return;
    }
    size_t plane = op->activation == BFT_IDENTITY ? 0 : op->rows * op->out * sizeof(float);
    out->saved = plane;
    out->scratch = CPU(gemm_scratch_bytes)(size_max(op->in, op->out)) + plane;
}

void CPU(linear_forward)(bft_device *device, const bft_linear *op) {
    if (op->form == BFT_FORM_FP32) {
        CPU(linear_fp32)(device, op);
        return;
    }
    if (op->form != BFT_FORM_PLAIN) {
        CPU(linear_prepared)(device, op);
        return;
    }
    CPU(gemm_run)
    (device, &(gemm){.m = op->rows,
                     .n = op->out,
                     .k = op->in,
                     .a = op->x,
                     .b = op->weight,
                     .c = op->y,
                     .bias = op->bias,
                     .activation = op->activation,
                     .slope = op->saved,
                     .packed = op->scratch});
}

/* ---- Backward ---- */

typedef struct gradients {
    const bft_linear *op;
    float *inner;       /* (rows, out) dy times the derivative: made here, or NULL without an activation */
    const float *outer; /* (rows, out) what is summed: the same, or dy */
} gradients;

static void activation_backward(const gradients *g, size_t row, size_t column, size_t count) {
    const float *slope = g->op->saved, *dy = g->op->dy;
    for (size_t i = row * g->op->out + column, end = i + count; i < end; i++) {
        g->inner[i] = dy[i] * slope[i];
    }
}

/* A strip of columns: the derivative is applied and the bias's gradient summed on the same way down. */
static void strip_backward(void *context, size_t unit, int thread) {
    (void)thread;
    const gradients *g = context;
    size_t out = g->op->out, column = unit * SUM_COLUMNS, count = size_min(SUM_COLUMNS, out - column);
    float total[SUM_COLUMNS] = {0};
    for (size_t block = 0; block < g->op->rows; block += SUM_ROWS) {
        float sum[SUM_COLUMNS] = {0};
        for (size_t row = block; row < size_min(block + SUM_ROWS, g->op->rows); row++) {
            if (g->inner != NULL) {
                activation_backward(g, row, column, count);
            }
            for (size_t c = 0; c < count; c++) {
                sum[c] += g->outer[row * out + column + c];
            }
        }
        for (size_t c = 0; c < count; c++) {
            total[c] += sum[c];
        }
    }
    for (size_t c = 0; g->op->dbias != NULL && c < count; c++) {
        ((float *)g->op->dbias)[column + c] += total[c];
    }
}

void CPU(linear_backward)(bft_device *device, const bft_linear *op) {
    float *packed = op->scratch, *behind = packed;
    behind += CPU(gemm_scratch_bytes)(size_max(op->in, op->out)) / sizeof *packed;
    float *inner = op->activation == BFT_IDENTITY ? NULL : behind;
    const float *dy = inner == NULL ? op->dy : inner;
    if (inner != NULL || op->dbias != NULL) {
        gradients g = {op, inner, dy};
        bft_pool_run(device->pool, blocks_of(op->out, SUM_COLUMNS), strip_backward, &g);
    }
    if (op->dweight != NULL) { /* (out, in) += dy^T x */
        CPU(gemm_run)
        (device, &(gemm){.m = op->out,
                         .n = op->in,
                         .k = op->rows,
                         .a = dy,
                         .a_by_depth = true,
                         .b = op->x,
                         .b_by_depth = true,
                         .c = op->dweight,
                         .add = !op->dweight_fresh,
                         .packed = packed});
    }
    if (op->dx != NULL) { /* (rows, in) = dy weight */
        CPU(gemm_run)
        (device, &(gemm){.m = op->rows,
                         .n = op->in,
                         .k = op->out,
                         .a = dy,
                         .b = op->weight,
                         .b_by_depth = true,
                         .c = op->dx,
                         .add = op->dx_add,
                         .packed = packed});
    }
}
