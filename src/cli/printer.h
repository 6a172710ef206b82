/* printer.h: how predict shows turns and summaries: a table for people; TSV, CSV, JSON lines for programs. */
#ifndef BFT_CLI_PRINTER_H
#define BFT_CLI_PRINTER_H

#include "bertft/predict.h"
#include "cli/output.h"

typedef enum bft_format { BFT_FORMAT_TABLE, BFT_FORMAT_TSV, BFT_FORMAT_CSV, BFT_FORMAT_JSONL } bft_format;
extern const char *const bft_format_names[]; /* the choices of --format, in the order of bft_format */

typedef enum bft_detail { BFT_DETAIL_ALL, BFT_DETAIL_TOP, BFT_DETAIL_RAW } bft_detail;
extern const char *const bft_detail_names[]; /* the choices of --scores, in the order of bft_detail */

typedef struct bft_printer {
    bft_output *output;
    const bft_predictor *predictor;
    bft_format format;
    bft_detail detail;  /* top: the answer's scores; all: every label's; raw: every label's logit */
    bool lines;         /* independent lines instead of dialogues */
    size_t label_width; /* the table's column */
    size_t dialog;      /* the table: the dialogue whose heading stands, plus 1 */
} bft_printer;

typedef struct bft_record {
    size_t dialog, turn; /* with lines: `turn` is the line, from 0 */
    bft_speaker speaker;
    const char *name; /* what stood before the colon, or NULL */
    const char *text;
    size_t length;
    const bft_prediction *prediction;
    const char *answer;
} bft_record;

/* All append to the output and flush nothing. */
bft_status bft_printer_begin(bft_error *err, bft_printer *printer); /* sets the widths; TSV and CSV: the header */
bft_status bft_printer_turn(bft_error *err, bft_printer *printer, const bft_record *record);
bft_status bft_printer_summary(bft_error *err, bft_printer *printer, size_t dialog, const bft_summary *summary);

/* "client", "operator", or the name as it stood where a number tells several of them apart ("Клиент 2"). */
const char *bft_record_speaker(const bft_record *record);

/* Whether the label's score belongs into the output. */
bool bft_printer_shows(const bft_printer *printer, const bft_prediction *prediction, size_t id);

/* ---- The table (printer_table.c) ---- */
void bft_table_begin(bft_printer *printer);
bft_status bft_table_turn(bft_error *err, bft_printer *printer, const bft_record *record);
bft_status bft_table_summary(bft_error *err, bft_printer *printer, const bft_summary *summary);

#endif
