/* mean.cu: the mean of each sequence's rows: a block a sequence and a strip of columns, its warps share the rows. */
#include "kernels/cuda/wide.cuh"

enum { MEAN_WARPS = 8 };

/* A sequence behind the last has a mean of zero. */
template <int WIDTH, typename T>
__global__ void mean_rows(const T *x, const uint32_t *start, const uint32_t *count, T *y, size_t channels) {
    SHARED(float, room);
    size_t column = column_in<WIDTH>(blockIdx.y);
    bool real = blockIdx.x < *count;
    uint32_t first = real ? start[blockIdx.x] : 0, last = real ? start[blockIdx.x + 1] : 0;
    float sum[WIDTH] = {}, v[WIDTH];
    for (size_t row = first + threadIdx.y; row < last && column < channels; row += MEAN_WARPS) {
        load(x + row * channels + column, v);
        for (int i = 0; i < WIDTH; i++) {
            sum[i] += v[i];
        }
    }
    sum_warps(sum, room);
    if (threadIdx.y == 0 && column < channels) {
        for (int i = 0; real && i < WIDTH; i++) {
            sum[i] /= (float)(last - first);
        }
        store(y + blockIdx.x * channels + column, sum);
    }
}

/* The block behind the last sequence's has the rows behind the last, up to `rows`: zeros. */
template <int WIDTH, typename T>
__global__ void spread_rows(const T *dy, const uint32_t *start, const uint32_t *count, T *dx, size_t rows,
                            size_t channels) {
    size_t column = column_in<WIDTH>(blockIdx.y);
    bool real = blockIdx.x < *count;
    if (blockIdx.x > *count || column >= channels) {
        return;
    }
    size_t first = start[blockIdx.x], last = real ? start[blockIdx.x + 1] : rows;
    float share[WIDTH] = {};
    if (real) {
        load(dy + blockIdx.x * channels + column, share);
        for (int i = 0; i < WIDTH; i++) {
            share[i] /= (float)(last - first);
        }
    }
    for (size_t row = first + threadIdx.y; row < last; row += MEAN_WARPS) {
        store(dx + row * channels + column, share);
    }
}

static const uint32_t *mirror_start(bft_device *device, const bft_mean *op) {
    return static_cast<const uint32_t *>(bft_mirror_bytes(device, op->start, (op->batch + 1) * sizeof *op->start,
                                                          (bft_padded(op->batch) + 1) * sizeof *op->start));
}

template <int WIDTH, typename T> static void start_forward(bft_device *device, const bft_mean *op) {
    const uint32_t *start = mirror_start(device, op);
    const uint32_t *count = mirror_value(device, static_cast<uint32_t>(op->batch));
    dim3 grid(static_cast<unsigned>(bft_padded(op->batch)), strips_of(op->channels, WIDTH));
    if (healthy(device)) {
        LAUNCH(device, (mean_rows<WIDTH, T>), grid, dim3(WARP_SIZE, MEAN_WARPS), strip_bytes(WIDTH, MEAN_WARPS),
               static_cast<const T *>(op->x), start, count, static_cast<T *>(op->y), op->channels);
    }
}

template <int WIDTH, typename T> static void start_backward(bft_device *device, const bft_mean *op) {
    const uint32_t *start = mirror_start(device, op);
    const uint32_t *count = mirror_value(device, static_cast<uint32_t>(op->batch));
    dim3 grid(static_cast<unsigned>(bft_padded(op->batch) + 1), strips_of(op->channels, WIDTH));
    if (healthy(device)) {
        LAUNCH(device, (spread_rows<WIDTH, T>), grid, dim3(WARP_SIZE, MEAN_WARPS), 0, static_cast<const T *>(op->dy),
               start, count, static_cast<T *>(op->dx), bft_padded(op->start[op->batch]), op->channels);
    }
}

template <typename T> void bft_cuda<T>::mean_forward(bft_device *device, const bft_mean *op) {
    if (op->batch > 0) {
        by_four(op->channels, {op->x, op->y}) ? start_forward<4, T>(device, op) : start_forward<1, T>(device, op);
    }
}

template <typename T> void bft_cuda<T>::mean_backward(bft_device *device, const bft_mean *op) {
    if (op->batch > 0) {
        by_four(op->channels, {op->dy, op->dx}) ? start_backward<4, T>(device, op) : start_backward<1, T>(device, op);
    }
}

FOR_ALL_VALUES(mean_forward, bft_device *device, const bft_mean *op)
FOR_ALL_VALUES(mean_backward, bft_device *device, const bft_mean *op)
