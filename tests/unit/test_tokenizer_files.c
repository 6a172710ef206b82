/* test_tokenizer_files.c: the settings of tokenizer folders, and files that are wrong or hostile. Expected ids are those
 * of transformers 5.23.0 on the same folder. */
#include "tokenizer_test.h"

#include "base/file.h"

#include <sys/stat.h>
#include <time.h>

static const bft_normalizer uncased = {true, true, true, true};

static void forget_all(void) {
    unlink("tokenizer.json");
    unlink("vocab.txt");
    unlink("tokenizer_config.json");
    unlink("special_tokens_map.json");
    unlink("added_tokens.json");
}

static void expect_error(const char *message) {
    bft_tokenizer *tokenizer = NULL;
    assert_int_equal(bft_tokenizer_open(&err, &tokenizer, "."), BFT_BAD);
    assert_null(tokenizer);
    assert_string_equal(err.message, message);
}

/* The good tokenizer.json with one place changed. */
static void change_json(const char *from, const char *to) {
    bft_buffer good = {0}, bad = {0};
    write_json("tokenizer.json", uncased, "");
    assert_int_equal(bft_file_read(&err, "tokenizer.json", 1 << 20, &good), BFT_OK);
    const char *place = strstr(good.data, from);
    assert_non_null(place);
    assert_int_equal(bft_buffer_append(&err, &bad, good.data, (size_t)(place - good.data)), BFT_OK);
    assert_int_equal(bft_buffer_printf(&err, &bad, "%s%s", to, place + strlen(from)), BFT_OK);
    scratch_write("tokenizer.json", bad.data, bad.length);
    bft_buffer_free(&good);
    bft_buffer_free(&bad);
}

static void unsupported_parts(void **state) {
    (void)state;
    static const char *const cases[][3] = {
        {"\"BertNormalizer\"", "\"Lowercase\"",
         "./tokenizer.json: normalizer of type Lowercase is not supported; BertNormalizer is"},
        {"\"BertPreTokenizer\"", "\"Whitespace\"",
         "./tokenizer.json: pre_tokenizer of type Whitespace is not supported; BertPreTokenizer is"},
        {"\"BertProcessing\"", "\"RobertaProcessing\"",
         "./tokenizer.json: post_processor of type RobertaProcessing is not supported; TemplateProcessing or "
         "BertProcessing is"},
        {"\"WordPiece\"", "\"BPE\"", "./tokenizer.json: model of type BPE is not supported; WordPiece is"},
        {"\"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"}", "\"pre_tokenizer\": null",
         "./tokenizer.json: pre_tokenizer of type null is not supported; BertPreTokenizer is"},
        {"\"BertProcessing\", \"sep\"", "\"TemplateProcessing\", \"single\": [], \"sep\"",
         "./tokenizer.json: post_processor: BERT's template, [CLS] A [SEP] B [SEP] with types 0 and 1, is expected"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        change_json(cases[i][0], cases[i][1]);
        expect_error(cases[i][2]);
    }
    forget_all();
}

static void wrong_values(void **state) {
    (void)state;
    static const char *const cases[][3] = {
        {"\"clean_text\": true", "\"clean_text\": 1", "./tokenizer.json: clean_text: true or false is expected"},
        {"\"strip_accents\": true", "\"strip_accents\": \"\"",
         "./tokenizer.json: strip_accents: true or false is expected"},
        {"\"max_input_chars_per_word\": 100", "\"max_input_chars_per_word\": -1",
         "./tokenizer.json: model: max_input_chars_per_word: a number from 0 to 1000 is expected"},
        {"\"max_input_chars_per_word\": 100", "\"max_input_chars_per_word\": 1001",
         "./tokenizer.json: model: max_input_chars_per_word: a number from 0 to 1000 is expected"},
        {"\"unk_token\": \"[UNK]\"", "\"unk_token\": \"<unk>\"",
         "./tokenizer.json: the vocabulary lacks the special token \"<unk>\""},
        {"[\"[SEP]\", 3]", "[\"[SEP]\", 50]", "./tokenizer.json: the vocabulary lacks the special token \"[SEP]\""},
        {"[\"[SEP]\", 3]", "[\"[SEP]\", -3]", "./tokenizer.json: post_processor: an id is expected"},
        {"[\"[SEP]\", 3]", "[]",
         "./tokenizer.json: post_processor: a token and its id for \"cls\" and \"sep\" is expected"},
        {"\"hello\": 28", "\"hello\": 29", "./tokenizer.json: the tokens \"##lo\" and \"hello\" have the same id 29"},
        {"\"hello\": 28", "\"hello\": -1", "./tokenizer.json: model: vocab: an id is expected"},
        {"\"hello\": 28", "\"hello\": 28.5", "./tokenizer.json: model: vocab: an id is expected"},
        {"\"hello\": 28", "\"hello\": 4294967294",
         "./tokenizer.json: the token \"hello\" has the id 4294967294, which is too high for 50 tokens"},
        {"\"vocab\": {", "\"vocab\": [], \"old\": {",
         "./tokenizer.json: model: vocab: an object of tokens and their ids is expected"},
        {"\"vocab\": {", "\"vocab\": {}, \"old\": {", "./tokenizer.json: holds 0 tokens; a vocabulary is expected"},
        {"\"added_tokens\": [", "\"added_tokens\": {}, \"old\": [",
         "./tokenizer.json: added_tokens: a list is expected"},
        {"\"added_tokens\": [", "\"added_tokens\": [7, ",
         "./tokenizer.json: an added token: an object with \"content\" is expected"},
        {"\"lstrip\":false", "\"lstrip\":0", "./tokenizer.json: lstrip: true or false is expected"},
        {"\"added_tokens\": [", "\"added_tokens\": [{\"content\": \"\\u200b\", \"normalized\": true}, ",
         "./tokenizer.json: the added token 50, \"\u200b\", has nothing left after normalization; it needs "
         "\"normalized\": false"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        change_json(cases[i][0], cases[i][1]);
        expect_error(cases[i][2]);
    }
    forget_all();
}

static void not_json(void **state) {
    (void)state;
    bft_tokenizer *tokenizer = NULL;
    static const char *const texts[] = {"", "[", "{\"model\": ", "{\"a\": 1, \"a\": 2}", "{} {}", "\xFF\xFE"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        scratch_write("tokenizer.json", texts[i], strlen(texts[i]));
        assert_int_equal(bft_tokenizer_open(&err, &tokenizer, "."), BFT_BAD);
        assert_non_null(strstr(err.message, "./tokenizer.json:1: not JSON: "));
    }
    bft_buffer deep = {0};
    for (int i = 0; i < 100000; i++) {
        assert_int_equal(bft_buffer_append(&err, &deep, "[", 1), BFT_OK);
    }
    scratch_write("tokenizer.json", deep.data, deep.length);
    bft_buffer_free(&deep);
    assert_int_equal(bft_tokenizer_open(&err, &tokenizer, "."), BFT_BAD);
    assert_int_equal(truncate("tokenizer.json", (off_t)300 << 20), 0);
    expect_error("./tokenizer.json: holds 314572800 bytes, at most 67108864 are expected");
    SCRATCH("tokenizer.json", "[1]");
    expect_error("./tokenizer.json: pre_tokenizer of type null is not supported; BertPreTokenizer is");
    forget_all();
}

static void no_normalizer(void **state) {
    (void)state;
    change_json("\"normalizer\"", "\"normalizer\": null, \"old\"");
    bft_tokenizer *tokenizer = open_folder(".");
    EXPECT(tokenizer, "Hello I HELLO é\0b", CLS, 31, 13, UNK, UNK, SEP);
    bft_tokenizer_destroy(tokenizer);
    forget_all();
}

static void json_settings(void **state) {
    (void)state;
    write_json("tokenizer.json", uncased, "");
    SCRATCH("tokenizer_config.json",
            "{\"do_lower_case\": false, \"model_max_length\": 1000000000000000019884624838656, \"pad_token\": null}");
    SCRATCH("vocab.txt", "not\nread\n");
    bft_tokenizer *tokenizer = open_folder(".");
    assert_true(bft_tokenizer_max_length(tokenizer) == SIZE_MAX);
    assert_int_equal(bft_tokenizer_size(tokenizer), VOCABULARY);
    assert_string_equal(bft_tokenizer_token(tokenizer, 31), "Hello");
    assert_null(bft_tokenizer_token(tokenizer, VOCABULARY));
    EXPECT(tokenizer, "HELLO", CLS, 28, SEP); /* the normalizer of tokenizer.json wins */
    bft_tokenizer_destroy(tokenizer);
    SCRATCH("tokenizer_config.json", "{\"model_max_length\": 512}");
    tokenizer = open_folder("./");
    assert_int_equal(bft_tokenizer_max_length(tokenizer), 512);
    bft_tokenizer_destroy(tokenizer);
    SCRATCH("tokenizer_config.json", "{\"model_max_length\": 0}");
    expect_error("./tokenizer_config.json: model_max_length: a number of 1 or more is expected");
    forget_all();
}

static void vocab_settings(void **state) {
    (void)state;
    write_vocab("vocab.txt");
    bft_tokenizer *tokenizer = open_folder("."); /* lower case unless a configuration says otherwise */
    EXPECT(tokenizer, "HELLO É", CLS, 28, 15, SEP);
    assert_true(bft_tokenizer_max_length(tokenizer) == SIZE_MAX);
    bft_tokenizer_destroy(tokenizer);

    SCRATCH("tokenizer_config.json", "{\"do_lower_case\": true, \"strip_accents\": false, "
                                     "\"tokenize_chinese_chars\": false, \"model_max_length\": 128.0}");
    tokenizer = open_folder(".");
    EXPECT(tokenizer, "HELLO É 中文", CLS, 28, 14, UNK, SEP);
    assert_int_equal(bft_tokenizer_max_length(tokenizer), 128);
    bft_tokenizer_destroy(tokenizer);

    SCRATCH("tokenizer_config.json", "{\"do_lower_case\": false, \"strip_accents\": null, "
                                     "\"tokenizer_class\": \"DistilBertTokenizerFast\"}");
    tokenizer = open_folder(".");
    EXPECT(tokenizer, "Hello é HELLO", CLS, 31, 14, UNK, SEP);
    bft_tokenizer_destroy(tokenizer);

    SCRATCH("tokenizer_config.json", "{\"sep_token\": null}");
    expect_error("./vocab.txt: the tokenizer's settings say that there is no sep_token; BERT needs one");
    SCRATCH("tokenizer_config.json", "{\"do_lower_case\": \"no\"}");
    expect_error("./tokenizer_config.json: do_lower_case: true or false is expected");
    SCRATCH("tokenizer_config.json", "{\"tokenizer_class\": \"BertJapaneseTokenizer\"}");
    expect_error("./tokenizer_config.json: tokenizer_class BertJapaneseTokenizer is not supported without a "
                 "tokenizer.json; BertTokenizer and DistilBertTokenizer are");
    forget_all();
}

static void vocab_added_tokens(void **state) {
    (void)state;
    write_vocab("vocab.txt");
    SCRATCH("special_tokens_map.json",
            "{\"cls_token\": \"a\", \"mask_token\": {\"content\": \"<m>\", \"lstrip\": true},"
            " \"additional_special_tokens\": [\"<x>\"]}");
    SCRATCH("added_tokens.json", "{\"<B>\": 90, \"<A>\": 50}");
    bft_tokenizer *tokenizer = open_folder(".");
    EXPECT(tokenizer, "b <A>  <m> <b><x> [MASK]", 5, 6, 50, 52, 51, 53, 42, UNK, 43, SEP);
    bft_tokenizer_destroy(tokenizer);

    SCRATCH("tokenizer_config.json",
            "{\"added_tokens_decoder\": {\"60\": {\"content\": \"<z>\", \"normalized\": false}, \"7\": {\"content\": "
            "\"<y>\"}}, \"mask_token\": {\"__type\": \"AddedToken\", \"content\": \"<n>\"}}");
    tokenizer = open_folder("."); /* a list of added tokens there makes the other two files void */
    EXPECT(tokenizer, "<y><z><n><x>", CLS, 50, 51, 52, UNK, UNK, UNK, SEP);
    bft_tokenizer_destroy(tokenizer);
    SCRATCH("tokenizer_config.json", "{\"added_tokens_decoder\": {\"60\": 7}}");
    expect_error(".: an added token: an object with \"content\" is expected");
    SCRATCH("tokenizer_config.json", "{\"added_tokens_decoder\": {\"6x\": {\"content\": \"<z>\"}}}");
    expect_error("./tokenizer_config.json: added_tokens_decoder: the entry \"6x\" has no number");
    SCRATCH("tokenizer_config.json", "{}");
    SCRATCH("added_tokens.json", "{\"<B>\": 1e300, \"<A>\": -1e300}"); /* only their order counts */
    tokenizer = open_folder(".");
    EXPECT(tokenizer, "<A><B>", 5, 50, 51, SEP);
    bft_tokenizer_destroy(tokenizer);
    SCRATCH("added_tokens.json", "{\"<B>\": \"90\"}");
    expect_error("./added_tokens.json: the entry \"<B>\" has no number");
    forget_all();
}

/* Tokens that would make each step of a search long: the time must stay near that of reading the text. */
static void hostile_added_tokens(void **state) {
    (void)state;
    enum { LENGTH = 1 << 20 };
    static char text[LENGTH], added[1200], name[1002];
    memset(text, ' ', LENGTH);
    write_json("tokenizer.json", uncased, ",{\"content\":\" \",\"rstrip\":true}");
    bft_tokenizer *tokenizer = open_folder(".");
    bft_encoding encoding = {0};
    clock_t start = clock();
    assert_int_equal(bft_tokenizer_encode(&err, tokenizer, text, LENGTH, NULL, 0, 0, &encoding), BFT_OK);
    assert_true((clock() - start) / CLOCKS_PER_SEC < 20); /* where each space looks for the last one, minutes */
    assert_int_equal(encoding.count, LENGTH + 2);
    bft_encoding_free(&encoding);
    bft_tokenizer_destroy(tokenizer);
    memset(name, 'q', 1001);
    snprintf(added, sizeof added, ",{\"content\":\"%s\"}", name);
    write_json("tokenizer.json", uncased, added);
    expect_error("./tokenizer.json: an added token has 1001 bytes; at most 1000 are supported");
    forget_all();
}

static void vocab_lines(void **state) {
    (void)state;
    SCRATCH("vocab.txt", "[UNK]\r\n[CLS] \xC2\xA0\t\n[SEP]\n\n[PAD]\nb\na");
    bft_tokenizer *tokenizer = open_folder("."); /* what the vocabulary lacks is added behind it */
    EXPECT(tokenizer, "[CLS] a b q [SEP][MASK]", 1, 1, 6, 5, 0, 2, 7, 2);
    assert_string_equal(bft_tokenizer_token(tokenizer, 3), "");
    bft_tokenizer_destroy(tokenizer);
    SCRATCH("vocab.txt", "[UNK]\n[CLS]\n[SEP]\n[PAD]\na\n[MASK]\na");
    tokenizer = open_folder("."); /* the last of equal lines counts */
    EXPECT(tokenizer, "a", 1, 6, 2);
    assert_null(bft_tokenizer_token(tokenizer, 4));
    bft_tokenizer_destroy(tokenizer);
    SCRATCH("vocab.txt", "[UNK]\n[CLS]\n[SEP]\n[PAD]\na\nb\na");
    expect_error("./vocab.txt: the added token \"[MASK]\" gets the id 6, which \"a\" has already");
    forget_all();
}

static void bad_vocab(void **state) {
    (void)state;
    SCRATCH("vocab.txt", "");
    expect_error("./vocab.txt: holds 0 tokens; a vocabulary is expected");
    SCRATCH("vocab.txt", "a\nb\n");
    expect_error("./vocab.txt: the vocabulary lacks the unknown token \"[UNK]\"");
    SCRATCH("vocab.txt", "[UNK]\na\n\xC3(\n");
    expect_error("./vocab.txt:3: is not UTF-8");
    char *lines = malloc((1 << 22) + 1);
    assert_non_null(lines);
    memset(lines, '\n', (1 << 22) + 1);
    scratch_write("vocab.txt", lines, (1 << 22) + 1);
    free(lines);
    expect_error("./vocab.txt: has 4194305 lines, a vocabulary of at most 4194304 is supported");
    forget_all();
    expect_error(".: holds neither a tokenizer.json nor a vocab.txt; a model folder has one of them");
    assert_int_equal(mkdir("vocab.txt", 0700), 0);
    expect_error("./vocab.txt: is not a regular file");
    assert_int_equal(rmdir("vocab.txt"), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unsupported_parts),  cmocka_unit_test(wrong_values),         cmocka_unit_test(not_json),
        cmocka_unit_test(no_normalizer),      cmocka_unit_test(json_settings),        cmocka_unit_test(vocab_settings),
        cmocka_unit_test(vocab_added_tokens), cmocka_unit_test(hostile_added_tokens), cmocka_unit_test(vocab_lines),
        cmocka_unit_test(bad_vocab),
    };
    return cmocka_run_group_tests(tests, scratch_enter, scratch_leave);
}
