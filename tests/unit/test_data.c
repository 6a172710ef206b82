/* test_data.c: data sets from files of every format: labels, columns, bad rows, error lines, the split. */
#include "scratch.h"

#include "base/log.h"
#include "bertft/data.h"

#include <sys/stat.h>

static bft_error err;
static bft_tokenizer *tokenizer;

static int enter(void **state) {
    if (scratch_enter(state) != 0) {
        return -1;
    }
    SCRATCH("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\nd\n");
    bft_normalizer normalizer = {.clean_text = true, .chinese_chars = true};
    bft_log_set_level(BFT_LOG_QUIET);
    return bft_tokenizer_from_vocab(&err, &tokenizer, "vocab.txt", normalizer) == BFT_OK ? 0 : -1;
}

static int leave(void **state) {
    bft_tokenizer_destroy(tokenizer);
    return scratch_leave(state);
}

static bft_status read_paths(bft_dataset **out, bft_config *config, size_t count, const char *const *paths,
                             const bft_labels *labels) {
    bft_status status = bft_dataset_read(&err, out, config, count, paths, tokenizer, 16, labels);
    bft_config_destroy(config);
    return status;
}

/* The set as "labels: x, y; 0 1 1" for single labels, "10 01" for several, "0.5 2" for scores; or the error. */
static const char *describe(const bft_dataset *dataset) {
    static char out[8192];
    const bft_labels *labels = bft_dataset_labels(dataset);
    size_t at = 0;
    for (size_t k = 0; k < labels->count; k++) {
        at += (size_t)snprintf(out + at, sizeof out - at, "%s%s", k > 0 ? "," : "", labels->names[k]);
    }
    at += (size_t)snprintf(out + at, sizeof out - at, ":");
    for (size_t i = 0; i < bft_dataset_size(dataset); i++) {
        bft_sample sample = bft_dataset_at(dataset, i);
        at += (size_t)snprintf(out + at, sizeof out - at, " ");
        if (bft_dataset_problem(dataset) == BFT_SINGLE_LABEL) {
            at += (size_t)snprintf(out + at, sizeof out - at, "%u", sample.target);
        }
        for (size_t k = 0; sample.targets != NULL && k < labels->count; k++) {
            at += (size_t)snprintf(out + at, sizeof out - at, "%g", (double)sample.targets[k]);
        }
    }
    return out;
}

static const char *result(bft_config *config, const char *path) {
    bft_dataset *dataset;
    bft_status status = read_paths(&dataset, config, 1, &path, NULL);
    if (status != BFT_OK) {
        assert_int_equal(status, BFT_BAD);
        return err.message;
    }
    const char *out = describe(dataset);
    bft_dataset_destroy(dataset);
    return out;
}

/* ---- Formats ---- */

static void formats(void **state) {
    (void)state;
    static const char want[] = "anger,joy: 1 0 1";
    SCRATCH("x.csv", "label,text\njoy,a\nanger,\"a,\nb\"\njoy,c\n");
    assert_string_equal(result(CONFIG(), "x.csv"), want);
    SCRATCH("x.tsv", "text\tlabel\tmore\na\tjoy\t1\n\"a b\tanger\t2\nc\tjoy\t3\n");
    assert_string_equal(result(CONFIG(), "x.tsv"), want);
    SCRATCH("x.jsonl", "{\"text\": \"a\", \"label\": \"joy\"}\n\n{\"label\": \"anger\", \"text\": \"\"}\n"
                       "{\"label\": [\"joy\"], \"text\": \"\\u0000\"}");
    assert_string_equal(result(CONFIG(), "x.jsonl"), want);
    SCRATCH("x.txt", "__label__joy a b\n__label__anger\tb c\n\n__label__joy");
    assert_string_equal(result(CONFIG(), "x.txt"), want);
    SCRATCH("x.data", "a,joy\nb,anger\n");
    assert_string_equal(result(CONFIG("DATA.FORMAT", "csv", "DATA.TEXT", "0", "DATA.LABEL", "1"), "x.data"),
                        "anger,joy: 1 0");
    assert_string_equal(result(CONFIG(), "x.data"),
                        "x.data: the name doesn't end in .csv, .tsv, .jsonl or .txt (or these and .gz), so DATA.FORMAT "
                        "must say csv, tsv, jsonl or fasttext");
}

static void gzip(void **state) {
    (void)state;
    SCRATCH("z.csv", "text,label\na,joy\nb,anger\n");
    assert_int_equal(system("gzip -f z.csv"), 0);
    assert_string_equal(result(CONFIG(), "z.csv.gz"), "anger,joy: 1 0");
    assert_int_equal(truncate("z.csv.gz", 30), 0);
    const char *message = result(CONFIG("DATA.ON_BAD_ROW", "skip"), "z.csv.gz");
    assert_non_null(strstr(message, ": the gzip data is cut short"));
}

static void columns(void **state) {
    (void)state;
    SCRATCH("x.csv", "text,label,0\na,x,p\nb,y,q\n");
    assert_string_equal(result(CONFIG("DATA.LABEL", "'0'"), "x.csv"), "p,q: 0 1"); /* a name before a number */
    assert_string_equal(result(CONFIG("DATA.LABEL", "1"), "x.csv"), "x,y: 0 1");
    assert_string_equal(result(CONFIG("DATA.TEXT", "1", "DATA.LABEL", "2"), "x.csv"), "0,p,q: 0 1 2");
    assert_string_equal(result(CONFIG("DATA.TEXT", "1", "DATA.LABEL", "2", "DATA.HEADER", "True"), "x.csv"),
                        "p,q: 0 1");
    assert_string_equal(result(CONFIG("DATA.LABEL", "mood"), "x.csv"),
                        "x.csv:1: no column \"mood\" (DATA.LABEL); the header has: text, label, 0");
    assert_string_equal(result(CONFIG("DATA.LABEL", "7"), "x.csv"),
                        "x.csv:1: no column 7 (DATA.LABEL): there are 3, counted from 0");
    assert_string_equal(result(CONFIG("DATA.HEADER", "False"), "x.csv"),
                        "x.csv: DATA.TEXT is \"text\", but without a header a column is a number, from 0");
    SCRATCH("x.csv", "text,text,label\n");
    assert_string_equal(result(CONFIG(), "x.csv"), "x.csv:1: the header has the column \"text\" twice");
    SCRATCH("x.csv", "text,lab\xFF"
                     "el\n");
    assert_string_equal(result(CONFIG(), "x.csv"),
                        "x.csv:1: the name of column 1 isn't valid UTF-8; convert the file to it");
    SCRATCH("x.tsv", "\"a\nb\"\tx\n\"c\"\ty\n");
    assert_string_equal(result(CONFIG("DATA.TEXT", "0", "DATA.LABEL", "1", "DATA.QUOTE", "True"), "x.tsv"), "x,y: 0 1");
}

static void several_files(void **state) {
    (void)state;
    SCRATCH("x.csv", "text,label\na,joy\n");
    SCRATCH("y.jsonl", "{\"text\": \"b\", \"label\": \"anger\"}\n");
    SCRATCH("z.txt", "__label__fear c\n");
    static const char *const paths[] = {"x.csv", "y.jsonl", "z.txt"};
    bft_dataset *dataset;
    assert_int_equal(read_paths(&dataset, CONFIG(), 3, paths, NULL), BFT_OK);
    assert_string_equal(describe(dataset), "anger,fear,joy: 2 0 1");
    bft_sample sample = bft_dataset_at(dataset, 1);
    assert_int_equal(sample.length, 3);
    assert_memory_equal(sample.ids, ((uint32_t[]){2, 6, 3}), 3 * sizeof(uint32_t));
    assert_int_equal(bft_dataset_tokens(dataset), 9);
    bft_dataset_destroy(dataset);
}

static void lengths(void **state) {
    (void)state;
    SCRATCH("x.csv", "text,label\n,x\na b c d a b c d a b c d a b c d a b c d,y\n");
    const char *path = "x.csv";
    bft_dataset *dataset;
    assert_int_equal(read_paths(&dataset, CONFIG(), 1, &path, NULL), BFT_OK);
    assert_int_equal(bft_dataset_at(dataset, 0).length, 2); /* no tokens: [CLS] [SEP] */
    assert_int_equal(bft_dataset_at(dataset, 1).length, 16);
    assert_int_equal(bft_dataset_longest(dataset), 16);
    bft_dataset_destroy(dataset);
}

/* ---- Labels ---- */

static void multi_label(void **state) {
    (void)state;
    SCRATCH("x.csv", "text,label\na,[]\nb,[2]\nc,[ 0 2]\nd,\"[2, 1, 2]\"\n");
    assert_string_equal(result(CONFIG("DATA.MULTI_LABEL", "True"), "x.csv"), "0,1,2: 000 001 101 011");
    assert_string_equal(result(CONFIG("DATA.MULTI_LABEL", "True", "DATA.EMPTY_LABEL", "none"), "x.csv"),
                        "0,1,2,none: 0001 0010 1010 0110");
    assert_string_equal(result(CONFIG("DATA.MULTI_LABEL", "True", "DATA.LABEL_NAMES", "[z, y, x]"), "x.csv"),
                        "z,y,x: 000 001 101 011");
    SCRATCH("x.jsonl", "{\"text\": \"\", \"label\": [\"b\", \"a\"]}\n{\"text\": \"\", \"label\": []}\n"
                       "{\"text\": \"\", \"label\": null}\n{\"text\": \"\", \"label\": \"[b]\"}");
    assert_string_equal(result(CONFIG("DATA.MULTI_LABEL", "True"), "x.jsonl"), "a,b: 11 00 00 01");
    SCRATCH("x.txt", "__label__b __label__a text\ntext\n");
    assert_string_equal(result(CONFIG("DATA.MULTI_LABEL", "True"), "x.txt"), "a,b: 11 00");
    SCRATCH("x.txt", "text\n");
    assert_string_equal(result(CONFIG("DATA.MULTI_LABEL", "True"), "x.txt"), "x.txt: no row has a label");
}

static void single_from_lists(void **state) {
    (void)state;
    SCRATCH("x.csv", "text,label\na,\"1,2\"\nb,0\nc,\nd,2\n");
    assert_string_equal(result(CONFIG("DATA.SKIP_MULTI", "True", "DATA.EMPTY_LABEL", "none"), "x.csv"),
                        "0,1,2,none: 0 3 2");
    assert_string_equal(result(CONFIG("DATA.LABEL_FORM", "list", "DATA.EMPTY_LABEL", "none"), "x.csv"),
                        "x.csv:2: 2 labels where one is expected; DATA.MULTI_LABEL takes them all, DATA.SKIP_MULTI "
                        "leaves such rows out");
    assert_string_equal(result(CONFIG("DATA.SKIP_MULTI", "True"), "x.csv"),
                        "x.csv:4: no label; DATA.EMPTY_LABEL can name the class of such rows");
    /* Two labels that the map makes one are one. */
    assert_string_equal(
        result(CONFIG("DATA.LABEL_FORM", "list", "DATA.EMPTY_LABEL", "none", "DATA.LABEL_MAP", "{'1': '2'}"), "x.csv"),
        "0,2,none: 1 0 2 1");
    /* Without lists the whole cell is the label. */
    assert_string_equal(result(CONFIG("DATA.EMPTY_LABEL", "none"), "x.csv"), "0,2,1,2,none: 2 0 3 1");
}

static void orders(void **state) {
    (void)state;
    SCRATCH("x.csv", "text,label\na,10\nb,9\nc,b\nd,a\n");
    assert_string_equal(result(CONFIG(), "x.csv"), "9,10,a,b: 1 0 3 2");
    SCRATCH("x.csv", "text,label\na,joy\nb,anger\n");
    assert_string_equal(result(CONFIG("DATA.LABELS", "[joy, fear, anger]"), "x.csv"), "joy,fear,anger: 0 2");
    SCRATCH("x.csv", "text,label\na,2\nb,0\n");
    assert_string_equal(result(CONFIG("DATA.LABELS", "[joy, fear, anger]"), "x.csv"), "joy,fear,anger: 2 0");
    assert_string_equal(result(CONFIG("DATA.LABELS", "['2', '1', '0']"), "x.csv"), "2,1,0: 0 2");
}

static void label_map(void **state) {
    (void)state;
    SCRATCH("x.csv", "text,label\na,0\nb,1\nc,2\nd,3\n");
    static const char names[] = "[joy, love, anger, neutral]";
    assert_string_equal(
        result(CONFIG("DATA.LABEL_NAMES", names, "DATA.LABEL_MAP", "{love: joy, neutral: null}"), "x.csv"),
        "joy,anger: 0 0 1");
    assert_string_equal(result(CONFIG("DATA.LABEL_NAMES", names, "DATA.LABEL_MAP", "{'1': joy, '3': null}"), "x.csv"),
                        "joy,anger: 0 0 1");
    assert_string_equal(result(CONFIG("DATA.LABEL_NAMES", names, "DATA.LABEL_MAP", "{love: joy}", "DATA.LABELS",
                                      "[anger, joy, neutral]"),
                               "x.csv"),
                        "anger,joy,neutral: 1 1 0 2");
    assert_string_equal(
        result(CONFIG("DATA.LABEL_NAMES", names, "DATA.LABEL_MAP", "{love: null}", "DATA.MULTI_LABEL", "True"),
               "x.csv"),
        "joy,anger,neutral: 100 000 010 001");
    assert_string_equal(result(CONFIG("DATA.LABEL_MAP", "{'0': x, '1': x, '2': y, '3': y}"), "x.csv"), "x,y: 0 0 1 1");
}

static void name_files(void **state) {
    (void)state;
    SCRATCH("x.csv", "text,label\na,0\nb,2\n");
#define NAMES(text, want)                                                                                              \
    do {                                                                                                               \
        SCRATCH("names", text);                                                                                        \
        assert_string_equal(result(CONFIG("DATA.LABEL_NAMES", "names"), "x.csv"), want);                               \
    } while (0)
    NAMES("x\ny\nz z\n", "x,y,z z: 0 2");
    NAMES("x\r\ny: q\r\nz\r\n\r\n\n", "x,y: q,z: 0 2");
    NAMES("0: x\n1: 'y'\n 2 : \"z\"", "x,y,z: 0 2");
    NAMES("", "names: holds no names");
    NAMES("x\n\nz\n", "names:2: an empty line among the names");
    NAMES("x\ny\nx\n", "names:3: ids 0 and 2 have the same name, x");
    NAMES("0: x\n2: y\n", "names:2: the name of id 1 is expected, as `1: name`");
    NAMES("0: x\ny\n", "names:2: the name of id 1 is expected, as `1: name`");
    NAMES("0: x\n1:\n", "names:2: the name of id 1 is empty");
    NAMES("x\n\xFF\n", "names:2: the name of id 1 isn't valid UTF-8");
    NAMES("x\ny\n", "x.csv:3: label 2 has no name: DATA.LABEL_NAMES goes from 0 to 1");
    assert_string_equal(result(CONFIG("DATA.LABEL_NAMES", "nowhere"), "x.csv"),
                        "nowhere: cannot open: No such file or directory");
    /* a list of one name is a list, not a file */
    assert_string_equal(result(CONFIG("DATA.LABEL_NAMES", "['x']"), "x.csv"),
                        "x.csv:3: label 2 has no name: DATA.LABEL_NAMES goes from 0 to 0");
    assert_string_equal(result(CONFIG("DATA.LABEL_NAMES", "[x, x]"), "x.csv"),
                        "KEY VALUE pair: \"x\" stands twice in DATA.LABEL_NAMES");
}

static void unknown_labels(void **state) {
    (void)state;
    SCRATCH("x.csv", "text,label\na,joy\n\"b\nc\",angr\n");
    assert_string_equal(result(CONFIG("DATA.LABELS", "[anger, joy]"), "x.csv"),
                        "x.csv:3: unknown label \"angr\", did you mean \"anger\"; the labels are: anger, joy");
    SCRATCH("x.csv", "text,label\na,joy\nb,2\n");
    assert_string_equal(result(CONFIG("DATA.LABELS", "[anger, joy]"), "x.csv"),
                        "x.csv:3: unknown label \"2\"; the labels are: anger, joy");
    SCRATCH("x.csv", "text,label\na,jo\xC3\n");
    assert_string_equal(result(CONFIG(), "x.csv"), "x.csv:2: the label isn't valid UTF-8");
    SCRATCH("x.csv", "text,label\na,joy\n");
    assert_string_equal(result(CONFIG("DATA.LABELS", "[x, y]", "DATA.EMPTY_LABEL", "none"), "x.csv"),
                        "KEY VALUE pair: DATA.EMPTY_LABEL is \"none\"; the labels are: x, y");
    assert_string_equal(result(CONFIG("DATA.LABELS", "[x, y, x]"), "x.csv"),
                        "KEY VALUE pair: the label \"x\" stands twice");
    assert_string_equal(result(CONFIG(), "x.csv"), "x.csv: the only label is \"joy\": a classifier needs two");
}

/* A set of labels that is given wins over the data's and the configuration's. */
static void labels_of_a_run(void **state) {
    (void)state;
    char *names[] = {"joy", "anger", "fear"};
    bft_labels labels = {.count = 3, .names = names};
    SCRATCH("x.csv", "text,label\na,anger\n");
    const char *path = "x.csv";
    bft_dataset *dataset;
    assert_int_equal(read_paths(&dataset, CONFIG("DATA.LABELS", "[x, y]"), 1, &path, &labels), BFT_OK);
    assert_string_equal(describe(dataset), "joy,anger,fear: 1");
    bft_dataset_destroy(dataset);
}

static void too_many_labels(void **state) {
    (void)state;
    FILE *file = fopen("x.csv", "w");
    assert_non_null(file);
    fputs("text,label\n", file);
    for (int i = 0; i < 5000; i++) {
        fprintf(file, "a,l%d\n", i);
    }
    fclose(file);
    assert_string_equal(result(CONFIG(), "x.csv"), "x.csv:4098: more than 4096 different labels");
}

static void regression(void **state) {
    (void)state;
    bft_config *both = CONFIG("DATA.REGRESSION", "True", "DATA.MULTI_LABEL", "True");
    assert_string_equal(result(both, "x.csv"),
                        "KEY VALUE pair: DATA.MULTI_LABEL and DATA.REGRESSION can't both be true");
    SCRATCH("x.csv", "text,label\na,0.5\nb,-3e-2\nc, 7 \n");
    assert_string_equal(result(CONFIG("DATA.REGRESSION", "True"), "x.csv"), "score: 0.5 -0.03 7");
    SCRATCH("x.jsonl", "{\"text\": \"\", \"label\": 0.25}\n{\"text\": \"\", \"label\": -2}");
    assert_string_equal(result(CONFIG("DATA.REGRESSION", "True"), "x.jsonl"), "score: 0.25 -2");
    static const char *const bad[] = {"nan", "inf", "1e99", "0x10", "", "1 2", "one"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[64];
        int length = snprintf(text, sizeof text, "text,label\na,%s\n", bad[i]);
        scratch_write("x.csv", text, (size_t)length);
        assert_string_equal(result(CONFIG("DATA.REGRESSION", "True"), "x.csv"),
                            "x.csv:2: the label must be one finite number");
    }
}

/* ---- Bad files and rows ---- */

static void bad_files(void **state) {
    (void)state;
    assert_string_equal(result(CONFIG(), "none.csv"), "none.csv: cannot open: No such file or directory");
    SCRATCH("x.csv", "");
    assert_string_equal(result(CONFIG(), "x.csv"), "x.csv: no rows: the file is empty");
    SCRATCH("x.csv", "text,label\n");
    assert_string_equal(result(CONFIG(), "x.csv"), "x.csv: a header and no rows");
    SCRATCH("x.jsonl", "\n \n");
    assert_string_equal(result(CONFIG(), "x.jsonl"), "x.jsonl: no rows: the file is empty");
    SCRATCH("x.csv", "text,label\na,\"joy\n");
    assert_string_equal(result(CONFIG("DATA.ON_BAD_ROW", "skip"), "x.csv"),
                        "x.csv:2: the quote that opens here is never closed");
    SCRATCH("x.csv", "text,label\na\nb,x,y\n");
    assert_string_equal(result(CONFIG("DATA.ON_BAD_ROW", "skip"), "x.csv"), "x.csv: no row is left that can be used");
    assert_string_equal(result(CONFIG(), "x.csv"), "x.csv:2: 1 columns, where the first row has 2");
}

/* A whole file in a Windows encoding would otherwise train on U+FFFD alone. */
static void broken_text(void **state) {
    (void)state;
    static const char message[] = ":3: the text isn't UTF-8; `iconv -f CP1251 -t UTF-8` converts a file from Windows";
    SCRATCH("x.csv", "text,label\na\xEF\xBF\xBD,x\nb\xC3,x\nc,y\n"); /* U+FFFD as it stands is a character */
    assert_string_equal(result(CONFIG("DATA.ON_BAD_ROW", "skip"), "x.csv"), "x,y: 0 1");
    const char *got = result(CONFIG(), "x.csv");
    assert_memory_equal(got, "x.csv", 5);
    assert_string_equal(got + 5, message);
    SCRATCH("x.txt", "__label__x a\n\n__label__y \xFF\n");
    assert_string_equal(result(CONFIG(), "x.txt") + 5, message);
}

static void delimiters(void **state) {
    (void)state;
    static const char want[] = "x,y: 0 1";
    SCRATCH("x.csv", "\xEF\xBB\xBFtext;label\r\n\"a; b, c\";x\r\n\"d\"\"\";y\r\n");
    assert_string_equal(result(CONFIG("DATA.DELIMITER", "semicolon"), "x.csv"), want);
    assert_string_equal(result(CONFIG(), "x.csv"),
                        "x.csv:1: no column \"text\" (DATA.TEXT); the header has: text;label; "
                        "perhaps DATA.DELIMITER is semicolon");
    SCRATCH("x.csv", "text|label\na,b|x\nc|y\n");
    assert_string_equal(result(CONFIG("DATA.DELIMITER", "pipe"), "x.csv"), want);
    SCRATCH("x.csv", "text\tlabel\na,b\tx\nc\ty\n");
    assert_string_equal(result(CONFIG("DATA.DELIMITER", "tab"), "x.csv"), want);
    SCRATCH("x.tsv", "text,label\na\tb,x\nc,y\n");
    assert_string_equal(result(CONFIG("DATA.DELIMITER", "comma"), "x.tsv"), want);
}

/* A path that is longer than an error line may not be read beyond the line's end. */
static void long_path(void **state) {
    (void)state;
    char path[BFT_ERROR_SIZE + 64] = "";
    for (size_t i = 0; i < 5; i++) {
        size_t at = strlen(path);
        memset(path + at, 'd', 200);
        assert_int_equal(mkdir(path, 0700), 0);
        path[at + 200] = '/';
    }
    strcat(path, "a-name-that-ends-just-behind-it.csv"); /* where a sanitizer sees it */
    static const char rows[] = "text,label\na,x\nb\nc,y\n";
    scratch_write(path, rows, sizeof rows - 1);
    assert_string_equal(result(CONFIG("DATA.ON_BAD_ROW", "skip"), path), "x,y: 0 1");
}

static void bad_json(void **state) {
    (void)state;
    static const struct {
        const char *line, *message;
    } cases[] = {
        {"{\"text\": \"a\", \"label\": }", "x.jsonl:2: not JSON: unexpected token near '}'"},
        {"{\"text\": \"a\", \"text\": \"b\"}", "x.jsonl:2: not JSON: duplicate object key near '\"text\"'"},
        {"[1]", "x.jsonl:2: a JSON object is expected"},
        {"{}", "x.jsonl:2: no key \"text\"; the object has: "},
        {"{\"text\": \"a\", \"mood\": 1}", "x.jsonl:2: no key \"label\"; the object has: text, mood"},
        {"{\"text\": 5, \"label\": 1}", "x.jsonl:2: \"text\" must be a string"},
        {"{\"text\": \"a\", \"label\": {}}", "x.jsonl:2: \"label\" must be a string, a number, or a list of these"},
        {"{\"text\": \"a\", \"label\": [[1]]}", "x.jsonl:2: \"label\" must be a string, a number, or a list of these"},
        {"{\"text\": \"a\", \"label\": \"x\\u0000\"}", "x.jsonl:2: the label isn't valid UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        int length = snprintf(text, sizeof text, "{\"text\": \"a\", \"label\": \"x\"}\n%s\n", cases[i].line);
        scratch_write("x.jsonl", text, (size_t)length);
        assert_string_equal(result(CONFIG(), "x.jsonl"), cases[i].message);
    }
    SCRATCH("x.txt", "__label__ a\n");
    assert_string_equal(result(CONFIG(), "x.txt"), "x.txt:1: no name behind __label__");
}

/* What the log says goes to standard error: read it back from a file. */
static void skipped_rows(void **state) {
    (void)state;
    SCRATCH("x.csv", "text,label\na,x\nb\n\"c\"d,x\ne,y\n,\n");
    SCRATCH("y.csv", "text,label\na,x\nb,y\nc,z,\n\"a\nb\",x\n");
    static const char *const paths[] = {"x.csv", "y.csv"};
    fflush(stderr);
    int saved = dup(STDERR_FILENO);
    assert_non_null(freopen("log", "w", stderr));
    bft_log_set_level(BFT_LOG_INFO);
    bft_dataset *dataset;
    bft_status status = read_paths(&dataset, CONFIG("DATA.ON_BAD_ROW", "skip"), 2, paths, NULL);
    bft_log_set_level(BFT_LOG_QUIET);
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    assert_int_equal(status, BFT_OK);
    assert_string_equal(describe(dataset), "x,y: 0 1 0 1 0");
    assert_int_equal(bft_dataset_skipped(dataset), 4);
    bft_dataset_destroy(dataset);

    char log[1024] = "";
    FILE *file = fopen("log", "r");
    assert_non_null(file);
    assert_true(fread(log, 1, sizeof log - 1, file) > 0);
    fclose(file);
    assert_string_equal(log, "bertft: warning: x.csv: 3 of 5 rows skipped, the first at line 3: 1 columns, where the "
                             "first row has 2\n"
                             "bertft: warning: y.csv: 1 of 4 rows skipped, the first at line 4: 3 columns, where the "
                             "first row has 2\n");
}

/* ---- The split ---- */

/* 1,000 samples of three classes: 700 a, 280 b, 20 c; sample i is i mod 14 tokens long. */
static bft_dataset *thousand(bft_config *config) {
    FILE *file = fopen("split.csv", "w");
    assert_non_null(file);
    fputs("text,label\n", file);
    for (int i = 0; i < 1000; i++) {
        for (int j = 0; j < i % 14; j++) {
            fputs(j > 0 ? " a" : "a", file);
        }
        fprintf(file, ",%s\n", i % 50 == 7 ? "c" : i % 10 < 7 ? "a" : "b");
    }
    fclose(file);
    const char *path = "split.csv";
    bft_dataset *dataset;
    assert_int_equal(read_paths(&dataset, config, 1, &path, NULL), BFT_OK);
    return dataset;
}

static void assert_same(const bft_dataset *a, const bft_dataset *b, bool same) {
    bool equal = bft_dataset_size(a) == bft_dataset_size(b);
    for (size_t i = 0; equal && i < bft_dataset_size(a); i++) {
        bft_sample x = bft_dataset_at(a, i), y = bft_dataset_at(b, i);
        equal = x.length == y.length && x.target == y.target && memcmp(x.ids, y.ids, x.length * sizeof *x.ids) == 0;
    }
    assert_int_equal(equal, same);
}

static void split(void **state) {
    (void)state;
    bft_dataset *first = thousand(CONFIG()), *second = thousand(CONFIG()), *third = thousand(CONFIG());
    bft_dataset *one, *two, *three;
    assert_int_equal(bft_dataset_split(&err, first, 0.1, 42, &one), BFT_OK);
    assert_int_equal(bft_dataset_split(&err, second, 0.1, 42, &two), BFT_OK);
    assert_int_equal(bft_dataset_split(&err, third, 0.1, 43, &three), BFT_OK);
    size_t counts[3];
    bft_dataset_class_counts(one, counts);
    assert_memory_equal(counts, ((size_t[]){70, 28, 2}), sizeof counts);
    bft_dataset_class_counts(first, counts);
    assert_memory_equal(counts, ((size_t[]){630, 252, 18}), sizeof counts);
    assert_string_equal(bft_dataset_labels(one)->names[2], "c");
    assert_int_equal(bft_dataset_tokens(one) + bft_dataset_tokens(first), 1000 * 2 + 71 * 91 + 15);
    assert_same(one, two, true);
    assert_same(first, second, true);
    assert_same(one, three, false);
    bft_dataset *sets[] = {first, second, third, one, two, three};
    for (size_t i = 0; i < 6; i++) {
        bft_dataset_destroy(sets[i]);
    }
}

static void split_of_odd_shares(void **state) {
    (void)state;
    bft_dataset *dataset = thousand(CONFIG("DATA.MULTI_LABEL", "True")), *taken;
    assert_int_equal(bft_dataset_split(&err, dataset, 0.0155, 1, &taken), BFT_OK); /* 10.85, 4.34, 0.31 of 16 */
    size_t counts[3];
    bft_dataset_class_counts(taken, counts);
    assert_memory_equal(counts, ((size_t[]){11, 5, 0}), sizeof counts);
    bft_dataset_destroy(taken);
    assert_int_equal(bft_dataset_split(&err, dataset, 0.0001, 1, &taken), BFT_BAD);
    assert_string_equal(
        err.message,
        "cannot split 0.0001 of 984 samples off: each side needs one; set another DATA.VALID_FRACTION, or DATA.VALID");
    assert_int_equal(bft_dataset_split(&err, dataset, 0.9999, 1, &taken), BFT_BAD);
    bft_dataset_destroy(dataset);
    SCRATCH("x.csv", "text,label\na,1\nb,2\n");
    const char *path = "x.csv";
    assert_int_equal(read_paths(&dataset, CONFIG("DATA.REGRESSION", "True"), 1, &path, NULL), BFT_OK);
    assert_int_equal(bft_dataset_split(&err, dataset, 0.5, 1, &taken), BFT_OK);
    float sum = bft_dataset_at(dataset, 0).targets[0] + bft_dataset_at(taken, 0).targets[0];
    assert_true(sum == 3.0f);
    bft_dataset_destroy(taken);
    bft_dataset_destroy(dataset);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats),
        cmocka_unit_test(gzip),
        cmocka_unit_test(columns),
        cmocka_unit_test(several_files),
        cmocka_unit_test(lengths),
        cmocka_unit_test(multi_label),
        cmocka_unit_test(single_from_lists),
        cmocka_unit_test(orders),
        cmocka_unit_test(label_map),
        cmocka_unit_test(name_files),
        cmocka_unit_test(unknown_labels),
        cmocka_unit_test(labels_of_a_run),
        cmocka_unit_test(too_many_labels),
        cmocka_unit_test(regression),
        cmocka_unit_test(bad_files),
        cmocka_unit_test(broken_text),
        cmocka_unit_test(delimiters),
        cmocka_unit_test(long_path),
        cmocka_unit_test(bad_json),
        cmocka_unit_test(skipped_rows),
        cmocka_unit_test(split),
        cmocka_unit_test(split_of_odd_shares),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
