/* dump.c: the configuration as YAML that reads back to the same values, byte for byte the same for the same values. */
#include "config/store.h"

#include "base/utf8.h"

#include <ctype.h>
#include <string.h>

/* What YAML can't hold as it is: control characters, line breaks of any kind, the byte order mark and
 * non-characters. */
static bool needs_escape(uint32_t c) {
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x2028 || c == 0x2029 || c == 0xFEFF || c == 0xFFFE ||
           c == 0xFFFF;
}

/* Whether a string can stand without quotes, in a flow list too, and be read as that string. A digit at the start
 * is quoted: other readers of YAML see dates. */
static bool is_plain(const char *text) {
    size_t length = strlen(text);
    for (size_t at = 0; at < length;) {
        uint32_t c;
        size_t taken = bft_utf8_decode(text + at, length - at, &c);
        bool letter = c < 0x80 ? isalpha((int)c) != 0 : !needs_escape(c);
        if (!letter && (at == 0 || c >= 0x80 || (!isdigit((int)c) && strchr("-_./", (int)c) == NULL))) {
            return false;
        }
        at += taken;
    }
    bft_node node = {.text = text};
    bft_node_resolve(&node);
    return node.type == BFT_TYPE_STRING && strcmp(text, "None") != 0 && strcmp(text, "True") != 0 &&
           strcmp(text, "False") != 0;
}

static bft_status write_string(bft_error *err, const char *text, bft_buffer *out) {
    if (is_plain(text)) {
        return bft_buffer_printf(err, out, "%s", text);
    }
    size_t length = strlen(text);
    BFT_TRY(bft_buffer_append(err, out, "\"", 1));
    for (size_t at = 0, taken; at < length; at += taken) {
        uint32_t scalar;
        taken = bft_utf8_decode(text + at, length - at, &scalar);
        if (needs_escape(scalar)) {
            BFT_TRY(bft_buffer_printf(err, out, scalar < 0x100 ? "\\x%02X" : "\\u%04X", (unsigned)scalar));
            continue;
        }
        if (scalar == '"' || scalar == '\\') {
            BFT_TRY(bft_buffer_append(err, out, "\\", 1));
        }
        BFT_TRY(bft_buffer_append(err, out, text + at, taken));
    }
    return bft_buffer_append(err, out, "\"", 1);
}

static bft_status write_list(bft_error *err, const bft_value *value, bft_buffer *out) {
    BFT_TRY(bft_buffer_printf(err, out, " ["));
    for (size_t i = 0; i < value->count; i++) {
        BFT_TRY(bft_buffer_printf(err, out, "%s", i == 0 ? "" : ", "));
        if (value->type == BFT_TYPE_NUMBERS) {
            BFT_TRY(bft_buffer_printf(err, out, "%s", value->items[i]));
        } else {
            BFT_TRY(write_string(err, value->items[i], out));
        }
    }
    return bft_buffer_printf(err, out, "]\n");
}

static bft_status write_map(bft_error *err, const bft_value *value, const char *indent, bft_buffer *out) {
    if (value->count == 0) {
        return bft_buffer_printf(err, out, " {}\n");
    }
    BFT_TRY(bft_buffer_printf(err, out, "\n"));
    for (size_t i = 0; i < 2 * value->count; i += 2) {
        BFT_TRY(bft_buffer_printf(err, out, "%s  ", indent));
        BFT_TRY(write_string(err, value->items[i], out));
        BFT_TRY(bft_buffer_printf(err, out, ": "));
        if (value->items[i + 1] == NULL) {
            BFT_TRY(bft_buffer_printf(err, out, "null"));
        } else {
            BFT_TRY(write_string(err, value->items[i + 1], out));
        }
        BFT_TRY(bft_buffer_printf(err, out, "\n"));
    }
    return BFT_OK;
}

static bft_status write_value(bft_error *err, const bft_value *value, const char *indent, bft_buffer *out) {
    switch (value->type) {
    case BFT_TYPE_LIST:
    case BFT_TYPE_NUMBERS:
        return write_list(err, value, out);
    case BFT_TYPE_MAP:
        return write_map(err, value, indent, out);
    case BFT_TYPE_NULL:
        return bft_buffer_printf(err, out, " null\n");
    case BFT_TYPE_STRING:
        BFT_TRY(bft_buffer_printf(err, out, " "));
        BFT_TRY(write_string(err, value->text, out));
        return bft_buffer_printf(err, out, "\n");
    default:
        return bft_buffer_printf(err, out, " %s\n", value->text);
    }
}

static bft_status write_doc(bft_error *err, const bft_key *key, const char *indent, bft_buffer *out) {
    BFT_TRY(bft_buffer_printf(err, out, "%s# %s\n%s# ", indent, key->doc, indent));
    BFT_TRY(bft_schema_describe(err, key, out));
    return bft_buffer_printf(err, out, "\n");
}

bft_status bft_config_dump(bft_error *err, const bft_config *config, bool doc, bft_buffer *out) {
    const char *group = "";
    size_t group_length = 0;
    for (size_t i = 0; i < bft_schema_count; i++) {
        const char *name = bft_schema[i].name, *dot = strchr(name, '.');
        size_t length = dot == NULL ? 0 : (size_t)(dot - name);
        bool starts = length != group_length || strncmp(name, group, length) != 0;
        if (starts && i > 0) {
            BFT_TRY(bft_buffer_printf(err, out, "\n"));
        }
        if (starts && length > 0) {
            BFT_TRY(bft_buffer_printf(err, out, "%.*s:\n", (int)length, name));
        }
        group = name;
        group_length = length;
        const char *indent = length > 0 ? "  " : "";
        if (doc) {
            BFT_TRY(write_doc(err, &bft_schema[i], indent, out));
        }
        BFT_TRY(bft_buffer_printf(err, out, "%s%s:", indent, dot == NULL ? name : dot + 1));
        BFT_TRY(write_value(err, &config->values[i], indent, out));
    }
    return BFT_OK;
}
