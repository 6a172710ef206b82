/* memory.c: the device's memory, which here is the host's, and the casts on the way in and out. */
#include "kernels/cpu/cpu.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { ALIGNMENT = 64, HUGE = 2 << 20, PIECE = 1 << 16 };

/* calloc leaves the pages of large blocks untouched until they are used, so a slab of live rows costs what lives in
 * it. The block that it gave stands before the aligned one, for free. Large blocks ask for huge pages. */
bft_status CPU(alloc)(bft_error *err, bft_device *device, size_t bytes, void **out) {
    (void)device;
    if (bytes > SIZE_MAX - 2 * ALIGNMENT) {
        return bft_error_memory(err, bytes);
    }
    char *block = calloc(1, bytes + 2 * ALIGNMENT);
    if (block == NULL) {
        return bft_error_memory(err, bytes);
    }
    uintptr_t start = round_up((uintptr_t)block + sizeof block, ALIGNMENT);
    memcpy((void *)(start - sizeof block), &block, sizeof block);
    uintptr_t huge = round_up(start, HUGE), end = (start + bytes) / HUGE * HUGE;
    if (end > huge) {
        (void)madvise((void *)huge, end - huge, MADV_HUGEPAGE); /* only advice */
    }
    *out = (void *)start;
    return BFT_OK;
}

void CPU(free)(bft_device *device, void *memory) {
    (void)device;
    if (memory != NULL) {
        char *block;
        memcpy(&block, (char *)memory - sizeof block, sizeof block);
        free(block);
    }
}

void CPU(memory)(bft_device *device, size_t *free_bytes, size_t *total) {
    (void)device;
    *free_bytes = *total = SIZE_MAX;
}

void CPU(fill_zero)(bft_device *device, void *memory, size_t bytes) {
    (void)device;
    memset(memory, 0, bytes);
}

/* The exponent's bias goes from 15 to 127 by a product, which also makes subnormal halves normal; infinity and NaN get the
 * exponent that means them. */
static float from_f16(uint16_t half) {
    uint32_t bits = (uint32_t)(half & 0x7FFF) << 13;
    float value;
    memcpy(&value, &bits, sizeof value);
    value *= 0x1p112f;
    memcpy(&bits, &value, sizeof bits);
    bits |= ((half & 0x7C00) == 0x7C00 ? 0x7F800000u : 0) | (uint32_t)(half & 0x8000) << 16;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The upper half of a float. */
static float from_bf16(uint16_t half) {
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

typedef struct cast {
    bft_dtype from;
    const char *host; /* read by memcpy: a mapped file aligns nothing */
    float *reals;
    size_t count;
} cast;

static void cast_piece(void *context, size_t unit, int thread) {
    (void)thread;
    const cast *c = context;
    size_t start = unit * PIECE, count = size_min(PIECE, c->count - start);
    const char *host = c->host + start * bft_dtype_size(c->from);
    float *reals = c->reals + start;
    uint16_t half;
    switch (c->from) {
    case BFT_F32:
        memcpy(reals, host, count * sizeof *reals);
        break;
    case BFT_F16:
        for (size_t i = 0; i < count; i++) {
            memcpy(&half, host + i * sizeof half, sizeof half);
            reals[i] = from_f16(half);
        }
        break;
    case BFT_BF16:
        for (size_t i = 0; i < count; i++) {
            memcpy(&half, host + i * sizeof half, sizeof half);
            reals[i] = from_bf16(half);
        }
        break;
    }
}

void CPU(to_device)(bft_device *device, bft_dtype from, const void *host, void *reals, size_t count) {
    bft_pool_run(device->pool, blocks_of(count, PIECE), cast_piece, &(cast){from, host, reals, count});
}

void CPU(to_host)(bft_device *device, const void *reals, float *host, size_t count) {
    (void)device;
    memcpy(host, reals, count * sizeof *host);
}

void CPU(to_values)(bft_device *device, const void *reals, void *values, size_t count) {
    (void)device;
    memcpy(values, reals, count * sizeof(float));
}

void CPU(copy_in)(bft_device *device, void *to, const void *host, size_t bytes) {
    (void)device;
    memcpy(to, host, bytes);
}

void CPU(copy_out)(bft_device *device, const void *from, void *host, size_t bytes) {
    (void)device;
    memcpy(host, from, bytes);
}
