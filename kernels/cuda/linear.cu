/* linear.cu: the product by the library, then bias and activation in one pass of ours. */
#include "kernels/cuda/columns.cuh"

enum { ELEMENT_THREADS = 256 };

__device__ __forceinline__ float activate(bft_activation activation, float x) {
    switch (activation) {
    case BFT_GELU:
        return 0.5f * x * (1 + erff(x * 0.70710678118654752f));
    case BFT_TANH:
        return tanhf(x);
    case BFT_RELU:
        return x > 0 ? x : 0;
    default:
        return x;
    }
}

__device__ __forceinline__ float slope(bft_activation activation, float x) {
    float t;
    switch (activation) {
    case BFT_GELU:
        return 0.5f * (1 + erff(x * 0.70710678118654752f)) + x * 0.39894228040143268f * expf(-0.5f * x * x);
    case BFT_TANH:
        t = tanhf(x);
        return 1 - t * t;
    case BFT_RELU:
        return x > 0 ? 1.0f : 0.0f;
    default:
        return 1;
    }
}

/* y += bias, then the activation; `before` keeps what went into it. */
__global__ void bias_activation(float *y, const float *bias, float *before, size_t count, size_t out,
                                bft_activation activation) {
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) {
        return;
    }
    float x = bias != NULL ? y[i] + bias[i % out] : y[i];
    if (before != NULL) {
        before[i] = x;
    }
    y[i] = activate(activation, x);
}

__global__ void activation_backward(const float *dy, const float *before, float *d, size_t count,
                                    bft_activation activation) {
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        d[i] = dy[i] * slope(activation, before[i]);
    }
}

template <typename T> void bft_cuda<T>::linear_memory(const bft_linear *op, bft_memory *out) {
    size_t values = op->rows * op->out, d = op->activation == BFT_IDENTITY ? 0 : values;
    out->saved = d * sizeof(float);
    out->scratch = (d + column_scratch(op->rows, op->out)) * sizeof(float);
}

template <typename T> void bft_cuda<T>::linear_forward(bft_device *device, const bft_linear *op) {
    float *y = static_cast<float *>(op->y);
    size_t count = op->rows * op->out;
    bft_product product = {};
    product.m = op->rows;
    product.n = op->out;
    product.k = op->in;
    product.a = static_cast<const float *>(op->x);
    product.b = static_cast<const float *>(op->weight);
    product.c = y;
    product.transpose_b = true;
    if (count == 0 || !healthy(device) || !bft_check(device, bft_runtime_product(device->runtime, &product))) {
        return;
    }
    float *before = op->activation == BFT_IDENTITY ? NULL : static_cast<float *>(op->saved);
    if (op->bias != NULL || op->activation != BFT_IDENTITY) {
        LAUNCH(device, bias_activation, blocks_for(count, ELEMENT_THREADS), ELEMENT_THREADS, 0, y,
               static_cast<const float *>(op->bias), before, count, op->out, op->activation);
    }
}

template <typename T> void bft_cuda<T>::linear_backward(bft_device *device, const bft_linear *op) {
    const float *d = static_cast<const float *>(op->dy);
    float *scratch = static_cast<float *>(op->scratch);
    size_t count = op->rows * op->out;
    if (count == 0 || !healthy(device)) {
        return;
    }
    if (op->activation != BFT_IDENTITY) {
        LAUNCH(device, activation_backward, blocks_for(count, ELEMENT_THREADS), ELEMENT_THREADS, 0, d,
               static_cast<const float *>(op->saved), scratch, count, op->activation);
        d = scratch;
        scratch += count;
    }
    bft_product product = {};
    if (op->dweight != NULL) {
        product.m = op->out;
        product.n = op->in;
        product.k = op->rows;
        product.a = d;
        product.b = static_cast<const float *>(op->x);
        product.c = static_cast<float *>(op->dweight);
        product.transpose_a = product.add = true;
        bft_check(device, bft_runtime_product(device->runtime, &product));
    }
    bft_column_sums(device, d, NULL, op->rows, op->out, scratch, static_cast<float *>(op->dbias));
    if (op->dx != NULL && healthy(device)) {
        product = bft_product();
        product.m = op->rows;
        product.n = op->in;
        product.k = op->out;
        product.a = d;
        product.b = static_cast<const float *>(op->weight);
        product.c = static_cast<float *>(op->dx);
        product.add = op->dx_add;
        bft_check(device, bft_runtime_product(device->runtime, &product));
    }
}

FOR_ALL_VALUES(linear_memory, const bft_linear *op, bft_memory *out)
FOR_ALL_VALUES(linear_forward, bft_device *device, const bft_linear *op)
FOR_ALL_VALUES(linear_backward, bft_device *device, const bft_linear *op)
