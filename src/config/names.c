/* names.c: looking up configuration keys, guessing what a misspelt one was meant to be, and describing a key's
 * values. */
#include "config/schema.h"

#include "base/distance.h"

#include <stdint.h>
#include <string.h>

size_t bft_schema_find(const char *name) {
    size_t i = 0;
    while (i < bft_schema_count && strcmp(bft_schema[i].name, name) != 0) {
        i++;
    }
    return i;
}

/* The part before the dot: its length, 0 where there is no dot. */
static size_t group_length(const char *name) {
    const char *dot = strchr(name, '.');
    return dot == NULL ? 0 : (size_t)(dot - name);
}

bool bft_schema_is_group(const char *name) {
    size_t length = strlen(name);
    for (size_t i = 0; i < bft_schema_count && length > 0; i++) {
        if (group_length(bft_schema[i].name) == length && strncmp(bft_schema[i].name, name, length) == 0) {
            return true;
        }
    }
    return false;
}

/* The right key under a wrong group is a likelier slip than a wrong key, so a group costs at most 2. */
static size_t name_distance(const char *name, const char *known) {
    size_t group = group_length(name), known_group = group_length(known);
    size_t groups = bft_edit_distance(name, group, known, known_group);
    const char *last = name + group, *known_last = known + known_group;
    return (groups > 2 ? 2 : groups) + bft_edit_distance(last, strlen(last), known_last, strlen(known_last));
}

void bft_schema_nearest(const char *name, char nearest[BFT_SCHEMA_LONGEST]) {
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < bft_schema_count; i++) {
        const char *known = bft_schema[i].name;
        size_t length = strlen(known), distance = name_distance(name, known);
        size_t group = strchr(name, '.') == NULL ? group_length(known) : 0;
        if (group > 0) { /* a name without a dot may be a group's */
            size_t of_group = bft_edit_distance(name, strlen(name), known, group);
            length = of_group < distance ? group : length;
            distance = of_group < distance ? of_group : distance;
        }
        if (distance < least) {
            least = distance;
            memcpy(nearest, known, length);
            nearest[length] = '\0';
        }
    }
}

/* Appends "a, b or c" for "a|b|c". */
static bft_status describe_choices(bft_error *err, const char *choices, bft_buffer *out) {
    const char *at = choices;
    for (;;) {
        size_t length = strcspn(at, "|");
        bool last = at[length] == '\0', before_last = !last && strchr(at + length + 1, '|') == NULL;
        BFT_TRY(bft_buffer_printf(err, out, "%.*s%s", (int)length, at, last ? "" : before_last ? " or " : ", "));
        if (last) {
            return BFT_OK;
        }
        at += length + 1;
    }
}

bft_status bft_schema_describe(bft_error *err, const bft_key *key, bft_buffer *out) {
    static const struct {
        unsigned type;
        const char *words;
        bool ranged;
    } kinds[] = {
        {BFT_TYPE_NULL, "null", false},
        {BFT_TYPE_BOOL, "true or false", false},
        {BFT_TYPE_INT, "an int", true},
        {BFT_TYPE_FLOAT, "a float", true},
        {BFT_TYPE_STRING, "a string", false},
        {BFT_TYPE_LIST, "a list of strings", false},
        {BFT_TYPE_NUMBERS, "a list of floats", true},
        {BFT_TYPE_MAP, "a map from string to string or null", false},
    };
    const char *separator = "";
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if ((key->types & kinds[i].type) == 0) {
            continue;
        }
        BFT_TRY(bft_buffer_printf(err, out, "%s", separator));
        bool items = kinds[i].type == BFT_TYPE_LIST && (key->types & BFT_TYPE_STRING) == 0;
        if (key->choices != NULL && kinds[i].type == BFT_TYPE_STRING) {
            BFT_TRY(describe_choices(err, key->choices, out));
        } else if (key->choices != NULL && items) {
            BFT_TRY(bft_buffer_printf(err, out, "a list of "));
            BFT_TRY(describe_choices(err, key->choices, out));
            BFT_TRY(bft_buffer_printf(err, out, " or an int in %s", key->range));
        } else {
            bool ranged = kinds[i].ranged && key->range != NULL;
            BFT_TRY(
                bft_buffer_printf(err, out, "%s%s%s", kinds[i].words, ranged ? " in " : "", ranged ? key->range : ""));
        }
        separator = " or ";
    }
    return BFT_OK;
}
