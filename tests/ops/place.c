/* place.c: tensors in the device's memory: between guards, in the backend's types, with the rows that padding adds.
 *
 * Rows behind the last begin as an earlier and longer batch may have left them: finite numbers that stand for nothing;
 * but zero in a gradient that is read. */
#include "tests/ops/ops_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 256, GUARD_BYTE = 0xA5 };

static void *host_bytes(size_t bytes) {
    void *memory = malloc(bytes + 1);
    if (memory == NULL) {
        bft_error err;
        must(bft_error_memory(&err, bytes), &err);
    }
    return memory;
}

/* ---- Guards ---- */

static size_t whole_size(size_t room) {
    return GUARD + (room + 7) / 8 * 8 + GUARD;
}

void *guarded_alloc(const run *r, size_t bytes) {
    bft_error err;
    void *base;
    must(r->ops->alloc(&err, r->device, whole_size(bytes), &base), &err);
    return (char *)base + GUARD;
}

void guarded_free(const run *r, void *inside) {
    if (inside != NULL) {
        r->ops->free(r->device, (char *)inside - GUARD);
    }
}

static void guarded_write(const run *r, void *inside, const void *content, size_t bytes, size_t room) {
    unsigned char *host = host_bytes(whole_size(room));
    memset(host, GUARD_BYTE, whole_size(room));
    memcpy(host + GUARD, content, bytes);
    r->ops->write(r->device, (char *)inside - GUARD, host, whole_size(room));
    free(host);
}

void guarded_poison(const run *r, void *inside, size_t bytes, size_t room) {
    void *host = host_bytes(bytes);
    memset(host, 0xFF, bytes);
    guarded_write(r, inside, host, bytes, room);
    free(host);
}

bool guards_hold(const run *r, const void *inside, size_t bytes, size_t room) {
    if (inside == NULL) {
        return true;
    }
    unsigned char *host = host_bytes(whole_size(room));
    r->ops->read(r->device, (const char *)inside - GUARD, host, whole_size(room));
    bool hold = true;
    for (size_t i = 0; i < whole_size(room); i++) {
        hold = hold && ((i >= GUARD && i < GUARD + bytes) || host[i] == GUARD_BYTE);
    }
    free(host);
    return hold;
}

/* ---- Elements ---- */

static size_t element_size(const run *r, int at) {
    switch (r->problem->tensor[at].numbers) {
    case REALS:
        return r->ops->real;
    case VALUES:
        return bft_ops_value_size(r->ops);
    case DOUBLES:
        break;
    }
    return sizeof(double);
}

static void put(const run *r, int at, char *host, size_t i, double x) {
    size_t size = element_size(r, at);
    float single = (float)x;
    uint16_t half = size == sizeof half ? (uint16_t)bits_of_value(r->ops->values, x) : 0;
    const void *from = size == sizeof x ? (const void *)&x : size == sizeof single ? (const void *)&single : &half;
    memcpy(host + i * size, from, size);
}

static double get(const run *r, int at, const char *host, size_t i) {
    size_t size = element_size(r, at);
    double x;
    float single;
    uint16_t half;
    if (size == sizeof x) {
        memcpy(&x, host + i * size, size);
        return x;
    }
    if (size == sizeof single) {
        memcpy(&single, host + i * size, size);
        return (double)single;
    }
    memcpy(&half, host + i * size, size);
    return value_of(r->ops->values, half);
}

/* ---- Tensors ---- */

/* Elements in the rows behind the last. */
static size_t tail(const run *r, int at) {
    const tensor *t = &r->problem->tensor[at];
    return t->rows == 0 ? 0 : (r->ops->padded(t->rows) - t->rows) * (t->count / t->rows);
}

size_t tensor_bytes(const run *r, int at) {
    return (r->problem->tensor[at].count + tail(r, at)) * element_size(r, at);
}

/* What a longer batch has left there, where that is allowed. */
static double tail_start(const tensor *t, size_t i) {
    size_t width = t->count / t->rows;
    bool zero = t->gradient && (t->role != OUTPUT || i % width >= width - t->gap);
    return zero ? 0 : (double)(i % 13) - 6.5;
}

static void write_tensor(const run *r, int at, const double *content) {
    const tensor *t = &r->problem->tensor[at];
    size_t bytes = tensor_bytes(r, at);
    char *host = host_bytes(bytes);
    memset(host, 0xFF, bytes);
    for (size_t i = 0; content != NULL && i < t->count; i++) {
        put(r, at, host, i, content[i]);
    }
    for (size_t i = 0; i < tail(r, at); i++) {
        put(r, at, host, t->count + i, tail_start(t, i));
    }
    guarded_write(r, r->memory[at], host, bytes, r->room[at]);
    free(host);
}

void tensor_load(const run *r, int at) {
    write_tensor(r, at, r->problem->tensor[at].start);
}

void tensor_lose(const run *r, int at) {
    write_tensor(r, at, NULL);
}

/* All `count` elements from `first`. */
static void read_elements(const run *r, int at, size_t first, size_t count, double *out) {
    size_t size = element_size(r, at);
    char *host = host_bytes(count * size);
    r->ops->read(r->device, (const char *)r->memory[at] + first * size, host, count * size);
    for (size_t i = 0; i < count; i++) {
        out[i] = get(r, at, host, i);
    }
    free(host);
}

void tensor_read(const run *r, int at, double *out) {
    read_elements(r, at, 0, r->problem->tensor[at].count, out);
}

const char *tensor_tail_check(const run *r, int at) {
    const tensor *t = &r->problem->tensor[at];
    size_t count = tail(r, at);
    double *rest = host_bytes(count * sizeof *rest);
    read_elements(r, at, t->count, count, rest);
    bool fine = true;
    for (size_t i = 0; i < count; i++) {
        fine = fine && (t->gradient ? rest[i] == 0 : isfinite(rest[i]));
    }
    free(rest);
    return fine ? NULL : t->gradient ? "is not zero behind its last row" : "is not finite behind its last row";
}
