/* attention.cu: variable-length attention in the flash manner: scores live in tiles, never as queries x keys.
 *
 * A block owns a tile of rows of one head of one sequence (queries, or keys for dk and dv), holds it in shared memory
 * and meets the other side a tile at a time. Each warp owns rows, so that softmax and sums stay inside eight lanes, and
 * sums are complete in registers: no atomics, and one order. Saved is the log-sum-exp of each query's scores, from
 * which the backward computes the probabilities again.
 *
 * Of a tile of scores a lane has ROWS rows and COLUMNS columns that lie side by side, so that one Philox block serves
 * four keys. In shared memory rows are dealt in turn to the lanes that need them at the same moment, and padded by
 * four: reads of four values from neighbouring rows then hit different banks. */
#include "kernels/cuda/device.cuh"

#include <algorithm>
#include <math.h>

enum { LANES = 8, GROUPS = WARP_SIZE / LANES, WARPS = 4, THREADS = WARPS * WARP_SIZE }; /* LANES of one row of scores */
enum { LARGEST_HEAD = 128, SHARED_LIMIT = 48 << 10 };

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

template <int DEPTH> using forward_shape = tile_shape<DEPTH, (DEPTH <= 64 ? 4 : 2)>;
template <int DEPTH> using backward_shape = tile_shape<DEPTH, LARGEST_HEAD / DEPTH>;

/* One block's work, for every head: the rows from `first` on of a sequence, of its queries or of its keys. */
struct attention_tile {
    uint32_t sequence, query, queries, key, keys; /* rows of q and of k where the sequence starts, and how many */
    uint32_t first;
};

struct attention_args {
    const attention_tile *tiles;
    const float *q, *k, *v, *dy;
    float *y, *dq, *dk, *dv;
    float *log_sum, *along; /* (H, rows of queries) log-sum-exp of the scores; sum of dy y */
    size_t q_stride, kv_stride, y_stride, rows;
    int size, width; /* D, and how many floats one load may take */
    float scale;
    dropout_key dropout;
};

/* ---- Rows in and out, four values at a time; `left` is how many of them exist ---- */

__device__ __forceinline__ float4 load_part(const float *from, int left, int width) {
    float4 x = {0, 0, 0, 0};
    if (width == 4) {
        return left >= 4 ? *reinterpret_cast<const float4 *>(from) : x;
    }
    if (width == 2) {
        float2 low = {0, 0}, high = {0, 0};
        if (left >= 2) {
            low = *reinterpret_cast<const float2 *>(from);
        }
        if (left >= 4) {
            high = *reinterpret_cast<const float2 *>(from + 2);
        }
        x = {low.x, low.y, high.x, high.y};
        return x;
    }
    x.x = left > 0 ? from[0] : 0;
    x.y = left > 1 ? from[1] : 0;
    x.z = left > 2 ? from[2] : 0;
    x.w = left > 3 ? from[3] : 0;
    return x;
}

__device__ __forceinline__ void store_part(float *to, int left, int width, float4 x) {
    float2 low = {x.x, x.y}, high = {x.z, x.w};
    float values[4] = {x.x, x.y, x.z, x.w};
    if (width == 4 && left >= 4) {
        *reinterpret_cast<float4 *>(to) = x;
    }
    if (width == 2 && left >= 2) {
        *reinterpret_cast<float2 *>(to) = low;
    }
    if (width == 2 && left >= 4) {
        *reinterpret_cast<float2 *>(to + 2) = high;
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

/* A tile of N rows; what doesn't exist is 0. */
template <class S, int N, int LANE_COUNT, int EACH>
__device__ __forceinline__ void load_tile(const attention_args &a, const float *from, size_t stride, int rows,
                                          float *tile) {
    constexpr int VECTORS = S::DEPTH / 4, STEPS = N * VECTORS / THREADS;
    static_assert(N * VECTORS % THREADS == 0, "every thread loads as many");
    float4 x[STEPS]; /* all on their way before the first is waited for */
    for (int step = 0; step < STEPS; step++) {
        int i = step * THREADS + (int)threadIdx.x, row = i / VECTORS, d = i % VECTORS * 4;
        x[step] =
            load_part(from + (uint32_t)row * (uint32_t)stride + (uint32_t)d, row < rows ? a.size - d : 0, a.width);
    }
    for (int step = 0; step < STEPS; step++) {
        int i = step * THREADS + (int)threadIdx.x, row = i / VECTORS, d = i % VECTORS * 4;
        *reinterpret_cast<float4 *>(tile + dealt(row, LANE_COUNT, EACH) * S::STRIDE + d) = x[step];
    }
}

template <class S>
__device__ __forceinline__ void load_own(const attention_args &a, const float *from, size_t stride, int rows,
                                         float *tile) {
    load_tile<S, S::OWN, GROUPS, S::ROWS>(a, from, stride, rows, tile);
}

template <class S>
__device__ __forceinline__ void load_met(const attention_args &a, const float *from, size_t stride, int rows,
                                         float *tile) {
    load_tile<S, S::MET, LANES, S::COLUMNS>(a, from, stride, rows, tile);
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

__device__ __forceinline__ float lanes_sum(float x) {
    for (int mask = LANES / 2; mask > 0; mask /= 2) {
        x += __shfl_xor_sync(0xFFFFFFFFu, x, mask);
    }
    return x;
}

__device__ __forceinline__ float lanes_max(float x) {
    for (int mask = LANES / 2; mask > 0; mask /= 2) {
        x = fmaxf(x, __shfl_xor_sync(0xFFFFFFFFu, x, mask));
    }
    return x;
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
template <class S>
__device__ __forceinline__ void store_rows(const attention_args &a, const float4 (&sums)[S::ROWS][S::PARTS], int rows,
                                           float *to, size_t stride) {
    int row = own_row<S>();
    for (int i = 0; i < S::ROWS; i++) {
        for (int part = 0; part < S::PARTS; part++) {
            int d = (part * LANES + own_column()) * 4;
            if (row + i < rows) {
                store_part(to + (row + i) * stride + d, a.size - d, a.width, sums[i][part]);
            }
        }
    }
}

/* ---- Dropout ---- */

/* What the probabilities of COUNT keys from `key` on, a multiple of COUNT, are multiplied by. */
template <int COUNT>
__device__ __forceinline__ void dropout_factors(const dropout_key &dropout, uint32_t sequence, uint32_t query,
                                                uint32_t key, float (&factor)[COUNT]) {
    for (int j = 0; j < COUNT; j++) {
        factor[j] = 1;
    }
    if (dropout.scale == 0) {
        return;
    }
    uint32_t channel = blockIdx.y << 16 | key, skip = COUNT == 4 ? 0 : channel % 4;
    philox_words words =
        philox(channel / 4, query | dropout.place, dropout.sample[sequence], *dropout.step, dropout.seed);
    for (uint32_t w = 0; w < 4; w++) {
        for (uint32_t j = 0; j < COUNT; j++) {
            if (skip + j == w) {
                factor[j] = words.word[w] < dropout.threshold ? 0 : dropout.scale;
            }
        }
    }
}

/* ---- Kernels: blockIdx.x is the tile, blockIdx.y the head ---- */

__device__ __forceinline__ int at_most(uint32_t count, int limit) {
    return count < (uint32_t)limit ? (int)count : limit;
}

/* One tile of scores into a row's softmax so far: scores become weights, and the sums shrink where the largest grew. */
template <class S>
__device__ __forceinline__ void soften(float (&scores)[S::COLUMNS], int columns, float scale, float *largest,
                                       float *total, float4 (&sums)[S::PARTS]) {
    float top = *largest, sum = 0;
    for (int j = 0; j < S::COLUMNS; j++) {
        scores[j] = own_column() * S::COLUMNS + j < columns ? scores[j] * scale : -INFINITY;
        top = fmaxf(top, scores[j]);
    }
    top = lanes_max(top);
    for (int j = 0; j < S::COLUMNS; j++) {
        scores[j] = expf(scores[j] - top);
        sum += scores[j];
    }
    float shrink = expf(*largest - top);
    *total = *total * shrink + lanes_sum(sum);
    *largest = top;
    scale_row<S>(sums, shrink);
}

template <int DEPTH> __global__ void __launch_bounds__(THREADS) attention_queries(attention_args a) {
    using S = forward_shape<DEPTH>;
    SHARED(float, q);
    float *k = q + S::OWN * S::STRIDE, *v = k + S::MET * S::STRIDE, *weights = v + S::MET * S::STRIDE;
    attention_tile t = a.tiles[blockIdx.x];
    size_t at = (size_t)blockIdx.y * (size_t)a.size, query = t.query + t.first;
    int rows = at_most(t.queries - t.first, S::OWN), row = own_row<S>();
    float4 sums[S::ROWS][S::PARTS] = {};
    float largest[S::ROWS], total[S::ROWS];
    for (int i = 0; i < S::ROWS; i++) {
        largest[i] = -INFINITY;
        total[i] = 0;
    }
    load_own<S>(a, a.q + query * a.q_stride + at, a.q_stride, rows, q);
    for (uint32_t key = 0; key < t.keys; key += S::MET) {
        int columns = at_most(t.keys - key, S::MET);
        __syncthreads();
        load_met<S>(a, a.k + (t.key + key) * a.kv_stride + at, a.kv_stride, columns, k);
        load_met<S>(a, a.v + (t.key + key) * a.kv_stride + at, a.kv_stride, columns, v);
        __syncthreads();
        if (!warp_works<S>(rows)) {
            continue;
        }
        float scores[S::ROWS][S::COLUMNS];
        dot_rows<S>(q, k, a.size, scores);
        for (int i = 0; i < S::ROWS; i++) {
            float factor[S::COLUMNS];
            soften<S>(scores[i], columns, a.scale, &largest[i], &total[i], sums[i]);
            dropout_factors(a.dropout, t.sequence, t.first + (uint32_t)(row + i),
                            key + (uint32_t)(own_column() * S::COLUMNS), factor);
            for (int j = 0; j < S::COLUMNS; j++) {
                scores[i][j] *= factor[j];
            }
        }
        put_weights<S>(scores, weights);
        __syncwarp();
        add_rows<S>(weights, v, columns, sums);
    }
    for (int i = 0; i < S::ROWS; i++) {
        scale_row<S>(sums[i], 1 / total[i]);
        if (a.log_sum != NULL && own_column() == 0 && row + i < rows) {
            a.log_sum[blockIdx.y * a.rows + query + (size_t)(row + i)] = largest[i] + logf(total[i]);
        }
    }
    store_rows<S>(a, sums, rows, a.y + query * a.y_stride + at, a.y_stride);
}

/* along = sum(dy y), which is sum(P dP): a warp a query and head. */
__global__ void __launch_bounds__(THREADS) attention_along(attention_args a) {
    size_t row = (size_t)blockIdx.x * WARPS + threadIdx.x / WARP_SIZE;
    if (row >= a.rows) {
        return;
    }
    size_t at = row * a.y_stride + (size_t)blockIdx.y * (size_t)a.size;
    float sum = 0;
    for (int d = (int)(threadIdx.x % WARP_SIZE); d < a.size; d += WARP_SIZE) {
        sum += a.dy[at + d] * a.y[at + d];
    }
    sum = warp_sum(sum);
    if (threadIdx.x % WARP_SIZE == 0) {
        a.along[blockIdx.y * a.rows + row] = sum;
    }
}

/* With P the probabilities, M the dropout factors: dP = (dy v^T) M; dS = P (dP - along); dq = scale dS k. */
template <int DEPTH> __global__ void __launch_bounds__(THREADS) attention_backward_queries(attention_args a) {
    using S = backward_shape<DEPTH>;
    SHARED(float, q);
    float *dy = q + S::OWN * S::STRIDE, *k = dy + S::OWN * S::STRIDE, *v = k + S::MET * S::STRIDE;
    float *weights = v + S::MET * S::STRIDE;
    attention_tile t = a.tiles[blockIdx.x];
    size_t at = (size_t)blockIdx.y * (size_t)a.size, query = t.query + t.first;
    int rows = at_most(t.queries - t.first, S::OWN), row = own_row<S>();
    float4 sums[S::ROWS][S::PARTS] = {};
    float log_sum[S::ROWS], along[S::ROWS];
    for (int i = 0; i < S::ROWS; i++) {
        size_t place = blockIdx.y * a.rows + query + (size_t)(row + i);
        log_sum[i] = row + i < rows ? a.log_sum[place] : 0;
        along[i] = row + i < rows ? a.along[place] : 0;
    }
    load_own<S>(a, a.q + query * a.q_stride + at, a.q_stride, rows, q);
    load_own<S>(a, a.dy + query * a.y_stride + at, a.y_stride, rows, dy);
    for (uint32_t key = 0; key < t.keys; key += S::MET) {
        int columns = at_most(t.keys - key, S::MET), column = own_column() * S::COLUMNS;
        __syncthreads();
        load_met<S>(a, a.k + (t.key + key) * a.kv_stride + at, a.kv_stride, columns, k);
        load_met<S>(a, a.v + (t.key + key) * a.kv_stride + at, a.kv_stride, columns, v);
        __syncthreads();
        if (!warp_works<S>(rows)) {
            continue;
        }
        float scores[S::ROWS][S::COLUMNS], dp[S::ROWS][S::COLUMNS];
        dot_rows<S>(q, k, a.size, scores);
        dot_rows<S>(dy, v, a.size, dp);
        for (int i = 0; i < S::ROWS; i++) {
            float factor[S::COLUMNS];
            dropout_factors(a.dropout, t.sequence, t.first + (uint32_t)(row + i), key + (uint32_t)column, factor);
            for (int j = 0; j < S::COLUMNS; j++) {
                float p = column + j < columns ? expf(scores[i][j] * a.scale - log_sum[i]) : 0;
                scores[i][j] = p * (dp[i][j] * factor[j] - along[i]);
            }
        }
        put_weights<S>(scores, weights);
        __syncwarp();
        add_rows<S>(weights, k, columns, sums);
    }
    for (int i = 0; i < S::ROWS; i++) {
        scale_row<S>(sums[i], a.scale);
    }
    store_rows<S>(a, sums, rows, a.dq + query * a.q_stride + at, a.q_stride);
}

/* A tile of keys against one of queries: dots = k q^T becomes P M, and dp = v dy^T becomes dS. */
template <class S>
__device__ __forceinline__ void weigh_queries(const attention_args &a, const attention_tile &t, uint32_t query,
                                              float (&dots)[S::ROWS][S::COLUMNS], float (&dp)[S::ROWS][S::COLUMNS]) {
    for (int j = 0; j < S::COLUMNS; j++) {
        uint32_t place = query + (uint32_t)(own_column() * S::COLUMNS + j);
        bool exists = place < t.queries;
        size_t in_rows = blockIdx.y * a.rows + t.query + place;
        float log_sum = exists ? a.log_sum[in_rows] : 0, along = exists ? a.along[in_rows] : 0;
        float factor[S::ROWS];
        dropout_factors(a.dropout, t.sequence, place, t.first + (uint32_t)own_row<S>(), factor);
        for (int i = 0; i < S::ROWS; i++) {
            float p = exists ? expf(dots[i][j] * a.scale - log_sum) : 0;
            dots[i][j] = p * factor[i];
            dp[i][j] = p * (dp[i][j] * factor[i] - along);
        }
    }
}

/* dv = (P M)^T dy; dk = scale dS^T q. */
template <int DEPTH> __global__ void __launch_bounds__(THREADS) attention_backward_keys(attention_args a) {
    using S = backward_shape<DEPTH>;
    SHARED(float, k);
    float *v = k + S::OWN * S::STRIDE, *q = v + S::OWN * S::STRIDE, *dy = q + S::MET * S::STRIDE;
    float *weights = dy + S::MET * S::STRIDE;
    attention_tile t = a.tiles[blockIdx.x];
    size_t at = (size_t)blockIdx.y * (size_t)a.size, own = (t.key + t.first) * a.kv_stride + at;
    int rows = at_most(t.keys - t.first, S::OWN);
    float4 dk[S::ROWS][S::PARTS] = {}, dv[S::ROWS][S::PARTS] = {};
    load_own<S>(a, a.k + own, a.kv_stride, rows, k);
    load_own<S>(a, a.v + own, a.kv_stride, rows, v);
    for (uint32_t query = 0; query < t.queries; query += S::MET) {
        int columns = at_most(t.queries - query, S::MET);
        __syncthreads();
        load_met<S>(a, a.q + (t.query + query) * a.q_stride + at, a.q_stride, columns, q);
        load_met<S>(a, a.dy + (t.query + query) * a.y_stride + at, a.y_stride, columns, dy);
        __syncthreads();
        if (!warp_works<S>(rows)) {
            continue;
        }
        float dots[S::ROWS][S::COLUMNS], dp[S::ROWS][S::COLUMNS];
        dot_rows<S>(k, q, a.size, dots);
        dot_rows<S>(v, dy, a.size, dp);
        weigh_queries<S>(a, t, query, dots, dp);
        put_weights<S>(dots, weights);
        __syncwarp();
        add_rows<S>(weights, dy, columns, dv);
        __syncwarp();
        put_weights<S>(dp, weights);
        __syncwarp();
        add_rows<S>(weights, q, columns, dk);
    }
    for (int i = 0; i < S::ROWS; i++) {
        scale_row<S>(dk[i], a.scale);
    }
    store_rows<S>(a, dk, rows, a.dk + own, a.kv_stride);
    store_rows<S>(a, dv, rows, a.dv + own, a.kv_stride);
}

/* ---- Host side ---- */

/* The tiles of `own` rows of all sequences, whose rows `start` gives; those with the longest way first. NULL: none. */
static const attention_tile *make_tiles(bft_device *device, const bft_attention *op, const uint32_t *start,
                                        uint32_t own, unsigned *count) {
    size_t most = 0, made = 0;
    for (size_t b = 0; b < op->batch; b++) {
        most += (start[b + 1] - start[b] + own - 1) / own;
    }
    if (most == 0 || !healthy(device)) {
        return NULL;
    }
    auto *tiles = static_cast<attention_tile *>(bft_stage_take(device, most * sizeof(attention_tile)));
    if (tiles == NULL) {
        return NULL;
    }
    for (uint32_t b = 0; b < op->batch; b++) {
        uint32_t query = op->query_start[b], key = op->key_start[b];
        for (uint32_t first = 0; first < start[b + 1] - start[b]; first += own) {
            tiles[made++] = {b, query, op->query_start[b + 1] - query, key, op->key_start[b + 1] - key, first};
        }
    }
    std::stable_sort(tiles, tiles + made,
                     [](const attention_tile &a, const attention_tile &b) { return a.keys > b.keys; });
    *count = (unsigned)made;
    return static_cast<const attention_tile *>(bft_stage_send(device, tiles, made * sizeof(attention_tile)));
}

/* How many floats one load may take, so that no head of any row is misaligned for it. */
static int load_width(const bft_attention *op) {
    uintptr_t steps = (op->head_size | op->q_stride | op->kv_stride) * sizeof(float);
    const void *const tensors[] = {op->q, op->k, op->v, op->y, op->dy, op->dq, op->dk, op->dv};
    for (const void *tensor : tensors) {
        steps |= reinterpret_cast<uintptr_t>(tensor);
    }
    return steps % sizeof(float4) == 0 ? 4 : steps % sizeof(float2) == 0 ? 2 : 1;
}

static attention_args make_args(bft_device *device, const bft_attention *op) {
    attention_args a = {};
    if (op->head_size > LARGEST_HEAD) {
        bft_check(device, "attention: heads have more than 128 values");
    }
    a.q = static_cast<const float *>(op->q);
    a.k = static_cast<const float *>(op->k);
    a.v = static_cast<const float *>(op->v);
    a.dy = static_cast<const float *>(op->dy);
    a.y = static_cast<float *>(op->y);
    a.dq = static_cast<float *>(op->dq);
    a.dk = static_cast<float *>(op->dk);
    a.dv = static_cast<float *>(op->dv);
    a.log_sum = static_cast<float *>(op->saved);
    a.along = static_cast<float *>(op->scratch);
    a.q_stride = op->q_stride;
    a.kv_stride = op->kv_stride;
    a.y_stride = op->heads * op->head_size;
    a.rows = op->query_start[op->batch];
    a.size = (int)op->head_size;
    a.width = load_width(op);
    a.scale = 1 / sqrtf((float)op->head_size);
    a.dropout = bft_dropout_key(device, &op->dropout, op->batch, false);
    return a;
}

template <int DEPTH> static void forward(bft_device *device, const bft_attention *op, attention_args a) {
    using S = forward_shape<DEPTH>;
    static_assert(S::shared(1) <= SHARED_LIMIT, "what every card gives a block");
    unsigned tiles = 0;
    a.tiles = make_tiles(device, op, op->query_start, S::OWN, &tiles);
    if (a.tiles != NULL && healthy(device)) {
        LAUNCH(device, attention_queries<DEPTH>, dim3(tiles, (unsigned)op->heads), THREADS, S::shared(1), a);
    }
}

template <int DEPTH> static void backward(bft_device *device, const bft_attention *op, attention_args a) {
    using S = backward_shape<DEPTH>;
    static_assert(S::shared(2) <= SHARED_LIMIT, "what every card gives a block");
    unsigned tiles = 0, heads = (unsigned)op->heads;
    a.tiles = make_tiles(device, op, op->query_start, S::OWN, &tiles);
    if (a.tiles != NULL && healthy(device)) {
        LAUNCH(device, attention_along, dim3(blocks_for(a.rows, WARPS).x, heads), THREADS, 0, a);
        LAUNCH(device, attention_backward_queries<DEPTH>, dim3(tiles, heads), THREADS, S::shared(2), a);
    }
    a.tiles = make_tiles(device, op, op->key_start, S::OWN, &tiles);
    if (a.tiles != NULL && healthy(device)) {
        LAUNCH(device, attention_backward_keys<DEPTH>, dim3(tiles, heads), THREADS, S::shared(2), a);
    }
}

/* How long the sequences are is known per batch only: room for all to be the longest. */
template <typename T> void bft_cuda<T>::attention_memory(const bft_attention *op, bft_memory *out) {
    out->saved = out->scratch = op->batch * op->longest * op->heads * sizeof(float);
}

template <typename T> void bft_cuda<T>::attention_forward(bft_device *device, const bft_attention *op) {
    auto by_size = op->head_size <= 32 ? forward<32> : op->head_size <= 64 ? forward<64> : forward<LARGEST_HEAD>;
    by_size(device, op, make_args(device, op));
}

template <typename T> void bft_cuda<T>::attention_backward(bft_device *device, const bft_attention *op) {
    auto by_size = op->head_size <= 32 ? backward<32> : op->head_size <= 64 ? backward<64> : backward<LARGEST_HEAD>;
    by_size(device, op, make_args(device, op));
}

FOR_ALL_VALUES(attention_memory, const bft_attention *op, bft_memory *out)
FOR_ALL_VALUES(attention_forward, bft_device *device, const bft_attention *op)
FOR_ALL_VALUES(attention_backward, bft_device *device, const bft_attention *op)
