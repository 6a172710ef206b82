/* embed.cu: word + position + type, LayerNorm, dropout. The backward gathers: for each row of a table the host lists the tokens
 * that read it, so that nothing is added atomically and the order of each sum is the tokens'. */
#include "kernels/cuda/norm_rows.cuh"

#include <string.h>

enum { TABLE_THREADS = 128 };

__global__ void __launch_bounds__(ROW_THREADS)
    embed_rows(const float *word, const uint32_t *word_row, const uint32_t *position, const float *positions,
               const float *types, const float *gamma, const float *beta, float *y, size_t rows, size_t channels,
               float eps, dropout_key key, float *normal, float *scale) {
    size_t row = warp_row();
    if (row >= rows) {
        return;
    }
    size_t start = row * channels, lane = threadIdx.x % WARP_SIZE;
    const float *w = word + word_row[row] * channels, *p = positions + position[row] * channels;
    for (size_t c = lane; c < channels; c += WARP_SIZE) {
        y[start + c] = w[c] + p[c] + (types != NULL ? types[c] : 0);
    }
    normalize_row(y + start, gamma, beta, channels, eps, normal != NULL ? normal + start : NULL,
                  scale != NULL ? scale + row : NULL);
    for (size_t c = lane; key.scale != 0 && c < channels; c += WARP_SIZE) {
        y[start + c] *= dropout_in_row(key, row, (uint32_t)c);
    }
}

__global__ void drop_rows(const float *dy, float *d, size_t rows, size_t channels, dropout_key key) {
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < rows * channels) {
        d[i] = dy[i] * dropout_in_row(key, i / channels, (uint32_t)(i % channels));
    }
}

__global__ void __launch_bounds__(ROW_THREADS) embed_rows_backward(float *d, const float *gamma, const float *normal,
                                                                   const float *scale, size_t rows, size_t channels) {
    size_t row = warp_row();
    if (row < rows) {
        normalize_row_backward(d + row * channels, gamma, normal + row * channels, scale[row], channels);
    }
}

/* Block i sums the rows tokens[start[i] .. start[i + 1]) of d into row target[i] of out; NULL target: row i, overwritten. */
__global__ void sum_tokens(const float *d, const uint32_t *start, const uint32_t *tokens, const uint32_t *target,
                           size_t channels, float *out) {
    size_t i = blockIdx.x;
    float *row = out + (target != NULL ? target[i] : i) * channels;
    for (size_t c = threadIdx.x; c < channels; c += blockDim.x) {
        float sum = 0;
        for (uint32_t t = start[i]; t < start[i + 1]; t++) {
            sum += d[tokens[t] * channels + c];
        }
        row[c] = target != NULL ? row[c] + sum : sum;
    }
}

/* Tokens by what they read: a counting sort into staged memory, and its images on the device. */
struct token_lists {
    size_t count;                          /* lists */
    const uint32_t *start, *tokens, *what; /* (count + 1), (rows), (count) */
};

static token_lists list_tokens(bft_device *device, const uint32_t *key, size_t rows, size_t keys) {
    token_lists lists = {};
    uint32_t *start = static_cast<uint32_t *>(bft_stage_take(device, (keys + 2) * sizeof *start));
    uint32_t *tokens = static_cast<uint32_t *>(bft_stage_take(device, (rows + 1) * sizeof *tokens));
    uint32_t *what = static_cast<uint32_t *>(bft_stage_take(device, (keys + 1) * sizeof *what));
    if (start == NULL || tokens == NULL || what == NULL) {
        return lists;
    }
    memset(start, 0, (keys + 2) * sizeof *start);
    for (size_t r = 0; r < rows; r++) {
        start[key[r] + 2]++;
    }
    for (size_t k = 0; k < keys; k++) {
        start[k + 2] += start[k + 1];
        what[k] = (uint32_t)k;
    }
    for (size_t r = 0; r < rows; r++) {
        tokens[start[key[r] + 1]++] = (uint32_t)r;
    }
    lists.count = keys;
    lists.start = static_cast<const uint32_t *>(bft_stage_send(device, start, (keys + 2) * sizeof *start));
    lists.tokens = static_cast<const uint32_t *>(bft_stage_send(device, tokens, (rows + 1) * sizeof *tokens));
    lists.what = static_cast<const uint32_t *>(bft_stage_send(device, what, (keys + 1) * sizeof *what));
    return lists;
}

template <typename T> void bft_cuda<T>::embed_memory(const bft_embed *op, bft_memory *out) {
    out->saved = norm_saved_floats(op->rows, op->channels) * sizeof(float);
    out->scratch = (op->rows * op->channels + column_scratch(op->rows, op->channels)) * sizeof(float);
}

template <typename T> void bft_cuda<T>::embed_forward(bft_device *device, const bft_embed *op) {
    const uint32_t *word_row = mirror_rows(device, op->word_row, op->rows),
                   *position = mirror_rows(device, op->position, op->rows);
    dropout_key key = bft_dropout_key(device, &op->dropout, op->rows, true);
    float *normal = static_cast<float *>(op->saved);
    if (op->rows == 0 || !healthy(device)) {
        return;
    }
    LAUNCH(device, embed_rows, blocks_for(op->rows, ROW_WARPS), ROW_THREADS, 0, static_cast<const float *>(op->word),
           word_row, position, static_cast<const float *>(op->position_table),
           static_cast<const float *>(op->type_table), static_cast<const float *>(op->gamma),
           static_cast<const float *>(op->beta), static_cast<float *>(op->y), op->rows, op->channels, op->eps, key,
           normal, normal != NULL ? normal + op->rows * op->channels : NULL);
}

static size_t positions_in(const bft_embed *op) {
    size_t count = 0;
    for (size_t r = 0; r < op->rows; r++) {
        count = op->position[r] >= count ? op->position[r] + 1 : count;
    }
    return count;
}

static void tables_backward(bft_device *device, const bft_embed *op, const float *d, float *partial) {
    if (op->dword != NULL && op->words > 0) {
        token_lists words = list_tokens(device, op->word_row, op->rows, op->words);
        LAUNCH(device, sum_tokens, dim3((unsigned)words.count), TABLE_THREADS, 0, d, words.start, words.tokens,
               static_cast<const uint32_t *>(NULL), op->channels, static_cast<float *>(op->dword));
    }
    if (op->dposition_table != NULL && healthy(device)) {
        token_lists positions = list_tokens(device, op->position, op->rows, positions_in(op));
        LAUNCH(device, sum_tokens, dim3((unsigned)positions.count), TABLE_THREADS, 0, d, positions.start,
               positions.tokens, positions.what, op->channels, static_cast<float *>(op->dposition_table));
    }
    bft_column_sums(device, d, NULL, op->rows, op->channels, partial, static_cast<float *>(op->dtype_table));
}

template <typename T> void bft_cuda<T>::embed_backward(bft_device *device, const bft_embed *op) {
    float *d = static_cast<float *>(op->scratch), *partial = d + op->rows * op->channels;
    const float *normal = static_cast<const float *>(op->saved);
    dropout_key key = bft_dropout_key(device, &op->dropout, op->rows, true);
    if (op->rows == 0 || !healthy(device)) {
        return;
    }
    LAUNCH(device, drop_rows, blocks_for(op->rows * op->channels, TABLE_THREADS), TABLE_THREADS, 0,
           static_cast<const float *>(op->dy), d, op->rows, op->channels, key);
    bft_column_sums(device, d, normal, op->rows, op->channels, partial, static_cast<float *>(op->dgamma));
    bft_column_sums(device, d, NULL, op->rows, op->channels, partial, static_cast<float *>(op->dbeta));
    LAUNCH(device, embed_rows_backward, blocks_for(op->rows, ROW_WARPS), ROW_THREADS, 0, d,
           static_cast<const float *>(op->gamma), normal, normal + op->rows * op->channels, op->rows, op->channels);
    tables_backward(device, op, d, partial);
}

FOR_ALL_VALUES(embed_memory, const bft_embed *op, bft_memory *out)
FOR_ALL_VALUES(embed_forward, bft_device *device, const bft_embed *op)
FOR_ALL_VALUES(embed_backward, bft_device *device, const bft_embed *op)
