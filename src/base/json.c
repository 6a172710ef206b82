/* json.c: jansson's loader with our limits and our error lines. */
#include "base/json.h"

#include "base/file.h"
#include "base/utf8.h"

#include <stdbool.h>
#include <string.h>

/* An empty object is 2 bytes of text and 230 of memory: a text of little else would take a hundred times its size.
 * Brackets in strings are counted too; no honest file comes near. */
static bool has_too_many_brackets(const char *text, size_t length) {
    enum { BRACKET_LIMIT = 1 << 20 };
    size_t brackets = 0;
    for (size_t i = 0; i < length; i++) {
        brackets += text[i] == '{' || text[i] == '[';
    }
    return brackets > BRACKET_LIMIT;
}

static bft_status parse(bft_error *err, const char *name, size_t line, const char *text, size_t length, size_t flags,
                        json_t **out) {
    json_error_t why;
    if (has_too_many_brackets(text, length)) {
        return bft_error_set(err, BFT_BAD, "%s:%zu: holds more than a million objects and lists", name, line);
    }
    *out = json_loadb(text, length, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | flags, &why);
    if (*out == NULL && why.text[0] == '\0') { /* all that jansson says where memory is short */
        return bft_error_set(err, BFT_FAILED, "%s: out of memory while %zu bytes of JSON were read", name, length);
    }
    if (*out == NULL) {
        size_t where = line + (why.line > 0 ? (size_t)why.line - 1 : 0);
        return bft_error_set(err, BFT_BAD, "%s:%zu: not JSON: %s", name, where, why.text);
    }
    return BFT_OK;
}

bft_status bft_json_parse(bft_error *err, const char *name, size_t line, const char *text, size_t length,
                          json_t **out) {
    return parse(err, name, line, text, length, 0, out);
}

static bft_status read_object(bft_error *err, const char *path, size_t limit, size_t flags, json_t **out) {
    bft_buffer text = {0};
    bft_status status = bft_file_read(err, path, limit, &text);
    if (status == BFT_OK) {
        status = parse(err, path, 1, text.data, text.length, flags, out);
    }
    bft_buffer_free(&text);
    if (status == BFT_OK && !json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        status = bft_error_set(err, BFT_BAD, "%s:1: a JSON object is expected", path);
    }
    return status;
}

bft_status bft_json_read(bft_error *err, const char *path, size_t limit, json_t **out) {
    return read_object(err, path, limit, 0, out);
}

bft_status bft_json_read_reals(bft_error *err, const char *path, size_t limit, json_t **out) {
    return read_object(err, path, limit, JSON_DECODE_INT_AS_REAL, out);
}

bft_status bft_json_quote(bft_error *err, bft_buffer *out, const char *text, size_t length) {
    BFT_TRY(bft_buffer_append(err, out, "\"", 1));
    for (size_t i = 0; i < length;) {
        uint32_t scalar;
        size_t taken = bft_utf8_decode(text + i, length - i, &scalar);
        i += taken;
        char bytes[4];
        if (scalar == '"' || scalar == '\\') {
            BFT_TRY(bft_buffer_printf(err, out, "\\%c", (char)scalar));
        } else if (scalar == '\n') {
            BFT_TRY(bft_buffer_append(err, out, "\\n", 2));
        } else if (scalar < 0x20 || (scalar >= 0x7f && scalar < 0xa0) || scalar == 0x2028 || scalar == 0x2029) {
            BFT_TRY(bft_buffer_printf(err, out, "\\u%04x", (unsigned)scalar));
        } else {
            BFT_TRY(bft_buffer_append(err, out, bytes, bft_utf8_encode(scalar, bytes)));
        }
    }
    return bft_buffer_append(err, out, "\"", 1);
}
