/* metrics.c: counting answers, and the values that follow from the counts. */
#include "train/metrics.h"

#include "base/arena.h"
#include "base/buffer.h"
#include "train/pairs.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct bin {
    size_t count;
    double probability, hits; /* sums */
} bin;

struct bft_metrics {
    bft_arena arena;
    bft_problem problem;
    const bft_labels *labels;
    size_t classes, bin_count, samples; /* K */
    double threshold;

    size_t *right, *given, *support; /* (K) true positives; predictions of the class; occurrences of the class */
    size_t *confusion;               /* (K, K) rows: truth; single label only */
    bin *bins;                       /* (bin_count) */
    size_t exact;                    /* samples whose labels are all right */
    double log_loss;                 /* sum over samples, multi-label: over samples and classes; masked: over pieces */
    double masked_hits;
    bft_scores by_sample; /* sums over samples, multi-label */

    bft_pairs pairs; /* regression: answers and targets */
};

/* ---- Lifetime ---- */

bft_status bft_metrics_create(bft_error *err, bft_metrics **out, bft_problem problem, const bft_labels *labels,
                              size_t bins, double threshold) {
    bft_metrics *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return bft_error_memory(err, sizeof *m);
    }
    *m = (bft_metrics){
        .problem = problem, .labels = labels, .classes = labels->count, .bin_count = bins, .threshold = threshold};
    bft_status status = BFT_NEW(err, &m->arena, &m->right, m->classes);
    status = status ? status : BFT_NEW(err, &m->arena, &m->given, m->classes);
    status = status ? status : BFT_NEW(err, &m->arena, &m->support, m->classes);
    status = status ? status : BFT_NEW(err, &m->arena, &m->bins, bins);
    if (status == BFT_OK && problem == BFT_SINGLE_LABEL) {
        status = bft_arena_alloc(err, &m->arena, m->classes, m->classes * sizeof(size_t), (void **)&m->confusion);
    }
    if (status != BFT_OK) {
        bft_metrics_destroy(m);
        return status;
    }
    *out = m;
    return BFT_OK;
}

void bft_metrics_destroy(bft_metrics *metrics) {
    if (metrics != NULL) {
        bft_pairs_free(&metrics->pairs);
        bft_arena_free(&metrics->arena);
        free(metrics);
    }
}

void bft_metrics_clear(bft_metrics *metrics) {
    bft_metrics *m = metrics;
    memset(m->right, 0, m->classes * sizeof *m->right);
    memset(m->given, 0, m->classes * sizeof *m->given);
    memset(m->support, 0, m->classes * sizeof *m->support);
    memset(m->bins, 0, m->bin_count * sizeof *m->bins);
    if (m->confusion != NULL) {
        memset(m->confusion, 0, m->classes * m->classes * sizeof *m->confusion);
    }
    m->samples = m->exact = m->pairs.count = 0;
    m->log_loss = m->masked_hits = 0;
    m->by_sample = (bft_scores){0};
}

/* ---- Counting ---- */

static double ratio(double part, double whole) {
    return whole > 0 ? part / whole : 0;
}

static double f1_of(double right, double given, double support) {
    return ratio(2 * right, given + support);
}

/* Bins are half-open, (low, high], as in Guo et al., "On calibration of modern neural networks" (2017). */
static void calibrate(bft_metrics *m, double probability, bool hit) {
    double place = ceil(probability * (double)m->bin_count) - 1;
    size_t index = place < 0 ? 0 : (size_t)place;
    bin *b = &m->bins[index < m->bin_count ? index : m->bin_count - 1];
    b->count++;
    b->probability += probability;
    b->hits += hit;
}

static void add_single(bft_metrics *m, const float *logits, uint32_t target) {
    size_t best = 0;
    for (size_t k = 1; k < m->classes; k++) {
        best = logits[k] > logits[best] ? k : best;
    }
    double sum = 0;
    for (size_t k = 0; k < m->classes; k++) {
        sum += exp((double)logits[k] - (double)logits[best]);
    }
    m->log_loss += log(sum) + (double)logits[best] - (double)logits[target];
    calibrate(m, 1 / sum, best == target);
    m->confusion[target * m->classes + best]++;
    m->support[target]++;
    m->given[best]++;
    m->right[best] += best == target;
    m->exact += best == target;
}

/* -log of the probability that a logit gives to `wanted`, without overflow. */
static double binary_loss(double logit, bool wanted) {
    return log1p(exp(-fabs(logit))) + fmax(logit, 0) - (wanted ? logit : 0);
}

static void add_multi(bft_metrics *m, const float *logits, const float *targets) {
    size_t right = 0, given = 0, support = 0;
    for (size_t k = 0; k < m->classes; k++) {
        double probability = 1 / (1 + exp(-(double)logits[k]));
        bool answer = probability >= m->threshold, wanted = targets[k] > 0.5f;
        m->log_loss += binary_loss((double)logits[k], wanted);
        calibrate(m, probability, wanted);
        m->given[k] += answer;
        m->support[k] += wanted;
        m->right[k] += answer && wanted;
        given += answer;
        support += wanted;
        right += answer && wanted;
    }
    m->exact += right == given && right == support;
    m->by_sample.precision += ratio((double)right, (double)given);
    m->by_sample.recall += ratio((double)right, (double)support);
    m->by_sample.f1 += f1_of((double)right, (double)given, (double)support);
}

bft_status bft_metrics_add(bft_error *err, bft_metrics *metrics, const float *logits, uint32_t target,
                           const float *targets) {
    metrics->samples++;
    if (metrics->problem == BFT_REGRESSION) {
        return bft_pairs_add(err, &metrics->pairs, logits, targets, metrics->classes);
    }
    if (metrics->problem == BFT_MULTI_LABEL) {
        add_multi(metrics, logits, targets);
    } else {
        add_single(metrics, logits, target);
    }
    return BFT_OK;
}

void bft_metrics_add_masked(bft_metrics *metrics, size_t pieces, double loss, double hits) {
    metrics->samples += pieces;
    metrics->log_loss += loss;
    metrics->masked_hits += hits;
}

/* ---- Classes and their averages ---- */

bft_scores bft_metrics_class(const bft_metrics *metrics, size_t label) {
    double right = (double)metrics->right[label], given = (double)metrics->given[label];
    double support = (double)metrics->support[label];
    return (bft_scores){ratio(right, given), ratio(right, support), f1_of(right, given, support),
                        metrics->support[label]};
}

static bft_scores micro_average(const bft_metrics *m) {
    size_t right = 0, given = 0, support = 0;
    for (size_t k = 0; k < m->classes; k++) {
        right += m->right[k];
        given += m->given[k];
        support += m->support[k];
    }
    double r = (double)right, g = (double)given, s = (double)support;
    return (bft_scores){ratio(r, g), ratio(r, s), f1_of(r, g, s), support};
}

static bft_scores class_average(const bft_metrics *m, bool weighted) {
    bft_scores sum = {0};
    double weights = 0;
    for (size_t k = 0; k < m->classes; k++) {
        bft_scores scores = bft_metrics_class(m, k);
        double weight = weighted ? (double)scores.support : 1;
        sum.precision += weight * scores.precision;
        sum.recall += weight * scores.recall;
        sum.f1 += weight * scores.f1;
        sum.support += scores.support;
        weights += weight;
    }
    return (bft_scores){ratio(sum.precision, weights), ratio(sum.recall, weights), ratio(sum.f1, weights), sum.support};
}

static bft_scores sample_average(const bft_metrics *m) {
    double n = (double)m->samples;
    return (bft_scores){ratio(m->by_sample.precision, n), ratio(m->by_sample.recall, n), ratio(m->by_sample.f1, n),
                        micro_average(m).support};
}

bft_scores bft_metrics_average(const bft_metrics *metrics, bft_average average) {
    switch (average) {
    case BFT_AVERAGE_MICRO:
        return micro_average(metrics);
    case BFT_AVERAGE_SAMPLES:
        return sample_average(metrics);
    default:
        return class_average(metrics, average == BFT_AVERAGE_WEIGHTED);
    }
}

/* ---- Values by name ---- */

static double log_loss(const bft_metrics *m) {
    return ratio(m->log_loss, (double)m->samples * (m->problem == BFT_MULTI_LABEL ? (double)m->classes : 1));
}

static double calibration_error(const bft_metrics *m) {
    double gaps = 0, count = 0;
    for (size_t i = 0; i < m->bin_count; i++) {
        gaps += fabs(m->bins[i].probability - m->bins[i].hits);
        count += (double)m->bins[i].count;
    }
    return ratio(gaps, count);
}

typedef enum what {
    ACCURACY,
    PRECISION,
    RECALL,
    F1,
    LOG_LOSS,
    PERPLEXITY,
    CALIBRATION,
    MSE,
    RMSE,
    MAE,
    R2,
    PEARSON,
    SPEARMAN,
    LOSS
} what;

enum {
    SINGLE = 1 << BFT_SINGLE_LABEL,
    MULTI = 1 << BFT_MULTI_LABEL,
    SCORES = 1 << BFT_REGRESSION,
    MASKED = 1 << BFT_PROBLEM_NONE,
    CLASSES = SINGLE | MULTI
};

static const struct metric {
    const char *name;
    what what;
    int problems;
    bft_average average; /* of precision, recall, F1 */
    bool minimize;
} table[] = {
    {"accuracy", ACCURACY, CLASSES | MASKED, 0, false},
    {"f1_macro", F1, CLASSES, BFT_AVERAGE_MACRO, false},
    {"f1_micro", F1, CLASSES, BFT_AVERAGE_MICRO, false},
    {"f1_weighted", F1, CLASSES, BFT_AVERAGE_WEIGHTED, false},
    {"f1_samples", F1, MULTI, BFT_AVERAGE_SAMPLES, false},
    {"precision_macro", PRECISION, CLASSES, BFT_AVERAGE_MACRO, false},
    {"precision_micro", PRECISION, CLASSES, BFT_AVERAGE_MICRO, false},
    {"precision_weighted", PRECISION, CLASSES, BFT_AVERAGE_WEIGHTED, false},
    {"precision_samples", PRECISION, MULTI, BFT_AVERAGE_SAMPLES, false},
    {"recall_macro", RECALL, CLASSES, BFT_AVERAGE_MACRO, false},
    {"recall_micro", RECALL, CLASSES, BFT_AVERAGE_MICRO, false},
    {"recall_weighted", RECALL, CLASSES, BFT_AVERAGE_WEIGHTED, false},
    {"recall_samples", RECALL, MULTI, BFT_AVERAGE_SAMPLES, false},
    {"log_loss", LOG_LOSS, CLASSES, 0, true},
    {"ece", CALIBRATION, CLASSES, 0, true},
    {"perplexity", PERPLEXITY, MASKED, 0, true},
    {"mse", MSE, SCORES, 0, true},
    {"rmse", RMSE, SCORES, 0, true},
    {"mae", MAE, SCORES, 0, true},
    {"r2", R2, SCORES, 0, false},
    {"pearson", PEARSON, SCORES, 0, false},
    {"spearman", SPEARMAN, SCORES, 0, false},
    {"loss", LOSS, CLASSES | SCORES | MASKED, 0, true},
};
enum { METRICS = sizeof table / sizeof *table };

static const struct metric *find(const char *name) {
    for (size_t i = 0; i < METRICS; i++) {
        if (strcmp(table[i].name, name) == 0) {
            return &table[i];
        }
    }
    return NULL;
}

static bool belongs(const struct metric *metric, bft_problem problem) {
    return (metric->problems & (1 << problem)) != 0;
}

size_t bft_metrics_count(bft_problem problem) {
    size_t count = 0;
    for (size_t i = 0; i < METRICS; i++) {
        count += belongs(&table[i], problem);
    }
    return count;
}

const char *bft_metrics_name(bft_problem problem, size_t index) {
    size_t i = 0;
    for (; !belongs(&table[i], problem) || index-- > 0; i++) {
    }
    return table[i].name;
}

bft_status bft_metrics_check(bft_error *err, bft_problem problem, const char *name, const char *place) {
    const struct metric *metric = find(name);
    if (metric != NULL && belongs(metric, problem)) {
        return BFT_OK;
    }
    bft_buffer names = {0};
    bft_status status = BFT_OK;
    for (size_t i = 0; i < bft_metrics_count(problem) && status == BFT_OK; i++) {
        status = bft_buffer_printf(err, &names, " %s", bft_metrics_name(problem, i));
    }
    if (status == BFT_OK) {
        status =
            bft_error_set(err, BFT_BAD, "%s: this problem has no metric \"%s\"; it has%s", place, name, names.data);
    }
    bft_buffer_free(&names);
    return status;
}

bool bft_metric_maximizes(const char *name) {
    const struct metric *metric = find(name);
    return metric != NULL && !metric->minimize;
}

double bft_metrics_value(const bft_metrics *metrics, const char *name) {
    const struct metric *metric = find(name);
    assert(metric != NULL && belongs(metric, metrics->problem));
    switch (metric->what) {
    case ACCURACY:
        return ratio((double)metrics->exact + metrics->masked_hits, (double)metrics->samples);
    case PRECISION:
        return bft_metrics_average(metrics, metric->average).precision;
    case RECALL:
        return bft_metrics_average(metrics, metric->average).recall;
    case F1:
        return bft_metrics_average(metrics, metric->average).f1;
    case LOG_LOSS:
        return log_loss(metrics);
    case PERPLEXITY:
        return exp(log_loss(metrics));
    case CALIBRATION:
        return calibration_error(metrics);
    case MSE:
        return bft_pairs_mse(&metrics->pairs);
    case RMSE:
        return sqrt(bft_pairs_mse(&metrics->pairs));
    case MAE:
        return bft_pairs_mae(&metrics->pairs);
    case R2:
        return bft_pairs_r2(&metrics->pairs);
    case PEARSON:
        return bft_pairs_pearson(&metrics->pairs);
    case SPEARMAN:
        return bft_pairs_spearman(&metrics->pairs);
    case LOSS:
        return metrics->problem == BFT_REGRESSION ? bft_pairs_mse(&metrics->pairs) : log_loss(metrics);
    }
    return NAN;
}

/* ---- Plain views ---- */

bft_problem bft_metrics_problem(const bft_metrics *metrics) {
    return metrics->problem;
}

const bft_labels *bft_metrics_labels(const bft_metrics *metrics) {
    return metrics->labels;
}

size_t bft_metrics_samples(const bft_metrics *metrics) {
    return metrics->samples;
}

size_t bft_metrics_bins(const bft_metrics *metrics) {
    return metrics->bin_count;
}

size_t bft_metrics_confusion(const bft_metrics *metrics, size_t truth, size_t predicted) {
    return metrics->confusion[truth * metrics->classes + predicted];
}
