/* mask.cu: dropout by itself. */
#include "kernels/cuda/device.cuh"

enum { MASK_THREADS = 256 };

__global__ void mask_rows(const float *x, float *y, size_t rows, size_t channels, dropout_key key) {
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < rows * channels) {
        y[i] = x[i] * dropout_in_row(key, i / channels, (uint32_t)(i % channels));
    }
}

template <typename T> void bft_cuda<T>::mask(bft_device *device, const bft_mask *op) {
    dropout_key key = bft_dropout_key(device, &op->dropout, op->rows, true);
    size_t count = op->rows * op->channels;
    if (count > 0 && healthy(device)) {
        LAUNCH(device, mask_rows, blocks_for(count, MASK_THREADS), MASK_THREADS, 0, static_cast<const float *>(op->x),
               static_cast<float *>(op->y), op->rows, op->channels, key);
    }
}

FOR_ALL_VALUES(mask, bft_device *device, const bft_mask *op)
