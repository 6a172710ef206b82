/* pairs.h: answers and targets of a regression, and how well they agree. All pairs are kept: ranks need them. */
#ifndef BFT_TRAIN_PAIRS_H
#define BFT_TRAIN_PAIRS_H

#include "bertft/error.h"

#include <stddef.h>

typedef struct bft_pairs {
    double *answer, *target;       /* (count) */
    double *rank;                  /* (2, count) scratch of spearman, as `order` */
    struct bft_pairs_order *order; /* (count) */
    size_t count, capacity;
} bft_pairs;

bft_status bft_pairs_add(bft_error *err, bft_pairs *pairs, const float *answer, const float *target, size_t count);
void bft_pairs_free(bft_pairs *pairs);

double bft_pairs_mse(const bft_pairs *pairs);
double bft_pairs_mae(const bft_pairs *pairs);
double bft_pairs_r2(const bft_pairs *pairs); /* as scikit-learn's: constant targets give 1 when all are met, else 0 */

/* NaN where one side is constant. */
double bft_pairs_pearson(const bft_pairs *pairs);
double bft_pairs_spearman(const bft_pairs *pairs);

#endif
