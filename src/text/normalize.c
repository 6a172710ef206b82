/* normalize.c: the normaliser's four steps in one pass, a character at a time.
 *
 * Only stripping accents decomposes (NFD), and NFD puts neighbouring combining marks into canonical order. Most of
 * them are nonspacing and are dropped; dropping them first leaves the order of the others as it is. The others wait in
 * `waiting` until a character of combining class 0 comes by. */
#include "text/normalize.h"

#include "base/utf8.h"
#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { DECOMPOSITION_ROOM = 8 /* the longest canonical decomposition has 4 characters */ };

bft_normal_form bft_normal_form_create(bft_normalizer steps) {
    bft_normal_form form = {.steps = steps};
    form.changing = (uint8_t)((steps.clean_text ? BFT_DROP | BFT_SPACE : 0) | (steps.chinese_chars ? BFT_CHINESE : 0) |
                              (steps.strip_accents ? BFT_DECOMPOSE | BFT_MARK : 0) | (steps.lowercase ? BFT_LOWER : 0));
    for (unsigned c = 0; c < 128; c++) {
        uint8_t flags = bft_unicode_flags(c);
        unsigned char to = (unsigned char)c;
        if (steps.clean_text && (flags & BFT_DROP) != 0) {
            to = BFT_ASCII_DROPPED;
        } else if (steps.clean_text && (flags & BFT_SPACE) != 0) {
            to = ' ';
        } else if (steps.lowercase && (flags & BFT_LOWER) != 0) {
            to = (unsigned char)bft_unicode_lower(c);
        }
        form.ascii[c] = to;
    }
    return form;
}

static bft_status put(bft_error *err, bft_normal_text *out, uint32_t scalar) {
    char bytes[4];
    return bft_buffer_append(err, &out->text, bytes, bft_utf8_encode(scalar, bytes));
}

/* The last step, lower case, and out. */
static bft_status put_lowered(bft_error *err, const bft_normal_form *form, uint32_t scalar, bft_normal_text *out) {
    if (!form->steps.lowercase || (bft_unicode_flags(scalar) & BFT_LOWER) == 0) {
        return put(err, out, scalar);
    }
    if (scalar == BFT_CAPITAL_I_WITH_DOT) {
        return bft_buffer_append(err, &out->text, "i\u0307", 3);
    }
    return put(err, out, bft_unicode_lower(scalar));
}

static unsigned combining_class(uint32_t scalar) {
    bool known = (bft_unicode_flags(scalar) & BFT_DECOMPOSE) != 0;
    return known ? (unsigned)utf8proc_get_property((utf8proc_int32_t)scalar)->combining_class : 0;
}

/* Puts out the waiting characters by rising combining class, equal ones as they came: a pass for each class. */
static bft_status release(bft_error *err, const bft_normal_form *form, bft_normal_text *out) {
    for (unsigned class = 0, next; out->waiting_count > 0; class = next) {
        next = UINT32_MAX;
        for (size_t i = 0; i < out->waiting_count; i++) {
            unsigned its = combining_class(out->waiting[i]);
            if (its == class) {
                BFT_TRY(put_lowered(err, form, out->waiting[i], out));
            } else if (its > class && its < next) {
                next = its;
            }
        }
        if (next == UINT32_MAX) {
            out->waiting_count = 0;
        }
    }
    return BFT_OK;
}

static bft_status hold_back(bft_error *err, bft_normal_text *out, uint32_t scalar) {
    if (out->waiting_count == out->waiting_capacity) {
        size_t capacity = out->waiting_capacity == 0 ? 16 : 2 * out->waiting_capacity;
        uint32_t *grown = realloc(out->waiting, capacity * sizeof *grown);
        if (grown == NULL) {
            return bft_error_memory(err, capacity * sizeof *grown);
        }
        out->waiting = grown;
        out->waiting_capacity = capacity;
    }
    out->waiting[out->waiting_count++] = scalar;
    return BFT_OK;
}

/* One character of a decomposition. */
static bft_status put_stripped(bft_error *err, const bft_normal_form *form, uint32_t scalar, bft_normal_text *out) {
    bool mark = (bft_unicode_flags(scalar) & BFT_MARK) != 0;
    if (combining_class(scalar) != 0) {
        return mark ? BFT_OK : hold_back(err, out, scalar);
    }
    BFT_TRY(release(err, form, out));
    return mark ? BFT_OK : put_lowered(err, form, scalar, out);
}

/* The canonical decomposition, or the character itself where it has none; returns the number of parts. */
static size_t decompose(uint32_t scalar, utf8proc_int32_t parts[DECOMPOSITION_ROOM]) {
    if ((bft_unicode_flags(scalar) & BFT_DECOMPOSE) == 0) {
        parts[0] = (utf8proc_int32_t)scalar;
        return 1;
    }
    int boundary = 0;
    return (size_t)utf8proc_decompose_char((utf8proc_int32_t)scalar, parts, DECOMPOSITION_ROOM, UTF8PROC_DECOMPOSE,
                                           &boundary);
}

bool bft_normal_alone(const bft_normal_form *form, uint32_t scalar) {
    utf8proc_int32_t parts[DECOMPOSITION_ROOM];
    size_t count = form->steps.strip_accents ? decompose(scalar, parts) : 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t part = (uint32_t)parts[i];
        if (combining_class(part) != 0 && (bft_unicode_flags(part) & BFT_MARK) == 0) {
            return false;
        }
    }
    return true;
}

static bft_status put_decomposed(bft_error *err, const bft_normal_form *form, uint32_t scalar, bft_normal_text *out) {
    utf8proc_int32_t parts[DECOMPOSITION_ROOM];
    size_t count = decompose(scalar, parts);
    for (size_t i = 0; i < count; i++) {
        BFT_TRY(put_stripped(err, form, (uint32_t)parts[i], out));
    }
    return BFT_OK;
}

/* Characters that are their own normal form. */
static bft_status put_unchanged(bft_error *err, const bft_normal_form *form, const char *text, size_t length,
                                bft_normal_text *out) {
    if (length == 0) {
        return BFT_OK;
    }
    BFT_TRY(release(err, form, out));
    return bft_buffer_append(err, &out->text, text, length);
}

static bft_status put_space(bft_error *err, const bft_normal_form *form, bft_normal_text *out) {
    return put_unchanged(err, form, " ", 1, out);
}

/* A character outside ASCII that some step may change. */
static bft_status put_wide(bft_error *err, const bft_normal_form *form, uint32_t scalar, bft_normal_text *out) {
    uint8_t flags = bft_unicode_flags(scalar);
    if (form->steps.clean_text && (flags & (BFT_DROP | BFT_SPACE)) != 0) {
        return (flags & BFT_DROP) != 0 ? BFT_OK : put_space(err, form, out);
    }
    bool apart = form->steps.chinese_chars && (flags & BFT_CHINESE) != 0;
    if (apart) {
        BFT_TRY(put_space(err, form, out));
    }
    BFT_TRY(form->steps.strip_accents ? put_decomposed(err, form, scalar, out) : put_lowered(err, form, scalar, out));
    return apart ? put_space(err, form, out) : BFT_OK;
}

/* A run of characters outside ASCII, which goes on where the next character is ASCII; *taken is its length. Most
 * characters are their own normal form: they are copied together. */
static bft_status put_wide_run(bft_error *err, const bft_normal_form *form, const char *text, size_t length,
                               bft_normal_text *out, size_t *taken) {
    size_t start = 0, at = 0;
    while (at < length && (unsigned char)text[at] >= 0x80) {
        uint32_t scalar;
        size_t bytes = bft_unicode_next(text + at, &scalar);
        if ((bft_unicode_flags(scalar) & form->changing) == 0) {
            at += bytes;
            continue;
        }
        BFT_TRY(put_unchanged(err, form, text + start, at - start, out));
        BFT_TRY(put_wide(err, form, scalar, out));
        start = at += bytes;
    }
    *taken = at;
    return put_unchanged(err, form, text + start, at - start, out);
}

/* A run of ASCII. Characters that are dropped don't end a run of combining marks, so those in front go first. */
static bft_status put_ascii_run(bft_error *err, const bft_normal_form *form, const char *text, size_t length,
                                bft_normal_text *out) {
    size_t i = 0;
    while (i < length && form->ascii[(unsigned char)text[i]] == BFT_ASCII_DROPPED) {
        i++;
    }
    if (i == length) {
        return BFT_OK;
    }
    BFT_TRY(release(err, form, out));
    BFT_TRY(bft_buffer_reserve(err, &out->text, length - i));
    char *to = out->text.data + out->text.length;
    for (; i < length; i++) {
        unsigned char c = form->ascii[(unsigned char)text[i]];
        *to = (char)c;
        to += c != BFT_ASCII_DROPPED;
    }
    *to = '\0';
    out->text.length = (size_t)(to - out->text.data);
    return BFT_OK;
}

bft_status bft_normalize(bft_error *err, const bft_normal_form *form, const char *text, size_t length,
                         bft_normal_text *out) {
    bft_buffer_clear(&out->text);
    out->waiting_count = 0; /* a failed call may have left some */
    for (size_t i = 0; i < length;) {
        size_t start = i, wide;
        while (i < length && (unsigned char)text[i] < 0x80) {
            i++;
        }
        BFT_TRY(put_ascii_run(err, form, text + start, i - start, out));
        BFT_TRY(put_wide_run(err, form, text + i, length - i, out, &wide));
        i += wide;
    }
    return release(err, form, out);
}

void bft_normal_text_free(bft_normal_text *out) {
    bft_buffer_free(&out->text);
    free(out->waiting);
    *out = (bft_normal_text){0};
}
