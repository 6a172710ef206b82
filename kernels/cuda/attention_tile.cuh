/* attention_tile.cuh: what the kernels of attention do with tiles of rows: in from memory, dot products, sums, and out.
 *
 * A block owns a tile of rows of one head of one sequence (queries, or keys for dk and dv), holds it in shared memory and
 * meets the other side a tile at a time. Each warp owns rows, so that softmax and sums stay inside eight lanes, and sums are
 * complete in registers: no atomics, and one order. Values of T are in memory only; tiles and sums are floats.
 *
 * Of a tile of scores a lane has ROWS rows and COLUMNS columns that lie side by side, so that one Philox block serves
 * four keys. In shared memory rows are dealt in turn to the lanes that need them at the same moment, and padded by
 * four: reads of four floats from neighbouring rows then hit different banks. */
#ifndef BFT_KERNELS_CUDA_ATTENTION_TILE_CUH
#define BFT_KERNELS_CUDA_ATTENTION_TILE_CUH

#include "kernels/cuda/values.cuh"

enum { LANES = 8, GROUPS = WARP_SIZE / LANES, WARPS = 4, THREADS = WARPS * WARP_SIZE }; /* LANES of one row of scores */

/* A kernel's tiles, by the head's size in whole vectors and the rows a lane owns. */
template <int DEPTH_, int ROWS_> struct tile_shape {
    static constexpr int DEPTH = DEPTH_, ROWS = ROWS_, COLUMNS = DEPTH <= 64 ? 4 : 2;
    static constexpr int OWN = WARPS * GROUPS * ROWS, MET = LANES * COLUMNS; /* rows of a tile that is owned, or met */
    static constexpr int STRIDE = DEPTH + 4, WEIGHT_STRIDE = MET + 8;
    static constexpr int PARTS = DEPTH / (4 * LANES); /* vectors of a row of sums that a lane has */

    /* Bytes for `owned` tiles, the two that are met, and the weights of their product. */
    static constexpr size_t shared(int owned) {
        return sizeof(float) * (size_t)((owned * OWN + 2 * MET) * STRIDE + OWN * WEIGHT_STRIDE);
    }
};

/* ---- Rows of one head in memory, four values at a time ---- */

/* T is const where they are read. */
template <typename T> struct head_rows {
    T *first;
    size_t stride;
    int size, width; /* D, and how many values one access may take: 1, 2 or 4 */
};

template <typename T> __device__ __forceinline__ head_rows<T> rows_behind(const head_rows<T> &rows, uint32_t count) {
    head_rows<T> behind = {rows.first + count * rows.stride, rows.stride, rows.size, rows.width};
    return behind;
}

template <typename T> struct alignas(2 * sizeof(T)) two { T x, y; };

/* `left` is how many of them exist; the others are 0. */
template <typename T> __device__ __forceinline__ four<T> load_part(const T *from, int left, int width) {
    four<T> x = {};
    if (width == 4) {
        return left >= 4 ? *reinterpret_cast<const four<T> *>(from) : x;
    }
    if (width == 2) {
        two<T> low = {}, high = {};
        if (left >= 2) {
            low = *reinterpret_cast<const two<T> *>(from);
        }
        if (left >= 4) {
            high = *reinterpret_cast<const two<T> *>(from + 2);
        }
        x = {low.x, low.y, high.x, high.y};
        return x;
    }
    x.x = left > 0 ? from[0] : x.x;
    x.y = left > 1 ? from[1] : x.y;
    x.z = left > 2 ? from[2] : x.z;
    x.w = left > 3 ? from[3] : x.w;
    return x;
}

template <typename T> __device__ __forceinline__ void store_part(T *to, int left, int width, float4 sums) {
    four<T> x = to_four<T>(sums);
    two<T> low = {x.x, x.y}, high = {x.z, x.w};
    T values[4] = {x.x, x.y, x.z, x.w};
    if (width == 4 && left >= 4) {
        *reinterpret_cast<four<T> *>(to) = x;
    }
    if (width == 2 && left >= 2) {
        *reinterpret_cast<two<T> *>(to) = low;
    }
    if (width == 2 && left >= 4) {
        *reinterpret_cast<two<T> *>(to + 2) = high;
    }
    for (int i = 0; width == 1 && i < 4; i++) {
        if (i < left) {
            to[i] = values[i];
        }
    }
}

/* Where row `row` lies in shared memory: of each `lanes * each` rows, lane l uses each * l and those that follow. */
__device__ __forceinline__ int dealt(int row, int lanes, int each) {
    int inside = row % (lanes * each);
    return row - inside + inside % each * lanes + inside / each;
}

/* A tile of N rows, of which `rows` exist; what doesn't exist is 0. */
template <class S, int N, int LANE_COUNT, int EACH, typename T>
__device__ __forceinline__ void load_tile(const head_rows<const T> &from, int rows, float *tile) {
    constexpr int VECTORS = S::DEPTH / 4, STEPS = N * VECTORS / THREADS;
    static_assert(N * VECTORS % THREADS == 0, "every thread loads as many");
    four<T> x[STEPS]; /* all on their way before the first is waited for */
    for (int step = 0; step < STEPS; step++) {
        int i = step * THREADS + (int)threadIdx.x, row = i / VECTORS, d = i % VECTORS * 4;
        x[step] = load_part(from.first + (uint32_t)row * (uint32_t)from.stride + (uint32_t)d,
                            row < rows ? from.size - d : 0, from.width);
    }
    for (int step = 0; step < STEPS; step++) {
        int i = step * THREADS + (int)threadIdx.x, row = i / VECTORS, d = i % VECTORS * 4;
        *reinterpret_cast<float4 *>(tile + dealt(row, LANE_COUNT, EACH) * S::STRIDE + d) = to_floats(x[step]);
    }
}

template <class S, typename T>
__device__ __forceinline__ void load_own(const head_rows<const T> &from, int rows, float *tile) {
    load_tile<S, S::OWN, GROUPS, S::ROWS>(from, rows, tile);
}

template <class S, typename T>
__device__ __forceinline__ void load_met(const head_rows<const T> &from, int rows, float *tile) {
    load_tile<S, S::MET, LANES, S::COLUMNS>(from, rows, tile);
}

/* ---- A lane's share of a tile ---- */

__device__ __forceinline__ int own_column() {
    return (int)threadIdx.x % LANES;
}

/* The first of the ROWS rows that this lane owns, of the tile's. */
template <class S> __device__ __forceinline__ int own_row() {
    return (int)threadIdx.x / LANES * S::ROWS;
}

/* Where that row lies in shared memory; those that follow are GROUPS further each. */
template <class S> __device__ __forceinline__ int own_slot() {
    return (int)threadIdx.x / WARP_SIZE * GROUPS * S::ROWS + (int)threadIdx.x / LANES % GROUPS;
}

/* Whether any lane of this warp has a row that exists. */
template <class S> __device__ __forceinline__ bool warp_works(int rows) {
    return (int)threadIdx.x / WARP_SIZE * GROUPS * S::ROWS < rows;
}

/* ---- Own rows against met ones ---- */

/* The other side, `count` rows of each of two tensors, a tile of both at a time: each(from, columns) has `columns` rows from `from` on
 * in shared memory, and runs in every warp whose own tile, of `rows`, has rows for it. */
template <class S, typename T, typename F>
__device__ __forceinline__ void meet(int rows, uint32_t count, const head_rows<const T> &first, float *first_tile,
                                     const head_rows<const T> &second, float *second_tile, const F &each) {
    for (uint32_t from = 0; from < count; from += S::MET) {
        int columns = count - from < (uint32_t)S::MET ? (int)(count - from) : S::MET;
        __syncthreads();
        load_met<S>(rows_behind(first, from), columns, first_tile);
        load_met<S>(rows_behind(second, from), columns, second_tile);
        __syncthreads();
        if (warp_works<S>(rows)) {
            each(from, columns);
        }
    }
}

/* dots[i][j] = own row i . met row j */
template <class S>
__device__ __forceinline__ void dot_rows(const float *own, const float *met, int size,
                                         float (&dots)[S::ROWS][S::COLUMNS]) {
    own += own_slot<S>() * S::STRIDE;
    met += own_column() * S::STRIDE;
    for (int i = 0; i < S::ROWS; i++) {
        for (int j = 0; j < S::COLUMNS; j++) {
            dots[i][j] = 0;
        }
    }
    for (int d = 0; d < size; d += 4) {
        float4 right[S::COLUMNS];
        for (int j = 0; j < S::COLUMNS; j++) {
            right[j] = *reinterpret_cast<const float4 *>(met + j * LANES * S::STRIDE + d);
        }
        for (int i = 0; i < S::ROWS; i++) {
            float4 left = *reinterpret_cast<const float4 *>(own + i * GROUPS * S::STRIDE + d);
            for (int j = 0; j < S::COLUMNS; j++) {
                dots[i][j] += left.x * right[j].x;
                dots[i][j] += left.y * right[j].y;
                dots[i][j] += left.z * right[j].z;
                dots[i][j] += left.w * right[j].w;
            }
        }
    }
}

/* The warp's weights, for add_rows; between the two all its lanes must have come by. */
template <class S> __device__ __forceinline__ void put_weights(const float (&w)[S::ROWS][S::COLUMNS], float *weights) {
    weights += own_slot<S>() * S::WEIGHT_STRIDE + own_column() * S::COLUMNS;
    for (int i = 0; i < S::ROWS; i++) {
        float *to = weights + i * GROUPS * S::WEIGHT_STRIDE;
        if constexpr (S::COLUMNS == 4) {
            float4 x = {w[i][0], w[i][1], w[i][2], w[i][3]};
            *reinterpret_cast<float4 *>(to) = x;
        } else {
            float2 x = {w[i][0], w[i][1]};
            *reinterpret_cast<float2 *>(to) = x;
        }
    }
}

/* sums[i] += weights of own row i times the first `count` met rows. Behind `count` weights and rows must be 0. */
template <class S>
__device__ __forceinline__ void add_rows(const float *weights, const float *met, int count,
                                         float4 (&sums)[S::ROWS][S::PARTS]) {
    weights += own_slot<S>() * S::WEIGHT_STRIDE;
    met += own_column() * 4;
    for (int from = 0; from < count; from += 4) {
        float w[S::ROWS][4];
        for (int i = 0; i < S::ROWS; i++) {
            float4 x = *reinterpret_cast<const float4 *>(weights + i * GROUPS * S::WEIGHT_STRIDE + from);
            w[i][0] = x.x;
            w[i][1] = x.y;
            w[i][2] = x.z;
            w[i][3] = x.w;
        }
        for (int j = 0; j < 4; j++) {
            const float *row = met + dealt(from + j, LANES, S::COLUMNS) * S::STRIDE;
            for (int part = 0; part < S::PARTS; part++) {
                float4 x = *reinterpret_cast<const float4 *>(row + part * 4 * LANES);
                for (int i = 0; i < S::ROWS; i++) {
                    sums[i][part].x += w[i][j] * x.x;
                    sums[i][part].y += w[i][j] * x.y;
                    sums[i][part].z += w[i][j] * x.z;
                    sums[i][part].w += w[i][j] * x.w;
                }
            }
        }
    }
}

template <class S> __device__ __forceinline__ void scale_row(float4 (&row)[S::PARTS], float factor) {
    for (int part = 0; part < S::PARTS; part++) {
        row[part].x *= factor;
        row[part].y *= factor;
        row[part].z *= factor;
        row[part].w *= factor;
    }
}

/* A lane's sums out to its rows, of `rows` that exist. */
template <class S, typename T>
__device__ __forceinline__ void store_rows(const head_rows<T> &to, int rows, const float4 (&sums)[S::ROWS][S::PARTS]) {
    int row = own_row<S>();
    for (int i = 0; i < S::ROWS; i++) {
        for (int part = 0; part < S::PARTS; part++) {
            int d = (part * LANES + own_column()) * 4;
            if (row + i < rows) {
                store_part(to.first + (row + i) * to.stride + d, to.size - d, to.width, sums[i][part]);
            }
        }
    }
}

/* A tile in shared memory times the same rows in memory: products[i] = own row i . `rows` row i. */
template <class S, typename T>
__device__ __forceinline__ void dot_own(const float *own, const head_rows<const T> &other, int rows,
                                        float (&products)[S::ROWS]) {
    own += own_slot<S>() * S::STRIDE;
    int row = own_row<S>();
    for (int i = 0; i < S::ROWS; i++) {
        float sum = 0;
        for (int part = 0; part < S::PARTS; part++) {
            int d = (part * LANES + own_column()) * 4;
            float4 left = *reinterpret_cast<const float4 *>(own + i * GROUPS * S::STRIDE + d);
            float4 right = to_floats(load_part(other.first + (row + i) * other.stride + d,
                                               row + i < rows ? other.size - d : 0, other.width));
            sum += left.x * right.x;
            sum += left.y * right.y;
            sum += left.z * right.z;
            sum += left.w * right.w;
        }
        products[i] = lanes_sum<LANES>(sum);
    }
}

#endif
