/* sim.h: just enough of CUDA to run the kernels of kernels/cuda on a host, one fiber a thread.
 *
 * Blocks run one after another; the threads of a block are fibers that change at barriers, shuffles and nowhere else. What it
 * proves: indexing, barriers, shuffles, shared memory, sums. What it can't: timing, and races between blocks.
 *
 * BERTFT_SIM_ORDER=N (a seed) runs the threads between two barriers in a random order, so that a missing __syncthreads
 * shows as a wrong result. Shared memory is filled with NaNs before each block. A barrier that not all threads of the block
 * (or lanes of the warp) reach ends the program with a line. BERTFT_SIM_FAIL_ALLOC=N and BERTFT_SIM_FAIL_LAUNCH=N make the N-th
 * allocation or launch fail; BERTFT_SIM_MEMORY=N is how many MB the card has; BERTFT_SIM_CAPABILITY=75 makes it one of 7.5. */
#ifndef BFT_TESTS_CUDASIM_SIM_H
#define BFT_TESTS_CUDASIM_SIM_H

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <utility>

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {
    }
};

struct alignas(8) float2 {
    float x, y;
};

struct alignas(16) float4 {
    float x, y, z, w;
};

/* Of the thread that runs now. */
extern dim3 threadIdx, blockIdx, blockDim, gridDim;

#define __global__ static
#define __device__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __restrict__ __restrict

namespace sim {

enum { WARP = 32, WORST_THREADS = 1024 };

/* Runs every thread of every block; false where an injected failure says so. */
bool launch(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()> &thread);

/* A kernel of any kind, to be called with the addresses of its arguments. */
struct kernel {
    void (*function)();
    void (*call)(void (*function)(), void **arguments);
};

void *shared();                                   /* this block's dynamic shared memory */
void wait_block();                                /* __syncthreads */
uint64_t exchange(uint64_t value, unsigned lane); /* every lane of the warp gives a value, and gets that of `lane` */

/* What was run, by name: as a kernel of kernels/cuda, or as host code in place of a library's. `name` stays. Where the
 * environment's BERTFT_SIM_REPORT is 1, `report` writes a line for each to stderr, with how often, and starts over. */
enum how { AS_KERNEL, SUBSTITUTED, REPLAYED };
void count(const char *name, how ran);
void report();

void *allocate(size_t bytes); /* device memory; NULL where there is none, or BERTFT_SIM_FAIL_ALLOC says so */
void deallocate(void *memory);
void memory(size_t *free, size_t *total); /* bytes */

/* What trace.cc asks at each access: which thread runs, and where an address lies. Blocks count from 1 over all launches, 0
 * while none runs; a thread's phase is how many barriers and shuffles it has passed. */
struct moment {
    uint64_t block;
    unsigned thread, phase;
};
moment now();

enum space { PRIVATE, SHARED_MEMORY, DEVICE_MEMORY }; /* PRIVATE: registers, stacks, parameters, the host's */
space space_of(uintptr_t address);

template <typename T> T shuffle(T value, unsigned lane) {
    static_assert(sizeof(T) <= sizeof(uint64_t), "at most eight bytes");
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    bits = exchange(bits, lane);
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

inline unsigned lane() {
    return threadIdx.x % WARP;
}

template <typename... P, size_t... I>
void call_with(void (*function)(P...), void **arguments, std::index_sequence<I...>) {
    (void)arguments; /* of a kernel without parameters */
    function(*static_cast<P *>(arguments[I])...);
}

template <typename... P> void call(void (*function)(), void **arguments) {
    call_with(reinterpret_cast<void (*)(P...)>(function), arguments, std::index_sequence_for<P...>());
}

} // namespace sim

template <typename... P> sim::kernel handle_of(void (*function)(P...)) {
    return sim::kernel{reinterpret_cast<void (*)()>(function), sim::call<P...>};
}

inline void __syncthreads() {
    sim::wait_block();
}

template <typename T> T __shfl_xor_sync(unsigned, T value, int mask) {
    return sim::shuffle(value, sim::lane() ^ (unsigned)mask);
}

template <typename T> T __shfl_sync(unsigned, T value, int lane) {
    return sim::shuffle(value, (unsigned)lane % sim::WARP);
}

inline void __syncwarp() {
    sim::exchange(0, sim::lane());
}

inline float rsqrtf(float x) {
    return 1.0f / sqrtf(x);
}

inline uint32_t __umulhi(uint32_t a, uint32_t b) {
    return (uint32_t)((uint64_t)a * b >> 32);
}

#endif
