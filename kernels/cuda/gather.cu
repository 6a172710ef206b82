/* gather.cu: rows by index, and back, a warp a row; A is the type of their elements. */
#include "kernels/cuda/wide.cuh"

/* From the last row to `rows`: zeros. */
template <int WIDTH, typename A>
__global__ void gather_rows(const A *x, const uint32_t *index, A *y, const uint32_t *count, size_t rows,
                            size_t channels) {
    size_t row = warp_row();
    if (row >= *count) {
        if (row < rows) {
            zero_row<WIDTH>(y + row * channels, channels);
        }
        return;
    }
    const A *from = x + index[row] * channels;
    for (size_t c = first_channel<WIDTH>(); c < channels; c += CHANNEL_STEP<WIDTH>) {
        float v[WIDTH];
        load(from + c, v);
        store(y + row * channels + c, v);
    }
}

/* An index occurs once: no two warps add to one row. */
template <int WIDTH, typename A>
__global__ void add_rows(const A *dy, const uint32_t *index, A *dx, const uint32_t *count, size_t channels) {
    size_t row = warp_row();
    if (row >= *count) {
        return;
    }
    A *to = dx + index[row] * channels;
    for (size_t c = first_channel<WIDTH>(); c < channels; c += CHANNEL_STEP<WIDTH>) {
        float v[WIDTH], d[WIDTH];
        load(to + c, v);
        load(dy + row * channels + c, d);
        for (int i = 0; i < WIDTH; i++) {
            v[i] += d[i];
        }
        store(to + c, v);
    }
}

template <int WIDTH, typename A> static void start_forward(bft_device *device, const bft_gather *op) {
    const uint32_t *index = mirror_rows(device, op->index, op->rows);
    const uint32_t *count = mirror_value(device, static_cast<uint32_t>(op->rows));
    size_t rows = bft_padded(op->rows), zeroed = op->real ? 0 : rows; /* reals are rows of words: not padded */
    if (healthy(device)) {
        LAUNCH(device, (gather_rows<WIDTH, A>), blocks_for(rows, ROW_WARPS), ROW_THREADS, 0,
               static_cast<const A *>(op->x), index, static_cast<A *>(op->y), count, zeroed, op->channels);
    }
}

template <int WIDTH, typename A> static void start_backward(bft_device *device, const bft_gather *op) {
    const uint32_t *index = mirror_rows(device, op->index, op->rows);
    const uint32_t *count = mirror_value(device, static_cast<uint32_t>(op->rows));
    if (healthy(device)) {
        LAUNCH(device, (add_rows<WIDTH, A>), blocks_for(bft_padded(op->rows), ROW_WARPS), ROW_THREADS, 0,
               static_cast<const A *>(op->dy), index, static_cast<A *>(op->dx), count, op->channels);
    }
}

template <typename A> static void forward(bft_device *device, const bft_gather *op) {
    by_four(op->channels, {op->x, op->y}) ? start_forward<4, A>(device, op) : start_forward<1, A>(device, op);
}

template <typename A> static void backward(bft_device *device, const bft_gather *op) {
    by_four(op->channels, {op->dy, op->dx}) ? start_backward<4, A>(device, op) : start_backward<1, A>(device, op);
}

template <typename T> void bft_cuda<T>::gather_forward(bft_device *device, const bft_gather *op) {
    if (op->rows > 0) {
        op->real ? forward<float>(device, op) : forward<T>(device, op);
    }
}

template <typename T> void bft_cuda<T>::gather_backward(bft_device *device, const bft_gather *op) {
    if (op->rows > 0) {
        op->real ? backward<float>(device, op) : backward<T>(device, op);
    }
}

FOR_ALL_VALUES(gather_forward, bft_device *device, const bft_gather *op)
FOR_ALL_VALUES(gather_backward, bft_device *device, const bft_gather *op)
