/* backend.cu: the device of the CUDA backend, and its tables of ops, one for each type of values. */
#include "kernels/cuda/attention_cudnn.cuh"

#include <new>
#include <stdio.h>
#include <string.h>

/* ---- Open, close, fault ---- */

static void close_device(bft_device *device) {
    if (device->runtime != NULL) {
        bft_queue_close(device);
        bft_attention_engine_close(device->attention);
        bft_runtime_free_host(device->runtime, device->stage);
        bft_runtime_free(device->runtime, device->image);
        bft_runtime_free(device->runtime, device->sums);
        bft_runtime_close(device->runtime);
    }
    delete device;
}

/* What this machine lacks, as against what fails on it. */
static bft_status check_card(bft_error *err, const bft_runtime *runtime, bft_dtype values) {
    int capability = bft_runtime_capability(runtime);
    if (values != BFT_BF16 || capability >= 80) {
        return BFT_OK;
    }
    return bft_error_set(err, BFT_BAD, "cuda: bf16 needs compute capability 8.0; this card has %d.%d: fp32 runs on it",
                         capability / 10, capability % 10);
}

template <bft_dtype VALUES>
static bft_status open_device(bft_error *err, const bft_device_options *options, bft_device **out) {
    if (!bft_runtime_has_driver()) {
        return bft_error_set(err, BFT_BAD, "cuda: this machine has no NVIDIA driver");
    }
    bft_device *device = new (std::nothrow) bft_device();
    if (device == NULL) {
        return bft_error_memory(err, sizeof *device);
    }
    void *stage = NULL, *image = NULL, *sums = NULL;
    const char *failure = bft_runtime_open(options->index, options->tf32, &device->runtime);
    failure = failure != NULL ? failure : bft_queue_open(&device->queue);
    failure = failure != NULL ? failure
                              : bft_runtime_alloc_host(device->runtime, (size_t)BFT_STAGES * BFT_STAGE_BYTES, &stage);
    failure = failure != NULL ? failure : bft_runtime_alloc(device->runtime, BFT_STAGE_BYTES, &image);
    failure = failure != NULL ? failure : bft_runtime_alloc(device->runtime, BFT_SUMS * sizeof(double), &sums);
    device->stage = static_cast<char *>(stage);
    device->image = static_cast<char *>(image);
    device->sums = static_cast<double *>(sums);
    if (failure != NULL) {
        bft_status status = bft_error_set(err, BFT_FAILED, "cuda: %s", failure);
        close_device(device);
        return status;
    }
    bft_status status = check_card(err, device->runtime, VALUES);
    status = status != BFT_OK ? status
                              : bft_attention_engine_open(err, device->runtime, options->attention, VALUES,
                                                          &device->attention);
    if (status != BFT_OK) {
        close_device(device);
        return status;
    }
    *out = device;
    return BFT_OK;
}

static int threads_of(const bft_device *device) {
    (void)device;
    return 1;
}

static void describe(const bft_device *device, char out[BFT_DESCRIPTION_SIZE]) {
    snprintf(out, BFT_DESCRIPTION_SIZE, "%s, attention: %s", bft_runtime_name(device->runtime),
             bft_attention_engine_choice(device->attention));
}

static bft_status fault(bft_error *err, bft_device *device) {
    return healthy(device) ? BFT_OK : bft_error_set(err, BFT_FAILED, "cuda: %s", device->fault);
}

/* Weights have no other forms here: values are of the type that the tensor cores want, and nothing is ever prepared. */
static size_t prepared_bytes(bft_form, size_t, size_t) {
    return 0;
}

static bool prepare(bft_device *, bft_form, const bft_weight *, void *) {
    return true;
}

/* ---- The tables ---- */

template <typename T, bft_dtype VALUES> static bft_ops make_ops(const char *name) {
    bft_ops ops = {};
    ops.name = name;
    ops.real = sizeof(float);
    ops.values = VALUES;
    ops.factors = VALUES;
    ops.remote = true;
    ops.open = open_device<VALUES>;
    ops.close = close_device;
    ops.threads = threads_of;
    ops.describe = describe;
    ops.fault = fault;
    ops.alloc = bft_cuda_alloc;
    ops.free = bft_cuda_free;
    ops.memory = bft_cuda_memory;
    ops.fill_zero = bft_cuda_fill_zero;
    ops.write = bft_cuda_write;
    ops.read = bft_cuda_read;
    ops.to_device = bft_cuda_to_device;
    ops.to_host = bft_cuda_values_to_host<float>;
    ops.values_to_host = bft_cuda_values_to_host<T>;
    ops.to_values = bft_cuda_to_values<T>;
    ops.padded = bft_padded;
    ops.begin = bft_queue_begin;
    ops.end = bft_queue_end;
    ops.embed_memory = bft_cuda<T>::embed_memory;
    ops.embed_forward = bft_cuda<T>::embed_forward;
    ops.embed_backward = bft_cuda<T>::embed_backward;
    ops.linear_memory = bft_cuda<T>::linear_memory;
    ops.linear_forward = bft_cuda<T>::linear_forward;
    ops.linear_backward = bft_cuda<T>::linear_backward;
    ops.prepared_bytes = prepared_bytes;
    ops.prepare = prepare;
    ops.attention_memory = bft_cuda<T>::attention_memory;
    ops.attention_forward = bft_cuda<T>::attention_forward;
    ops.attention_backward = bft_cuda<T>::attention_backward;
    ops.residual_norm_memory = bft_cuda<T>::residual_norm_memory;
    ops.residual_norm_forward = bft_cuda<T>::residual_norm_forward;
    ops.residual_norm_backward = bft_cuda<T>::residual_norm_backward;
    ops.gather_forward = bft_cuda<T>::gather_forward;
    ops.gather_backward = bft_cuda<T>::gather_backward;
    ops.mean_forward = bft_cuda<T>::mean_forward;
    ops.mean_backward = bft_cuda<T>::mean_backward;
    ops.mask = bft_cuda<T>::mask;
    ops.loss = bft_cuda_loss;
    ops.tied_loss_memory = bft_cuda<T>::tied_loss_memory;
    ops.tied_loss = bft_cuda<T>::tied_loss;
    ops.norm = bft_cuda_norm;
    ops.adamw = bft_cuda_adamw<T>;
    ops.adamw_rows = bft_cuda_adamw_rows;
    return ops;
}

#if defined(BFT_CUDASIM)
#define NAME "cudasim"
#else
#define NAME "cuda"
#endif

static const bft_ops tables[] = {make_ops<float, BFT_F32>(NAME), make_ops<bf16, BFT_BF16>(NAME "-bf16"),
                                 make_ops<fp16, BFT_F16>(NAME "-fp16")};

/* The plugin's one door; see kernels/plugin.h. */
extern "C" __attribute__((visibility("default"))) const bft_ops *bft_plugin(const char *name, size_t size_of_ops);

const bft_ops *bft_plugin(const char *name, size_t size_of_ops) {
    for (const bft_ops &table : tables) {
        if (size_of_ops == sizeof(bft_ops) && strcmp(table.name, name) == 0) {
            return &table;
        }
    }
    return NULL;
}
