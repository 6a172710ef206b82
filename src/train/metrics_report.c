/* metrics_report.c: metrics as text for people and as JSON for programs. */
#include "train/metrics_report.h"

#include "base/json.h"
#include "base/utf8.h"

#include <math.h>
#include <string.h>
#include <utf8proc.h>

/* ---- Text ---- */

/* Columns that a terminal gives a label. */
static size_t display_width(const char *text) {
    size_t width = 0, length = strlen(text);
    for (size_t at = 0; at < length;) {
        uint32_t scalar;
        at += bft_utf8_decode(text + at, length - at, &scalar);
        width += (size_t)utf8proc_charwidth((utf8proc_int32_t)scalar);
    }
    return width;
}

static size_t label_width(const bft_labels *labels, size_t least) {
    for (size_t k = 0; k < labels->count; k++) {
        size_t width = display_width(labels->names[k]);
        least = width > least ? width : least;
    }
    return least;
}

static bft_status right_aligned(bft_error *err, bft_buffer *out, const char *text, size_t width) {
    size_t own = display_width(text);
    return bft_buffer_printf(err, out, "%*s%s", own < width ? (int)(width - own) : 0, "", text);
}

static bft_status score_row(bft_error *err, bft_buffer *out, const char *name, size_t width, bft_scores scores) {
    BFT_TRY(right_aligned(err, out, name, width));
    return bft_buffer_printf(err, out, "  %9.4f %9.4f %9.4f %9zu\n", scores.precision, scores.recall, scores.f1,
                             scores.support);
}

static bft_status class_table(bft_error *err, const bft_metrics *metrics, bft_buffer *out) {
    const bft_labels *labels = bft_metrics_labels(metrics);
    size_t width = label_width(labels, strlen("weighted avg"));
    BFT_TRY(bft_buffer_printf(err, out, "%*s  %9s %9s %9s %9s\n\n", (int)width, "", "precision", "recall", "f1-score",
                              "support"));
    for (size_t k = 0; k < labels->count; k++) {
        BFT_TRY(score_row(err, out, labels->names[k], width, bft_metrics_class(metrics, k)));
    }
    BFT_TRY(bft_buffer_printf(err, out, "\n"));
    bft_scores micro = bft_metrics_average(metrics, BFT_AVERAGE_MICRO);
    bool multi = bft_metrics_problem(metrics) == BFT_MULTI_LABEL;
    if (multi) {
        BFT_TRY(score_row(err, out, "micro avg", width, micro));
    } else {
        BFT_TRY(bft_buffer_printf(err, out, "%*s  %9s %9s %9.4f %9zu\n", (int)width, "accuracy", "", "",
                                  bft_metrics_value(metrics, "accuracy"), micro.support));
    }
    BFT_TRY(score_row(err, out, "macro avg", width, bft_metrics_average(metrics, BFT_AVERAGE_MACRO)));
    BFT_TRY(score_row(err, out, "weighted avg", width, bft_metrics_average(metrics, BFT_AVERAGE_WEIGHTED)));
    if (multi) {
        BFT_TRY(score_row(err, out, "samples avg", width, bft_metrics_average(metrics, BFT_AVERAGE_SAMPLES)));
    }
    return BFT_OK;
}

static int digits(size_t number) {
    int count = 1;
    for (; number >= 10; number /= 10) {
        count++;
    }
    return count;
}

/* Columns carry the number of their class, which stands behind its name in the rows: names would make it too wide. */
static bft_status confusion_table(bft_error *err, const bft_metrics *metrics, bft_buffer *out) {
    const bft_labels *labels = bft_metrics_labels(metrics);
    size_t width = label_width(labels, 0);
    int number = digits(labels->count - 1), cell = digits(bft_metrics_samples(metrics));
    cell = cell > number ? cell : number;
    BFT_TRY(bft_buffer_printf(err, out, "\nconfusion matrix (a row for the true class, a column for the answer)\n\n%*s",
                              (int)width + 1 + number, ""));
    for (size_t k = 0; k < labels->count; k++) {
        BFT_TRY(bft_buffer_printf(err, out, "  %*zu", cell, k));
    }
    BFT_TRY(bft_buffer_printf(err, out, "\n"));
    for (size_t truth = 0; truth < labels->count; truth++) {
        BFT_TRY(right_aligned(err, out, labels->names[truth], width));
        BFT_TRY(bft_buffer_printf(err, out, " %*zu", number, truth));
        for (size_t k = 0; k < labels->count; k++) {
            BFT_TRY(bft_buffer_printf(err, out, "  %*zu", cell, bft_metrics_confusion(metrics, truth, k)));
        }
        BFT_TRY(bft_buffer_printf(err, out, "\n"));
    }
    return BFT_OK;
}

static bft_status regression_lines(bft_error *err, const bft_metrics *metrics, bft_buffer *out) {
    for (size_t i = 0; i < bft_metrics_count(BFT_REGRESSION); i++) {
        const char *name = bft_metrics_name(BFT_REGRESSION, i);
        BFT_TRY(bft_buffer_printf(err, out, "%8s  %9.4f\n", name, bft_metrics_value(metrics, name)));
    }
    return bft_buffer_printf(err, out, "%8s  %9zu\n", "samples", bft_metrics_samples(metrics));
}

bft_status bft_metrics_text(bft_error *err, const bft_metrics *metrics, bft_buffer *out) {
    bft_problem problem = bft_metrics_problem(metrics);
    if (problem == BFT_REGRESSION) {
        return regression_lines(err, metrics, out);
    }
    BFT_TRY(class_table(err, metrics, out));
    if (problem == BFT_SINGLE_LABEL) {
        BFT_TRY(confusion_table(err, metrics, out));
    } else {
        BFT_TRY(bft_buffer_printf(err, out, "\nall labels right  %.4f", bft_metrics_value(metrics, "accuracy")));
    }
    return bft_buffer_printf(err, out, "\nlog-loss  %.4f\nexpected calibration error  %.4f (%zu bins)\n",
                             bft_metrics_value(metrics, "log_loss"), bft_metrics_value(metrics, "ece"),
                             bft_metrics_bins(metrics));
}

/* ---- JSON ---- */

static bft_status json_number(bft_error *err, bft_buffer *out, double value) {
    return isfinite(value) ? bft_buffer_printf(err, out, "%.10g", value) : bft_buffer_printf(err, out, "null");
}

bft_status bft_metrics_members(bft_error *err, const bft_metrics *metrics, bft_buffer *out) {
    bft_problem problem = bft_metrics_problem(metrics);
    for (size_t i = 0; i < bft_metrics_count(problem); i++) {
        const char *name = bft_metrics_name(problem, i);
        BFT_TRY(bft_buffer_printf(err, out, "%s\"%s\": ", i > 0 ? ", " : "", name));
        BFT_TRY(json_number(err, out, bft_metrics_value(metrics, name)));
    }
    return BFT_OK;
}

static bft_status json_classes(bft_error *err, const bft_metrics *metrics, bft_buffer *out) {
    const bft_labels *labels = bft_metrics_labels(metrics);
    BFT_TRY(bft_buffer_printf(err, out, ", \"classes\": ["));
    for (size_t k = 0; k < labels->count; k++) {
        bft_scores scores = bft_metrics_class(metrics, k);
        BFT_TRY(bft_buffer_printf(err, out, "%s{\"label\": ", k > 0 ? ", " : ""));
        BFT_TRY(bft_json_quote(err, out, labels->names[k], strlen(labels->names[k])));
        BFT_TRY(bft_buffer_printf(err, out,
                                  ", \"precision\": %.10g, \"recall\": %.10g, \"f1\": %.10g, \"support\": %zu}",
                                  scores.precision, scores.recall, scores.f1, scores.support));
    }
    return bft_buffer_printf(err, out, "]");
}

static bft_status json_confusion(bft_error *err, const bft_metrics *metrics, bft_buffer *out) {
    size_t classes = bft_metrics_labels(metrics)->count;
    BFT_TRY(bft_buffer_printf(err, out, ", \"confusion\": ["));
    for (size_t truth = 0; truth < classes; truth++) {
        for (size_t k = 0; k < classes; k++) {
            const char *before = k > 0 ? ", " : truth > 0 ? ", [" : "[";
            BFT_TRY(bft_buffer_printf(err, out, "%s%zu", before, bft_metrics_confusion(metrics, truth, k)));
        }
        BFT_TRY(bft_buffer_printf(err, out, "]"));
    }
    return bft_buffer_printf(err, out, "]");
}

bft_status bft_metrics_json(bft_error *err, const bft_metrics *metrics, bft_buffer *out) {
    BFT_TRY(bft_buffer_printf(err, out, "{\"samples\": %zu, ", bft_metrics_samples(metrics)));
    BFT_TRY(bft_metrics_members(err, metrics, out));
    if (bft_metrics_problem(metrics) != BFT_REGRESSION) {
        BFT_TRY(json_classes(err, metrics, out));
    }
    if (bft_metrics_problem(metrics) == BFT_SINGLE_LABEL) {
        BFT_TRY(json_confusion(err, metrics, out));
    }
    return bft_buffer_printf(err, out, "}");
}
