/* session.c: the memory for one batch at a time, planned once, and what can be asked of it.
 *
 * The plan is a function that hands out pieces of one block. It runs twice: first without a block, to learn the size,
 * then with it. For inference all layers share one state; for training each keeps its own for the backward. */
#include "nn/network.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

/* ---- The plan ---- */

typedef struct plan {
    char *block; /* NULL in the first run */
    size_t used, scratch;
} plan;

static void *take(plan *p, size_t bytes) {
    void *piece = p->block == NULL ? NULL : p->block + p->used;
    p->used += (bytes + 63) / 64 * 64;
    return piece;
}

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Notes an op's scratch and takes what it saves, where it is to be kept. */
static void *take_saved(plan *p, bft_memory memory, bool training) {
    p->scratch = larger(p->scratch, memory.scratch);
    return training ? take(p, memory.saved) : NULL;
}

static void *plan_linear(plan *p, const bft_session *s, size_t rows, size_t in, size_t out, bft_activation activation) {
    bft_memory memory = {0};
    s->model->backend.ops->linear_memory(&(bft_linear){.rows = rows, .in = in, .out = out, .activation = activation},
                                         &memory);
    return take_saved(p, memory, s->training);
}

static void *plan_norm(plan *p, const bft_session *s, size_t rows) {
    bft_memory memory = {0};
    s->model->backend.ops->residual_norm_memory(
        &(bft_residual_norm){.rows = rows, .channels = s->model->config.channels}, &memory);
    return take_saved(p, memory, s->training);
}

static void *plan_attention(plan *p, const bft_session *s) {
    const bft_model_config *config = &s->model->config;
    bft_memory memory = {0};
    bft_attention op = {.batch = s->batch_limit,
                        .heads = config->heads,
                        .head_size = config->channels / config->heads,
                        .longest = smaller(s->token_limit, config->positions)};
    uint32_t *start = s->zeros; /* sizes only: all tokens in the last entry */
    start[s->batch_limit] = (uint32_t)s->token_limit;
    op.key_start = op.query_start = start;
    s->model->backend.ops->attention_memory(&op, &memory);
    start[s->batch_limit] = 0;
    return take_saved(p, memory, s->training);
}

/* `last` needs first rows too: (B, C) queries and (N, 2C) keys and values fit into the (N, 3C) of q only when kept apart. */
static void plan_layer(plan *p, const bft_session *s, bft_layer_state *state, size_t rows, bool first_only) {
    const bft_model_config *config = &s->model->config;
    size_t real = s->model->backend.ops->real, channels = config->channels, tokens = s->token_limit;
    state->input = take(p, tokens * channels * real);
    state->q = take(p, (first_only ? rows : tokens * 3) * channels * real);
    if (first_only || !s->training) {
        state->first = take(p, s->batch_limit * channels * real);
        state->kv = take(p, tokens * 2 * channels * real);
    }
    state->attention = take(p, rows * channels * real);
    state->attention_norm = take(p, rows * channels * real);
    state->up = take(p, rows * config->feed_forward * real);
    plan_linear(p, s, tokens, channels, 3 * channels, BFT_IDENTITY);
    state->attention_saved = plan_attention(p, s);
    plan_linear(p, s, rows, channels, channels, BFT_IDENTITY);
    state->attention_norm_saved = plan_norm(p, s, rows);
    state->up_saved = plan_linear(p, s, rows, channels, config->feed_forward, BFT_GELU);
    plan_linear(p, s, rows, config->feed_forward, channels, BFT_IDENTITY);
    state->output_norm_saved = plan_norm(p, s, rows);
}

static void plan_layers(plan *p, bft_session *s) {
    size_t layers = s->model->config.layers;
    bool first_only = bft_head_reads_first(s->model->head);
    if (!s->training) {
        bft_layer_state shared = {0};
        plan_layer(p, s, &shared, s->token_limit, false);
        for (size_t layer = 0; layer < layers; layer++) {
            s->layers[layer] = shared;
        }
        return;
    }
    for (size_t layer = 0; layer < layers; layer++) {
        bool first = first_only && layer + 1 == layers;
        plan_layer(p, s, &s->layers[layer], first ? s->batch_limit : s->token_limit, first);
    }
}

static void plan_embed(plan *p, bft_session *s) {
    size_t words = smaller(s->token_limit, s->model->config.vocabulary), channels = s->model->config.channels;
    bft_memory memory = {0};
    s->words = take(p, words * channels * s->model->backend.ops->real);
    s->model->backend.ops->embed_memory(&(bft_embed){.rows = s->token_limit, .words = words, .channels = channels},
                                        &memory);
    s->embed_saved = take_saved(p, memory, s->training);
}

static void plan_head(plan *p, bft_session *s) {
    size_t real = s->model->backend.ops->real, channels = s->model->config.channels, batch = s->batch_limit;
    size_t classes = larger(bft_model_classes(s->model), 1);
    s->pooled = take(p, batch * channels * real);
    s->features = take(p, batch * channels * real);
    s->logits = take(p, batch * classes * real);
    s->pooler_saved = plan_linear(p, s, batch, channels, channels, BFT_TANH);
    plan_linear(p, s, batch, channels, classes, BFT_IDENTITY);
}

static void plan_backward(plan *p, bft_session *s) {
    const bft_model_config *config = &s->model->config;
    size_t real = s->model->backend.ops->real, channels = config->channels, tokens = s->token_limit;
    s->d_output = take(p, tokens * channels * real);
    s->d_hidden = take(p, tokens * channels * real);
    s->d_residual = take(p, tokens * channels * real);
    s->d_up = take(p, tokens * config->feed_forward * real);
    s->d_q = take(p, tokens * 3 * channels * real);
    s->d_kv = take(p, tokens * 2 * channels * real);
    s->d_features = take(p, s->batch_limit * channels * real);
    s->d_logits = take(p, s->batch_limit * larger(config->classes, 1) * real);
}

static void plan_session(plan *p, bft_session *s) {
    size_t hidden = s->token_limit * s->model->config.channels * s->model->backend.ops->real;
    plan_embed(p, s);
    plan_layers(p, s);
    s->output = take(p, hidden);
    s->projection = take(p, hidden);
    plan_head(p, s);
    if (s->training) {
        plan_backward(p, s);
    }
    s->scratch = take(p, p->scratch);
}

/* ---- Making and freeing ---- */

static bft_status allocate(bft_error *err, bft_session *s) {
    size_t batch = s->batch_limit, classes = larger(bft_model_classes(s->model), 1);
    s->zeros = calloc(batch + 1, sizeof *s->zeros);
    s->counting = calloc(batch + 1, sizeof *s->counting);
    s->losses = calloc(batch, sizeof *s->losses);
    s->host = calloc(batch * classes, sizeof *s->host);
    s->layers = calloc(s->model->config.layers, sizeof *s->layers);
    if (s->zeros == NULL || s->counting == NULL || s->losses == NULL || s->host == NULL || s->layers == NULL) {
        return bft_error_memory(err, batch * (classes + 4) * sizeof *s->host);
    }
    for (size_t i = 0; i <= batch; i++) {
        s->counting[i] = (uint32_t)i;
    }
    plan measure = {0};
    plan_session(&measure, s);
    const bft_backend *backend = &s->model->backend;
    BFT_TRY(backend->ops->alloc(err, backend->device, measure.used, &s->block));
    plan place = {.block = s->block};
    plan_session(&place, s);
    return BFT_OK;
}

static bft_status create(bft_error *err, bft_session **out, const bft_model *model, size_t batch_limit,
                         size_t token_limit, bool training) {
    bft_session *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return bft_error_memory(err, sizeof *s);
    }
    *s = (bft_session){.model = model,
                       .reader = bft_table_reader(&model->table),
                       .batch_limit = batch_limit,
                       .token_limit = token_limit,
                       .training = training};
    bft_status status = allocate(err, s);
    if (status != BFT_OK) {
        bft_session_destroy(s);
        return status;
    }
    *out = s;
    return BFT_OK;
}

bft_status bft_session_create(bft_error *err, bft_session **out, const bft_model *model, size_t batch_limit,
                              size_t token_limit) {
    return create(err, out, model, batch_limit, token_limit, false);
}

bft_status bft_session_create_training(bft_error *err, bft_session **out, const bft_model *model, size_t batch_limit,
                                       size_t token_limit) {
    return create(err, out, model, batch_limit, token_limit, true);
}

void bft_session_destroy(bft_session *s) {
    if (s == NULL) {
        return;
    }
    if (s->block != NULL) {
        s->model->backend.ops->free(s->model->backend.device, s->block);
    }
    free(s->zeros);
    free(s->counting);
    free(s->losses);
    free(s->host);
    free(s->layers);
    free(s);
}

/* ---- Asking ---- */

static bft_status check_finite(bft_error *err, const char *what, const float *values, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(values[i])) {
            return bft_error_set(err, BFT_FAILED, "the %s hold a value that is not a finite number", what);
        }
    }
    return BFT_OK;
}

bft_status bft_session_logits(bft_error *err, bft_session *s, const bft_batch *batch, float *logits) {
    const bft_model *model = s->model;
    size_t count = batch->batch * model->config.classes;
    BFT_TRY(bft_encoder_forward(err, s, batch, (bft_pass){0}, bft_head_reads_first(model->head)));
    bft_head_forward(s, batch, (bft_pass){0});
    model->backend.ops->to_host(model->backend.device, s->logits, logits, count);
    BFT_TRY(model->backend.ops->fault(err, model->backend.device));
    return check_finite(err, "model's answers", logits, count);
}

bft_status bft_session_vectors(bft_error *err, bft_session *s, const bft_batch *batch, bft_pooling pooling,
                               float *vectors) {
    const bft_model *model = s->model;
    const bft_ops *ops = model->backend.ops;
    bft_device *device = model->backend.device;
    size_t channels = model->config.channels;
    bool first_only = pooling == BFT_POOL_CLS || pooling == BFT_POOL_POOLER;
    assert(!s->training); /* whose last layer may have room for first rows only */
    if (pooling == BFT_POOL_POOLER && !(model->params.has_pooler && model->config.architecture == BFT_BERT)) {
        return bft_error_set(err, BFT_BAD, "the model has no pooler; --pooling cls and mean work with every model");
    }
    BFT_TRY(bft_encoder_forward(err, s, batch, (bft_pass){0}, first_only));
    const void *result = s->output;
    if (pooling == BFT_POOL_MEAN) {
        ops->mean_forward(
            device,
            &(bft_mean){
                .batch = batch->batch, .channels = channels, .start = batch->start, .x = s->output, .y = s->pooled});
        result = s->pooled;
    } else if (pooling == BFT_POOL_POOLER) {
        bft_linear_place place = model->params.pooler;
        ops->linear_forward(device, &(bft_linear){.rows = batch->batch,
                                                  .in = channels,
                                                  .out = channels,
                                                  .activation = BFT_TANH,
                                                  .x = s->output,
                                                  .weight = bft_model_at(model, model->values, place.weight),
                                                  .bias = bft_model_at(model, model->values, place.bias),
                                                  .y = s->pooled,
                                                  .scratch = s->scratch});
        result = s->pooled;
    }
    size_t rows = pooling == BFT_POOL_NONE ? batch->tokens : batch->batch;
    ops->to_host(device, result, vectors, rows * channels);
    BFT_TRY(ops->fault(err, device));
    return check_finite(err, "vectors", vectors, rows * channels);
}

bft_status bft_session_step(bft_error *err, bft_session *s, const bft_batch *batch, bft_pass pass, bft_loss loss,
                            bft_gradients gradients, double *total) {
    const bft_model *model = s->model;
    const bft_ops *ops = model->backend.ops;
    BFT_TRY(bft_encoder_forward(err, s, batch, pass, bft_head_reads_first(model->head)));
    bft_head_forward(s, batch, pass);
    loss.batch = batch->batch;
    loss.classes = model->config.classes;
    loss.logits = s->logits;
    loss.target = batch->target;
    loss.targets = batch->targets;
    loss.loss = s->losses;
    loss.dlogits = gradients.dense != NULL ? s->d_logits : NULL;
    ops->loss(model->backend.device, &loss);
    double sum = 0;
    for (size_t i = 0; i < batch->batch; i++) {
        sum += s->losses[i];
    }
    if (!isfinite(sum)) {
        return bft_error_set(err, BFT_FAILED,
                             "step %u: the loss is not a finite number; a smaller OPTIM.LR or OPTIM.CLIP may help",
                             pass.step + 1);
    }
    *total += sum;
    if (gradients.dense != NULL) {
        bft_head_backward(s, batch, pass, gradients);
        bft_encoder_backward(s, batch, pass, gradients);
    }
    return ops->fault(err, model->backend.device);
}
