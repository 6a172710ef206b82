/* test_tokenizer_quick.c: the short way through a text against the long one, and many texts on threads against one. */
#include "tokenizer_test.h"

#include "base/thread.h"
#include "text/internal.h"

/* An added token that is looked for in the normal form leaves all texts to the long way. */
static const char never[] = ",{\"content\": \"qqqqqqqqqqqq\", \"normalized\": true}";
static const char some[] = ",{\"content\": \"_x\", \"single_word\": true, \"normalized\": false},"
                           "{\"content\": \"é!\", \"lstrip\": true, \"rstrip\": true, \"normalized\": false}";

static unsigned seed = 1;

static unsigned next_random(unsigned below) {
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

/* Words of all kinds, with everything between them that may end a word or belong to it, and broken bytes. */
static const char *const parts[] = {" ",
                                    " ",
                                    " ",
                                    "\n",
                                    "\t",
                                    "a",
                                    "B",
                                    "hello",
                                    "Hello",
                                    "aaaab",
                                    "и",
                                    "Й",
                                    "ёЁ",
                                    "слово",
                                    "СЛОВО",
                                    "i",
                                    "I",
                                    "İ",
                                    "é",
                                    "E\u0301",
                                    "\u0301",
                                    "\u0300",
                                    "\u0345",
                                    "\u302e",
                                    "\u302f",
                                    "中",
                                    "文",
                                    "!",
                                    "...",
                                    "_",
                                    "_x",
                                    "é!",
                                    "[SEP]",
                                    "[sep]",
                                    "[",
                                    "«",
                                    "»",
                                    "—",
                                    "\u2009",
                                    "\u200b",
                                    "\u00ad",
                                    "\u00a0",
                                    "\u2028",
                                    "ß",
                                    "ς",
                                    "12",
                                    "w0rd9",
                                    "\xff",
                                    "\xd0",
                                    "\xe2\x80",
                                    "\xf0\x9f",
                                    "👍",
                                    "한",
                                    "\x01",
                                    "0",
                                    "@`{|}",
                                    "AZaz09",
                                    "\u0480",
                                    "\u0482",
                                    "\u0483",
                                    "\u07ff",
                                    "\u0800",
                                    "\u2000",
                                    "\u207f",
                                    "²",
                                    "ffffffffff",
                                    "ïïïïïïïïïïïïïïïïïïïïï",
                                    "шшшшшшшшшшшшшшшшшшшшшшшш",
                                    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"};

/* Some of the parts, and zero bytes. */
static size_t make_text(char *out, size_t room) {
    size_t length = 0, count = next_random(12);
    for (size_t i = 0; i < count; i++) {
        const char *part = parts[next_random(sizeof parts / sizeof *parts)];
        if (next_random(60) == 0) {
            part = "\0";
        }
        size_t bytes = *part != '\0' ? strlen(part) : 1;
        if (length + bytes > room) {
            break;
        }
        memcpy(out + length, part, bytes);
        length += bytes;
    }
    return length;
}

static void compare(const bft_tokenizer *quick, const bft_tokenizer *slow) {
    bft_encoding a = {0}, b = {0};
    assert_non_null(quick->quick.characters);
    assert_null(slow->quick.characters);
    for (int round = 0; round < 10000; round++) {
        char text[1024 + 1];
        size_t length = make_text(text, sizeof text - 1), limit = next_random(3) == 0 ? 2 + next_random(8) : 0;
        char *exact = malloc(length + 1); /* a read behind it is seen */
        char *start = exact + 1;
        memcpy(start, text, length);
        assert_int_equal(bft_tokenizer_encode(&err, quick, start, length, NULL, 0, limit, &a), BFT_OK);
        assert_int_equal(bft_tokenizer_encode(&err, slow, start, length, NULL, 0, limit, &b), BFT_OK);
        text[length] = '\0';
        assert_ids(&a, text, b.ids, b.count);
        free(exact);
    }
    bft_encoding_free(&a);
    bft_encoding_free(&b);
}

static bft_tokenizer *make(bft_normalizer how, const char *first, const char *second) {
    char added[512];
    snprintf(added, sizeof added, "%s%s", first, second);
    write_json("tokenizer.json", how, added);
    return open_folder(".");
}

static void both_ways_agree(void **state) {
    (void)state;
    for (unsigned bits = 0; bits < 32; bits++) {
        bft_normalizer how = {(bits & 1) == 0, (bits & 2) == 0, (bits & 4) == 0, (bits & 8) == 0};
        const char *added = (bits & 16) != 0 ? some : "";
        bft_tokenizer *quick = make(how, added, ""), *slow = make(how, added, never);
        compare(quick, slow);
        bft_tokenizer_destroy(quick);
        bft_tokenizer_destroy(slow);
    }
}

/* One encoding serves several tokenizers, and doesn't take the words of one for those of another. */
static void words_are_not_mixed_up(void **state) {
    (void)state;
    bft_encoding encoding = {0};
    for (int i = 0; i < 20; i++) {
        bft_normalizer how = {.clean_text = true, .lowercase = i % 2 == 0};
        bft_tokenizer *tokenizer = make(how, "", "");
        assert_int_equal(bft_tokenizer_encode(&err, tokenizer, "Hello", 5, NULL, 0, 0, &encoding), BFT_OK);
        assert_ids(&encoding, "Hello", (uint32_t[]){CLS, how.lowercase ? 28 : 31, SEP}, 3);
        bft_tokenizer_destroy(tokenizer);
    }
    bft_encoding_free(&encoding);
}

static void threads_change_nothing(void **state) {
    (void)state;
    enum { TEXTS = 5000, ROOM = 200 };
    static char bytes[TEXTS][ROOM];
    static bft_string texts[TEXTS];
    bft_tokenizer *tokenizer = make((bft_normalizer){true, true, true, true}, some, "");
    for (size_t i = 0; i < TEXTS; i++) {
        texts[i] = (bft_string){bytes[i], make_text(bytes[i], ROOM)};
    }
    bft_encodings all = {0};
    bft_encoding one = {0};
    for (int threads = 0; threads <= 5; threads++) {
        bft_pool *pool = NULL;
        assert_int_equal(threads > 0 ? bft_pool_create(&err, &pool, threads) : BFT_OK, BFT_OK);
        for (size_t count = TEXTS, limit = 0; count > 0; count /= 20, limit = 5) {
            assert_int_equal(bft_tokenizer_encode_all(&err, tokenizer, pool, texts, count, limit, &all), BFT_OK);
            assert_int_equal(all.count, count);
            for (size_t i = 0; i < count; i++) {
                assert_int_equal(
                    bft_tokenizer_encode(&err, tokenizer, texts[i].data, texts[i].length, NULL, 0, limit, &one),
                    BFT_OK);
                assert_ids(&one, "one of many", all.texts[i].ids, all.texts[i].count);
            }
        }
        assert_int_equal(bft_tokenizer_encode_all(&err, tokenizer, pool, texts, 0, 0, &all), BFT_OK);
        assert_int_equal(bft_tokenizer_encode_all(&err, tokenizer, pool, texts, TEXTS, 1, &all), BFT_BAD);
        assert_string_equal(err.message, "a limit of 1 ids has no room for 2 special tokens");
        bft_pool_destroy(pool);
    }
    bft_encodings_free(&all);
    bft_encoding_free(&one);
    bft_tokenizer_destroy(tokenizer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways_agree),
        cmocka_unit_test(words_are_not_mixed_up),
        cmocka_unit_test(threads_change_nothing),
    };
    return cmocka_run_group_tests(tests, scratch_enter, scratch_leave);
}
