/* runner.h: many texts through one model: tokenized on arrival, computed in packed batches of like lengths, answers in
 * the order of arrival.
 *
 * While the device computes a batch, the host packs the next one; and while it computes the last one of those that were started,
 * the host takes new texts and works on the answers of those before. */
#ifndef BFT_INFER_RUNNER_H
#define BFT_INFER_RUNNER_H

#include "bertft/config.h"
#include "bertft/model.h"
#include "bertft/tokenizer.h"

typedef struct bft_runner {
    char *folder; /* for error lines */
    bft_model *model;
    bft_tokenizer *tokenizer;
    bft_session *session;
    bft_batch batch;
    bft_encoding encoding;
    size_t max_length; /* ids of a text */
    /* the texts that were added, and not yet started */
    size_t count, text_capacity;
    size_t *start; /* (count + 1) where each text's ids start; all end to end */
    uint32_t *ids; /* (start[count]) */
    size_t id_capacity;
    /* those that were started */
    size_t started, order_capacity;
    size_t *order;            /* (started) by length */
    size_t in_flight, packed; /* the batch under way: places [in_flight, packed) of the order */
    float *coming;            /* (started, width), and behind them room for one batch */
    size_t coming_capacity;
    /* those that were finished */
    size_t finished;
    float *rows; /* (finished, width) */
    size_t row_capacity, width;
} bft_runner;

/* A text's limit is the least of the tokenizer's, the model's positions, and DATA.MAX_LENGTH unless that is the
 * schema's default. On failure nothing is left to close. */
bft_status bft_runner_open(bft_error *err, bft_runner *runner, const char *folder, const bft_config *config,
                           bft_backend backend);
/* Lowers the limit on a text's ids. */
bft_status bft_runner_limit(bft_error *err, bft_runner *runner, size_t max_length);
void bft_runner_close(bft_runner *runner); /* also fine on {0} */

/* *cut, unless NULL: the text had more than max_length ids. */
bft_status bft_runner_add(bft_error *err, bft_runner *runner, const char *text, size_t length, bool *cut);
bft_status bft_runner_add_ids(bft_error *err, bft_runner *runner, const uint32_t *ids, size_t count);

/* Starts on all texts that were added; others may be added then. What was started before has been finished. */
bft_status bft_runner_start_logits(bft_error *err, bft_runner *runner);
bft_status bft_runner_start_vectors(bft_error *err, bft_runner *runner, bft_pooling pooling);
/* Waits for the texts that were started: `rows` are theirs until the next finish, logits (finished, K) or vectors (finished, C). */
bft_status bft_runner_finish(bft_error *err, bft_runner *runner);

#endif
