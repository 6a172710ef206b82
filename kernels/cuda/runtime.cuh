/* runtime.cuh: what the backend asks of CUDA's runtime and of cuBLASLt, and nothing else of either is used. Two files implement it:
 * runtime.cu, and tests/cudasim/runtime.cc with plain host code.
 *
 * All work is queued on the device's one stream; only bft_runtime_to_host and bft_runtime_sync wait. Each returns NULL, or what went
 * wrong, in a line without an end. */
#ifndef BFT_KERNELS_CUDA_RUNTIME_CUH
#define BFT_KERNELS_CUDA_RUNTIME_CUH

extern "C" {
#include "kernels/ops.h"
}
#include "kernels/cuda/platform.cuh"

#include <stddef.h>

struct bft_device;
struct bft_runtime;

bool bft_runtime_has_driver(void); /* this machine's: without one there is no card to speak of */
const char *bft_runtime_open(int index, bool tf32, bft_runtime **out);
void bft_runtime_close(bft_runtime *runtime);
const char *bft_runtime_name(const bft_runtime *runtime); /* of the card */
int bft_runtime_capability(const bft_runtime *runtime);   /* its compute capability, 90 for 9.0 */
void *bft_runtime_stream(bft_runtime *runtime);           /* the cudaStream_t that all work is queued on */

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

/* Notes how far the queue has come, under one of a few numbers; and waits until it has come there. */
const char *bft_runtime_mark(bft_runtime *runtime, int number);
const char *bft_runtime_wait(bft_runtime *runtime, int number);

/* All that `work` queues, to be repeated as one. `work` and `context` stay until it is forgotten. */
struct bft_graph;
typedef const char *bft_graph_work(void *context);
const char *bft_runtime_capture(bft_runtime *runtime, bft_graph_work *work, void *context, bft_graph **out);
const char *bft_runtime_replay(bft_runtime *runtime, bft_graph *graph);
void bft_runtime_forget(bft_runtime *runtime, bft_graph *graph);

/* A kernel, with the addresses of its arguments. */
const char *bft_runtime_launch(bft_runtime *runtime, const char *name, kernel_handle kernel,
                               const bft_launch_shape &shape, void **arguments);

/* c (m, n) = a' b' [+ c] [+ bias in each row]: row-major; a' is a (m, k), or the transpose of a (k, m); b' is b (k, n) or the
 * transpose of b (n, k). Both factors are of one type, c of the same or float. Sums are float, in an order that depends on the
 * sizes only; floats are rounded to TF32 first where the runtime was opened for it. Zero what isn't named: the bytes are recorded
 * (queue.cuh). */
typedef struct bft_product {
    size_t m, n, k;
    const void *a, *b, *bias; /* bias (n) of c's type; NULL: none */
    void *c, *a_sums;         /* a_sums (m) = the sums of a' rows, of c's type; NULL: not wanted */
    bft_dtype factors, result;
    bool transpose_a, transpose_b, add;
} bft_product;
const char *bft_runtime_product(bft_runtime *runtime, const bft_product *product);

/* Whether it can be had as it is, with bias or a_sums (one of them). */
bool bft_runtime_takes(bft_runtime *runtime, const bft_product *product);

#endif
