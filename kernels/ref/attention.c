/* attention.c: softmax(q k^T / sqrt(D)) v, a sequence, a head and a query at a time.
 *
 * Nothing is saved: the backward computes the probabilities again. */
#include "kernels/ref/ref.h"

#include <math.h>

/* Scratch: a row of probabilities, and in the backward a row of their gradients, in double. */
void REF(attention_memory)(const bft_attention *op, bft_memory *out) {
    *out = (bft_memory){.saved = 0, .scratch = 2 * op->longest * sizeof(double)};
}

/* One query of one head, with the keys of its sequence. */
typedef struct query {
    size_t sequence, head, place, row; /* place in the sequence; row in q and y */
    size_t first, keys;                /* rows of k and v */
} query;

static const real *key_row(const bft_attention *op, const void *kv, const query *at, size_t key) {
    return (const real *)kv + (at->first + key) * op->kv_stride + at->head * op->head_size;
}

static double dropout_of(const bft_attention *op, const query *at, size_t key) {
    if (op->dropout.rate <= 0) {
        return 1;
    }
    uint32_t channel = (uint32_t)(at->head << 16 | key);
    return dropout_at(&op->dropout, op->dropout.sample[at->sequence], (uint32_t)at->place, channel);
}

/* Softmax of the scores, before dropout. */
static void probabilities(const bft_attention *op, const query *at, double *p) {
    const real *q = (const real *)op->q + at->row * op->q_stride + at->head * op->head_size;
    double largest = -INFINITY, sum = 0;
    for (size_t j = 0; j < at->keys; j++) {
        const real *k = key_row(op, op->k, at, j);
        double score = 0;
        for (size_t d = 0; d < op->head_size; d++) {
            score += (double)q[d] * (double)k[d];
        }
        p[j] = score / sqrt((double)op->head_size);
        largest = fmax(largest, p[j]);
    }
    for (size_t j = 0; j < at->keys; j++) {
        p[j] = exp(p[j] - largest);
        sum += p[j];
    }
    for (size_t j = 0; j < at->keys; j++) {
        p[j] /= sum;
    }
}

static void query_forward(const bft_attention *op, const query *at) {
    double *p = op->scratch;
    size_t place = at->head * op->head_size;
    real *y = (real *)op->y + at->row * op->heads * op->head_size + place;
    probabilities(op, at, p);
    for (size_t j = 0; j < at->keys; j++) {
        p[j] *= dropout_of(op, at, j);
    }
    for (size_t d = 0; d < op->head_size; d++) {
        double sum = 0;
        for (size_t j = 0; j < at->keys; j++) {
            sum += p[j] * (double)key_row(op, op->v, at, j)[d];
        }
        y[d] = (real)sum;
    }
}

/* With P the probabilities, M the dropout factors: y = (P M) v, so dv += (P M)^T dy and dP = (dy v^T) M; through the
 * softmax dS = P (dP - sum(P dP)); and S = q k^T / sqrt(D). */
static void query_backward(const bft_attention *op, const query *at) {
    double *p = op->scratch, *dp = p + op->longest, along = 0, scale = 1 / sqrt((double)op->head_size);
    size_t place = at->head * op->head_size;
    const real *q = (const real *)op->q + at->row * op->q_stride + place;
    const real *dy = (const real *)op->dy + at->row * op->heads * op->head_size + place;
    real *dq = (real *)op->dq + at->row * op->q_stride + place;
    probabilities(op, at, p);
    for (size_t j = 0; j < at->keys; j++) {
        double mask = dropout_of(op, at, j), sum = 0;
        const real *v = key_row(op, op->v, at, j);
        real *dv = (real *)op->dv + (at->first + j) * op->kv_stride + place;
        for (size_t d = 0; d < op->head_size; d++) {
            sum += (double)dy[d] * (double)v[d];
            dv[d] += (real)(p[j] * mask * (double)dy[d]);
        }
        dp[j] = sum * mask;
        along += p[j] * dp[j];
    }
    for (size_t d = 0; d < op->head_size; d++) {
        double sum = 0;
        for (size_t j = 0; j < at->keys; j++) {
            double ds = p[j] * (dp[j] - along) * scale;
            real *dk = (real *)op->dk + (at->first + j) * op->kv_stride + place;
            sum += ds * (double)key_row(op, op->k, at, j)[d];
            dk[d] += (real)(ds * (double)q[d]);
        }
        dq[d] = (real)sum;
    }
}

static void each_query(const bft_attention *op, void (*visit)(const bft_attention *op, const query *at)) {
    for (size_t b = 0; b < op->batch; b++) {
        for (size_t h = 0; h < op->heads; h++) {
            query at = {.sequence = b, .head = h, .first = op->key_start[b]};
            at.keys = op->key_start[b + 1] - op->key_start[b];
            for (at.row = op->query_start[b]; at.row < op->query_start[b + 1]; at.row++) {
                at.place = at.row - op->query_start[b];
                visit(op, &at);
            }
        }
    }
}

void REF(attention_forward)(bft_device *device, const bft_attention *op) {
    (void)device;
    each_query(op, query_forward);
}

void REF(attention_backward)(bft_device *device, const bft_attention *op) {
    (void)device;
    for (size_t r = 0; r < op->key_start[op->batch]; r++) { /* dk and dv gather over queries: they start from 0 */
        for (size_t c = 0; c < op->heads * op->head_size; c++) {
            ((real *)op->dk)[r * op->kv_stride + c] = 0;
            ((real *)op->dv)[r * op->kv_stride + c] = 0;
        }
    }
    each_query(op, query_backward);
}
