/* test_literal.c: what a value's text means, as Python and as YAML, and how it is written again. */
#include "config/store.h"
#include "scratch.h"

#include <math.h>

static bft_arena arena;
static bft_error err;

static int free_arena(void **state) {
    (void)state;
    bft_arena_free(&arena);
    return 0;
}

static const bft_node *resolved(const char *text) {
    static bft_node node;
    node = (bft_node){.text = text};
    bft_node_resolve(&node);
    return &node;
}

static bft_node *python(const char *text) {
    bft_node *node;
    assert_int_equal(bft_python_parse(&err, &arena, text, 0, &node), BFT_OK);
    return node;
}

static void assert_int(const char *text, int64_t want) {
    const bft_node *node = resolved(text);
    if (node->type != BFT_TYPE_INT || node->integer != want || node->huge) {
        fail_msg("%s is not the int %lld", text, (long long)want);
    }
}

static void assert_float(const char *text, double want) {
    const bft_node *node = resolved(text);
    if (node->type != BFT_TYPE_FLOAT || (node->number != want && !(isnan(want) && isnan(node->number)))) {
        fail_msg("%s is not the float %g", text, want);
    }
}

static void scalars_of_yaml(void **state) {
    (void)state;
    assert_int("0", 0);
    assert_int("-12", -12);
    assert_int("1_000", 1000);
    assert_int("017", 15);
    assert_int("-0x1F", -31);
    assert_int("0b101", 5);
    assert_int("1:30", 90);
    assert_int("190:20:30", 685230);
    assert_float("1.5e+3", 1500);
    assert_float(".5", 0.5);
    assert_float("1:30.5", 90.5);
    assert_float("-.inf", -INFINITY);
    assert_float(".NaN", NAN);
    static const char *const bools[] = {"yes", "Yes", "on", "TRUE", "no", "Off", "false"};
    for (size_t i = 0; i < sizeof bools / sizeof bools[0]; i++) {
        assert_int_equal(resolved(bools[i])->type, BFT_TYPE_BOOL);
        assert_int_equal(resolved(bools[i])->boolean, i < 4);
    }
    assert_int_equal(resolved("~")->type, BFT_TYPE_NULL);
    assert_int_equal(resolved("")->type, BFT_TYPE_NULL);
}

static void scalars_of_python(void **state) {
    (void)state;
    assert_float("1e-5", 1e-5);
    assert_float("-.5", -0.5);
    assert_float("1_0e1_0", 10e10);
    assert_int("0o17", 15);
    assert_int("9223372036854775807", INT64_MAX);
    assert_true(resolved("9223372036854775808")->huge);
    assert_true(resolved("9223372036854775808")->number == 9223372036854775808.0);
    static const char *const strings[] = {"08", "1e", "0b_",        "1.0.0", "1a", "y",  "tRue",
                                          "-",  ".",  "2001-10-10", "=",     "1j", "inf"};
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        assert_int_equal(resolved(strings[i])->type, BFT_TYPE_STRING);
    }
}

static void python_strings(void **state) {
    (void)state;
    assert_string_equal(python("'a' \"b\"")->text, "ab");
    assert_string_equal(python("'\\x41\\u0416\\U0001F600\\101\\n\\q'")->text, "AЖ😀A\n\\q");
    assert_string_equal(python("r'\\n\\''")->text, "\\n\\'");
    assert_string_equal(python("'''it's'''")->text, "it's");
    assert_true(python("'1'")->quoted);
    static const char *const none[] = {"'a",    "'a\nb'",    "b'a'",   "f'a'",  "'\\N{DASH}'",
                                       "'\\0'", "'\\ud800'", "'\\x4'", "'a' b", "\"\\"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        assert_null(python(none[i]));
    }
}

static void python_containers(void **state) {
    (void)state;
    const bft_node *list = python("['a', 1, 2.5, None, (3,)] # tail");
    assert_int_equal(list->type, BFT_TYPE_LIST);
    assert_int_equal(list->count, 5);
    assert_int_equal(list->last->type, BFT_TYPE_LIST);
    assert_int_equal(python("(1)")->type, BFT_TYPE_INT);
    assert_int_equal(python("()")->count, 0);
    assert_int_equal(python("1, 2,")->count, 2);
    assert_int_equal(python("- 1")->integer, -1);
    assert_int_equal(python("{'a': 1, 'b': None,}")->count, 2);
    static const char *const none[] = {"[1, 2", "[1 2]", "[,]", "1,,", "{1}",   "{[]: 1}", "--1",
                                       "-True", "1+1",   "a",   "",    "Nonex", "[1]]"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        assert_null(python(none[i]));
    }
    char deep[64] = "";
    memset(deep, '[', 17);
    memset(deep + 17, ']', 17);
    assert_null(python(deep));
    assert_non_null(python("[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]"));
}

static void floats_as_text(void **state) {
    (void)state;
    static const struct {
        double number;
        const char *text;
    } cases[] = {{0.1, "0.1"},        {1, "1.0"},     {5e-5, "5.0e-05"},
                 {1e22, "1.0e+22"},   {-0.0, "-0.0"}, {1.0 / 3, "0.3333333333333333"},
                 {5e-324, "5.0e-324"}};
    char text[BFT_FLOAT_SIZE];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bft_float_text(cases[i].number, text);
        assert_string_equal(text, cases[i].text);
        assert_int_equal(resolved(text)->type, BFT_TYPE_FLOAT);
        assert_true(resolved(text)->number == cases[i].number);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars_of_yaml),
        cmocka_unit_test(scalars_of_python),
        cmocka_unit_test_teardown(python_strings, free_arena),
        cmocka_unit_test_teardown(python_containers, free_arena),
        cmocka_unit_test(floats_as_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
