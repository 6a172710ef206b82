/* fuzz_pytorch.c: PyTorch's zip and legacy files, and bare pickles, which are put into an otherwise right archive: this
 * gets the fuzzer past the checks of the zip format. Seeds: tests/fixtures/weights. */
#include "fuzz_weights.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

static void little(unsigned char *at, size_t value, size_t length) {
    for (size_t i = 0; i < length; i++) {
        at[i] = (unsigned char)(value >> (8 * i));
    }
}

/* A stored member, and its record in the directory; each returns the bytes that it took. */
static size_t put_local(unsigned char *at, const char *name, const void *bytes, size_t size) {
    size_t length = strlen(name);
    memset(at, 0, 30);
    memcpy(at, "PK\3\4", 4);
    little(at + 26, length, 2);
    memcpy(at + 30, name, length);
    memcpy(at + 30 + length, bytes, size);
    return 30 + length + size;
}

static size_t put_record(unsigned char *at, const char *name, size_t size, size_t offset) {
    size_t length = strlen(name);
    memset(at, 0, 46);
    memcpy(at, "PK\1\2", 4);
    little(at + 20, size, 4);
    little(at + 24, size, 4);
    little(at + 28, length, 2);
    little(at + 42, offset, 4);
    memcpy(at + 46, name, length);
    return 46 + length;
}

/* The pickle, and the storages "0" to "9" of 96 bytes each. */
static unsigned fuzz_pickle(const unsigned char *bytes, size_t size) {
    enum { STORAGES = 10, STORAGE = 96 };
    static const unsigned char zeros[STORAGE];
    size_t offsets[STORAGES], at, start, end;
    unsigned char *file = malloc(size + 4096);
    if (file == NULL) {
        abort();
    }
    at = put_local(file, "x/data.pkl", bytes, size);
    for (size_t i = 0; i < STORAGES; i++) {
        char name[] = {'x', '/', 'd', 'a', 't', 'a', '/', (char)('0' + i), '\0'};
        offsets[i] = at;
        at += put_local(file + at, name, zeros, STORAGE);
    }
    start = at;
    at += put_record(file + at, "x/data.pkl", size, 0);
    for (size_t i = 0; i < STORAGES; i++) {
        char name[] = {'x', '/', 'd', 'a', 't', 'a', '/', (char)('0' + i), '\0'};
        at += put_record(file + at, name, STORAGE, offsets[i]);
    }
    end = at;
    memset(file + at, 0, 22);
    memcpy(file + at, "PK\5\6", 4);
    little(file + at + 10, STORAGES + 1, 2);
    little(file + at + 12, end - start, 4);
    little(file + at + 16, start, 4);
    unsigned sum = fuzz_weights(file, at + 22);
    free(file);
    return sum;
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size) {
    static const unsigned char legacy[] = {0x80, 0x02, 0x8a, 0x0a}; /* the first bytes of its magic number */
    bool is_pickle = size >= 4 && memcmp(bytes, legacy, 2) == 0 && memcmp(bytes, legacy, 4) != 0;
    volatile unsigned sum = is_pickle ? fuzz_pickle(bytes, size) : fuzz_weights(bytes, size);
    (void)sum;
    return 0;
}
