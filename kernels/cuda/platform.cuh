/* platform.cuh: the one header between our kernels and CUDA, or the host shim that stands in for it (tests/cudasim).
 *
 * Kernels are started by LAUNCH and take dynamic shared memory by SHARED, and no static one; so that the same source runs in both. */
#ifndef BFT_KERNELS_CUDA_PLATFORM_CUH
#define BFT_KERNELS_CUDA_PLATFORM_CUH

#include <stddef.h>
#include <stdint.h>

#if defined(BFT_CUDASIM)

#include "tests/cudasim/sim.h"

#define SHARED(type, name) type *name = static_cast<type *>(sim::shared())

typedef sim::kernel kernel_handle;

#else

#include <cuda_runtime.h>

#define SHARED(type, name)                                                                                             \
    extern __shared__ __align__(16) unsigned char name##_raw[];                                                        \
    type *name = reinterpret_cast<type *>(name##_raw)

typedef const void *kernel_handle;

template <typename... P> static inline kernel_handle handle_of(void (*kernel)(P...)) {
    return reinterpret_cast<const void *>(kernel);
}

#endif

#define LAUNCH(device, kernel, grid, block, shared_bytes, ...)                                                         \
    bft_launch((device), #kernel, (kernel), bft_launch_shape{(grid), (block), (shared_bytes)}, __VA_ARGS__)

struct bft_launch_shape {
    dim3 grid, block;
    size_t shared_bytes;
};

/* ---- What kernels share ---- */

enum { WARP_SIZE = 32 };

/* Of each COUNT lanes that lie side by side, by all of them: COUNT is a power of two. */
template <int COUNT = WARP_SIZE> __device__ __forceinline__ float lanes_sum(float x) {
    for (int mask = COUNT / 2; mask > 0; mask /= 2) {
        x += __shfl_xor_sync(0xFFFFFFFFu, x, mask);
    }
    return x;
}

template <int COUNT = WARP_SIZE> __device__ __forceinline__ float lanes_max(float x) {
    for (int mask = COUNT / 2; mask > 0; mask /= 2) {
        x = fmaxf(x, __shfl_xor_sync(0xFFFFFFFFu, x, mask));
    }
    return x;
}

/* ---- Dropout: the numbers of ops.h, on the device ---- */

struct dropout_key {
    float scale;        /* 1 / (1 - rate); 0: no dropout */
    uint32_t threshold; /* words below it drop */
    uint64_t seed;
    uint32_t place;                           /* layer << 16 | site << 24 */
    const uint32_t *step, *sample, *position; /* device */
};

struct philox_words {
    uint32_t word[4];
};

__device__ __forceinline__ philox_words philox(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint64_t key) {
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        uint32_t high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
        uint32_t high1 = __umulhi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    philox_words words = {{c0, c1, c2, c3}};
    return words;
}

/* What an element is multiplied by. */
__device__ __forceinline__ float dropout_factor(const dropout_key &key, uint32_t sample, uint32_t position,
                                                uint32_t channel) {
    if (key.scale == 0) {
        return 1;
    }
    philox_words words = philox(channel / 4, position | key.place, sample, *key.step, key.seed);
    return words.word[channel % 4] < key.threshold ? 0 : key.scale;
}

__device__ __forceinline__ float dropout_in_row(const dropout_key &key, size_t row, uint32_t channel) {
    return key.scale == 0 ? 1 : dropout_factor(key, key.sample[row], key.position[row], channel);
}

#endif
