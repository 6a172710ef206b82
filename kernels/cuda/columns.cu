/* columns.cu: two passes: each chunk of rows, then over the chunks. In both a block is COLUMN_WARPS warps over one
 * strip of columns; each takes every COLUMN_WARPS-th row, or chunk. */
#include "kernels/cuda/columns.cuh"
#include "kernels/cuda/wide.cuh"

/* ---- Chunks: blocks (chunks, strips) ---- */

__device__ __forceinline__ size_t chunk_end(size_t rows) {
    size_t end = ((size_t)blockIdx.x + 1) * CHUNK_ROWS;
    return end < rows ? end : rows;
}

template <int WIDTH>
__device__ __forceinline__ void store_chunk(float (&sum)[WIDTH], float *room, float *partial, size_t column,
                                            size_t columns) {
    sum_warps(sum, room);
    if (threadIdx.y == 0 && column < columns) {
        store(partial + blockIdx.x * columns + column, sum);
    }
}

template <int WIDTH, typename A> __global__ void sum_chunks(const A *a, size_t rows, size_t columns, float *partial) {
    SHARED(float, room);
    size_t column = column_in<WIDTH>(blockIdx.y), end = column < columns ? chunk_end(rows) : 0;
    float sum[WIDTH] = {}, x[WIDTH];
    for (size_t row = (size_t)blockIdx.x * CHUNK_ROWS + threadIdx.y; row < end; row += COLUMN_WARPS) {
        load(a + row * columns + column, x);
        for (int i = 0; i < WIDTH; i++) {
            sum[i] += x[i];
        }
    }
    store_chunk(sum, room, partial, column, columns);
}

/* partial: (2, chunks, columns), first for gamma, then for beta. */
template <int WIDTH, typename T>
__global__ void sum_norm_chunks(const T *dy, const T *normal, dropout_key key, size_t rows, size_t columns,
                                float *partial) {
    SHARED(float, room); /* for two sums */
    size_t column = column_in<WIDTH>(blockIdx.y), end = column < columns ? chunk_end(rows) : 0;
    float gamma[WIDTH] = {}, beta[WIDTH] = {}, d[WIDTH], n[WIDTH];
    for (size_t row = (size_t)blockIdx.x * CHUNK_ROWS + threadIdx.y; row < end; row += COLUMN_WARPS) {
        load(dy + row * columns + column, d);
        load(normal + row * columns + column, n);
        drop(key, row, column, d);
        for (int i = 0; i < WIDTH; i++) {
            gamma[i] += d[i] * n[i];
            beta[i] += d[i];
        }
    }
    store_chunk(gamma, room, partial, column, columns);
    store_chunk(beta, room + WIDTH * WARP_SIZE * COLUMN_WARPS, partial + gridDim.x * columns, column, columns);
}

/* ---- Adding: blocks (strips, sums); sum 0 into out, sum 1 into `second` ---- */

__global__ void add_chunks(const float *partial, size_t chunks, size_t columns, float *out, float *second) {
    SHARED(float, room);
    size_t column = column_in<1>(blockIdx.x), end = column < columns ? chunks : 0;
    float *to = blockIdx.y == 0 ? out : second;
    float sum[1] = {};
    for (size_t chunk = threadIdx.y; chunk < end; chunk += COLUMN_WARPS) {
        sum[0] += partial[(blockIdx.y * chunks + chunk) * columns + column];
    }
    sum_warps(sum, room);
    if (threadIdx.y == 0 && column < columns && to != NULL) {
        to[column] += sum[0];
    }
}

static void start_adding(bft_device *device, const float *partial, size_t chunks, size_t columns, unsigned sums,
                         float *out, float *second) {
    LAUNCH(device, add_chunks, dim3(strips_of(columns, 1), sums), dim3(WARP_SIZE, COLUMN_WARPS),
           strip_bytes(1, COLUMN_WARPS), partial, chunks, columns, out, second);
}

/* ---- Starting both ---- */

static dim3 chunk_grid(size_t rows, size_t columns, int width) {
    return dim3(static_cast<unsigned>(column_chunks(rows)), strips_of(columns, width));
}

template <int WIDTH, typename A>
static void start_sums(bft_device *device, const A *a, size_t rows, size_t columns, float *partial) {
    LAUNCH(device, (sum_chunks<WIDTH, A>), chunk_grid(rows, columns, WIDTH), dim3(WARP_SIZE, COLUMN_WARPS),
           strip_bytes(WIDTH, COLUMN_WARPS), a, rows, columns, partial);
}

template <int WIDTH, typename T>
static void start_norm_sums(bft_device *device, const T *dy, const T *normal, const dropout_key &key, size_t rows,
                            size_t columns, float *partial) {
    LAUNCH(device, (sum_norm_chunks<WIDTH, T>), chunk_grid(rows, columns, WIDTH), dim3(WARP_SIZE, COLUMN_WARPS),
           2 * strip_bytes(WIDTH, COLUMN_WARPS), dy, normal, key, rows, columns, partial);
}

void bft_add_chunks(bft_device *device, const float *partial, size_t chunks, size_t columns, float *out) {
    if (healthy(device)) {
        start_adding(device, partial, chunks, columns, 1, out, NULL);
    }
}

template <typename A>
void bft_column_sums(bft_device *device, const A *a, size_t rows, size_t columns, float *scratch, float *out) {
    if (out == NULL || rows == 0 || !healthy(device)) {
        return;
    }
    by_four(columns, {a, scratch}) ? start_sums<4>(device, a, rows, columns, scratch)
                                   : start_sums<1>(device, a, rows, columns, scratch);
    start_adding(device, scratch, column_chunks(rows), columns, 1, out, NULL);
}

template <typename T>
void bft_norm_column_sums(bft_device *device, const T *dy, const T *normal, const dropout_key &key, size_t rows,
                          size_t columns, float *scratch, float *dgamma, float *dbeta) {
    if ((dgamma == NULL && dbeta == NULL) || rows == 0 || !healthy(device)) {
        return;
    }
    by_four(columns, {dy, normal, scratch}) ? start_norm_sums<4>(device, dy, normal, key, rows, columns, scratch)
                                            : start_norm_sums<1>(device, dy, normal, key, rows, columns, scratch);
    start_adding(device, scratch, column_chunks(rows), columns, 2, dgamma, dbeta);
}

#define FOR_VALUES(T)                                                                                                  \
    template void bft_column_sums<T>(bft_device *, const T *, size_t, size_t, float *, float *);                       \
    template void bft_norm_column_sums<T>(bft_device *, const T *, const T *, const dropout_key &, size_t, size_t,     \
                                          float *, float *, float *);

FOR_VALUES(float)
FOR_VALUES(bf16)
FOR_VALUES(fp16)
