/* scalar.c: what an unquoted scalar means. First YAML 1.1 as PyYAML's safe_load reads it (yes and off are bools,
 * 017 is octal, 1:30 is sexagesimal), then the numbers that only Python knows (1e-5, 0o17, -.5), which YACS
 * decodes in a second step. */
#include "config/node.h"
#include "config/schema.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS "0123456789"

enum { NUMBER_SIZE = 256 }; /* what is longer is no number */

bft_status bft_node_create(bft_error *err, bft_arena *arena, unsigned type, size_t line, bft_node **out) {
    BFT_TRY(BFT_NEW(err, arena, out, 1));
    (*out)->type = type;
    (*out)->line = line;
    (*out)->text = "";
    return BFT_OK;
}

void bft_node_append(bft_node *parent, bft_node *child) {
    if (parent->last == NULL) {
        parent->first = child;
    } else {
        parent->last->next = child;
    }
    parent->last = child;
}

/* ---- Numbers ---- */

static void set_float(bft_node *node, double number) {
    node->type = BFT_TYPE_FLOAT;
    node->number = number;
}

/* Adds a digit of an int in `base`. */
static void push_digit(bft_node *node, int digit, int base) {
    node->huge = node->huge || __builtin_mul_overflow(node->integer, base, &node->integer) ||
                 __builtin_add_overflow(node->integer, digit, &node->integer);
    node->integer = node->huge ? 0 : node->integer;
    node->number = node->huge ? node->number * base + digit : (double)node->integer;
}

static int digit_value(char c) {
    return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

/* A float's text with underscores among its digits. */
static bool read_float(bft_node *node, const char *text, size_t length) {
    char clean[NUMBER_SIZE];
    size_t used = 0;
    if (length >= sizeof clean) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (text[i] != '_') {
            clean[used++] = text[i];
        }
    }
    clean[used] = '\0';
    set_float(node, strtod(clean, NULL));
    return true;
}

/* Digits with underscores among them; false where there is no digit at all. */
static bool set_int(bft_node *node, const char *digits, size_t length, int base) {
    bool any = false;
    node->integer = 0;
    node->number = 0;
    node->huge = false;
    for (size_t i = 0; i < length; i++) {
        if (digits[i] != '_') {
            push_digit(node, digit_value(digits[i]), base);
            any = true;
        }
    }
    if (node->huge && base == 10) {
        read_float(node, digits, length); /* rounded once, not digit by digit */
    }
    node->type = BFT_TYPE_INT;
    return any;
}

void bft_node_negate(bft_node *node) {
    node->integer = -node->integer;
    node->number = node->type == BFT_TYPE_INT ? 0 - node->number : -node->number; /* the int 0 has no sign */
}

/* ---- YAML 1.1, without the sign ---- */

/* Length of (:[0-5]?[0-9])+ at the start of `text`. */
static size_t sixties_length(const char *text) {
    size_t length = 0;
    while (text[length] == ':' && isdigit((unsigned char)text[length + 1])) {
        bool two = text[length + 1] <= '5' && isdigit((unsigned char)text[length + 2]);
        length += two ? 3 : 2;
    }
    return length;
}

/* 1:30:59 is 1 * 3600 + 30 * 60 + 59; `length` bytes of digits, underscores and colons. */
static void set_sixties(bft_node *node, const char *text, size_t length) {
    size_t part = strcspn(text, ":");
    set_int(node, text, part, 10);
    while (part < length) {
        size_t digits = strspn(text + part + 1, DIGITS);
        bft_node group = {0};
        set_int(&group, text + part + 1, digits, 10);
        push_digit(node, (int)group.integer, 60);
        part += 1 + digits;
    }
}

static bool yaml_int(bft_node *node, const char *text) {
    size_t length = strlen(text);
    if (strncmp(text, "0b", 2) == 0) {
        return strspn(text + 2, "01_") == length - 2 && set_int(node, text + 2, length - 2, 2);
    }
    if (strncmp(text, "0x", 2) == 0) {
        return strspn(text + 2, DIGITS "abcdefABCDEF_") == length - 2 && set_int(node, text + 2, length - 2, 16);
    }
    if (text[0] == '0') {
        return strspn(text, "01234567_") == length && set_int(node, text, length, 8);
    }
    size_t digits = strspn(text, DIGITS "_");
    if (text[0] == '_' || digits == 0 || digits + sixties_length(text + digits) != length) {
        return false;
    }
    set_sixties(node, text, length);
    return true;
}

/* Length of [eE][-+][0-9]+, 0 where it isn't one: YAML 1.1 wants the sign. */
static size_t yaml_exponent_length(const char *text) {
    if ((text[0] != 'e' && text[0] != 'E') || (text[1] != '-' && text[1] != '+')) {
        return 0;
    }
    size_t digits = strspn(text + 2, DIGITS);
    return digits == 0 ? 0 : 2 + digits;
}

static bool yaml_float(bft_node *node, const char *text, bool has_sign) {
    if (strcmp(text, ".inf") == 0 || strcmp(text, ".Inf") == 0 || strcmp(text, ".INF") == 0) {
        set_float(node, INFINITY);
        return true;
    }
    if (!has_sign && (strcmp(text, ".nan") == 0 || strcmp(text, ".NaN") == 0 || strcmp(text, ".NAN") == 0)) {
        set_float(node, NAN);
        return true;
    }
    size_t whole = isdigit((unsigned char)text[0]) ? strspn(text, DIGITS "_") : 0;
    size_t sixties = whole == 0 ? 0 : sixties_length(text + whole);
    size_t dot = whole + sixties;
    if (text[dot] != '.' || (whole == 0 && (has_sign || !isdigit((unsigned char)text[1])))) {
        return false;
    }
    size_t end = dot + 1 + strspn(text + dot + 1, DIGITS "_");
    end += sixties == 0 ? yaml_exponent_length(text + end) : 0;
    if (text[end] != '\0' || !read_float(node, text + (sixties == 0 ? 0 : dot), end - (sixties == 0 ? 0 : dot))) {
        return false;
    }
    if (sixties > 0) {
        bft_node minutes = {0};
        set_sixties(&minutes, text, dot);
        node->number += minutes.number;
    }
    return true;
}

/* ---- Python's numbers, without the sign ---- */

/* Length of D(_?D)* over the digits in `set`. */
static size_t digit_part(const char *text, const char *set) {
    size_t length = 0;
    for (;;) {
        size_t skip = length > 0 && text[length] == '_' ? 1 : 0;
        size_t digits = strspn(text + length + skip, set);
        if (digits == 0) {
            return length;
        }
        length += skip + digits;
    }
}

static size_t python_based(bft_node *node, const char *text) {
    static const struct {
        char letter;
        int base;
        const char *digits;
    } bases[] = {{'x', 16, DIGITS "abcdefABCDEF"}, {'o', 8, "01234567"}, {'b', 2, "01"}};
    for (size_t i = 0; text[0] == '0' && i < sizeof bases / sizeof bases[0]; i++) {
        if (tolower((unsigned char)text[1]) == bases[i].letter) {
            size_t skip = text[2] == '_' ? 3 : 2, length = digit_part(text + skip, bases[i].digits);
            return length > 0 && set_int(node, text + skip, length, bases[i].base) ? skip + length : 0;
        }
    }
    return 0;
}

static size_t python_decimal(bft_node *node, const char *text) {
    size_t whole = digit_part(text, DIGITS), length = whole;
    bool is_float = text[length] == '.';
    if (is_float) {
        size_t fraction = digit_part(text + length + 1, DIGITS);
        if (whole + fraction == 0) {
            return 0;
        }
        length += 1 + fraction;
    }
    if (length > 0 && (text[length] == 'e' || text[length] == 'E')) {
        size_t sign = text[length + 1] == '-' || text[length + 1] == '+' ? 1 : 0;
        size_t digits = digit_part(text + length + 1 + sign, DIGITS);
        if (digits == 0) {
            return 0;
        }
        is_float = true;
        length += 1 + sign + digits;
    }
    if (is_float) {
        return read_float(node, text, length) ? length : 0;
    }
    bool leading_zero = text[0] == '0' && strspn(text, "0_") != length;
    return length > 0 && !leading_zero && set_int(node, text, length, 10) ? length : 0;
}

size_t bft_node_number(bft_node *node, const char *text) {
    size_t length = python_based(node, text);
    length = length > 0 ? length : python_decimal(node, text);
    bool ends = !isalnum((unsigned char)text[length]) && text[length] != '_' && text[length] != '.';
    return ends && (unsigned char)text[length] < 0x80 ? length : 0;
}

/* ---- All together ---- */

static bool one_of(const char *text, const char *const *words) {
    while (*words != NULL && strcmp(text, *words) != 0) {
        words++;
    }
    return *words != NULL;
}

void bft_node_resolve(bft_node *node) {
    static const char *const truths[] = {"yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON", NULL};
    static const char *const lies[] = {"no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF", NULL};
    static const char *const nothings[] = {"", "~", "null", "Null", "NULL", NULL};
    const char *text = node->text;
    if (one_of(text, nothings)) {
        node->type = BFT_TYPE_NULL;
        return;
    }
    if (one_of(text, truths) || one_of(text, lies)) {
        node->type = BFT_TYPE_BOOL;
        node->boolean = one_of(text, truths);
        return;
    }
    bool has_sign = text[0] == '-' || text[0] == '+';
    const char *body = text + (has_sign ? 1 : 0);
    size_t length = strlen(body);
    if (length > 0 && length < NUMBER_SIZE &&
        (yaml_int(node, body) || yaml_float(node, body, has_sign) || bft_node_number(node, body) == length)) {
        if (text[0] == '-') {
            bft_node_negate(node);
        }
        return;
    }
    node->type = BFT_TYPE_STRING;
}
