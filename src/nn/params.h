/* params.h: the one list of a network's tensors. Loading, saving, initialisation, the optimizer and the tests walk it.
 *
 * Dense parameters live in one block of reals; gradients and moments are blocks of the same layout. The places that the
 * encoder asks for by name are offsets into that block. Query, key and value lie behind one another, so that one
 * product computes all three: their weights are one (3C, C) matrix, their biases one (3C) vector. */
#ifndef BFT_NN_PARAMS_H
#define BFT_NN_PARAMS_H

#include "bertft/model.h"
#include "base/arena.h"

enum { BFT_PARAM_NAME = 96, BFT_LAYER_EMBEDDINGS = -1, BFT_LAYER_HEAD = -2 };

typedef struct bft_param {
    char name[BFT_PARAM_NAME]; /* as Hugging Face writes it, with the "bert." or "distilbert." of the encoder */
    size_t dimensions, shape[2], count;
    size_t offset; /* in reals, in the dense block; the word embeddings, which are sparse, aren't in it */
    bool
        sparse; /* the word embeddings where nothing but the batch's words asks for them: rows that are rarely touched */
    bool decay;  /* takes weight decay: not biases, not LayerNorm */
    bool frozen; /* gets neither gradient nor update */
    bool apart;  /* a layer's matrix that the backend has in a form of its own: not in the dense block */
    int layer;   /* 0 .. L-1, BFT_LAYER_EMBEDDINGS or BFT_LAYER_HEAD */
} bft_param;

typedef struct bft_norm_place {
    size_t gamma, beta; /* (C) */
} bft_norm_place;

typedef struct bft_linear_place {
    size_t weight, bias; /* (out, in), (out) */
    bft_form form;
    void *prepared; /* the weight, where its form isn't plain (nn/prepared.h) */
} bft_linear_place;

typedef struct bft_layer_places {
    bft_linear_place qkv;           /* (3C, C), (3C) */
    bft_linear_place q, kv;         /* its parts, for a layer that asks with its first rows only */
    bft_linear_place attention_out; /* (C, C) */
    bft_norm_place attention_norm;
    bft_linear_place up, down; /* (F, C), (C, F) */
    bft_norm_place output_norm;
    bool frozen;
} bft_layer_places;

/* Which tensors of a head there are. */
typedef struct bft_head_tensors {
    bool pooler;
    size_t classes; /* 0: no classifier */
    bool masked;    /* those of a masked language model, whose decoder is the word table */
} bft_head_tensors;

typedef struct bft_params {
    size_t count;
    bft_param *list;
    size_t size;             /* reals in the dense block */
    size_t words;            /* (V, C), where it is no sparse tensor */
    size_t positions, types; /* (P, C); (types, C), not there for DistilBERT */
    bft_norm_place embedding_norm;
    bft_layer_places *layers;    /* (L) */
    bft_linear_place pooler;     /* (C, C): BERT's pooler, DistilBERT's pre_classifier */
    bft_linear_place classifier; /* (K, C) */
    bft_linear_place transform;  /* (C, C) what a masked language model does to a row before the decoder, */
    bft_norm_place transform_norm;
    size_t decoder_bias; /* (V) and what it adds behind it */
    bool has_types, has_pooler;
    bool embeddings_frozen;
    bool apart; /* the layers' matrices are not in the block */
} bft_params;

/* The list for an encoder with this configuration. With a masked language model's head the word table is an ordinary tensor of the
 * dense block: its decoder gives every row a gradient. */
bft_status bft_params_create(bft_error *err, bft_arena *arena, bft_params *params, const bft_model_config *config,
                             bft_head_tensors head, bool apart);

/* Freezes what TRAIN.FREEZE names: "embeddings", "encoder" (embeddings and all layers), or a layer's number. */
bft_status bft_params_freeze(bft_error *err, bft_params *params, size_t layers, const char *what);

#endif
