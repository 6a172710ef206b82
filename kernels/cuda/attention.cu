/* attention.cu: variable-length attention in the flash manner: scores live in tiles, never as queries x keys.
 *
 * A block's work is a tile of a list that the host makes: rows of a sequence that it owns, and the rows on the other side that
 * they meet (attention_tile.cuh). The rows behind the last are one more sequence, which meets nothing: what is written there
 * is 0. Saved is the log-sum-exp of each query's scores, from which the backward computes the probabilities again. */
#include "kernels/cuda/attention_cudnn.cuh"
#include "kernels/cuda/attention_tile.cuh"

#include <algorithm>
#include <math.h>

enum { LARGEST_HEAD = 128, SHARED_LIMIT = 48 << 10, BLOCKS = 4 }; /* BLOCKS that a multiprocessor holds at once */

template <int DEPTH> using forward_shape = tile_shape<DEPTH, (DEPTH <= 64 ? 4 : 2)>;
template <int DEPTH> using backward_shape = tile_shape<DEPTH, LARGEST_HEAD / DEPTH>;

/* One block's work, for every head. The owned rows are queries and the met ones keys, or the other way round. */
struct attention_tile {
    uint32_t sequence, place; /* of the first row that is owned: the sequence, and how far behind its start */
    uint32_t own, rows;       /* that row, and how many are owned; 0: there is nothing to do */
    uint32_t met, count;      /* first row of the sequence on the other side, and how many it has there */
};

template <typename T> struct attention_args {
    const attention_tile *tiles;
    const T *q, *k, *v, *dy;
    T *y, *dq, *dk, *dv;
    float *log_sum, *along; /* (H, rows of queries) log-sum-exp of the scores; sum of dy y */
    size_t q_stride, kv_stride, y_stride, rows;
    int size, width; /* D, and how many values one access may take */
    float scale;
    dropout_key dropout;
};

/* ---- Kernels: blockIdx.x is the tile, blockIdx.y the head ---- */

template <typename T, typename V>
__device__ __forceinline__ head_rows<V> rows_at(const attention_args<T> &a, V *tensor, size_t stride, uint32_t row) {
    head_rows<V> rows = {tensor + row * stride + (size_t)blockIdx.y * (size_t)a.size, stride, a.size, a.width};
    return rows;
}

/* Of log_sum and along. */
template <typename T>
__device__ __forceinline__ size_t statistic_at(const attention_args<T> &a, uint32_t first, int behind) {
    return blockIdx.y * a.rows + first + (size_t)behind;
}

struct pair_dropout {
    dropout_key key;
    uint32_t sample, step;
};

__device__ __forceinline__ pair_dropout dropout_of(const dropout_key &key, uint32_t sequence) {
    pair_dropout dropout = {key, 0, 0};
    if (key.scale != 0) {
        dropout.sample = key.sample[sequence];
        dropout.step = *key.step;
    }
    return dropout;
}

/* What the probabilities of COUNT keys from `key` on, a multiple of COUNT, are multiplied by. */
template <int COUNT>
__device__ __forceinline__ void dropout_factors(const pair_dropout &dropout, uint32_t query, uint32_t key,
                                                float (&factor)[COUNT]) {
    for (int j = 0; j < COUNT; j++) {
        factor[j] = 1;
    }
    if (dropout.key.scale == 0) {
        return;
    }
    uint32_t channel = blockIdx.y << 16 | key, skip = COUNT == 4 ? 0 : channel % 4;
    philox_words words = philox(channel / 4, query | dropout.key.place, dropout.sample, dropout.step, dropout.key.seed);
    for (uint32_t w = 0; w < 4; w++) {
        for (uint32_t j = 0; j < COUNT; j++) {
            if (skip + j == w) {
                factor[j] = words.word[w] < dropout.key.threshold ? 0 : dropout.key.scale;
            }
        }
    }
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
    top = lanes_max<LANES>(top);
    for (int j = 0; j < S::COLUMNS; j++) {
        scores[j] = expf(scores[j] - top);
        sum += scores[j];
    }
    float shrink = expf(*largest - top);
    *total = *total * shrink + lanes_sum<LANES>(sum);
    *largest = top;
    scale_row<S>(sums, shrink);
}

template <typename T, int DEPTH>
__global__ void __launch_bounds__(THREADS, BLOCKS) attention_queries(attention_args<T> a) {
    using S = forward_shape<DEPTH>;
    SHARED(float, q);
    float *k = q + S::OWN * S::STRIDE, *v = k + S::MET * S::STRIDE, *weights = v + S::MET * S::STRIDE;
    attention_tile t = a.tiles[blockIdx.x];
    int rows = (int)t.rows, row = own_row<S>();
    if (rows == 0) {
        return;
    }
    float4 sums[S::ROWS][S::PARTS] = {};
    float largest[S::ROWS], total[S::ROWS];
    for (int i = 0; i < S::ROWS; i++) {
        largest[i] = -INFINITY;
        total[i] = 0;
    }
    pair_dropout dropout = dropout_of(a.dropout, t.sequence);
    load_own<S>(rows_at(a, a.q, a.q_stride, t.own), rows, q);
    auto each = [&](uint32_t key, int columns) {
        float scores[S::ROWS][S::COLUMNS];
        dot_rows<S>(q, k, a.size, scores);
        for (int i = 0; i < S::ROWS; i++) {
            float factor[S::COLUMNS];
            soften<S>(scores[i], columns, a.scale, &largest[i], &total[i], sums[i]);
            dropout_factors(dropout, t.place + (uint32_t)(row + i), key + (uint32_t)(own_column() * S::COLUMNS),
                            factor);
            for (int j = 0; j < S::COLUMNS; j++) {
                scores[i][j] *= factor[j];
            }
        }
        put_weights<S>(scores, weights);
        __syncwarp();
        add_rows<S>(weights, v, columns, sums);
    };
    meet<S>(rows, t.count, rows_at(a, a.k, a.kv_stride, t.met), k, rows_at(a, a.v, a.kv_stride, t.met), v, each);
    for (int i = 0; i < S::ROWS; i++) {
        scale_row<S>(sums[i], t.count > 0 ? 1 / total[i] : 0);
        if (a.log_sum != NULL && own_column() == 0 && row + i < rows) {
            a.log_sum[statistic_at(a, t.own, row + i)] = largest[i] + logf(total[i]);
        }
    }
    store_rows<S>(rows_at(a, a.y, a.y_stride, t.own), rows, sums);
}

/* With P the probabilities, M the dropout factors, along = sum(dy y), which is sum(P dP):
 * dP = (dy v^T) M; dS = P (dP - along); dq = scale dS k. Leaves `along` for the keys. */
template <typename T, int DEPTH>
__global__ void __launch_bounds__(THREADS, BLOCKS) attention_backward_queries(attention_args<T> a) {
    using S = backward_shape<DEPTH>;
    SHARED(float, q);
    float *dy = q + S::OWN * S::STRIDE, *k = dy + S::OWN * S::STRIDE, *v = k + S::MET * S::STRIDE;
    float *weights = v + S::MET * S::STRIDE;
    attention_tile t = a.tiles[blockIdx.x];
    int rows = (int)t.rows, row = own_row<S>();
    if (rows == 0) {
        return;
    }
    float4 sums[S::ROWS][S::PARTS] = {};
    float log_sum[S::ROWS], along[S::ROWS];
    pair_dropout dropout = dropout_of(a.dropout, t.sequence);
    load_own<S>(rows_at(a, a.q, a.q_stride, t.own), rows, q);
    load_own<S>(rows_at(a, a.dy, a.y_stride, t.own), rows, dy);
    __syncthreads();
    dot_own<S>(dy, rows_at(a, static_cast<const T *>(a.y), a.y_stride, t.own), rows, along);
    for (int i = 0; i < S::ROWS; i++) {
        size_t at = statistic_at(a, t.own, row + i);
        log_sum[i] = row + i < rows ? a.log_sum[at] : 0;
        if (own_column() == 0 && row + i < rows) {
            a.along[at] = along[i];
        }
    }
    auto each = [&](uint32_t key, int columns) {
        float scores[S::ROWS][S::COLUMNS], dp[S::ROWS][S::COLUMNS];
        int column = own_column() * S::COLUMNS;
        dot_rows<S>(q, k, a.size, scores);
        dot_rows<S>(dy, v, a.size, dp);
        for (int i = 0; i < S::ROWS; i++) {
            float factor[S::COLUMNS];
            dropout_factors(dropout, t.place + (uint32_t)(row + i), key + (uint32_t)column, factor);
            for (int j = 0; j < S::COLUMNS; j++) {
                float p = column + j < columns ? expf(scores[i][j] * a.scale - log_sum[i]) : 0;
                dp[i][j] = p * (dp[i][j] * factor[j] - along[i]);
            }
        }
        put_weights<S>(dp, weights);
        __syncwarp();
        add_rows<S>(weights, k, columns, sums);
    };
    meet<S>(rows, t.count, rows_at(a, a.k, a.kv_stride, t.met), k, rows_at(a, a.v, a.kv_stride, t.met), v, each);
    for (int i = 0; i < S::ROWS; i++) {
        scale_row<S>(sums[i], a.scale);
    }
    store_rows<S>(rows_at(a, a.dq, a.q_stride, t.own), rows, sums);
}

/* A tile of keys against the `columns` queries from `query` on: dots = k q^T becomes P M, and dp = v dy^T becomes dS. */
template <class S, typename T>
__device__ __forceinline__ void weigh_queries(const attention_args<T> &a, const attention_tile &t,
                                              const pair_dropout &dropout, uint32_t query, int columns,
                                              float (&dots)[S::ROWS][S::COLUMNS], float (&dp)[S::ROWS][S::COLUMNS]) {
    for (int j = 0; j < S::COLUMNS; j++) {
        int column = own_column() * S::COLUMNS + j;
        size_t at = statistic_at(a, t.met + query, column);
        float log_sum = column < columns ? a.log_sum[at] : 0, along = column < columns ? a.along[at] : 0;
        float factor[S::ROWS];
        dropout_factors(dropout, query + (uint32_t)column, t.place + (uint32_t)own_row<S>(), factor);
        for (int i = 0; i < S::ROWS; i++) {
            float p = column < columns ? expf(dots[i][j] * a.scale - log_sum) : 0;
            dots[i][j] = p * factor[i];
            dp[i][j] = p * (dp[i][j] * factor[i] - along);
        }
    }
}

/* dv = (P M)^T dy; dk = scale dS^T q. */
template <typename T, int DEPTH>
__global__ void __launch_bounds__(THREADS, BLOCKS) attention_backward_keys(attention_args<T> a) {
    using S = backward_shape<DEPTH>;
    SHARED(float, k);
    float *v = k + S::OWN * S::STRIDE, *q = v + S::OWN * S::STRIDE, *dy = q + S::MET * S::STRIDE;
    float *weights = dy + S::MET * S::STRIDE;
    attention_tile t = a.tiles[blockIdx.x];
    int rows = (int)t.rows;
    if (rows == 0) {
        return;
    }
    float4 dk[S::ROWS][S::PARTS] = {}, dv[S::ROWS][S::PARTS] = {};
    pair_dropout dropout = dropout_of(a.dropout, t.sequence);
    load_own<S>(rows_at(a, a.k, a.kv_stride, t.own), rows, k);
    load_own<S>(rows_at(a, a.v, a.kv_stride, t.own), rows, v);
    auto each = [&](uint32_t query, int columns) {
        float dots[S::ROWS][S::COLUMNS], dp[S::ROWS][S::COLUMNS];
        dot_rows<S>(k, q, a.size, dots);
        dot_rows<S>(v, dy, a.size, dp);
        weigh_queries<S>(a, t, dropout, query, columns, dots, dp);
        put_weights<S>(dots, weights);
        __syncwarp();
        add_rows<S>(weights, dy, columns, dv);
        __syncwarp();
        put_weights<S>(dp, weights);
        __syncwarp();
        add_rows<S>(weights, q, columns, dk);
    };
    meet<S>(rows, t.count, rows_at(a, a.q, a.q_stride, t.met), q, rows_at(a, a.dy, a.y_stride, t.met), dy, each);
    for (int i = 0; i < S::ROWS; i++) {
        scale_row<S>(dk[i], a.scale);
    }
    store_rows<S>(rows_at(a, a.dk, a.kv_stride, t.own), rows, dk);
    store_rows<S>(rows_at(a, a.dv, a.kv_stride, t.own), rows, dv);
}

/* ---- Host side ---- */

/* Tiles of up to `rows` rows of all sequences, which start at `own` on the side that is owned and at `met` on the other, and of the
 * rows behind the last; those with the longest way first. Of *count the last are empty: padded sizes alone decide how many there
 * are. NULL: at fault. */
static const attention_tile *make_tiles(bft_device *device, size_t batch, const uint32_t *own, const uint32_t *met,
                                        uint32_t rows, unsigned *count) {
    const uint32_t last = own[batch], padded = (uint32_t)bft_padded(last);
    size_t most = padded / rows + bft_padded(batch) + 1, made = 0, bytes = most * sizeof(attention_tile);
    auto *tiles = static_cast<attention_tile *>(healthy(device) ? bft_stage_take(device, bytes) : NULL);
    if (tiles == NULL) {
        return NULL;
    }
    for (uint32_t b = 0; b < batch; b++) {
        for (uint32_t at = own[b]; at < own[b + 1]; at += rows) {
            tiles[made++] = {b, at - own[b], at, std::min(rows, own[b + 1] - at), met[b], met[b + 1] - met[b]};
        }
    }
    for (uint32_t at = last; at < padded; at += rows) {
        tiles[made++] = {0, at - last, at, std::min(rows, padded - at), 0, 0};
    }
    std::stable_sort(tiles, tiles + made,
                     [](const attention_tile &a, const attention_tile &b) { return a.count > b.count; });
    std::fill(tiles + made, tiles + most, attention_tile());
    *count = (unsigned)most;
    return static_cast<const attention_tile *>(bft_stage_send(device, tiles, bytes));
}

/* How many values one access may take, so that no head of any row is misaligned for it. */
template <typename T> static int access_width(const bft_attention *op) {
    uintptr_t steps = (op->head_size | op->q_stride | op->kv_stride) * sizeof(T);
    const void *const tensors[] = {op->q, op->k, op->v, op->y, op->dy, op->dq, op->dk, op->dv};
    for (const void *tensor : tensors) {
        steps |= reinterpret_cast<uintptr_t>(tensor);
    }
    return steps % sizeof(four<T>) == 0 ? 4 : steps % sizeof(two<T>) == 0 ? 2 : 1;
}

template <typename T> static attention_args<T> make_args(bft_device *device, const bft_attention *op) {
    attention_args<T> a = {};
    if (op->head_size > LARGEST_HEAD) {
        bft_check(device, "attention: heads have more than 128 values");
    }
    a.q = static_cast<const T *>(op->q);
    a.k = static_cast<const T *>(op->k);
    a.v = static_cast<const T *>(op->v);
    a.dy = static_cast<const T *>(op->dy);
    a.y = static_cast<T *>(op->y);
    a.dq = static_cast<T *>(op->dq);
    a.dk = static_cast<T *>(op->dk);
    a.dv = static_cast<T *>(op->dv);
    a.log_sum = static_cast<float *>(op->saved);
    a.along = static_cast<float *>(op->scratch);
    a.q_stride = op->q_stride;
    a.kv_stride = op->kv_stride;
    a.y_stride = op->heads * op->head_size;
    a.rows = bft_padded(op->rows);
    a.size = (int)op->head_size;
    a.width = access_width<T>(op);
    a.scale = 1 / sqrtf((float)op->head_size);
    a.dropout = bft_dropout_key(device, &op->dropout, op->batch, false);
    return a;
}

template <typename T, int DEPTH> static void forward(bft_device *device, const bft_attention *op, attention_args<T> a) {
    using S = forward_shape<DEPTH>;
    static_assert(S::shared(1) <= SHARED_LIMIT, "what every card gives a block");
    unsigned tiles = 0, heads = (unsigned)op->heads;
    a.tiles = make_tiles(device, op->batch, op->query_start, op->key_start, S::OWN, &tiles);
    if (healthy(device)) {
        LAUNCH(device, (attention_queries<T, DEPTH>), dim3(tiles, heads), THREADS, S::shared(1), a);
    }
}

template <typename T, int DEPTH>
static void backward(bft_device *device, const bft_attention *op, attention_args<T> a) {
    using S = backward_shape<DEPTH>;
    static_assert(S::shared(2) <= SHARED_LIMIT, "what every card gives a block");
    unsigned tiles = 0, heads = (unsigned)op->heads;
    a.tiles = make_tiles(device, op->batch, op->query_start, op->key_start, S::OWN, &tiles);
    if (healthy(device)) {
        LAUNCH(device, (attention_backward_queries<T, DEPTH>), dim3(tiles, heads), THREADS, S::shared(2), a);
    }
    a.tiles = make_tiles(device, op->batch, op->key_start, op->query_start, S::OWN, &tiles);
    if (healthy(device)) {
        LAUNCH(device, (attention_backward_keys<T, DEPTH>), dim3(tiles, heads), THREADS, S::shared(2), a);
    }
}

template <typename T> void bft_cuda<T>::attention_memory(const bft_attention *op, bft_memory *out) {
    out->saved = out->scratch = bft_padded(op->rows) * op->heads * sizeof(float);
}

template <typename T> void bft_cuda<T>::attention_forward(bft_device *device, const bft_attention *op) {
    if (bft_attention_engine_forward(device->attention, device, op)) {
        return;
    }
    auto by_size = op->head_size <= 32   ? forward<T, 32>
                   : op->head_size <= 64 ? forward<T, 64>
                                         : forward<T, LARGEST_HEAD>;
    by_size(device, op, make_args<T>(device, op));
}

template <typename T> void bft_cuda<T>::attention_backward(bft_device *device, const bft_attention *op) {
    if (bft_attention_engine_backward(device->attention, device, op)) {
        return;
    }
    auto by_size = op->head_size <= 32   ? backward<T, 32>
                   : op->head_size <= 64 ? backward<T, 64>
                                         : backward<T, LARGEST_HEAD>;
    by_size(device, op, make_args<T>(device, op));
}

FOR_ALL_VALUES(attention_memory, const bft_attention *op, bft_memory *out)
FOR_ALL_VALUES(attention_forward, bft_device *device, const bft_attention *op)
FOR_ALL_VALUES(attention_backward, bft_device *device, const bft_attention *op)
