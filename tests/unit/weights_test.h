/* weights_test.h: what the tests of weight files share: bytes in memory, opened as a file; every prefix and every flipped
 * byte of a small file. */
#ifndef BFT_TESTS_WEIGHTS_TEST_H
#define BFT_TESTS_WEIGHTS_TEST_H

#include "bertft/weights.h"
#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#define FIXTURES "tests/fixtures/weights/"

/* Opens bytes as a file that lives in memory only. */
static inline bft_status open_bytes(bft_error *err, bft_weights **out, const void *bytes, size_t size) {
    char path[64];
    int fd = memfd_create("weights", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    *out = NULL;
    bft_status status = bft_weights_open(err, out, path);
    close(fd); /* the mapping has its own */
    return status;
}

static inline void load_file(const char *path, bft_buffer *out) {
    bft_error err = {0};
    if (bft_file_read(&err, path, 1 << 20, out) != BFT_OK) {
        fail_msg("%s", err.message);
    }
}

/* The bytes must be refused with a message that holds `words`. */
static inline void refuse_bytes(const void *bytes, size_t size, const char *words) {
    bft_error err = {0};
    bft_weights *weights;
    assert_int_equal(open_bytes(&err, &weights, bytes, size), BFT_BAD);
    assert_null(weights);
    if (strstr(err.message, words) == NULL) {
        fail_msg("\"%s\" does not hold \"%s\"", err.message, words);
    }
}

/* Reads every byte of every tensor, so that a place outside of the file is noticed. */
static inline unsigned sum_of_bytes(const bft_weights *weights) {
    unsigned sum = 0;
    for (size_t i = 0; i < bft_weights_count(weights); i++) {
        const bft_tensor *tensor = bft_weights_at(weights, i);
        for (size_t k = 0; tensor->data != NULL && k < tensor->count * bft_dtype_size(tensor->dtype); k++) {
            sum += ((const unsigned char *)tensor->data)[k];
        }
    }
    return sum;
}

/* No file that is cut short is good, wherever it is cut. */
static inline void refuse_every_prefix(const char *path) {
    bft_buffer file = {0};
    bft_error err = {0};
    bft_weights *weights;
    load_file(path, &file);
    for (size_t size = 0; size < file.length; size++) {
        if (open_bytes(&err, &weights, file.data, size) != BFT_BAD) {
            fail_msg("%s cut to %zu bytes is not refused", path, size);
        }
    }
    assert_int_equal(open_bytes(&err, &weights, file.data, file.length), BFT_OK);
    bft_weights_close(weights);
    bft_buffer_free(&file);
}

/* A changed byte may go unnoticed (most are values), but must never lead outside of the file, or be the machine's fault. */
static inline void survive_every_flip(const char *path) {
    static const unsigned char masks[] = {0x01, 0x10, 0x80, 0xff};
    bft_buffer file = {0};
    bft_error err = {0};
    bft_weights *weights;
    unsigned sum = 0;
    load_file(path, &file);
    for (size_t i = 0; i < file.length * sizeof masks; i++) {
        char *byte = &file.data[i / sizeof masks], kept = *byte;
        *byte = (char)(*byte ^ masks[i % sizeof masks]);
        bft_status status = open_bytes(&err, &weights, file.data, file.length);
        assert_true(status == BFT_OK || status == BFT_BAD);
        if (status == BFT_OK) {
            sum += sum_of_bytes(weights);
            bft_weights_close(weights);
        }
        *byte = kept;
    }
    assert_true(sum > 0);
    bft_buffer_free(&file);
}

/* An element as a number; the fixtures hold multiples of 0.25 only, which every type holds exactly. */
static inline double element(const bft_tensor *tensor, size_t index) {
    uint32_t bits = 0;
    float value;
    if (tensor->dtype == BFT_F32) {
        memcpy(&bits, (const char *)tensor->data + index * 4, 4);
    } else {
        memcpy(&bits, (const char *)tensor->data + index * 2, 2);
        uint32_t rest = bits & 0x7fff;
        bits = tensor->dtype == BFT_BF16 ? bits << 16
                                         : (bits & 0x8000) << 16 | (rest == 0 ? 0 : (rest << 13) + (112u << 23));
    }
    memcpy(&value, &bits, 4);
    return value;
}

/* Finds a tensor and checks its type and shape ("2,3"). */
static inline const bft_tensor *expect_tensor(const bft_weights *weights, const char *name, bft_dtype dtype,
                                              const char *shape) {
    const bft_tensor *tensor = bft_weights_find(weights, name);
    char found[128] = "";
    if (tensor == NULL) {
        fail_msg("there is no tensor %s", name);
    }
    assert_string_equal(tensor->name, name);
    for (size_t i = 0, used = 0; i < tensor->dimensions; i++) {
        used += (size_t)snprintf(found + used, sizeof found - used, "%s%zu", i == 0 ? "" : ",", tensor->shape[i]);
    }
    assert_string_equal(found, shape);
    assert_int_equal(tensor->dtype, dtype);
    return tensor;
}

/* The tensor holds first, first + step, first + 2 step, ... */
static inline void expect_steps(const bft_weights *weights, const char *name, bft_dtype dtype, const char *shape,
                                double first, double step) {
    const bft_tensor *tensor = expect_tensor(weights, name, dtype, shape);
    assert_non_null(tensor->data);
    for (size_t i = 0; i < tensor->count; i++) {
        assert_true(element(tensor, i) == first + step * (double)i);
    }
}

/* The tensors that make_weights.py calls plain(). */
static inline void expect_plain(const bft_weights *weights) {
    assert_int_equal(bft_weights_count(weights), 7);
    expect_steps(weights, "a", BFT_F32, "3,4", 0, 0.25);
    expect_steps(weights, "h", BFT_F16, "2,5", 1, 0.25);
    expect_steps(weights, "b", BFT_BF16, "5,2", -1, 0.25);
    expect_steps(weights, "scalar", BFT_F32, "", 2.5, 0);
    expect_steps(weights, "empty", BFT_F32, "0,4", 0, 0);
    assert_null(expect_tensor(weights, "ids", BFT_F32, "1,7")->data);
    assert_null(expect_tensor(weights, "double", BFT_F32, "2")->data);
    assert_null(bft_weights_find(weights, "aa"));
    assert_null(bft_weights_find(weights, ""));
}

static inline bft_weights *open_path(const char *path) {
    bft_error err = {0};
    bft_weights *weights = NULL;
    if (bft_weights_open(&err, &weights, path) != BFT_OK) {
        fail_msg("%s", err.message);
    }
    return weights;
}

#endif
