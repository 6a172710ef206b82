/* evaluate.c: batches in the data's order, as many samples at a time as fit. */
#include "train/evaluate.h"

#include "nn/network.h"

static bft_status run_batch(bft_error *err, bft_session *session, const bft_batch *batch, const bft_dataset *data,
                            size_t first, bft_metrics *metrics) {
    BFT_TRY(bft_session_logits(err, session, batch, session->host));
    for (size_t i = 0; i < batch->batch; i++) {
        bft_sample sample = bft_dataset_at(data, first + i);
        BFT_TRY(bft_metrics_add(err, metrics, session->host + i * session->model->config.classes, sample.target,
                                sample.targets));
    }
    return BFT_OK;
}

bft_status bft_evaluate(bft_error *err, bft_session *session, bft_batch *batch, const bft_dataset *data,
                        bft_metrics *metrics) {
    bft_metrics_clear(metrics);
    size_t count = bft_dataset_size(data);
    for (size_t first = 0; first < count;) {
        bft_batch_clear(batch);
        size_t next = first;
        while (next < count && bft_batch_add(batch, bft_dataset_at(data, next), (uint32_t)(next - first))) {
            next++;
        }
        if (next == first) {
            return bft_error_set(err, BFT_BAD, "a sample of %zu tokens is longer than the session's %zu",
                                 bft_dataset_at(data, first).length, batch->token_limit);
        }
        BFT_TRY(run_batch(err, session, batch, data, first, metrics));
        first = next;
    }
    return BFT_OK;
}
