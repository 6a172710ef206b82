/* embed.c: y = dropout(LayerNorm(word + position + type)). */
#include "kernels/cpu/cpu.h"

enum { STRIP = 64 }; /* columns of the tables' gradients that one unit sums, over all rows in their order */

/* Scratch: (N, C) the gradient of the sum, then the row blocks' shares of dgamma and dbeta. */
void CPU(embed_memory)(const bft_embed *op, bft_memory *out) {
    out->saved = CPU(norm_saved_bytes)(op->rows, op->channels);
    out->scratch = op->rows * op->channels * sizeof(float) + CPU(norm_partial_bytes)(op->rows, op->channels);
}

typedef struct task {
    const bft_embed *op;
    norm_saved saved;
    float *dsum;    /* (N, C) */
    float *partial; /* (blocks, 2, C) */
} task;

static task task_of(const bft_embed *op) {
    float *scratch = op->scratch;
    return (task){op, CPU(norm_saved_at)(op->saved, op->rows, op->channels), scratch,
                  scratch + op->rows * op->channels};
}

static void block_forward(void *context, size_t unit, int thread) {
    (void)thread;
    const task *t = context;
    const bft_embed *op = t->op;
    size_t channels = op->channels, start = unit * ROW_BLOCK;
    for (size_t row = start; row < size_min(start + ROW_BLOCK, op->rows); row++) {
        const float *word = (const float *)op->word + op->word_row[row] * channels, *type = op->type_table;
        const float *position = (const float *)op->position_table + op->position[row] * channels;
        float *y = (float *)op->y + row * channels;
        for (size_t c = 0; c < channels; c++) {
            y[c] = word[c] + position[c];
        }
        for (size_t c = 0; type != NULL && c < channels; c++) {
            y[c] += type[c];
        }
        CPU(norm_row)(row, channels, op->eps, op->gamma, op->beta, y, y, t->saved);
        CPU(dropout_add)(&op->dropout, row, channels, y, NULL, y);
    }
}

void CPU(embed_forward)(bft_device *device, const bft_embed *op) {
    task t = task_of(op);
    bft_pool_run(device->pool, blocks_of(op->rows, ROW_BLOCK), block_forward, &t);
}

static void block_backward(void *context, size_t unit, int thread) {
    (void)thread;
    const task *t = context;
    const bft_embed *op = t->op;
    size_t channels = op->channels, start = unit * ROW_BLOCK;
    float *partial = t->partial + unit * 2 * channels;
    memset(partial, 0, 2 * channels * sizeof *partial);
    for (size_t row = start; row < size_min(start + ROW_BLOCK, op->rows); row++) {
        float *dsum = t->dsum + row * channels;
        CPU(dropout_add)(&op->dropout, row, channels, (const float *)op->dy + row * channels, NULL, dsum);
        CPU(norm_row_backward)(row, channels, op->gamma, t->saved, dsum, dsum, partial);
    }
}

static void add_to(float *to, const float *from, size_t count) {
    for (size_t i = 0; i < count; i++) {
        to[i] += from[i];
    }
}

static void strip_backward(void *context, size_t unit, int thread) {
    (void)thread;
    const task *t = context;
    const bft_embed *op = t->op;
    size_t channels = op->channels, start = unit * STRIP, count = size_min(STRIP, channels - start);
    float *dword = op->dword, *dposition = op->dposition_table, *dtype = op->dtype_table;
    for (size_t u = 0; dword != NULL && u < op->words; u++) {
        memset(dword + u * channels + start, 0, count * sizeof *dword);
    }
    for (size_t row = 0; row < op->rows; row++) {
        const float *dsum = t->dsum + row * channels + start;
        if (dword != NULL) {
            add_to(dword + op->word_row[row] * channels + start, dsum, count);
        }
        if (dposition != NULL) {
            add_to(dposition + op->position[row] * channels + start, dsum, count);
        }
        if (dtype != NULL) {
            add_to(dtype + start, dsum, count);
        }
    }
}

void CPU(embed_backward)(bft_device *device, const bft_embed *op) {
    task t = task_of(op);
    bft_pool_run(device->pool, blocks_of(op->rows, ROW_BLOCK), block_backward, &t);
    bft_pool_run(device->pool, blocks_of(op->channels, STRIP), strip_backward, &t);
    CPU(norm_combine)(op->rows, op->channels, t.partial, op->dgamma, op->dbeta);
}
