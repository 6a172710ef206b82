/* row_tally.h: what became of the rows of one file, and what the log says of it. */
#ifndef BFT_DATA_ROW_TALLY_H
#define BFT_DATA_ROW_TALLY_H

#include "data/rows.h"

/* Create zeroed. */
typedef struct bft_row_tally {
    size_t rows, skipped, left_out, first_line;
    char first_reason[BFT_ERROR_SIZE];
} bft_row_tally;

/* Counts the bad row that `err` tells of, or, where bad rows may not be skipped, passes the error on. */
bft_status bft_row_tally_bad(bft_error *err, bft_row_tally *tally, bool skip, const char *name, const bft_row *row);
void bft_row_tally_report(const bft_row_tally *tally, const char *name);

#endif
