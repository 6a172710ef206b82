/* test_options.c: the command line's grammar. */
#include "cli/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

enum { MOST_WORDS = 16 };

static const char *const formats[] = {"table", "jsonl", NULL};

typedef struct parsed {
    bft_status status;
    bft_error err;
    char *words[MOST_WORDS];
    bft_arguments arguments;
    bool json;
    const char *model, *format;
} parsed;

/* Parses as a command with -m, --format, --json and pairs would; `words` end with NULL. */
static void parse(parsed *p, size_t most, bool pairs, const char *const *words) {
    *p = (parsed){.words = {"eval"}};
    const bft_option options[] = {
        {"--json", &p->json, NULL, NULL}, {"-m", NULL, &p->model, NULL}, {"--format", NULL, &p->format, formats}};
    const bft_usage usage = {.name = "eval",
                             .options = options,
                             .option_count = 3,
                             .runs_model = true,
                             .pairs = pairs,
                             .most = most,
                             .expected = "RUN"};
    int count = 1;
    for (; words[count - 1] != NULL; count++) {
        p->words[count] = (char *)words[count - 1];
    }
    p->status = bft_options_parse(&p->err, &usage, count, p->words, &p->arguments);
}

#define PARSE(p, most, pairs, ...) parse((p), (most), (pairs), (const char *const[]){__VA_ARGS__, NULL})

static void assert_refused(const parsed *p, const char *word, const char *reason) {
    assert_int_equal(p->status, BFT_BAD);
    if (strstr(p->err.message, word) == NULL || strstr(p->err.message, reason) == NULL) {
        fail_msg("\"%s\" lacks \"%s\" or \"%s\"", p->err.message, word, reason);
    }
}

static void test_pairs_and_a_leading_word(void **state) {
    (void)state;
    parsed p;
    PARSE(&p, 1, true, "runs/a", "OPTIM.LR", "-1", "SEED", "--json");
    assert_int_equal(p.status, BFT_OK);
    assert_false(p.json); /* what follows a KEY is its value */
    assert_int_equal(p.arguments.word_count, 1);
    assert_string_equal(p.arguments.words[0], "runs/a");
    assert_int_equal(p.arguments.pair_words, 4);
    assert_string_equal(p.arguments.pairs[1], "-1");
    assert_string_equal(p.arguments.pairs[3], "--json");

    PARSE(&p, 1, true, "OPTIM.LR", "1e-4", "--json");
    assert_int_equal(p.status, BFT_OK);
    assert_true(p.json);
    assert_int_equal(p.arguments.word_count, 0);
    assert_int_equal(p.arguments.pair_words, 2);

    PARSE(&p, 1, true, "--json", "DATA.TEST", "a.tsv", "runs/a"); /* the leading word comes last */
    assert_refused(&p, "runs/a", "RUN stands before the KEY VALUE pairs");
    PARSE(&p, 1, true, "runs/a", "DATA.TEST");
    assert_refused(&p, "DATA.TEST", "needs a value");
    PARSE(&p, 1, true, "runs/a", "OPTIM.LR=3e-5");
    assert_refused(&p, "'OPTIM.LR=3e-5' is one word", "two: OPTIM.LR 3e-5");
    PARSE(&p, 1, true, "runs/a", "runs/b");
    assert_refused(&p, "'runs/a runs/b' is no KEY VALUE pair", "before the pairs stands RUN");
    PARSE(&p, 1, true, "a", "b", "SEED", "1");
    assert_refused(&p, "'a b' is no KEY VALUE pair", "stands RUN");
    PARSE(&p, 1, true, "OUTPUT_DIR", "a=b", "DATA.LABEL_MAP", "A.B=c");
    assert_int_equal(p.status, BFT_OK); /* values may be anything */
    PARSE(&p, 0, true, "file");
    assert_refused(&p, "file", "left over");
}

static void test_options(void **state) {
    (void)state;
    parsed p;
    PARSE(&p, 1, true, "-m", "x", "--format=jsonl", "--threads", "3", "--device", "ref", "-");
    assert_int_equal(p.status, BFT_OK);
    assert_string_equal(p.model, "x");
    assert_int_equal(bft_options_choice(formats, p.format), 1);
    assert_int_equal(p.arguments.threads, 3);
    assert_string_equal(p.arguments.device, "ref");
    assert_null(p.arguments.precision);
    assert_string_equal(p.arguments.words[0], "-"); /* stdin is no option */

    PARSE(&p, 1, true, "--jsno");
    assert_refused(&p, "--jsno", "--json");
    PARSE(&p, 1, true, "--format", "xml");
    assert_refused(&p, "xml", "table or jsonl");
    PARSE(&p, 1, true, "--format");
    assert_refused(&p, "--format", "needs a value");
    PARSE(&p, 1, true, "-m", "a", "-m", "b");
    assert_refused(&p, "-m", "twice");
    PARSE(&p, 1, true, "--json=yes");
    assert_refused(&p, "--json=yes", "no value");
    PARSE(&p, 1, true, "--precision", "fp8");
    assert_refused(&p, "fp8", "fp32, bf16, fp16, int8 or auto");
    for (size_t i = 0; i < 5; i++) {
        static const char *const bad[] = {"", "-1", "4097", "two", "1x"};
        PARSE(&p, 1, true, "--threads", bad[i]);
        assert_refused(&p, "--threads", bad[i]);
    }
}

static void test_plain_words(void **state) {
    (void)state;
    parsed p;
    PARSE(&p, 1, false, "a");
    assert_int_equal(p.status, BFT_OK);
    assert_int_equal(p.arguments.word_count, 1);
    PARSE(&p, 1, false, "a", "SEED");
    assert_refused(&p, "SEED", "too many");
    PARSE(&p, 1, false, "a", "SEED", "--json"); /* without pairs a KEY is a word like any other */
    assert_true(p.json);
}

static void test_help_wins(void **state) {
    (void)state;
    parsed p;
    PARSE(&p, 1, true, "a", "b", "c", "--help", "--nonsense");
    assert_int_equal(p.status, BFT_OK);
    assert_true(p.arguments.help);
    PARSE(&p, 1, true, "SEED", "--help");
    assert_int_equal(p.status, BFT_OK);
    assert_false(p.arguments.help);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs_and_a_leading_word),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_plain_words),
        cmocka_unit_test(test_help_wins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
