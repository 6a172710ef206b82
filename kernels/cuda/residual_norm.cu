/* residual_norm.cu: LayerNorm(dropout(x) + residual), a warp a row. */
#include "kernels/cuda/norm_rows.cuh"

__global__ void __launch_bounds__(ROW_THREADS)
    residual_norm_rows(const float *x, const float *residual, const float *gamma, const float *beta, float *y,
                       size_t rows, size_t channels, float eps, dropout_key key, float *normal, float *scale) {
    size_t row = warp_row();
    if (row >= rows) {
        return;
    }
    size_t start = row * channels;
    for (size_t c = threadIdx.x % WARP_SIZE; c < channels; c += WARP_SIZE) {
        y[start + c] = x[start + c] * dropout_in_row(key, row, (uint32_t)c) + residual[start + c];
    }
    normalize_row(y + start, gamma, beta, channels, eps, normal != NULL ? normal + start : NULL,
                  scale != NULL ? scale + row : NULL);
}

/* dresidual = the sum's gradient, dx = the same through dropout. `d` may be dy's memory. */
__global__ void __launch_bounds__(ROW_THREADS)
    residual_norm_rows_backward(const float *dy, const float *gamma, const float *normal, const float *scale, float *d,
                                float *dx, float *dresidual, size_t rows, size_t channels, dropout_key key) {
    size_t row = warp_row();
    if (row >= rows) {
        return;
    }
    size_t start = row * channels, lane = threadIdx.x % WARP_SIZE;
    for (size_t c = lane; c < channels; c += WARP_SIZE) {
        d[start + c] = dy[start + c];
    }
    normalize_row_backward(d + start, gamma, normal + start, scale[row], channels);
    for (size_t c = lane; c < channels; c += WARP_SIZE) {
        float sum = d[start + c];
        dx[start + c] = sum * dropout_in_row(key, row, (uint32_t)c);
        dresidual[start + c] = sum;
    }
}

template <typename T> void bft_cuda<T>::residual_norm_memory(const bft_residual_norm *op, bft_memory *out) {
    out->saved = norm_saved_floats(op->rows, op->channels) * sizeof(float);
    out->scratch = (op->rows * op->channels + column_scratch(op->rows, op->channels)) * sizeof(float);
}

template <typename T> void bft_cuda<T>::residual_norm_forward(bft_device *device, const bft_residual_norm *op) {
    float *normal = static_cast<float *>(op->saved);
    float *scale = normal != NULL ? normal + op->rows * op->channels : NULL;
    dropout_key key = bft_dropout_key(device, &op->dropout, op->rows, true);
    if (op->rows == 0 || !healthy(device)) {
        return;
    }
    LAUNCH(device, residual_norm_rows, blocks_for(op->rows, ROW_WARPS), ROW_THREADS, 0,
           static_cast<const float *>(op->x), static_cast<const float *>(op->residual),
           static_cast<const float *>(op->gamma), static_cast<const float *>(op->beta), static_cast<float *>(op->y),
           op->rows, op->channels, op->eps, key, normal, scale);
}

template <typename T> void bft_cuda<T>::residual_norm_backward(bft_device *device, const bft_residual_norm *op) {
    const float *dy = static_cast<const float *>(op->dy), *normal = static_cast<const float *>(op->saved);
    float *d = static_cast<float *>(op->scratch), *partial = d + op->rows * op->channels;
    dropout_key key = bft_dropout_key(device, &op->dropout, op->rows, true);
    if (op->rows == 0 || !healthy(device)) {
        return;
    }
    bft_column_sums(device, dy, normal, op->rows, op->channels, partial, static_cast<float *>(op->dgamma));
    bft_column_sums(device, dy, NULL, op->rows, op->channels, partial, static_cast<float *>(op->dbeta));
    LAUNCH(device, residual_norm_rows_backward, blocks_for(op->rows, ROW_WARPS), ROW_THREADS, 0, dy,
           static_cast<const float *>(op->gamma), normal, normal + op->rows * op->channels, d,
           static_cast<float *>(op->dx), static_cast<float *>(op->dresidual), op->rows, op->channels, key);
}

FOR_ALL_VALUES(residual_norm_memory, const bft_residual_norm *op, bft_memory *out)
FOR_ALL_VALUES(residual_norm_forward, bft_device *device, const bft_residual_norm *op)
FOR_ALL_VALUES(residual_norm_backward, bft_device *device, const bft_residual_norm *op)
