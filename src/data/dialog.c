/* dialog.c: one line of a dialogue: `[time] Speaker 2: text`, where only listed names are speakers. */
#include "bertft/data.h"

#include "base/arena.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum {
    NAME_LIMIT = 256,              /* bytes of a name */
    FOLDED_LIMIT = 4 * NAME_LIMIT, /* a scalar decomposes into four at most */
    TIME_LIMIT = 40                /* bytes between the brackets */
};

/* A name in the form in which names are compared: decomposed and without case. */
typedef struct folded_name {
    utf8proc_int32_t *scalars; /* (count) */
    size_t count;
    bft_speaker speaker;
} folded_name;

struct bft_dialog_format {
    folded_name *names; /* (count) */
    size_t count;
    bft_arena arena;
};

/* A part of the line. */
typedef struct span {
    char *start;
    size_t length;
} span;

/* Returns the number of scalars, 0 for what can't be a name: too long, or not UTF-8. */
static size_t fold(const char *bytes, size_t length, utf8proc_int32_t out[FOLDED_LIMIT]) {
    if (length == 0 || length > NAME_LIMIT) {
        return 0;
    }
    utf8proc_ssize_t count = utf8proc_decompose((const utf8proc_uint8_t *)bytes, (utf8proc_ssize_t)length, out,
                                                FOLDED_LIMIT, UTF8PROC_DECOMPOSE | UTF8PROC_CASEFOLD);
    return count < 0 || count > FOLDED_LIMIT ? 0 : (size_t)count;
}

static const folded_name *find_name(const bft_dialog_format *format, const utf8proc_int32_t *scalars, size_t count) {
    for (size_t i = 0; i < format->count && count > 0; i++) {
        const folded_name *name = &format->names[i];
        if (name->count == count && memcmp(name->scalars, scalars, count * sizeof *scalars) == 0) {
            return name;
        }
    }
    return NULL;
}

/* ---- The listed names ---- */

static bft_status add_names(bft_error *err, bft_dialog_format *format, const bft_config *config, const char *key,
                            bft_speaker speaker) {
    for (size_t i = 0; i < bft_config_list_size(config, key); i++) {
        const char *text = bft_config_list_at(config, key, i), *origin = bft_config_origin(config, key);
        utf8proc_int32_t scalars[FOLDED_LIMIT];
        size_t count = fold(text, strlen(text), scalars);
        if (count == 0) {
            return bft_error_set(err, BFT_BAD, "%s: %s: a name is UTF-8 text of 1 to %d bytes", origin, key,
                                 NAME_LIMIT);
        }
        const folded_name *known = find_name(format, scalars, count);
        if (known != NULL && known->speaker != speaker) {
            return bft_error_set(err, BFT_BAD, "%s: \"%s\" is both a client's and an operator's name", origin, text);
        }
        folded_name *name = &format->names[format->count++];
        name->count = count;
        name->speaker = speaker;
        BFT_TRY(BFT_NEW(err, &format->arena, &name->scalars, count));
        memcpy(name->scalars, scalars, count * sizeof *scalars);
    }
    return BFT_OK;
}

bft_status bft_dialog_format_create(bft_error *err, bft_dialog_format **out, const bft_config *config) {
    static const char clients[] = "DIALOG.CLIENT_NAMES", operators[] = "DIALOG.OPERATOR_NAMES";
    bft_dialog_format *format = calloc(1, sizeof *format);
    if (format == NULL) {
        return bft_error_memory(err, sizeof *format);
    }
    size_t count = bft_config_list_size(config, clients) + bft_config_list_size(config, operators);
    bft_status status = BFT_NEW(err, &format->arena, &format->names, count);
    status = status == BFT_OK ? add_names(err, format, config, clients, BFT_CLIENT) : status;
    status = status == BFT_OK ? add_names(err, format, config, operators, BFT_OPERATOR) : status;
    if (status != BFT_OK) {
        bft_dialog_format_destroy(format);
        return status;
    }
    *out = format;
    return BFT_OK;
}

void bft_dialog_format_destroy(bft_dialog_format *format) {
    if (format != NULL) {
        bft_arena_free(&format->arena);
        free(format);
    }
}

/* ---- A line ---- */

static bool is_blank(uint32_t scalar) {
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)scalar);
    return (scalar >= '\t' && scalar <= '\r') || scalar == 0x85 || category == UTF8PROC_CATEGORY_ZS ||
           category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP;
}

/* Without the blanks at both ends, of whatever script. */
static span trim(span text) {
    size_t start = text.length, end = 0;
    for (size_t i = 0; i < text.length;) {
        uint32_t scalar;
        size_t taken = bft_utf8_decode(text.start + i, text.length - i, &scalar);
        if (!is_blank(scalar)) {
            start = i < start ? i : start;
            end = i + taken;
        }
        i += taken;
    }
    return end == 0 ? (span){text.start, 0} : (span){text.start + start, end - start};
}

static span after(span text, size_t taken) {
    return trim((span){text.start + taken, text.length - taken});
}

/* The length of `[12:03]` or `[2024-05-01 12:03:44]` at the start of the text, else 0: digits first, a colon
 * somewhere, and nothing that a time doesn't hold. */
static size_t time_length(span text) {
    if (text.length < 2 || text.start[0] != '[' || text.start[1] < '0' || text.start[1] > '9') {
        return 0;
    }
    bool colon = false;
    for (size_t i = 1; i < text.length && i <= TIME_LIMIT + 1; i++) {
        char c = text.start[i];
        if (c == ']') {
            return colon ? i + 1 : 0;
        }
        if (c == '\0' || strchr("0123456789:.,-/+ TZAPMapm", c) == NULL) {
            return 0;
        }
        colon |= c == ':';
    }
    return 0;
}

static const folded_name *match_exactly(const bft_dialog_format *format, span text) {
    utf8proc_int32_t scalars[FOLDED_LIMIT];
    size_t count = fold(text.start, text.length, scalars);
    return find_name(format, scalars, count);
}

/* The listed name that `text` is, a number behind it aside. */
static const folded_name *match_name(const bft_dialog_format *format, span text) {
    const folded_name *name = match_exactly(format, text);
    if (name != NULL || text.length > NAME_LIMIT) {
        return name;
    }
    size_t length = text.length;
    while (length > 0 && text.start[length - 1] >= '0' && text.start[length - 1] <= '9') {
        length--;
    }
    return match_exactly(format, trim((span){text.start, length}));
}

bool bft_dialog_line(const bft_dialog_format *format, char *line, size_t length, bft_speaker previous, bft_turn *turn) {
    span rest = trim((span){line, length});
    if (rest.length == 0) {
        return false;
    }
    *turn = (bft_turn){.speaker = previous};
    size_t time = time_length(rest);
    if (time > 0) {
        rest = after(rest, time);
    }
    char *colon = memchr(rest.start, ':', rest.length);
    span before = colon == NULL ? (span){rest.start, 0} : trim((span){rest.start, (size_t)(colon - rest.start)});
    const folded_name *name = match_name(format, before);
    if (name != NULL) {
        turn->speaker = name->speaker;
        turn->name = before.start;
        rest = after(rest, (size_t)(colon - rest.start) + 1);
        before.start[before.length] = '\0'; /* on the colon, or on a blank before it */
    }
    turn->text = rest.start;
    turn->length = rest.length;
    rest.start[rest.length] = '\0';
    return true;
}
