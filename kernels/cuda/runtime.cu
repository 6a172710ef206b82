/* runtime.cu: runtime.cuh on CUDA: the card, its one stream, memory and copies.
 *
 * The current device belongs to a thread: whoever calls from another one than opened finds it set here, by `enter`. */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/product.cuh"

#include <new>
#include <string.h>

struct bft_runtime {
    int index;
    cudaStream_t stream;
    bft_products *products;
    char name[256];
};

/* NULL for success. What is reported here must not be found again by the next launch, so CUDA's note of it is taken away. */
static const char *failure_of(cudaError_t status) {
    if (status == cudaSuccess) {
        return NULL;
    }
    (void)cudaGetLastError();
    return cudaGetErrorString(status);
}

static const char *enter(const bft_runtime *runtime) {
    return failure_of(cudaSetDevice(runtime->index));
}

/* ---- The card ---- */

__global__ void probe() {
}

static const char *find_card(int index) {
    int driver = 0, count = 0;
    if (cudaDriverGetVersion(&driver) == cudaSuccess && driver == 0) {
        return "this machine has no NVIDIA driver";
    }
    const char *failure = failure_of(cudaGetDeviceCount(&count));
    return failure != NULL ? failure : index >= count ? "there is no card of that number" : NULL;
}

static const char *check_card(bft_runtime *runtime) {
    cudaDeviceProp properties;
    cudaFuncAttributes attributes;
    const char *failure = failure_of(cudaGetDeviceProperties(&properties, runtime->index));
    if (failure != NULL) {
        return failure;
    }
    static_assert(sizeof properties.name <= sizeof runtime->name, "the name fits");
    memcpy(runtime->name, properties.name, sizeof properties.name);
    cudaError_t found = cudaFuncGetAttributes(&attributes, probe);
    if (found == cudaErrorNoKernelImageForDevice || found == cudaErrorInvalidDeviceFunction) {
        (void)cudaGetLastError();
        return "libbertft_cuda.so holds no code for this card: it must have compute capability 7.5 or newer, and be "
               "among "
               "the architectures of `make cuda`";
    }
    return failure_of(found);
}

static const char *start(bft_runtime *runtime) {
    const char *failure = enter(runtime);
    failure = failure != NULL ? failure : check_card(runtime);
    failure =
        failure != NULL ? failure : failure_of(cudaStreamCreateWithFlags(&runtime->stream, cudaStreamNonBlocking));
    return failure != NULL ? failure : bft_products_open(&runtime->products);
}

const char *bft_runtime_open(int index, bft_runtime **out) {
    const char *failure = find_card(index);
    if (failure != NULL) {
        return failure;
    }
    bft_runtime *runtime = new (std::nothrow) bft_runtime();
    if (runtime == NULL) {
        return "out of memory";
    }
    runtime->index = index;
    failure = start(runtime);
    if (failure != NULL) {
        bft_runtime_close(runtime);
        return failure;
    }
    *out = runtime;
    return NULL;
}

void bft_runtime_close(bft_runtime *runtime) {
    if (enter(runtime) == NULL && runtime->stream != NULL) {
        (void)cudaStreamSynchronize(runtime->stream);
    }
    bft_products_close(runtime->products);
    if (runtime->stream != NULL) {
        (void)cudaStreamDestroy(runtime->stream);
    }
    delete runtime;
}

const char *bft_runtime_name(const bft_runtime *runtime) {
    return runtime->name;
}

/* A card that can't be entered fails the launch that follows, and so the device. */
cudaStream_t bft_stream(bft_device *device) {
    (void)cudaSetDevice(device->runtime->index);
    return device->runtime->stream;
}

/* ---- Memory ---- */

const char *bft_runtime_alloc(bft_runtime *runtime, size_t bytes, void **out) {
    const char *failure = enter(runtime);
    return failure != NULL ? failure : failure_of(cudaMalloc(out, bytes));
}

/* What is queued may still use the memory. */
void bft_runtime_free(bft_runtime *runtime, void *memory) {
    if (memory != NULL && bft_runtime_sync(runtime) == NULL) {
        (void)cudaFree(memory);
    }
}

void bft_runtime_memory(const bft_runtime *runtime, size_t *free_bytes, size_t *total_bytes) {
    if (enter(runtime) != NULL || failure_of(cudaMemGetInfo(free_bytes, total_bytes)) != NULL) {
        *free_bytes = *total_bytes = 0;
    }
}

const char *bft_runtime_zero(bft_runtime *runtime, void *memory, size_t bytes) {
    const char *failure = enter(runtime);
    return failure != NULL ? failure : failure_of(cudaMemsetAsync(memory, 0, bytes, runtime->stream));
}

const char *bft_runtime_alloc_host(bft_runtime *runtime, size_t bytes, void **out) {
    const char *failure = enter(runtime);
    return failure != NULL ? failure : failure_of(cudaMallocHost(out, bytes));
}

void bft_runtime_free_host(bft_runtime *runtime, void *memory) {
    if (memory != NULL && bft_runtime_sync(runtime) == NULL) {
        (void)cudaFreeHost(memory);
    }
}

/* ---- Copies ---- */

const char *bft_runtime_to_device(bft_runtime *runtime, void *to, const void *from, size_t bytes) {
    const char *failure = enter(runtime);
    return failure != NULL ? failure
                           : failure_of(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, runtime->stream));
}

const char *bft_runtime_to_host(bft_runtime *runtime, void *to, const void *from, size_t bytes) {
    const char *failure = enter(runtime);
    failure = failure != NULL ? failure
                              : failure_of(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, runtime->stream));
    return failure != NULL ? failure : failure_of(cudaStreamSynchronize(runtime->stream));
}

const char *bft_runtime_sync(bft_runtime *runtime) {
    const char *failure = enter(runtime);
    return failure != NULL ? failure : failure_of(cudaStreamSynchronize(runtime->stream));
}

const char *bft_runtime_product(bft_runtime *runtime, const bft_product *product) {
    const char *failure = enter(runtime);
    return failure != NULL ? failure : bft_products_run(runtime->products, runtime->stream, product);
}
