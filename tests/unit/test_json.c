/* test_json.c: what reading JSON may cost, and whose fault it is when it fails. */
#include "scratch.h"

#include "base/json.h"

static bft_error err;

/* `count` times `item` in a list. */
static bft_status parse_many(const char *item, size_t count, json_t **out) {
    bft_buffer text = {0};
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(bft_buffer_append(&err, &text, i == 0 ? "[" : ",", 1), BFT_OK);
        assert_int_equal(bft_buffer_append(&err, &text, item, strlen(item)), BFT_OK);
    }
    assert_int_equal(bft_buffer_append(&err, &text, "]", 1), BFT_OK);
    bft_status status = bft_json_parse(&err, "x", 1, text.data, text.length, out);
    bft_buffer_free(&text);
    return status;
}

static void refuses_a_million_objects(void **state) {
    (void)state;
    static const char *const items[] = {"{}", "[]", "{\"\":{}}"};
    json_t *json;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(parse_many(items[i], 1 << 20, &json), BFT_BAD);
        assert_string_equal(err.message, "x:1: holds more than a million objects and lists");
    }
    assert_int_equal(parse_many("{}", 1000, &json), BFT_OK);
    assert_int_equal(json_array_size(json), 1000);
    json_decref(json);
    assert_int_equal(parse_many("0", 2 << 20, &json), BFT_OK);
    json_decref(json);
}

static size_t blocks_left;

static void *give_few(size_t size) {
    return blocks_left-- > 0 ? malloc(size) : NULL;
}

static void short_memory_is_not_the_texts_fault(void **state) {
    (void)state;
    static const char text[] = "[1, [2.5, null], {}, [[]]]";
    json_t *json = NULL;
    bft_status status = BFT_FAILED;
    size_t blocks = 0;
    json_set_alloc_funcs(give_few, free);
    for (; status == BFT_FAILED; blocks++) {
        blocks_left = blocks;
        status = bft_json_parse(&err, "x", 1, text, sizeof text - 1, &json);
    }
    json_set_alloc_funcs(malloc, free);
    assert_int_equal(status, BFT_OK);
    assert_true(blocks > 10);
    assert_string_equal(err.message, "x: out of memory while 26 bytes of JSON were read");
    json_decref(json);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_a_million_objects),
        cmocka_unit_test(short_memory_is_not_the_texts_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
