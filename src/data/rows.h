/* rows.h: texts with their labels, or without, one at a time, from CSV, TSV, JSONL and fastText files, plain or gzipped. */
#ifndef BFT_DATA_ROWS_H
#define BFT_DATA_ROWS_H

#include "bertft/config.h"
#include "bertft/error.h"
#include "data/field.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct bft_row {
    size_t line; /* where it starts */
    bft_field text;
    const bft_field *labels; /* as written: names or numbers; outer blanks and quotes are off */
    size_t label_count;
} bft_row;

typedef struct bft_rows bft_rows;

/* DATA.FORMAT, HEADER, QUOTE, DELIMITER, TEXT and, where rows are `labelled`, LABEL and LABEL_FORM of `config` say how to read
 * the file; else no label is looked for, and a row has none. The config must outlive the reader. */
bft_status bft_rows_open(bft_error *err, bft_rows **out, const char *path, const bft_config *config, bool labelled);
void bft_rows_close(bft_rows *rows);             /* NULL is fine */
bool bft_rows_have_columns(const char *path);    /* by its name: .csv, .tsv, .jsonl, or these and .gz */
const char *bft_rows_name(const bft_rows *rows); /* the path, or "<stdin>" */

/* The next row, valid until the next call; *more is false at the end. A file without any row is an error. A failure
 * with *more true is a bad row at row->line, its message starting with FILE:LINE, and reading may go on behind it;
 * with *more false it can't. */
bft_status bft_rows_next(bft_error *err, bft_rows *rows, bft_row *row, bool *more);

#endif
