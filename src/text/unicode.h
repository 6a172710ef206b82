/* unicode.h: what the Rust crates behind Hugging Face tokenizers know about each character.
 *
 * They follow several Unicode versions at once, so the properties come from a table that
 * scripts/unicode-table.py wrote by asking the pinned package about every scalar value. */
#ifndef BFT_TEXT_UNICODE_H
#define BFT_TEXT_UNICODE_H

#include <stddef.h>
#include <stdint.h>

enum {
    BFT_SPACE = 1 << 0,       /* separates words */
    BFT_DROP = 1 << 1,        /* clean_text removes it: controls, formats, private and unassigned characters, U+FFFD */
    BFT_PUNCTUATION = 1 << 2, /* a word of its own */
    BFT_MARK = 1 << 3,        /* nonspacing: strip_accents removes it */
    BFT_WORD = 1 << 4,        /* \w of the regex crate, for added tokens that must stand alone */
    BFT_LOWER = 1 << 5,       /* has another lower-case form */
    BFT_DECOMPOSE = 1 << 6,   /* NFD changes or reorders it; unassigned characters of old tables lack this */
    BFT_CHINESE = 1 << 7      /* handle_chinese_chars puts spaces around it */
};

enum { BFT_UNICODE_BLOCK = 128, BFT_CAPITAL_I_WITH_DOT = 0x130 };

/* first, first + step, ... last are lowered by adding `distance`. */
typedef struct bft_unicode_run {
    uint32_t first, last, step;
    int32_t distance;
} bft_unicode_run;

extern const uint8_t bft_unicode_index[0x110000 / BFT_UNICODE_BLOCK];
extern const uint8_t bft_unicode_blocks[][BFT_UNICODE_BLOCK];
extern const bft_unicode_run bft_unicode_lower_runs[];
extern const size_t bft_unicode_lower_run_count;

static inline uint8_t bft_unicode_flags(uint32_t scalar) {
    return bft_unicode_blocks[bft_unicode_index[scalar / BFT_UNICODE_BLOCK]][scalar % BFT_UNICODE_BLOCK];
}

/* The lower-case form of a character that has BFT_LOWER; not for U+0130, the only one with two characters. */
uint32_t bft_unicode_lower(uint32_t scalar);

/* Decodes the character at `text`, which must be valid UTF-8, and returns how many bytes it took. */
static inline size_t bft_unicode_next(const char *text, uint32_t *scalar) {
    const unsigned char *b = (const unsigned char *)text;
    if (b[0] < 0x80) {
        *scalar = b[0];
        return 1;
    }
    if (b[0] < 0xE0) {
        *scalar = (b[0] & 0x1Fu) << 6 | (b[1] & 0x3Fu);
        return 2;
    }
    if (b[0] < 0xF0) {
        *scalar = (b[0] & 0x0Fu) << 12 | (b[1] & 0x3Fu) << 6 | (b[2] & 0x3Fu);
        return 3;
    }
    *scalar = (b[0] & 0x07u) << 18 | (b[1] & 0x3Fu) << 12 | (b[2] & 0x3Fu) << 6 | (b[3] & 0x3Fu);
    return 4;
}

/* Where the last character of the valid, non-empty UTF-8 in text[0 .. length) starts. */
size_t bft_unicode_last(const char *text, size_t length);

#endif
