/* attention.h: one head of one sequence, as attention.c and attention_first.c work on it. */
#ifndef BFT_KERNELS_CPU_ATTENTION_H
#define BFT_KERNELS_CPU_ATTENTION_H

#include "kernels/cpu/gemm.h"

/* Rows of q, k, v and their gradients are `size` values, a stride apart. */
typedef struct head {
    const bft_attention *op;
    size_t sequence, head, keys, queries, size, padded; /* D, and D in whole tiles */
    size_t q_first, kv_first;                           /* of the first element in q and in k, v */
    size_t y_first, y_stride;
    float scale;
} head;

/* For one query: floats of a thread's own memory, forward and backward. */
size_t CPU(attention_first_count)(size_t keys);
void CPU(attention_first_forward)(const head *h, float *local);
void CPU(attention_first_backward)(const head *h, float *local);

#endif
