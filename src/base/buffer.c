/* buffer.c: the growing byte run. */
#include "base/buffer.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bft_status bft_buffer_reserve(bft_error *err, bft_buffer *buffer, size_t more) {
    if (more >= SIZE_MAX / 2 - buffer->length) {
        return bft_error_memory(err, more);
    }
    size_t wanted = buffer->length + more + 1;
    if (wanted <= buffer->capacity) {
        return BFT_OK;
    }
    size_t capacity = buffer->capacity == 0 ? 64 : buffer->capacity;
    while (capacity < wanted) {
        capacity *= 2;
    }
    char *data = realloc(buffer->data, capacity);
    if (data == NULL) {
        return bft_error_memory(err, capacity);
    }
    data[buffer->length] = '\0';
    buffer->data = data;
    buffer->capacity = capacity;
    return BFT_OK;
}

bft_status bft_buffer_append(bft_error *err, bft_buffer *buffer, const void *bytes, size_t length) {
    BFT_TRY(bft_buffer_reserve(err, buffer, length));
    if (length > 0) {
        memcpy(buffer->data + buffer->length, bytes, length);
    }
    buffer->length += length;
    buffer->data[buffer->length] = '\0';
    return BFT_OK;
}

bft_status bft_buffer_printf(bft_error *err, bft_buffer *buffer, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    bft_status status = length < 0 ? bft_error_set(err, BFT_FAILED, "cannot format \"%s\"", format)
                                   : bft_buffer_reserve(err, buffer, (size_t)length);
    if (status == BFT_OK) {
        vsnprintf(buffer->data + buffer->length, (size_t)length + 1, format, again);
        buffer->length += (size_t)length;
    }
    va_end(again);
    return status;
}

void bft_buffer_clear(bft_buffer *buffer) {
    buffer->length = 0;
    if (buffer->data != NULL) {
        buffer->data[0] = '\0';
    }
}

void bft_buffer_free(bft_buffer *buffer) {
    free(buffer->data);
    *buffer = (bft_buffer){0};
}
