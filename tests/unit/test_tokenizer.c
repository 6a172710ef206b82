/* test_tokenizer.c: normalisation, words, pieces, added tokens, truncation and saving. All expected ids are those of
 * Hugging Face tokenizers 0.23.3 with the same vocabulary and settings. */
#include "tokenizer_test.h"

static const bft_normalizer uncased = {true, true, true, true}, cased = {true, true, false, false},
                            accents = {true, true, false, true}, together = {true, false, true, true},
                            stripped = {true, true, true, false}, raw = {false, false, false, false};

static bft_tokenizer *from_vocab(bft_normalizer how) {
    bft_tokenizer *tokenizer = NULL;
    write_vocab("vocab.txt");
    assert_int_equal(bft_tokenizer_from_vocab(&err, &tokenizer, "vocab.txt", how), BFT_OK);
    return tokenizer;
}

static void words_and_pieces(void **state) {
    (void)state;
    bft_tokenizer *low = from_vocab(uncased), *same = from_vocab(cased);
    EXPECT(low, "Hello, hello! HELLO", CLS, 28, UNK, 28, 24, 28, SEP);
    EXPECT(same, "Hello hello HELLO", CLS, 31, 28, UNK, SEP);
    EXPECT(low, "", CLS, SEP);
    EXPECT(low, "   \t\n ", CLS, SEP);
    EXPECT(low, "helloa", CLS, 28, 8, SEP);
    EXPECT(low, "q", CLS, UNK, SEP);
    EXPECT(low, "aq", CLS, UNK, SEP);
    EXPECT(low, "aaaab", CLS, 47, 48, 9, SEP);
    EXPECT(low, "##a", CLS, UNK, UNK, 5, SEP);
    bft_tokenizer_destroy(low);
    bft_tokenizer_destroy(same);
}

static void accents_and_case(void **state) {
    (void)state;
    bft_tokenizer *low = from_vocab(uncased), *kept = from_vocab(accents), *bare = from_vocab(stripped),
                  *same = from_vocab(cased);
    EXPECT(low, "É é e\u0301 aé", CLS, 15, 15, 15, 5, 16, SEP);
    EXPECT(kept, "É é aé e\u0301", CLS, 14, 14, 5, 17, UNK, SEP);
    EXPECT(same, "aé É", CLS, 5, 17, UNK, SEP);
    EXPECT(bare, "aé I\u0307 İ", CLS, 5, 16, 13, 13, SEP);
    EXPECT(low, "й Й ё Ё ай", CLS, 18, 18, 33, 33, UNK, SEP);
    EXPECT(kept, "й Й ё Ё", CLS, 20, 20, 32, 32, SEP);
    EXPECT(low, "İ aİ", CLS, 11, 5, 12, SEP);
    EXPECT(kept, "İ aİ", CLS, 11, 37, 5, 12, 37, SEP); /* lowered to two characters */
    EXPECT(low, "aΣ ΑΣ aς", CLS, 5, 35, UNK, 5, 36, SEP);
    EXPECT(kept, "aΣ", CLS, 5, 35, SEP); /* never the final sigma */
    EXPECT(low, "ß ẞ", CLS, 26, 26, SEP);
    EXPECT(low, "한", CLS, 39, 40, 41, SEP);
    EXPECT(same, "한", CLS, 38, SEP);
    EXPECT(low, "a\U0001d16d\u302e", CLS, 5, 45, 46, SEP); /* put into canonical order */
    EXPECT(same, "a\U0001d16d\u302e", CLS, 5, 46, 45, SEP);
    EXPECT(low, "a\U0001d16d\001\u302e", CLS, 5, 45, 46, SEP); /* what is cleaned away doesn't part them */
    bft_tokenizer_destroy(low);
    bft_tokenizer_destroy(kept);
    bft_tokenizer_destroy(bare);
    bft_tokenizer_destroy(same);
}

static void cleaning_and_chinese(void **state) {
    (void)state;
    bft_tokenizer *low = from_vocab(uncased), *as_is = from_vocab(raw), *joined = from_vocab(together);
    EXPECT(low, "中文a中", CLS, 22, 23, 5, 22, SEP);
    EXPECT(joined, "中文a中", CLS, UNK, SEP);
    EXPECT(low, "a\0b", CLS, 49, SEP);
    EXPECT(as_is, "a\0b", CLS, UNK, SEP);
    EXPECT(low, "a\uFFFDb", CLS, 49, SEP);
    EXPECT(low, "a\u200Bb\u00ADc", CLS, 49, 10, SEP);
    EXPECT(low, "a\u2003b\u00A0c\u3000a", CLS, 5, 6, 7, 5, SEP);
    EXPECT(low, "a\302\205b", CLS, 49, SEP); /* U+0085 is a control when cleaning, else a space */
    EXPECT(as_is, "a\u2003b\302\205c", CLS, 5, 6, 7, SEP);
    EXPECT(low, "\U0010FFFFa", CLS, UNK, SEP);
    EXPECT(low,
           "a\xFF\xC3(\xE4\xB8"
           "b",
           CLS, 5, UNK, 6, SEP); /* broken UTF-8 reads as U+FFFD, and is cleaned away */
    bft_tokenizer_destroy(low);
    bft_tokenizer_destroy(as_is);
    bft_tokenizer_destroy(joined);
}

static void expect_run(const bft_tokenizer *tokenizer, const char *piece, int times, size_t count, uint32_t last) {
    bft_buffer text = {0};
    bft_encoding encoding = {0};
    for (int i = 0; i < times; i++) {
        assert_int_equal(bft_buffer_printf(&err, &text, "%s", piece), BFT_OK);
    }
    assert_int_equal(bft_tokenizer_encode(&err, tokenizer, text.data, text.length, NULL, 0, 0, &encoding), BFT_OK);
    assert_int_equal(encoding.count, count);
    assert_int_equal(encoding.ids[count - 2], last);
    bft_encoding_free(&encoding);
    bft_buffer_free(&text);
}

static void long_words(void **state) {
    (void)state;
    bft_tokenizer *low = from_vocab(uncased), *same = from_vocab(cased);
    expect_run(low, "a", 100, 52, 48);
    expect_run(low, "a", 101, 3, UNK);
    expect_run(low, "a\u0301\u0302", 100, 52, 48); /* characters count after normalization */
    expect_run(low, "a\u0301", 101, 3, UNK);
    expect_run(same, "é", 100, 102, 17);
    expect_run(same, "é", 101, 3, UNK);
    expect_run(same, "a!", 200, 402, 24);
    bft_tokenizer_destroy(low);
    bft_tokenizer_destroy(same);
}

static void special_tokens(void **state) {
    (void)state;
    bft_tokenizer *low = from_vocab(uncased);
    EXPECT(low, "[CLS] a[SEP]b [sep] [MASK]", CLS, CLS, 5, SEP, 6, 42, 44, 43, MASK, SEP);
    EXPECT(low, "[ MASK ]", CLS, 42, UNK, 43, SEP);
    EXPECT(low, "[[SEP]]", CLS, 42, SEP, 43, SEP);
    EXPECT(low, "[SEP", CLS, 42, 44, SEP);
    bft_tokenizer_destroy(low);
}

#define TOKEN(content, single, left, right, normalized)                                                                \
    ",{\"id\":0,\"content\":\"" content "\",\"single_word\":" #single ",\"lstrip\":" #left ",\"rstrip\":" #right       \
    ",\"normalized\":" #normalized ",\"special\":false}"

static void write_added(void) {
    write_json("tokenizer.json", uncased,
               TOKEN("<L>", false, true, false, false) TOKEN("<R>", false, false, true, false)
                   TOKEN("one", true, false, false, false) TOKEN("Élan", false, false, false, true)
                       TOKEN("ab", false, false, false, false) TOKEN("abc", false, false, false, false)
                           TOKEN("bcaa", false, false, false, false) TOKEN("<L>", false, true, true, false)
                               TOKEN("", false, false, false, false));
}

static void expect_added(const bft_tokenizer *tokenizer) {
    assert_int_equal(bft_tokenizer_size(tokenizer), 56); /* "ab" is in the vocabulary, the empty one is ignored */
    assert_string_equal(bft_tokenizer_token(tokenizer, 53), "Élan");
    EXPECT(tokenizer, "a <L>  a", CLS, 5, 50, 5, SEP);
    EXPECT(tokenizer, "a <R>  a", CLS, 5, 51, 5, SEP);
    EXPECT(tokenizer, "one ones _one one!", CLS, 52, UNK, UNK, UNK, 52, 24, SEP);
    EXPECT(tokenizer, "eone", CLS, UNK, SEP);
    EXPECT(tokenizer, "ELAN élan Élan elans", CLS, 53, 53, 53, 53, UNK, SEP);
    EXPECT(tokenizer, "abcaa", CLS, 54, 47, SEP); /* leftmost, then longest */
    EXPECT(tokenizer, "abbcaa", CLS, 49, 55, SEP);
    EXPECT(tokenizer, "AB ab", CLS, 49, 49, SEP);
    EXPECT(tokenizer, "a\u2003<L>\302\205\u2028b", CLS, 5, 50, 6, SEP);
}

static void added_tokens(void **state) {
    (void)state;
    write_added();
    bft_tokenizer *tokenizer = open_folder(".");
    expect_added(tokenizer);
    bft_tokenizer_destroy(tokenizer);
    unlink("tokenizer.json");
}

/* Tokens that are spaces, and take more of them along: what one has taken is no token any more. */
static void added_spaces(void **state) {
    (void)state;
    write_json("tokenizer.json", uncased, TOKEN(" ", false, true, true, false) TOKEN("b ", false, false, true, false));
    bft_tokenizer *tokenizer = open_folder(".");
    EXPECT(tokenizer, "   ", CLS, 50, SEP);
    EXPECT(tokenizer, "a   a a", CLS, 5, 50, 5, 50, 5, SEP);
    EXPECT(tokenizer, "b   a b", CLS, 51, 5, 50, 6, SEP);
    bft_tokenizer_destroy(tokenizer);
    unlink("tokenizer.json");
}

static void truncated_pairs(void **state) {
    (void)state;
    bft_tokenizer *low = from_vocab(uncased);
    static const struct {
        size_t limit, first, count; /* of the first segment, with [CLS] and its [SEP] */
        const char *a, *b;
        uint32_t ids[13];
    } cases[] = {
        {3, 2, 3, "a b c a", "b", {CLS, SEP, SEP}},
        {4, 3, 4, "a b c", "a b", {CLS, 5, SEP, SEP}},
        {4, 2, 4, "a", "a b c a", {CLS, SEP, 5, SEP}},
        {5, 3, 5, "a b c a", "b", {CLS, 5, SEP, 6, SEP}},
        {6, 4, 6, "a b c a b c", "b b b b", {CLS, 5, 6, SEP, 6, SEP}},
        {6, 3, 6, "a", "a b c a", {CLS, 5, SEP, 5, 6, SEP}},
        {7, 4, 7, "a b c a b c", "b b b b", {CLS, 5, 6, SEP, 6, 6, SEP}},
        {7, 5, 7, "a b c a", "b", {CLS, 5, 6, 7, SEP, 6, SEP}},
        {10, 6, 10, "a b c a b c", "b b b b", {CLS, 5, 6, 7, 5, SEP, 6, 6, 6, SEP}},
        {0, 8, 13, "a b c a b c", "b b b b", {CLS, 5, 6, 7, 5, 6, 7, SEP, 6, 6, 6, 6, SEP}},
        {9, 2, 3, "", "", {CLS, SEP, SEP}},
    };
    bft_encoding encoding = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(bft_tokenizer_encode(&err, low, cases[i].a, strlen(cases[i].a), cases[i].b, strlen(cases[i].b),
                                              cases[i].limit, &encoding),
                         BFT_OK);
        assert_ids(&encoding, cases[i].a, cases[i].ids, cases[i].count);
        for (size_t k = 0; k < encoding.count; k++) {
            assert_int_equal(encoding.types[k], k >= cases[i].first);
        }
    }
    bft_encoding_free(&encoding);
    bft_tokenizer_destroy(low);
}

static void truncated_texts(void **state) {
    (void)state;
    bft_tokenizer *low = from_vocab(uncased);
    bft_encoding encoding = {0};
    assert_int_equal(bft_tokenizer_encode(&err, low, "a b [MASK] c", 12, NULL, 0, 5, &encoding), BFT_OK);
    assert_ids(&encoding, "cut to 5", (uint32_t[]){CLS, 5, 6, MASK, SEP}, 5);
    assert_int_equal(bft_tokenizer_encode(&err, low, "aaaab c", 7, NULL, 0, 4, &encoding), BFT_OK);
    assert_ids(&encoding, "cut inside a word", (uint32_t[]){CLS, 47, 48, SEP}, 4);
    assert_int_equal(bft_tokenizer_encode(&err, low, "a b c", 5, NULL, 0, 2, &encoding), BFT_OK);
    assert_ids(&encoding, "cut to 2", (uint32_t[]){CLS, SEP}, 2);
    assert_int_equal(bft_tokenizer_encode(&err, low, "a", 1, NULL, 0, 1, &encoding), BFT_BAD);
    assert_string_equal(err.message, "a limit of 1 ids has no room for 2 special tokens");
    assert_int_equal(bft_tokenizer_encode(&err, low, "a", 1, "b", 1, 2, &encoding), BFT_BAD);
    assert_int_equal(bft_tokenizer_encode(&err, low, NULL, 0, NULL, 0, 0, &encoding), BFT_OK);
    assert_ids(&encoding, "nothing", (uint32_t[]){CLS, SEP}, 2);
    bft_encoding_free(&encoding);
    bft_tokenizer_destroy(low);
}

static void assert_same_file(const char *first, const char *second) {
    char command[256];
    snprintf(command, sizeof command, "cmp '%s' '%s'", first, second);
    assert_int_equal(system(command), 0);
}

static void saving(void **state) {
    (void)state;
    write_added();
    bft_tokenizer *tokenizer = open_folder(".");
    assert_int_equal(bft_tokenizer_save(&err, tokenizer, "saved"), BFT_OK);
    bft_tokenizer_destroy(tokenizer);
    tokenizer = open_folder("saved");
    expect_added(tokenizer);
    assert_int_equal(bft_tokenizer_save(&err, tokenizer, "again"), BFT_OK);
    bft_tokenizer_destroy(tokenizer);
    write_vocab("vocab.txt");
    assert_same_file("saved/vocab.txt", "vocab.txt");
    assert_same_file("saved/vocab.txt", "again/vocab.txt");
    assert_same_file("saved/tokenizer.json", "again/tokenizer.json");
    assert_same_file("saved/tokenizer_config.json", "again/tokenizer_config.json");
    assert_same_file("saved/special_tokens_map.json", "again/special_tokens_map.json");
    unlink("tokenizer.json");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_and_pieces), cmocka_unit_test(accents_and_case), cmocka_unit_test(cleaning_and_chinese),
        cmocka_unit_test(long_words),       cmocka_unit_test(special_tokens),   cmocka_unit_test(added_tokens),
        cmocka_unit_test(added_spaces),     cmocka_unit_test(truncated_pairs),  cmocka_unit_test(truncated_texts),
        cmocka_unit_test(saving),
    };
    return cmocka_run_group_tests(tests, scratch_enter, scratch_leave);
}
