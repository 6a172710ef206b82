/* runtime.cc: kernels/cuda/runtime.cuh on the host: memory from the heap, copies at once, and the matrix product as three loops in place of
 * cuBLASLt. */
#include "kernels/cuda/runtime.cuh"
#include "tests/cudasim/sim.h"

#include <new>

struct bft_runtime {
    size_t allocated;
};

const char *bft_runtime_open(int index, bft_runtime **out) {
    (void)index;
    *out = new (std::nothrow) bft_runtime();
    return *out == nullptr ? "out of memory" : nullptr;
}

void bft_runtime_close(bft_runtime *runtime) {
    delete runtime;
}

const char *bft_runtime_name(const bft_runtime *runtime) {
    (void)runtime;
    return "host simulation";
}

const char *bft_runtime_alloc(bft_runtime *runtime, size_t bytes, void **out) {
    (void)runtime;
    *out = sim::allocate(bytes);
    return *out == nullptr ? "out of memory" : nullptr;
}

void bft_runtime_free(bft_runtime *runtime, void *memory) {
    (void)runtime;
    sim::deallocate(memory);
}

void bft_runtime_memory(const bft_runtime *runtime, size_t *free_bytes, size_t *total_bytes) {
    (void)runtime;
    *free_bytes = *total_bytes = 0;
}

const char *bft_runtime_zero(bft_runtime *runtime, void *memory, size_t bytes) {
    (void)runtime;
    std::memset(memory, 0, bytes);
    return nullptr;
}

const char *bft_runtime_alloc_host(bft_runtime *runtime, size_t bytes, void **out) {
    return bft_runtime_alloc(runtime, bytes, out);
}

void bft_runtime_free_host(bft_runtime *runtime, void *memory) {
    bft_runtime_free(runtime, memory);
}

const char *bft_runtime_to_device(bft_runtime *runtime, void *to, const void *from, size_t bytes) {
    (void)runtime;
    std::memcpy(to, from, bytes);
    return nullptr;
}

const char *bft_runtime_to_host(bft_runtime *runtime, void *to, const void *from, size_t bytes) {
    return bft_runtime_to_device(runtime, to, from, bytes);
}

const char *bft_runtime_sync(bft_runtime *runtime) {
    (void)runtime;
    return nullptr;
}

const char *bft_runtime_product(bft_runtime *runtime, const bft_product *p) {
    (void)runtime;
    for (size_t i = 0; i < p->m; i++) {
        for (size_t j = 0; j < p->n; j++) {
            double sum = 0;
            for (size_t l = 0; l < p->k; l++) {
                float a = p->transpose_a ? p->a[l * p->m + i] : p->a[i * p->k + l];
                float b = p->transpose_b ? p->b[j * p->k + l] : p->b[l * p->n + j];
                sum += (double)a * (double)b;
            }
            float *c = &p->c[i * p->n + j];
            *c = (float)(p->add ? sum + (double)*c : sum);
        }
    }
    return nullptr;
}
