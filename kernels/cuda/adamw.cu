/* adamw.cu: dense AdamW, a thread an element. */
#include "kernels/cuda/adamw.cuh"

enum { ADAMW_THREADS = 256 };

__global__ void adamw_dense(float *p, float *m, float *v, const float *grad, size_t count, float scale, adamw_betas b,
                            adamw_scalars s) {
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        adamw_element(b, s, scale * grad[i], &p[i], &m[i], &v[i]);
    }
}

void bft_cuda_adamw(bft_device *device, const bft_adamw *op) {
    if (op->count > 0 && healthy(device)) {
        LAUNCH(device, adamw_dense, blocks_for(op->count, ADAMW_THREADS), ADAMW_THREADS, 0,
               static_cast<float *>(op->p), static_cast<float *>(op->m), static_cast<float *>(op->v),
               static_cast<const float *>(op->grad), op->count, (float)op->scale,
               betas_of(op->beta1, op->beta2, op->eps), scalars_of(&op->step, op->decay));
    }
}
