/* prepared.h: the layers' matrices in a form for inference: all in fp32, laid out for the product; int8, with those that int8 hurts
 * in bfloat16; or all in bfloat16.
 *
 * What was prepared in fewer bits is kept in a cache beside the model's file, as the kernels read it: the next start maps it, and reads
 * none of the matrices themselves. A small model is prepared faster than a file is written. */
#ifndef BFT_NN_PREPARED_H
#define BFT_NN_PREPARED_H

#include "bertft/model.h"
#include "base/cache.h"

typedef struct bft_prepared {
    char *source; /* the file that the weights are read from; NULL: no cache */
    bft_cache_key key;
    bft_cache cache;
    void *block; /* the matrices, where they aren't in a cache */
} bft_prepared;

/* Before the folder's weights are opened: which state of its file a cache is for. */
bft_status bft_prepared_begin(bft_error *err, bft_prepared *prepared, const char *folder);

/* Prepares the matrices of a model whose dense block is complete, and sets their places in its params. tensors[i] is where
 * parameter i comes from. */
bft_status bft_prepared_load(bft_error *err, bft_model *model, const bft_tensor *const *tensors);
void bft_prepared_free(bft_model *model); /* also where nothing was begun */

/* Evens out the channels between a LayerNorm (gamma and beta, of `in` values) and the matrix (out, in) that reads from it: a
 * token is rounded by one step, so that a channel that is larger than the others takes the precision from all of them.
 * gains_i = sqrt(size of weight's column i / size of x_i), by which x_i gets multiplied and column i divided, makes both as
 * uneven as the other: SmoothQuant (Xiao et al., 2022) with alpha 1/2, but with |beta| + 3 |gamma| for x's size in place of
 * data. Divides the weight, and writes the gains and the second moments of x gains. */
void bft_prepared_even(float *weight, const float *gamma, const float *beta, size_t out, size_t in, float *gains,
                       float *moments);

/* The error of a matrix in int8: the expected square of what rounding adds to an output, as a share of the output's, for
 * inputs with these second moments (in), or all the same where NULL. */
double bft_prepared_error(const float *weight, const float *moments, size_t out, size_t in);

#endif
