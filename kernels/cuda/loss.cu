/* loss.cu: the three losses and their gradients, a thread a sample, in double: K is small. */
#include "kernels/cuda/device.cuh"

enum { LOSS_THREADS = 64, TOTAL_THREADS = 256 };

struct loss_view { /* what a kernel needs of bft_loss, on the device */
    bft_loss_kind kind;
    size_t rows, classes;  /* padded B, K */
    const uint32_t *batch; /* B itself */
    const float *logits, *targets, *weight;
    const uint32_t *target;
    double smoothing;
    const double *normalizer;
    double *loss;
    float *dlogits;
};

__device__ __forceinline__ double weight_of(const loss_view &v, size_t k) {
    return v.weight == NULL ? 1.0 : (double)v.weight[k];
}

__device__ __forceinline__ void put_gradient(const loss_view &v, size_t at, double gradient) {
    if (v.dlogits != NULL) {
        v.dlogits[at] = (float)(gradient / *v.normalizer);
    }
}

__device__ __forceinline__ double cross_entropy(const loss_view &v, size_t b) {
    const float *logits = v.logits + b * v.classes;
    double largest = logits[0], sum = 0, total = 0, loss = 0, rest = v.smoothing / (double)v.classes;
    for (size_t k = 1; k < v.classes; k++) {
        largest = fmax(largest, (double)logits[k]);
    }
    for (size_t k = 0; k < v.classes; k++) {
        sum += exp((double)logits[k] - largest);
    }
    double log_sum = largest + log(sum);
    for (size_t k = 0; k < v.classes; k++) {
        double share = weight_of(v, k) * (rest + (k == v.target[b] ? 1 - v.smoothing : 0));
        total += share;
        loss += share * (log_sum - (double)logits[k]);
    }
    for (size_t k = 0; k < v.classes; k++) {
        double share = weight_of(v, k) * (rest + (k == v.target[b] ? 1 - v.smoothing : 0));
        put_gradient(v, b * v.classes + k, total * exp((double)logits[k] - log_sum) - share);
    }
    return loss;
}

__device__ __forceinline__ double softplus(double x) {
    return fmax(x, 0.0) + log1p(exp(-fabs(x)));
}

__device__ __forceinline__ double binary(const loss_view &v, size_t b) {
    double loss = 0;
    for (size_t k = 0; k < v.classes; k++) {
        size_t at = b * v.classes + k;
        double x = v.logits[at], target = v.targets[at], weight = weight_of(v, k);
        loss += weight * target * softplus(-x) + (1 - target) * softplus(x);
        put_gradient(v, at, (1 - target) / (1 + exp(-x)) - weight * target / (1 + exp(x)));
    }
    return loss;
}

__device__ __forceinline__ double squared(const loss_view &v, size_t b) {
    double loss = 0;
    for (size_t k = 0; k < v.classes; k++) {
        size_t at = b * v.classes + k;
        double off = (double)v.logits[at] - (double)v.targets[at];
        loss += off * off;
        put_gradient(v, at, 2 * off);
    }
    return loss;
}

__global__ void losses(loss_view v) {
    size_t b = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (b < *v.batch) {
        double loss = v.kind == BFT_CROSS_ENTROPY ? cross_entropy(v, b)
                      : v.kind == BFT_BINARY      ? binary(v, b)
                                                  : squared(v, b);
        v.loss[b] = loss / *v.normalizer;
        return;
    }
    for (size_t k = 0; b < v.rows && k < v.classes; k++) {
        put_gradient(v, b * v.classes + k, 0);
    }
}

/* From the first to the last; all threads fetch, one adds. */
__global__ void add_items(const double *items, double *total, const uint32_t *count) {
    SHARED(double, some); /* (TOTAL_THREADS) */
    double sum = *total;
    for (size_t first = 0; first < *count; first += TOTAL_THREADS) {
        size_t left = *count - first;
        if (threadIdx.x < left) {
            some[threadIdx.x] = items[first + threadIdx.x];
        }
        __syncthreads();
        for (size_t i = 0; threadIdx.x == 0 && i < TOTAL_THREADS && i < left; i++) {
            sum += some[i];
        }
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        *total = sum;
    }
}

void bft_cuda_add(bft_device *device, const double *items, double *total, const uint32_t *count) {
    LAUNCH(device, add_items, dim3(1), TOTAL_THREADS, TOTAL_THREADS * sizeof(double), items, total, count);
}

/* An array of K numbers a sample, with room for the padded batch. */
static const float *mirror_targets(bft_device *device, const bft_loss *op) {
    size_t row = op->classes * sizeof(float);
    return static_cast<const float *>(
        bft_mirror_bytes(device, op->targets, op->batch * row, bft_padded(op->batch) * row));
}

void bft_cuda_loss(bft_device *device, const bft_loss *op) {
    loss_view v = {};
    v.kind = op->kind;
    v.rows = bft_padded(op->batch);
    v.classes = op->classes;
    v.batch = mirror_value(device, static_cast<uint32_t>(op->batch));
    v.logits = static_cast<const float *>(op->logits);
    v.target = op->kind == BFT_CROSS_ENTROPY ? mirror_rows(device, op->target, op->batch) : NULL;
    v.targets = op->kind == BFT_CROSS_ENTROPY ? NULL : mirror_targets(device, op);
    v.weight = static_cast<const float *>(
        bft_mirror_bytes(device, op->weight, op->classes * sizeof(float), op->classes * sizeof(float)));
    v.smoothing = op->smoothing;
    v.normalizer = mirror_value(device, op->normalizer);
    v.loss = op->loss;
    v.dlogits = static_cast<float *>(op->dlogits);
    if (op->batch == 0 || !healthy(device)) {
        return;
    }
    LAUNCH(device, losses, blocks_for(v.rows, LOSS_THREADS), LOSS_THREADS, 0, v);
    bft_cuda_add(device, op->loss, op->total, v.batch);
}
