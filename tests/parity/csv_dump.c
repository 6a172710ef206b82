/* csv_dump.c: prints what our CSV reader finds in files, for csv_rows.py to compare: a line `F` for each file, a line
 * `R` for each row with its fields in hexadecimal, and a line `E` where a row is refused.
 *
 *     csv_dump csv|tsv FILE... */
#include "base/lines.h"
#include "data/csv.h"

#include <stdio.h>
#include <string.h>

static void print_row(const bft_csv *csv) {
    putchar('R');
    for (size_t i = 0; i < csv->count; i++) {
        putchar(' ');
        for (size_t j = 0; j < csv->fields[i].length; j++) {
            printf("%02x", (unsigned char)csv->fields[i].bytes[j]);
        }
    }
    putchar('\n');
}

static bft_status dump(bft_error *err, const char *path, bool tabs) {
    bft_csv csv = {.delimiter = tabs ? '\t' : ',', .quotes = !tabs};
    bool more = true;
    BFT_TRY(bft_lines_open(err, &csv.lines, path, BFT_ROW_LIMIT));
    puts("F");
    while (more) {
        if (bft_csv_next(err, &csv, &more) != BFT_OK) {
            puts("E");
        } else if (more) {
            print_row(&csv);
        }
    }
    bft_lines_close(csv.lines);
    bft_csv_free(&csv);
    return BFT_OK;
}

int main(int argc, char **argv) {
    bft_error err = {0};
    for (int i = 2; i < argc; i++) {
        bft_status status = dump(&err, argv[i], strcmp(argv[1], "tsv") == 0);
        if (status != BFT_OK) {
            fprintf(stderr, "%s\n", err.message);
            return status;
        }
    }
    return 0;
}
