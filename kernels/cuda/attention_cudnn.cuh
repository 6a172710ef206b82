/* attention_cudnn.cuh: the second attention engine, cuDNN's, behind the attention op: what DEVICE.ATTENTION asks for, what is chosen. */
#ifndef BFT_KERNELS_CUDA_ATTENTION_CUDNN_CUH
#define BFT_KERNELS_CUDA_ATTENTION_CUDNN_CUH

#include "kernels/cuda/device.cuh"

struct bft_attention_engine;

/* `wish`: "auto", "native" or "cudnn"; NULL is "auto". BFT_BAD where cuDNN is asked for by name and this card, this precision or this
 * machine can't have it; "auto" is content without. */
bft_status bft_attention_engine_open(bft_error *err, bft_runtime *runtime, const char *wish, bft_dtype values,
                                     bft_attention_engine **out);
void bft_attention_engine_close(bft_attention_engine *engine); /* NULL is fine */

/* For people: "cuDNN 9.25.1" and which calls are native all the same, or "native: " and why. Lives as long as the engine. */
const char *bft_attention_engine_choice(const bft_attention_engine *engine);

/* The op by cuDNN; false: it is not its to do, and nothing was done. One answer for an op's forward and its backward. */
bool bft_attention_engine_forward(bft_attention_engine *engine, bft_device *device, const bft_attention *op);
bool bft_attention_engine_backward(bft_attention_engine *engine, bft_device *device, const bft_attention *op);

#endif
