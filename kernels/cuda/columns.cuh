/* columns.cuh: sums over the rows of a matrix, in an order that the number of rows alone decides: rows in chunks of
 * a fixed size, then the chunks. For biases, gamma and beta, and the type table. `rows` are padded ones: the tail
 * must be zero. */
#ifndef BFT_KERNELS_CUDA_COLUMNS_CUH
#define BFT_KERNELS_CUDA_COLUMNS_CUH

#include "kernels/cuda/device.cuh"

enum { CHUNK_ROWS = 64, COLUMN_WARPS = 8 };

static inline size_t column_chunks(size_t rows) {
    return (rows + CHUNK_ROWS - 1) / CHUNK_ROWS;
}

/* Floats of scratch for one sum. */
static inline size_t column_scratch(size_t rows, size_t columns) {
    return column_chunks(rows) * columns;
}

/* out[c] += sum over rows of a[r][c], values or reals; nothing where out is NULL. */
template <typename A>
void bft_column_sums(bft_device *device, const A *a, size_t rows, size_t columns, float *scratch, float *out);

/* Of LayerNorm, with d = dy through dropout: dgamma += sum over rows of d normal, dbeta += of d; either may be NULL.
 * Scratch for two sums. */
template <typename T>
void bft_norm_column_sums(bft_device *device, const T *dy, const T *normal, const dropout_key &key, size_t rows,
                          size_t columns, float *scratch, float *dgamma, float *dbeta);

/* The second pass by itself: out[c] += sum over the chunks of partial (chunks, columns). */
void bft_add_chunks(bft_device *device, const float *partial, size_t chunks, size_t columns, float *out);

#endif
