/* attention_bound.c: bounds of attention's errors, for a query of a head at a time.
 *
 * With S the scores, P = softmax(S), M dropout's factors: y = (P M) v; dP = (dy v^T) M; a = sum(P dP), which may
 * also be computed as dy . y; dS = P (dP - a) / sqrt(D); dq = dS k; dk = dS^T q; dv = (P M)^T dy. P and dS may be
 * rounded to values where they are factors of a product: P before or after the division by its sum. */
#include "tests/ops/attention.h"

#include <math.h>

typedef struct query {
    problem *p;
    const attention_shape *shape;
    const attention_layout *layout;
    size_t sequence, head, row, place; /* of the query */
    size_t first, keys;
    double *weight;   /* (T) P */
    double *relative; /* (T) bound of P's relative error */
    double *factor;   /* (T) M */
    double *dp, *dp_error;
} query;

static size_t q_at(const query *at) {
    return at->row * at->layout->q_stride + at->head * at->shape->head_size;
}

/* which: 1 for k, 2 for v */
static size_t kv_at(const query *at, size_t key, size_t which) {
    size_t skipped = (at->shape->layout == PACKED ? which : which - 1) * at->layout->channels;
    return (at->first + key) * at->layout->kv_stride + skipped + at->head * at->shape->head_size;
}

static const double *kv_values(const query *at) {
    return at->p->tensor[at->shape->layout == PACKED ? Q : KV].start;
}

static size_t y_at(const query *at) {
    return at->row * at->layout->channels + at->head * at->shape->head_size;
}

/* P and its relative error. A score's error is that of a dot product and its scaling; exp turns absolute errors
 * into relative ones: those of the score, of the largest score or the log-sum that is subtracted, of the
 * difference; and the sum of all exponentials adds its own. exp of an error is not linear when scores are large:
 * expm1 keeps it a bound. */
static void bound_weights(query *at) {
    const double *q = at->p->tensor[Q].start + q_at(at), *kv = kv_values(at);
    size_t width = at->shape->head_size;
    double root = sqrt((double)width), largest = -INFINITY, worst = 0, sum = 0, shared = 0;
    for (size_t j = 0; j < at->keys; j++) {
        double score = 0, size = 0;
        for (size_t d = 0; d < width; d++) {
            double term = q[d] * kv[kv_at(at, j, 1) + d] / root;
            score += term;
            size += fabs(term);
        }
        at->weight[j] = score;
        at->relative[j] = growth(width) * size + 3 * fabs(score);
        largest = fmax(largest, score);
        worst = fmax(worst, at->relative[j]);
    }
    for (size_t j = 0; j < at->keys; j++) {
        double score = at->weight[j], linear = at->relative[j] + worst + fabs(score) + 2 * fabs(largest) + FUNCTION;
        at->weight[j] = exp(score - largest);
        at->relative[j] = expm1(linear * 0x1p-24) / 0x1p-24;
        sum += at->weight[j];
    }
    for (size_t j = 0; j < at->keys; j++) {
        at->weight[j] /= sum;
        shared += at->weight[j] * at->relative[j];
    }
    bft_dropout dropout = make_dropout(at->p, at->shape->rate, BFT_SITE_ATTENTION, NULL, NULL);
    for (size_t j = 0; j < at->keys; j++) {
        at->relative[j] += shared + growth(at->keys) + FUNCTION + 2;
        at->factor[j] = dropout_factor(&dropout, at->layout->rows.sample_of[at->sequence], (uint32_t)at->place,
                                       (uint32_t)(at->head << 16 | j));
    }
}

static double weight_error(const query *at, size_t j) {
    return at->relative[j] * at->weight[j] + UNDERFLOW;
}

/* The same of P M, a factor of products, before M. */
static double factor_error(const query *at, size_t j) {
    return weight_error(at, j) + 2 * at->weight[j] + stored(at->p, at->weight[j]);
}

static void bound_y(query *at, tensor *y) {
    const double *kv = kv_values(at);
    for (size_t d = 0; d < at->shape->head_size; d++) {
        double size = 0, passed_on = 0;
        for (size_t j = 0; j < at->keys; j++) {
            double v = fabs(kv[kv_at(at, j, 2) + d]) * at->factor[j];
            size += at->weight[j] * v;
            passed_on += factor_error(at, j) * v;
        }
        y->error[y_at(at) + d] = growth(at->keys) * size + passed_on + stored(at->p, y->truth[y_at(at) + d]);
    }
}

/* dP, then a and its error by both ways of computing it. */
static double bound_dp(query *at, const tensor *y, double *along) {
    const double *kv = kv_values(at), *dy = at->p->tensor[DY].start + y_at(at);
    size_t width = at->shape->head_size;
    double size = 0, passed_on = 0, other_size = 0, other_passed = 0;
    *along = 0;
    for (size_t j = 0; j < at->keys; j++) {
        double sum = 0, dot_size = 0;
        for (size_t d = 0; d < width; d++) {
            double term = dy[d] * kv[kv_at(at, j, 2) + d] * at->factor[j];
            sum += term;
            dot_size += fabs(term);
        }
        at->dp[j] = sum;
        at->dp_error[j] = growth(width) * dot_size + 2 * fabs(sum);
        *along += at->weight[j] * sum;
        size += at->weight[j] * fabs(sum);
        passed_on += at->weight[j] * at->dp_error[j] + weight_error(at, j) * fabs(sum);
    }
    for (size_t d = 0; d < width; d++) {
        other_size += fabs(dy[d] * y->truth[y_at(at) + d]);
        other_passed += fabs(dy[d]) * y->error[y_at(at) + d];
    }
    return fmax(growth(at->keys) * size + passed_on, growth(width) * other_size + other_passed);
}

/* Sizes and passed-on errors are gathered for dk and dv over the queries: `size` and `error` are shaped as the
 * tensor. */
typedef struct gathered {
    double *size, *error;
} gathered;

static void bound_gradients(query *at, tensor *dq, gathered *kv, const tensor *y) {
    const double *q = at->p->tensor[Q].start + q_at(at), *values = kv_values(at);
    const double *dy = at->p->tensor[DY].start + y_at(at);
    size_t width = at->shape->head_size;
    double along, along_error = bound_dp(at, y, &along), scale = 1 / sqrt((double)width);
    double *dq_size = take(at->p, width, sizeof *dq_size);
    for (size_t j = 0; j < at->keys; j++) {
        double away = at->dp[j] - along, ds = fabs(at->weight[j] * away * scale);
        double ds_error =
            scale * (at->weight[j] * (at->dp_error[j] + along_error + fabs(away)) + weight_error(at, j) * fabs(away)) +
            3 * ds + stored(at->p, ds);
        double kept = at->weight[j] * at->factor[j];
        double kept_error = factor_error(at, j) * at->factor[j];
        for (size_t d = 0; d < width; d++) {
            size_t k = kv_at(at, j, 1) + d, v = kv_at(at, j, 2) + d;
            dq_size[d] += ds * fabs(values[k]);
            dq->error[q_at(at) + d] += ds_error * fabs(values[k]);
            kv->size[k] += ds * fabs(q[d]);
            kv->error[k] += ds_error * fabs(q[d]);
            kv->size[v] += kept * fabs(dy[d]);
            kv->error[v] += kept_error * fabs(dy[d]);
        }
    }
    for (size_t d = 0; d < width; d++) {
        dq->error[q_at(at) + d] += growth(at->keys) * dq_size[d] + stored(at->p, dq->truth[q_at(at) + d]);
    }
}

static void bound_query(query *at, gathered *kv) {
    problem *p = at->p;
    bound_weights(at);
    bound_y(at, &p->tensor[Y]);
    if (!p->inference) {
        bound_gradients(at, &p->tensor[DQ], kv, &p->tensor[Y]);
    }
}

/* Adds up what the queries of a sequence gave to the columns of k and v. */
static void finish_sequence(const query *at, const gathered *kv, tensor *dkv, size_t queries) {
    for (size_t j = 0; j < at->keys; j++) {
        for (size_t which = 1; which <= 2; which++) {
            size_t start = kv_at(at, j, which);
            for (size_t i = start; i < start + at->shape->head_size; i++) {
                dkv->error[i] = kv->error[i] + growth(queries) * kv->size[i] + stored(at->p, dkv->truth[i]);
            }
        }
    }
}

void bound_attention(problem *p) {
    const attention_shape *s = p->shape;
    const attention_layout *layout = p->extra;
    tensor *dkv = &p->tensor[s->layout == PACKED ? DQ : DKV];
    gathered kv = {take(p, dkv->count, sizeof(double)), take(p, dkv->count, sizeof(double))};
    query at = {.p = p, .shape = s, .layout = layout};
    double **rows[] = {&at.weight, &at.relative, &at.factor, &at.dp, &at.dp_error};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        *rows[i] = take(p, s->longest, sizeof(double));
    }
    for (at.sequence = 0; at.sequence < s->batch; at.sequence++) {
        at.first = layout->rows.start[at.sequence];
        at.keys = layout->rows.start[at.sequence + 1] - at.first;
        size_t first = layout->query_start[at.sequence], last = layout->query_start[at.sequence + 1];
        for (at.head = 0; at.head < s->heads; at.head++) {
            for (at.row = first; at.row < last; at.row++) {
                at.place = at.row - first;
                bound_query(&at, &kv);
            }
            if (!p->inference) {
                finish_sequence(&at, &kv, dkv, last - first);
            }
        }
    }
}
