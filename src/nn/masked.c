/* masked.c: the head of a masked language model, forwards and backwards: the masked positions' rows alone go through dense, GELU and
 * LayerNorm (BertPredictionHeadTransform; DistilBertForMaskedLM's vocab_transform and vocab_layer_norm), and then by the word table
 * to a loss. M is the number of masked positions of the batch. */
#include "nn/network.h"

static void *value(const bft_session *s, size_t offset) {
    return bft_model_at(s->model, s->model->values, offset);
}

static void *gradient(const bft_session *s, bft_gradients gradients, size_t offset, bool frozen) {
    return gradients.dense == NULL || frozen ? NULL : bft_model_at(s->model, gradients.dense, offset);
}

static bft_gather describe_pick(const bft_session *s, const bft_batch *batch) {
    return (bft_gather){.rows = batch->masked,
                        .channels = s->model->config.channels,
                        .index = batch->masked_row,
                        .x = s->output,
                        .y = s->masked.picked};
}

static bft_linear describe_transform(const bft_session *s, const bft_batch *batch, bft_gradients gradients) {
    const bft_model *model = s->model;
    bft_linear_place place = model->params.transform;
    return (bft_linear){.rows = batch->masked,
                        .in = model->config.channels,
                        .out = model->config.channels,
                        .activation = BFT_GELU,
                        .x = s->masked.picked,
                        .weight = bft_model_weight(model, place.weight),
                        .bias = value(s, place.bias),
                        .y = s->masked.transformed,
                        .saved = s->training ? s->masked.transform_saved : NULL,
                        .scratch = s->scratch,
                        .dweight = gradient(s, gradients, place.weight, false),
                        .dweight_fresh = gradients.fresh,
                        .dbias = gradient(s, gradients, place.bias, false)};
}

static bft_residual_norm describe_norm(const bft_session *s, const bft_batch *batch, bft_gradients gradients) {
    bft_norm_place place = s->model->params.transform_norm;
    return (bft_residual_norm){.rows = batch->masked,
                               .channels = s->model->config.channels,
                               .eps = s->model->config.layer_norm_eps,
                               .x = s->masked.transformed,
                               .gamma = value(s, place.gamma),
                               .beta = value(s, place.beta),
                               .y = s->masked.normed,
                               .saved = s->training ? s->masked.norm_saved : NULL,
                               .scratch = s->scratch,
                               .dgamma = gradient(s, gradients, place.gamma, false),
                               .dbeta = gradient(s, gradients, place.beta, false)};
}

static bft_tied_loss describe_loss(const bft_session *s, const bft_batch *batch, double normalizer,
                                   bft_gradients gradients) {
    const bft_params *params = &s->model->params;
    return (bft_tied_loss){
        .rows = batch->masked,
        .channels = s->model->config.channels,
        .vocabulary = s->model->config.vocabulary,
        .x = s->masked.normed,
        .table = bft_model_weight(s->model, params->words),
        .bias = value(s, params->decoder_bias),
        .target = batch->masked_target,
        .normalizer = normalizer,
        .loss = s->losses,
        .total = s->losses + s->loss_limit,
        .hits = s->losses + s->loss_limit + 1,
        .scratch = s->scratch,
        .dx = gradients.dense != NULL ? s->masked.d_normed : NULL,
        .dtable = gradient(s, gradients, params->words, params->embeddings_frozen),
        .dbias = gradient(s, gradients, params->decoder_bias, false),
    };
}

void bft_masked_forward(bft_session *session, const bft_batch *batch, double normalizer, bft_gradients gradients) {
    const bft_ops *ops = session->model->backend.ops;
    bft_device *device = session->model->backend.device;
    bft_gather pick = describe_pick(session, batch);
    ops->gather_forward(device, &pick);
    bft_linear transform = describe_transform(session, batch, (bft_gradients){0});
    ops->linear_forward(device, &transform);
    bft_residual_norm norm = describe_norm(session, batch, (bft_gradients){0});
    ops->residual_norm_forward(device, &norm);
    bft_tied_loss loss = describe_loss(session, batch, normalizer, gradients);
    ops->tied_loss(device, &loss);
}

void bft_masked_backward(bft_session *session, const bft_batch *batch, bft_gradients gradients) {
    const bft_model *model = session->model;
    const bft_ops *ops = model->backend.ops;
    bft_device *device = model->backend.device;
    bft_residual_norm norm = describe_norm(session, batch, gradients);
    norm.dy = session->masked.d_normed;
    norm.dx = session->masked.d_transformed;
    ops->residual_norm_backward(device, &norm);
    bft_linear transform = describe_transform(session, batch, gradients);
    transform.dy = session->masked.d_transformed;
    transform.dx = session->masked.d_normed;
    ops->linear_backward(device, &transform);
    ops->fill_zero(device, session->d_output,
                   ops->padded(batch->tokens) * model->config.channels * bft_ops_value_size(ops));
    bft_gather pick = describe_pick(session, batch);
    pick.dy = session->masked.d_normed;
    pick.dx = session->d_output;
    ops->gather_backward(device, &pick);
}

void bft_masked_add_words(bft_session *session, const bft_batch *batch, bft_gradients gradients) {
    const bft_model *model = session->model;
    bft_gather add = {.rows = batch->words,
                      .channels = model->config.channels,
                      .real = true,
                      .index = batch->word,
                      .dy = session->masked.d_words,
                      .dx = bft_model_at(model, gradients.dense, model->params.words)};
    model->backend.ops->gather_backward(model->backend.device, &add);
}
