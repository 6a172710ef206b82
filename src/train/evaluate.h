/* evaluate.h: a model's answers on a data set, measured. */
#ifndef BFT_TRAIN_EVALUATE_H
#define BFT_TRAIN_EVALUATE_H

#include "bertft/data.h"
#include "bertft/model.h"
#include "data/masker.h"
#include "train/metrics.h"

/* Runs every sample through the session and adds it to `metrics`, which is cleared first. `batch` is working room: at
 * most the session's limits, and large enough for the longest sample. */
bft_status bft_evaluate(bft_error *err, bft_session *session, bft_batch *batch, const bft_dataset *data,
                        bft_metrics *metrics);

/* The same of a masked language model, in a session for training: the masks are those of epoch 0, the same at every call. */
bft_status bft_evaluate_masked(bft_error *err, bft_session *session, bft_batch *batch, const bft_dataset *data,
                               bft_masker *masker, bft_metrics *metrics);

#endif
