/* attention_choice.h: whether cuDNN's fused attention may stand in for ours: a function of what is asked for and of nothing else, in C,
 * so that a test needs neither a card nor cuDNN.
 *
 * What cuDNN does where, by its release notes, its frontend's checks and tests, and the bugs reported against both (docs/cuda.md):
 * sequences that lie end to end ("ragged") on compute capability 9.0 and 10.x since 9.1 and 9.7, on 8.x since 9.18.1; a backward of
 * theirs with one order of sums on 9.0 since 9.1, on 10.x since 9.18.1, on 8.x and 12.x never; right where some have no tokens, which
 * fill up a captured step's batch, since 9.25. So 9.25 is asked for, and 8.x only infers. 12.x is left out: there q, k and v may not be
 * interleaved, and ours are. 11.0 is not in cuDNN's table of what it supports. */
#ifndef BFT_KERNELS_CUDA_ATTENTION_CHOICE_H
#define BFT_KERNELS_CUDA_ATTENTION_CHOICE_H

#include "kernels/ops.h"

enum { BFT_CUDNN_OLDEST = 92500 }; /* as cudnnGetVersion counts: 9.25.0 */

typedef struct bft_attention_case {
    int capability;    /* of the card, 90 for 9.0 */
    int cudnn_version; /* as cudnnGetVersion counts */
    bft_dtype type;    /* of the activations */
    bool training;     /* a backward will follow */
    bool dropout;      /* on the probabilities */
    bool all_ask;      /* every token is a query */
    bool aligned;      /* every head of every row lies at a multiple of 16 bytes */
    size_t head_size;
    size_t shortest; /* sequence of the batch, in tokens */
} bft_attention_case;

/* Of the card, the version and the precision alone: NULL where cuDNN serves, else what stands against it. */
static inline const char *bft_cudnn_unfit(int capability, int version, bft_dtype type) {
    int major = capability / 10;
    if (type == BFT_F32) {
        return "cuDNN's attention takes bf16 and fp16 only";
    }
    if (major != 8 && major != 9 && major != 10) {
        return "cuDNN's attention over sequences that lie end to end needs a card of compute capability 8.x, 9.x or "
               "10.x";
    }
    if (version < BFT_CUDNN_OLDEST) {
        return "cuDNN is older than 9.25, the first whose attention over sequences that lie end to end is right for "
               "all";
    }
    return NULL;
}

/* Of one call of the op. */
static inline const char *bft_cudnn_declines(const bft_attention_case *c) {
    const char *unfit = bft_cudnn_unfit(c->capability, c->cudnn_version, c->type);
    if (unfit != NULL) {
        return unfit;
    }
    if (c->training && c->capability / 10 == 8) {
        return "on a card of compute capability 8.x cuDNN's backward has no fixed order of sums";
    }
    if (c->dropout) {
        return "cuDNN's random numbers for dropout on attention are not ours";
    }
    if (c->head_size % 8 != 0 || c->head_size > 128) {
        return "cuDNN takes heads of 8, 16, .. 128 values";
    }
    if (!c->all_ask) {
        return "only the first tokens ask";
    }
    if (!c->aligned) {
        return "a head lies at no multiple of 16 bytes";
    }
    return c->shortest < 2 ? "a sequence has one token" : NULL;
}

#endif
