/* adamw.cu: dense AdamW: one launch over all tensors of a block, ADAMW_CHUNK elements of one tensor a thread block. */
#include "kernels/cuda/adamw.cuh"

enum { ADAMW_THREADS = 256, ADAMW_CHUNK = 4 * ADAMW_THREADS };

struct adamw_stretch { /* a tensor, and its first thread block */
    uint64_t offset, count;
    uint32_t decay, first;
};

struct adamw_view {
    const adamw_stretch *tensors; /* by their first block */
    uint32_t tensor_count;
    float *p, *m, *v;
    const float *grad;
    adamw_betas betas;
    const bft_adamw_step *step;
    const bft_norm_result *norm;
};

/* The last tensor that begins at this block or before it. */
__device__ __forceinline__ adamw_stretch tensor_of_block(const adamw_view &view) {
    uint32_t low = 0, high = view.tensor_count;
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (view.tensors[middle].first <= blockIdx.x) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return view.tensors[low];
}

template <typename T> __global__ void __launch_bounds__(ADAMW_THREADS) adamw_dense(adamw_view view, T *values) {
    if (view.norm->failed != 0) {
        return;
    }
    adamw_stretch tensor = tensor_of_block(view);
    adamw_scalars step = scalars_of(view.step, tensor.decay != 0);
    float scale = (float)view.norm->scale;
    size_t inside = (size_t)(blockIdx.x - tensor.first) * ADAMW_CHUNK + threadIdx.x;
    for (int k = 0; k < ADAMW_CHUNK / ADAMW_THREADS; k++, inside += ADAMW_THREADS) {
        if (inside < tensor.count) {
            size_t i = tensor.offset + inside;
            adamw_element(view.betas, step, scale * view.grad[i], &view.p[i], &view.m[i], &view.v[i]);
            if (values != NULL) {
                values[i] = from_float<T>(view.p[i]);
            }
        }
    }
}

/* The list on the device; the number of thread blocks. */
static const adamw_stretch *stage_tensors(bft_device *device, const bft_adamw *op, unsigned *blocks) {
    size_t bytes = op->tensor_count * sizeof(adamw_stretch);
    adamw_stretch *list = static_cast<adamw_stretch *>(bft_stage_take(device, bytes));
    if (list == NULL) {
        return NULL;
    }
    size_t first = 0;
    for (size_t t = 0; t < op->tensor_count; t++) {
        const bft_adamw_tensor *tensor = &op->tensors[t];
        list[t] = {tensor->offset, tensor->count, tensor->decay, static_cast<uint32_t>(first)};
        first += (tensor->count + ADAMW_CHUNK - 1) / ADAMW_CHUNK;
    }
    *blocks = static_cast<unsigned>(first);
    return static_cast<const adamw_stretch *>(bft_stage_send(device, list, bytes));
}

template <typename T> void bft_cuda_adamw(bft_device *device, const bft_adamw *op) {
    unsigned blocks = 0;
    adamw_view view = {};
    view.tensors = op->tensor_count == 0 ? NULL : stage_tensors(device, op, &blocks);
    view.tensor_count = static_cast<uint32_t>(op->tensor_count);
    view.p = static_cast<float *>(op->p);
    view.m = static_cast<float *>(op->m);
    view.v = static_cast<float *>(op->v);
    view.grad = static_cast<const float *>(op->grad);
    view.betas = betas_of(op->beta1, op->beta2, op->eps);
    view.step = op->step;
    view.norm = op->norm;
    if (blocks > 0 && healthy(device)) {
        LAUNCH(device, adamw_dense<T>, dim3(blocks), ADAMW_THREADS, 0, view, static_cast<T *>(op->values));
    }
}

template void bft_cuda_adamw<float>(bft_device *, const bft_adamw *);
template void bft_cuda_adamw<bf16>(bft_device *, const bft_adamw *);
template void bft_cuda_adamw<fp16>(bft_device *, const bft_adamw *);
