/* amx.h: AMX's instructions in C, for machines that lack them, after their operation in Intel's Software Developer's Manual. `make wide`
 * includes it before all else. What a processor would refuse ends the program. */
#ifndef BFT_TESTS_AMX_H
#define BFT_TESTS_AMX_H

#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbusd
#undef _tile_dpbf16ps
#define _tile_loadconfig amx_loadconfig
#define _tile_release amx_release
#define _tile_zero amx_zero
#define _tile_loadd amx_load
#define _tile_stored amx_store
#define _tile_dpbusd amx_dpbusd
#define _tile_dpbf16ps amx_dpbf16ps

enum { AMX_TILES = 8, AMX_ROWS = 16, AMX_ROW_BYTES = 64 };

typedef struct amx_tile {
    size_t rows, row_bytes;
    uint8_t bytes[AMX_ROWS][AMX_ROW_BYTES];
} amx_tile;

static __thread struct {
    bool configured;
    amx_tile tiles[AMX_TILES];
} amx;

static inline void amx_check(bool allowed) {
    if (!allowed) {
        abort();
    }
}

static inline amx_tile *amx_at(int tile) {
    amx_check(amx.configured && tile >= 0 && tile < AMX_TILES && amx.tiles[tile].rows > 0);
    return &amx.tiles[tile];
}

static inline void amx_loadconfig(const void *config) {
    const uint8_t *bytes = config;
    memset(&amx, 0, sizeof amx);
    amx_check(bytes[0] == 1 && bytes[1] == 0);
    for (size_t i = 2; i < 16; i++) {
        amx_check(bytes[i] == 0);
    }
    for (size_t i = 0; i < 16; i++) {
        uint16_t row_bytes;
        memcpy(&row_bytes, bytes + 16 + 2 * i, sizeof row_bytes);
        uint8_t rows = bytes[48 + i];
        amx_check(rows <= AMX_ROWS && row_bytes <= AMX_ROW_BYTES && (rows == 0) == (row_bytes == 0));
        amx_check(i < AMX_TILES || rows == 0);
        if (i < AMX_TILES) {
            amx.tiles[i].rows = rows;
            amx.tiles[i].row_bytes = row_bytes;
        }
    }
    amx.configured = true;
}

static inline void amx_release(void) {
    memset(&amx, 0, sizeof amx);
}

static inline void amx_zero(int tile) {
    memset(amx_at(tile)->bytes, 0, sizeof amx_at(tile)->bytes);
}

static inline void amx_load(int tile, const void *from, size_t stride) {
    amx_tile *t = amx_at(tile);
    amx_zero(tile);
    for (size_t r = 0; r < t->rows; r++) {
        memcpy(t->bytes[r], (const char *)from + r * stride, t->row_bytes);
    }
}

static inline void amx_store(int tile, void *to, size_t stride) {
    const amx_tile *t = amx_at(tile);
    for (size_t r = 0; r < t->rows; r++) {
        memcpy((char *)to + r * stride, t->bytes[r], t->row_bytes);
    }
}

/* What both products ask of the shapes: (M, N) += (M, K) (K, N), in elements of 4 bytes. */
static inline void amx_check_shapes(const amx_tile *sum, const amx_tile *a, const amx_tile *b) {
    amx_check(sum != a && sum != b && a != b);
    amx_check(sum->rows == a->rows && sum->row_bytes == b->row_bytes && a->row_bytes == 4 * b->rows);
    amx_check(sum->row_bytes % 4 == 0);
}

static inline void amx_dpbusd(int to, int left, int right) {
    amx_tile *sum = amx_at(to), *a = amx_at(left), *b = amx_at(right);
    amx_check_shapes(sum, a, b);
    for (size_t m = 0; m < sum->rows; m++) {
        for (size_t n = 0; n < sum->row_bytes / 4; n++) {
            int32_t total;
            memcpy(&total, &sum->bytes[m][4 * n], sizeof total);
            for (size_t k = 0; k < a->row_bytes; k++) {
                total += a->bytes[m][k] * (int8_t)b->bytes[k / 4][4 * n + k % 4];
            }
            memcpy(&sum->bytes[m][4 * n], &total, sizeof total);
        }
    }
}

/* Numbers below the normal ones are 0, on their way in and out. */
static inline float amx_flush(float x) {
    return fabsf(x) < FLT_MIN ? copysignf(0, x) : x;
}

static inline float amx_bf16(const uint8_t *bytes) {
    uint32_t bits = (uint32_t)bytes[0] << 16 | (uint32_t)bytes[1] << 24;
    float x;
    memcpy(&x, &bits, sizeof x);
    return amx_flush(x);
}

/* The first of all pairs and the second of all pairs have a sum each, which come together at the end. */
static inline void amx_dpbf16ps(int to, int left, int right) {
    amx_tile *sum = amx_at(to), *a = amx_at(left), *b = amx_at(right);
    amx_check_shapes(sum, a, b);
    for (size_t m = 0; m < sum->rows; m++) {
        for (size_t n = 0; n < sum->row_bytes / 4; n++) {
            float total, half[2] = {0};
            memcpy(&total, &sum->bytes[m][4 * n], sizeof total);
            for (size_t k = 0; k < a->row_bytes / 2; k++) {
                float x = amx_bf16(&a->bytes[m][2 * k]), y = amx_bf16(&b->bytes[k / 2][4 * n + k % 2 * 2]);
                half[k % 2] = amx_flush(fmaf(x, y, half[k % 2]));
            }
            total = amx_flush(amx_flush(total) + amx_flush(half[0] + half[1]));
            memcpy(&sum->bytes[m][4 * n], &total, sizeof total);
        }
    }
}

#endif
