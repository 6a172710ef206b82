/* value.c: from a parsed node to a typed value: YACS's types, unions, choices and ranges as the schema has them. */
#include "config/value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAP_NAME_MAX = 200 }; /* libyaml reads a map's key back only below 1,024 characters, escapes included */

typedef struct check {
    bft_error *err;
    bft_arena *arena;
    const bft_key *key;
    const char *origin;
} check;

/* ---- Error lines ---- */

/* How a refused value is named. */
static bft_status append_shown(bft_error *err, const bft_node *node, bft_buffer *out) {
    if (node->type == BFT_TYPE_LIST || node->type == BFT_TYPE_MAP) {
        return bft_buffer_printf(err, out, node->type == BFT_TYPE_LIST ? "a list" : "a map");
    }
    if (node->type == BFT_TYPE_NULL) {
        return bft_buffer_printf(err, out, "null");
    }
    bool long_text = strlen(node->text) > 60;
    const char *quote = node->type == BFT_TYPE_STRING ? "'" : "";
    return bft_buffer_printf(err, out, "%s%.60s%s%s", quote, node->text, long_text ? "..." : "", quote);
}

static const char *advice(const bft_key *key, const bft_node *node) {
    const unsigned plain = BFT_TYPE_BOOL | BFT_TYPE_INT | BFT_TYPE_FLOAT;
    if (node->type == BFT_TYPE_STRING && node->text[0] == '\0' && (key->types & BFT_TYPE_NULL)) {
        return "; write null to unset it";
    }
    if ((node->type & (plain | BFT_TYPE_STRING)) && (key->types & BFT_TYPE_LIST)) {
        return "; a list stands in brackets, also a list of one: ['a']";
    }
    if (node->type == BFT_TYPE_STRING && node->quoted) {
        bft_node unquoted = {.text = node->text};
        bft_node_resolve(&unquoted);
        bool fits = (key->types & unquoted.type) || (unquoted.type == BFT_TYPE_INT && (key->types & BFT_TYPE_FLOAT));
        return fits && unquoted.type != BFT_TYPE_STRING ? "; write it without quotes" : "";
    }
    if ((node->type & plain) == 0 || (key->types & BFT_TYPE_STRING) == 0 || key->choices != NULL) {
        return "";
    }
    return node->line > 0 ? "; put it in quotes" : "; put it in quotes, inside the shell's own";
}

/* "KEY must be ..., not ...", `subject` being the value or the item that is wrong. */
static bft_status mismatch(const check *c, const bft_node *subject, bool is_item) {
    bft_buffer line = {0};
    bft_status status = bft_schema_describe(c->err, c->key, &line);
    status = status != BFT_OK ? status : bft_buffer_printf(c->err, &line, is_item ? "; an item is " : ", not ");
    status = status != BFT_OK ? status : append_shown(c->err, subject, &line);
    status = status != BFT_OK ? status : bft_buffer_printf(c->err, &line, "%s", is_item ? "" : advice(c->key, subject));
    if (status == BFT_OK) {
        status = bft_error_set(c->err, BFT_BAD, "%s: %s must be %s", c->origin, c->key->name, line.data);
    }
    bft_buffer_free(&line);
    return status;
}

/* ---- Ranges and choices ---- */

/* Whether `number` is finite and lies in the key's interval. */
static bool in_range(const bft_key *key, double number) {
    if (!isfinite(number)) {
        return false;
    }
    if (key->range == NULL) {
        return true;
    }
    char *end;
    double low = strtod(key->range + 1, &end), high = strtod(end + 1, &end);
    bool above = key->range[0] == '(' ? number > low : number >= low;
    return above && (*end == ')' ? number < high : number <= high);
}

/* The number of items that the range asks for, 0: any. */
static size_t wanted_items(const bft_key *key) {
    const char *times = key->range == NULL ? NULL : strstr(key->range, " x ");
    return times == NULL ? 0 : (size_t)strtoul(times + 3, NULL, 10);
}

static bool is_choice(const char *choices, const char *text) {
    size_t length = strlen(text);
    for (const char *at = choices;; at++) {
        size_t size = strcspn(at, "|");
        if (size == length && memcmp(at, text, length) == 0) {
            return true;
        }
        at += size;
        if (*at == '\0') {
            return false;
        }
    }
}

/* ---- One value of each type ---- */

static bft_status scalar_value(const check *c, const bft_node *node, bft_value *out) {
    bool as_float = node->type == BFT_TYPE_FLOAT || (node->type == BFT_TYPE_INT && (c->key->types & BFT_TYPE_INT) == 0);
    if ((node->type & (BFT_TYPE_INT | BFT_TYPE_FLOAT)) &&
        (!in_range(c->key, node->number) || (node->huge && !as_float))) {
        return mismatch(c, node, false);
    }
    if (node->type == BFT_TYPE_STRING &&
        (node->text[0] == '\0' || (c->key->choices != NULL && !is_choice(c->key->choices, node->text)))) {
        return mismatch(c, node, false);
    }
    out->type = as_float ? BFT_TYPE_FLOAT : node->type;
    out->boolean = node->boolean;
    out->integer = node->integer;
    out->number = node->number;
    char digits[BFT_FLOAT_SIZE];
    const char *text = node->text;
    if (as_float) {
        bft_float_text(node->number, digits);
        text = digits;
    } else if (node->type == BFT_TYPE_INT) {
        snprintf(digits, sizeof digits, "%lld", (long long)node->integer);
        text = digits;
    } else if (node->type == BFT_TYPE_BOOL) {
        text = node->boolean ? "true" : "false";
    }
    char *copy;
    BFT_TRY(bft_arena_string(c->err, c->arena, text, strlen(text), &copy));
    out->text = copy;
    if (node->type == BFT_TYPE_STRING && (c->key->types & BFT_TYPE_LIST)) { /* a list of one */
        BFT_TRY(BFT_NEW(c->err, c->arena, &out->items, 1));
        out->items[0] = copy;
        out->count = 1;
    }
    return BFT_OK;
}

static bool is_name(const bft_node *node) {
    return (node->type & (BFT_TYPE_NULL | BFT_TYPE_LIST | BFT_TYPE_MAP)) == 0 && node->text[0] != '\0';
}

static bft_status copy_name(const check *c, const bft_node *node, const char **out) {
    char *copy;
    BFT_TRY(bft_arena_string(c->err, c->arena, node->text, strlen(node->text), &copy));
    *out = copy;
    return BFT_OK;
}

/* Items of a list of strings are taken as written: [yes, 0] is "yes" and "0". Where the key takes lists only, its
 * choices and its range are those of the items. */
static bft_status list_value(const check *c, const bft_node *node, bft_value *out) {
    bool checked = c->key->choices != NULL && (c->key->types & BFT_TYPE_STRING) == 0;
    size_t i = 0;
    out->type = BFT_TYPE_LIST;
    out->count = node->count;
    BFT_TRY(BFT_NEW(c->err, c->arena, &out->items, node->count));
    for (const bft_node *item = node->first; item != NULL; item = item->next, i++) {
        bft_node number = {.text = item->text};
        if (!is_name(item)) {
            return mismatch(c, item, true);
        }
        if (checked && !is_choice(c->key->choices, item->text)) {
            bft_node_resolve(&number);
            if (number.type != BFT_TYPE_INT || !in_range(c->key, number.number)) {
                return mismatch(c, item, true);
            }
        }
        BFT_TRY(copy_name(c, item, &out->items[i]));
    }
    return BFT_OK;
}

static bft_status numbers_value(const check *c, const bft_node *node, bft_value *out) {
    size_t wanted = wanted_items(c->key), i = 0;
    if (wanted != 0 && node->count != wanted) {
        return bft_error_set(c->err, BFT_BAD, "%s: %s must hold %zu numbers, not %zu", c->origin, c->key->name, wanted,
                             node->count);
    }
    out->type = BFT_TYPE_NUMBERS;
    out->count = node->count;
    BFT_TRY(BFT_NEW(c->err, c->arena, &out->items, node->count));
    BFT_TRY(BFT_NEW(c->err, c->arena, &out->numbers, node->count));
    for (const bft_node *item = node->first; item != NULL; item = item->next, i++) {
        if ((item->type & (BFT_TYPE_INT | BFT_TYPE_FLOAT)) == 0 || !in_range(c->key, item->number)) {
            return mismatch(c, item, true);
        }
        char text[BFT_FLOAT_SIZE];
        bft_float_text(item->number, text);
        bft_node canonical = {.text = text};
        BFT_TRY(copy_name(c, &canonical, &out->items[i]));
        out->numbers[i] = item->number;
    }
    return BFT_OK;
}

static bft_status map_value(const check *c, const bft_node *node, bft_value *out) {
    size_t i = 0;
    out->type = BFT_TYPE_MAP;
    out->count = node->count;
    BFT_TRY(BFT_NEW(c->err, c->arena, &out->items, 2 * node->count));
    for (const bft_node *from = node->first; from != NULL; from = from->next->next, i += 2) {
        const bft_node *to = from->next;
        if (from->text[0] == '\0' || strlen(from->text) > MAP_NAME_MAX) {
            return bft_error_set(c->err, BFT_BAD, "%s: %s: a name to be mapped has 1 to %d bytes", c->origin,
                                 c->key->name, MAP_NAME_MAX);
        }
        for (size_t j = 0; j < i; j += 2) { /* YAML has been checked; a Python dict has not */
            if (strcmp(out->items[j], from->text) == 0) {
                return bft_error_set(c->err, BFT_BAD, "%s: %s: duplicate name %s", c->origin, c->key->name, from->text);
            }
        }
        BFT_TRY(copy_name(c, from, &out->items[i]));
        if (to->type != BFT_TYPE_NULL && !is_name(to)) {
            return mismatch(c, to, true);
        }
        if (to->type != BFT_TYPE_NULL) {
            BFT_TRY(copy_name(c, to, &out->items[i + 1]));
        }
    }
    return BFT_OK;
}

bft_status bft_value_create(bft_error *err, bft_arena *arena, const bft_key *key, const bft_node *node,
                            const char *origin, bft_value *out) {
    const check c = {.err = err, .arena = arena, .key = key, .origin = origin};
    *out = (bft_value){.origin = origin, .text = ""};
    if (node->type == BFT_TYPE_LIST && (key->types & BFT_TYPE_NUMBERS)) {
        return numbers_value(&c, node, out);
    }
    bool as_float = node->type == BFT_TYPE_INT && (key->types & BFT_TYPE_FLOAT);
    if ((key->types & node->type) == 0 && !as_float) {
        return mismatch(&c, node, false);
    }
    switch (node->type) {
    case BFT_TYPE_NULL:
        out->type = BFT_TYPE_NULL;
        return BFT_OK;
    case BFT_TYPE_LIST:
        return list_value(&c, node, out);
    case BFT_TYPE_MAP:
        return map_value(&c, node, out);
    default:
        return scalar_value(&c, node, out);
    }
}

void bft_float_text(double number, char out[BFT_FLOAT_SIZE]) {
    char digits[BFT_FLOAT_SIZE];
    for (int precision = 1; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, number);
        if (strtod(digits, NULL) == number) {
            break;
        }
    }
    size_t mantissa = strcspn(digits, "e");
    bool has_dot = memchr(digits, '.', mantissa) != NULL;
    snprintf(out, BFT_FLOAT_SIZE, "%.*s%s%.20s", (int)mantissa, digits, has_dot ? "" : ".0", digits + mantissa);
}
