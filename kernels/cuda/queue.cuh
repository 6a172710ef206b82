/* queue.cuh: commands for the device: done at once, or between begin and end put on record and started together.
 *
 * A small model's step is some hundred kernels of microseconds each, which take longer to start than to run. So what is asked for
 * between begin and end is written down: for each command a function and the bytes that it reads. A record that comes a second time,
 * byte for byte, is started as one CUDA graph; before that it is walked through. Both start the same kernels with the same
 * arguments, so they give the same bits. What changes from batch to batch lies in memory that the commands read (device.cuh). */
#ifndef BFT_KERNELS_CUDA_QUEUE_CUH
#define BFT_KERNELS_CUDA_QUEUE_CUH

#include "kernels/cuda/runtime.cuh"

#include <stdint.h>
#include <string.h>
#include <type_traits>

struct bft_queue;
struct bft_device;

const char *bft_queue_open(bft_queue **out);
void bft_queue_close(bft_device *device); /* frees its graphs; NULL is fine */

void bft_queue_begin(bft_device *device);
void bft_queue_end(bft_device *device);
bool bft_queue_recording(const bft_device *device);
bft_runtime *bft_runtime_of(bft_device *device);

/* Starts something on the device's stream. NULL, or what went wrong. */
typedef const char *bft_command(bft_device *device, const void *arguments);

/* Now or at the end. `name` is for messages and lives as long as the program; the bytes are copied. */
void bft_queue_command(bft_device *device, const char *name, bft_command *start, const void *arguments, size_t bytes);

/* ---- Kernels as commands ---- */

template <typename... P> struct kernel_arguments;
template <> struct kernel_arguments<> {};
template <typename F, typename... R> struct kernel_arguments<F, R...> {
    F first;
    kernel_arguments<R...> rest;
};

template <typename... P> struct kernel_launch {
    const char *name;
    void (*kernel)(P...);
    bft_launch_shape shape;
    kernel_arguments<P...> arguments;
};

/* Byte by byte where it has the parameter's type: an argument's padding is copied too, so that equal launches are equal bytes. */
template <typename F, typename A> static inline void put_argument(F *to, const A &from) {
    if constexpr (std::is_same_v<F, A>) {
        memcpy(static_cast<void *>(to), &from, sizeof from);
    } else {
        *to = from;
    }
}

static inline void put_arguments(kernel_arguments<> *) {
}

template <typename F, typename... R, typename A, typename... B>
static inline void put_arguments(kernel_arguments<F, R...> *to, const A &first, const B &...rest) {
    put_argument(&to->first, first);
    put_arguments(&to->rest, rest...);
}

static inline void point_at(const kernel_arguments<> &, void **) {
}

template <typename F, typename... R> static inline void point_at(const kernel_arguments<F, R...> &from, void **to) {
    *to = const_cast<void *>(static_cast<const void *>(&from.first));
    point_at(from.rest, to + 1);
}

template <typename... P> static const char *start_kernel(bft_device *device, const void *arguments) {
    const auto *launch = static_cast<const kernel_launch<P...> *>(arguments);
    void *pointers[sizeof...(P) + 1];
    point_at(launch->arguments, pointers);
    return bft_runtime_launch(bft_runtime_of(device), launch->name, handle_of(launch->kernel), launch->shape, pointers);
}

template <typename... P, typename... A>
static inline void bft_launch(bft_device *device, const char *name, void (*kernel)(P...), bft_launch_shape shape,
                              const A &...arguments) {
    alignas(kernel_launch<P...>) unsigned char bytes[sizeof(kernel_launch<P...>)] = {};
    auto *launch = reinterpret_cast<kernel_launch<P...> *>(bytes);
    launch->name = name;
    launch->kernel = kernel;
    put_argument(&launch->shape, shape);
    put_arguments(&launch->arguments, arguments...);
    bft_queue_command(device, name, start_kernel<P...>, bytes, sizeof bytes);
}

#endif
