/* utf8.h: reading UTF-8 that may be broken. */
#ifndef BFT_BASE_UTF8_H
#define BFT_BASE_UTF8_H

#include "bertft/error.h"
#include "base/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BFT_UTF8_INVALID = 0xFFFD };

/* Decodes the character at text[0 .. length), length > 0, into *scalar and returns how many bytes it took. Anything
 * that isn't UTF-8 gives U+FFFD for each maximal ill-formed part, as in the Unicode standard (section 3.9, "U+FFFD
 * substitution of maximal subparts") and Python's and Rust's lossy decoders. */
size_t bft_utf8_decode(const char *text, size_t length, uint32_t *scalar);

/* How many bytes of the text are UTF-8, from its start; whether all of it is. */
size_t bft_utf8_valid_prefix(const char *text, size_t length);
bool bft_utf8_valid(const char *text, size_t length);

/* Where the text isn't all UTF-8, makes it one that is in `out`, U+FFFD for each ill-formed part; most texts are left where
 * they are. */
bft_status bft_utf8_repair(bft_error *err, const char **text, size_t *length, bft_buffer *out);

/* Writes 1 to 4 bytes and returns their number. `scalar` must be a Unicode scalar value. */
size_t bft_utf8_encode(uint32_t scalar, char out[4]);

#endif
