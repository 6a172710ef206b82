/* mean.cu: the mean of each sequence's rows: a block a sequence, a thread a channel. */
#include "kernels/cuda/device.cuh"

enum { MEAN_THREADS = 128 };

__global__ void mean_rows(const float *x, const uint32_t *start, float *y, size_t channels) {
    uint32_t first = start[blockIdx.x], last = start[blockIdx.x + 1];
    for (size_t c = threadIdx.x; c < channels; c += blockDim.x) {
        float sum = 0;
        for (size_t r = first; r < last; r++) {
            sum += x[r * channels + c];
        }
        y[blockIdx.x * channels + c] = sum / (float)(last - first);
    }
}

__global__ void spread_rows(const float *dy, const uint32_t *start, float *dx, size_t channels) {
    uint32_t first = start[blockIdx.x], last = start[blockIdx.x + 1];
    for (size_t c = threadIdx.x; c < channels; c += blockDim.x) {
        float share = dy[blockIdx.x * channels + c] / (float)(last - first);
        for (size_t r = first; r < last; r++) {
            dx[r * channels + c] = share;
        }
    }
}

template <typename T> void bft_cuda<T>::mean_forward(bft_device *device, const bft_mean *op) {
    const uint32_t *start = mirror_rows(device, op->start, op->batch + 1);
    if (op->batch > 0 && healthy(device)) {
        LAUNCH(device, mean_rows, dim3((unsigned)op->batch), MEAN_THREADS, 0, static_cast<const float *>(op->x), start,
               static_cast<float *>(op->y), op->channels);
    }
}

template <typename T> void bft_cuda<T>::mean_backward(bft_device *device, const bft_mean *op) {
    const uint32_t *start = mirror_rows(device, op->start, op->batch + 1);
    if (op->batch > 0 && healthy(device)) {
        LAUNCH(device, spread_rows, dim3((unsigned)op->batch), MEAN_THREADS, 0, static_cast<const float *>(op->dy),
               start, static_cast<float *>(op->dx), op->channels);
    }
}

FOR_ALL_VALUES(mean_forward, bft_device *device, const bft_mean *op)
FOR_ALL_VALUES(mean_backward, bft_device *device, const bft_mean *op)
