/* weights.h: named tensors in files that we didn't write, and writing ours.
 *
 * Reads model.safetensors (F32, F16, BF16), sharded safetensors with model.safetensors.index.json, and pytorch_model.bin in the zip
 * and the legacy format. A PyTorch pickle is data: an allow-list of opcodes and globals is interpreted, nothing is
 * ever called. Every offset and size is checked against the file before it is used. */
#ifndef BERTFT_WEIGHTS_H
#define BERTFT_WEIGHTS_H

#include "bertft/error.h"
#include "kernels/ops.h" /* bft_dtype */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BFT_MAX_DIMENSIONS = 8 };

typedef struct bft_tensor {
    const char *name;
    bft_dtype dtype;
    size_t dimensions, shape[BFT_MAX_DIMENSIONS], count; /* count: product of the shape */
    const void
        *data; /* contiguous, row-major; NULL for a tensor of another type than F32, F16, BF16 (ids, masks, doubles) */
    bool mapped; /* data points into the mapped file: costs no memory until read; else the file's owner holds a copy */
    const char *file; /* the path it came from, for error lines */
} bft_tensor;

typedef struct bft_weights bft_weights;

/* `path`: a model folder (model.safetensors, its index, or pytorch_model.bin, in this order), or one such file. */
bft_status bft_weights_open(bft_error *err, bft_weights **out, const char *path);
void bft_weights_close(bft_weights *weights); /* NULL is fine */

size_t bft_weights_count(const bft_weights *weights);
const bft_tensor *bft_weights_at(const bft_weights *weights, size_t index);       /* in the file's order */
const bft_tensor *bft_weights_find(const bft_weights *weights, const char *name); /* NULL: there is none */

/* All values of a tensor that has data, as floats into out (count). */
void bft_tensor_to_float(const bft_tensor *tensor, float *out);

/* Tells the system that values [first, first + count) of a mapped tensor, once read, won't be needed for a while: their
 * pages no longer count as this process's memory. Reading them again is right, and slower. */
void bft_tensor_release(const bft_tensor *tensor, size_t first, size_t count);

/* Fails where a mapped file has shrunk since. Called before bulk reads. */
bft_status bft_weights_check(bft_error *err, const bft_weights *weights);

/* ---- Writing model.safetensors: tensors are announced, then their bytes come in the same order. One type throughout, BFT_F32 or
 * BFT_BF16, to which values are rounded, ties to even; nothing but names, shapes and values goes into the file, so equal weights give
 * equal bytes. ---- */
typedef struct bft_safetensors_writer bft_safetensors_writer;

bft_status bft_safetensors_create(bft_error *err, bft_safetensors_writer **out, const char *path, bft_dtype dtype);
bft_status bft_safetensors_declare(bft_error *err, bft_safetensors_writer *writer, const char *name, size_t dimensions,
                                   const size_t *shape);
/* Values of the declared tensors, in their order, in pieces of any size. The first call ends the declarations. */
bft_status bft_safetensors_write(bft_error *err, bft_safetensors_writer *writer, const float *values, size_t count);
bft_status bft_safetensors_commit(bft_error *err, bft_safetensors_writer *writer); /* renamed into place; frees */
void bft_safetensors_discard(bft_safetensors_writer *writer);                      /* NULL is fine */

/* ---- config.json ---- */
typedef enum bft_architecture { BFT_BERT, BFT_DISTILBERT } bft_architecture;
typedef enum bft_problem { BFT_PROBLEM_NONE, BFT_SINGLE_LABEL, BFT_MULTI_LABEL, BFT_REGRESSION } bft_problem;

typedef struct bft_model_config {
    bft_architecture architecture;
    size_t layers, channels, heads, feed_forward, vocabulary, positions, types; /* types: 0 for DistilBERT */
    float layer_norm_eps;
    float hidden_dropout, attention_dropout, classifier_dropout;
    size_t classes;  /* length of id2label, or num_labels; 2 where neither stands (transformers' default) */
    char **labels;   /* (classes) names by id; LABEL_0.. where the file has none */
    bool has_labels; /* id2label stood in the file */
    bft_problem problem;
    const char *head; /* "linear", "mean" or "pooler" when a run of ours wrote it, else NULL */
    bool masked;      /* a masked language model, by its `architectures`; written, it has no labels */
    /* "TokenClassification" and its like, where `architectures` says that the folder's classifier isn't one of texts;
     * else NULL */
    const char *other_task;
} bft_model_config;

/* Reads FOLDER/config.json. Fields that we don't support (relative positions, another activation, decoders) are refused by name; an
 * old file without model_type is BERT's when it has BERT's keys. Labels are allocated in the config's own block. */
bft_status bft_model_config_read(bft_error *err, bft_model_config *out, const char *folder);
void bft_model_config_free(bft_model_config *config);

/* Writes FOLDER/config.json so that transformers' AutoModelForSequenceClassification, or AutoModelForMaskedLM, reads it. */
bft_status bft_model_config_write(bft_error *err, const bft_model_config *config, const char *folder);

#endif
