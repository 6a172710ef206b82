/* fuzz_file.h: bytes as a file with a path, without a disk. */
#ifndef BFT_TESTS_FUZZ_FILE_H
#define BFT_TESTS_FUZZ_FILE_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct fuzz_file {
    int fd;
    char path[40];
} fuzz_file;

/* Made once for each name, kept for the process's life. */
static inline fuzz_file fuzz_file_create(const char *name) {
    fuzz_file file = {.fd = memfd_create(name, 0)};
    if (file.fd < 0) {
        abort();
    }
    snprintf(file.path, sizeof file.path, "/proc/self/fd/%d", file.fd);
    return file;
}

static inline void fuzz_file_fill(const fuzz_file *file, const void *bytes, size_t length) {
    if (ftruncate(file->fd, 0) != 0 || pwrite(file->fd, bytes, length, 0) != (ssize_t)length) {
        abort();
    }
}

#endif
