/* evaluate.c: batches in the data's order, as many samples at a time as fit. */
#include "train/evaluate.h"

#include "nn/network.h"

/* A batch that is being computed: samples [first, first + count). */
typedef struct part {
    size_t first, count;
} part;

static bft_status collect(bft_error *err, bft_session *session, const bft_dataset *data, part computed,
                          bft_metrics *metrics) {
    if (computed.count == 0) {
        return BFT_OK;
    }
    BFT_TRY(bft_session_collect(err, session, session->host));
    for (size_t i = 0; i < computed.count; i++) {
        bft_sample sample = bft_dataset_at(data, computed.first + i);
        BFT_TRY(bft_metrics_add(err, metrics, session->host + i * session->model->config.classes, sample.target,
                                sample.targets));
    }
    return BFT_OK;
}

/* Packs the next samples while those before are computed; with a masker, masked. */
static bft_status fill(bft_error *err, bft_batch *batch, const bft_dataset *data, bft_masker *masker, size_t first) {
    bft_batch_clear(batch);
    for (size_t next = first; next < bft_dataset_size(data); next++) {
        bft_sample sample = bft_dataset_at(data, next);
        if (masker != NULL) {
            sample = bft_masker_draw(masker, sample, 0, (uint32_t)next);
        }
        if (!bft_batch_add(batch, sample, (uint32_t)(next - first))) {
            break;
        }
    }
    return batch->batch > 0 ? BFT_OK
                            : bft_error_set(err, BFT_BAD, "a sample of %zu tokens is longer than the session's %zu",
                                            bft_dataset_at(data, first).length, batch->token_limit);
}

bft_status bft_evaluate(bft_error *err, bft_session *session, bft_batch *batch, const bft_dataset *data,
                        bft_metrics *metrics) {
    bft_metrics_clear(metrics);
    part computing = {0};
    while (computing.first + computing.count < bft_dataset_size(data)) {
        part next = {.first = computing.first + computing.count};
        BFT_TRY(fill(err, batch, data, NULL, next.first));
        next.count = batch->batch;
        BFT_TRY(collect(err, session, data, computing, metrics));
        BFT_TRY(bft_session_start_logits(err, session, batch));
        computing = next;
    }
    return collect(err, session, data, computing, metrics);
}

bft_status bft_evaluate_masked(bft_error *err, bft_session *session, bft_batch *batch, const bft_dataset *data,
                               bft_masker *masker, bft_metrics *metrics) {
    size_t masked = 0;
    bft_metrics_clear(metrics);
    bft_session_clear_loss(session);
    for (size_t first = 0; first < bft_dataset_size(data); first += batch->batch) {
        BFT_TRY(fill(err, batch, data, masker, first));
        masked += batch->masked;
        BFT_TRY(bft_session_step(err, session, batch, (bft_pass){0}, (bft_loss){.normalizer = 1}, (bft_gradients){0}));
    }
    bft_metrics_add_masked(metrics, masked, bft_session_loss(session), bft_session_hits(session));
    return BFT_OK;
}
