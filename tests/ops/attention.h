/* attention.h: what the cases of attention and their bounds share. */
#ifndef BFT_TESTS_OPS_ATTENTION_H
#define BFT_TESTS_OPS_ATTENTION_H

#include "tests/ops/ops_test.h"

enum { Q, KV, Y, DY, DQ, DKV };

typedef enum attention_place { PACKED, FIRST, GAPS } attention_place;

typedef struct attention_shape {
    const char *title;
    size_t batch, longest, heads, head_size;
    attention_place layout;
    float rate;
    double scale; /* of q, k and v; 0 is 1 */
    bool inference;
} attention_shape;

typedef struct attention_layout {
    sequences rows;
    uint32_t *query_start; /* (B + 1) */
    size_t queries, channels, q_stride, kv_stride;
} attention_layout;

void bound_attention(problem *p);

#endif
