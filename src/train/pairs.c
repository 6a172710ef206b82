/* pairs.c: answers and targets of a regression, and how well they agree. */
#include "train/pairs.h"

#include <math.h>
#include <stdlib.h>

typedef struct bft_pairs_order {
    double value;
    size_t index;
} order;

static bft_status grow(bft_error *err, void *pointer, size_t count, size_t size) {
    void **memory = pointer, *larger = realloc(*memory, count * size);
    if (larger == NULL) {
        return bft_error_memory(err, count * size);
    }
    *memory = larger;
    return BFT_OK;
}

bft_status bft_pairs_add(bft_error *err, bft_pairs *pairs, const float *answer, const float *target, size_t count) {
    if (pairs->count + count > pairs->capacity) {
        size_t capacity = 2 * (pairs->count + count);
        BFT_TRY(grow(err, &pairs->answer, capacity, sizeof *pairs->answer));
        BFT_TRY(grow(err, &pairs->target, capacity, sizeof *pairs->target));
        BFT_TRY(grow(err, &pairs->rank, capacity, 2 * sizeof *pairs->rank));
        BFT_TRY(grow(err, &pairs->order, capacity, sizeof *pairs->order));
        pairs->capacity = capacity;
    }
    for (size_t i = 0; i < count; i++, pairs->count++) {
        pairs->answer[pairs->count] = (double)answer[i];
        pairs->target[pairs->count] = (double)target[i];
    }
    return BFT_OK;
}

void bft_pairs_free(bft_pairs *pairs) {
    free(pairs->answer);
    free(pairs->target);
    free(pairs->rank);
    free(pairs->order);
    *pairs = (bft_pairs){0};
}

/* ---- Errors ---- */

double bft_pairs_mse(const bft_pairs *pairs) {
    double sum = 0;
    for (size_t i = 0; i < pairs->count; i++) {
        double difference = pairs->answer[i] - pairs->target[i];
        sum += difference * difference;
    }
    return pairs->count > 0 ? sum / (double)pairs->count : 0;
}

double bft_pairs_mae(const bft_pairs *pairs) {
    double sum = 0;
    for (size_t i = 0; i < pairs->count; i++) {
        sum += fabs(pairs->answer[i] - pairs->target[i]);
    }
    return pairs->count > 0 ? sum / (double)pairs->count : 0;
}

/* ---- Agreement ---- */

typedef struct moments {
    double xx, yy, xy; /* sums of products of deviations from the means */
} moments;

static moments moments_of(const double *x, const double *y, size_t n) {
    double mean_x = 0, mean_y = 0;
    for (size_t i = 0; i < n; i++) {
        mean_x += x[i];
        mean_y += y[i];
    }
    mean_x /= (double)n;
    mean_y /= (double)n;
    moments sums = {0};
    for (size_t i = 0; i < n; i++) {
        double dx = x[i] - mean_x, dy = y[i] - mean_y;
        sums.xx += dx * dx;
        sums.yy += dy * dy;
        sums.xy += dx * dy;
    }
    return sums;
}

double bft_pairs_r2(const bft_pairs *pairs) {
    double residual = bft_pairs_mse(pairs) * (double)pairs->count;
    double total = moments_of(pairs->answer, pairs->target, pairs->count).yy;
    if (total > 0) {
        return 1 - residual / total;
    }
    return residual > 0 ? 0 : 1;
}

static double correlation(const double *x, const double *y, size_t n) {
    moments sums = moments_of(x, y, n);
    return sums.xx > 0 && sums.yy > 0 ? sums.xy / sqrt(sums.xx * sums.yy) : NAN;
}

double bft_pairs_pearson(const bft_pairs *pairs) {
    return correlation(pairs->answer, pairs->target, pairs->count);
}

static int compare(const void *left, const void *right) {
    double a = ((const order *)left)->value, b = ((const order *)right)->value;
    return (a > b) - (a < b);
}

/* Ranks from 1; equal values share the mean of their ranks. */
static void rank(const double *values, size_t n, order *sorted, double *ranks) {
    for (size_t i = 0; i < n; i++) {
        sorted[i] = (order){values[i], i};
    }
    qsort(sorted, n, sizeof *sorted, compare);
    for (size_t first = 0, end; first < n; first = end) {
        for (end = first + 1; end < n && sorted[end].value <= sorted[first].value; end++) {
        }
        for (size_t i = first; i < end; i++) {
            ranks[sorted[i].index] = (double)(first + end + 1) / 2;
        }
    }
}

double bft_pairs_spearman(const bft_pairs *pairs) {
    size_t n = pairs->count;
    if (n == 0) {
        return NAN;
    }
    rank(pairs->answer, n, pairs->order, pairs->rank);
    rank(pairs->target, n, pairs->order, pairs->rank + n);
    return correlation(pairs->rank, pairs->rank + n, n);
}
