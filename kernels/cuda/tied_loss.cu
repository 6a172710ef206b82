/* tied_loss.cu: the loss over a decoder that is the word table, by tiles of WORDS words, a warp a row of a tile.
 *
 * Twice over the vocabulary, as kernels/cpu/tied_loss.c: the first time for each row's sum of e^logits, the second time for the
 * gradient, which needs it. The products are the library's. */
#include "kernels/cuda/columns.cuh"
#include "kernels/cuda/wide.cuh"

enum { WORDS = 8192 };

/* What is known of the rows so far, (padded M) each. */
struct tied_rows {
    double *sum, *target; /* of e^(logit - largest); the target's logit */
    double *hit;          /* 1 where the largest logit, of equal ones the first, is the target's, else 0 */
    float *largest;
    uint32_t *best;
};

/* A tile, on the device. Logits lack their bias. */
struct tied_tile {
    float *logits;     /* (padded M, words), then their gradient */
    const float *bias; /* (words) */
    uint32_t first, words;
    const uint32_t *target, *count; /* (padded M); M itself */
    const double *normalizer;
    size_t rows; /* padded M */
    tied_rows row;
};

/* ---- The first time ---- */

/* The largest logit of a warp's row, and the first word that has it. */
__device__ __forceinline__ void find_largest(const tied_tile &t, const float *logits, float *largest, uint32_t *word) {
    float most = -INFINITY;
    uint32_t best = 0;
    for (uint32_t i = threadIdx.x % WARP_SIZE; i < t.words; i += WARP_SIZE) {
        float x = logits[i] + t.bias[i];
        best = x > most ? i : best;
        most = fmaxf(most, x);
    }
    *largest = lanes_max(most);
    best = most == *largest ? best : t.words;
    for (int mask = WARP_SIZE / 2; mask > 0; mask /= 2) {
        uint32_t other = __shfl_xor_sync(0xFFFFFFFFu, best, mask);
        best = other < best ? other : best;
    }
    *word = best;
}

__global__ void __launch_bounds__(ROW_THREADS) watch_logits(tied_tile t) {
    size_t r = warp_row();
    if (r >= t.rows || r >= *t.count) {
        return;
    }
    const float *logits = t.logits + r * t.words;
    float largest, sum = 0;
    uint32_t word;
    find_largest(t, logits, &largest, &word);
    float before = t.first == 0 ? -INFINITY : t.row.largest[r], most = fmaxf(before, largest);
    for (uint32_t i = threadIdx.x % WARP_SIZE; i < t.words; i += WARP_SIZE) {
        sum += expf(logits[i] + t.bias[i] - most);
    }
    sum = lanes_sum(sum);
    if (threadIdx.x % WARP_SIZE != 0) {
        return;
    }
    double kept = t.first == 0 ? 0 : t.row.sum[r] * exp((double)before - (double)most);
    t.row.sum[r] = kept + (double)sum;
    t.row.largest[r] = most;
    if (largest > before || t.first == 0) {
        t.row.best[r] = t.first + word;
    }
    uint32_t target = t.target[r] - t.first;
    if (t.target[r] >= t.first && target < t.words) {
        t.row.target[r] = (double)(logits[target] + t.bias[target]);
    }
}

__global__ void finish_losses(tied_tile t, double *loss) {
    size_t r = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (r < *t.count) {
        loss[r] = ((double)t.row.largest[r] + log(t.row.sum[r]) - t.row.target[r]) / *t.normalizer;
        t.row.hit[r] = t.row.best[r] == t.target[r] ? 1 : 0;
    }
}

/* ---- The second time ---- */

/* Logits to their gradient, (probability - [it is the target's]) / normalizer: in place for the bias, and in `d` as a factor of
 * products. Rows behind the last are zeros. */
template <typename T> __global__ void __launch_bounds__(ROW_THREADS) turn_logits(tied_tile t, T *d) {
    size_t r = warp_row();
    if (r >= t.rows) {
        return;
    }
    bool there = r < *t.count;
    float *logits = t.logits + r * t.words, largest = there ? t.row.largest[r] : 0;
    float part = there ? (float)(1 / (t.row.sum[r] * *t.normalizer)) : 0, scale = (float)(1 / *t.normalizer);
    uint32_t target = there ? t.target[r] - t.first : t.words;
    for (uint32_t i = threadIdx.x % WARP_SIZE; i < t.words; i += WARP_SIZE) {
        float x = there ? expf(logits[i] + t.bias[i] - largest) * part - (i == target ? scale : 0) : 0;
        logits[i] = x;
        d[r * t.words + i] = from_float<T>(x);
    }
}

/* ---- The op ---- */

static size_t rounded(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

/* What lies in `scratch`. Where values are floats, the gradient's factors lie in the logits, and dx is added up in its place. */
template <typename T> struct tied_room {
    static constexpr bool narrow = sizeof(T) < sizeof(float);
    size_t rows, words;
    size_t logits, factors, dx, sums, state; /* offsets */
    size_t bytes;

    explicit tied_room(const bft_tied_loss *op) {
        rows = bft_padded(op->rows);
        words = op->vocabulary < WORDS ? op->vocabulary : static_cast<size_t>(WORDS);
        logits = 0;
        factors = rounded(rows * words * sizeof(float));
        dx = factors + (narrow ? rounded(rows * words * sizeof(T)) : 0);
        sums = dx + (narrow ? rounded(rows * op->channels * sizeof(float)) : 0);
        state = sums + rounded(column_scratch(rows, words) * sizeof(float));
        bytes = state + rows * (3 * sizeof(double) + sizeof(float) + sizeof(uint32_t));
    }
};

template <typename T> static tied_rows rows_in(const tied_room<T> &room, char *scratch) {
    tied_rows row = {};
    row.sum = reinterpret_cast<double *>(scratch + room.state);
    row.target = row.sum + room.rows;
    row.hit = row.target + room.rows;
    row.largest = reinterpret_cast<float *>(row.hit + room.rows);
    row.best = reinterpret_cast<uint32_t *>(row.largest + room.rows);
    return row;
}

template <typename T> static const T *table_at(const bft_tied_loss *op, const tied_tile &t) {
    return static_cast<const T *>(op->table) + t.first * op->channels;
}

/* The next tile and its logits. */
template <typename T>
static void multiply_logits(bft_device *device, const bft_tied_loss *op, size_t first, size_t most, tied_tile *t) {
    t->first = static_cast<uint32_t>(first);
    t->words = static_cast<uint32_t>(op->vocabulary - first < most ? op->vocabulary - first : most);
    t->bias = static_cast<const float *>(op->bias) + first;
    bft_product product = {};
    product.m = t->rows;
    product.n = t->words;
    product.k = op->channels;
    product.a = op->x;
    product.b = table_at<T>(op, *t);
    product.c = t->logits;
    product.factors = dtype_of<T>;
    product.result = BFT_F32;
    product.transpose_b = true;
    bft_multiply(device, &product);
}

template <typename T>
static void multiply_back(bft_device *device, const bft_tied_loss *op, const tied_tile &t, const T *d, float *dx) {
    bft_product product = {};
    product.m = t.rows;
    product.n = op->channels;
    product.k = t.words;
    product.a = d;
    product.b = table_at<T>(op, t);
    product.c = dx;
    product.factors = dtype_of<T>;
    product.result = BFT_F32;
    product.add = t.first > 0;
    bft_multiply(device, &product);
    if (op->dtable == NULL) {
        return;
    }
    product.m = t.words;
    product.k = t.rows;
    product.b = op->x;
    product.c = static_cast<float *>(op->dtable) + t.first * op->channels;
    product.transpose_a = true;
    product.add = true;
    bft_multiply(device, &product);
}

template <typename T>
static void backward(bft_device *device, const bft_tied_loss *op, const tied_room<T> &room, tied_tile t) {
    char *scratch = static_cast<char *>(op->scratch);
    bool narrow = tied_room<T>::narrow;
    T *d = reinterpret_cast<T *>(scratch + (narrow ? room.factors : room.logits));
    float *dx = narrow ? reinterpret_cast<float *>(scratch + room.dx) : static_cast<float *>(op->dx);
    float *sums = reinterpret_cast<float *>(scratch + room.sums);
    for (size_t first = 0; first < op->vocabulary; first += room.words) {
        multiply_logits<T>(device, op, first, room.words, &t);
        LAUNCH(device, (turn_logits<T>), blocks_for(t.rows, ROW_WARPS), ROW_THREADS, 0, t, d);
        if (op->dbias != NULL) {
            bft_column_sums<float>(device, t.logits, t.rows, t.words, sums, static_cast<float *>(op->dbias) + first);
        }
        multiply_back<T>(device, op, t, d, dx);
    }
    if (narrow) {
        bft_cuda_to_values<T>(device, dx, op->dx, t.rows * op->channels);
    }
}

template <typename T> void bft_cuda<T>::tied_loss_memory(const bft_tied_loss *op, bft_memory *out) {
    out->saved = 0;
    out->scratch = tied_room<T>(op).bytes;
}

template <typename T> void bft_cuda<T>::tied_loss(bft_device *device, const bft_tied_loss *op) {
    tied_room<T> room(op);
    tied_tile t = {};
    t.logits = static_cast<float *>(op->scratch);
    t.target = mirror_rows(device, op->target, op->rows);
    t.count = mirror_value(device, static_cast<uint32_t>(op->rows));
    t.normalizer = mirror_value(device, op->normalizer);
    t.rows = room.rows;
    t.row = rows_in(room, static_cast<char *>(op->scratch));
    if (op->rows == 0 || !healthy(device)) {
        return;
    }
    for (size_t first = 0; first < op->vocabulary; first += room.words) {
        multiply_logits<T>(device, op, first, room.words, &t);
        LAUNCH(device, watch_logits, blocks_for(t.rows, ROW_WARPS), ROW_THREADS, 0, t);
    }
    LAUNCH(device, finish_losses, blocks_for(t.rows, ROW_THREADS), ROW_THREADS, 0, t, op->loss);
    bft_cuda_add(device, op->loss, op->total, t.count);
    bft_cuda_add(device, t.row.hit, op->hits, t.count);
    if (op->dx != NULL) {
        backward<T>(device, op, room, t);
    }
}

FOR_ALL_VALUES(tied_loss_memory, const bft_tied_loss *op, bft_memory *out)
FOR_ALL_VALUES(tied_loss, bft_device *device, const bft_tied_loss *op)
