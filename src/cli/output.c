/* output.c: stdout by write(2), so that every failure is seen where it happens; widths by utf8proc. */
#include "cli/output.h"

#include "base/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utf8proc.h>

enum { DRAIN_BYTES = 1 << 15 };

bft_status bft_output_open(bft_error *err, bft_output *output) {
    *output = (bft_output){.width = SIZE_MAX};
    if (fcntl(STDOUT_FILENO, F_GETFD) < 0) {
        return bft_error_errno(err, BFT_FAILED, "<stdout>: cannot write");
    }
    output->terminal = isatty(STDOUT_FILENO) == 1;
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    bool plain = (no_color != NULL && *no_color != '\0') || (term != NULL && strcmp(term, "dumb") == 0);
    output->colour = output->terminal && !plain;
    struct winsize size;
    if (output->terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        output->width = size.ws_col;
    }
    return BFT_OK;
}

void bft_output_free(bft_output *output) {
    bft_buffer_free(&output->text);
}

static bft_status write_all(bft_error *err, bft_output *output) {
    const char *bytes = output->text.data;
    size_t left = output->text.length;
    while (left > 0 && !output->closed) {
        ssize_t put = write(STDOUT_FILENO, bytes, left);
        if (put >= 0) {
            bytes += put;
            left -= (size_t)put;
        } else if (errno == EPIPE) {
            output->closed = true;
        } else if (errno == EAGAIN) {
            struct pollfd ready = {.fd = STDOUT_FILENO, .events = POLLOUT};
            poll(&ready, 1, -1);
        } else if (errno != EINTR) {
            return bft_error_errno(err, BFT_FAILED, "<stdout>: cannot write");
        }
    }
    return BFT_OK;
}

bft_status bft_output_flush(bft_error *err, bft_output *output) {
    bft_status status = write_all(err, output);
    bft_buffer_clear(&output->text);
    return status;
}

bft_status bft_output_drain(bft_error *err, bft_output *output) {
    return output->text.length < DRAIN_BYTES ? BFT_OK : bft_output_flush(err, output);
}

bft_status bft_output_print(bft_error *err, const char *text) {
    bft_output output;
    BFT_TRY(bft_output_open(err, &output));
    bft_status status = bft_buffer_append(err, &output.text, text, strlen(text));
    if (status == BFT_OK) {
        status = bft_output_flush(err, &output);
    }
    bft_output_free(&output);
    return status;
}

/* What may be shown: no control characters, and nothing that turns the direction of the text around it. */
static uint32_t displayed(uint32_t scalar) {
    if (scalar == '\t' || scalar == '\n' || scalar == '\r' || scalar == 0x2028 || scalar == 0x2029) {
        return ' ';
    }
    bool control = scalar < 0x20 || (scalar >= 0x7f && scalar < 0xa0);
    bool direction = (scalar >= 0x202a && scalar <= 0x202e) || (scalar >= 0x2066 && scalar <= 0x2069) ||
                     scalar == 0x200e || scalar == 0x200f || scalar == 0x061c;
    return control || direction ? BFT_UTF8_INVALID : scalar;
}

static size_t columns_of(uint32_t scalar) {
    int width = utf8proc_charwidth((utf8proc_int32_t)scalar);
    return width > 0 ? (size_t)width : 0;
}

size_t bft_display_width(const char *text, size_t length) {
    size_t width = 0;
    for (size_t i = 0; i < length;) {
        uint32_t scalar;
        i += bft_utf8_decode(text + i, length - i, &scalar);
        width += columns_of(displayed(scalar));
    }
    return width;
}

bft_status bft_display_append(bft_error *err, bft_buffer *out, const char *text, size_t length, size_t columns) {
    bool whole = bft_display_width(text, length) <= columns;
    size_t used = 0, room = whole ? columns : columns - (columns > 0);
    for (size_t i = 0; i < length;) {
        uint32_t scalar;
        i += bft_utf8_decode(text + i, length - i, &scalar);
        scalar = displayed(scalar);
        if (columns_of(scalar) > room - used) {
            break;
        }
        used += columns_of(scalar);
        char bytes[4];
        BFT_TRY(bft_buffer_append(err, out, bytes, bft_utf8_encode(scalar, bytes)));
    }
    return whole || columns == 0 ? BFT_OK : bft_buffer_append(err, out, "…", strlen("…"));
}

bft_status bft_display_pad(bft_error *err, bft_buffer *out, const char *text, size_t length, size_t columns) {
    BFT_TRY(bft_display_append(err, out, text, length, columns));
    size_t width = bft_display_width(text, length);
    for (size_t i = width; i < columns; i++) {
        BFT_TRY(bft_buffer_append(err, out, " ", 1));
    }
    return BFT_OK;
}
