/* metrics.h: how good a model's answers are. An accumulator takes batches of logits with their targets; then values are read by name.
 *
 * Definitions are scikit-learn's, with zero_division = 0. All classes of the label set count in the averages, whether
 * they occur or not. */
#ifndef BFT_TRAIN_METRICS_H
#define BFT_TRAIN_METRICS_H

#include "bertft/data.h"
#include "bertft/error.h"
#include "bertft/weights.h" /* bft_problem */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bft_metrics bft_metrics;

/* `labels` must outlive the metrics. `bins` for the calibration error (EVAL.BINS); `threshold`: a label of a multi-label problem is
 * given where its probability is at least this (EVAL.THRESHOLD). */
bft_status bft_metrics_create(bft_error *err, bft_metrics **out, bft_problem problem, const bft_labels *labels,
                              size_t bins, double threshold);
void bft_metrics_destroy(bft_metrics *metrics); /* NULL is fine */
void bft_metrics_clear(bft_metrics *metrics);   /* back to no samples */

/* One sample: its K logits, and its target as bft_sample holds it (`target` for single label, else `targets`). */
bft_status bft_metrics_add(bft_error *err, bft_metrics *metrics, const float *logits, uint32_t target,
                           const float *targets);

/* The masked pieces of a masked language model's batches (BFT_PROBLEM_NONE): how many, the sum of their losses, and how many came
 * out first. */
void bft_metrics_add_masked(bft_metrics *metrics, size_t pieces, double loss, double hits);

/* ---- Values by name ----
 * every problem    loss (the mean of the unweighted loss: log_loss, mse)
 * masked           perplexity (e to the loss), accuracy (the share of the masked pieces that came out first)
 * classes          accuracy (multi-label: all labels right), log_loss, ece, and precision_, recall_, f1_ with macro,
 *                  micro, weighted, and, for multi-label, samples
 * regression       mse rmse mae r2 pearson spearman (the last two are NaN where a side is constant) */
size_t bft_metrics_count(bft_problem problem);
const char *bft_metrics_name(bft_problem problem, size_t index);

/* BFT_BAD, with the names that there are, where the problem has no such metric; `place` begins the error's line. */
bft_status bft_metrics_check(bft_error *err, bft_problem problem, const char *name, const char *place);

double bft_metrics_value(const bft_metrics *metrics, const char *name); /* the name has been checked */
bool bft_metric_maximizes(const char *name);                            /* higher is better */

/* ---- What a report is made of ---- */
typedef struct bft_scores {
    double precision, recall, f1;
    size_t support;
} bft_scores;

typedef enum bft_average {
    BFT_AVERAGE_MICRO,
    BFT_AVERAGE_MACRO,
    BFT_AVERAGE_WEIGHTED,
    BFT_AVERAGE_SAMPLES
} bft_average;

bft_problem bft_metrics_problem(const bft_metrics *metrics);
const bft_labels *bft_metrics_labels(const bft_metrics *metrics);
size_t bft_metrics_samples(const bft_metrics *metrics);
size_t bft_metrics_bins(const bft_metrics *metrics);
bft_scores bft_metrics_class(const bft_metrics *metrics, size_t label);
bft_scores bft_metrics_average(const bft_metrics *metrics, bft_average average);
size_t bft_metrics_confusion(const bft_metrics *metrics, size_t truth, size_t predicted); /* single label only */

#endif
