/* printer.c: the formats for programs. Numbers have nine significant digits: enough to read the same float back. */
#include "cli/printer.h"

#include "base/json.h"
#include "base/utf8.h"

#include <string.h>

const char *const bft_format_names[] = {"table", "tsv", "csv", "jsonl", NULL};
const char *const bft_detail_names[] = {"all", "top", "raw", NULL};

const char *bft_record_speaker(const bft_record *record) {
    size_t length = record->name != NULL ? strlen(record->name) : 0;
    if (length > 0 && record->name[length - 1] >= '0' && record->name[length - 1] <= '9') {
        return record->name;
    }
    return record->speaker == BFT_CLIENT ? "client" : "operator";
}

bool bft_printer_shows(const bft_printer *printer, const bft_prediction *prediction, size_t id) {
    return printer->detail != BFT_DETAIL_TOP || bft_predictor_scoring(printer->predictor) == BFT_SCORE_NONE ||
           bft_predictor_chooses(printer->predictor, prediction, id);
}

static const float *shown_scores(const bft_printer *printer, const bft_prediction *prediction) {
    return printer->detail == BFT_DETAIL_RAW ? prediction->logits : prediction->scores;
}

/* ---- TSV and CSV ----
 * TSV has no quotes: tab, line ends and backslash are written \t \n \r \\. CSV is RFC 4180's, with LF. Other control
 * characters are U+FFFD in both: what goes to a terminal must not drive it. */

static bft_status field(bft_error *err, const bft_printer *printer, const char *text, size_t length) {
    static const char from[] = "\t\n\r\\", to[] = "tnr\\";
    bft_buffer *out = &printer->output->text;
    bool csv = printer->format == BFT_FORMAT_CSV, quoted = false;
    for (size_t i = 0; csv && i < length; i++) {
        quoted |= text[i] != '\0' && strchr(",\"\n\r", text[i]) != NULL;
    }
    BFT_TRY(bft_buffer_append(err, out, "\"", quoted));
    for (size_t i = 0; i < length;) {
        uint32_t scalar;
        char bytes[4];
        i += bft_utf8_decode(text + i, length - i, &scalar);
        const char *special = scalar != 0 && scalar < 0x80 ? strchr(from, (int)scalar) : NULL;
        if (special != NULL && !csv) {
            BFT_TRY(bft_buffer_printf(err, out, "\\%c", to[special - from]));
            continue;
        }
        bool control = scalar < 0x20 || (scalar >= 0x7f && scalar < 0xa0);
        scalar = control && special == NULL ? BFT_UTF8_INVALID : scalar;
        BFT_TRY(bft_buffer_append(err, out, "\"", scalar == '"' && csv));
        BFT_TRY(bft_buffer_append(err, out, bytes, bft_utf8_encode(scalar, bytes)));
    }
    return bft_buffer_append(err, out, "\"", quoted);
}

static bft_status separator(bft_error *err, const bft_printer *printer) {
    return bft_buffer_append(err, &printer->output->text, printer->format == BFT_FORMAT_CSV ? "," : "\t", 1);
}

static bft_status delimited_header(bft_error *err, const bft_printer *printer) {
    static const char *const columns[] = {"dialog", "turn", "speaker", "label", "score"};
    static const char *const line_columns[] = {"line", "label", "score"};
    const char *const *names = printer->lines ? line_columns : columns;
    for (size_t i = 0; i < (printer->lines ? 3 : 5); i++) {
        BFT_TRY(field(err, printer, names[i], strlen(names[i])));
        BFT_TRY(separator(err, printer));
    }
    const bft_model *model = bft_predictor_model(printer->predictor);
    for (size_t id = 0; printer->detail != BFT_DETAIL_TOP && id < bft_model_classes(model); id++) {
        bft_buffer name = {0};
        bft_status status = bft_buffer_printf(
            err, &name, "%s.%s", printer->detail == BFT_DETAIL_RAW ? "logit" : "score", bft_model_label(model, id));
        if (status == BFT_OK) {
            status = field(err, printer, name.data, name.length);
        }
        bft_buffer_free(&name);
        BFT_TRY(status);
        BFT_TRY(separator(err, printer));
    }
    return bft_buffer_append(err, &printer->output->text, "text\n", 5);
}

/* dialog, turn, speaker, as far as the format has them; `turn` NULL: a summary's row. */
static bft_status delimited_place(bft_error *err, const bft_printer *printer, size_t dialog, const size_t *turn,
                                  const char *speaker) {
    bft_buffer *out = &printer->output->text;
    if (!printer->lines) {
        BFT_TRY(bft_buffer_printf(err, out, "%zu", dialog));
        BFT_TRY(separator(err, printer));
    }
    if (turn != NULL) {
        BFT_TRY(bft_buffer_printf(err, out, "%zu", *turn));
    }
    BFT_TRY(separator(err, printer));
    if (!printer->lines) {
        BFT_TRY(field(err, printer, speaker, strlen(speaker)));
        BFT_TRY(separator(err, printer));
    }
    return BFT_OK;
}

static bft_status delimited_turn(bft_error *err, const bft_printer *printer, const bft_record *record) {
    bft_buffer *out = &printer->output->text;
    BFT_TRY(delimited_place(err, printer, record->dialog, &record->turn, bft_record_speaker(record)));
    BFT_TRY(field(err, printer, record->answer, strlen(record->answer)));
    BFT_TRY(separator(err, printer));
    BFT_TRY(bft_buffer_printf(err, out, "%.9g", record->prediction->score));
    BFT_TRY(separator(err, printer));
    const float *scores = shown_scores(printer, record->prediction);
    size_t classes = bft_model_classes(bft_predictor_model(printer->predictor));
    for (size_t id = 0; printer->detail != BFT_DETAIL_TOP && id < classes; id++) {
        BFT_TRY(bft_buffer_printf(err, out, "%.9g", scores[id]));
        BFT_TRY(separator(err, printer));
    }
    BFT_TRY(field(err, printer, record->text, record->length));
    return bft_buffer_append(err, out, "\n", 1);
}

/* A summary as words: "turns=16 client_turns=8 negative_turns=3 ...", so that its row has the columns of all rows. */
static bft_status summary_words(bft_error *err, const bft_printer *printer, const bft_summary *s, bft_buffer *out) {
    BFT_TRY(bft_buffer_printf(err, out, "turns=%zu client_turns=%zu", s->turns, s->client_turns));
    if (s->client_turns == 0) {
        return BFT_OK;
    }
    if (bft_predictor_scoring(printer->predictor) != BFT_SCORE_NONE) {
        BFT_TRY(bft_buffer_printf(err, out, " first=%s last=%s", s->first.label.data, s->last.label.data));
    }
    if (!bft_predictor_knows_negative(printer->predictor)) {
        return BFT_OK;
    }
    BFT_TRY(bft_buffer_printf(err, out, " negative_turns=%zu negative_share=%.9g worst=%zu stretches=",
                              s->negative_turns, bft_summary_negative_share(s), s->worst.turn));
    for (size_t i = 0; i < s->stretch_count; i++) {
        BFT_TRY(bft_buffer_printf(err, out, "%s%zu-%zu", i > 0 ? "," : "", s->stretches[i].from, s->stretches[i].to));
    }
    return s->client_turns < 2 ? BFT_OK : bft_buffer_printf(err, out, " trend=%.9g", bft_summary_trend(s));
}

static bft_status delimited_summary(bft_error *err, const bft_printer *printer, size_t dialog,
                                    const bft_summary *summary) {
    BFT_TRY(delimited_place(err, printer, dialog, NULL, "summary"));
    size_t classes = bft_model_classes(bft_predictor_model(printer->predictor));
    size_t empty = 2 + (printer->detail != BFT_DETAIL_TOP ? classes : 0);
    for (size_t i = 0; i < empty; i++) {
        BFT_TRY(separator(err, printer));
    }
    bft_buffer words = {0};
    bft_status status = summary_words(err, printer, summary, &words);
    if (status == BFT_OK) {
        status = field(err, printer, words.data, words.length);
    }
    bft_buffer_free(&words);
    BFT_TRY(status);
    return bft_buffer_append(err, &printer->output->text, "\n", 1);
}

/* ---- JSON lines ---- */

static bft_status json_scores(bft_error *err, const bft_printer *printer, const bft_prediction *prediction) {
    bft_buffer *out = &printer->output->text;
    const bft_model *model = bft_predictor_model(printer->predictor);
    const float *scores = shown_scores(printer, prediction);
    const char *between = "";
    BFT_TRY(bft_buffer_printf(err, out, "{"));
    for (size_t id = 0; id < bft_model_classes(model); id++) {
        if (bft_printer_shows(printer, prediction, id)) {
            const char *label = bft_model_label(model, id);
            BFT_TRY(bft_buffer_printf(err, out, "%s", between));
            BFT_TRY(bft_json_quote(err, out, label, strlen(label)));
            BFT_TRY(bft_buffer_printf(err, out, ": %.9g", scores[id]));
            between = ", ";
        }
    }
    return bft_buffer_printf(err, out, "}");
}

static bft_status json_label(bft_error *err, const bft_printer *printer, const char *answer) {
    bft_buffer *out = &printer->output->text;
    return bft_predictor_scoring(printer->predictor) == BFT_SCORE_NONE
               ? bft_buffer_printf(err, out, "null")
               : bft_json_quote(err, out, answer, strlen(answer));
}

static bft_status json_turn(bft_error *err, const bft_printer *printer, const bft_record *record) {
    bft_buffer *out = &printer->output->text;
    if (printer->lines) {
        BFT_TRY(bft_buffer_printf(err, out, "{\"line\": %zu, \"text\": ", record->turn));
    } else {
        const char *speaker = bft_record_speaker(record);
        BFT_TRY(bft_buffer_printf(err, out, "{\"dialog\": %zu, \"turn\": %zu, \"speaker\": ", record->dialog,
                                  record->turn));
        BFT_TRY(bft_json_quote(err, out, speaker, strlen(speaker)));
        BFT_TRY(bft_buffer_printf(err, out, ", \"text\": "));
    }
    BFT_TRY(bft_json_quote(err, out, record->text, record->length));
    BFT_TRY(bft_buffer_printf(err, out, ", \"label\": "));
    BFT_TRY(json_label(err, printer, record->answer));
    BFT_TRY(bft_buffer_printf(err, out, ", \"score\": %.9g, \"scores\": ", record->prediction->score));
    BFT_TRY(json_scores(err, printer, record->prediction));
    return bft_buffer_printf(err, out, "}\n");
}

static bft_status json_tone(bft_error *err, const bft_printer *printer, const char *name, const bft_tone *tone) {
    bft_buffer *out = &printer->output->text;
    BFT_TRY(bft_buffer_printf(err, out, ", \"%s\": ", name));
    if (tone == NULL) {
        return bft_buffer_printf(err, out, "null");
    }
    BFT_TRY(bft_buffer_printf(err, out, "{\"turn\": %zu, \"label\": ", tone->turn));
    BFT_TRY(json_label(err, printer, tone->label.data));
    return bft_predictor_knows_negative(printer->predictor)
               ? bft_buffer_printf(err, out, ", \"negativity\": %.9g}", tone->negativity)
               : bft_buffer_printf(err, out, ", \"negativity\": null}");
}

static bft_status json_stretches(bft_error *err, const bft_printer *printer, const bft_summary *s) {
    bft_buffer *out = &printer->output->text;
    BFT_TRY(bft_buffer_printf(err, out, ", \"stretch_count\": %zu, \"stretches\": [", s->stretch_total));
    for (size_t i = 0; i < s->stretch_count; i++) {
        BFT_TRY(bft_buffer_printf(err, out, "%s{\"from\": %zu, \"to\": %zu, \"turns\": %zu}", i > 0 ? ", " : "",
                                  s->stretches[i].from, s->stretches[i].to, s->stretches[i].turns));
    }
    return bft_buffer_printf(err, out, "]");
}

/* All members stand in every summary; null is what a dialogue without client turns, or a model without negative labels,
 * can't tell. */
static bft_status json_summary(bft_error *err, const bft_printer *printer, size_t dialog, const bft_summary *s) {
    bft_buffer *out = &printer->output->text;
    bool any = s->client_turns > 0, negative = bft_predictor_knows_negative(printer->predictor);
    BFT_TRY(bft_buffer_printf(err, out, "{\"dialog\": %zu, \"summary\": {\"turns\": %zu, \"client_turns\": %zu", dialog,
                              s->turns, s->client_turns));
    BFT_TRY(json_tone(err, printer, "first", any ? &s->first : NULL));
    BFT_TRY(json_tone(err, printer, "last", any ? &s->last : NULL));
    BFT_TRY(json_tone(err, printer, "worst", any && negative ? &s->worst : NULL));
    if (!negative) {
        return bft_buffer_printf(err, out,
                                 ", \"negative_turns\": null, \"negative_share\": null, \"stretch_count\": null, "
                                 "\"stretches\": null, \"trend\": null}}\n");
    }
    BFT_TRY(bft_buffer_printf(err, out, ", \"negative_turns\": %zu, \"negative_share\": ", s->negative_turns));
    BFT_TRY(any ? bft_buffer_printf(err, out, "%.9g", bft_summary_negative_share(s))
                : bft_buffer_printf(err, out, "null"));
    BFT_TRY(json_stretches(err, printer, s));
    return s->client_turns < 2 ? bft_buffer_printf(err, out, ", \"trend\": null}}\n")
                               : bft_buffer_printf(err, out, ", \"trend\": %.9g}}\n", bft_summary_trend(s));
}

/* ---- By format ---- */

bft_status bft_printer_begin(bft_error *err, bft_printer *printer) {
    switch (printer->format) {
    case BFT_FORMAT_TABLE:
        bft_table_begin(printer);
        return BFT_OK;
    case BFT_FORMAT_JSONL:
        return BFT_OK;
    default:
        return delimited_header(err, printer);
    }
}

bft_status bft_printer_turn(bft_error *err, bft_printer *printer, const bft_record *record) {
    switch (printer->format) {
    case BFT_FORMAT_TABLE:
        return bft_table_turn(err, printer, record);
    case BFT_FORMAT_JSONL:
        return json_turn(err, printer, record);
    default:
        return delimited_turn(err, printer, record);
    }
}

bft_status bft_printer_summary(bft_error *err, bft_printer *printer, size_t dialog, const bft_summary *summary) {
    switch (printer->format) {
    case BFT_FORMAT_TABLE:
        return bft_table_summary(err, printer, summary);
    case BFT_FORMAT_JSONL:
        return json_summary(err, printer, dialog, summary);
    default:
        return delimited_summary(err, printer, dialog, summary);
    }
}
