/* json.h: JSON through jansson, with the settings that hostile files need: duplicate keys are refused, strings may
 * hold NULs and carry their lengths, and a text takes at most 30 times its size in memory, beyond some 250 MB. */
#ifndef BFT_BASE_JSON_H
#define BFT_BASE_JSON_H

#include "bertft/error.h"
#include "base/buffer.h"

#include <jansson.h>
#include <stddef.h>

/* Parses one JSON value; `name` and `line` (of the text's first line, from 1) go into error lines. */
bft_status bft_json_parse(bft_error *err, const char *name, size_t line, const char *text, size_t length, json_t **out);

/* A whole file whose top level must be an object; refuses more than `limit` bytes. */
bft_status bft_json_read(bft_error *err, const char *path, size_t limit, json_t **out);

/* The same with every number as a double, for files with integers beyond 64 bits: transformers writes its "no limit",
 * 1e30, in full into tokenizer_config.json. */
bft_status bft_json_read_reals(bft_error *err, const char *path, size_t limit, json_t **out);

/* Appends a quoted, escaped string; broken UTF-8 becomes U+FFFD. */
bft_status bft_json_quote(bft_error *err, bft_buffer *out, const char *text, size_t length);

#endif
