/* csv.h: rows of delimited text: CSV as RFC 4180 has it, and TSV, where a quote is an ordinary character. */
#ifndef BFT_DATA_CSV_H
#define BFT_DATA_CSV_H

#include "bertft/error.h"
#include "base/buffer.h"
#include "base/lines.h"
#include "data/field.h"

#include <stdbool.h>
#include <stddef.h>

enum { BFT_ROW_LIMIT = 16 << 20, BFT_COLUMN_LIMIT = 1 << 14 };

/* Zero-initialise, set the first three, free with bft_csv_free. */
typedef struct bft_csv {
    bft_lines *lines; /* opened with BFT_ROW_LIMIT; the caller's */
    char delimiter;
    bool quotes;
    /* The row given last. */
    size_t line; /* where it starts */
    bft_field *fields;
    size_t count;
    /* Memory. */
    size_t capacity;
    bft_buffer text;
} bft_csv;

/* The next row into csv->fields, valid until the next call; empty lines are passed over. At the end of the input:
 * BFT_OK and *more false. A failure with *more true is a bad row (the message starts with FILE:LINE), and reading
 * may go on behind it; with *more false it can't. */
bft_status bft_csv_next(bft_error *err, bft_csv *csv, bool *more);
void bft_csv_free(bft_csv *csv);

#endif
