/* columns.cuh: sums over the rows of a matrix, in an order that the number of rows alone decides: rows in chunks of a fixed
 * size, then the chunks. For biases, gamma and beta, and the type table. */
#ifndef BFT_KERNELS_CUDA_COLUMNS_CUH
#define BFT_KERNELS_CUDA_COLUMNS_CUH

#include "kernels/cuda/device.cuh"

enum { CHUNK_ROWS = 64, COLUMN_THREADS = 128 };

static inline size_t column_chunks(size_t rows) {
    return (rows + CHUNK_ROWS - 1) / CHUNK_ROWS;
}

/* Floats of scratch for one call. */
static inline size_t column_scratch(size_t rows, size_t columns) {
    return column_chunks(rows) * columns;
}

/* out[c] += sum over rows of a[r][c], or of a[r][c] b[r][c] where b isn't NULL. */
void bft_column_sums(bft_device *device, const float *a, const float *b, size_t rows, size_t columns, float *scratch,
                     float *out);

#endif
