/* source.h: the texts that predict, embed and tokenize read: a line a text, or a JSON object {"text": ...} a line. */
#ifndef BFT_CLI_SOURCE_H
#define BFT_CLI_SOURCE_H

#include "base/lines.h"
#include "bertft/error.h"
#include "cli/output.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct bft_source {
    bft_lines *lines;
    bool jsonl;
    bool warned_line, warned_text, warned_bytes; /* said already: over the limit in bytes, in tokens; not UTF-8 */
    size_t longest;                /* bytes of a line */
    char *copy;                    /* the last JSON line's text */
} bft_source;

extern const char *const bft_source_inputs[]; /* the choices of --input */

/* `path` NULL or "-": stdin. `input`: the value of --input, or NULL. A line longer than `longest` bytes is cut, with
 * one warning; JSON that is cut is an error. */
bft_status bft_source_open(bft_error *err, bft_source *source, const char *path, const char *input, size_t longest);
void bft_source_close(bft_source *source);

/* What a command does with the texts that it reads. */
typedef struct bft_reader {
    void *command;
    /* One text, which may be changed in place and is gone after the call; a NUL stands behind its `length`. */
    bft_status (*take)(bft_error *err, void *command, char *text, size_t length);
    /* Appends to the output what is known of all texts taken and not yet answered. */
    bft_status (*settle)(bft_error *err, void *command);
} bft_reader;

/* Reads to the end of the input, or until nobody reads the output. Whatever was taken is settled and flushed before
 * the input makes us wait, before the line of a failure in the input is returned, and at the end. */
bft_status bft_source_read(bft_error *err, bft_source *source, bft_output *output, const bft_reader *reader);

/* Says once that texts are longer than the `limit` tokens that the model reads; the text given last is the first of
 * them. */
void bft_source_warn_cut(bft_source *source, size_t limit);

#endif
