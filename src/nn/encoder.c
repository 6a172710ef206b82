/* encoder.c: the forward pass as a list of ops, and the backward, which is the list read upside down.
 *
 * Every op is described once (describe_*) and used by both directions. R is the number of rows that a layer's output
 * has: N, or B in a last layer of which only the sequences' first rows are read. */
#include "nn/network.h"

typedef struct walk { /* what every op of a pass needs */
    bft_session *session;
    const bft_model *model;
    const bft_ops *ops;
    bft_device *device;
    const bft_batch *batch;
    bft_pass pass;
    bft_gradients gradients;
} walk;

static walk begin(bft_session *session, const bft_batch *batch, bft_pass pass, bft_gradients gradients) {
    const bft_model *model = session->model;
    return (walk){session, model, model->backend.ops, model->backend.device, batch, pass, gradients};
}

static void *value(const walk *w, size_t offset) {
    return bft_model_at(w->model, w->model->values, offset);
}

/* Where a parameter's gradient goes; NULL for a frozen one. */
static void *gradient(const walk *w, size_t offset, bool frozen) {
    return w->gradients.dense == NULL || frozen ? NULL : bft_model_at(w->model, w->gradients.dense, offset);
}

static void *behind(const walk *w, void *values, size_t count) {
    return (char *)values + count * bft_ops_value_size(w->ops);
}

/* Dropout at one place; first rows are at position 0 of their sample. */
static bft_dropout dropout(const walk *w, float rate, size_t layer, bft_site site, bool first_only) {
    if (!w->pass.training || rate == 0) {
        return (bft_dropout){0};
    }
    return (bft_dropout){.rate = rate,
                         .seed = w->pass.seed,
                         .step = w->pass.step,
                         .layer = (uint8_t)layer,
                         .site = (uint8_t)site,
                         .sample = first_only ? w->batch->sample : w->batch->token_sample,
                         .position = first_only ? w->session->zeros : w->batch->position};
}

/* ---- The ops, described ---- */

static bft_embed describe_embed(const walk *w) {
    const bft_session *s = w->session;
    const bft_params *params = &w->model->params;
    bool frozen = params->embeddings_frozen;
    void *dword = w->model->head == BFT_HEAD_MASKED ? s->masked.d_words : w->gradients.words;
    return (bft_embed){
        .rows = w->batch->tokens,
        .words = w->batch->words,
        .channels = w->model->config.channels,
        .eps = w->model->config.layer_norm_eps,
        .word = s->words,
        .word_row = w->batch->word_row,
        .position = w->batch->position,
        .position_table = value(w, params->positions),
        .type_table = params->has_types ? value(w, params->types) : NULL,
        .gamma = value(w, params->embedding_norm.gamma),
        .beta = value(w, params->embedding_norm.beta),
        .dropout = dropout(w, w->model->config.hidden_dropout, 0, BFT_SITE_EMBED, false),
        .y = s->layers[0].input,
        .saved = s->training ? s->embed_saved : NULL,
        .scratch = s->scratch,
        .dy = s->d_output,
        .dword = frozen ? NULL : dword,
        .dposition_table = gradient(w, params->positions, frozen),
        .dtype_table = params->has_types ? gradient(w, params->types, frozen) : NULL,
        .dgamma = gradient(w, params->embedding_norm.gamma, frozen),
        .dbeta = gradient(w, params->embedding_norm.beta, frozen),
    };
}

static bft_linear describe_linear(const walk *w, size_t rows, size_t in, size_t out, bft_linear_place place,
                                  bool frozen, const void *x, void *y) {
    return (bft_linear){
        .rows = rows,
        .in = in,
        .out = out,
        .x = x,
        .weight = place.prepared != NULL ? NULL : bft_model_weight(w->model, place.weight),
        .bias = value(w, place.bias),
        .y = y,
        .scratch = w->session->scratch,
        .form = place.form,
        .prepared = place.prepared,
        .dweight = gradient(w, place.weight, frozen),
        .dweight_fresh = w->gradients.fresh,
        .dbias = gradient(w, place.bias, frozen),
    };
}

static bft_linear describe_up(const walk *w, const bft_layer_state *state, const bft_layer_places *places,
                              size_t rows) {
    bft_linear op = describe_linear(w, rows, w->model->config.channels, w->model->config.feed_forward, places->up,
                                    places->frozen, state->attention_norm, state->up);
    op.activation = BFT_GELU;
    op.saved = w->session->training ? state->up_saved : NULL;
    return op;
}

static bft_attention describe_attention(const walk *w, size_t layer, bool first_only) {
    bft_session *s = w->session;
    bft_layer_state *state = &s->layers[layer];
    const bft_model_config *config = &w->model->config;
    size_t channels = config->channels;
    bft_attention op = {
        .batch = w->batch->batch,
        .rows = first_only ? w->batch->batch : w->batch->tokens,
        .heads = config->heads,
        .head_size = channels / config->heads,
        .longest = w->batch->longest,
        .key_start = w->batch->start,
        .query_start = first_only ? s->counting : w->batch->start,
        .q = state->q,
        .q_stride = first_only ? channels : 3 * channels,
        .k = first_only ? state->kv : behind(w, state->q, channels),
        .v = first_only ? behind(w, state->kv, channels) : behind(w, state->q, 2 * channels),
        .kv_stride = first_only ? 2 * channels : 3 * channels,
        .dropout = dropout(w, config->attention_dropout, layer, BFT_SITE_ATTENTION, true), /* by sequence */
        .y = state->attention,
        .saved = s->training ? state->attention_saved : NULL,
        .scratch = s->scratch,
    };
    if (s->training) {
        op.dy = s->d_residual;
        op.dq = s->d_q;
        op.dk = first_only ? s->d_kv : behind(w, s->d_q, channels);
        op.dv = first_only ? behind(w, s->d_kv, channels) : behind(w, s->d_q, 2 * channels);
    }
    return op;
}

static bft_residual_norm describe_norm(const walk *w, size_t rows, bft_norm_place place, bool frozen, bft_dropout drop,
                                       const void *residual, void *y, void *saved) {
    return (bft_residual_norm){
        .rows = rows,
        .channels = w->model->config.channels,
        .eps = w->model->config.layer_norm_eps,
        .x = w->session->projection,
        .residual = residual,
        .gamma = value(w, place.gamma),
        .beta = value(w, place.beta),
        .dropout = drop,
        .y = y,
        .saved = w->session->training ? saved : NULL,
        .scratch = w->session->scratch,
        .dgamma = gradient(w, place.gamma, frozen),
        .dbeta = gradient(w, place.beta, frozen),
    };
}

static bft_residual_norm describe_attention_norm(const walk *w, size_t layer, size_t rows, bool first_only) {
    const bft_layer_state *state = &w->session->layers[layer];
    const bft_layer_places *places = &w->model->params.layers[layer];
    /* DistilBERT's TransformerBlock has no dropout between the attention's projection and the sum. */
    float rate = w->model->config.architecture == BFT_BERT ? w->model->config.hidden_dropout : 0;
    return describe_norm(w, rows, places->attention_norm, places->frozen,
                         dropout(w, rate, layer, BFT_SITE_ATTENTION_OUT, first_only),
                         first_only ? state->first : state->input, state->attention_norm, state->attention_norm_saved);
}

static bft_residual_norm describe_output_norm(const walk *w, size_t layer, size_t rows, bool first_only) {
    const bft_layer_state *state = &w->session->layers[layer];
    const bft_layer_places *places = &w->model->params.layers[layer];
    bool last = layer + 1 == w->model->config.layers;
    return describe_norm(w, rows, places->output_norm, places->frozen,
                         dropout(w, w->model->config.hidden_dropout, layer, BFT_SITE_FEED_FORWARD, first_only),
                         state->attention_norm, last ? w->session->output : w->session->layers[layer + 1].input,
                         state->output_norm_saved);
}

static bft_gather describe_first(const walk *w, bft_layer_state *state) {
    return (bft_gather){.rows = w->batch->batch,
                        .channels = w->model->config.channels,
                        .index = w->batch->first,
                        .x = state->input,
                        .y = state->first};
}

/* ---- Forward ---- */

static void project_qkv(const walk *w, size_t layer, bool first_only) {
    bft_layer_state *state = &w->session->layers[layer];
    const bft_layer_places *places = &w->model->params.layers[layer];
    size_t channels = w->model->config.channels, tokens = w->batch->tokens;
    if (!first_only) {
        bft_linear qkv =
            describe_linear(w, tokens, channels, 3 * channels, places->qkv, places->frozen, state->input, state->q);
        w->ops->linear_forward(w->device, &qkv);
        return;
    }
    bft_gather first = describe_first(w, state);
    w->ops->gather_forward(w->device, &first);
    bft_linear q =
        describe_linear(w, w->batch->batch, channels, channels, places->q, places->frozen, state->first, state->q);
    bft_linear kv =
        describe_linear(w, tokens, channels, 2 * channels, places->kv, places->frozen, state->input, state->kv);
    w->ops->linear_forward(w->device, &q);
    w->ops->linear_forward(w->device, &kv);
}

static void layer_forward(const walk *w, size_t layer, bool first_only) {
    bft_session *s = w->session;
    bft_layer_state *state = &s->layers[layer];
    const bft_layer_places *places = &w->model->params.layers[layer];
    size_t channels = w->model->config.channels, feed_forward = w->model->config.feed_forward;
    size_t rows = first_only ? w->batch->batch : w->batch->tokens;

    project_qkv(w, layer, first_only);
    bft_attention attention = describe_attention(w, layer, first_only);
    w->ops->attention_forward(w->device, &attention);
    bft_linear out = describe_linear(w, rows, channels, channels, places->attention_out, places->frozen,
                                     state->attention, s->projection);
    w->ops->linear_forward(w->device, &out);
    bft_residual_norm attention_norm = describe_attention_norm(w, layer, rows, first_only);
    w->ops->residual_norm_forward(w->device, &attention_norm);
    bft_linear up = describe_up(w, state, places, rows);
    w->ops->linear_forward(w->device, &up);
    bft_linear down =
        describe_linear(w, rows, feed_forward, channels, places->down, places->frozen, state->up, s->projection);
    w->ops->linear_forward(w->device, &down);
    bft_residual_norm output_norm = describe_output_norm(w, layer, rows, first_only);
    w->ops->residual_norm_forward(w->device, &output_norm);
}

void bft_encoder_forward(bft_session *session, const bft_batch *batch, bft_pass pass, bool first_only) {
    walk w = begin(session, batch, pass, (bft_gradients){0});
    bft_embed embed = describe_embed(&w);
    w.ops->embed_forward(w.device, &embed);
    size_t layers = w.model->config.layers;
    for (size_t layer = 0; layer < layers; layer++) {
        layer_forward(&w, layer, first_only && layer + 1 == layers);
    }
}

/* ---- Backward. On entry to a layer s->d_output holds the gradient of its output; on return, that of its input. ---- */

static void project_qkv_backward(const walk *w, size_t layer, bool first_only) {
    bft_session *s = w->session;
    bft_layer_state *state = &s->layers[layer];
    const bft_layer_places *places = &w->model->params.layers[layer];
    size_t channels = w->model->config.channels, tokens = w->batch->tokens;
    if (!first_only) {
        bft_linear qkv =
            describe_linear(w, tokens, channels, 3 * channels, places->qkv, places->frozen, state->input, state->q);
        qkv.dy = s->d_q;
        qkv.dx = s->d_hidden; /* holds what came past the attention */
        qkv.dx_add = true;
        w->ops->linear_backward(w->device, &qkv);
        return;
    }
    bft_linear kv =
        describe_linear(w, tokens, channels, 2 * channels, places->kv, places->frozen, state->input, state->kv);
    kv.dy = s->d_kv;
    kv.dx = s->d_output;
    w->ops->linear_backward(w->device, &kv);
    bft_linear q =
        describe_linear(w, w->batch->batch, channels, channels, places->q, places->frozen, state->first, state->q);
    q.dy = s->d_q;
    q.dx = s->d_hidden; /* (B, C): the first rows' share */
    q.dx_add = true;
    w->ops->linear_backward(w->device, &q);
    bft_gather first = describe_first(w, state);
    first.dy = s->d_hidden;
    first.dx = s->d_output;
    w->ops->gather_backward(w->device, &first);
}

static void layer_backward(const walk *w, size_t layer, bool first_only) {
    bft_session *s = w->session;
    bft_layer_state *state = &s->layers[layer];
    const bft_layer_places *places = &w->model->params.layers[layer];
    size_t channels = w->model->config.channels, feed_forward = w->model->config.feed_forward;
    size_t rows = first_only ? w->batch->batch : w->batch->tokens;

    bft_residual_norm output_norm = describe_output_norm(w, layer, rows, first_only);
    output_norm.dy = s->d_output;
    output_norm.dx = s->d_hidden;
    output_norm.dresidual = s->d_residual;
    w->ops->residual_norm_backward(w->device, &output_norm);
    bft_linear down =
        describe_linear(w, rows, feed_forward, channels, places->down, places->frozen, state->up, s->projection);
    down.dy = s->d_hidden;
    down.dx = s->d_up;
    w->ops->linear_backward(w->device, &down);
    bft_linear up = describe_up(w, state, places, rows);
    up.dy = s->d_up;
    up.dx = s->d_residual;
    up.dx_add = true;
    w->ops->linear_backward(w->device, &up);
    bft_residual_norm attention_norm = describe_attention_norm(w, layer, rows, first_only);
    attention_norm.dy = s->d_residual;
    attention_norm.dx = s->d_output;
    attention_norm.dresidual = s->d_hidden;
    w->ops->residual_norm_backward(w->device, &attention_norm);
    bft_linear out = describe_linear(w, rows, channels, channels, places->attention_out, places->frozen,
                                     state->attention, s->projection);
    out.dy = s->d_output;
    out.dx = s->d_residual;
    w->ops->linear_backward(w->device, &out);
    bft_attention attention = describe_attention(w, layer, first_only);
    w->ops->attention_backward(w->device, &attention);
    project_qkv_backward(w, layer, first_only);
    if (!first_only) { /* the input's gradient was summed up in d_hidden */
        void *swap = s->d_output;
        s->d_output = s->d_hidden;
        s->d_hidden = swap;
    }
}

/* The lowest layer whose gradient somebody wants; L when only the head trains. */
static size_t lowest_trained(const bft_model *model) {
    size_t layer = 0;
    if (model->params.embeddings_frozen) {
        while (layer < model->config.layers && model->params.layers[layer].frozen) {
            layer++;
        }
    }
    return layer;
}

void bft_encoder_backward(bft_session *session, const bft_batch *batch, bft_pass pass, bft_gradients gradients) {
    walk w = begin(session, batch, pass, gradients);
    size_t layers = w.model->config.layers, lowest = lowest_trained(w.model);
    bool first_only = bft_head_reads_first(w.model->head);
    for (size_t layer = layers; layer-- > lowest;) {
        layer_backward(&w, layer, first_only && layer + 1 == layers);
    }
    if (!w.model->params.embeddings_frozen) {
        bft_embed embed = describe_embed(&w);
        w.ops->embed_backward(w.device, &embed);
        if (w.model->head == BFT_HEAD_MASKED) {
            bft_masked_add_words(session, batch, gradients);
        }
    }
}
