/* runtime.cu: runtime.cuh on CUDA: the card, its one stream, memory and copies.
 *
 * The current device belongs to a thread: whoever calls from another one than opened finds it set here, by `enter`. */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/product.cuh"

#include <new>
#include <string.h>

struct bft_runtime {
    int index, capability;
    cudaStream_t stream;
    cudaEvent_t marks[BFT_STAGES];
    bool tf32;
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

bool bft_runtime_has_driver(void) {
    int version = 0;
    return cudaDriverGetVersion(&version) != cudaSuccess || version != 0;
}

static const char *find_card(int index) {
    int count = 0;
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
    runtime->capability = 10 * properties.major + properties.minor;
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
    for (cudaEvent_t &mark : runtime->marks) {
        failure = failure != NULL ? failure : failure_of(cudaEventCreateWithFlags(&mark, cudaEventDisableTiming));
    }
    return failure != NULL ? failure : bft_products_open(runtime->tf32, &runtime->products);
}

const char *bft_runtime_open(int index, bool tf32, bft_runtime **out) {
    const char *failure = find_card(index);
    if (failure != NULL) {
        return failure;
    }
    bft_runtime *runtime = new (std::nothrow) bft_runtime();
    if (runtime == NULL) {
        return "out of memory";
    }
    runtime->index = index;
    runtime->tf32 = tf32;
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
    for (cudaEvent_t mark : runtime->marks) {
        if (mark != NULL) {
            (void)cudaEventDestroy(mark);
        }
    }
    if (runtime->stream != NULL) {
        (void)cudaStreamDestroy(runtime->stream);
    }
    delete runtime;
}

const char *bft_runtime_name(const bft_runtime *runtime) {
    return runtime->name;
}

int bft_runtime_capability(const bft_runtime *runtime) {
    return runtime->capability;
}

void *bft_runtime_stream(bft_runtime *runtime) {
    return runtime->stream;
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

const char *bft_runtime_mark(bft_runtime *runtime, int number) {
    const char *failure = enter(runtime);
    return failure != NULL ? failure : failure_of(cudaEventRecord(runtime->marks[number], runtime->stream));
}

/* One that was never made is passed. */
const char *bft_runtime_wait(bft_runtime *runtime, int number) {
    const char *failure = enter(runtime);
    return failure != NULL ? failure : failure_of(cudaEventSynchronize(runtime->marks[number]));
}

/* ---- Work ---- */

const char *bft_runtime_launch(bft_runtime *runtime, const char *name, kernel_handle kernel,
                               const bft_launch_shape &shape, void **arguments) {
    (void)name; /* the shim counts by it */
    const char *failure = enter(runtime);
    return failure != NULL ? failure
                           : failure_of(cudaLaunchKernel(kernel, shape.grid, shape.block, arguments, shape.shared_bytes,
                                                         runtime->stream));
}

struct bft_graph {
    cudaGraphExec_t ready;
};

/* The capture has to end, whatever `work` says. */
static const char *record(bft_runtime *runtime, bft_graph_work *work, void *context, cudaGraph_t *out) {
    const char *failure = failure_of(cudaStreamBeginCapture(runtime->stream, cudaStreamCaptureModeThreadLocal));
    if (failure != NULL) {
        return failure;
    }
    failure = work(context);
    const char *end = failure_of(cudaStreamEndCapture(runtime->stream, out));
    return failure != NULL ? failure : end;
}

const char *bft_runtime_capture(bft_runtime *runtime, bft_graph_work *work, void *context, bft_graph **out) {
    const char *failure = enter(runtime);
    bft_graph *graph = failure != NULL ? NULL : new (std::nothrow) bft_graph();
    cudaGraph_t recorded = NULL;
    if (graph == NULL) {
        return failure != NULL ? failure : "out of memory";
    }
    failure = record(runtime, work, context, &recorded);
    failure = failure != NULL ? failure : failure_of(cudaGraphInstantiate(&graph->ready, recorded, 0));
    if (recorded != NULL) {
        (void)cudaGraphDestroy(recorded);
    }
    if (failure != NULL) {
        delete graph;
        return failure;
    }
    *out = graph;
    return NULL;
}

const char *bft_runtime_replay(bft_runtime *runtime, bft_graph *graph) {
    const char *failure = enter(runtime);
    return failure != NULL ? failure : failure_of(cudaGraphLaunch(graph->ready, runtime->stream));
}

/* Not while it runs. */
void bft_runtime_forget(bft_runtime *runtime, bft_graph *graph) {
    if (bft_runtime_sync(runtime) == NULL) {
        (void)cudaGraphExecDestroy(graph->ready);
    }
    delete graph;
}

bool bft_runtime_takes(bft_runtime *runtime, const bft_product *product) {
    return enter(runtime) == NULL && bft_products_take(runtime->products, product);
}

const char *bft_runtime_product(bft_runtime *runtime, const bft_product *product) {
    const char *failure = enter(runtime);
    return failure != NULL ? failure : bft_products_run(runtime->products, runtime->stream, product);
}
