/* label_names.c: reading the names of numeric labels. */
#include "data/label_names.h"

#include "base/lines.h"

#include <string.h>

enum { NAME_LIMIT = 4096 };

/* Splits `12: name` and `12: "name"`; false for any other line. */
static bool split_numbered(bft_field line, size_t *id, bft_field *name) {
    const char *colon = memchr(line.bytes, ':', line.length);
    if (colon == NULL) {
        return false;
    }
    size_t before = (size_t)(colon - line.bytes);
    *name = bft_field_trim((bft_field){colon + 1, line.length - before - 1});
    bool quoted = name->length >= 2 && (name->bytes[0] == '"' || name->bytes[0] == '\'') &&
                  name->bytes[name->length - 1] == name->bytes[0];
    if (quoted) {
        *name = (bft_field){name->bytes + 1, name->length - 2};
    }
    return bft_field_integer(bft_field_trim((bft_field){line.bytes, before}), id);
}

/* One line of the file; `numbered` is what the first line was. */
static bft_status add_line(bft_error *err, bft_names *names, const bft_lines *lines, bft_field name, bool *numbered) {
    const char *path = bft_lines_name(lines);
    size_t line = bft_lines_number(lines), id, want = names->count;
    bft_field behind = {0};
    bool has_id = split_numbered(name, &id, &behind);
    if (want == 0) {
        *numbered = has_id;
    }
    if (*numbered && (!has_id || id != want)) {
        return bft_error_set(err, BFT_BAD, "%s:%zu: the name of id %zu is expected, as `%zu: name`", path, line, want,
                             want);
    }
    if (*numbered) {
        name = behind;
    }
    if (name.length == 0) {
        return bft_error_set(err, BFT_BAD, "%s:%zu: the name of id %zu is empty", path, line, want);
    }
    if (!bft_field_is_name(name)) {
        return bft_error_set(err, BFT_BAD, "%s:%zu: the name of id %zu isn't valid UTF-8", path, line, want);
    }
    uint32_t number;
    BFT_TRY(bft_names_add(err, names, name, &number));
    if (number != want) {
        return bft_error_set(err, BFT_BAD, "%s:%zu: ids %u and %zu have the same name, %s", path, line, number, want,
                             names->at[number]);
    }
    return BFT_OK;
}

/* A blank line is an empty name, so it is an error where a name follows; at the end of the file it is nothing. */
static bft_status read_lines(bft_error *err, bft_names *names, bft_lines *lines) {
    bool numbered = false;
    size_t blank = 0; /* the first blank line */
    for (;;) {
        char *bytes;
        size_t length;
        bool cut, more;
        BFT_TRY(bft_lines_next(err, lines, &bytes, &length, &cut, &more));
        if (!more) {
            break;
        }
        bft_field line = bft_field_trim((bft_field){bytes, length});
        if (line.length == 0) {
            blank = blank == 0 ? bft_lines_number(lines) : blank;
        } else if (cut || blank > 0) {
            return bft_error_set(err, BFT_BAD, "%s:%zu: %s", bft_lines_name(lines),
                                 cut ? bft_lines_number(lines) : blank,
                                 cut ? "the line is too long for a name" : "an empty line among the names");
        } else {
            BFT_TRY(add_line(err, names, lines, line, &numbered));
        }
    }
    if (names->count == 0) {
        return bft_error_set(err, BFT_BAD, "%s: holds no names", bft_lines_name(lines));
    }
    return BFT_OK;
}

static bft_status read_list(bft_error *err, bft_names *names, const bft_config *config, const char *key) {
    for (size_t i = 0; i < bft_config_list_size(config, key); i++) {
        uint32_t number;
        const char *name = bft_config_list_at(config, key, i);
        BFT_TRY(bft_names_add(err, names, bft_field_of(name), &number));
        if (number != i) {
            return bft_error_set(err, BFT_BAD, "%s: \"%s\" stands twice in %s", bft_config_origin(config, key), name,
                                 key);
        }
    }
    return BFT_OK;
}

bft_status bft_label_names_read(bft_error *err, bft_names *names, const bft_config *config) {
    static const char key[] = "DATA.LABEL_NAMES";
    if (bft_config_is_null(config, key)) {
        return BFT_OK;
    }
    const char *path = bft_config_string(config, key);
    if (path[0] == '\0') {
        return read_list(err, names, config, key);
    }
    bft_lines *lines;
    BFT_TRY(bft_lines_open(err, &lines, path, NAME_LIMIT));
    bft_status status = read_lines(err, names, lines);
    bft_lines_close(lines);
    return status;
}
