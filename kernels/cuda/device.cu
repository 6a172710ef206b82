/* device.cu: the device: opening, faults, memory, index arrays on their way, and the table of ops. */
#include "kernels/cuda/device.cuh"

#include <new>
#include <stdio.h>
#include <string.h>

enum { STAGE = 32 << 20, SUMS = 1 << 16 };

bool bft_check(bft_device *device, const char *failure) {
    if (failure != NULL && healthy(device)) {
        snprintf(device->fault, sizeof device->fault, "%s", failure);
    }
    return healthy(device);
}

void bft_launched(bft_device *device, const char *kernel, bool fine) {
    if (!fine && healthy(device)) {
        snprintf(device->fault, sizeof device->fault, "kernel %s could not be started", kernel);
    }
}

/* ---- Open, close, fault ---- */

static void close_device(bft_device *device) {
    if (device->runtime != NULL) {
        bft_runtime_free_host(device->runtime, device->stage);
        bft_runtime_free(device->runtime, device->image);
        bft_runtime_free(device->runtime, device->sums);
        bft_runtime_close(device->runtime);
    }
    delete device;
}

static bft_status open_device(bft_error *err, int threads, bft_device **out) {
    (void)threads; /* of the host: this backend needs none of its own */
    bft_device *device = new (std::nothrow) bft_device();
    if (device == NULL) {
        return bft_error_memory(err, sizeof *device);
    }
    void *stage = NULL, *image = NULL, *sums = NULL;
    const char *failure = bft_runtime_open(0, &device->runtime);
    failure = failure != NULL ? failure : bft_runtime_alloc_host(device->runtime, STAGE, &stage);
    failure = failure != NULL ? failure : bft_runtime_alloc(device->runtime, STAGE, &image);
    failure = failure != NULL ? failure : bft_runtime_alloc(device->runtime, SUMS * sizeof(double), &sums);
    device->stage = static_cast<char *>(stage);
    device->image = static_cast<char *>(image);
    device->sums = static_cast<double *>(sums);
    if (failure != NULL) {
        bft_status status = bft_error_set(err, BFT_FAILED, "cuda: %s", failure);
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
    snprintf(out, BFT_DESCRIPTION_SIZE, "%s", bft_runtime_name(device->runtime));
}

static bft_status fault(bft_error *err, bft_device *device) {
    return healthy(device) ? BFT_OK : bft_error_set(err, BFT_FAILED, "cuda: %s", device->fault);
}

/* ---- Memory ---- */

static bft_status alloc(bft_error *err, bft_device *device, size_t bytes, void **out) {
    const char *failure = bft_runtime_alloc(device->runtime, bytes == 0 ? 1 : bytes, out);
    if (failure == NULL) {
        failure = bft_runtime_zero(device->runtime, *out, bytes);
    }
    if (failure != NULL) {
        size_t free_bytes = 0, total = 0;
        bft_runtime_memory(device->runtime, &free_bytes, &total);
        return bft_error_set(err, BFT_FAILED,
                             "cuda: %s: %zu bytes asked for, %zu of %zu are free; a smaller TRAIN.BATCH_SIZE with "
                             "TRAIN.ACCUMULATE, or a shorter DATA.MAX_LENGTH, needs less",
                             failure, bytes, free_bytes, total);
    }
    return BFT_OK;
}

static void free_memory(bft_device *device, void *memory) {
    bft_runtime_free(device->runtime, memory);
}

static void fill_zero(bft_device *device, void *memory, size_t bytes) {
    if (healthy(device) && bytes > 0) {
        bft_check(device, bft_runtime_zero(device->runtime, memory, bytes));
    }
}

/* Room in the stage; when its end is reached, what was staged before must have been used: wait for it. */
void *bft_stage_take(bft_device *device, size_t bytes) {
    bytes = (bytes + 255) / 256 * 256;
    if (bytes > STAGE) {
        bft_check(device, "an index array is larger than the staging memory");
        return NULL;
    }
    if (bytes > STAGE - device->stage_used) {
        bft_check(device, bft_runtime_sync(device->runtime));
        device->stage_used = 0;
    }
    char *place = device->stage + device->stage_used;
    device->stage_used += bytes;
    return place;
}

void *bft_stage_send(bft_device *device, const void *staged, size_t bytes) {
    char *image = device->image + (static_cast<const char *>(staged) - device->stage);
    bft_check(device, bft_runtime_to_device(device->runtime, image, staged, bytes));
    return image;
}

const void *bft_mirror_bytes(bft_device *device, const void *host, size_t bytes) {
    if (host == NULL || bytes == 0 || !healthy(device)) {
        return NULL;
    }
    void *place = bft_stage_take(device, bytes);
    if (place == NULL) {
        return NULL;
    }
    memcpy(place, host, bytes);
    return bft_stage_send(device, place, bytes);
}

dropout_key bft_dropout_key(bft_device *device, const bft_dropout *dropout, size_t rows, bool positions) {
    dropout_key key = {};
    if (dropout->rate > 0) {
        key.scale = static_cast<float>(1 / (1 - static_cast<double>(dropout->rate)));
        key.threshold = bft_dropout_threshold(dropout->rate);
        key.seed = dropout->seed;
        key.step = dropout->step;
        key.place = static_cast<uint32_t>(dropout->layer) << 16 | static_cast<uint32_t>(dropout->site) << 24;
        key.sample = mirror(device, dropout->sample, rows);
        key.position = positions ? mirror(device, dropout->position, rows) : NULL;
    }
    return key;
}

/* ---- Casts, on the host: weights come once ---- */

static float half_value(uint16_t bits) {
    uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16, exponent = bits >> 10 & 31u, mantissa = bits & 0x3FFu;
    uint32_t single = 0;
    if (exponent == 31) {
        single = sign | 0x7F800000u | mantissa << 13;
    } else if (exponent != 0) {
        single = sign | (exponent + 112) << 23 | mantissa << 13;
    } else {
        float small = static_cast<float>(mantissa) * 0x1p-24f; /* subnormal, exact */
        return sign != 0 ? -small : small;
    }
    float value;
    memcpy(&value, &single, sizeof value);
    return value;
}

static float to_float(bft_dtype from, const char *host, size_t index) {
    uint16_t bits;
    float value;
    if (from == BFT_F32) {
        memcpy(&value, host + index * sizeof value, sizeof value);
        return value;
    }
    memcpy(&bits, host + index * sizeof bits, sizeof bits);
    if (from == BFT_F16) {
        return half_value(bits);
    }
    uint32_t single = static_cast<uint32_t>(bits) << 16;
    memcpy(&value, &single, sizeof value);
    return value;
}

static void to_device(bft_device *device, bft_dtype from, const void *host, void *reals, size_t count) {
    enum { PIECE = 1 << 20 };
    for (size_t at = 0; at < count && healthy(device); at += PIECE) {
        size_t left = count - at, part = left < PIECE ? left : static_cast<size_t>(PIECE);
        float *staged = static_cast<float *>(bft_stage_take(device, part * sizeof(float)));
        for (size_t i = 0; i < part; i++) {
            staged[i] = to_float(from, static_cast<const char *>(host), at + i);
        }
        bft_check(device, bft_runtime_to_device(device->runtime, static_cast<float *>(reals) + at, staged,
                                                part * sizeof(float)));
    }
}

static void to_host(bft_device *device, const void *reals, float *host, size_t count) {
    if (healthy(device) && count > 0) {
        bft_check(device, bft_runtime_to_host(device->runtime, host, reals, count * sizeof(float)));
    }
}

/* ---- The table ---- */

static bft_ops make_ops() {
    bft_ops ops = {};
#if defined(BFT_CUDASIM)
    ops.name = "cudasim";
#else
    ops.name = "cuda";
#endif
    ops.real = sizeof(float);
    ops.open = open_device;
    ops.close = close_device;
    ops.threads = threads_of;
    ops.describe = describe;
    ops.fault = fault;
    ops.alloc = alloc;
    ops.free = free_memory;
    ops.fill_zero = fill_zero;
    ops.to_device = to_device;
    ops.to_host = to_host;
    ops.embed_memory = bft_cuda_embed_memory;
    ops.embed_forward = bft_cuda_embed_forward;
    ops.embed_backward = bft_cuda_embed_backward;
    ops.linear_memory = bft_cuda_linear_memory;
    ops.linear_forward = bft_cuda_linear_forward;
    ops.linear_backward = bft_cuda_linear_backward;
    ops.attention_memory = bft_cuda_attention_memory;
    ops.attention_forward = bft_cuda_attention_forward;
    ops.attention_backward = bft_cuda_attention_backward;
    ops.residual_norm_memory = bft_cuda_residual_norm_memory;
    ops.residual_norm_forward = bft_cuda_residual_norm_forward;
    ops.residual_norm_backward = bft_cuda_residual_norm_backward;
    ops.gather_forward = bft_cuda_gather_forward;
    ops.gather_backward = bft_cuda_gather_backward;
    ops.mean_forward = bft_cuda_mean_forward;
    ops.mean_backward = bft_cuda_mean_backward;
    ops.mask = bft_cuda_mask;
    ops.loss = bft_cuda_loss;
    ops.sum_squares = bft_cuda_sum_squares;
    ops.adamw = bft_cuda_adamw;
    ops.adamw_rows = bft_cuda_adamw_rows;
    return ops;
}

static const bft_ops table = make_ops();

/* The plugin's one door; see kernels/plugin.h. */
extern "C" __attribute__((visibility("default"))) const bft_ops *bft_plugin(size_t size_of_ops);

const bft_ops *bft_plugin(size_t size_of_ops) {
    return size_of_ops == sizeof(bft_ops) ? &table : NULL;
}
