/* source.h: the texts that predict, embed and tokenize read: a line a text, or a JSON object {"text": ...} a line. */
#ifndef BFT_CLI_SOURCE_H
#define BFT_CLI_SOURCE_H

#include "base/lines.h"
#include "bertft/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct bft_source {
    bft_lines *lines;
    bool jsonl;
    bool warned_line, warned_text; /* a line, a text over the limit has been reported */
    size_t longest;                /* bytes of a line */
    char *copy;                    /* the last JSON line's text */
} bft_source;

extern const char *const bft_source_inputs[]; /* the choices of --input */

/* `path` NULL or "-": stdin. `input`: the value of --input, or NULL. A line longer than `longest` bytes is cut, with
 * one warning; JSON that is cut is an error. */
bft_status bft_source_open(bft_error *err, bft_source *source, const char *path, const char *input, size_t longest);
void bft_source_close(bft_source *source);

/* The next text, which stays valid until the next call and may be changed in place; NUL-terminated behind its
 * `length`. *more false: the end. */
bft_status bft_source_next(bft_error *err, bft_source *source, char **text, size_t *length, bool *more);

/* True where the next text isn't there yet: the moment to flush. */
bool bft_source_would_block(const bft_source *source);

/* Says once that texts are longer than the `limit` tokens that the model reads; the text given last is the first of
 * them. */
void bft_source_warn_cut(bft_source *source, size_t limit);

#endif
