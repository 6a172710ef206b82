/* error.c: formatting of error lines. */
#include "bertft/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A message quotes bytes of files that we didn't write: whatever could break the line or drive a terminal is shown
 * as '?'. A cut in the middle of a UTF-8 character at the end of the buffer is taken back to its start. */
static void make_one_line(char *text) {
    size_t length = strlen(text);
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c == 0x7f) {
            text[i] = '?';
        } else if (c == 0xc2 && (unsigned char)text[i + 1] >= 0x80 && (unsigned char)text[i + 1] < 0xa0) {
            text[i] = text[i + 1] = '?';
        }
    }
    if (length == BFT_ERROR_SIZE - 1) {
        size_t start = length;
        while (start > 0 && ((unsigned char)text[start - 1] & 0xc0) == 0x80) {
            start--;
        }
        if (start > 0 && (unsigned char)text[start - 1] >= 0xc0) {
            text[start - 1] = '\0';
        }
    }
}

bft_status bft_error_set(bft_error *err, bft_status status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(err->message, sizeof err->message, format, arguments);
    va_end(arguments);
    make_one_line(err->message);
    err->status = status;
    return status;
}

bft_status bft_error_errno(bft_error *err, bft_status status, const char *format, ...) {
    int saved = errno;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(err->message, sizeof err->message, format, arguments);
    va_end(arguments);
    size_t length = strlen(err->message);
    snprintf(err->message + length, sizeof err->message - length, ": %s", strerror(saved));
    make_one_line(err->message);
    err->status = status;
    return status;
}

bft_status bft_error_prefix(bft_error *err, const char *format, ...) {
    char tail[BFT_ERROR_SIZE];
    memcpy(tail, err->message, sizeof tail);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(err->message, sizeof err->message, format, arguments);
    va_end(arguments);
    size_t length = strlen(err->message);
    snprintf(err->message + length, sizeof err->message - length, ": %s", tail);
    make_one_line(err->message);
    return err->status;
}

bft_status bft_error_memory(bft_error *err, unsigned long long bytes) {
    return bft_error_set(err, BFT_FAILED, "out of memory: %llu bytes asked for", bytes);
}
