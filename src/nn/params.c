/* params.c: builds the list, in the order in which the block and the saved file hold it. */
#include "nn/params.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN_REALS = 16, PER_LAYER = 16, OUTSIDE_LAYERS = 10 };

typedef enum kind { MATRIX, VECTOR, PACKED_MATRIX, PACKED_VECTOR } kind; /* packed: directly behind the one before */

/* Appends a tensor; `prefix` and `name` together are its Hugging Face name. A vector takes no weight decay. */
static bft_param *add(bft_params *params, size_t *place, kind shape_kind, int layer, const char *prefix,
                      const char *name, size_t rows, size_t columns) {
    bft_param *param = &params->list[params->count++];
    bool vector = shape_kind == VECTOR || shape_kind == PACKED_VECTOR;
    bool packed = shape_kind == PACKED_MATRIX || shape_kind == PACKED_VECTOR;
    if (!packed) {
        params->size = (params->size + ALIGN_REALS - 1) / ALIGN_REALS * ALIGN_REALS;
    }
    *param = (bft_param){.dimensions = vector ? 1 : 2,
                         .shape = {rows, vector ? 1 : columns},
                         .count = rows * (vector ? 1 : columns),
                         .offset = params->size,
                         .decay = !vector,
                         .apart = params->apart && layer >= 0 && !vector,
                         .layer = layer};
    snprintf(param->name, sizeof param->name, "%s%s", prefix, name);
    params->size += param->apart ? 0 : param->count;
    if (place != NULL) {
        *place = param->offset;
    }
    return param;
}

static void add_linear(bft_params *params, bft_linear_place *place, int layer, const char *prefix, const char *name,
                       size_t out, size_t in) {
    char full[BFT_PARAM_NAME];
    snprintf(full, sizeof full, "%s.weight", name);
    add(params, &place->weight, MATRIX, layer, prefix, full, out, in);
    snprintf(full, sizeof full, "%s.bias", name);
    add(params, &place->bias, VECTOR, layer, prefix, full, out, 1);
}

static void add_norm(bft_params *params, bft_norm_place *place, int layer, const char *prefix, const char *name,
                     size_t channels) {
    char full[BFT_PARAM_NAME];
    snprintf(full, sizeof full, "%s.weight", name);
    add(params, &place->gamma, VECTOR, layer, prefix, full, channels, 1);
    snprintf(full, sizeof full, "%s.bias", name);
    add(params, &place->beta, VECTOR, layer, prefix, full, channels, 1);
}

/* Query, key and value: three tensors in the file, one matrix and one vector to the kernels. */
static void add_qkv(bft_params *params, bft_linear_place *place, int layer, const char *prefix,
                    const char *const names[3], size_t channels) {
    char full[BFT_PARAM_NAME];
    for (int i = 0; i < 3; i++) {
        snprintf(full, sizeof full, "%s.weight", names[i]);
        add(params, i == 0 ? &place->weight : NULL, i == 0 ? MATRIX : PACKED_MATRIX, layer, prefix, full, channels,
            channels);
    }
    for (int i = 0; i < 3; i++) {
        snprintf(full, sizeof full, "%s.bias", names[i]);
        add(params, i == 0 ? &place->bias : NULL, i == 0 ? VECTOR : PACKED_VECTOR, layer, prefix, full, channels, 1);
    }
}

/* What the two architectures call the parts of a layer. */
typedef struct layer_names {
    const char *encoder, *layer;
    const char *qkv[3];
    const char *attention_out, *attention_norm, *up, *down, *output_norm;
} layer_names;

static const layer_names bert_names = {
    "bert.",
    "encoder.layer",
    {"attention.self.query", "attention.self.key", "attention.self.value"},
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
};

static const layer_names distilbert_names = {
    "distilbert.",       "transformer.layer", {"attention.q_lin", "attention.k_lin", "attention.v_lin"},
    "attention.out_lin", "sa_layer_norm",     "ffn.lin1",
    "ffn.lin2",          "output_layer_norm",
};

static void add_layer(bft_params *params, const layer_names *names, const bft_model_config *config, int layer) {
    bft_layer_places *places = &params->layers[layer];
    size_t channels = config->channels, feed_forward = config->feed_forward;
    char prefix[BFT_PARAM_NAME / 2];
    snprintf(prefix, sizeof prefix, "%s%s.%d.", names->encoder, names->layer, layer);
    add_qkv(params, &places->qkv, layer, prefix, names->qkv, channels);
    places->q = places->qkv;
    places->kv =
        (bft_linear_place){.weight = places->qkv.weight + channels * channels, .bias = places->qkv.bias + channels};
    add_linear(params, &places->attention_out, layer, prefix, names->attention_out, channels, channels);
    add_norm(params, &places->attention_norm, layer, prefix, names->attention_norm, channels);
    add_linear(params, &places->up, layer, prefix, names->up, feed_forward, channels);
    add_linear(params, &places->down, layer, prefix, names->down, channels, feed_forward);
    add_norm(params, &places->output_norm, layer, prefix, names->output_norm, channels);
}

static void add_embeddings(bft_params *params, const char *encoder, const bft_model_config *config, bool sparse) {
    size_t channels = config->channels;
    char prefix[BFT_PARAM_NAME / 2];
    snprintf(prefix, sizeof prefix, "%sembeddings.", encoder);
    size_t before = params->size;
    add(params, &params->words, MATRIX, BFT_LAYER_EMBEDDINGS, prefix, "word_embeddings.weight", config->vocabulary,
        channels)
        ->sparse = sparse;
    params->size = sparse ? before : params->size; /* a sparse table has a place of its own */
    add(params, &params->positions, MATRIX, BFT_LAYER_EMBEDDINGS, prefix, "position_embeddings.weight",
        config->positions, channels);
    params->has_types = config->types > 0;
    if (params->has_types) {
        add(params, &params->types, MATRIX, BFT_LAYER_EMBEDDINGS, prefix, "token_type_embeddings.weight", config->types,
            channels);
    }
    add_norm(params, &params->embedding_norm, BFT_LAYER_EMBEDDINGS, prefix, "LayerNorm", channels);
}

/* BertLMPredictionHead; DistilBertForMaskedLM. */
static void add_masked_head(bft_params *params, const bft_model_config *config) {
    bool bert = config->architecture == BFT_BERT;
    const char *prefix = bert ? "cls.predictions." : "";
    size_t channels = config->channels;
    add_linear(params, &params->transform, BFT_LAYER_HEAD, prefix, bert ? "transform.dense" : "vocab_transform",
               channels, channels);
    add_norm(params, &params->transform_norm, BFT_LAYER_HEAD, prefix, bert ? "transform.LayerNorm" : "vocab_layer_norm",
             channels);
    add(params, &params->decoder_bias, VECTOR, BFT_LAYER_HEAD, prefix, bert ? "bias" : "vocab_projector.bias",
        config->vocabulary, 1);
}

bft_status bft_params_create(bft_error *err, bft_arena *arena, bft_params *params, const bft_model_config *config,
                             bft_head_tensors head, bool apart) {
    *params = (bft_params){.has_pooler = head.pooler, .apart = apart};
    bool bert = config->architecture == BFT_BERT;
    const layer_names *names = bert ? &bert_names : &distilbert_names;
    size_t layers = config->layers, channels = config->channels;
    BFT_TRY(BFT_NEW(err, arena, &params->list, OUTSIDE_LAYERS + PER_LAYER * layers));
    BFT_TRY(BFT_NEW(err, arena, &params->layers, layers));
    add_embeddings(params, names->encoder, config, !head.masked);
    for (size_t layer = 0; layer < layers; layer++) {
        add_layer(params, names, config, (int)layer);
    }
    if (head.pooler) {
        add_linear(params, &params->pooler, BFT_LAYER_HEAD, bert ? "bert." : "",
                   bert ? "pooler.dense" : "pre_classifier", channels, channels);
    }
    if (head.classes > 0) {
        add_linear(params, &params->classifier, BFT_LAYER_HEAD, "", "classifier", head.classes, channels);
    }
    if (head.masked) {
        add_masked_head(params, config);
    }
    params->size = (params->size + ALIGN_REALS - 1) / ALIGN_REALS * ALIGN_REALS;
    return BFT_OK;
}

bft_status bft_params_freeze(bft_error *err, bft_params *params, size_t layers, const char *what) {
    bool encoder = strcmp(what, "encoder") == 0, embeddings = encoder || strcmp(what, "embeddings") == 0;
    char *end = NULL;
    unsigned long number = strtoul(what, &end, 10);
    bool one = !embeddings && what[0] >= '0' && what[0] <= '9' && *end == '\0';
    if (!embeddings && (!one || number >= layers)) {
        return bft_error_set(err, BFT_BAD,
                             "TRAIN.FREEZE: \"%s\" is none of embeddings, encoder, or a layer from 0 to %zu", what,
                             layers - 1);
    }
    params->embeddings_frozen |= embeddings;
    for (size_t layer = 0; layer < layers; layer++) {
        params->layers[layer].frozen |= encoder || (one && layer == number);
    }
    for (size_t i = 0; i < params->count; i++) {
        bft_param *param = &params->list[i];
        if (param->layer == BFT_LAYER_EMBEDDINGS) {
            param->frozen = params->embeddings_frozen;
        } else if (param->layer >= 0) {
            param->frozen = params->layers[param->layer].frozen;
        }
    }
    return BFT_OK;
}
