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

/* A product whose weight may be in any form that the backend knows: calibration decides which. */
static void *plan_linear(plan *p, const bft_session *s, size_t rows, size_t in, size_t out, bft_activation activation) {
    const bft_ops *ops = s->model->backend.ops;
    bft_linear op = {.rows = rows, .in = in, .out = out, .activation = activation};
    bft_memory plain = {0};
    ops->linear_memory(&op, &plain);
    for (op.form = BFT_FORM_FP32; s->model->params.apart && op.form <= BFT_FORM_INT8; op.form++) {
        bft_memory memory = {0};
        ops->linear_memory(&op, &memory);
        p->scratch = larger(p->scratch, memory.scratch);
    }
    return take_saved(p, plain, s->training);
}

static void *plan_norm(plan *p, const bft_session *s, size_t rows) {
    bft_memory memory = {0};
    s->model->backend.ops->residual_norm_memory(
        &(bft_residual_norm){.rows = rows, .channels = s->model->config.channels}, &memory);
    return take_saved(p, memory, s->training);
}

static void *plan_attention(plan *p, const bft_session *s, size_t rows) {
    const bft_model_config *config = &s->model->config;
    bft_memory memory = {0};
    bft_attention op = {.batch = s->batch_limit,
                        .rows = rows,
                        .heads = config->heads,
                        .head_size = config->channels / config->heads,
                        .longest = smaller(s->token_limit, config->positions)};
    s->model->backend.ops->attention_memory(&op, &memory);
    return take_saved(p, memory, s->training);
}

static size_t padded_rows(const bft_session *s, size_t rows) {
    return s->model->backend.ops->padded(rows);
}

/* A tensor of values with a row a token or a sequence. */
static void *take_rows(plan *p, const bft_session *s, size_t rows, size_t columns) {
    return take(p, padded_rows(s, rows) * columns * bft_ops_value_size(s->model->backend.ops));
}

/* `last` needs first rows too: (B, C) queries and (N, 2C) keys and values fit into the (N, 3C) of q only when kept apart. */
static void plan_layer(plan *p, const bft_session *s, bft_layer_state *state, size_t rows, bool first_only) {
    const bft_model_config *config = &s->model->config;
    size_t channels = config->channels, tokens = s->token_limit;
    state->input = take_rows(p, s, tokens, channels);
    state->q = take_rows(p, s, first_only ? rows : tokens, (first_only ? 1 : 3) * channels);
    if (first_only || !s->training) {
        state->first = take_rows(p, s, s->batch_limit, channels);
        state->kv = take_rows(p, s, tokens, 2 * channels);
    }
    state->attention = take_rows(p, s, rows, channels);
    state->attention_norm = take_rows(p, s, rows, channels);
    state->up = take_rows(p, s, rows, config->feed_forward);
    plan_linear(p, s, tokens, channels, 3 * channels, BFT_IDENTITY);
    state->attention_saved = plan_attention(p, s, rows);
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
    s->words = take(p, padded_rows(s, words) * channels * s->model->backend.ops->real);
    s->model->backend.ops->embed_memory(&(bft_embed){.rows = s->token_limit, .words = words, .channels = channels},
                                        &memory);
    s->embed_saved = take_saved(p, memory, s->training);
}

static void plan_head(plan *p, bft_session *s) {
    size_t channels = s->model->config.channels, batch = s->batch_limit;
    size_t classes = larger(bft_model_classes(s->model), 1);
    s->pooled = take_rows(p, s, batch, channels);
    s->features = take_rows(p, s, batch, channels);
    s->logits = take(p, padded_rows(s, batch) * classes * s->model->backend.ops->real);
    s->pooler_saved = plan_linear(p, s, batch, channels, channels, BFT_TANH);
    bft_memory memory = {0};
    bft_linear classifier = {.rows = batch, .in = channels, .out = classes, .real_y = true};
    s->model->backend.ops->linear_memory(&classifier, &memory);
    take_saved(p, memory, s->training);
}

static void plan_masked(plan *p, bft_session *s) {
    const bft_model_config *config = &s->model->config;
    bft_masked_state *state = &s->masked;
    size_t channels = config->channels, rows = s->token_limit;
    state->picked = take_rows(p, s, rows, channels);
    state->transformed = take_rows(p, s, rows, channels);
    state->normed = take_rows(p, s, rows, channels);
    state->transform_saved = plan_linear(p, s, rows, channels, channels, BFT_GELU);
    state->norm_saved = plan_norm(p, s, rows);
    bft_memory memory = {0};
    s->model->backend.ops->tied_loss_memory(
        &(bft_tied_loss){.rows = rows, .channels = channels, .vocabulary = config->vocabulary}, &memory);
    take_saved(p, memory, false);
    state->d_normed = take_rows(p, s, rows, channels);
    state->d_transformed = take_rows(p, s, rows, channels);
    state->d_words =
        take(p, padded_rows(s, smaller(rows, config->vocabulary)) * channels * s->model->backend.ops->real);
}

static void plan_backward(plan *p, bft_session *s) {
    const bft_model_config *config = &s->model->config;
    size_t channels = config->channels, tokens = s->token_limit;
    s->d_output = take_rows(p, s, tokens, channels);
    s->d_hidden = take_rows(p, s, tokens, channels);
    s->d_residual = take_rows(p, s, tokens, channels);
    s->d_up = take_rows(p, s, tokens, config->feed_forward);
    s->d_q = take_rows(p, s, tokens, 3 * channels);
    s->d_kv = take_rows(p, s, tokens, 2 * channels);
    s->d_features = take_rows(p, s, s->batch_limit, channels);
    s->d_logits = take(p, padded_rows(s, s->batch_limit) * larger(config->classes, 1) * s->model->backend.ops->real);
    s->loss_limit = s->model->head == BFT_HEAD_MASKED ? tokens : s->batch_limit;
    s->losses = take(p, (s->loss_limit + 2) * sizeof *s->losses);
}

static void plan_session(plan *p, bft_session *s) {
    plan_embed(p, s);
    plan_layers(p, s);
    s->output = take_rows(p, s, s->token_limit, s->model->config.channels);
    s->projection = take_rows(p, s, s->token_limit, s->model->config.channels);
    if (s->model->head == BFT_HEAD_MASKED) {
        plan_masked(p, s);
    } else {
        plan_head(p, s);
    }
    if (s->training) {
        plan_backward(p, s);
    }
    s->scratch = take(p, p->scratch);
}

/* ---- Making and freeing ---- */

/* The host's arrays, of which the plan fills in one. */
static bft_status prepare(bft_error *err, bft_session *s) {
    size_t batch = s->batch_limit, classes = larger(bft_model_classes(s->model), 1);
    s->zeros = calloc(batch + 1, sizeof *s->zeros);
    s->counting = calloc(batch + 1, sizeof *s->counting);
    s->host = calloc(batch * classes, sizeof *s->host);
    s->layers = calloc(s->model->config.layers, sizeof *s->layers);
    if (s->zeros == NULL || s->counting == NULL || s->host == NULL || s->layers == NULL) {
        return bft_error_memory(err, batch * (classes + 2) * sizeof *s->host);
    }
    for (size_t i = 0; i <= batch; i++) {
        s->counting[i] = (uint32_t)i;
    }
    return BFT_OK;
}

static size_t measure(bft_session *s) {
    plan dry = {0};
    plan_session(&dry, s);
    return dry.used;
}

static bft_status allocate(bft_error *err, bft_session *s) {
    const bft_backend *backend = &s->model->backend;
    BFT_TRY(prepare(err, s));
    BFT_TRY(backend->ops->alloc(err, backend->device, measure(s), &s->block));
    plan place = {.block = s->block};
    plan_session(&place, s);
    return BFT_OK;
}

static void free_host(bft_session *s) {
    free(s->zeros);
    free(s->counting);
    free(s->host);
    free(s->layers);
}

bft_status bft_session_measure(bft_error *err, const bft_model *model, size_t batch_limit, size_t token_limit,
                               size_t *bytes) {
    bft_session s = {.model = model, .batch_limit = batch_limit, .token_limit = token_limit, .training = true};
    bft_status status = prepare(err, &s);
    if (status == BFT_OK) {
        *bytes = measure(&s);
    }
    free_host(&s);
    return status;
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
    free_host(s);
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

/* The batch's words on the device: before a stretch, since rows may come from the file. */
static bft_status read_words(bft_error *err, bft_session *s, const bft_batch *batch) {
    BFT_TRY(bft_table_check(err, &s->model->table, batch->word, batch->words));
    s->reader.read(s->reader.context, batch->word, batch->words, s->words);
    return BFT_OK;
}

bft_status bft_session_start_logits(bft_error *err, bft_session *s, const bft_batch *batch) {
    const bft_model *model = s->model;
    const bft_ops *ops = model->backend.ops;
    bft_device *device = model->backend.device;
    BFT_TRY(read_words(err, s, batch));
    ops->begin(device);
    bft_encoder_forward(s, batch, (bft_pass){0}, bft_head_reads_first(model->head));
    bft_head_forward(s, batch, (bft_pass){0});
    ops->end(device);
    s->answer = (bft_answer){"model's answers", s->logits, true, batch->batch * model->config.classes};
    return BFT_OK;
}

/* session->output to one vector a sequence, in session->pooled. */
static void pool(bft_session *s, const bft_batch *batch, bft_pooling pooling) {
    const bft_model *model = s->model;
    size_t channels = model->config.channels;
    if (pooling == BFT_POOL_MEAN) {
        bft_mean mean = {
            .batch = batch->batch, .channels = channels, .start = batch->start, .x = s->output, .y = s->pooled};
        model->backend.ops->mean_forward(model->backend.device, &mean);
        return;
    }
    bft_linear_place place = model->params.pooler;
    bft_linear pooler = {.rows = batch->batch,
                         .in = channels,
                         .out = channels,
                         .activation = BFT_TANH,
                         .x = s->output,
                         .weight = bft_model_weight(model, place.weight),
                         .bias = bft_model_at(model, model->values, place.bias),
                         .y = s->pooled,
                         .scratch = s->scratch};
    model->backend.ops->linear_forward(model->backend.device, &pooler);
}

bft_status bft_session_start_vectors(bft_error *err, bft_session *s, const bft_batch *batch, bft_pooling pooling) {
    const bft_model *model = s->model;
    const bft_ops *ops = model->backend.ops;
    bft_device *device = model->backend.device;
    bool first_only = pooling == BFT_POOL_CLS || pooling == BFT_POOL_POOLER;
    bool pools = pooling == BFT_POOL_MEAN || pooling == BFT_POOL_POOLER;
    assert(!s->training); /* whose last layer may have room for first rows only */
    if (pooling == BFT_POOL_POOLER && !(model->params.has_pooler && model->config.architecture == BFT_BERT)) {
        return bft_error_set(err, BFT_BAD, "the model has no pooler; --pooling cls and mean work with every model");
    }
    BFT_TRY(read_words(err, s, batch));
    ops->begin(device);
    bft_encoder_forward(s, batch, (bft_pass){0}, first_only);
    if (pools) {
        pool(s, batch, pooling);
    }
    ops->end(device);
    size_t rows = pooling == BFT_POOL_NONE ? batch->tokens : batch->batch;
    s->answer = (bft_answer){"vectors", pools ? s->pooled : s->output, false, rows * model->config.channels};
    return BFT_OK;
}

bft_status bft_session_collect(bft_error *err, bft_session *s, float *values) {
    const bft_ops *ops = s->model->backend.ops;
    bft_device *device = s->model->backend.device;
    bft_answer answer = s->answer;
    (answer.reals ? ops->to_host : ops->values_to_host)(device, answer.from, values, answer.count);
    BFT_TRY(ops->fault(err, device));
    return check_finite(err, answer.what, values, answer.count);
}

bft_status bft_session_logits(bft_error *err, bft_session *s, const bft_batch *batch, float *logits) {
    BFT_TRY(bft_session_start_logits(err, s, batch));
    return bft_session_collect(err, s, logits);
}

bft_status bft_session_vectors(bft_error *err, bft_session *s, const bft_batch *batch, bft_pooling pooling,
                               float *vectors) {
    BFT_TRY(bft_session_start_vectors(err, s, batch, pooling));
    return bft_session_collect(err, s, vectors);
}

/* Forward and loss of what the head is for; backward through the head. */
static void run_head(bft_session *s, const bft_batch *batch, bft_pass pass, bft_loss loss, bft_gradients gradients) {
    const bft_model *model = s->model;
    bool wanted = gradients.dense != NULL;
    if (model->head == BFT_HEAD_MASKED) {
        bft_masked_forward(s, batch, loss.normalizer, gradients);
        if (wanted) {
            bft_masked_backward(s, batch, gradients);
        }
        return;
    }
    loss.batch = batch->batch;
    loss.classes = model->config.classes;
    loss.logits = s->logits;
    loss.target = batch->target;
    loss.targets = batch->targets;
    loss.loss = s->losses;
    loss.total = s->losses + s->loss_limit;
    loss.dlogits = wanted ? s->d_logits : NULL;
    bft_head_forward(s, batch, pass);
    model->backend.ops->loss(model->backend.device, &loss);
    if (wanted) {
        bft_head_backward(s, batch, pass, gradients);
    }
}

bft_status bft_session_step(bft_error *err, bft_session *s, const bft_batch *batch, bft_pass pass, bft_loss loss,
                            bft_gradients gradients) {
    const bft_model *model = s->model;
    const bft_ops *ops = model->backend.ops;
    bft_device *device = model->backend.device;
    BFT_TRY(read_words(err, s, batch));
    ops->begin(device);
    bft_encoder_forward(s, batch, pass, bft_head_reads_first(model->head));
    run_head(s, batch, pass, loss, gradients);
    if (gradients.dense != NULL) {
        bft_encoder_backward(s, batch, pass, gradients);
    }
    ops->end(device);
    return ops->fault(err, device);
}

void bft_session_clear_loss(bft_session *s) {
    s->model->backend.ops->fill_zero(s->model->backend.device, s->losses + s->loss_limit, 2 * sizeof *s->losses);
}

static double read_sum(const bft_session *s, size_t which) {
    double sum = 0;
    s->model->backend.ops->read(s->model->backend.device, s->losses + s->loss_limit + which, &sum, sizeof sum);
    return sum;
}

double bft_session_loss(bft_session *s) {
    return read_sum(s, 0);
}

double bft_session_hits(bft_session *s) {
    return read_sum(s, 1);
}
