/* mask.cu: dropout by itself, a warp a row. A tail stays what it is: zero, or finite. */
#include "kernels/cuda/wide.cuh"

template <int WIDTH, typename T>
__global__ void mask_rows(const T *x, T *y, size_t rows, size_t channels, dropout_key key) {
    size_t row = warp_row(), start = row * channels;
    for (size_t c = first_channel<WIDTH>(); row < rows && c < channels; c += CHANNEL_STEP<WIDTH>) {
        float v[WIDTH];
        load(x + start + c, v);
        drop(key, row, c, v);
        store(y + start + c, v);
    }
}

template <int WIDTH, typename T> static void start(bft_device *device, const bft_mask *op, const dropout_key &key) {
    size_t rows = bft_padded(op->rows);
    LAUNCH(device, (mask_rows<WIDTH, T>), blocks_for(rows, ROW_WARPS), ROW_THREADS, 0, static_cast<const T *>(op->x),
           static_cast<T *>(op->y), rows, op->channels, key);
}

template <typename T> void bft_cuda<T>::mask(bft_device *device, const bft_mask *op) {
    dropout_key key = bft_dropout_key(device, &op->dropout, op->rows, true);
    if (op->rows > 0 && healthy(device)) {
        by_four(op->channels, {op->x, op->y}) ? start<4, T>(device, op, key) : start<1, T>(device, op, key);
    }
}

FOR_ALL_VALUES(mask, bft_device *device, const bft_mask *op)
