/* gather.cu: rows by index, and back. */
#include "kernels/cuda/device.cuh"

enum { GATHER_THREADS = 256 };

__global__ void gather_rows(const float *x, const uint32_t *index, float *y, size_t rows, size_t channels) {
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < rows * channels) {
        y[i] = x[index[i / channels] * channels + i % channels];
    }
}

/* An index occurs once: no two threads add to one element. */
__global__ void add_rows(const float *dy, const uint32_t *index, float *dx, size_t rows, size_t channels) {
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < rows * channels) {
        dx[index[i / channels] * channels + i % channels] += dy[i];
    }
}

template <typename T> void bft_cuda<T>::gather_forward(bft_device *device, const bft_gather *op) {
    const uint32_t *index = mirror_rows(device, op->index, op->rows);
    size_t count = op->rows * op->channels;
    if (count > 0 && healthy(device)) {
        LAUNCH(device, gather_rows, blocks_for(count, GATHER_THREADS), GATHER_THREADS, 0,
               static_cast<const float *>(op->x), index, static_cast<float *>(op->y), op->rows, op->channels);
    }
}

template <typename T> void bft_cuda<T>::gather_backward(bft_device *device, const bft_gather *op) {
    const uint32_t *index = mirror_rows(device, op->index, op->rows);
    size_t count = op->rows * op->channels;
    if (count > 0 && healthy(device)) {
        LAUNCH(device, add_rows, blocks_for(count, GATHER_THREADS), GATHER_THREADS, 0,
               static_cast<const float *>(op->dy), index, static_cast<float *>(op->dx), op->rows, op->channels);
    }
}

FOR_ALL_VALUES(gather_forward, bft_device *device, const bft_gather *op)
FOR_ALL_VALUES(gather_backward, bft_device *device, const bft_gather *op)
