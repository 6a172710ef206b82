/* adamw.cu: dense AdamW, a thread an element. */
#include "kernels/cuda/adamw.cuh"

enum { ADAMW_THREADS = 256 };

template <typename T>
__global__ void adamw_dense(float *p, float *m, float *v, const float *grad, T *values, size_t count, bool decay,
                            adamw_betas b, const bft_adamw_step *step, const bft_norm_result *norm) {
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count && norm->failed == 0) {
        adamw_element(b, scalars_of(step, decay), (float)norm->scale * grad[i], &p[i], &m[i], &v[i]);
        if (values != NULL) {
            values[i] = from_float<T>(p[i]);
        }
    }
}

template <typename T> void bft_cuda_adamw(bft_device *device, const bft_adamw *op) {
    for (size_t t = 0; t < op->tensor_count && healthy(device); t++) {
        size_t at = op->tensors[t].offset, count = op->tensors[t].count;
        LAUNCH(device, adamw_dense<T>, blocks_for(count, ADAMW_THREADS), ADAMW_THREADS, 0,
               static_cast<float *>(op->p) + at, static_cast<float *>(op->m) + at, static_cast<float *>(op->v) + at,
               static_cast<const float *>(op->grad) + at, op->values == NULL ? NULL : static_cast<T *>(op->values) + at,
               count, op->tensors[t].decay, betas_of(op->beta1, op->beta2, op->eps), op->step, op->norm);
    }
}

template void bft_cuda_adamw<float>(bft_device *, const bft_adamw *);
template void bft_cuda_adamw<bf16>(bft_device *, const bft_adamw *);
template void bft_cuda_adamw<fp16>(bft_device *, const bft_adamw *);
