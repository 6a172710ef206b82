/* embed.cu: word + position + type, LayerNorm, dropout. The backward gathers: for each row of a table the host lists
 * the tokens that read it, so that nothing is added atomically and the order of each sum is the tokens'. */
#include "kernels/cuda/norm_rows.cuh"

#include <string.h>

enum { LIST_WARPS = 4, LIST_BLOCKS = 2048 };

struct embed_tables { /* on the device */
    const float *word, *positions, *types, *gamma, *beta;
    const uint32_t *word_row, *position, *count;
};

/* ---- Kernels ---- */

template <int WIDTH, typename T>
__global__ void __launch_bounds__(ROW_THREADS)
    embed_rows(embed_tables from, T *y, size_t rows, size_t channels, float eps, dropout_key key, norm_saved<T> saved) {
    SHARED(float, shared);
    size_t row = warp_row();
    if (row >= rows) {
        return;
    }
    if (row >= *from.count) {
        normalize_nothing<WIDTH>(row, channels, saved, y);
        return;
    }
    const float *word = from.word + from.word_row[row] * channels;
    const float *position = from.positions + from.position[row] * channels;
    float *sum = row_in(shared, channels);
    for (size_t c = first_channel<WIDTH>(); c < channels; c += CHANNEL_STEP<WIDTH>) {
        float w[WIDTH], p[WIDTH], t[WIDTH] = {};
        load(word + c, w);
        load(position + c, p);
        if (from.types != NULL) {
            load(from.types + c, t);
        }
        for (int i = 0; i < WIDTH; i++) {
            w[i] = w[i] + p[i] + t[i];
        }
        store(sum + c, w);
    }
    normalize_row<WIDTH>(sum, row, from.gamma, from.beta, channels, eps, key, saved, y);
}

/* d = the sum's gradient. */
template <int WIDTH, typename T>
__global__ void __launch_bounds__(ROW_THREADS)
    embed_rows_backward(const T *dy, const float *gamma, norm_saved<T> saved, float *d, size_t rows, size_t channels,
                        dropout_key key) {
    SHARED(float, shared);
    size_t row = warp_row(), start = row * channels;
    if (row >= rows) {
        return;
    }
    float *g = row_in(shared, channels), x[WIDTH];
    norm_slope slope = slope_of_row<WIDTH>(dy, row, gamma, channels, key, saved, g);
    for (size_t c = first_channel<WIDTH>(); c < channels; c += CHANNEL_STEP<WIDTH>) {
        norm_gradient(g + c, saved.normal + start + c, slope, x);
        store(d + start + c, x);
    }
}

struct token_lists { /* by what the tokens read; on the device */
    const uint32_t *count, *start, *tokens;
};

/* Row i of out = , or += where `add`, the sum of the rows of d that list i names. Blocks (any, strips). */
template <int WIDTH>
__global__ void sum_tokens(const float *d, token_lists lists, size_t channels, bool add, float *out) {
    SHARED(float, room);
    size_t column = column_in<WIDTH>(blockIdx.y);
    for (size_t i = blockIdx.x; i < *lists.count; i += gridDim.x) {
        uint32_t last = column < channels ? lists.start[i + 1] : 0;
        float sum[WIDTH] = {}, x[WIDTH];
        for (uint32_t t = lists.start[i] + threadIdx.y; t < last; t += LIST_WARPS) {
            load(d + lists.tokens[t] * channels + column, x);
            for (int k = 0; k < WIDTH; k++) {
                sum[k] += x[k];
            }
        }
        sum_warps(sum, room);
        if (threadIdx.y == 0 && column < channels) {
            float before[WIDTH] = {};
            if (add) {
                load(out + i * channels + column, before);
            }
            for (int k = 0; k < WIDTH; k++) {
                sum[k] += before[k];
            }
            store(out + i * channels + column, sum);
        }
        __syncthreads(); /* before `room` is written again */
    }
}

/* ---- Starting them ---- */

template <int WIDTH, typename T>
static void start_forward(bft_device *device, const bft_embed *op, const dropout_key &key) {
    embed_tables from = {};
    from.word = static_cast<const float *>(op->word);
    from.positions = static_cast<const float *>(op->position_table);
    from.types = static_cast<const float *>(op->type_table);
    from.gamma = static_cast<const float *>(op->gamma);
    from.beta = static_cast<const float *>(op->beta);
    from.word_row = mirror_rows(device, op->word_row, op->rows);
    from.position = mirror_rows(device, op->position, op->rows);
    from.count = mirror_value(device, static_cast<uint32_t>(op->rows));
    if (!healthy(device)) {
        return;
    }
    size_t rows = bft_padded(op->rows);
    unsigned warps = norm_warps(op->channels);
    LAUNCH(device, (embed_rows<WIDTH, T>), blocks_for(rows, warps), warps * WARP_SIZE, norm_shared_bytes(op->channels),
           from, static_cast<T *>(op->y), rows, op->channels, op->eps, key, norm_saved_in<T>(op->saved, rows));
}

template <int WIDTH, typename T>
static void start_backward(bft_device *device, const bft_embed *op, const dropout_key &key, float *d) {
    size_t rows = bft_padded(op->rows);
    unsigned warps = norm_warps(op->channels);
    LAUNCH(device, (embed_rows_backward<WIDTH, T>), blocks_for(rows, warps), warps * WARP_SIZE,
           norm_shared_bytes(op->channels), static_cast<const T *>(op->dy), static_cast<const float *>(op->gamma),
           norm_saved_in<T>(op->saved, rows), d, rows, op->channels, key);
}

template <int WIDTH>
static void start_tokens(bft_device *device, const float *d, const token_lists &lists, size_t most, size_t channels,
                         bool add, float *out) {
    unsigned blocks = most < LIST_BLOCKS ? static_cast<unsigned>(most) : static_cast<unsigned>(LIST_BLOCKS);
    LAUNCH(device, sum_tokens<WIDTH>, dim3(blocks, strips_of(channels, WIDTH)), dim3(WARP_SIZE, LIST_WARPS),
           strip_bytes(WIDTH, LIST_WARPS), d, lists, channels, add, out);
}

/* ---- The op ---- */

template <typename T> void bft_cuda<T>::embed_memory(const bft_embed *op, bft_memory *out) {
    size_t rows = bft_padded(op->rows);
    out->saved = norm_saved_bytes<T>(rows, op->channels);
    out->scratch = (rows * op->channels + 2 * column_scratch(rows, op->channels)) * sizeof(float);
}

template <typename T> void bft_cuda<T>::embed_forward(bft_device *device, const bft_embed *op) {
    dropout_key key = bft_dropout_key(device, &op->dropout, op->rows, true);
    if (op->rows == 0 || !healthy(device)) {
        return;
    }
    by_four(op->channels, {op->word, op->position_table, op->type_table, op->gamma, op->beta, op->y, op->saved})
        ? start_forward<4, T>(device, op, key)
        : start_forward<1, T>(device, op, key);
}

/* Tokens by what they read, below `keys`: a counting sort into staged memory. There may be `most` lists. */
static token_lists list_tokens(bft_device *device, const uint32_t *key, size_t rows, size_t keys, size_t most) {
    token_lists lists = {};
    size_t start_bytes = (most + 2) * sizeof(uint32_t), token_bytes = bft_padded(rows) * sizeof(uint32_t);
    uint32_t *start = static_cast<uint32_t *>(bft_stage_take(device, start_bytes));
    uint32_t *tokens = static_cast<uint32_t *>(bft_stage_take(device, token_bytes));
    if (start == NULL || tokens == NULL) {
        return lists;
    }
    memset(start, 0, start_bytes);
    memset(tokens, 0, token_bytes);
    for (size_t r = 0; r < rows; r++) {
        start[key[r] + 2]++;
    }
    for (size_t k = 0; k < keys; k++) {
        start[k + 2] += start[k + 1];
    }
    for (size_t r = 0; r < rows; r++) {
        tokens[start[key[r] + 1]++] = (uint32_t)r;
    }
    lists.start = static_cast<const uint32_t *>(bft_stage_send(device, start, start_bytes));
    lists.tokens = static_cast<const uint32_t *>(bft_stage_send(device, tokens, token_bytes));
    lists.count = mirror_value(device, static_cast<uint32_t>(keys));
    return lists;
}

static void table_backward(bft_device *device, const bft_embed *op, const float *d, const uint32_t *key, size_t keys,
                           bool add, void *gradient) {
    float *out = static_cast<float *>(gradient);
    size_t most = bft_padded(keys > op->rows ? keys : op->rows); /* keys that no token reads may come on top */
    if (out == NULL || !healthy(device)) {
        return;
    }
    token_lists lists = list_tokens(device, key, op->rows, keys, most);
    if (healthy(device)) {
        by_four(op->channels, {d, out}) ? start_tokens<4>(device, d, lists, most, op->channels, add, out)
                                        : start_tokens<1>(device, d, lists, most, op->channels, add, out);
    }
}

static size_t positions_in(const bft_embed *op) {
    size_t count = 0;
    for (size_t r = 0; r < op->rows; r++) {
        count = op->position[r] >= count ? op->position[r] + 1 : count;
    }
    return count;
}

template <typename T> void bft_cuda<T>::embed_backward(bft_device *device, const bft_embed *op) {
    size_t rows = bft_padded(op->rows);
    float *d = static_cast<float *>(op->scratch), *partial = d + rows * op->channels;
    const T *normal = norm_saved_in<T>(op->saved, rows).normal;
    dropout_key key = bft_dropout_key(device, &op->dropout, op->rows, true);
    if (op->rows == 0 || !healthy(device)) {
        return;
    }
    bft_norm_column_sums(device, static_cast<const T *>(op->dy), normal, key, rows, op->channels, partial,
                         static_cast<float *>(op->dgamma), static_cast<float *>(op->dbeta));
    if (op->dword == NULL && op->dposition_table == NULL && op->dtype_table == NULL) {
        return;
    }
    by_four(op->channels, {op->dy, op->gamma, op->saved, d}) ? start_backward<4, T>(device, op, key, d)
                                                             : start_backward<1, T>(device, op, key, d);
    table_backward(device, op, d, op->word_row, op->words, false, op->dword);
    table_backward(device, op, d, op->position, positions_in(op), true, op->dposition_table);
    bft_column_sums(device, static_cast<const float *>(d), rows, op->channels, partial,
                    static_cast<float *>(op->dtype_table));
}

FOR_ALL_VALUES(embed_memory, const bft_embed *op, bft_memory *out)
FOR_ALL_VALUES(embed_forward, bft_device *device, const bft_embed *op)
FOR_ALL_VALUES(embed_backward, bft_device *device, const bft_embed *op)
