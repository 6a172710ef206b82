/* wide.cuh: rows read and written WIDTH values at a time, 4 where the length of a row and its address allow it, else
 * 1; and sums over the warps of a block. Blocks that sum are of (WARP_SIZE, any) threads: their warps share a strip
 * of columns, WARP_SIZE * WIDTH of them. */
#ifndef BFT_KERNELS_CUDA_WIDE_CUH
#define BFT_KERNELS_CUDA_WIDE_CUH

#include "kernels/cuda/device.cuh"

#include <initializer_list>

template <int WIDTH, typename T> __device__ __forceinline__ void load(const T *from, float (&to)[WIDTH]) {
    if constexpr (WIDTH == 4) {
        float4 x = load_four(from);
        to[0] = x.x;
        to[1] = x.y;
        to[2] = x.z;
        to[3] = x.w;
    } else {
        to[0] = to_float(*from);
    }
}

template <int WIDTH, typename T> __device__ __forceinline__ void store(T *to, const float (&from)[WIDTH]) {
    if constexpr (WIDTH == 4) {
        float4 x = {from[0], from[1], from[2], from[3]};
        store_four(to, x);
    } else {
        *to = from_float<T>(from[0]);
    }
}

/* x through dropout; one block of numbers serves four channels. */
template <int WIDTH>
__device__ __forceinline__ void drop(const dropout_key &key, size_t row, size_t channel, float (&x)[WIDTH]) {
    if (key.scale == 0) {
        return;
    }
    philox_words words =
        philox((uint32_t)(channel / 4), key.position[row] | key.place, key.sample[row], *key.step, key.seed);
    for (int i = 0; i < WIDTH; i++) {
        x[i] *= words.word[WIDTH == 4 ? i : channel % 4] < key.threshold ? 0 : key.scale;
    }
}

/* The first column of this thread, in strip `strip`. */
template <int WIDTH> __device__ __forceinline__ size_t column_in(unsigned strip) {
    return ((size_t)strip * WARP_SIZE + threadIdx.x) * WIDTH;
}

/* The block's warps' x added up, from the first warp to the last, into the first one's. `room`: strip_bytes, shared. */
template <int WIDTH> __device__ __forceinline__ void sum_warps(float (&x)[WIDTH], float *room) {
    store(room + (threadIdx.y * WARP_SIZE + threadIdx.x) * WIDTH, x);
    __syncthreads();
    for (unsigned warp = 1; threadIdx.y == 0 && warp < blockDim.y; warp++) {
        float other[WIDTH];
        load(room + (warp * WARP_SIZE + threadIdx.x) * WIDTH, other);
        for (int i = 0; i < WIDTH; i++) {
            x[i] += other[i];
        }
    }
}

static inline size_t strip_bytes(int width, int warps) {
    return static_cast<size_t>(width * warps) * WARP_SIZE * sizeof(float);
}

static inline unsigned strips_of(size_t columns, int width) {
    size_t strip = static_cast<size_t>(width) * WARP_SIZE;
    return static_cast<unsigned>((columns + strip - 1) / strip);
}

/* Whether rows of so many columns, at these places (NULL is none), can be read four at a time. */
static inline bool by_four(size_t columns, std::initializer_list<const void *> places) {
    uintptr_t all = 0;
    for (const void *place : places) {
        all |= reinterpret_cast<uintptr_t>(place);
    }
    return columns % 4 == 0 && all % sizeof(float4) == 0;
}

/* ---- Kernels with a warp a row ---- */

enum { ROW_WARPS = 4, ROW_THREADS = ROW_WARPS * WARP_SIZE };

/* The row that this thread's warp works on; `rows` and beyond: none. */
__device__ __forceinline__ size_t warp_row() {
    return ((size_t)blockIdx.x * blockDim.x + threadIdx.x) / WARP_SIZE;
}

/* A warp goes through a row: for (c = first; c < channels; c += step). */
template <int WIDTH> __device__ __forceinline__ size_t first_channel() {
    return threadIdx.x % WARP_SIZE * WIDTH;
}

template <int WIDTH> constexpr size_t CHANNEL_STEP = WARP_SIZE *WIDTH;

template <int WIDTH, typename T> __device__ __forceinline__ void zero_row(T *row, size_t channels) {
    const float zeros[WIDTH] = {};
    for (size_t c = first_channel<WIDTH>(); c < channels; c += CHANNEL_STEP<WIDTH>) {
        store(row + c, zeros);
    }
}

#endif
