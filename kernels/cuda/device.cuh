/* device.cuh: the CUDA backend's device, and what its ops share on the host side.
 *
 * A failure of any call is the device's fault: it is kept, later calls do nothing, and bft_ops.fault reports it. */
#ifndef BFT_KERNELS_CUDA_DEVICE_CUH
#define BFT_KERNELS_CUDA_DEVICE_CUH

extern "C" {
#include "kernels/ops.h"
}
#include "kernels/cuda/platform.cuh"
#include "kernels/cuda/runtime.cuh"

struct bft_device {
    bft_runtime *runtime;
    char fault[256]; /* "": none */
    /* Index arrays on their way to the device: pinned host memory and its image, used round and round. */
    char *stage, *image;
    size_t stage_used;
    double *sums; /* device: partial sums of sum_squares */
};

bool bft_check(bft_device *device, const char *failure); /* notes a failure; true: go on */

static inline bool healthy(const bft_device *device) {
    return device->fault[0] == '\0';
}

/* Staging by hand, for arrays that an op makes itself: room in pinned memory, then its image on the device. */
void *bft_stage_take(bft_device *device, size_t bytes);
void *bft_stage_send(bft_device *device, const void *staged, size_t bytes);

/* The device's copy of a host array, valid until a few megabytes more have been staged: for the op at hand. NULL for NULL. */
const void *bft_mirror_bytes(bft_device *device, const void *host, size_t bytes);

template <typename T> static inline const T *mirror(bft_device *device, const T *host, size_t count) {
    return static_cast<const T *>(bft_mirror_bytes(device, host, count * sizeof(T)));
}

/* `rows` values of sample and position are mirrored; attention gives the batch's samples and no positions. */
dropout_key bft_dropout_key(bft_device *device, const bft_dropout *dropout, size_t rows, bool positions);

/* Blocks of `threads` that cover `count` items, a thread each. */
static inline dim3 blocks_for(size_t count, unsigned threads) {
    return dim3((unsigned)((count + threads - 1) / threads));
}

/* ---- The ops, one file each; cuda.cu holds their table ---- */
void bft_cuda_embed_memory(const bft_embed *op, bft_memory *out);
void bft_cuda_embed_forward(bft_device *device, const bft_embed *op);
void bft_cuda_embed_backward(bft_device *device, const bft_embed *op);
void bft_cuda_linear_memory(const bft_linear *op, bft_memory *out);
void bft_cuda_linear_forward(bft_device *device, const bft_linear *op);
void bft_cuda_linear_backward(bft_device *device, const bft_linear *op);
void bft_cuda_attention_memory(const bft_attention *op, bft_memory *out);
void bft_cuda_attention_forward(bft_device *device, const bft_attention *op);
void bft_cuda_attention_backward(bft_device *device, const bft_attention *op);
void bft_cuda_residual_norm_memory(const bft_residual_norm *op, bft_memory *out);
void bft_cuda_residual_norm_forward(bft_device *device, const bft_residual_norm *op);
void bft_cuda_residual_norm_backward(bft_device *device, const bft_residual_norm *op);
void bft_cuda_gather_forward(bft_device *device, const bft_gather *op);
void bft_cuda_gather_backward(bft_device *device, const bft_gather *op);
void bft_cuda_mean_forward(bft_device *device, const bft_mean *op);
void bft_cuda_mean_backward(bft_device *device, const bft_mean *op);
void bft_cuda_mask(bft_device *device, const bft_mask *op);
void bft_cuda_loss(bft_device *device, const bft_loss *op);
double bft_cuda_sum_squares(bft_device *device, const void *x, size_t count);
void bft_cuda_adamw(bft_device *device, const bft_adamw *op);
void bft_cuda_adamw_rows(bft_device *device, const bft_adamw_rows *op);

#endif
