/* unlabelled.c: reading files of text alone into a data set: dialogues and plain lines, or rows with a column of text. */
#include "data/dataset.h"

#include "base/lines.h"
#include "base/log.h"
#include "base/utf8.h"
#include "data/row_tally.h"
#include "data/text_queue.h"

#include <stdlib.h>
#include <string.h>

enum { SPECIAL = 2 }; /* a sample is [CLS], a text's ids, [SEP] */

typedef struct text_loader {
    const bft_config *config;
    bft_dialog_format *format; /* who a line's speaker may be */
    bft_dataset *dataset;
    size_t max_length;
    bool skip_bad;
    uint8_t *pieces;   /* (tokenizer's size) bft_piece */
    uint32_t *window;  /* (max_length) a part of a long text */
    size_t long_texts; /* that were cut into several samples */
    bft_text_queue texts;
} text_loader;

/* ---- Samples ---- */

/* Where the sample that starts at `start` ends: before a word that doesn't fit whole, unless it is longer than a sample. */
static size_t find_end(const text_loader *loader, const uint32_t *ids, size_t start, size_t count) {
    size_t room = loader->max_length - SPECIAL;
    if (count - start <= room) {
        return count;
    }
    size_t end = start + room;
    while (end > start && loader->pieces[ids[end]] == BFT_PIECE_TAIL) {
        end--;
    }
    return end > start ? end : start + room;
}

static bool has_words(const text_loader *loader, const uint32_t *ids, size_t count) {
    bool any = false;
    for (size_t i = 0; i < count && !any; i++) {
        any = loader->pieces[ids[i]] != BFT_PIECE_NONE;
    }
    return any;
}

/* A text's samples; what holds nothing but special tokens and unknown words is left out, since nothing in it can be masked. */
static bft_status take_ids(bft_error *err, void *context, const uint32_t *ids, size_t count) {
    text_loader *loader = context;
    const uint32_t *body = ids + 1;
    size_t length = count - SPECIAL, samples = 0;
    for (size_t start = 0, end; start < length; start = end, samples++) {
        end = find_end(loader, body, start, length);
        if (!has_words(loader, body + start, end - start)) {
            continue;
        }
        loader->window[0] = ids[0];
        memcpy(loader->window + 1, body + start, (end - start) * sizeof *body);
        loader->window[1 + end - start] = ids[count - 1];
        BFT_TRY(bft_dataset_add_ids(err, loader->dataset, loader->window, end - start + SPECIAL));
    }
    loader->long_texts += samples > 1;
    return BFT_OK;
}

/* ---- Files ---- */

/* A line that isn't UTF-8 is a bad row; one that is too long is cut, perhaps in a character's midst, and no worse for it. */
static bft_status check_line(bft_error *err, const bft_lines *lines, const char *line, size_t length, bool cut) {
    return cut || bft_utf8_valid(line, length)
               ? BFT_OK
               : bft_error_set(err, BFT_BAD,
                               "%s:%zu: isn't UTF-8; `iconv -f CP1251 -t UTF-8` converts text from Windows",
                               bft_lines_name(lines), bft_lines_number(lines));
}

static bft_status add_turn(bft_error *err, text_loader *loader, char *line, size_t length, bft_speaker *previous) {
    bft_turn turn;
    bool spoken = bft_dialog_line(loader->format, line, length, *previous, &turn);
    *previous = spoken ? turn.speaker : BFT_CLIENT;
    return spoken ? bft_text_queue_add(err, &loader->texts, (bft_field){turn.text, turn.length}) : BFT_OK;
}

static bft_status read_lines(bft_error *err, text_loader *loader, bft_lines *lines, bft_row_tally *tally) {
    bft_speaker previous = BFT_CLIENT;
    bool more = true, warned = false;
    for (;; tally->rows++) {
        char *line;
        size_t length;
        bool cut;
        BFT_TRY(bft_lines_next(err, lines, &line, &length, &cut, &more));
        if (!more) {
            return BFT_OK;
        }
        if (cut && !warned) {
            warned = true;
            bft_log_warning(
                "%s:%zu: the line is longer than DIALOG.MAX_LINE; it and others like it are read up to there",
                bft_lines_name(lines), bft_lines_number(lines));
        }
        const bft_row row = {.line = bft_lines_number(lines)};
        BFT_TRY(check_line(err, lines, line, length, cut) == BFT_OK
                    ? add_turn(err, loader, line, length, &previous)
                    : bft_row_tally_bad(err, tally, loader->skip_bad, bft_lines_name(lines), &row));
    }
}

static bft_status read_dialogues(bft_error *err, text_loader *loader, const char *path, bft_row_tally *tally) {
    bft_lines *lines;
    BFT_TRY(bft_lines_open(err, &lines, path, (size_t)bft_config_int(loader->config, "DIALOG.MAX_LINE")));
    bft_status status = read_lines(err, loader, lines, tally);
    bft_lines_close(lines);
    return status;
}

static bft_status read_rows(bft_error *err, text_loader *loader, bft_rows *rows, bft_row_tally *tally) {
    for (;;) {
        bft_row row;
        bool more;
        bft_status status = bft_rows_next(err, rows, &row, &more);
        if (!more) {
            return status;
        }
        tally->rows++;
        BFT_TRY(status == BFT_OK ? bft_text_queue_add(err, &loader->texts, row.text)
                                 : bft_row_tally_bad(err, tally, loader->skip_bad, bft_rows_name(rows), &row));
    }
}

static bft_status read_table(bft_error *err, text_loader *loader, const char *path, bft_row_tally *tally) {
    bft_rows *rows;
    BFT_TRY(bft_rows_open(err, &rows, path, loader->config, false));
    bft_status status = read_rows(err, loader, rows, tally);
    bft_rows_close(rows);
    return status;
}

static bft_status read_file(bft_error *err, text_loader *loader, const char *path) {
    bool by_name = strcmp(bft_config_string(loader->config, "DATA.FORMAT"), "auto") == 0;
    bft_row_tally tally = {0};
    BFT_TRY(by_name && !bft_rows_have_columns(path) ? read_dialogues(err, loader, path, &tally)
                                                    : read_table(err, loader, path, &tally));
    bft_row_tally_report(&tally, path);
    loader->dataset->skipped += tally.skipped;
    return BFT_OK;
}

static bft_status load(bft_error *err, text_loader *loader, size_t path_count, const char *const *paths) {
    for (size_t i = 0; i < path_count; i++) {
        BFT_TRY(read_file(err, loader, paths[i]));
    }
    BFT_TRY(bft_text_queue_finish(err, &loader->texts));
    if (loader->dataset->count == 0) {
        return bft_error_set(err, BFT_BAD, "%s: there is no text in it with words that the tokenizer knows", paths[0]);
    }
    if (loader->long_texts > 0) {
        bft_log_info("%zu texts of more than %zu tokens were cut, between words", loader->long_texts,
                     loader->max_length);
    }
    return BFT_OK;
}

static bft_status prepare(bft_error *err, text_loader *loader, const bft_tokenizer *tokenizer) {
    size_t size = bft_tokenizer_size(tokenizer);
    loader->pieces = malloc(size);
    loader->window = malloc(loader->max_length * sizeof *loader->window);
    if (loader->pieces == NULL || loader->window == NULL) {
        return bft_error_memory(err, size + loader->max_length * sizeof *loader->window);
    }
    bft_tokenizer_pieces(tokenizer, loader->pieces);
    BFT_TRY(bft_dialog_format_create(err, &loader->format, loader->config));
    return bft_dataset_create(err, &loader->dataset, BFT_PROBLEM_NONE);
}

bft_status bft_dataset_read_unlabelled(bft_error *err, bft_dataset **out, const bft_config *config, size_t path_count,
                                       const char *const *paths, const bft_tokenizer *tokenizer, size_t max_length) {
    text_loader loader = {.config = config,
                          .max_length = max_length,
                          .skip_bad = strcmp(bft_config_string(config, "DATA.ON_BAD_ROW"), "skip") == 0};
    loader.texts = (bft_text_queue){.tokenizer = tokenizer,
                                    .threads = (int)bft_config_int(config, "DEVICE.THREADS"),
                                    .take = take_ids,
                                    .context = &loader};
    bft_status status = prepare(err, &loader, tokenizer);
    if (status == BFT_OK) {
        status = load(err, &loader, path_count, paths);
    }
    bft_text_queue_free(&loader.texts);
    bft_dialog_format_destroy(loader.format);
    free(loader.pieces);
    free(loader.window);
    if (status != BFT_OK) {
        bft_dataset_destroy(loader.dataset);
        return status;
    }
    *out = loader.dataset;
    return BFT_OK;
}
