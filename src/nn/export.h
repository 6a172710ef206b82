/* export.h: a model in the form of Hugging Face's sequence classifiers.
 *
 * Those classes put a C x C layer with an activation between the encoder's first row and the classifier. A `pooler`
 * head is just that. Our `linear` head has no such layer, so one is made that does nothing:
 *   BERT        pooler 2^-12 I, and a classifier times 2^12: tanh is nearly the identity near zero
 *   DistilBERT  pre_classifier I with bias c, and a classifier bias less W c, where c lies above the largest value that the
 *               last LayerNorm can give: ReLU is the identity there
 * A `mean` head has no such class. */
#ifndef BFT_NN_EXPORT_H
#define BFT_NN_EXPORT_H

#include "bertft/model.h"

/* Writes model.safetensors, in BFT_F32 or BFT_BF16, and config.json into `folder`; the caller writes the tokenizer's files. A masked
 * language model is written as it is. */
bft_status bft_model_export(bft_error *err, const bft_model *model, bft_dtype dtype, const char *folder);

/* How far the exported head's logits lie from the model's own on these first rows, (count, C): the largest absolute difference,
 * with the exported head computed in float, and rounded to half precision at every step. 0 for a pooler head. */
typedef struct bft_export_error {
    double single, half;
} bft_export_error;
bft_status bft_model_export_error(bft_error *err, const bft_model *model, const float *rows, size_t count,
                                  bft_export_error *out);

#endif
