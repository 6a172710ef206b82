/* head.c: from the encoder's output to logits and back.
 *
 *   linear  classifier(dropout(first row))
 *   pooler  classifier(dropout(activation(pooler(first row)))): tanh in BertForSequenceClassification, ReLU in
 *           DistilBertForSequenceClassification
 *   mean    classifier(dropout(mean of all rows)) */
#include "nn/network.h"

static void *value(const bft_session *s, size_t offset) {
    return bft_model_at(s->model, s->model->values, offset);
}

static bft_linear describe(const bft_session *s, bft_gradients gradients, bft_linear_place place, size_t rows,
                           size_t out, const void *x, void *y) {
    const bft_model *model = s->model;
    bool wanted = gradients.dense != NULL;
    return (bft_linear){
        .rows = rows,
        .in = model->config.channels,
        .out = out,
        .x = x,
        .weight = bft_model_weight(model, place.weight),
        .bias = value(s, place.bias),
        .y = y,
        .scratch = s->scratch,
        .dweight = wanted ? bft_model_at(model, gradients.dense, place.weight) : NULL,
        .dweight_fresh = gradients.fresh,
        .dbias = wanted ? bft_model_at(model, gradients.dense, place.bias) : NULL,
    };
}

static bft_linear describe_pooler(const bft_session *s, bft_gradients gradients, size_t rows) {
    const bft_model *model = s->model;
    bft_linear op = describe(s, gradients, model->params.pooler, rows, model->config.channels, s->output, s->pooled);
    op.activation = model->config.architecture == BFT_BERT ? BFT_TANH : BFT_RELU;
    op.saved = s->training ? s->pooler_saved : NULL;
    return op;
}

static bft_linear describe_classifier(const bft_session *s, bft_gradients gradients, size_t rows) {
    const bft_model *model = s->model;
    bft_linear op =
        describe(s, gradients, model->params.classifier, rows, model->config.classes, s->features, s->logits);
    op.real_y = true;
    return op;
}

static bft_mask describe_mask(const bft_session *s, const bft_batch *batch, bft_pass pass, const void *x, void *y) {
    bft_mask op = {.rows = batch->batch, .channels = s->model->config.channels, .x = x, .y = y};
    if (pass.training && s->model->config.classifier_dropout > 0) {
        op.dropout = (bft_dropout){.rate = s->model->config.classifier_dropout,
                                   .seed = pass.seed,
                                   .step = pass.step,
                                   .site = BFT_SITE_HEAD,
                                   .sample = batch->sample,
                                   .position = s->zeros};
    }
    return op;
}

static bft_mean describe_mean(const bft_session *s, const bft_batch *batch) {
    return (bft_mean){.batch = batch->batch,
                      .channels = s->model->config.channels,
                      .start = batch->start,
                      .x = s->output,
                      .y = s->pooled};
}

void bft_head_forward(bft_session *session, const bft_batch *batch, bft_pass pass) {
    const bft_model *model = session->model;
    const bft_ops *ops = model->backend.ops;
    bft_device *device = model->backend.device;
    const void *summary = session->output;
    if (model->head == BFT_HEAD_POOLER) {
        bft_linear pooler = describe_pooler(session, (bft_gradients){0}, batch->batch);
        ops->linear_forward(device, &pooler);
        summary = session->pooled;
    } else if (model->head == BFT_HEAD_MEAN) {
        bft_mean mean = describe_mean(session, batch);
        ops->mean_forward(device, &mean);
        summary = session->pooled;
    }
    bft_mask mask = describe_mask(session, batch, pass, summary, session->features);
    ops->mask(device, &mask);
    bft_linear classifier = describe_classifier(session, (bft_gradients){0}, batch->batch);
    ops->linear_forward(device, &classifier);
}

void bft_head_backward(bft_session *session, const bft_batch *batch, bft_pass pass, bft_gradients gradients) {
    const bft_model *model = session->model;
    const bft_ops *ops = model->backend.ops;
    bft_device *device = model->backend.device;
    bool direct = model->head == BFT_HEAD_LINEAR;
    bft_linear classifier = describe_classifier(session, gradients, batch->batch);
    classifier.dy = session->d_logits;
    classifier.dx = session->d_features;
    ops->linear_backward(device, &classifier);
    bft_mask mask =
        describe_mask(session, batch, pass, session->d_features, direct ? session->d_output : session->d_features);
    ops->mask(device, &mask);
    if (model->head == BFT_HEAD_POOLER) {
        bft_linear pooler = describe_pooler(session, gradients, batch->batch);
        pooler.dy = session->d_features;
        pooler.dx = session->d_output;
        ops->linear_backward(device, &pooler);
    } else if (model->head == BFT_HEAD_MEAN) {
        bft_mean mean = describe_mean(session, batch);
        mean.dy = session->d_features;
        mean.dx = session->d_output;
        ops->mean_backward(device, &mean);
    }
}
