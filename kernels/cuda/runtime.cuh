/* runtime.cuh: what the backend asks of CUDA's runtime and of cuBLASLt, and nothing else of either is used. Two files implement it:
 * runtime.cu, and tests/cudasim/runtime.cc with plain host code.
 *
 * All work is queued on the device's one stream; only bft_runtime_to_host and bft_runtime_sync wait. Each returns NULL, or what went
 * wrong, in a line without an end. */
#ifndef BFT_KERNELS_CUDA_RUNTIME_CUH
#define BFT_KERNELS_CUDA_RUNTIME_CUH

#include <stddef.h>

struct bft_runtime;

const char *bft_runtime_open(int index, bft_runtime **out);
void bft_runtime_close(bft_runtime *runtime);
const char *bft_runtime_name(const bft_runtime *runtime); /* of the card */

const char *bft_runtime_alloc(bft_runtime *runtime, size_t bytes, void **out);
void bft_runtime_free(bft_runtime *runtime, void *memory);
void bft_runtime_memory(const bft_runtime *runtime, size_t *free_bytes, size_t *total_bytes);
const char *bft_runtime_zero(bft_runtime *runtime, void *memory, size_t bytes);

/* Pinned host memory, for copies that the host doesn't wait for. */
const char *bft_runtime_alloc_host(bft_runtime *runtime, size_t bytes, void **out);
void bft_runtime_free_host(bft_runtime *runtime, void *memory);

const char *bft_runtime_to_device(bft_runtime *runtime, void *to, const void *from, size_t bytes); /* from pinned */
const char *bft_runtime_to_host(bft_runtime *runtime, void *to, const void *from, size_t bytes);   /* waits */
const char *bft_runtime_sync(bft_runtime *runtime);

/* c (m, n) = a' b' [+ c]: row-major; a' is a (m, k), or the transpose of a (k, m); b' is b (k, n) or the transpose of b (n, k). Sums
 * in an order that depends on the sizes only. */
typedef struct bft_product {
    size_t m, n, k;
    const float *a, *b;
    float *c;
    bool transpose_a, transpose_b, add;
} bft_product;
const char *bft_runtime_product(bft_runtime *runtime, const bft_product *product);

#endif
