/* data.h: texts with labels or without from CSV, TSV, JSONL, fastText and plain files, label sets, splits, packed batches; dialogues. */
#ifndef BERTFT_DATA_H
#define BERTFT_DATA_H

#include "bertft/config.h"
#include "bertft/error.h"
#include "bertft/tokenizer.h"
#include "bertft/weights.h" /* bft_problem */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- Label sets ---- */
typedef struct bft_labels {
    size_t count;
    char **names; /* (count) by id */
} bft_labels;

/* ---- A data set: tokenized once, held as ids ---- */
typedef struct bft_dataset bft_dataset;

/* Reads all `paths` with the DATA.* settings of `config`, tokenizing with `tokenizer`, each text cut to `max_length` ids.
 * `labels`: the set to use; where it is NULL the set is made from DATA.LABELS, or, when that is auto, from the labels
 * found (sorted by name, or
 * by id where the data holds ids). A label outside the set is an error with file and line; a bad row too, unless
 * DATA.ON_BAD_ROW is skip (then counted, and reported in the log). What leaves no next row to go on with, such as a
 * quote that is never closed or damaged gzip data, is an error in any case. */
bft_status bft_dataset_read(bft_error *err, bft_dataset **out, const bft_config *config, size_t path_count,
                            const char *const *paths, const bft_tokenizer *tokenizer, size_t max_length,
                            const bft_labels *labels);

/* The texts alone of all `paths`, without labels (BFT_PROBLEM_NONE), for pre-training. Rows by their DATA.TEXT where the file's
 * name, or DATA.FORMAT, says that it has such; anything else is dialogue text, or plain lines, which are dialogues of one turn
 * each: every turn is a text. A text of more than `max_length` ids is cut into several samples, between words. What has no word
 * that the tokenizer knows is left out. Bad rows as above. */
bft_status bft_dataset_read_unlabelled(bft_error *err, bft_dataset **out, const bft_config *config, size_t path_count,
                                       const char *const *paths, const bft_tokenizer *tokenizer, size_t max_length);
void bft_dataset_destroy(bft_dataset *dataset); /* NULL is fine */

size_t bft_dataset_size(const bft_dataset *dataset);
const bft_labels *bft_dataset_labels(const bft_dataset *dataset); /* regression: one entry, "score"; unlabelled: none */
bft_problem bft_dataset_problem(const bft_dataset *dataset);
size_t bft_dataset_skipped(const bft_dataset *dataset);
size_t bft_dataset_longest(const bft_dataset *dataset); /* ids of the longest sample */
size_t bft_dataset_tokens(const bft_dataset *dataset);  /* ids of all samples */

/* One sample. */
typedef struct bft_sample {
    const uint32_t *ids; /* (length) special tokens included */
    size_t length;
    uint32_t target;      /* single label */
    const float *targets; /* (K) multi label 0/1, regression (1); NULL for single label, and without labels */
    /* of a masked language model: */
    size_t masked;
    const uint32_t *masked_place;  /* (masked) places in ids, ascending */
    const uint32_t *masked_target; /* (masked) the ids that stood there */
} bft_sample;
bft_sample bft_dataset_at(const bft_dataset *dataset, size_t index);

/* How often each class occurs, (K). */
void bft_dataset_class_counts(const bft_dataset *dataset, size_t *counts);

/* Takes `fraction` of the samples out into a new set, the same share of every class (of every label combination's first label), chosen by
 * `seed`. The rest stays. At least one sample remains on each side, else an error. */
bft_status bft_dataset_split(bft_error *err, bft_dataset *dataset, double fraction, uint64_t seed, bft_dataset **taken);

/* ---- A packed batch: sequences end to end, no padding ---- */
typedef struct bft_batch {
    size_t batch, tokens, words, longest; /* B, N, U, T */
    uint32_t *start;                      /* (B + 1) */
    uint32_t *word_row;                   /* (N) index into `word` */
    uint32_t *word;                       /* (U) distinct word ids, in the order of their first occurrence */
    uint32_t *position;                   /* (N) */
    uint32_t *sample;                     /* (B) index in the global batch, for dropout */
    uint32_t *token_sample;               /* (N) the same for each token */
    uint32_t *first;                      /* (B) row of each sequence's first token: start without its end */
    uint32_t *target;                     /* (B) */
    float *targets;                       /* (B, K) */
    size_t masked;                        /* M, of a masked language model */
    uint32_t *masked_row;                 /* (M) rows of N, ascending */
    uint32_t *masked_target;              /* (M) word ids */
    /* capacity and the map from word id to row */
    size_t batch_limit, token_limit, classes, vocabulary;
    uint32_t *row_of_word; /* (V), 0 where absent, else row + 1; cleared through `word` */
    void *memory;
} bft_batch;

/* Room for `batch_limit` sequences of `token_limit` tokens in all; classes: 0 for inference. */
bft_status bft_batch_create(bft_error *err, bft_batch *batch, size_t batch_limit, size_t token_limit, size_t classes,
                            size_t vocabulary);
void bft_batch_free(bft_batch *batch);
void bft_batch_clear(bft_batch *batch);
/* Appends a sequence; false where it doesn't fit any more. ids must be below the vocabulary. */
bool bft_batch_add(bft_batch *batch, bft_sample sample, uint32_t index_in_global_batch);

/* ---- Dialogue text ----
 * UTF-8 lines; a blank line ends a dialogue; an optional [time]; a speaker before a colon only if it is a listed name,
 * whatever its case, with an optional number after it; anything else before a colon is text. A line without a speaker
 * goes on with the previous turn's speaker (a new turn), or is the client's if nobody has spoken. */
typedef enum bft_speaker { BFT_CLIENT, BFT_OPERATOR } bft_speaker;

typedef struct bft_turn {
    bft_speaker speaker;
    const char *name; /* what stood before the colon, or NULL */
    const char *text; /* without time and speaker, outer blanks trimmed */
    size_t length;
} bft_turn;

typedef struct bft_dialog_format bft_dialog_format; /* the names, folded for comparison */
bft_status bft_dialog_format_create(bft_error *err, bft_dialog_format **out, const bft_config *config);
void bft_dialog_format_destroy(bft_dialog_format *format);

/* Parses one line, which is changed in place (NULs are put behind name and text); `previous` is the speaker of the turn
 * before, BFT_CLIENT at the start
 * of a dialogue. False: the line is blank, and the dialogue has ended. */
bool bft_dialog_line(const bft_dialog_format *format, char *line, size_t length, bft_speaker previous, bft_turn *turn);

#endif
