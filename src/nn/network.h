/* network.h: what a model and a session are made of; for src/nn, src/train and the tests that look inside. */
#ifndef BFT_NN_NETWORK_H
#define BFT_NN_NETWORK_H

#include "bertft/model.h"
#include "base/arena.h"
#include "nn/params.h"
#include "nn/prepared.h"
#include "nn/table.h"

struct bft_model {
    bft_backend backend;
    bft_model_config file_config; /* as read, owns its labels */
    bft_model_config config;      /* what holds: labels and problem may be the training's own */
    bft_head head;
    bft_params params;
    void *values;          /* the dense block, params.size reals on the device */
    void *weights;         /* the same as values of the ops: `values` itself where these are reals */
    bft_prepared prepared; /* the layers' matrices, where the backend wants them in a form of its own */
    bft_table table;
    bft_weights *file; /* kept open: the table's base lies in it */
    bft_arena arena;
};

static inline void *bft_model_at(const bft_model *model, void *block, size_t offset) {
    return (char *)block + offset * model->backend.ops->real;
}

/* A matrix, as linear wants it. */
static inline const void *bft_model_weight(const bft_model *model, size_t offset) {
    return (const char *)model->weights + offset * bft_ops_value_size(model->backend.ops);
}

/* Refuses a value of a tensor that isn't finite; values (count) are those from `first` on. */
bft_status bft_tensor_check_finite(bft_error *err, const bft_tensor *tensor, const float *values, size_t first,
                                   size_t count);

/* Makes the weights after the block was written to from outside. */
void bft_model_round_weights(bft_model *model);

/* Writes model.safetensors as bft_model_save does, the word rows through `reader`. */
bft_status bft_model_save_weights(bft_error *err, const bft_model *model, bft_row_reader reader, bft_dtype dtype,
                                  const char *path);

/* ---- Gradients of one batch: a block like the parameters', and the rows of the batch's words ---- */
typedef struct bft_gradients {
    void *dense; /* params.size reals, += */
    void *words; /* (U, C) =, in the order of the batch's words */
    bool fresh;  /* nothing has been added to the linear layers' weights yet: they are = , whatever they hold */
} bft_gradients;

/* ---- What a forward pass leaves for the backward ---- */
typedef struct bft_layer_state {
    void *input;          /* (N, C) the layer's input: the output of the one below */
    void *first;          /* (B, C) its first rows, in a layer that computes only them */
    void *q, *kv;         /* (N, 3C) packed in q alone, or (B, C) and (N, 2C) */
    void *attention;      /* (R, C); R rows: N, or B in a layer that computes only first rows */
    void *attention_norm; /* (R, C) */
    void *up;             /* (R, F) after GELU */
    void *attention_saved, *attention_norm_saved, *up_saved, *output_norm_saved;
} bft_layer_state;

/* One pass over a batch: what kind, and the dropout's key. */
typedef struct bft_pass {
    bool training;
    uint64_t seed;
    uint32_t step;
} bft_pass;

/* What was started and is to be collected. */
typedef struct bft_answer {
    const char *what;
    const void *from;
    bool reals;
    size_t count;
} bft_answer;

/* What a masked language model's head keeps: M rows, at most N. */
typedef struct bft_masked_state {
    void *picked, *transformed, *normed; /* (M, C) */
    void *transform_saved, *norm_saved;
    void *d_normed, *d_transformed; /* (M, C) */
    void *d_words;                  /* (U, C) reals */
} bft_masked_state;

struct bft_session {
    const bft_model *model;
    bft_row_reader reader;
    size_t batch_limit, token_limit;
    bool training;
    void *block;                /* all device memory of the session */
    uint32_t *zeros, *counting; /* (batch_limit + 1) 0, 0, ..; 0, 1, 2, .. */
    float *host;                /* (batch_limit, max(K, 1)) logits on their way to the caller */
    bft_answer answer;

    /* device: (loss_limit) each sample's, or each masked position's, and behind them their sum since bft_session_clear_loss, and how
     * many positions were met since */
    double *losses;
    size_t loss_limit;
    void *words; /* (U, C) reals */
    void *embed_saved;
    bft_layer_state *layers; /* (L); one shared state where nothing is kept for a backward */
    void *output;            /* (R, C) of the last layer */
    void *projection;        /* (N, C) product before a residual_norm */
    void *scratch;
    void *pooled, *pooler_saved, *features, *logits; /* (B, C), -, (B, C), (B, K) reals */

    /* backward */
    void *d_output, *d_hidden, *d_residual; /* (N, C) */
    void *d_up;                             /* (N, F) */
    void *d_q, *d_kv;                       /* (N, 3C); (N, 2C) */
    void *d_features, *d_logits;            /* (B, C), (B, K) reals */

    bft_masked_state masked;
};

/* A session that keeps what the backward needs. */
bft_status bft_session_create_training(bft_error *err, bft_session **out, const bft_model *model, size_t batch_limit,
                                       size_t token_limit);

/* The device memory that such a session would take. */
bft_status bft_session_measure(bft_error *err, const bft_model *model, size_t batch_limit, size_t token_limit,
                               size_t *bytes);

/* True where the last layer computes the sequences' first rows alone: all that the head reads. */
static inline bool bft_head_reads_first(bft_head head) {
    return head == BFT_HEAD_LINEAR || head == BFT_HEAD_POOLER;
}

/* ---- The network, forwards and backwards (encoder.c, head.c) ---- */

/* From session->words to hidden states in session->output: (B, C) where `first_only`, else (N, C). */
void bft_encoder_forward(bft_session *session, const bft_batch *batch, bft_pass pass, bool first_only);
/* From session->d_output back to the embeddings, down to the lowest tensor that isn't frozen. */
void bft_encoder_backward(bft_session *session, const bft_batch *batch, bft_pass pass, bft_gradients gradients);

/* session->output to session->logits, and back: d_logits to d_output. */
void bft_head_forward(bft_session *session, const bft_batch *batch, bft_pass pass);
void bft_head_backward(bft_session *session, const bft_batch *batch, bft_pass pass, bft_gradients gradients);

/* session->output to a loss and, where gradients are wanted, back: to d_output, and into the word table's gradient (masked.c). */
void bft_masked_forward(bft_session *session, const bft_batch *batch, double normalizer, bft_gradients gradients);
void bft_masked_backward(bft_session *session, const bft_batch *batch, bft_gradients gradients);
/* The gradient of the batch's words, which embed_backward left in masked.d_words, to the others in the table's. */
void bft_masked_add_words(bft_session *session, const bft_batch *batch, bft_gradients gradients);

/* Forward, loss, backward of one micro-batch, asked for and not waited for. `loss` describes kind, weights, smoothing and
 * normalizer (of a masked language model only the latter is read); the rest is filled in here. Adds the batch's share to the
 * session's loss; gradients may be {NULL, NULL} for the loss alone. */
bft_status bft_session_step(bft_error *err, bft_session *session, const bft_batch *batch, bft_pass pass, bft_loss loss,
                            bft_gradients gradients);
void bft_session_clear_loss(bft_session *session);
double bft_session_loss(bft_session *session); /* waits */
double bft_session_hits(bft_session *session); /* masked positions whose word came out first, since clear_loss; waits */

#endif
