/* memory.cu: the device's memory, copies, and the casts on the way in and out. */
#include "kernels/cuda/device.cuh"

#include <string.h>

bft_status bft_cuda_alloc(bft_error *err, bft_device *device, size_t bytes, void **out) {
    const char *failure = bft_runtime_alloc(device->runtime, bytes == 0 ? 1 : bytes, out);
    if (failure == NULL) {
        failure = bft_runtime_zero(device->runtime, *out, bytes);
    }
    if (failure != NULL) {
        size_t free_bytes = 0, total = 0;
        bft_runtime_memory(device->runtime, &free_bytes, &total);
        return bft_error_set(err, BFT_FAILED, "cuda: %s: %zu MB asked for, %zu of %zu MB are free", failure,
                             (bytes + (1 << 20) - 1) >> 20, free_bytes >> 20, total >> 20);
    }
    return BFT_OK;
}

void bft_cuda_free(bft_device *device, void *memory) {
    bft_runtime_free(device->runtime, memory);
}

void bft_cuda_memory(bft_device *device, size_t *free_bytes, size_t *total) {
    bft_runtime_memory(device->runtime, free_bytes, total);
}

/* By way of the stage, so that the host needs not wait. */
void bft_cuda_write(bft_device *device, void *to, const void *host, size_t bytes) {
    enum { PIECE = 4 << 20 };
    for (size_t at = 0; at < bytes && healthy(device); at += PIECE) {
        size_t part = bytes - at < PIECE ? bytes - at : static_cast<size_t>(PIECE);
        void *staged = bft_stage_take(device, part);
        if (staged != NULL) {
            memcpy(staged, static_cast<const char *>(host) + at, part);
            bft_check(device, bft_runtime_to_device(device->runtime, static_cast<char *>(to) + at, staged, part));
        }
    }
}

void bft_cuda_read(bft_device *device, const void *from, void *host, size_t bytes) {
    if (healthy(device) && bytes > 0) {
        bft_check(device, bft_runtime_to_host(device->runtime, host, from, bytes));
    }
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

void bft_cuda_to_device(bft_device *device, bft_dtype from, const void *host, void *reals, size_t count) {
    enum { PIECE = 1 << 20 };
    for (size_t at = 0; at < count && healthy(device); at += PIECE) {
        size_t left = count - at, part = left < PIECE ? left : static_cast<size_t>(PIECE);
        float *staged = static_cast<float *>(bft_stage_take(device, part * sizeof(float)));
        if (staged == NULL) {
            return;
        }
        for (size_t i = 0; i < part; i++) {
            staged[i] = to_float(from, static_cast<const char *>(host), at + i);
        }
        bft_check(device, bft_runtime_to_device(device->runtime, static_cast<float *>(reals) + at, staged,
                                                part * sizeof(float)));
    }
}

/* In place, from the last to the first: a float is no smaller than a value. */
template <typename T> void bft_cuda_values_to_host(bft_device *device, const void *values, float *host, size_t count) {
    bft_cuda_read(device, values, host, count * sizeof(T));
    for (size_t i = count; dtype_of<T> != BFT_F32 && healthy(device) && i-- > 0;) {
        host[i] = to_float(dtype_of<T>, reinterpret_cast<const char *>(host), i);
    }
}

enum { ROUND_THREADS = 256 };

template <typename T> __global__ void round_reals(const float *reals, T *values, size_t count) {
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        values[i] = from_float<T>(reals[i]);
    }
}

template <typename T> void bft_cuda_to_values(bft_device *device, const void *reals, void *values, size_t count) {
    if (healthy(device) && count > 0) {
        LAUNCH(device, round_reals<T>, blocks_for(count, ROUND_THREADS), ROUND_THREADS, 0,
               static_cast<const float *>(reals), static_cast<T *>(values), count);
    }
}

#define FOR_VALUES(T)                                                                                                  \
    template void bft_cuda_values_to_host<T>(bft_device *, const void *, float *, size_t);                             \
    template void bft_cuda_to_values<T>(bft_device *, const void *, void *, size_t);

FOR_VALUES(float)
FOR_VALUES(bf16)
FOR_VALUES(fp16)
