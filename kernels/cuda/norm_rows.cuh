/* norm_rows.cuh: LayerNorm of one row by one warp, for embed and residual_norm. A row's floats lie in shared memory,
 * where each lane reads only what it wrote: so no barrier is needed, and values are rounded on their way out only. */
#ifndef BFT_KERNELS_CUDA_NORM_ROWS_CUH
#define BFT_KERNELS_CUDA_NORM_ROWS_CUH

#include "kernels/cuda/columns.cuh"
#include "kernels/cuda/wide.cuh"

/* ---- On the host ---- */

/* What the backward needs, in `saved`: 1 / sigma of each row, and the rows before gamma and beta. NULL: inference. */
template <typename T> struct norm_saved {
    float *scale; /* (rows) */
    T *normal;    /* (rows, C) */
};

static inline size_t norm_scale_bytes(size_t rows) {
    return (rows * sizeof(float) + 63) / 64 * 64;
}

template <typename T> static inline size_t norm_saved_bytes(size_t rows, size_t channels) {
    return norm_scale_bytes(rows) + rows * channels * sizeof(T);
}

template <typename T> static inline norm_saved<T> norm_saved_in(void *saved, size_t rows) {
    norm_saved<T> in = {};
    if (saved != NULL) {
        in.scale = static_cast<float *>(saved);
        in.normal = reinterpret_cast<T *>(static_cast<char *>(saved) + norm_scale_bytes(rows));
    }
    return in;
}

/* Warps of a block: its rows are at most the 48 KiB that any card has. */
static inline unsigned norm_warps(size_t channels) {
    return ROW_WARPS * channels * sizeof(float) <= 48 << 10 ? static_cast<unsigned>(ROW_WARPS) : 1;
}

static inline size_t norm_shared_bytes(size_t channels) {
    return norm_warps(channels) * channels * sizeof(float);
}

/* ---- On the device ---- */

/* This warp's row in shared memory. */
__device__ __forceinline__ float *row_in(float *shared, size_t channels) {
    return shared + threadIdx.x / WARP_SIZE * channels;
}

/* A row behind the last: zeros, and zeros for the backward. */
template <int WIDTH, typename T>
__device__ __forceinline__ void normalize_nothing(size_t row, size_t channels, const norm_saved<T> &saved, T *y) {
    zero_row<WIDTH>(y + row * channels, channels);
    if (saved.normal != NULL) {
        zero_row<WIDTH>(saved.normal + row * channels, channels);
        saved.scale[row] = 0;
    }
}

/* y's row = dropout(LayerNorm(x) gamma + beta), x in shared memory. */
template <int WIDTH, typename T>
__device__ __forceinline__ void normalize_row(float *x, size_t row, const float *gamma, const float *beta,
                                              size_t channels, float eps, const dropout_key &key,
                                              const norm_saved<T> &saved, T *y) {
    float sum = 0, squares = 0, v[WIDTH], g[WIDTH], b[WIDTH];
    size_t first = first_channel<WIDTH>(), start = row * channels;
    for (size_t c = first; c < channels; c += CHANNEL_STEP<WIDTH>) {
        load(x + c, v);
        for (int i = 0; i < WIDTH; i++) {
            sum += v[i];
        }
    }
    float mean = lanes_sum(sum) / (float)channels;
    for (size_t c = first; c < channels; c += CHANNEL_STEP<WIDTH>) {
        load(x + c, v);
        for (int i = 0; i < WIDTH; i++) {
            squares += (v[i] - mean) * (v[i] - mean);
        }
    }
    float inverse = 1.0f / sqrtf(lanes_sum(squares) / (float)channels + eps);
    for (size_t c = first; c < channels; c += CHANNEL_STEP<WIDTH>) {
        load(x + c, v);
        for (int i = 0; i < WIDTH; i++) {
            v[i] = (v[i] - mean) * inverse;
        }
        if (saved.normal != NULL) {
            store(saved.normal + start + c, v);
        }
        load(gamma + c, g);
        load(beta + c, b);
        for (int i = 0; i < WIDTH; i++) {
            v[i] = v[i] * g[i] + b[i];
        }
        drop(key, row, c, v);
        store(y + start + c, v);
    }
    if (saved.scale != NULL && first == 0) {
        saved.scale[row] = inverse;
    }
}

/* The gradient of the row that went in is (g - mean(g) - normal mean(g normal)) / sigma, g = dropout(dy) gamma. */
struct norm_slope {
    float mean, along, scale;
};

/* Leaves g in shared memory. */
template <int WIDTH, typename T>
__device__ __forceinline__ norm_slope slope_of_row(const T *dy, size_t row, const float *gamma, size_t channels,
                                                   const dropout_key &key, const norm_saved<T> &saved, float *g) {
    float sum = 0, product = 0, d[WIDTH], n[WIDTH], w[WIDTH];
    size_t start = row * channels;
    for (size_t c = first_channel<WIDTH>(); c < channels; c += CHANNEL_STEP<WIDTH>) {
        load(dy + start + c, d);
        load(saved.normal + start + c, n);
        load(gamma + c, w);
        drop(key, row, c, d);
        for (int i = 0; i < WIDTH; i++) {
            d[i] *= w[i];
            sum += d[i];
            product += d[i] * n[i];
        }
        store(g + c, d);
    }
    norm_slope slope = {lanes_sum(sum) / (float)channels, lanes_sum(product) / (float)channels, saved.scale[row]};
    return slope;
}

/* The gradient itself, at one place of the row. */
template <int WIDTH, typename T>
__device__ __forceinline__ void norm_gradient(const float *g, const T *normal, const norm_slope &slope,
                                              float (&d)[WIDTH]) {
    float n[WIDTH];
    load(g, d);
    load(normal, n);
    for (int i = 0; i < WIDTH; i++) {
        d[i] = (d[i] - slope.mean - n[i] * slope.along) * slope.scale;
    }
}

#endif
