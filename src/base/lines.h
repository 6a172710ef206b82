/* lines.h: bytes and lines from a file, a pipe or a gzip file, in bounded memory. */
#ifndef BFT_BASE_LINES_H
#define BFT_BASE_LINES_H

#include "bertft/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct bft_lines bft_lines;

/* "-" is stdin. A file that starts with gzip's two bytes is decompressed, whatever its name. `longest` bounds a line;
 * 0 means no bound. */
bft_status bft_lines_open(bft_error *err, bft_lines **out, const char *path, size_t longest);
void bft_lines_close(bft_lines *lines); /* NULL is fine */

/* The next line without its end (LF or CR LF); *line stays valid until the next call and is NUL-terminated behind
 * its `length`. *more is false at the end of the input, and *line then NULL. A UTF-8 byte order mark at the very start is
 * dropped. A line over `longest` bytes: its first `longest` bytes are given and *cut is true; the rest is dropped. */
bft_status bft_lines_next(bft_error *err, bft_lines *lines, char **line, size_t *length, bool *cut, bool *more);

/* The number of the line that was given last, from 1, and how it ended: "\n", "\r\n"; "" or "\r" at the end of the input. */
size_t bft_lines_number(const bft_lines *lines);
const char *bft_lines_ending(const bft_lines *lines);
const char *bft_lines_name(const bft_lines *lines); /* the path, or "<stdin>" */

/* True where the next bft_lines_next would wait for the writer of a pipe (half a line has come, or nothing): the moment to
 * flush one's output. The line given last stays valid. */
bool bft_lines_would_block(bft_lines *lines);

#endif
