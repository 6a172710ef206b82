/* model.c: loading a folder into a model, and new heads. */
#include "nn/network.h"

#include "base/buffer.h"
#include "base/log.h"
#include "base/philox.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STREAM_HEAD = 0x68656164, FEW = 4096 };

/* ---- Finding tensors: with or without the encoder's prefix, with LayerNorm's old names ---- */

static const char *without_prefix(const char *name) {
    static const char *const prefixes[] = {"bert.", "distilbert."};
    for (size_t i = 0; i < 2; i++) {
        size_t length = strlen(prefixes[i]);
        if (strncmp(name, prefixes[i], length) == 0) {
            return name + length;
        }
    }
    return name;
}

/* TensorFlow's names for LayerNorm's weight and bias, which old files keep. */
static const bft_tensor *find_old_norm(const bft_weights *weights, const char *name) {
    static const struct {
        const char *now, *then;
    } endings[] = {{"LayerNorm.weight", "LayerNorm.gamma"}, {"LayerNorm.bias", "LayerNorm.beta"}};
    char old[BFT_PARAM_NAME];
    size_t length = strlen(name);
    for (size_t i = 0; i < 2; i++) {
        size_t now = strlen(endings[i].now);
        if (length > now && strcmp(name + length - now, endings[i].now) == 0) {
            memcpy(old, name, length - now);
            strcpy(old + length - now, endings[i].then);
            return bft_weights_find(weights, old);
        }
    }
    return NULL;
}

static const bft_tensor *find(const bft_weights *weights, const char *name) {
    const char *const names[] = {name, without_prefix(name)};
    for (size_t i = 0; i < 2; i++) {
        const bft_tensor *tensor = bft_weights_find(weights, names[i]);
        if (tensor == NULL) {
            tensor = find_old_norm(weights, names[i]);
        }
        if (tensor != NULL) {
            return tensor;
        }
    }
    return NULL;
}

static void shape_text(size_t dimensions, const size_t *shape, bft_buffer *out) {
    bft_error ignored;
    bft_buffer_clear(out);
    for (size_t i = 0; i < dimensions; i++) {
        (void)bft_buffer_printf(&ignored, out, "%s%zu", i == 0 ? "" : ", ", shape[i]);
    }
    (void)bft_buffer_reserve(&ignored, out, 0);
}

/* The tensor that a parameter is loaded from; refuses a missing one and one of another shape, naming both shapes. */
static bft_status fetch(bft_error *err, const bft_model *model, const char *folder, const bft_param *param,
                        const bft_tensor **out) {
    const bft_tensor *tensor = find(model->file, param->name);
    bft_buffer wanted = {0}, found = {0};
    shape_text(param->dimensions, param->shape, &wanted);
    bft_status status = BFT_OK;
    if (tensor == NULL) {
        status = bft_error_set(err, BFT_BAD, "%s: has no tensor %s of shape (%s)", folder, param->name, wanted.data);
    } else if (tensor->dimensions != param->dimensions ||
               memcmp(tensor->shape, param->shape, param->dimensions * sizeof *param->shape) != 0) {
        shape_text(tensor->dimensions, tensor->shape, &found);
        status = bft_error_set(err, BFT_BAD, "%s: tensor %s has shape (%s), config.json asks for (%s)", tensor->file,
                               tensor->name, found.data, wanted.data);
    } else if (tensor->data == NULL) {
        status = bft_error_set(err, BFT_BAD, "%s: tensor %s is of a type other than F32, F16 and BF16", tensor->file,
                               tensor->name);
    }
    bft_buffer_free(&wanted);
    bft_buffer_free(&found);
    *out = tensor;
    return status;
}

/* ---- Loading ---- */

bft_status bft_tensor_check_finite(bft_error *err, const bft_tensor *tensor, const float *values, size_t first,
                                   size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(values[i])) {
            return bft_error_set(err, BFT_BAD, "%s: tensor %s: value %zu is not a finite number", tensor->file,
                                 tensor->name, first + i);
        }
    }
    return BFT_OK;
}

static bft_status check_finite(bft_error *err, const bft_model *model, const bft_param *param,
                               const bft_tensor *tensor) {
    const bft_ops *ops = model->backend.ops;
    float part[FEW];
    for (size_t at = 0; at < param->count; at += FEW) {
        size_t count = param->count - at < FEW ? param->count - at : FEW;
        ops->to_host(model->backend.device, bft_model_at(model, model->values, param->offset + at), part, count);
        BFT_TRY(bft_tensor_check_finite(err, tensor, part, at, count));
    }
    return BFT_OK;
}

static bft_status load_param(bft_error *err, bft_model *model, const bft_param *param, const bft_tensor *tensor) {
    if (param->apart) {
        return BFT_OK; /* once the block is complete */
    }
    if (param->sparse) {
        return bft_table_create(err, &model->table, tensor, model->backend);
    }
    model->backend.ops->to_device(model->backend.device, tensor->dtype, tensor->data,
                                  bft_model_at(model, model->values, param->offset), param->count);
    bft_tensor_release(tensor, 0, tensor->count);
    return check_finite(err, model, param, tensor);
}

static bool is_gamma(const bft_param *param) {
    size_t length = strlen(param->name), end = strlen(".weight");
    return param->dimensions == 1 && length > end && strcmp(param->name + length - end, ".weight") == 0;
}

/* As BertPreTrainedModel._init_weights: N(0, 0.02) for matrices, 1 for LayerNorm's gamma; biases stay zero. */
static void init_param(bft_model *model, const bft_param *param, uint64_t seed) {
    bool gamma = is_gamma(param);
    if (!param->decay && !gamma) {
        return;
    }
    bft_random random = bft_random_create(seed, STREAM_HEAD, (uint64_t)param->offset);
    float part[FEW];
    for (size_t at = 0; at < param->count; at += FEW) {
        size_t count = param->count - at < FEW ? param->count - at : FEW;
        for (size_t i = 0; i < count; i++) {
            part[i] = gamma ? 1.0f : (float)(0.02 * bft_random_normal(&random));
        }
        model->backend.ops->to_device(model->backend.device, BFT_F32, part,
                                      bft_model_at(model, model->values, param->offset + at), count);
    }
}

/* Which tensors of the head come from the file; the rest are new. A model without a file is new throughout. */
typedef struct head_source {
    bool pooler, classifier, masked;
    uint64_t seed;
} head_source;

static bool in_file(const bft_model *model, const bft_param *param, head_source from) {
    if (model->file == NULL || param->layer != BFT_LAYER_HEAD) {
        return model->file != NULL;
    }
    bool is_classifier = strncmp(param->name, "classifier.", 11) == 0;
    return model->head == BFT_HEAD_MASKED ? from.masked : is_classifier ? from.classifier : from.pooler;
}

/* Memory for the parameters, and for their rounded copies where the ops want some. */
static bft_status allocate(bft_error *err, bft_model *model) {
    const bft_ops *ops = model->backend.ops;
    bft_device *device = model->backend.device;
    BFT_TRY(ops->alloc(err, device, model->params.size * ops->real, &model->values));
    if (ops->values == BFT_F32) {
        model->weights = model->values;
        return BFT_OK;
    }
    return ops->alloc(err, device, model->params.size * bft_ops_value_size(ops), &model->weights);
}

void bft_model_round_weights(bft_model *model) {
    if (model->weights != model->values) {
        model->backend.ops->to_values(model->backend.device, model->values, model->weights, model->params.size);
    }
}

/* The word table of a masked language model lies in the block of parameters: the first of them. */
static void view_table(bft_model *model, const bft_tensor *const *tensors) {
    bft_table_view(&model->table, bft_model_at(model, model->values, model->params.words), model->config.vocabulary,
                   model->config.channels, tensors[0], model->backend);
}

static bft_status load(bft_error *err, bft_model *model, const char *folder, head_source from) {
    bft_params *params = &model->params;
    const bft_tensor **tensors; /* (count) where each comes from; NULL: it is new */
    bft_head_tensors head = {.pooler = model->head == BFT_HEAD_POOLER || (model->head == BFT_HEAD_NONE && from.pooler),
                             .classes = bft_model_classes(model),
                             .masked = model->head == BFT_HEAD_MASKED};
    BFT_TRY(bft_params_create(err, &model->arena, params, &model->config, head, model->backend.form != BFT_FORM_PLAIN));
    BFT_TRY(BFT_NEW(err, &model->arena, &tensors, params->count));
    for (size_t i = 0; i < params->count; i++) { /* all of them before memory is asked for: config.json may lie */
        if (in_file(model, &params->list[i], from)) {
            BFT_TRY(fetch(err, model, folder, &params->list[i], &tensors[i]));
        }
    }
    if (model->file != NULL) {
        BFT_TRY(bft_weights_check(err, model->file));
    }
    BFT_TRY(allocate(err, model));
    if (head.masked) {
        view_table(model, tensors);
    }
    for (size_t i = 0; i < params->count; i++) {
        if (tensors[i] == NULL) {
            init_param(model, &params->list[i], from.seed);
        } else {
            BFT_TRY(load_param(err, model, &params->list[i], tensors[i]));
        }
    }
    bft_model_round_weights(model);
    return params->apart ? bft_prepared_load(err, model, tensors) : BFT_OK;
}

static bft_status begin(bft_error *err, bft_model **out, const char *folder, bft_backend backend) {
    bft_model *model = calloc(1, sizeof *model);
    if (model == NULL) {
        return bft_error_memory(err, sizeof *model);
    }
    *out = model;
    model->backend = backend;
    BFT_TRY(bft_model_config_read(err, &model->file_config, folder));
    model->config = model->file_config;
    model->config.masked = false; /* only who trains such a model reads its head */
    if (backend.form != BFT_FORM_PLAIN) {
        BFT_TRY(bft_prepared_begin(err, &model->prepared, folder));
    }
    return bft_weights_open(err, &model->file, folder);
}

/* What head a folder holds: ours says so in config.json; Hugging Face's shows by its tensors, unless config.json says
 * that they are for another task. */
static bft_head head_of(const bft_model *model, const char *folder, head_source *there) {
    const char *pooler = model->config.architecture == BFT_BERT ? "bert.pooler.dense.weight" : "pre_classifier.weight";
    there->pooler = find(model->file, pooler) != NULL;
    there->classifier = bft_weights_find(model->file, "classifier.weight") != NULL;
    const char *ours = model->file_config.head;
    if (!there->classifier) {
        return BFT_HEAD_NONE;
    }
    if (model->file_config.other_task != NULL) {
        bft_log_warning("%s: its classifier is one for %s and is not read", folder, model->file_config.other_task);
        return BFT_HEAD_NONE;
    }
    if (ours != NULL && strcmp(ours, "linear") == 0) {
        return BFT_HEAD_LINEAR;
    }
    if (ours != NULL && strcmp(ours, "mean") == 0) {
        return BFT_HEAD_MEAN;
    }
    return there->pooler ? BFT_HEAD_POOLER : BFT_HEAD_NONE;
}

static bft_status open_for_inference(bft_error *err, bft_model **out, const char *folder, bft_backend backend) {
    BFT_TRY(begin(err, out, folder, backend));
    head_source from = {0};
    (*out)->head = head_of(*out, folder, &from);
    BFT_TRY(load(err, *out, folder, from));
    bft_table_hold(&(*out)->table);
    return BFT_OK;
}

bft_status bft_model_open(bft_error *err, bft_model **out, const char *folder, bft_backend backend) {
    bft_model *model = NULL;
    bft_status status = open_for_inference(err, &model, folder, backend);
    if (status != BFT_OK) {
        bft_model_destroy(model);
        return status;
    }
    *out = model;
    return BFT_OK;
}

static bool same_labels(const bft_model_config *config, const bft_labels *labels) {
    bool same = config->has_labels && config->classes == labels->count;
    for (size_t i = 0; same && i < labels->count; i++) {
        same = strcmp(config->labels[i], labels->names[i]) == 0;
    }
    return same;
}

static void set_dropout(bft_model_config *config, double rate) {
    if (rate >= 0) {
        config->hidden_dropout = config->attention_dropout = config->classifier_dropout = (float)rate;
    }
}

static bft_status set_up(bft_error *err, bft_model *model, const bft_model_setup *setup) {
    bft_model_config *config = &model->config;
    config->classes = setup->labels.count;
    config->problem = setup->problem;
    config->has_labels = true;
    config->head = setup->head == BFT_HEAD_LINEAR ? "linear" : setup->head == BFT_HEAD_MEAN ? "mean" : "pooler";
    set_dropout(config, setup->dropout);
    BFT_TRY(BFT_NEW(err, &model->arena, &config->labels, config->classes));
    for (size_t i = 0; i < config->classes; i++) {
        const char *name = setup->labels.names[i];
        BFT_TRY(bft_arena_string(err, &model->arena, name, strlen(name), &config->labels[i]));
    }
    return BFT_OK;
}

static bft_status open_for_training(bft_error *err, bft_model **out, const char *folder, bft_backend backend,
                                    const bft_model_setup *setup) {
    BFT_TRY(begin(err, out, folder, backend));
    bft_model *model = *out;
    head_source from = {0};
    bool keeps = head_of(model, folder, &from) == setup->head && same_labels(&model->file_config, &setup->labels);
    from.seed = setup->seed;
    from.classifier = keeps;
    model->head = setup->head;
    if (keeps) {
        bft_log_info("%s: its classifier has these labels and is trained on", folder);
    }
    BFT_TRY(set_up(err, model, setup));
    return load(err, model, folder, from);
}

bft_status bft_model_open_for_training(bft_error *err, bft_model **out, const char *folder, bft_backend backend,
                                       const bft_model_setup *setup) {
    bft_model *model = NULL;
    bft_status status = open_for_training(err, &model, folder, backend, setup);
    if (status != BFT_OK) {
        bft_model_destroy(model);
        return status;
    }
    *out = model;
    return BFT_OK;
}

/* ---- Masked language models ---- */

/* A decoder of its own, which transformers writes beside the table it is tied to, must be that table. */
static bft_status check_tied(bft_error *err, const bft_model *model, const char *copy, const char *original) {
    const bft_tensor *a = find(model->file, copy), *b = find(model->file, original);
    if (a == NULL || b == NULL) {
        return BFT_OK;
    }
    bool same = a->dtype == b->dtype && a->count == b->count && a->data != NULL && b->data != NULL &&
                (a->data == b->data || memcmp(a->data, b->data, a->count * bft_dtype_size(a->dtype)) == 0);
    return same ? BFT_OK
                : bft_error_set(err, BFT_BAD,
                                "%s: tensor %s differs from %s; only a decoder that is tied to it can be trained",
                                a->file, a->name, b->name);
}

static bft_status find_masked_head(bft_error *err, const bft_model *model, const char *folder, bool own, bool *there) {
    bool bert = model->config.architecture == BFT_BERT;
    BFT_TRY(
        check_tied(err, model, bert ? "cls.predictions.decoder.weight" : "vocab_projector.weight",
                   bert ? "bert.embeddings.word_embeddings.weight" : "distilbert.embeddings.word_embeddings.weight"));
    BFT_TRY(check_tied(err, model, "cls.predictions.decoder.bias", "cls.predictions.bias"));
    *there = find(model->file, bert ? "cls.predictions.transform.dense.weight" : "vocab_transform.weight") != NULL;
    if (!*there && own) {
        return bft_error_set(err, BFT_BAD, "%s: has no head of a masked language model", folder);
    }
    if (!*there) {
        bft_log_info("%s: has no head of a masked language model; a new one is made", folder);
    }
    return BFT_OK;
}

static bft_status open_for_pretraining(bft_error *err, bft_model **out, const char *folder, bft_backend backend,
                                       const bft_pretraining_setup *setup) {
    head_source from = {.seed = setup->seed};
    if (folder != NULL) {
        BFT_TRY(begin(err, out, folder, backend));
        BFT_TRY(find_masked_head(err, *out, folder, setup->own_head, &from.masked));
    } else {
        *out = calloc(1, sizeof **out);
        if (*out == NULL) {
            return bft_error_memory(err, sizeof **out);
        }
        (*out)->backend = backend;
        (*out)->config = *setup->shape;
    }
    bft_model *model = *out;
    model->head = BFT_HEAD_MASKED;
    model->config.masked = true;
    model->config.head = NULL;
    model->config.problem = BFT_PROBLEM_NONE;
    set_dropout(&model->config, setup->dropout);
    return load(err, model, folder, from);
}

bft_status bft_model_open_for_pretraining(bft_error *err, bft_model **out, const char *folder, bft_backend backend,
                                          const bft_pretraining_setup *setup) {
    bft_model *model = NULL;
    bft_status status = open_for_pretraining(err, &model, folder, backend, setup);
    if (status != BFT_OK) {
        bft_model_destroy(model);
        return status;
    }
    *out = model;
    return BFT_OK;
}

void bft_model_destroy(bft_model *model) {
    if (model == NULL) {
        return;
    }
    bft_table_free(&model->table);
    bft_prepared_free(model);
    if (model->weights != NULL && model->weights != model->values) {
        model->backend.ops->free(model->backend.device, model->weights);
    }
    if (model->values != NULL) {
        model->backend.ops->free(model->backend.device, model->values);
    }
    bft_weights_close(model->file);
    bft_model_config_free(&model->file_config);
    bft_arena_free(&model->arena);
    free(model);
}

/* ---- Asking ---- */

const bft_model_config *bft_model_configuration(const bft_model *model) {
    return &model->config;
}

bft_head bft_model_head(const bft_model *model) {
    return model->head;
}

size_t bft_model_classes(const bft_model *model) {
    return model->head == BFT_HEAD_NONE || model->head == BFT_HEAD_MASKED ? 0 : model->config.classes;
}

const char *bft_model_label(const bft_model *model, size_t id) {
    return model->config.labels[id];
}
