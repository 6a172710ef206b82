/* predict.h: texts in, answers out: labels with scores, vectors, and what a dialogue's turns add up to.
 *
 * A predictor and an embedder hold a model, its tokenizer, and the memory for one batch. Texts are added, started together,
 * finished, and their answers read in the order in which they were added. Between start and finish the device computes, and the
 * caller may add the next texts and read the answers that were finished before. One thread at a time uses one of them. */
#ifndef BERTFT_PREDICT_H
#define BERTFT_PREDICT_H

#include "base/buffer.h"
#include "bertft/config.h"
#include "bertft/data.h" /* bft_speaker */
#include "bertft/error.h"
#include "bertft/model.h"

#include <stdbool.h>
#include <stddef.h>

/* ---- Predictor: label and scores of each text ---- */
typedef struct bft_predictor bft_predictor;

/* `folder`: a run of ours, or a Hugging Face folder with a classifier. Of the configuration it reads DATA.MAX_LENGTH
 * (unless it is the schema's default: then the tokenizer and the model alone set the limit), EVAL.THRESHOLD,
 * DATA.EMPTY_LABEL and DIALOG.NEGATIVE. */
bft_status bft_predictor_create(bft_error *err, bft_predictor **out, const char *folder, const bft_config *config,
                                bft_backend backend);
void bft_predictor_destroy(bft_predictor *predictor); /* NULL is fine */

const bft_model *bft_predictor_model(const bft_predictor *predictor);
size_t bft_predictor_max_length(const bft_predictor *predictor); /* ids of a text, special tokens included */

/* What turns logits into scores: the choice of transformers' text-classification pipeline. */
typedef enum bft_scoring {
    BFT_SCORE_SOFTMAX, /* one label of several */
    BFT_SCORE_SIGMOID, /* multi-label; a model with a single label */
    BFT_SCORE_NONE     /* regression: the logits are the values */
} bft_scoring;
bft_scoring bft_predictor_scoring(const bft_predictor *predictor);

/* Adds a text; it may hold any bytes. *cut, unless NULL, tells whether it was longer than the model reads. */
bft_status bft_predictor_add(bft_error *err, bft_predictor *predictor, const char *text, size_t length, bool *cut);
bft_status bft_predictor_start(bft_error *err, bft_predictor *predictor);  /* all texts that were added */
bft_status bft_predictor_finish(bft_error *err, bft_predictor *predictor); /* those started last; once for each start */

typedef struct bft_prediction {
    size_t best;         /* the id of the highest score */
    float score;         /* that score, also where multi-label chooses no label; regression: the first value */
    const float *scores; /* (K) probabilities; regression: the values */
    const float *logits; /* (K) */
    bool negative;       /* its label, or one of its labels, is in DIALOG.NEGATIVE */
    float negativity;    /* one label: sum of the negative labels' probabilities; multi-label: the highest of them */
} bft_prediction;
/* Of the texts finished last; valid until the next finish. */
bft_prediction bft_predictor_at(const bft_predictor *predictor, size_t index);

/* Whether the prediction's answer holds the label: the best one, or, multi-label, one with EVAL.THRESHOLD or more. */
bool bft_predictor_chooses(const bft_predictor *predictor, const bft_prediction *prediction, size_t id);

/* Writes the answer into `out`, cleared first: the label; multi-label: the labels chosen, joined with "+", or
 * DATA.EMPTY_LABEL, "-" where that is unset; regression: nothing. */
bft_status bft_predictor_answer(bft_error *err, const bft_predictor *predictor, const bft_prediction *prediction,
                                bft_buffer *out);

/* Appends the names of the model's labels, as many as an error line has room for. */
bft_status bft_predictor_list_labels(bft_error *err, const bft_predictor *predictor, bft_buffer *out);

/* Whether the model has one of the labels in DIALOG.NEGATIVE, so that `negative` and `negativity` mean something. */
bool bft_predictor_knows_negative(const bft_predictor *predictor);

/* ---- Embedder: a vector of each text ---- */
typedef struct bft_embedder bft_embedder;

typedef enum bft_embedding {
    BFT_EMBED_CLS,
    BFT_EMBED_MEAN,
    BFT_EMBED_POOLER,
    BFT_EMBED_SENTENCE /* what the folder's modules.json says: pooling, Dense layers, Normalize */
} bft_embedding;

/* The limit is the predictor's; BFT_EMBED_SENTENCE takes the folder's max_seq_length where that is smaller. */
bft_status bft_embedder_create(bft_error *err, bft_embedder **out, const char *folder, bft_embedding embedding,
                               const bft_config *config, bft_backend backend);
void bft_embedder_destroy(bft_embedder *embedder); /* NULL is fine */
size_t bft_embedder_width(const bft_embedder *embedder);
size_t bft_embedder_max_length(const bft_embedder *embedder);

bft_status bft_embedder_add(bft_error *err, bft_embedder *embedder, const char *text, size_t length, bool *cut);
bft_status bft_embedder_start(bft_error *err, bft_embedder *embedder);
bft_status bft_embedder_finish(bft_error *err, bft_embedder *embedder);
const float *bft_embedder_at(const bft_embedder *embedder, size_t index); /* (width), valid until the next finish */

/* ---- Summary of a dialogue, in memory that doesn't grow with it ---- */
typedef struct bft_tone {
    size_t turn;      /* counted from 0, operator turns too */
    bft_buffer label; /* the turn's answer */
    double negativity;
} bft_tone;

typedef struct bft_stretch {
    size_t from, to; /* the turns of its first and last client turn */
    size_t turns;    /* its client turns */
} bft_stretch;

typedef struct bft_summary {
    size_t turns, client_turns, negative_turns; /* negative_turns are client turns */
    bft_tone first, last, worst;         /* client turns; worst: the highest negativity, the earliest of equals */
    bft_stretch *stretches;              /* (stretch_count) client turns in a row that are all negative */
    size_t stretch_count, stretch_limit; /* at most stretch_limit are kept, the first ones */
    size_t stretch_total;                /* how many there were */
    bool in_stretch;
    double sum, weighted_sum; /* of negativity, and of negativity times the client turn's number */
} bft_summary;

bft_status bft_summary_create(bft_error *err, bft_summary *summary, size_t stretch_limit);
void bft_summary_free(bft_summary *summary);
void bft_summary_clear(bft_summary *summary); /* for the next dialogue */

/* Adds the next turn. An operator's turn is counted and no more: it neither ends nor joins a stretch. */
bft_status bft_summary_add(bft_error *err, bft_summary *summary, bft_speaker speaker, const char *label,
                           const bft_prediction *prediction);

double bft_summary_negative_share(const bft_summary *summary); /* 0 without client turns */
/* How far negativity rises (> 0: the tone gets worse) from the first client turn to the last along the least-squares
 * line through all of them; 0 with fewer than two. */
double bft_summary_trend(const bft_summary *summary);

#endif
