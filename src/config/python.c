/* python.c: Python literals, as ast.literal_eval reads them: None, True, numbers, strings, lists, tuples (read as
 * lists) and dicts. Left out, and so no literals here: bytes, sets, complex numbers, the ellipsis, \N{...}, NULs
 * and lone surrogates. */
#include "config/node.h"
#include "config/schema.h"

#include "base/buffer.h"
#include "base/utf8.h"

#include <ctype.h>
#include <string.h>

typedef struct reader {
    bft_error *err;
    bft_arena *arena;
    const char *at;
    size_t line, depth;
    bft_buffer string; /* the string literal that is being read */
} reader;

/* Every reading function leaves *out NULL where the text is no literal; a status other than BFT_OK means out of
 * memory. */
static bft_status read_value(reader *r, bft_node **out);

/* Blanks and comments; inside brackets, ends of lines too. */
static void skip_blanks(reader *r) {
    for (;;) {
        r->at += strspn(r->at, r->depth > 0 ? " \t\f\r\n" : " \t\f");
        if (*r->at == '\\' && r->at[1] == '\n') {
            r->at += 2;
        } else if (*r->at == '#') {
            r->at += strcspn(r->at, "\n");
        } else {
            return;
        }
    }
}

static bool skip_char(reader *r, char c) {
    skip_blanks(r);
    if (*r->at != c) {
        return false;
    }
    r->at++;
    return true;
}

/* ---- Strings ---- */

/* `digits` hexadecimal digits at r->at; false where there are fewer or they name no character. */
static bool read_code_point(reader *r, size_t digits, uint32_t *scalar) {
    *scalar = 0;
    for (size_t i = 0; i < digits; i++) {
        unsigned char c = (unsigned char)r->at[i];
        if (!isxdigit(c)) {
            return false;
        }
        *scalar = *scalar * 16 + (uint32_t)(isdigit(c) ? c - '0' : tolower(c) - 'a' + 10);
    }
    r->at += digits;
    return *scalar != 0 && *scalar <= 0x10FFFF && (*scalar < 0xD800 || *scalar > 0xDFFF);
}

static bool read_octal(reader *r, uint32_t *scalar) {
    *scalar = 0;
    for (size_t i = 0; i < 3 && *r->at >= '0' && *r->at <= '7'; i++) {
        *scalar = *scalar * 8 + (uint32_t)(*r->at++ - '0');
    }
    return *scalar != 0;
}

/* What follows a backslash, r->at standing behind it. */
static bft_status read_escape(reader *r, bool *good) {
    static const char letters[] = "abfnrtv\\'\"", meanings[] = "\a\b\f\n\r\t\v\\'\"";
    char c = *r->at, bytes[4];
    const char *letter = c == '\0' ? NULL : strchr(letters, c);
    uint32_t scalar;
    *good = c != '\0' && c != 'N';
    if (letter != NULL) {
        r->at++;
        return bft_buffer_append(r->err, &r->string, &meanings[letter - letters], 1);
    }
    if (c == '\n') {
        r->at++;
        return BFT_OK;
    }
    if (c == 'x' || c == 'u' || c == 'U') {
        r->at++;
        *good = read_code_point(r, c == 'x' ? 2 : c == 'u' ? 4 : 8, &scalar);
    } else if (c >= '0' && c <= '7') {
        *good = read_octal(r, &scalar);
    } else { /* not an escape: the backslash stays, and what follows is read as it is */
        return bft_buffer_append(r->err, &r->string, "\\", 1);
    }
    return *good ? bft_buffer_append(r->err, &r->string, bytes, bft_utf8_encode(scalar, bytes)) : BFT_OK;
}

/* One quoted part; r->at stands on its quote. */
static bft_status read_quoted(reader *r, bool raw, bool *good) {
    char quote = *r->at;
    size_t quotes = r->at[1] == quote && r->at[2] == quote ? 3 : 1;
    r->at += quotes;
    *good = true;
    while (*good) {
        const char *start = r->at;
        if (strncmp(start, quotes == 3 ? (quote == '"' ? "\"\"\"" : "'''") : (quote == '"' ? "\"" : "'"), quotes) ==
            0) {
            r->at += quotes;
            return BFT_OK;
        }
        if (*start == '\0' || (*start == '\n' && quotes == 1)) {
            *good = false;
        } else if (*start == '\\' && !raw) {
            r->at++;
            BFT_TRY(read_escape(r, good));
        } else { /* in a raw string a backslash keeps the next character, and stays */
            r->at += *start == '\\' && start[1] != '\0' ? 2 : 1;
            BFT_TRY(bft_buffer_append(r->err, &r->string, start, (size_t)(r->at - start)));
        }
    }
    return BFT_OK;
}

/* Length of a string's prefix and whether it is raw; false where no string begins here. */
static bool string_begins(const char *text, size_t *prefix, bool *raw) {
    *prefix = *text != '\0' && strchr("rRuU", *text) != NULL ? 1 : 0;
    *raw = *prefix == 1 && (*text == 'r' || *text == 'R');
    return text[*prefix] == '"' || text[*prefix] == '\'';
}

/* Strings next to each other are one. */
static bft_status read_string(reader *r, bft_node **out) {
    size_t prefix;
    bool raw, good = true;
    bft_buffer_clear(&r->string);
    BFT_TRY(bft_buffer_reserve(r->err, &r->string, 0));
    while (good && string_begins(r->at, &prefix, &raw)) {
        r->at += prefix;
        BFT_TRY(read_quoted(r, raw, &good));
        skip_blanks(r);
    }
    if (!good) {
        return BFT_OK;
    }
    char *text;
    BFT_TRY(bft_arena_string(r->err, r->arena, r->string.data, r->string.length, &text));
    BFT_TRY(bft_node_create(r->err, r->arena, BFT_TYPE_STRING, r->line, out));
    (*out)->text = text;
    (*out)->quoted = true;
    return BFT_OK;
}

/* ---- Everything else ---- */

/* A signed number or one of Python's three names. The text as written is kept without blanks behind the sign. */
static bft_status read_word(reader *r, bft_node **out) {
    static const struct {
        const char *word;
        unsigned type;
        bool boolean;
    } words[] = {{"None", BFT_TYPE_NULL, false}, {"True", BFT_TYPE_BOOL, true}, {"False", BFT_TYPE_BOOL, false}};
    bft_node node = {.line = r->line};
    char sign[2] = {*r->at == '-' || *r->at == '+' ? *r->at : '\0', '\0'};
    size_t length = 0;
    if (sign[0] != '\0') {
        r->at++;
        skip_blanks(r);
    }
    for (size_t i = 0; i < 3 && sign[0] == '\0' && length == 0; i++) {
        size_t size = strlen(words[i].word);
        unsigned char behind = strncmp(r->at, words[i].word, size) == 0 ? (unsigned char)r->at[size] : '_';
        if (!isalnum(behind) && behind != '_' && behind < 0x80) {
            node.type = words[i].type;
            node.boolean = words[i].boolean;
            length = size;
        }
    }
    length = length > 0 ? length : bft_node_number(&node, r->at);
    if (length == 0) {
        return BFT_OK;
    }
    if (sign[0] == '-') {
        bft_node_negate(&node);
    }
    char *text;
    bft_buffer_clear(&r->string);
    BFT_TRY(bft_buffer_printf(r->err, &r->string, "%s%.*s", sign, (int)length, r->at));
    BFT_TRY(bft_arena_string(r->err, r->arena, r->string.data, r->string.length, &text));
    BFT_TRY(bft_node_create(r->err, r->arena, node.type, r->line, out));
    node.text = text;
    **out = node;
    r->at += length;
    return BFT_OK;
}

/* The rest of a list or tuple up to `close` ('\0': a tuple without parentheses, up to the end of the text). A
 * parenthesis around one value and no comma is just that value. */
static bft_status read_items(reader *r, char close, bft_node *list, bft_node **out) {
    bool comma = true;
    for (;;) {
        if (skip_char(r, close)) {
            break;
        }
        bft_node *item = NULL;
        if (comma) {
            BFT_TRY(read_value(r, &item));
        }
        if (item == NULL) {
            return BFT_OK;
        }
        bft_node_append(list, item);
        list->count++;
        comma = skip_char(r, ',');
    }
    *out = close == ')' && list->count == 1 && !comma ? list->first : list;
    return BFT_OK;
}

static bft_status read_entries(reader *r, bft_node *map, bft_node **out) {
    bool comma = true;
    while (!skip_char(r, '}')) {
        bft_node *key = NULL, *value = NULL;
        if (comma) {
            BFT_TRY(read_value(r, &key));
        }
        if (key == NULL || (key->type & (BFT_TYPE_LIST | BFT_TYPE_MAP)) != 0 || !skip_char(r, ':')) {
            return BFT_OK;
        }
        BFT_TRY(read_value(r, &value));
        if (value == NULL) {
            return BFT_OK;
        }
        bft_node_append(map, key);
        bft_node_append(map, value);
        map->count++;
        comma = skip_char(r, ',');
    }
    *out = map;
    return BFT_OK;
}

static bft_status read_value(reader *r, bft_node **out) {
    size_t prefix;
    bool raw;
    *out = NULL;
    skip_blanks(r);
    if (string_begins(r->at, &prefix, &raw)) {
        return read_string(r, out);
    }
    char open = *r->at;
    if (open != '[' && open != '(' && open != '{') {
        return read_word(r, out);
    }
    if (r->depth == BFT_NODE_DEPTH) {
        return BFT_OK;
    }
    r->at++;
    r->depth++;
    bft_node *node;
    BFT_TRY(bft_node_create(r->err, r->arena, open == '{' ? BFT_TYPE_MAP : BFT_TYPE_LIST, r->line, &node));
    BFT_TRY(open == '{' ? read_entries(r, node, out) : read_items(r, open == '[' ? ']' : ')', node, out));
    r->depth--;
    return BFT_OK;
}

/* One value, or several with commas: a tuple without parentheses. */
static bft_status read_all(reader *r, bft_node **out) {
    bft_node *first, *tuple;
    BFT_TRY(read_value(r, &first));
    skip_blanks(r);
    if (first == NULL || *r->at == '\0') {
        *out = first;
        return BFT_OK;
    }
    if (*r->at++ != ',') {
        return BFT_OK;
    }
    BFT_TRY(bft_node_create(r->err, r->arena, BFT_TYPE_LIST, r->line, &tuple));
    bft_node_append(tuple, first);
    tuple->count = 1;
    return read_items(r, '\0', tuple, out);
}

bft_status bft_python_parse(bft_error *err, bft_arena *arena, const char *text, size_t line, bft_node **out) {
    reader r = {.err = err, .arena = arena, .at = text, .line = line};
    *out = NULL;
    bft_status status = read_all(&r, out);
    bft_buffer_free(&r.string);
    return status;
}
