/* product.cuh: the matrix product of runtime.cuh through cuBLASLt, which product.cu opens at run time. */
#ifndef BFT_KERNELS_CUDA_PRODUCT_CUH
#define BFT_KERNELS_CUDA_PRODUCT_CUH

#include "kernels/cuda/runtime.cuh"

#include <cuda_runtime.h>

struct bft_products;

/* For the current device; NULL, or what went wrong. */
const char *bft_products_open(bool tf32, bft_products **out);
void bft_products_close(bft_products *products); /* NULL is fine */
bool bft_products_take(bft_products *products, const bft_product *product); /* as bft_runtime_takes */
const char *bft_products_run(bft_products *products, cudaStream_t stream, const bft_product *product);

#endif
