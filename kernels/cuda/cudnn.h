/* cudnn.h: cuDNN's fused attention over sequences that lie end to end, and nothing else of cuDNN. Two files implement it: cudnn.cc through
 * cuDNN's frontend, on a library that is opened at run time, and tests/cudasim/cudnn.cc with plain host code.
 *
 * A plan is made once for each shape and kept as long as the engine: a captured graph may hold its kernels. Where sequences start and how
 * long they are is read from the device, so that one plan serves all batches of at most its shape: sequences that a batch lacks have no
 * tokens. Functions return NULL, or what went wrong, valid until the next call. Nothing is thrown. */
#ifndef BFT_KERNELS_CUDA_CUDNN_H
#define BFT_KERNELS_CUDA_CUDNN_H

extern "C" {
#include "kernels/ops.h"
}

struct bft_cudnn;

struct bft_cudnn_shape {
    bft_dtype type; /* BFT_F16 or BFT_BF16 */
    bool training;  /* the forward leaves log_sum, and a backward follows */
    size_t batch, heads, head_size, longest;
    size_t q_stride, kv_stride;
};

/* Device memory. Offsets are in elements from the tensor's first: entry b is where sequence b starts, the last where they end. */
struct bft_cudnn_tensors {
    const int32_t *lengths;                          /* (B) */
    const int64_t *q_at, *kv_at, *y_at, *log_sum_at; /* (B + 1) */
    const void *q, *k, *v, *dy;                      /* 16-byte aligned, as all that follow */
    void *y, *dq, *dk, *dv;
    float *log_sum; /* (N, H): the log-sum-exp of each query's scores */
    void *workspace;
};

/* For the current device, whose compute capability is given (90 for 9.0); all work goes to `stream`, a cudaStream_t. */
const char *bft_cudnn_open(int capability, void *stream, bft_cudnn **out);
void bft_cudnn_close(bft_cudnn *cudnn); /* NULL is fine */
int bft_cudnn_version(const bft_cudnn *cudnn);

/* Makes the shape's plans; `workspace` becomes the bytes that its calls need. Not while a graph is captured. */
const char *bft_cudnn_prepare(bft_cudnn *cudnn, const bft_cudnn_shape *shape, size_t *workspace);

/* Of a shape that was prepared. */
const char *bft_cudnn_forward(bft_cudnn *cudnn, const bft_cudnn_shape *shape, const bft_cudnn_tensors *tensors);
const char *bft_cudnn_backward(bft_cudnn *cudnn, const bft_cudnn_shape *shape, const bft_cudnn_tensors *tensors);

#endif
