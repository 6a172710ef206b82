/* test_config_dump.c: a dumped configuration reads back to the same values, whatever they hold. */
#include "scratch.h"

#include "base/philox.h"
#include "config/schema.h"

#include <stdbool.h>

static bft_error err;

static bft_config *defaults(void) {
    bft_config *config;
    assert_int_equal(bft_config_create(&err, &config), BFT_OK);
    return config;
}

static char *dump(const bft_config *config) {
    bft_buffer text = {0};
    assert_int_equal(bft_config_dump(&err, config, false, &text), BFT_OK);
    return text.data;
}

/* A string with anything in it that could upset YAML. */
static void random_string(bft_random *random, char out[64]) {
    static const char *const pieces[] = {"a",
                                         "Z",
                                         "0",
                                         "1e5",
                                         "_",
                                         "-",
                                         ".",
                                         "/",
                                         " ",
                                         "  ",
                                         ":",
                                         ": ",
                                         "#",
                                         " #",
                                         "'",
                                         "\"",
                                         "\\",
                                         "[",
                                         "]",
                                         "{",
                                         "}",
                                         ",",
                                         "&",
                                         "*",
                                         "!",
                                         "|",
                                         ">",
                                         "%",
                                         "@",
                                         "`",
                                         "?",
                                         "~",
                                         "null",
                                         "None",
                                         "True",
                                         "yes",
                                         "\n",
                                         "\t",
                                         "\r",
                                         "\x01",
                                         "\x7f",
                                         "\xc2\x85",
                                         "\xc2\xa0",
                                         "\xe2\x80\xa8",
                                         "\xef\xbb\xbf",
                                         "\xef\xbf\xbd",
                                         "\xef\xbf\xbf",
                                         "ж",
                                         "é",
                                         "😀",
                                         "r'",
                                         "=",
                                         "<<",
                                         "---"};
    out[0] = '\0';
    for (uint32_t left = 1 + bft_random_below(random, 8); left > 0; left--) {
        strcat(out, pieces[bft_random_below(random, sizeof pieces / sizeof pieces[0])]);
    }
}

/* The string as a Python literal that stands for it. */
static void quote(const char *text, char out[256]) {
    *out++ = '\'';
    for (; *text != '\0'; text++) {
        bool plain = (unsigned char)*text >= 0x20 && *text != '\'' && *text != '\\';
        if (plain) {
            *out++ = *text;
        } else {
            out += snprintf(out, 8, "\\x%02x", (unsigned char)*text);
        }
    }
    strcpy(out, "'");
}

/* A random value in the range of a key of one of these kinds; false where the key is left alone. */
static bool random_value(bft_random *random, const bft_key *key, char out[1024]) {
    char text[64], quoted[256], other[256];
    double unit = bft_random_unit(random);
    random_string(random, text);
    quote(text, quoted);
    random_string(random, text);
    quote(text, other);
    if ((key->types & BFT_TYPE_NULL) && unit < 0.2) {
        strcpy(out, "None");
    } else if (key->types & BFT_TYPE_NUMBERS) {
        snprintf(out, 1024, "[%.17g, %.17g]", unit, unit * unit);
    } else if (key->types & BFT_TYPE_MAP) {
        snprintf(out, 1024, "{%s: %s, 'x': None}", quoted, other);
    } else if (key->choices != NULL && (key->types & BFT_TYPE_LIST) == 0) {
        snprintf(out, 1024, "%.*s", (int)strcspn(key->choices, "|"), key->choices);
    } else if ((key->types & BFT_TYPE_LIST) && (key->types & BFT_TYPE_STRING || key->choices == NULL)) {
        snprintf(out, 1024, "[%s, %s]", quoted, other);
    } else if (key->types & BFT_TYPE_STRING) {
        snprintf(out, 1024, "%s", quoted);
    } else if (key->types & BFT_TYPE_FLOAT) {
        snprintf(out, 1024, "%.17g", unit);
    } else if (key->types & BFT_TYPE_BOOL) {
        strcpy(out, unit < 0.5 ? "True" : "False");
    } else {
        return false;
    }
    return true;
}

static void assert_same_lists(const bft_config *a, const bft_config *b, const char *key) {
    assert_int_equal(bft_config_list_size(a, key), bft_config_list_size(b, key));
    for (size_t i = 0; i < bft_config_list_size(a, key); i++) {
        assert_string_equal(bft_config_list_at(a, key, i), bft_config_list_at(b, key, i));
    }
}

static void assert_same(const bft_config *a, const bft_config *b) {
    for (size_t i = 0; i < bft_schema_count; i++) {
        const bft_key *key = &bft_schema[i];
        assert_int_equal(bft_config_is_null(a, key->name), bft_config_is_null(b, key->name));
        if (key->types & BFT_TYPE_STRING) {
            assert_string_equal(bft_config_string(a, key->name), bft_config_string(b, key->name));
        }
        if (key->types & (BFT_TYPE_LIST | BFT_TYPE_NUMBERS)) {
            assert_same_lists(a, b, key->name);
        }
        if ((key->types & BFT_TYPE_FLOAT) && !bft_config_is_null(a, key->name)) {
            assert_true(bft_config_float(a, key->name) == bft_config_float(b, key->name));
        }
        if (key->types == BFT_TYPE_BOOL) {
            assert_int_equal(bft_config_bool(a, key->name), bft_config_bool(b, key->name));
        }
        for (size_t j = 0; (key->types & BFT_TYPE_MAP) && j < bft_config_map_size(a, key->name); j++) {
            const char *from[2], *to[2];
            bft_config_map_at(a, key->name, j, &from[0], &to[0]);
            bft_config_map_at(b, key->name, j, &from[1], &to[1]);
            assert_string_equal(from[0], from[1]);
            assert_true(to[0] == NULL ? to[1] == NULL : strcmp(to[0], to[1]) == 0);
        }
    }
}

static void dumps_read_back(void **state) {
    (void)state;
    bft_random random = bft_random_create(1, 0, 0);
    for (int round = 0; round < 300; round++) {
        bft_config *config = defaults(), *again = defaults();
        for (size_t i = 0; i < bft_schema_count; i++) {
            char value[1024];
            char *words[] = {(char *)(uintptr_t)bft_schema[i].name, value};
            if (random_value(&random, &bft_schema[i], value) &&
                bft_config_merge_pairs(&err, config, 2, words) != BFT_OK) {
                fail_msg("%s", err.message);
            }
        }
        char *first = dump(config);
        scratch_write("dump.yaml", first, strlen(first));
        if (bft_config_merge_file(&err, again, "dump.yaml") != BFT_OK) {
            fail_msg("%s in\n%s", err.message, first);
        }
        assert_same(config, again);
        char *second = dump(again);
        assert_string_equal(first, second);
        free(first);
        free(second);
        bft_config_destroy(config);
        bft_config_destroy(again);
    }
}

static void documented_dump(void **state) {
    (void)state;
    bft_config *config = defaults();
    bft_buffer text = {0};
    assert_int_equal(bft_config_dump(&err, config, true, &text), BFT_OK);
    assert_non_null(
        strstr(text.data, "  # The highest learning rate of AdamW.\n  # a float in [0, inf)\n  LR: 5.0e-05\n"));
    scratch_write("doc.yaml", text.data, text.length);
    assert_int_equal(bft_config_merge_file(&err, config, "doc.yaml"), BFT_OK);
    bft_buffer_free(&text);
    bft_config_destroy(config);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(dumps_read_back), cmocka_unit_test(documented_dump)};
    return cmocka_run_group_tests(tests, scratch_enter, scratch_leave);
}
