/* printer_table.c: the table for people: a heading a dialogue, a line a turn with a bar for its negativity, the
 * summary.
 *
 * On a terminal the text is cut to what is left of the width; elsewhere it stands in full. */
#include "cli/printer.h"

#include <string.h>

enum { NUMBER_WIDTH = 4, SPEAKER_WIDTH = 10, BAR_WIDTH = 5, WIDEST_LABEL = 24, NARROWEST_TEXT = 20 };

static const char red[] = "\033[31m", yellow[] = "\033[33m", green[] = "\033[32m", dim[] = "\033[2m",
                  bold[] = "\033[1m", plain[] = "\033[0m";

static bft_status colour(bft_error *err, const bft_printer *printer, const char *code) {
    return bft_buffer_append(err, &printer->output->text, code, printer->output->colour ? strlen(code) : 0);
}

static bool has_labels(const bft_printer *printer) {
    return bft_predictor_scoring(printer->predictor) != BFT_SCORE_NONE;
}

void bft_table_begin(bft_printer *printer) {
    const bft_model *model = bft_predictor_model(printer->predictor);
    printer->label_width = strlen("label");
    for (size_t id = 0; id < bft_model_classes(model); id++) {
        const char *label = bft_model_label(model, id);
        size_t width = bft_display_width(label, strlen(label));
        printer->label_width = width > printer->label_width ? width : printer->label_width;
    }
    bool several = bft_model_configuration(model)->problem == BFT_MULTI_LABEL;
    if (several || printer->label_width > WIDEST_LABEL) {
        printer->label_width = WIDEST_LABEL;
    }
}

/* The column names, before the first turn of each dialogue. */
static bft_status heading(bft_error *err, const bft_printer *printer, size_t dialog) {
    bft_buffer *out = &printer->output->text;
    BFT_TRY(colour(err, printer, bold));
    if (printer->lines) {
        BFT_TRY(bft_buffer_printf(err, out, "%*s", NUMBER_WIDTH, "line"));
    } else {
        BFT_TRY(bft_buffer_printf(err, out, "dialogue %zu\n%*s  %-*s", dialog, NUMBER_WIDTH, "turn", SPEAKER_WIDTH,
                                  "speaker"));
    }
    if (bft_predictor_knows_negative(printer->predictor)) {
        BFT_TRY(bft_buffer_printf(err, out, "  %-*s", BAR_WIDTH, "tone"));
    }
    if (has_labels(printer)) {
        BFT_TRY(bft_buffer_printf(err, out, "  %-*s", (int)printer->label_width, "label"));
    }
    BFT_TRY(bft_buffer_printf(err, out, "  %6s  text", "score"));
    BFT_TRY(colour(err, printer, plain));
    return bft_buffer_append(err, out, "\n", 1);
}

/* Negativity in eighths of a column. */
static bft_status bar(bft_error *err, const bft_printer *printer, const bft_prediction *prediction) {
    static const char *const eighths[] = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"};
    bft_buffer *out = &printer->output->text;
    int filled = (int)((double)prediction->negativity * BAR_WIDTH * 8 + 0.5);
    BFT_TRY(colour(err, printer, prediction->negative ? red : prediction->negativity >= 0.25f ? yellow : green));
    BFT_TRY(bft_buffer_append(err, out, "  ", 2));
    for (int cell = 0; cell < BAR_WIDTH; cell++, filled -= 8) {
        BFT_TRY(bft_buffer_printf(err, out, "%s", eighths[filled < 0 ? 0 : filled > 8 ? 8 : filled]));
    }
    return colour(err, printer, plain);
}

/* All scores, on a line of their own under the turn. */
static bft_status score_line(bft_error *err, const bft_printer *printer, const bft_prediction *prediction) {
    const bft_model *model = bft_predictor_model(printer->predictor);
    bft_buffer *out = &printer->output->text;
    const float *scores = printer->detail == BFT_DETAIL_RAW ? prediction->logits : prediction->scores;
    BFT_TRY(bft_buffer_printf(err, out, "%*s", NUMBER_WIDTH, ""));
    for (size_t id = 0; id < bft_model_classes(model); id++) {
        const char *label = bft_model_label(model, id);
        BFT_TRY(bft_buffer_append(err, out, "  ", 2));
        BFT_TRY(bft_display_append(err, out, label, strlen(label), SIZE_MAX));
        BFT_TRY(bft_buffer_printf(err, out, " %.3f", scores[id]));
    }
    return bft_buffer_append(err, out, "\n", 1);
}

bft_status bft_table_turn(bft_error *err, bft_printer *printer, const bft_record *record) {
    bft_buffer *out = &printer->output->text;
    if (printer->dialog != record->dialog + 1) {
        printer->dialog = record->dialog + 1;
        BFT_TRY(heading(err, printer, record->dialog));
    }
    bool operators = !printer->lines && record->speaker == BFT_OPERATOR;
    BFT_TRY(colour(err, printer, operators ? dim : ""));
    BFT_TRY(bft_buffer_printf(err, out, "%*zu", NUMBER_WIDTH, record->turn));
    size_t used = NUMBER_WIDTH;
    if (!printer->lines) {
        const char *speaker = bft_record_speaker(record);
        BFT_TRY(bft_buffer_append(err, out, "  ", 2));
        BFT_TRY(bft_display_pad(err, out, speaker, strlen(speaker), SPEAKER_WIDTH));
        used += 2 + SPEAKER_WIDTH;
    }
    if (bft_predictor_knows_negative(printer->predictor)) {
        BFT_TRY(bar(err, printer, record->prediction));
        BFT_TRY(colour(err, printer, operators ? dim : ""));
        used += 2 + BAR_WIDTH;
    }
    if (has_labels(printer)) {
        BFT_TRY(bft_buffer_append(err, out, "  ", 2));
        BFT_TRY(bft_display_pad(err, out, record->answer, strlen(record->answer), printer->label_width));
        used += 2 + printer->label_width;
    }
    BFT_TRY(bft_buffer_printf(err, out, "  %6.3f  ", record->prediction->score));
    used += 10;
    size_t width = printer->output->width;
    size_t room = width == SIZE_MAX ? SIZE_MAX : width > used + NARROWEST_TEXT ? width - used : NARROWEST_TEXT;
    BFT_TRY(bft_display_append(err, out, record->text, record->length, room));
    BFT_TRY(colour(err, printer, operators ? plain : ""));
    BFT_TRY(bft_buffer_append(err, out, "\n", 1));
    return printer->detail == BFT_DETAIL_TOP ? BFT_OK : score_line(err, printer, record->prediction);
}

static bft_status stretch_words(bft_error *err, bft_buffer *out, const bft_summary *s) {
    BFT_TRY(bft_buffer_printf(err, out, "        negative turns"));
    for (size_t i = 0; i < s->stretch_count; i++) {
        const bft_stretch *stretch = &s->stretches[i];
        BFT_TRY(bft_buffer_printf(err, out, stretch->from == stretch->to ? "%s %zu" : "%s %zu-%zu", i > 0 ? "," : "",
                                  stretch->from, stretch->to));
    }
    if (s->stretch_total > s->stretch_count) {
        BFT_TRY(bft_buffer_printf(err, out, " and %zu stretches more", s->stretch_total - s->stretch_count));
    }
    return bft_buffer_append(err, out, "\n", 1);
}

static const char *direction(double trend) {
    return trend > 0.1 ? "getting worse" : trend < -0.1 ? "getting better" : "steady";
}

static bft_status negative_words(bft_error *err, const bft_printer *printer, const bft_summary *s) {
    bft_buffer *out = &printer->output->text;
    BFT_TRY(bft_buffer_printf(err, out, "        worst: turn %zu, ", s->worst.turn));
    BFT_TRY(bft_display_append(err, out, s->worst.label.data, s->worst.label.length, SIZE_MAX));
    BFT_TRY(bft_buffer_printf(err, out, ", negativity %.3f", s->worst.negativity));
    if (s->client_turns > 1) {
        double trend = bft_summary_trend(s);
        BFT_TRY(bft_buffer_printf(err, out, "; trend %+.3f, %s", trend, direction(trend)));
    }
    BFT_TRY(bft_buffer_append(err, out, "\n", 1));
    return s->negative_turns > 0 ? stretch_words(err, out, s) : BFT_OK;
}

bft_status bft_table_summary(bft_error *err, bft_printer *printer, const bft_summary *s) {
    bft_buffer *out = &printer->output->text;
    bool negative = bft_predictor_knows_negative(printer->predictor);
    BFT_TRY(colour(err, printer, bold));
    BFT_TRY(bft_buffer_printf(err, out, "summary"));
    BFT_TRY(colour(err, printer, plain));
    BFT_TRY(bft_buffer_printf(err, out, " %zu client turn%s", s->client_turns, s->client_turns == 1 ? "" : "s"));
    if (s->client_turns > 0 && negative) {
        BFT_TRY(bft_buffer_printf(err, out, ", %zu negative (%.0f %%)", s->negative_turns,
                                  100 * bft_summary_negative_share(s)));
    }
    if (s->client_turns > 0 && has_labels(printer)) {
        BFT_TRY(bft_buffer_printf(err, out, "; first "));
        BFT_TRY(bft_display_append(err, out, s->first.label.data, s->first.label.length, SIZE_MAX));
        BFT_TRY(bft_buffer_printf(err, out, ", last "));
        BFT_TRY(bft_display_append(err, out, s->last.label.data, s->last.label.length, SIZE_MAX));
    }
    BFT_TRY(bft_buffer_append(err, out, "\n", 1));
    if (s->client_turns > 0 && negative) {
        BFT_TRY(negative_words(err, printer, s));
    }
    return bft_buffer_append(err, out, "\n", 1);
}
