/* test_learner.c: vocabularies that can be worked out by hand; the same one whatever the order of the texts. */
#include "tokenizer_test.h"

#include "bertft/vocab.h"

static bft_learner_setup setup;

static int set_up(void **state) {
    (void)state;
    setup = bft_learner_defaults();
    setup.size = 100;
    return 0;
}

static bft_status try_to_learn(size_t count, const char *const *texts, bft_tokenizer **out) {
    bft_learner *learner;
    assert_int_equal(bft_learner_create(&err, &learner, &setup), BFT_OK);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(bft_learner_add(&err, learner, texts[i], strlen(texts[i])), BFT_OK);
    }
    bft_status status = bft_learner_finish(&err, learner, NULL, out);
    bft_learner_destroy(learner);
    return status;
}

/* The tokens but the special ones, with a blank between. */
static void learn(size_t count, const char *const *texts, bft_buffer *out) {
    bft_tokenizer *tokenizer;
    bft_buffer_clear(out);
    if (try_to_learn(count, texts, &tokenizer) != BFT_OK) {
        fail_msg("%s", err.message);
    }
    for (uint32_t id = 0; id < bft_tokenizer_size(tokenizer); id++) {
        const char *token = bft_tokenizer_token(tokenizer, id);
        if (id <= MASK) {
            assert_string_equal(token, vocabulary[id]);
        } else {
            bft_buffer_printf(&err, out, "%s%s", id > MASK + 1 ? " " : "", token);
        }
    }
    bft_tokenizer_destroy(tokenizer);
}

#define LEARNS(want, ...)                                                                                              \
    do {                                                                                                               \
        const char *const texts_[] = {__VA_ARGS__};                                                                    \
        bft_buffer got_ = {0};                                                                                         \
        learn(sizeof texts_ / sizeof *texts_, texts_, &got_);                                                          \
        assert_string_equal(got_.data, want);                                                                          \
        bft_buffer_free(&got_);                                                                                        \
    } while (0)

/* The words are abc 3, bc 2, abd 1, the pairs a ##b 4, ##b ##c 3, b ##c 2, ##b ##d 1. So ab comes first; then ab ##c, which stands
 * where ##b ##c stood, 3; then b ##c; ab ##d is too rare. */
static void test_by_hand(void **state) {
    (void)state;
    LEARNS("a b c d ##b ##c ##d ab abc bc", "abc bc abd", "abc", "abc\tbc");
}

/* All pairs of equal counts: the lowest ids first, which follow the code points, letters at a word's start before others. */
static void test_ties(void **state) {
    (void)state;
    LEARNS("a b c d ##b ##d ab cd", "cd ab ab cd");
    LEARNS("a b c ##b ##c ab abc", "abc abc");
}

/* a ##a ##a ##a, twice: ##a ##a overlaps itself, 6 times counted; from the left it becomes ##aa ##a, and a ##aa is next. */
static void test_overlaps(void **state) {
    (void)state;
    LEARNS("a ##a ##aa aaa aaaa", "aaaa aaaa");
}

static void test_size_and_count(void **state) {
    (void)state;
    static const char text[] = "abc bc abd abc abc bc";
    setup.size = 5 + 8;
    LEARNS("a b c d ##b ##c ##d ab", text);
    setup.size = 100;
    setup.min_count = 3;
    LEARNS("a b c d ##b ##c ##d ab abc", text);
    setup.min_count = 1;
    LEARNS("a b c d ##b ##c ##d ab abc bc abd", text);
}

static void test_casing_and_accents(void **state) {
    (void)state;
    LEARNS("е л ##л ел", "Ёл ёл");
    setup.normalizer.strip_accents = false;
    LEARNS("л ё ##л ёл", "Ёл ёл");
    setup.normalizer.lowercase = false;
    LEARNS("Ё л ё ##л", "Ёл ёл");
    setup.normalizer.strip_accents = true;
    LEARNS("Е е л ##л", "Ёл ёл");
}

static void test_chinese(void **state) {
    (void)state;
    LEARNS("中 文", "中文 中文");
    setup.normalizer.chinese_chars = false;
    LEARNS("中 文 ##文 中文", "中文 中文");
}

/* Of four characters three stay; those of equal counts by code points. A word with another is no part of it. */
static void test_alphabet(void **state) {
    (void)state;
    setup.alphabet = 3;
    LEARNS("a b c ##b ab", "ab ab cz cz c d");
}

static void test_punctuation_and_bytes(void **state) {
    (void)state;
    LEARNS("! a b ##b ab", "ab!ab",
           "\xff"
           "ab\xc3!");
}

static void test_long_words(void **state) {
    (void)state;
    char text[256] = "";
    for (int i = 0; i < 100; i++) {
        strcat(text, "ж");
    }
    bft_learner *learner;
    assert_int_equal(bft_learner_create(&err, &learner, &setup), BFT_OK);
    assert_int_equal(bft_learner_add(&err, learner, text, strlen(text)), BFT_OK);
    strcat(text, "ж");
    assert_int_equal(bft_learner_add(&err, learner, text, strlen(text)), BFT_OK);
    bft_learner_counts counts = bft_learner_count(learner);
    assert_int_equal(counts.words, 1);
    assert_int_equal(counts.different, 1);
    assert_int_equal(counts.left_out, 1);
    bft_learner_destroy(learner);
}

static void test_errors(void **state) {
    (void)state;
    bft_tokenizer *tokenizer;
    const char *const nothing[] = {"", " \n"}, *const letters[] = {"abc"};
    assert_int_equal(try_to_learn(2, nothing, &tokenizer), BFT_BAD);
    assert_non_null(strstr(err.message, "no words"));
    setup.size = 9;
    assert_int_equal(try_to_learn(1, letters, &tokenizer), BFT_BAD);
    assert_non_null(strstr(err.message, "no room for its alphabet of 3 characters"));
    assert_non_null(strstr(err.message, "take 10"));
    setup.size = SIZE_MAX;
    bft_learner *learner;
    assert_int_equal(bft_learner_create(&err, &learner, &setup), BFT_BAD);
}

/* Some thousand words of few letters, so that there are many ties; forwards, backwards, and in one text. */
static void test_order_does_not_matter(void **state) {
    (void)state;
    enum { TEXTS = 3000 };
    static char texts[TEXTS][16];
    const char *order[TEXTS];
    bft_buffer forwards = {0}, backwards = {0}, together = {0}, joined = {0};
    uint32_t random = 1;
    for (int i = 0; i < TEXTS; i++) {
        for (int k = 0; k < 12; k++) {
            random = random * 1664525u + 1013904223u;
            texts[i][k] = random >> 24 < 48 ? ' ' : (char)('a' + (random >> 20) % 7);
        }
        bft_buffer_printf(&err, &joined, "%s ", texts[i]);
        order[i] = texts[i];
    }
    setup.size = 600;
    learn(TEXTS, order, &forwards);
    for (int i = 0; i < TEXTS; i++) {
        order[i] = texts[TEXTS - 1 - i];
    }
    learn(TEXTS, order, &backwards);
    learn(1, (const char *const[]){joined.data}, &together);
    assert_string_equal(forwards.data, backwards.data);
    assert_string_equal(forwards.data, together.data);
    assert_true(forwards.length > 600 * 3);
    bft_buffer_free(&forwards);
    bft_buffer_free(&backwards);
    bft_buffer_free(&together);
    bft_buffer_free(&joined);
}

/* What is written gives the same ids when it is read. */
static void test_saved(void **state) {
    (void)state;
    const char *const texts[] = {"Hello, hello world! Мир", "мир мир 中文"}, *text = "Hello мир, 文 [MASK]!";
    bft_tokenizer *learnt, *read;
    bft_encoding a = {0}, b = {0};
    assert_int_equal(try_to_learn(2, texts, &learnt), BFT_OK);
    assert_int_equal(bft_tokenizer_save(&err, learnt, "saved"), BFT_OK);
    read = open_folder("saved");
    assert_int_equal(bft_tokenizer_encode(&err, learnt, text, strlen(text), NULL, 0, 0, &a), BFT_OK);
    assert_int_equal(bft_tokenizer_encode(&err, read, text, strlen(text), NULL, 0, 0, &b), BFT_OK);
    assert_int_equal(a.count, 8);
    assert_int_equal(a.ids[5], MASK);
    assert_ids(&b, text, a.ids, a.count);
    bft_encoding_free(&a);
    bft_encoding_free(&b);
    bft_tokenizer_destroy(learnt);
    bft_tokenizer_destroy(read);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup(name, set_up)
    const struct CMUnitTest tests[] = {TEST(test_by_hand),
                                       TEST(test_ties),
                                       TEST(test_overlaps),
                                       TEST(test_size_and_count),
                                       TEST(test_casing_and_accents),
                                       TEST(test_chinese),
                                       TEST(test_alphabet),
                                       TEST(test_punctuation_and_bytes),
                                       TEST(test_long_words),
                                       TEST(test_errors),
                                       TEST(test_order_does_not_matter),
                                       TEST(test_saved)};
    return cmocka_run_group_tests(tests, scratch_enter, scratch_leave);
}
