/* row_tally.c: counting bad rows. */
#include "data/row_tally.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

bft_status bft_row_tally_bad(bft_error *err, bft_row_tally *tally, bool skip, const char *name, const bft_row *row) {
    if (err->status != BFT_BAD || !skip) {
        return err->status;
    }
    if (tally->skipped++ == 0) {
        size_t place = (size_t)snprintf(NULL, 0, "%s:%zu: ", name, row->line), length = strlen(err->message);
        tally->first_line = row->line;
        /* a path may be longer than a message */
        snprintf(tally->first_reason, sizeof tally->first_reason, "%s", err->message + (place < length ? place : 0));
    }
    return BFT_OK;
}

void bft_row_tally_report(const bft_row_tally *tally, const char *name) {
    if (tally->skipped > 0) {
        bft_log_warning("%s: %zu of %zu rows skipped, the first at line %zu: %s", name, tally->skipped, tally->rows,
                        tally->first_line, tally->first_reason);
    }
    if (tally->left_out > 0) {
        bft_log_info("%s: %zu of %zu rows left out for their labels", name, tally->left_out, tally->rows);
    }
}
