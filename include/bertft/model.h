/* model.h: a BERT or DistilBERT encoder with a head: loading, running, saving. */
#ifndef BERTFT_MODEL_H
#define BERTFT_MODEL_H

#include "bertft/data.h"
#include "bertft/error.h"
#include "bertft/weights.h"
#include "kernels/ops.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What computes: the ops and their opened device. One a process; sessions on one device run one at a time. */
typedef struct bft_backend {
    const bft_ops *ops;
    bft_device *device;
    bft_form form; /* what a model opened for inference has its layers' matrices in */
} bft_backend;

typedef struct bft_backend_setup {
    const char *name; /* as DEVICE.NAME: "auto", a name that bft_ops_find knows, or with a card's number: "cuda:1" */
    /* "fp32", "bf16" or "fp16"; for inference also "int8" and "auto", the fastest that the device has; NULL: the one of `name`,
     * which may be "cuda-bf16" then */
    const char *precision;
    bool inference;        /* nothing will be trained: CPUs have int8 then, and bf16 is of weights only */
    int threads;           /* 0: all processors */
    bool tf32;             /* as DEVICE.TF32 */
    const char *attention; /* as DEVICE.ATTENTION; NULL: "auto" */
} bft_backend_setup;

/* "auto" is the first CUDA card where libbertft_cuda.so and a driver are there, else the CPU. A card that is there and can't be
 * used is told of in a log line then; where it was asked for by name, or the precision needs it, that is an error. */
bft_status bft_backend_open(bft_error *err, bft_backend *backend, const bft_backend_setup *setup);
void bft_backend_close(bft_backend *backend); /* also fine on {0} */

typedef enum bft_head {
    BFT_HEAD_NONE,   /* an encoder without a classifier: embeddings only */
    BFT_HEAD_LINEAR, /* dropout, linear on the CLS row: ours */
    BFT_HEAD_POOLER, /* Hugging Face's: BERT pooler + tanh, DistilBERT pre_classifier + ReLU; then dropout, linear */
    BFT_HEAD_MEAN,   /* dropout, linear on the mean of all rows: ours */
    BFT_HEAD_MASKED /* dense, GELU, LayerNorm, and the word table as the decoder: a masked language model's, for pre-training */
} bft_head;

typedef struct bft_model bft_model; /* constant once loaded: many sessions may share it */

/* Loads a run of ours or any Hugging Face folder for inference, with the head that it holds. */
bft_status bft_model_open(bft_error *err, bft_model **out, const char *folder, bft_backend backend);

/* Loads an encoder to be fine-tuned. The folder's own classifier is kept when its kind and its label names are the
 * ones asked for; otherwise the head is new: N(0, 0.02) from `seed`, zero biases. dropout < 0: the config's values. */
typedef struct bft_model_setup {
    bft_head head;
    bft_problem problem;
    bft_labels labels;
    uint64_t seed;
    double dropout;
} bft_model_setup;
bft_status bft_model_open_for_training(bft_error *err, bft_model **out, const char *folder, bft_backend backend,
                                       const bft_model_setup *setup);

/* A masked language model to be trained (BertForMaskedLM, DistilBertForMaskedLM): that of `folder`, with its own head where it
 * holds one and a new one otherwise; or, where folder is NULL, one of the given shape with random weights: matrices N(0, 0.02),
 * biases 0, LayerNorm 1 and 0, as BertPreTrainedModel._init_weights. A decoder that isn't the word table is refused. */
typedef struct bft_pretraining_setup {
    const bft_model_config *shape; /* without a folder; it has no labels */
    bool own_head;                 /* the folder's own head or none: it is an error where it holds none */
    uint64_t seed;
    double dropout; /* as above */
} bft_pretraining_setup;
bft_status bft_model_open_for_pretraining(bft_error *err, bft_model **out, const char *folder, bft_backend backend,
                                          const bft_pretraining_setup *setup);
void bft_model_destroy(bft_model *model); /* NULL is fine */

const bft_model_config *bft_model_configuration(const bft_model *model);
bft_head bft_model_head(const bft_model *model);
size_t bft_model_classes(const bft_model *model); /* K; 0 without a head */
const char *bft_model_label(const bft_model *model, size_t id);

/* Writes model.safetensors, in BFT_F32 or BFT_BF16, and config.json of the model as it is into `folder`. */
bft_status bft_model_save(bft_error *err, const bft_model *model, bft_dtype dtype, const char *folder);

/* ---- A session: the memory for running one batch at a time ---- */
typedef struct bft_session bft_session;

/* Room for batches of at most `batch_limit` sequences and `token_limit` tokens in all. */
bft_status bft_session_create(bft_error *err, bft_session **out, const bft_model *model, size_t batch_limit,
                              size_t token_limit);
void bft_session_destroy(bft_session *session); /* NULL is fine */

/* Logits (B, K) of a packed batch. A value that isn't finite is an error. */
bft_status bft_session_logits(bft_error *err, bft_session *session, const bft_batch *batch, float *logits);

/* Vectors (B, C) of a packed batch: the CLS rows, the mean of each sequence's rows, or BERT's pooler (tanh); and the last hidden
 * states themselves, (N, C). */
typedef enum bft_pooling { BFT_POOL_CLS, BFT_POOL_MEAN, BFT_POOL_POOLER, BFT_POOL_NONE } bft_pooling;
bft_status bft_session_vectors(bft_error *err, bft_session *session, const bft_batch *batch, bft_pooling pooling,
                               float *vectors);

/* The same in two halves, so that the host can pack the next batch, into the same memory if it likes, while the device computes:
 * one starts, collect waits and gives the values. Each start is collected before the next. */
bft_status bft_session_start_logits(bft_error *err, bft_session *session, const bft_batch *batch);
bft_status bft_session_start_vectors(bft_error *err, bft_session *session, const bft_batch *batch, bft_pooling pooling);
bft_status bft_session_collect(bft_error *err, bft_session *session, float *values);

#endif
