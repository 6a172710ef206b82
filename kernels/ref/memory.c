/* memory.c: the device's memory, which here is the host's, and the casts on the way in and out. */
#include "kernels/ref/ref.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

bft_status REF(alloc)(bft_error *err, bft_device *device, size_t bytes, void **out) {
    (void)device;
    if (bytes > SIZE_MAX / 2) {
        return bft_error_memory(err, bytes);
    }
    size_t room = (bytes / ALIGNMENT + 1) * ALIGNMENT;
    *out = aligned_alloc(ALIGNMENT, room);
    if (*out == NULL) {
        return bft_error_memory(err, bytes);
    }
    memset(*out, 0, room);
    return BFT_OK;
}

void REF(free)(bft_device *device, void *memory) {
    (void)device;
    free(memory);
}

void REF(memory)(bft_device *device, size_t *free_bytes, size_t *total) {
    (void)device;
    *free_bytes = *total = SIZE_MAX;
}

void REF(fill_zero)(bft_device *device, void *memory, size_t bytes) {
    (void)device;
    memset(memory, 0, bytes);
}

/* 1 bit of sign, 5 of exponent (bias 15), 10 of fraction; every value is a float too. */
static float from_f16(uint16_t bits) {
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    float size;
    if (exponent == 31) {
        size = fraction == 0 ? INFINITY : NAN;
    } else if (exponent == 0) {
        size = ldexpf((float)fraction, -24);
    } else {
        size = ldexpf((float)(1024 + fraction), exponent - 25);
    }
    return bits >> 15 ? -size : size;
}

/* The upper half of a float. */
static float from_bf16(uint16_t bits) {
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

void REF(to_device)(bft_device *device, bft_dtype from, const void *host, void *reals, size_t count) {
    (void)device;
    const char *bytes = host; /* read by memcpy: a mapped file aligns nothing */
    for (size_t i = 0; i < count; i++) {
        float value;
        if (from == BFT_F32) {
            memcpy(&value, bytes + i * sizeof value, sizeof value);
        } else {
            uint16_t half;
            memcpy(&half, bytes + i * sizeof half, sizeof half);
            value = from == BFT_F16 ? from_f16(half) : from_bf16(half);
        }
        ((real *)reals)[i] = (real)value;
    }
}

void REF(to_host)(bft_device *device, const void *reals, float *host, size_t count) {
    (void)device;
    for (size_t i = 0; i < count; i++) {
        host[i] = (float)((const real *)reals)[i];
    }
}

void REF(to_values)(bft_device *device, const void *reals, void *values, size_t count) {
    (void)device;
    memcpy(values, reals, count * sizeof(real));
}

void REF(copy_in)(bft_device *device, void *to, const void *host, size_t bytes) {
    (void)device;
    memcpy(to, host, bytes);
}

void REF(copy_out)(bft_device *device, const void *from, void *host, size_t bytes) {
    (void)device;
    memcpy(host, from, bytes);
}
