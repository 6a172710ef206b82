/* residual_norm.cu: LayerNorm(dropout(x) + residual), a warp a row. */
#include "kernels/cuda/norm_rows.cuh"

template <int WIDTH, typename T>
__global__ void __launch_bounds__(ROW_THREADS)
    residual_norm_rows(const T *x, const T *residual, const float *gamma, const float *beta, T *y,
                       const uint32_t *count, size_t rows, size_t channels, float eps, dropout_key key,
                       norm_saved<T> saved) {
    SHARED(float, shared);
    size_t row = warp_row(), start = row * channels;
    if (row >= rows) {
        return;
    }
    if (row >= *count) {
        normalize_nothing<WIDTH>(row, channels, saved, y);
        return;
    }
    float *sum = row_in(shared, channels);
    for (size_t c = first_channel<WIDTH>(); c < channels; c += CHANNEL_STEP<WIDTH>) {
        float a[WIDTH], b[WIDTH] = {};
        load(x + start + c, a);
        if (residual != NULL) {
            load(residual + start + c, b);
        }
        drop(key, row, c, a);
        for (int i = 0; i < WIDTH; i++) {
            a[i] += b[i];
        }
        store(sum + c, a);
    }
    dropout_key none = {};
    normalize_row<WIDTH>(sum, row, gamma, beta, channels, eps, none, saved, y);
}

/* dresidual = the sum's gradient, dx = the same through dropout. dresidual may be dy's memory, or dx's. */
template <int WIDTH, typename T>
__global__ void __launch_bounds__(ROW_THREADS)
    residual_norm_rows_backward(const T *dy, const float *gamma, norm_saved<T> saved, T *dx, T *dresidual, size_t rows,
                                size_t channels, dropout_key key) {
    SHARED(float, shared);
    size_t row = warp_row(), start = row * channels;
    if (row >= rows) {
        return;
    }
    float *g = row_in(shared, channels), d[WIDTH];
    dropout_key none = {};
    norm_slope slope = slope_of_row<WIDTH>(dy, row, gamma, channels, none, saved, g);
    for (size_t c = first_channel<WIDTH>(); c < channels; c += CHANNEL_STEP<WIDTH>) {
        norm_gradient(g + c, saved.normal + start + c, slope, d);
        if (dresidual != NULL) {
            store(dresidual + start + c, d);
        }
        drop(key, row, c, d);
        store(dx + start + c, d);
    }
}

/* ---- Starting them ---- */

template <int WIDTH, typename T>
static void start_forward(bft_device *device, const bft_residual_norm *op, const dropout_key &key) {
    size_t rows = bft_padded(op->rows);
    unsigned warps = norm_warps(op->channels);
    LAUNCH(device, (residual_norm_rows<WIDTH, T>), blocks_for(rows, warps), warps * WARP_SIZE,
           norm_shared_bytes(op->channels), static_cast<const T *>(op->x), static_cast<const T *>(op->residual),
           static_cast<const float *>(op->gamma), static_cast<const float *>(op->beta), static_cast<T *>(op->y),
           mirror_value(device, static_cast<uint32_t>(op->rows)), rows, op->channels, op->eps, key,
           norm_saved_in<T>(op->saved, rows));
}

template <int WIDTH, typename T>
static void start_backward(bft_device *device, const bft_residual_norm *op, const dropout_key &key) {
    size_t rows = bft_padded(op->rows);
    unsigned warps = norm_warps(op->channels);
    LAUNCH(device, (residual_norm_rows_backward<WIDTH, T>), blocks_for(rows, warps), warps * WARP_SIZE,
           norm_shared_bytes(op->channels), static_cast<const T *>(op->dy), static_cast<const float *>(op->gamma),
           norm_saved_in<T>(op->saved, rows), static_cast<T *>(op->dx), static_cast<T *>(op->dresidual), rows,
           op->channels, key);
}

/* ---- The op ---- */

template <typename T> void bft_cuda<T>::residual_norm_memory(const bft_residual_norm *op, bft_memory *out) {
    size_t rows = bft_padded(op->rows);
    out->saved = norm_saved_bytes<T>(rows, op->channels);
    out->scratch = 2 * column_scratch(rows, op->channels) * sizeof(float);
}

template <typename T> void bft_cuda<T>::residual_norm_forward(bft_device *device, const bft_residual_norm *op) {
    dropout_key key = bft_dropout_key(device, &op->dropout, op->rows, true);
    if (op->rows == 0 || !healthy(device)) {
        return;
    }
    by_four(op->channels, {op->x, op->residual, op->gamma, op->beta, op->y, op->saved})
        ? start_forward<4, T>(device, op, key)
        : start_forward<1, T>(device, op, key);
}

template <typename T> void bft_cuda<T>::residual_norm_backward(bft_device *device, const bft_residual_norm *op) {
    const T *normal = norm_saved_in<T>(op->saved, bft_padded(op->rows)).normal;
    dropout_key key = bft_dropout_key(device, &op->dropout, op->rows, true), none = {};
    if (op->rows == 0 || !healthy(device)) {
        return;
    }
    bft_norm_column_sums(device, static_cast<const T *>(op->dy), normal, none, bft_padded(op->rows), op->channels,
                         static_cast<float *>(op->scratch), static_cast<float *>(op->dgamma),
                         static_cast<float *>(op->dbeta));
    by_four(op->channels, {op->dy, op->gamma, op->saved, op->dx, op->dresidual})
        ? start_backward<4, T>(device, op, key)
        : start_backward<1, T>(device, op, key);
}

FOR_ALL_VALUES(residual_norm_memory, const bft_residual_norm *op, bft_memory *out)
FOR_ALL_VALUES(residual_norm_forward, bft_device *device, const bft_residual_norm *op)
FOR_ALL_VALUES(residual_norm_backward, bft_device *device, const bft_residual_norm *op)
