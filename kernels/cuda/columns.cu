/* columns.cu: two passes: each chunk of rows, then over the chunks. */
#include "kernels/cuda/columns.cuh"

__global__ void sum_chunks(const float *a, const float *b, size_t rows, size_t columns, float *partial) {
    size_t c = (size_t)blockIdx.x * blockDim.x + threadIdx.x, first = (size_t)blockIdx.y * CHUNK_ROWS;
    if (c >= columns) {
        return;
    }
    size_t last = first + CHUNK_ROWS < rows ? first + CHUNK_ROWS : rows;
    float sum = 0;
    for (size_t r = first; r < last; r++) {
        size_t at = r * columns + c;
        sum += b != NULL ? a[at] * b[at] : a[at];
    }
    partial[(size_t)blockIdx.y * columns + c] = sum;
}

__global__ void add_chunks(const float *partial, size_t chunks, size_t columns, float *out) {
    size_t c = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= columns) {
        return;
    }
    float sum = 0;
    for (size_t chunk = 0; chunk < chunks; chunk++) {
        sum += partial[chunk * columns + c];
    }
    out[c] += sum;
}

void bft_column_sums(bft_device *device, const float *a, const float *b, size_t rows, size_t columns, float *scratch,
                     float *out) {
    size_t chunks = column_chunks(rows);
    if (out == NULL || rows == 0 || !healthy(device)) {
        return;
    }
    dim3 grid = blocks_for(columns, COLUMN_THREADS);
    grid.y = (unsigned)chunks;
    LAUNCH(device, sum_chunks, grid, COLUMN_THREADS, 0, a, b, rows, columns, scratch);
    LAUNCH(device, add_chunks, blocks_for(columns, COLUMN_THREADS), COLUMN_THREADS, 0, scratch, chunks, columns, out);
}
