/* csv.c: the grammar of delimited rows.
 *
 * A quote at the start of a field opens it; inside, a doubled quote is one quote, and line ends are text, kept as
 * they were written. Behind the closing quote only a delimiter or the end of the line may stand. A quote further
 * inside an unquoted field is an ordinary character, as in Python's csv module. */
#include "data/csv.h"

#include <stdlib.h>
#include <string.h>

/* The line that is being read, and how far. */
typedef struct row_cursor {
    char *line;
    size_t length, at;
} row_cursor;

static bft_status next_line(bft_error *err, bft_csv *csv, row_cursor *cursor, bool *cut, bool *more) {
    cursor->at = 0;
    return bft_lines_next(err, csv->lines, &cursor->line, &cursor->length, cut, more);
}

/* Bytes of the row's text from `start` on are one more field. Its place is set when the row is complete: the text
 * moves while it grows. */
static bft_status end_field(bft_error *err, bft_csv *csv, size_t start) {
    if (csv->count == BFT_COLUMN_LIMIT) {
        return bft_error_set(err, BFT_BAD, "%s:%zu: more than %d columns", bft_lines_name(csv->lines), csv->line,
                             BFT_COLUMN_LIMIT);
    }
    if (csv->count == csv->capacity) {
        size_t capacity = csv->capacity == 0 ? 16 : 2 * csv->capacity;
        bft_field *fields = realloc(csv->fields, capacity * sizeof *fields);
        if (fields == NULL) {
            return bft_error_memory(err, capacity * sizeof *fields);
        }
        csv->fields = fields;
        csv->capacity = capacity;
    }
    csv->fields[csv->count++].length = csv->text.length - start;
    return bft_buffer_append(err, &csv->text, "", 1);
}

/* An unquoted field: up to the next delimiter. */
static bft_status plain_field(bft_error *err, bft_csv *csv, row_cursor *cursor) {
    size_t start = csv->text.length, left = cursor->length - cursor->at;
    const char *from = cursor->line + cursor->at;
    const char *end = memchr(from, csv->delimiter, left);
    size_t length = end != NULL ? (size_t)(end - from) : left;
    BFT_TRY(bft_buffer_append(err, &csv->text, from, length));
    cursor->at += length;
    return end_field(err, csv, start);
}

/* Takes the line's end into the open field and goes on to the next line. `opened` is the line of the quote. Where
 * this fails the rest of the file is lost: nobody knows where the next row starts. */
static bft_status continue_quoted(bft_error *err, bft_csv *csv, row_cursor *cursor, size_t opened, bool *more) {
    const char *name = bft_lines_name(csv->lines), *ending = bft_lines_ending(csv->lines);
    BFT_TRY(bft_buffer_append(err, &csv->text, ending, strlen(ending)));
    bool cut;
    BFT_TRY(next_line(err, csv, cursor, &cut, more));
    if (!*more) {
        return bft_error_set(err, BFT_BAD, "%s:%zu: the quote that opens here is never closed", name, opened);
    }
    if (cut || csv->text.length + cursor->length > BFT_ROW_LIMIT) {
        *more = false;
        return bft_error_set(err, BFT_BAD, "%s:%zu: the quote that opens here isn't closed within %d bytes", name,
                             opened, BFT_ROW_LIMIT);
    }
    return BFT_OK;
}

static bft_status quoted_field(bft_error *err, bft_csv *csv, row_cursor *cursor, bool *more) {
    size_t start = csv->text.length, opened = bft_lines_number(csv->lines);
    cursor->at++;
    for (;;) {
        const char *from = cursor->line + cursor->at;
        const char *quote = memchr(from, '"', cursor->length - cursor->at);
        size_t length = quote != NULL ? (size_t)(quote - from) : cursor->length - cursor->at;
        BFT_TRY(bft_buffer_append(err, &csv->text, from, length));
        if (quote == NULL) {
            BFT_TRY(continue_quoted(err, csv, cursor, opened, more));
            continue;
        }
        cursor->at += length + 1;
        if (cursor->at == cursor->length || cursor->line[cursor->at] != '"') {
            break;
        }
        BFT_TRY(bft_buffer_append(err, &csv->text, "\"", 1));
        cursor->at++;
    }
    if (cursor->at < cursor->length && cursor->line[cursor->at] != csv->delimiter) {
        return bft_error_set(err, BFT_BAD,
                             "%s:%zu: text behind a closing quote; a quote inside a quoted field is doubled",
                             bft_lines_name(csv->lines), csv->line);
    }
    return end_field(err, csv, start);
}

/* Each field's place, now that the text stays where it is; every field ends with a NUL. */
static void place_fields(bft_csv *csv) {
    const char *at = csv->text.data;
    for (size_t i = 0; i < csv->count; i++) {
        csv->fields[i].bytes = at;
        at += csv->fields[i].length + 1;
    }
}

bft_status bft_csv_next(bft_error *err, bft_csv *csv, bool *more) {
    row_cursor cursor;
    bool cut;
    csv->count = 0;
    bft_buffer_clear(&csv->text);
    do {
        BFT_TRY(next_line(err, csv, &cursor, &cut, more));
    } while (*more && cursor.length == 0);
    if (!*more) {
        return BFT_OK;
    }
    csv->line = bft_lines_number(csv->lines);
    if (cut) {
        return bft_error_set(err, BFT_BAD, "%s:%zu: the line is longer than %d bytes", bft_lines_name(csv->lines),
                             csv->line, BFT_ROW_LIMIT);
    }
    for (;;) {
        bool quoted = csv->quotes && cursor.at < cursor.length && cursor.line[cursor.at] == '"';
        BFT_TRY(quoted ? quoted_field(err, csv, &cursor, more) : plain_field(err, csv, &cursor));
        if (cursor.at == cursor.length) {
            place_fields(csv);
            return BFT_OK;
        }
        cursor.at++; /* the delimiter: one more field follows, be it empty */
    }
}

void bft_csv_free(bft_csv *csv) {
    free(csv->fields);
    bft_buffer_free(&csv->text);
    *csv = (bft_csv){0};
}
