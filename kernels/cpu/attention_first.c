/* attention_first.c: attention where a sequence asks with one token only, as [CLS] does in the last layer: rows, no panels.
 *
 * Keys are taken row by row, a vector along the head at a time, so nothing is packed; probabilities lie in a row of T. */
#include "kernels/cpu/attention.h"

#include <math.h>

static float dot(const float *a, const float *b, size_t count) {
    vf sum = {0};
    for (size_t d = 0; d < count; d += LANES) {
        sum += vf_load_some(a + d, count - d) * vf_load_some(b + d, count - d);
    }
    return vf_sum(sum);
}

/* y += by x */
static void add_row(float *y, float by, const float *x, size_t count) {
    for (size_t d = 0; d < count; d += LANES) {
        vf_store_some(y + d, vf_load_some(y + d, count - d) + by * vf_load_some(x + d, count - d), count - d);
    }
}

/* y = by x */
static void set_row(float *y, float by, const float *x, size_t count) {
    for (size_t d = 0; d < count; d += LANES) {
        vf_store_some(y + d, by * vf_load_some(x + d, count - d), count - d);
    }
}

/* The probabilities, zeros behind the last in its vector. */
static void probabilities(const head *h, const float *q, const float *k, float *p) {
    float largest = -INFINITY;
    for (size_t key = 0; key < h->keys; key++) {
        p[key] = dot(q, k + key * h->op->kv_stride, h->size);
        largest = p[key] <= largest ? largest : p[key]; /* NaN goes on */
    }
    vf sum = {0};
    for (size_t key = 0; key < h->keys; key += LANES) {
        vf e = vf_first(vf_exp((vf_load_some(p + key, h->keys - key) - largest) * h->scale), h->keys - key);
        sum += e;
        vf_store(p + key, e);
    }
    float share = 1 / vf_sum(sum);
    for (size_t key = 0; key < h->keys; key += LANES) {
        vf_store(p + key, vf_load(p + key) * share);
    }
}

size_t CPU(attention_first_count)(size_t keys) {
    return 3 * round_up(keys, 4 * LANES);
}

void CPU(attention_first_forward)(const head *h, float *local) {
    const bft_attention *op = h->op;
    const float *v = (const float *)op->v + h->kv_first;
    float *p = local, *factors = local + round_up(h->keys, 4 * LANES), *y = (float *)op->y + h->y_first;
    probabilities(h, (const float *)op->q + h->q_first, (const float *)op->k + h->kv_first, p);
    if (op->dropout.rate > 0) {
        CPU(dropout_keys)(&op->dropout, h->sequence, h->head, h->keys, factors);
        for (size_t key = 0; key < h->keys; key += LANES) {
            vf_store(p + key, vf_load(p + key) * vf_load(factors + key));
        }
    }
    set_row(y, p[0], v, h->size);
    for (size_t key = 1; key < h->keys; key++) {
        add_row(y, p[key], v + key * op->kv_stride, h->size);
    }
}

/* As attention.c has it: dv = (P M)^T dy, dP = (dy v^T) M, dS = P (dP - sum(P dP)) / sqrt(D), dk = dS^T q, dq = dS k. */
void CPU(attention_first_backward)(const head *h, float *local) {
    const bft_attention *op = h->op;
    size_t plane = round_up(h->keys, 4 * LANES), stride = op->kv_stride;
    const float *q = (const float *)op->q + h->q_first, *dy = (const float *)op->dy + h->y_first;
    const float *k = (const float *)op->k + h->kv_first, *v = (const float *)op->v + h->kv_first;
    float *dq = (float *)op->dq + h->q_first, *dk = (float *)op->dk + h->kv_first;
    float *dv = (float *)op->dv + h->kv_first, *p = local, *factors = p + plane, *dp = factors + plane;
    probabilities(h, q, k, p);
    if (op->dropout.rate > 0) {
        CPU(dropout_keys)(&op->dropout, h->sequence, h->head, h->keys, factors);
    }
    float along = 0;
    for (size_t key = 0; key < h->keys; key++) {
        float factor = op->dropout.rate > 0 ? factors[key] : 1;
        dp[key] = dot(dy, v + key * stride, h->size) * factor;
        along += p[key] * dp[key];
        set_row(dv + key * stride, p[key] * factor, dy, h->size);
    }
    for (size_t key = 0; key < h->keys; key++) {
        float ds = p[key] * (dp[key] - along) * h->scale;
        set_row(dk + key * stride, ds, q, h->size);
        if (key == 0) {
            set_row(dq, ds, k, h->size);
        } else {
            add_row(dq, ds, k + key * stride, h->size);
        }
    }
}
