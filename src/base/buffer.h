/* buffer.h: a growing run of bytes that is always NUL-terminated. Zero-initialise to create; bft_buffer_free empties. */
#ifndef BFT_BASE_BUFFER_H
#define BFT_BASE_BUFFER_H

#include "bertft/error.h"

#include <stddef.h>

typedef struct bft_buffer {
    char *data; /* NULL until the first byte; then data[length] == '\0' */
    size_t length, capacity;
} bft_buffer;

bft_status bft_buffer_reserve(bft_error *err, bft_buffer *buffer, size_t more); /* room for `more` bytes and the NUL */
bft_status bft_buffer_append(bft_error *err, bft_buffer *buffer, const void *bytes, size_t length);
bft_status bft_buffer_printf(bft_error *err, bft_buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void bft_buffer_clear(bft_buffer *buffer); /* length 0, memory kept */
void bft_buffer_free(bft_buffer *buffer);

#endif
