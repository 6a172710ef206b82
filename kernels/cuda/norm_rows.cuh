/* norm_rows.cuh: LayerNorm of one row by one warp, for embed and residual_norm. The backward needs the rows before gamma and
 * beta, and 1 / sigma: `normal` (rows, C) and `scale` (rows) in `saved`. */
#ifndef BFT_KERNELS_CUDA_NORM_ROWS_CUH
#define BFT_KERNELS_CUDA_NORM_ROWS_CUH

#include "kernels/cuda/columns.cuh"

enum { ROW_WARPS = 4, ROW_THREADS = ROW_WARPS * WARP_SIZE };

static inline size_t norm_saved_floats(size_t rows, size_t channels) {
    return rows * channels + rows;
}

/* The row that this thread's warp works on; `rows` and beyond: none. */
__device__ __forceinline__ size_t warp_row() {
    return (size_t)blockIdx.x * ROW_WARPS + threadIdx.x / WARP_SIZE;
}

/* y holds the row that goes in and gets the one that comes out, before dropout. normal and scale may be NULL. */
__device__ __forceinline__ void normalize_row(float *y, const float *gamma, const float *beta, size_t channels,
                                              float eps, float *normal, float *scale) {
    size_t lane = threadIdx.x % WARP_SIZE;
    float sum = 0, squares = 0;
    for (size_t c = lane; c < channels; c += WARP_SIZE) {
        sum += y[c];
    }
    float mean = warp_sum(sum) / (float)channels;
    for (size_t c = lane; c < channels; c += WARP_SIZE) {
        float off = y[c] - mean;
        squares += off * off;
    }
    float inverse = 1.0f / sqrtf(warp_sum(squares) / (float)channels + eps);
    for (size_t c = lane; c < channels; c += WARP_SIZE) {
        float x = (y[c] - mean) * inverse;
        if (normal != NULL) {
            normal[c] = x;
        }
        y[c] = x * gamma[c] + beta[c];
    }
    if (scale != NULL && lane == 0) {
        *scale = inverse;
    }
}

/* d holds the gradient of the row that came out and gets that of the row that went in:
 * (g - mean(g) - normal mean(g normal)) / sigma, with g = d gamma. */
__device__ __forceinline__ void normalize_row_backward(float *d, const float *gamma, const float *normal, float scale,
                                                       size_t channels) {
    size_t lane = threadIdx.x % WARP_SIZE;
    float sum = 0, product = 0;
    for (size_t c = lane; c < channels; c += WARP_SIZE) {
        float g = d[c] * gamma[c];
        sum += g;
        product += g * normal[c];
    }
    float mean = warp_sum(sum) / (float)channels, along = warp_sum(product) / (float)channels;
    for (size_t c = lane; c < channels; c += WARP_SIZE) {
        d[c] = (d[c] * gamma[c] - mean - normal[c] * along) * scale;
    }
}

#endif
