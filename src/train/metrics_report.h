/* metrics_report.h: metrics as text for people and as JSON for programs. */
#ifndef BFT_TRAIN_METRICS_REPORT_H
#define BFT_TRAIN_METRICS_REPORT_H

#include "base/buffer.h"
#include "bertft/error.h"
#include "train/metrics.h"

/* Appends the layout of scikit-learn's classification_report with four digits, the confusion matrix (single label), log-loss and
 * calibration error; for regression a line a value. */
bft_status bft_metrics_text(bft_error *err, const bft_metrics *metrics, bft_buffer *out);

/* Appends all named values as the members of a JSON object, without its braces: "accuracy": 0.5, "f1_macro": … A value that isn't
 * finite is null. */
bft_status bft_metrics_members(bft_error *err, const bft_metrics *metrics, bft_buffer *out);

/* Appends one JSON object: samples, the members above, classes (an object each), and the confusion matrix as rows of
 * the true class (single label). */
bft_status bft_metrics_json(bft_error *err, const bft_metrics *metrics, bft_buffer *out);

#endif
