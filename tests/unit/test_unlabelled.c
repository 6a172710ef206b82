/* test_unlabelled.c: texts without labels: from dialogues, plain lines and rows, whole or cut. */
#include "scratch.h"

#include "base/log.h"
#include "bertft/data.h"

static bft_error err;
static bft_tokenizer *tokenizer;

static int enter(void **state) {
    if (scratch_enter(state) != 0) {
        return -1;
    }
    SCRATCH("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\n##a\n##b\n");
    bft_log_set_level(BFT_LOG_QUIET);
    return bft_tokenizer_from_vocab(&err, &tokenizer, "vocab.txt", (bft_normalizer){.clean_text = true}) == BFT_OK ? 0
                                                                                                                   : -1;
}

static int leave(void **state) {
    bft_tokenizer_destroy(tokenizer);
    return scratch_leave(state);
}

/* The samples' tokens between [CLS] and [SEP], samples apart by bars; or the error. */
static const char *result(bft_config *config, const char *path, size_t max_length) {
    static char out[4096];
    bft_dataset *dataset;
    bft_status status = bft_dataset_read_unlabelled(&err, &dataset, config, 1, &path, tokenizer, max_length);
    bft_config_destroy(config);
    if (status != BFT_OK) {
        assert_int_equal(status, BFT_BAD);
        return err.message;
    }
    size_t at = 0;
    assert_int_equal(bft_dataset_problem(dataset), BFT_PROBLEM_NONE);
    assert_int_equal(bft_dataset_labels(dataset)->count, 0);
    for (size_t i = 0; i < bft_dataset_size(dataset); i++) {
        bft_sample sample = bft_dataset_at(dataset, i);
        assert_true(sample.length >= 3 && sample.length <= max_length && sample.targets == NULL);
        assert_int_equal(sample.ids[0], 2);
        assert_int_equal(sample.ids[sample.length - 1], 3);
        for (size_t j = 1; j + 1 < sample.length; j++) {
            const char *before = j > 1 ? " " : i > 0 ? " | " : "";
            at += (size_t)snprintf(out + at, sizeof out - at, "%s%s", before,
                                   bft_tokenizer_token(tokenizer, sample.ids[j]));
        }
    }
    bft_dataset_destroy(dataset);
    return out;
}

static void dialogues(void **state) {
    (void)state;
    SCRATCH("d.txt", "Клиент: a b\n[10:05] Оператор 2: c\n\nb b\n  \nздесь: a\n");
    assert_string_equal(result(CONFIG(), "d.txt", 16), "a b | c | b b | [UNK] [UNK] a");
    SCRATCH("lines", "a\nb");
    assert_string_equal(result(CONFIG(), "lines", 16), "a | b");
    assert_int_equal(system("gzip -kf d.txt"), 0);
    assert_string_equal(result(CONFIG(), "d.txt.gz", 16), "a b | c | b b | [UNK] [UNK] a");
    SCRATCH("bad.txt", "a\n\xFF\n");
    assert_string_equal(result(CONFIG(), "bad.txt", 16),
                        "bad.txt:2: isn't UTF-8; `iconv -f CP1251 -t UTF-8` converts text from Windows");
    assert_string_equal(result(CONFIG("DATA.ON_BAD_ROW", "skip"), "bad.txt", 16), "a");
}

static void rows(void **state) {
    (void)state;
    SCRATCH("x.csv", "text,other\n\"a\nb\",1\nc,2\n"); /* no label is needed */
    assert_string_equal(result(CONFIG(), "x.csv", 16), "a b | c");
    SCRATCH("x.jsonl", "{\"text\": \"a\"}\n{\"text\": \"b\", \"label\": {}}\n");
    assert_string_equal(result(CONFIG(), "x.jsonl", 16), "a | b");
    SCRATCH("x.tsv", "m\tn\nb\ta\n");
    assert_string_equal(result(CONFIG("DATA.TEXT", "n"), "x.tsv", 16), "a");
    assert_string_equal(result(CONFIG(), "x.tsv", 16), "x.tsv:1: no column \"text\" (DATA.TEXT); the header has: m, n");
    SCRATCH("x.dat", "b;a\n");
    assert_string_equal(
        result(CONFIG("DATA.FORMAT", "csv", "DATA.DELIMITER", "semicolon", "DATA.TEXT", "1"), "x.dat", 16), "a");
    SCRATCH("y.csv", "text,n\na,1\nb\nc,2\n");
    assert_string_equal(result(CONFIG(), "y.csv", 16), "y.csv:3: 1 columns, where the first row has 2");
    assert_string_equal(result(CONFIG("DATA.ON_BAD_ROW", "skip"), "y.csv", 16), "a | c");
}

/* Cut between words, but for a word that is longer than a sample. */
static void long_texts(void **state) {
    (void)state;
    SCRATCH("l.txt", "a b c a b\n");
    assert_string_equal(result(CONFIG(), "l.txt", 5), "a b c | a b");
    assert_string_equal(result(CONFIG(), "l.txt", 7), "a b c a b");
    SCRATCH("l.txt", "a bab c\n");
    assert_string_equal(result(CONFIG(), "l.txt", 5), "a | b ##a ##b | c");
    SCRATCH("l.txt", "abababab c\n");
    assert_string_equal(result(CONFIG(), "l.txt", 5), "a ##b ##a | ##b ##a ##b | ##a ##b c");
}

static void nothing_to_mask(void **state) {
    (void)state;
    SCRATCH("n.txt", "x y\na\nz\n");
    assert_string_equal(result(CONFIG(), "n.txt", 16), "a");
    SCRATCH("n.txt", "x y\n\n");
    assert_string_equal(result(CONFIG(), "n.txt", 16),
                        "n.txt: there is no text in it with words that the tokenizer knows");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dialogues),
        cmocka_unit_test(rows),
        cmocka_unit_test(long_texts),
        cmocka_unit_test(nothing_to_mask),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
