/* rows.c: which format a file has, where its columns are, and one row after the other out of it. */
#include "data/rows.h"

#include "base/json.h"
#include "base/lines.h"
#include "base/utf8.h"
#include "data/csv.h"
#include "data/label_list.h"

#include <stdlib.h>
#include <string.h>

typedef enum row_format { FORMAT_CSV, FORMAT_TSV, FORMAT_JSONL, FORMAT_FASTTEXT } row_format;

struct bft_rows {
    const bft_config *config;
    bft_lines *lines;
    row_format format;
    bft_label_form form;
    bool labelled;
    bft_label_list labels;
    bool any; /* a row was seen, good or bad */
    /* CSV and TSV */
    bft_csv csv;
    bool columns_known;
    size_t columns, text_column, label_column;
    /* JSONL */
    json_t *object;
    bft_buffer numbers; /* texts of the labels that are numbers */
};

static const struct {
    const char *name, *ending;
    row_format format;
} formats[] = {
    {"csv", ".csv", FORMAT_CSV},
    {"tsv", ".tsv", FORMAT_TSV},
    {"jsonl", ".jsonl", FORMAT_JSONL},
    {"fasttext", ".txt", FORMAT_FASTTEXT},
};
enum { FORMATS = sizeof formats / sizeof *formats };

static bool ends_with(const char *text, size_t length, const char *ending) {
    size_t tail = strlen(ending);
    return length > tail && strncasecmp(text + length - tail, ending, tail) == 0;
}

static size_t length_without_gz(const char *path) {
    size_t length = strlen(path);
    return ends_with(path, length, ".gz") ? length - strlen(".gz") : length;
}

bool bft_rows_have_columns(const char *path) {
    size_t length = length_without_gz(path);
    bool have = false;
    for (size_t i = 0; i < FORMATS; i++) {
        have |= formats[i].format != FORMAT_FASTTEXT && ends_with(path, length, formats[i].ending);
    }
    return have;
}

/* DATA.FORMAT, or the format that the name's ending says, .gz aside. */
static bft_status choose_format(bft_error *err, const char *path, const char *wanted, row_format *out) {
    bool by_name = strcmp(wanted, "auto") == 0;
    size_t length = length_without_gz(path);
    for (size_t i = 0; i < FORMATS; i++) {
        if (by_name ? ends_with(path, length, formats[i].ending) : strcmp(wanted, formats[i].name) == 0) {
            *out = formats[i].format;
            return BFT_OK;
        }
    }
    return bft_error_set(err, BFT_BAD,
                         "%s: the name doesn't end in .csv, .tsv, .jsonl or .txt (or these and .gz), so DATA.FORMAT "
                         "must say csv, tsv, jsonl or fasttext",
                         path);
}

/* A field is a list where its data may have several labels a row, unless DATA.LABEL_FORM says otherwise. */
static bft_label_form label_form(const bft_config *config) {
    const char *form = bft_config_string(config, "DATA.LABEL_FORM");
    bool several = bft_config_bool(config, "DATA.MULTI_LABEL") || bft_config_bool(config, "DATA.SKIP_MULTI");
    bool list = strcmp(form, "list") == 0 || (strcmp(form, "auto") == 0 && several);
    return list ? BFT_LABELS_LIST : BFT_LABELS_SINGLE;
}

/* A key that is true, false or auto. */
static bool choice(const bft_config *config, const char *key, bool automatic) {
    const char *value = bft_config_string(config, key);
    return strcmp(value, "auto") == 0 ? automatic : strcmp(value, "true") == 0;
}

/* Without a word about it, a header is expected unless the text column is a number. */
static bool has_header(const bft_config *config) {
    size_t number;
    return choice(config, "DATA.HEADER",
                  !bft_field_integer(bft_field_of(bft_config_string(config, "DATA.TEXT")), &number));
}

static const struct {
    const char *name;
    char byte;
} delimiters[] = {{"comma", ','}, {"semicolon", ';'}, {"tab", '\t'}, {"pipe", '|'}};
enum { DELIMITERS = sizeof delimiters / sizeof *delimiters };

static char choose_delimiter(const bft_config *config, row_format format) {
    const char *wanted = bft_config_string(config, "DATA.DELIMITER");
    for (size_t i = 0; i < DELIMITERS; i++) {
        if (strcmp(wanted, delimiters[i].name) == 0) {
            return delimiters[i].byte;
        }
    }
    return format == FORMAT_TSV ? '\t' : ',';
}

bft_status bft_rows_open(bft_error *err, bft_rows **out, const char *path, const bft_config *config, bool labelled) {
    row_format format = FORMAT_CSV;
    BFT_TRY(choose_format(err, path, bft_config_string(config, "DATA.FORMAT"), &format));
    bft_rows *rows = calloc(1, sizeof *rows);
    if (rows == NULL) {
        return bft_error_memory(err, sizeof *rows);
    }
    rows->config = config;
    rows->format = format;
    rows->form = label_form(config);
    rows->labelled = labelled;
    bft_status status = bft_lines_open(err, &rows->lines, path, BFT_ROW_LIMIT);
    if (status != BFT_OK) {
        bft_rows_close(rows);
        return status;
    }
    rows->csv.lines = rows->lines;
    rows->csv.delimiter = choose_delimiter(config, format);
    rows->csv.quotes = choice(config, "DATA.QUOTE", format == FORMAT_CSV);
    *out = rows;
    return BFT_OK;
}

void bft_rows_close(bft_rows *rows) {
    if (rows == NULL) {
        return;
    }
    bft_csv_free(&rows->csv);
    bft_label_list_free(&rows->labels);
    bft_buffer_free(&rows->numbers);
    json_decref(rows->object);
    bft_lines_close(rows->lines);
    free(rows);
}

const char *bft_rows_name(const bft_rows *rows) {
    return bft_lines_name(rows->lines);
}

static bft_status parse_cell(bft_error *err, bft_rows *rows, size_t line, bft_field cell) {
    if (bft_label_list_parse(err, &rows->labels, cell, rows->form) != BFT_OK) {
        return bft_error_prefix(err, "%s:%zu", bft_rows_name(rows), line);
    }
    return BFT_OK;
}

/* ---- CSV and TSV ---- */

/* A header that is one name with a delimiter in it was written with another delimiter: which one, or NULL. */
static const char *likely_delimiter(const bft_rows *rows) {
    for (size_t i = 0; rows->csv.count == 1 && i < DELIMITERS; i++) {
        if (memchr(rows->csv.fields[0].bytes, delimiters[i].byte, rows->csv.fields[0].length) != NULL) {
            return delimiters[i].name;
        }
    }
    return NULL;
}

/* The header's names stand in the error line, joined by commas. */
static bft_status no_column(bft_error *err, bft_rows *rows, const char *key, const char *wanted) {
    bft_buffer names = {0};
    bft_status status = BFT_OK;
    for (size_t i = 0; status == BFT_OK && i < rows->csv.count; i++) {
        status = bft_buffer_printf(err, &names, "%s%s", i > 0 ? ", " : "", rows->csv.fields[i].bytes);
    }
    if (status == BFT_OK) {
        const char *other = likely_delimiter(rows);
        status = bft_error_set(err, BFT_BAD, "%s:%zu: no column \"%s\" (%s); the header has: %s%s%s",
                               bft_rows_name(rows), rows->csv.line, wanted, key, names.data,
                               other != NULL ? "; perhaps DATA.DELIMITER is " : "", other != NULL ? other : "");
    }
    bft_buffer_free(&names);
    return status;
}

/* A column by its name in the header, or by its number from 0. */
static bft_status find_column(bft_error *err, bft_rows *rows, bool header, const char *key, size_t *column) {
    const char *wanted = bft_config_string(rows->config, key), *name = bft_rows_name(rows);
    size_t found = 0;
    for (size_t i = 0; header && i < rows->csv.count; i++) {
        if (bft_field_equals(rows->csv.fields[i], wanted)) {
            *column = i;
            found++;
        }
    }
    if (found > 1) {
        return bft_error_set(err, BFT_BAD, "%s:%zu: the header has the column \"%s\" twice", name, rows->csv.line,
                             wanted);
    }
    if (found == 1) {
        return BFT_OK;
    }
    bool number = bft_field_integer(bft_field_of(wanted), column);
    if (number && *column < rows->csv.count) {
        return BFT_OK;
    }
    if (number) {
        return bft_error_set(err, BFT_BAD, "%s:%zu: no column %s (%s): there are %zu, counted from 0", name,
                             rows->csv.line, wanted, key, rows->csv.count);
    }
    if (!header) {
        return bft_error_set(err, BFT_BAD, "%s: %s is \"%s\", but without a header a column is a number, from 0", name,
                             key, wanted);
    }
    return no_column(err, rows, key, wanted);
}

/* Learns from the first row how many columns there are, and where ours lie. */
static bft_status find_columns(bft_error *err, bft_rows *rows, bool header) {
    for (size_t i = 0; header && i < rows->csv.count; i++) {
        if (!bft_field_is_name(rows->csv.fields[i])) {
            return bft_error_set(err, BFT_BAD,
                                 "%s:%zu: the name of column %zu isn't valid UTF-8; convert the file to it",
                                 bft_rows_name(rows), rows->csv.line, i);
        }
    }
    rows->columns = rows->csv.count;
    BFT_TRY(find_column(err, rows, header, "DATA.TEXT", &rows->text_column));
    if (rows->labelled) {
        BFT_TRY(find_column(err, rows, header, "DATA.LABEL", &rows->label_column));
    }
    rows->columns_known = true;
    return BFT_OK;
}

/* The first row: the header, or a row that is given to the caller too. A failure here is the whole file's. */
static bft_status first_row(bft_error *err, bft_rows *rows, bool *more) {
    bool header = has_header(rows->config), any;
    *more = false;
    BFT_TRY(bft_csv_next(err, &rows->csv, &any));
    if (!any) {
        return BFT_OK;
    }
    BFT_TRY(find_columns(err, rows, header));
    if (header) {
        return bft_csv_next(err, &rows->csv, more);
    }
    *more = true;
    return BFT_OK;
}

static bft_status next_delimited(bft_error *err, bft_rows *rows, bft_row *row, bool *more) {
    bft_status status = rows->columns_known ? bft_csv_next(err, &rows->csv, more) : first_row(err, rows, more);
    row->line = rows->csv.line;
    BFT_TRY(status);
    if (!*more) {
        return BFT_OK;
    }
    if (rows->csv.count != rows->columns) {
        return bft_error_set(err, BFT_BAD, "%s:%zu: %zu columns, where the first row has %zu", bft_rows_name(rows),
                             row->line, rows->csv.count, rows->columns);
    }
    row->text = rows->csv.fields[rows->text_column];
    return rows->labelled ? parse_cell(err, rows, row->line, rows->csv.fields[rows->label_column]) : BFT_OK;
}

/* ---- One line a row: JSONL and fastText ---- */

/* The next line that isn't blank. */
static bft_status next_line(bft_error *err, bft_rows *rows, bft_row *row, bft_field *line, bool *more) {
    bool cut;
    do {
        char *bytes;
        BFT_TRY(bft_lines_next(err, rows->lines, &bytes, &line->length, &cut, more));
        line->bytes = bytes;
    } while (*more && bft_field_trim(*line).length == 0);
    row->line = bft_lines_number(rows->lines);
    if (*more && cut) {
        return bft_error_set(err, BFT_BAD, "%s:%zu: the line is longer than %d bytes", bft_rows_name(rows), row->line,
                             BFT_ROW_LIMIT);
    }
    return BFT_OK;
}

/* A label that is a number, as text. Room has been made before: earlier numbers must not move. */
static bft_status add_number(bft_error *err, bft_rows *rows, const json_t *value) {
    size_t start = rows->numbers.length;
    if (json_is_integer(value)) {
        BFT_TRY(bft_buffer_printf(err, &rows->numbers, "%" JSON_INTEGER_FORMAT, json_integer_value(value)));
    } else {
        BFT_TRY(bft_buffer_printf(err, &rows->numbers, "%.17g", json_real_value(value)));
    }
    bft_field number = {rows->numbers.data + start, rows->numbers.length - start};
    return bft_label_list_add(err, &rows->labels, number);
}

static bft_field string_field(const json_t *string) {
    return (bft_field){json_string_value(string), json_string_length(string)};
}

static bft_status json_labels(bft_error *err, bft_rows *rows, size_t line, const char *key, const json_t *value) {
    enum { NUMBER_SIZE = 32 };
    size_t count = json_is_array(value) ? json_array_size(value) : 1;
    bft_buffer_clear(&rows->numbers);
    BFT_TRY(bft_buffer_reserve(err, &rows->numbers, count * NUMBER_SIZE));
    if (json_is_string(value)) {
        return parse_cell(err, rows, line, string_field(value));
    }
    for (size_t i = 0; !json_is_null(value) && i < count; i++) {
        const json_t *item = json_is_array(value) ? json_array_get(value, i) : value;
        if (json_is_number(item)) {
            BFT_TRY(add_number(err, rows, item));
        } else if (json_is_string(item)) {
            BFT_TRY(bft_label_list_add(err, &rows->labels, string_field(item)));
        } else {
            return bft_error_set(err, BFT_BAD, "%s:%zu: \"%s\" must be a string, a number, or a list of these",
                                 bft_rows_name(rows), line, key);
        }
    }
    return BFT_OK;
}

static bft_status no_key(bft_error *err, bft_rows *rows, size_t line, const char *wanted) {
    bft_buffer keys = {0};
    bft_status status = bft_buffer_append(err, &keys, "", 0);
    const char *key;
    json_t *value;
    json_object_foreach(rows->object, key, value) {
        if (status == BFT_OK) {
            status = bft_buffer_printf(err, &keys, "%s%s", keys.length > 0 ? ", " : "", key);
        }
    }
    if (status == BFT_OK) {
        status = bft_error_set(err, BFT_BAD, "%s:%zu: no key \"%s\"; the object has: %s", bft_rows_name(rows), line,
                               wanted, keys.data);
    }
    bft_buffer_free(&keys);
    return status;
}

static bft_status next_json(bft_error *err, bft_rows *rows, bft_row *row, bool *more) {
    const char *text_key = bft_config_string(rows->config, "DATA.TEXT"), *name = bft_rows_name(rows);
    const char *label_key = bft_config_string(rows->config, "DATA.LABEL");
    bft_field line;
    BFT_TRY(next_line(err, rows, row, &line, more));
    json_decref(rows->object);
    rows->object = NULL;
    if (!*more) {
        return BFT_OK;
    }
    BFT_TRY(bft_json_parse(err, name, row->line, line.bytes, line.length, &rows->object));
    if (!json_is_object(rows->object)) {
        return bft_error_set(err, BFT_BAD, "%s:%zu: a JSON object is expected", name, row->line);
    }
    const json_t *text = json_object_get(rows->object, text_key), *label = json_object_get(rows->object, label_key);
    if (text == NULL || (rows->labelled && label == NULL)) {
        return no_key(err, rows, row->line, text == NULL ? text_key : label_key);
    }
    if (!json_is_string(text)) {
        return bft_error_set(err, BFT_BAD, "%s:%zu: \"%s\" must be a string", name, row->line, text_key);
    }
    row->text = string_field(text);
    return rows->labelled ? json_labels(err, rows, row->line, label_key, label) : BFT_OK;
}

/* `__label__joy __label__surprise the text`. */
static bft_status next_fasttext(bft_error *err, bft_rows *rows, bft_row *row, bool *more) {
    static const char prefix[] = "__label__";
    enum { PREFIX = sizeof prefix - 1 };
    bft_field rest;
    BFT_TRY(next_line(err, rows, row, &rest, more));
    rest = bft_field_trim(rest);
    while (*more && rest.length >= PREFIX && memcmp(rest.bytes, prefix, PREFIX) == 0) {
        size_t end = PREFIX;
        while (end < rest.length && !bft_field_is_blank(rest.bytes[end])) {
            end++;
        }
        if (end == PREFIX) {
            return bft_error_set(err, BFT_BAD, "%s:%zu: no name behind __label__", bft_rows_name(rows), row->line);
        }
        BFT_TRY(bft_label_list_add(err, &rows->labels, (bft_field){rest.bytes + PREFIX, end - PREFIX}));
        rest = bft_field_trim((bft_field){rest.bytes + end, rest.length - end});
    }
    row->text = rest;
    return BFT_OK;
}

bft_status bft_rows_next(bft_error *err, bft_rows *rows, bft_row *row, bool *more) {
    *more = false;
    *row = (bft_row){0};
    bft_label_list_clear(&rows->labels);
    bft_status status = rows->format == FORMAT_JSONL      ? next_json(err, rows, row, more)
                        : rows->format == FORMAT_FASTTEXT ? next_fasttext(err, rows, row, more)
                                                          : next_delimited(err, rows, row, more);
    row->labels = rows->labels.items;
    row->label_count = rows->labels.count;
    if (status == BFT_OK && !*more && !rows->any) {
        return bft_error_set(err, BFT_BAD, "%s: %s", bft_rows_name(rows),
                             rows->columns_known ? "a header and no rows" : "no rows: the file is empty");
    }
    rows->any = true;
    if (status == BFT_OK && *more && !bft_utf8_valid(row->text.bytes, row->text.length)) {
        return bft_error_set(err, BFT_BAD,
                             "%s:%zu: the text isn't UTF-8; `iconv -f CP1251 -t UTF-8` converts a file "
                             "from Windows",
                             bft_rows_name(rows), row->line);
    }
    return status;
}
