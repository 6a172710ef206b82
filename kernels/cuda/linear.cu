/* linear.cu: products by the library; bias and activation in one pass of ours, forward and backward.
 *
 * Without an activation the library adds the bias itself, and sums up the bias gradient while it multiplies: where it can, which
 * bft_runtime_takes says. It reads a bias of the result's type: to 16-bit values the bias is rounded first. With one, `saved` keeps the
 * bare product, rounded to a value; forward and backward both add the bias to that, in float. */
#include "kernels/cuda/columns.cuh"
#include "kernels/cuda/wide.cuh"

/* A block takes a chunk of rows: a warp across the columns, LINEAR_WARPS rows at a time. */
enum { LINEAR_WARPS = 8, FORWARD_ROWS = 32 };

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

/* ---- Kernels: blocks (chunks of rows, strips of columns) of (WARP_SIZE, LINEAR_WARPS) threads; Y is the type of y and dy ---- */

/* y = activation(product + bias); the product may be y. */
template <int WIDTH, typename Y>
__global__ void activation_forward(const Y *product, const float *bias, Y *y, size_t rows, size_t columns,
                                   bft_activation activation) {
    size_t column = column_in<WIDTH>(blockIdx.y), first = (size_t)blockIdx.x * FORWARD_ROWS;
    size_t last = first + FORWARD_ROWS < rows ? first + FORWARD_ROWS : rows;
    if (column >= columns) {
        return;
    }
    float add[WIDTH] = {}, x[WIDTH];
    if (bias != NULL) {
        load(bias + column, add);
    }
    for (size_t row = first + threadIdx.y; row < last; row += LINEAR_WARPS) {
        load(product + row * columns + column, x);
        for (int i = 0; i < WIDTH; i++) {
            x[i] = activate(activation, x[i] + add[i]);
        }
        store(y + row * columns + column, x);
    }
}

/* dz = dy slope(product + bias), to be multiplied with; partial (chunks, columns) = its sums over each chunk of rows, of dz before it
 * is rounded. Of dz and partial one may be NULL; so may product, for BFT_IDENTITY. */
template <int WIDTH, typename T, typename Y>
__global__ void activation_backward(const Y *dy, const Y *product, const float *bias, T *dz, float *partial,
                                    size_t rows, size_t columns, bft_activation activation) {
    size_t column = column_in<WIDTH>(blockIdx.y), first = (size_t)blockIdx.x * CHUNK_ROWS;
    size_t last = first + CHUNK_ROWS < rows ? first + CHUNK_ROWS : rows;
    float add[WIDTH] = {}, z[WIDTH] = {}, d[WIDTH], sum[WIDTH] = {};
    if (bias != NULL && column < columns) {
        load(bias + column, add);
    }
    for (size_t row = first + threadIdx.y; row < last && column < columns; row += LINEAR_WARPS) {
        load(dy + row * columns + column, d);
        if (product != NULL) {
            load(product + row * columns + column, z);
        }
        for (int i = 0; i < WIDTH; i++) {
            d[i] *= slope(activation, z[i] + add[i]);
            sum[i] += d[i];
        }
        if (dz != NULL) {
            store(dz + row * columns + column, d);
        }
    }
    if (partial != NULL) {
        SHARED(float, room);
        sum_warps(sum, room);
        if (threadIdx.y == 0 && column < columns) {
            store(partial + blockIdx.x * columns + column, sum);
        }
    }
}

/* ---- Starting them ---- */

static dim3 grid_of(size_t rows, size_t chunk, size_t columns, int width) {
    return dim3(static_cast<unsigned>((rows + chunk - 1) / chunk), strips_of(columns, width));
}

template <typename Y>
static void start_forward(bft_device *device, const bft_linear *op, const void *from, const void *bias) {
    const Y *product = static_cast<const Y *>(from);
    Y *y = static_cast<Y *>(op->y);
    size_t rows = bft_padded(op->rows);
    dim3 block(WARP_SIZE, LINEAR_WARPS);
    if (by_four(op->out, {product, bias, y})) {
        LAUNCH(device, (activation_forward<4, Y>), grid_of(rows, FORWARD_ROWS, op->out, 4), block, 0, product,
               static_cast<const float *>(bias), y, rows, op->out, op->activation);
    } else {
        LAUNCH(device, (activation_forward<1, Y>), grid_of(rows, FORWARD_ROWS, op->out, 1), block, 0, product,
               static_cast<const float *>(bias), y, rows, op->out, op->activation);
    }
}

template <typename T, typename Y>
static void start_backward(bft_device *device, const bft_linear *op, T *dz, float *partial) {
    const Y *dy = static_cast<const Y *>(op->dy), *product = NULL;
    const float *bias = NULL;
    if (op->activation != BFT_IDENTITY) {
        product = static_cast<const Y *>(op->saved);
        bias = static_cast<const float *>(op->bias);
    }
    size_t rows = bft_padded(op->rows);
    dim3 block(WARP_SIZE, LINEAR_WARPS);
    if (by_four(op->out, {dy, product, bias, dz, partial})) {
        LAUNCH(device, (activation_backward<4, T, Y>), grid_of(rows, CHUNK_ROWS, op->out, 4), block,
               strip_bytes(4, LINEAR_WARPS), dy, product, bias, dz, partial, rows, op->out, op->activation);
    } else {
        LAUNCH(device, (activation_backward<1, T, Y>), grid_of(rows, CHUNK_ROWS, op->out, 1), block,
               strip_bytes(1, LINEAR_WARPS), dy, product, bias, dz, partial, rows, op->out, op->activation);
    }
}

/* ---- The op ---- */

/* Scratch: the rounded bias in the forward; dz, then the bias gradient's partial sums in the backward. */
template <typename T> static size_t dz_bytes(const bft_linear *op) {
    size_t bytes = bft_padded(op->rows) * op->out * sizeof(T);
    return op->activation == BFT_IDENTITY && sizeof(T) == sizeof(float) ? 0 : (bytes + 63) / 64 * 64;
}

template <typename T> void bft_cuda<T>::linear_memory(const bft_linear *op, bft_memory *out) {
    size_t rows = bft_padded(op->rows), kept = op->activation == BFT_IDENTITY ? 0 : rows * op->out;
    out->saved = kept * (op->real_y ? sizeof(float) : sizeof(T));
    out->scratch = dz_bytes<T>(op) + column_scratch(rows, op->out) * sizeof(float);
}

template <typename T, typename Y> static void forward(bft_device *device, const bft_linear *op) {
    bool active = op->activation != BFT_IDENTITY, rounds = sizeof(Y) < sizeof(float);
    bft_product product = {};
    product.m = bft_padded(op->rows);
    product.n = op->out;
    product.k = op->in;
    product.a = op->x;
    product.b = op->weight;
    product.c = active && op->saved != NULL ? op->saved : op->y;
    product.factors = dtype_of<T>;
    product.result = dtype_of<Y>;
    product.transpose_b = true;
    product.bias = active || op->bias == NULL ? NULL : rounds ? op->scratch : op->bias;
    if (product.bias != NULL && !bft_runtime_takes(device->runtime, &product)) {
        product.bias = NULL;
    }
    if (product.bias != NULL && rounds) {
        bft_cuda_to_values<Y>(device, op->bias, op->scratch, op->out);
    }
    bft_multiply(device, &product);
    if (active || (op->bias != NULL && product.bias == NULL)) {
        start_forward<Y>(device, op, product.c, op->bias);
    }
}

template <typename T> void bft_cuda<T>::linear_forward(bft_device *device, const bft_linear *op) {
    if (op->rows * op->out > 0 && healthy(device)) {
        op->real_y ? forward<T, float>(device, op) : forward<T, T>(device, op);
    }
}

/* dweight += (or =) d^T x. True where the columns' sums of d are in `sums` then: asked for by not NULL, and got where the library can. */
template <typename T> static bool add_to_dweight(bft_device *device, const bft_linear *op, const void *d, float *sums) {
    bft_product product = {};
    product.m = op->out;
    product.n = op->in;
    product.k = bft_padded(op->rows);
    product.a = d;
    product.b = op->x;
    product.c = op->dweight;
    product.a_sums = sums;
    product.factors = dtype_of<T>;
    product.result = BFT_F32;
    product.transpose_a = true;
    product.add = !op->dweight_fresh;
    if (sums != NULL && !bft_runtime_takes(device->runtime, &product)) {
        product.a_sums = NULL;
    }
    bft_multiply(device, &product);
    return product.a_sums != NULL;
}

template <typename T> static void multiply_dx(bft_device *device, const bft_linear *op, const void *d) {
    bft_product product = {};
    product.m = bft_padded(op->rows);
    product.n = op->in;
    product.k = op->out;
    product.a = d;
    product.b = op->weight;
    product.c = op->dx;
    product.factors = product.result = dtype_of<T>;
    product.add = op->dx_add;
    bft_multiply(device, &product);
}

template <typename T, typename Y> static void backward(bft_device *device, const bft_linear *op) {
    T *dz = static_cast<T *>(op->scratch);
    float *partial = reinterpret_cast<float *>(static_cast<char *>(op->scratch) + dz_bytes<T>(op));
    float *sums = op->dbias == NULL ? NULL : partial;
    bool own = op->activation != BFT_IDENTITY || sizeof(Y) != sizeof(T), by_library = false;
    const void *d = own ? dz : op->dy;
    if (own) {
        start_backward<T, Y>(device, op, dz, sums);
    }
    if (op->dweight != NULL) {
        by_library = add_to_dweight<T>(device, op, d, own ? NULL : sums);
    }
    if (!own && sums != NULL && !by_library) {
        start_backward<T, Y>(device, op, NULL, sums);
    }
    if (sums != NULL) {
        bft_add_chunks(device, sums, by_library ? 1 : column_chunks(bft_padded(op->rows)), op->out,
                       static_cast<float *>(op->dbias));
    }
    if (op->dx != NULL) {
        multiply_dx<T>(device, op, d);
    }
}

template <typename T> void bft_cuda<T>::linear_backward(bft_device *device, const bft_linear *op) {
    if (op->rows * op->out > 0 && healthy(device)) {
        op->real_y ? backward<T, float>(device, op) : backward<T, T>(device, op);
    }
}

FOR_ALL_VALUES(linear_memory, const bft_linear *op, bft_memory *out)
FOR_ALL_VALUES(linear_forward, bft_device *device, const bft_linear *op)
FOR_ALL_VALUES(linear_backward, bft_device *device, const bft_linear *op)
