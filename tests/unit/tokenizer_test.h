/* tokenizer_test.h: a small vocabulary for the tests of the tokenizer, and short ways to write and compare. */
#ifndef BFT_TESTS_TOKENIZER_TEST_H
#define BFT_TESTS_TOKENIZER_TEST_H

#include "scratch.h"

#include "bertft/tokenizer.h"
#include "base/buffer.h"

static bft_error err;

/* 50 tokens; their places are their ids. */
static const char *const vocabulary[] = {
    "[PAD]",    "[UNK]",        "[CLS]", "[SEP]", "[MASK]", "a",    "b", "c",   "##a",
    "##b",      "##c",          "i",     "##i",   "I",      "é",    "e", "##e", "##é",
    "и",        "##и",          "й",     "##й",   "中",     "文",   "!", ".",   "ß",
    "##s",      "hello",        "##lo",  "hel",   "Hello",  "ё",    "е", "σ",   "##σ",
    "##ς",      "##\u0307",     "한",    "ᄒ",    "##ᅡ",   "##ᆫ", "[", "]",   "sep",
    "##\u302e", "##\U0001d16d", "aa",    "##aa",  "ab"};
enum { PAD, UNK, CLS, SEP, MASK, VOCABULARY = sizeof vocabulary / sizeof *vocabulary };

/* A tokenizer.json of this vocabulary; `added` follows the five special tokens. */
static inline void write_json(const char *name, bft_normalizer how, const char *added) {
    static const char *const truth[] = {"false", "true"};
    bft_buffer out = {0};
    assert_int_equal(bft_buffer_printf(&err, &out, "{\"truncation\": {\"max_length\": 3}, \"added_tokens\": ["),
                     BFT_OK);
    for (int i = 0; i <= MASK; i++) {
        bft_buffer_printf(&err, &out,
                          "%s{\"id\":%d,\"content\":\"%s\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
                          "\"normalized\":false,\"special\":true}",
                          i > 0 ? "," : "", i, vocabulary[i]);
    }
    bft_buffer_printf(
        &err, &out,
        "%s], \"normalizer\": {\"type\": \"BertNormalizer\", \"clean_text\": %s, "
        "\"handle_chinese_chars\": %s, \"strip_accents\": %s, \"lowercase\": %s}, "
        "\"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"}, "
        "\"post_processor\": {\"type\": \"BertProcessing\", \"sep\": [\"[SEP]\", 3], \"cls\": [\"[CLS]\", 2]}, "
        "\"model\": {\"type\": \"WordPiece\", \"unk_token\": \"[UNK]\", \"continuing_subword_prefix\": "
        "\"##\", \"max_input_chars_per_word\": 100, \"vocab\": {",
        added, truth[how.clean_text], truth[how.chinese_chars], truth[how.strip_accents], truth[how.lowercase]);
    for (int i = 0; i < VOCABULARY; i++) {
        bft_buffer_printf(&err, &out, "%s\"%s\": %d", i > 0 ? ", " : "", vocabulary[i], i);
    }
    assert_int_equal(bft_buffer_printf(&err, &out, "}}}"), BFT_OK);
    scratch_write(name, out.data, out.length);
    bft_buffer_free(&out);
}

static inline void write_vocab(const char *name) {
    bft_buffer out = {0};
    for (int i = 0; i < VOCABULARY; i++) {
        assert_int_equal(bft_buffer_printf(&err, &out, "%s\n", vocabulary[i]), BFT_OK);
    }
    scratch_write(name, out.data, out.length);
    bft_buffer_free(&out);
}

static inline bft_tokenizer *open_folder(const char *folder) {
    bft_tokenizer *tokenizer = NULL;
    if (bft_tokenizer_open(&err, &tokenizer, folder) != BFT_OK) {
        fail_msg("%s", err.message);
    }
    return tokenizer;
}

static inline void assert_ids(const bft_encoding *encoding, const char *label, const uint32_t *want, size_t count) {
    if (encoding->count != count || memcmp(encoding->ids, want, count * sizeof *want) != 0) {
        for (size_t i = 0; i < encoding->count; i++) {
            print_error("%u ", encoding->ids[i]);
        }
        fail_msg("are the ids of \"%s\"", label);
    }
}

/* Encodes alone, without a limit, and compares with the ids that follow. */
#define EXPECT(tokenizer, text, ...)                                                                                   \
    do {                                                                                                               \
        bft_encoding encoding_ = {0};                                                                                  \
        assert_int_equal(bft_tokenizer_encode(&err, tokenizer, text, sizeof(text) - 1, NULL, 0, 0, &encoding_),        \
                         BFT_OK);                                                                                      \
        assert_ids(&encoding_, text, (const uint32_t[]){__VA_ARGS__},                                                  \
                   sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t));                                        \
        bft_encoding_free(&encoding_);                                                                                 \
    } while (0)

#endif
