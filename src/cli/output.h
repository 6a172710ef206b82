/* output.h: a command's results on stdout: buffered, written whole, every failure noticed; and what the terminal
 * behind it is like. */
#ifndef BFT_CLI_OUTPUT_H
#define BFT_CLI_OUTPUT_H

#include "base/buffer.h"
#include "bertft/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct bft_output {
    bft_buffer text; /* what isn't written yet; commands append to it */
    bool terminal;   /* stdout is one */
    bool colour;     /* and NO_COLOR is not set, nor TERM "dumb" */
    bool closed;     /* the reader of the pipe has gone: nobody wants more, which is no failure */
    size_t width;    /* the terminal's columns; SIZE_MAX where there is none */
} bft_output;

/* Fails where stdout is closed, before any work is done in vain. */
bft_status bft_output_open(bft_error *err, bft_output *output);
void bft_output_free(bft_output *output);

/* Writes all that was appended; once `closed`, drops it. */
bft_status bft_output_flush(bft_error *err, bft_output *output);
/* The same, but only when a good piece has gathered: after each record of an endless stream. */
bft_status bft_output_drain(bft_error *err, bft_output *output);

/* Opens, writes `text` (a help text, a report), closes. */
bft_status bft_output_print(bft_error *err, const char *text);

/* ---- Text for a terminal's columns: East Asian wide characters and emoji take two, combining marks none ---- */
size_t bft_display_width(const char *text, size_t length);
/* Appends text with control characters and bidirectional overrides shown as U+FFFD, at most `columns` wide: "…"
 * stands where the rest was cut. Line ends and tabs become a blank. */
bft_status bft_display_append(bft_error *err, bft_buffer *out, const char *text, size_t length, size_t columns);
/* The same, then blanks up to `columns`. */
bft_status bft_display_pad(bft_error *err, bft_buffer *out, const char *text, size_t length, size_t columns);

#endif
