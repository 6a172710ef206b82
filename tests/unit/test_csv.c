/* test_csv.c: the grammar of CSV, TSV and label cells. */
#include "scratch.h"

#include "data/csv.h"
#include "data/label_list.h"

#include <sys/resource.h>
#include <zlib.h>

static bft_error err;

/* All rows of `data.csv`, fields in <>, rows ended by ';'; an error's message stands for its row. */
static const char *rows_of(char delimiter, bool quotes) {
    static bft_buffer out;
    bft_buffer_free(&out);
    bft_csv csv = {.delimiter = delimiter, .quotes = quotes};
    assert_int_equal(bft_lines_open(&err, &csv.lines, "data.csv", BFT_ROW_LIMIT), BFT_OK);
    bool more = true;
    while (more) {
        bft_status status = bft_csv_next(&err, &csv, &more);
        if (status != BFT_OK) {
            assert_int_equal(status, BFT_BAD);
            bft_buffer_printf(&err, &out, "%s;%s", err.message, more ? "" : "END");
        } else if (more) {
            for (size_t i = 0; i < csv.count; i++) {
                bft_buffer_append(&err, &out, "<", 1);
                bft_buffer_append(&err, &out, csv.fields[i].bytes, csv.fields[i].length);
                bft_buffer_append(&err, &out, ">", 1);
            }
            bft_buffer_printf(&err, &out, "%zu;", csv.line);
        }
    }
    bft_lines_close(csv.lines);
    bft_csv_free(&csv);
    return out.data != NULL ? out.data : "";
}

#define CSV(text, want)                                                                                                \
    do {                                                                                                               \
        SCRATCH("data.csv", text);                                                                                     \
        assert_string_equal(rows_of(',', true), want);                                                                 \
    } while (0)

static void csv_rows(void **state) {
    (void)state;
    CSV("", "");
    CSV("\n\n", "");
    CSV("a", "<a>1;");
    CSV("a,b\nc,d\n", "<a><b>1;<c><d>2;");
    CSV("a,b\r\nc,d\r\n", "<a><b>1;<c><d>2;");
    CSV("a,\n,b\n,\n", "<a><>1;<><b>2;<><>3;");
    CSV("\n\na\n\nb", "<a>3;<b>5;");
    CSV(" a , b \n", "< a >< b >1;");
    CSV("\xEF\xBB\xBF"
        "a,b\n",
        "<a><b>1;");
}

static void csv_quotes(void **state) {
    (void)state;
    CSV("\"\"\n", "<>1;");
    CSV("\"a\",\"b\"\n", "<a><b>1;");
    CSV("\"a,b\",c\n", "<a,b><c>1;");
    CSV("\"a\"\"b\",\"\"\"\"\n", "<a\"b><\">1;");
    CSV("\"a\nb\",c\nd,e\n", "<a\nb><c>1;<d><e>3;");
    CSV("\"a\r\nb\n\n\",c\r\nd,e\n", "<a\r\nb\n\n><c>1;<d><e>5;");
    CSV("a\"b,c\"\n", "<a\"b><c\">1;"); /* inside an unquoted field a quote is nothing special */
    CSV(" \"a\"\n", "< \"a\">1;");
    CSV("\"a\"", "<a>1;");
}

static void csv_errors(void **state) {
    (void)state;
    CSV("a,b\n\"c,d\ne,f\n", "<a><b>1;data.csv:2: the quote that opens here is never closed;END");
    const char *behind = "data.csv:1: text behind a closing quote; a quote inside a quoted field is doubled;<c><d>2;";
    CSV("\"a\"x,b\nc,d\n", behind);
    CSV("\"a\" ,b\nc,d\n", behind);
    /* The row starts at line 1, the trouble is at line 2, and reading goes on at line 3. */
    CSV("a,\"b\nc\"d\ne,f\n",
        "data.csv:1: text behind a closing quote; a quote inside a quoted field is doubled;<e><f>3;");
    /* The row starts at line 1, the quote that is never closed opens at line 2. */
    CSV("\"a\n\",\"b\n", "data.csv:2: the quote that opens here is never closed;END");
}

static void tsv_rows(void **state) {
    (void)state;
    SCRATCH("data.csv", "a\t\"b\n\"c\t\nd,e\"\"\n");
    assert_string_equal(rows_of('\t', false), "<a><\"b>1;<\"c><>2;<d,e\"\">3;");
}

static void nul_bytes(void **state) {
    (void)state;
    scratch_write("data.csv", "a\0b,\"c\0\"\n", 9);
    bft_csv csv = {.delimiter = ',', .quotes = true};
    bool more;
    assert_int_equal(bft_lines_open(&err, &csv.lines, "data.csv", BFT_ROW_LIMIT), BFT_OK);
    assert_int_equal(bft_csv_next(&err, &csv, &more), BFT_OK);
    assert_int_equal(csv.count, 2);
    assert_int_equal(csv.fields[0].length, 3);
    assert_memory_equal(csv.fields[0].bytes, "a\0b", 4);
    assert_memory_equal(csv.fields[1].bytes, "c\0", 3);
    bft_lines_close(csv.lines);
    bft_csv_free(&csv);
}

/* A gzip file of `count` megabytes of one letter behind `head`, then `tail`. */
static void write_flood(const char *head, size_t count, const char *tail) {
    static char megabyte[1 << 20];
    memset(megabyte, 'a', sizeof megabyte);
    gzFile file = gzopen("data.csv", "wb1");
    assert_non_null(file);
    gzputs(file, head);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(gzwrite(file, megabyte, sizeof megabyte), sizeof megabyte);
    }
    gzputs(file, tail);
    assert_int_equal(gzclose(file), Z_OK);
}

/* Rows without an end are refused in memory that doesn't grow with them. */
static void floods(void **state) {
    (void)state;
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    write_flood("x\n", 200, "\ny\n");
    assert_string_equal(rows_of(',', true), "<x>1;data.csv:2: the line is longer than 16777216 bytes;<y>3;");
    write_flood("x\n\"", 200, "\"\ny\n");
    assert_string_equal(rows_of(',', true), "<x>1;data.csv:2: the line is longer than 16777216 bytes;<y>3;");
    write_flood("x\n\"\n", 200, "\"\ny\n");
    assert_string_equal(rows_of(',', true),
                        "<x>1;data.csv:2: the quote that opens here isn't closed within 16777216 bytes;END");
    getrusage(RUSAGE_SELF, &after);
    assert_true(after.ru_maxrss - before.ru_maxrss < 180 * 1024);
}

static void too_many_columns(void **state) {
    (void)state;
    size_t length = BFT_COLUMN_LIMIT + 100;
    char *commas = malloc(length + 3);
    assert_non_null(commas);
    memset(commas, ',', length);
    memcpy(commas + length, "\na", 3);
    scratch_write("data.csv", commas, length + 2);
    assert_string_equal(rows_of(',', true), "data.csv:1: more than 16384 columns;<a>2;");
    free(commas);
}

static void damaged_gzip(void **state) {
    (void)state;
    write_flood("x\ny,", 1, "\n");
    assert_int_equal(truncate("data.csv", 1000), 0);
    assert_string_equal(rows_of(',', true), "<x>1;data.csv:2: the gzip data is cut short;END");
}

/* ---- Label cells ---- */

static const char *labels_of(const char *cell, bft_label_form form) {
    static bft_buffer out;
    bft_buffer_free(&out);
    bft_label_list list = {0};
    bft_buffer_append(&err, &out, "", 0);
    if (bft_label_list_parse(&err, &list, bft_field_of(cell), form) != BFT_OK) {
        bft_buffer_printf(&err, &out, "%s", err.message);
    } else {
        for (size_t i = 0; i < list.count; i++) {
            bft_buffer_printf(&err, &out, "<%.*s>", (int)list.items[i].length, list.items[i].bytes);
        }
    }
    bft_label_list_free(&list);
    return out.data;
}

static void label_cells(void **state) {
    (void)state;
    static const struct {
        const char *cell, *labels;
    } lists[] = {
        {"", ""},
        {"  ", ""},
        {"[]", ""},
        {"[ ]", ""},
        {"[27]", "<27>"},
        {"[ 4 27]", "<4><27>"},
        {"[ 1\n  2]", "<1><2>"},
        {"[0, 2]", "<0><2>"},
        {" [0,2] ", "<0><2>"},
        {"4,27", "<4><27>"},
        {"4 27", "<4><27>"},
        {"4", "<4>"},
        {"deep joy, anger", "<deep joy><anger>"},
        {"['deep joy', \"anger\"]", "<deep joy><anger>"},
        {"['deep joy' 'anger']", "<deep joy><anger>"},
        {"[\"it's\", 'a, b']", "<it's><a, b>"},
        {"[1, 2", "the label list opens with [ and doesn't end with ]"},
        {"[", "the label list opens with [ and doesn't end with ]"},
        {"['a, 2]", "a quote in the label list is never closed"},
        {"[1,,2]", "an empty item in the label list"},
        {"[1, 2,]", "an empty item in the label list"},
        {",1", "an empty item in the label list"},
        {"['']", "an empty item in the label list"},
        {"['a' 'b', 'c']", "a comma is missing in the label list"},
    };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        assert_string_equal(labels_of(lists[i].cell, BFT_LABELS_LIST), lists[i].labels);
    }
    assert_string_equal(labels_of(" deep joy, or [so] ", BFT_LABELS_SINGLE), "<deep joy, or [so]>");
    assert_string_equal(labels_of("  ", BFT_LABELS_SINGLE), "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv_rows),     cmocka_unit_test(csv_quotes), cmocka_unit_test(csv_errors),
        cmocka_unit_test(tsv_rows),     cmocka_unit_test(nul_bytes),  cmocka_unit_test(too_many_columns),
        cmocka_unit_test(damaged_gzip), cmocka_unit_test(floods),     cmocka_unit_test(label_cells),
    };
    return cmocka_run_group_tests(tests, scratch_enter, scratch_leave);
}
