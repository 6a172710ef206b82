/* runner.h: many texts through one model: tokenized on arrival, computed in packed batches of like lengths, answers in
 * the order of arrival. */
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
    /* the texts that were added */
    size_t count, text_capacity;
    size_t *start; /* (count + 1) where each text's ids start; all end to end */
    size_t *order; /* (count) texts by length */
    uint32_t *ids; /* (start[count]) */
    size_t id_capacity;
    float *rows; /* (count, width) what the last run computed */
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
void bft_runner_clear(bft_runner *runner);

bft_status bft_runner_logits(bft_error *err, bft_runner *runner);                       /* rows (count, K) */
bft_status bft_runner_vectors(bft_error *err, bft_runner *runner, bft_pooling pooling); /* rows (count, C) */

#endif
