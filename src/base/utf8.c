/* utf8.c: the decoder follows table 3-7 of the Unicode standard: the second byte's range depends on the first. */
#include "base/utf8.h"

#include <string.h>

size_t bft_utf8_decode(const char *text, size_t length, uint32_t *scalar) {
    const unsigned char *b = (const unsigned char *)text;
    if (b[0] < 0x80) {
        *scalar = b[0];
        return 1;
    }
    unsigned low = 0x80, high = 0xBF;
    size_t want;
    uint32_t value;
    if (b[0] >= 0xC2 && b[0] <= 0xDF) {
        want = 2;
        value = b[0] & 0x1Fu;
    } else if (b[0] >= 0xE0 && b[0] <= 0xEF) {
        want = 3;
        value = b[0] & 0x0Fu;
        low = b[0] == 0xE0 ? 0xA0 : 0x80;
        high = b[0] == 0xED ? 0x9F : 0xBF;
    } else if (b[0] >= 0xF0 && b[0] <= 0xF4) {
        want = 4;
        value = b[0] & 0x07u;
        low = b[0] == 0xF0 ? 0x90 : 0x80;
        high = b[0] == 0xF4 ? 0x8F : 0xBF;
    } else {
        *scalar = BFT_UTF8_INVALID;
        return 1;
    }
    for (size_t i = 1; i < want; i++) {
        if (i >= length || b[i] < low || b[i] > high) {
            *scalar = BFT_UTF8_INVALID;
            return i;
        }
        value = value << 6 | (b[i] & 0x3Fu);
        low = 0x80;
        high = 0xBF;
    }
    *scalar = value;
    return want;
}

size_t bft_utf8_valid_prefix(const char *text, size_t length) {
    size_t at = 0;
    while (at < length) {
        uint32_t scalar;
        size_t taken = bft_utf8_decode(text + at, length - at, &scalar);
        bool written = taken == 3 && memcmp(text + at, "\xEF\xBF\xBD", 3) == 0; /* U+FFFD itself is no error */
        if (scalar == BFT_UTF8_INVALID && !written) {
            return at;
        }
        at += taken;
    }
    return at;
}

bool bft_utf8_valid(const char *text, size_t length) {
    return bft_utf8_valid_prefix(text, length) == length;
}

bft_status bft_utf8_repair(bft_error *err, const char **text, size_t *length, bft_buffer *out) {
    size_t at = bft_utf8_valid_prefix(*text, *length);
    if (at == *length) {
        return BFT_OK;
    }
    bft_buffer_clear(out);
    BFT_TRY(bft_buffer_append(err, out, *text, at));
    while (at < *length) {
        uint32_t scalar;
        at += bft_utf8_decode(*text + at, *length - at, &scalar);
        char bytes[4];
        BFT_TRY(bft_buffer_append(err, out, bytes, bft_utf8_encode(scalar, bytes)));
    }
    *text = out->data;
    *length = out->length;
    return BFT_OK;
}

size_t bft_utf8_encode(uint32_t scalar, char out[4]) {
    if (scalar < 0x80) {
        out[0] = (char)scalar;
        return 1;
    }
    if (scalar < 0x800) {
        out[0] = (char)(0xC0 | scalar >> 6);
        out[1] = (char)(0x80 | (scalar & 0x3F));
        return 2;
    }
    if (scalar < 0x10000) {
        out[0] = (char)(0xE0 | scalar >> 12);
        out[1] = (char)(0x80 | (scalar >> 6 & 0x3F));
        out[2] = (char)(0x80 | (scalar & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | scalar >> 18);
    out[1] = (char)(0x80 | (scalar >> 12 & 0x3F));
    out[2] = (char)(0x80 | (scalar >> 6 & 0x3F));
    out[3] = (char)(0x80 | (scalar & 0x3F));
    return 4;
}
