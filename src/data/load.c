/* load.c: reading files into a data set: rows are read, their labels resolved, their texts tokenized. */
#include "data/dataset.h"

#include "base/log.h"
#include "base/thread.h"
#include "data/label_set.h"
#include "data/rows.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORTH_THREADS = 1 << 17, MOST_WAITING = 1 << 21 }; /* bytes of texts */

typedef struct dataset_loader {
    const bft_config *config;
    const bft_tokenizer *tokenizer;
    size_t max_length;
    bool skip_bad;
    bft_dataset *dataset;
    bft_label_set set;
    bft_buffer classes;   /* uint32_t: the classes of all samples, numbered as the set does before it is closed */
    bft_buffer class_end; /* size_t, (count): where each sample's classes end */
    bft_pool *pool;       /* made when there is work for it */
    bft_buffer texts;     /* of the rows whose ids are still to come */
    bft_buffer waiting;   /* bft_string: those texts, once the buffer has stopped moving */
    bft_encodings encodings;
} dataset_loader;

/* What became of the rows of one file. */
typedef struct row_tally {
    size_t rows, skipped, left_out, first_line;
    char first_reason[BFT_ERROR_SIZE];
} row_tally;

/* ---- One row ---- */

/* A finite decimal number and nothing else. */
static bool parse_number(bft_field field, double *value) {
    char digits[64];
    if (field.length == 0 || field.length >= sizeof digits) {
        return false;
    }
    memcpy(digits, field.bytes, field.length);
    digits[field.length] = '\0';
    char *end;
    *value = strtod(digits, &end);
    return strspn(digits, "0123456789+-.eE") == field.length && end == digits + field.length && isfinite(*value) &&
           fabs(*value) <= (double)FLT_MAX;
}

static bft_status add_score(bft_error *err, dataset_loader *loader, const bft_row *row) {
    double value;
    if (row->label_count != 1 || !parse_number(row->labels[0], &value)) {
        return bft_error_set(err, BFT_BAD, "the label must be one finite number");
    }
    float score = (float)value;
    return bft_dataset_add_target(err, loader->dataset, (bft_sample){.targets = &score});
}

static bft_status add_classes(bft_error *err, dataset_loader *loader) {
    size_t bytes = loader->set.row_count * sizeof *loader->set.row;
    BFT_TRY(bft_buffer_append(err, &loader->classes, loader->set.row, bytes));
    size_t end = loader->classes.length / sizeof *loader->set.row;
    return bft_buffer_append(err, &loader->class_end, &end, sizeof end);
}

/* The row's target. A failure means that the row is bad. */
static bft_status add_target(bft_error *err, dataset_loader *loader, const bft_row *row, bool *left_out) {
    *left_out = false;
    if (loader->dataset->problem == BFT_REGRESSION) {
        return add_score(err, loader, row);
    }
    BFT_TRY(bft_label_set_resolve(err, &loader->set, row, left_out));
    return *left_out ? BFT_OK : add_classes(err, loader);
}

/* Tokenizes the texts that wait. */
static bft_status add_waiting(bft_error *err, dataset_loader *loader) {
    bft_string *texts = (bft_string *)(void *)loader->waiting.data;
    size_t count = loader->waiting.length / sizeof *texts;
    for (size_t i = 0, at = 0; i < count; at += texts[i++].length) {
        texts[i].data = loader->texts.data + at;
    }
    if (loader->pool == NULL && loader->texts.length >= WORTH_THREADS) {
        BFT_TRY(bft_pool_create(err, &loader->pool, (int)bft_config_int(loader->config, "DEVICE.THREADS")));
    }
    BFT_TRY(bft_tokenizer_encode_all(err, loader->tokenizer, loader->pool, texts, count, loader->max_length,
                                     &loader->encodings));
    for (size_t i = 0; i < count; i++) {
        const struct bft_encoded *text = &loader->encodings.texts[i];
        BFT_TRY(bft_dataset_add_ids(err, loader->dataset, text->ids, text->count));
    }
    bft_buffer_clear(&loader->texts);
    bft_buffer_clear(&loader->waiting);
    return BFT_OK;
}

static bft_status add_text(bft_error *err, dataset_loader *loader, bft_field text) {
    bft_string waiting = {.length = text.length};
    BFT_TRY(bft_buffer_append(err, &loader->texts, text.bytes, text.length));
    BFT_TRY(bft_buffer_append(err, &loader->waiting, &waiting, sizeof waiting));
    bool full = loader->texts.length >= MOST_WAITING || loader->waiting.length >= MOST_WAITING;
    return full ? add_waiting(err, loader) : BFT_OK;
}

/* ---- One file ---- */

/* Counts a bad row, or passes its error on. */
static bft_status bad_row(bft_error *err, const dataset_loader *loader, const char *name, const bft_row *row,
                          row_tally *tally) {
    if (err->status != BFT_BAD || !loader->skip_bad) {
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

static bft_status read_rows(bft_error *err, dataset_loader *loader, bft_rows *rows, row_tally *tally) {
    const char *name = bft_rows_name(rows);
    for (;;) {
        bft_row row;
        bool more, left_out = false;
        bft_status status = bft_rows_next(err, rows, &row, &more);
        if (!more) {
            return status;
        }
        tally->rows++;
        if (status == BFT_OK && add_target(err, loader, &row, &left_out) != BFT_OK) {
            status = bft_error_prefix(err, "%s:%zu", name, row.line);
        }
        if (status != BFT_OK) {
            BFT_TRY(bad_row(err, loader, name, &row, tally));
        } else if (left_out) {
            tally->left_out++;
        } else {
            BFT_TRY(add_text(err, loader, row.text));
        }
    }
}

static void report(const char *name, const row_tally *tally) {
    if (tally->skipped > 0) {
        bft_log_warning("%s: %zu of %zu rows skipped, the first at line %zu: %s", name, tally->skipped, tally->rows,
                        tally->first_line, tally->first_reason);
    }
    if (tally->left_out > 0) {
        bft_log_info("%s: %zu of %zu rows left out for their labels", name, tally->left_out, tally->rows);
    }
}

static bft_status read_file(bft_error *err, dataset_loader *loader, const char *path) {
    row_tally tally = {0};
    bft_rows *rows;
    BFT_TRY(bft_rows_open(err, &rows, path, loader->config));
    bft_status status = read_rows(err, loader, rows, &tally);
    if (status == BFT_OK) {
        report(bft_rows_name(rows), &tally);
    }
    bft_rows_close(rows);
    loader->dataset->skipped += tally.skipped;
    return status;
}

/* ---- The whole set ---- */

/* Writes the targets, now that the classes have their final ids. */
static bft_status add_targets(bft_error *err, dataset_loader *loader, const uint32_t *new_id, float *targets) {
    const uint32_t *class = (const uint32_t *)(const void *)loader->classes.data;
    const size_t *end = (const size_t *)(const void *)loader->class_end.data;
    bft_dataset *dataset = loader->dataset;
    for (size_t i = 0, at = 0; i < dataset->count; i++) {
        memset(targets, 0, dataset->labels.count * sizeof *targets);
        bft_sample sample = {.targets = targets};
        for (; at < end[i]; at++) {
            sample.target = new_id[class[at]];
            targets[sample.target] = 1.0f;
        }
        BFT_TRY(bft_dataset_add_target(err, dataset, sample));
    }
    return BFT_OK;
}

static bft_status finish_classes(bft_error *err, dataset_loader *loader, const char *path) {
    bft_names *classes = &loader->set.classes;
    uint32_t *new_id;
    float *targets;
    bft_arena arena = {0};
    bft_status status = BFT_NEW(err, &arena, &new_id, BFT_LABEL_LIMIT);
    status = status == BFT_OK ? BFT_NEW(err, &arena, &targets, BFT_LABEL_LIMIT) : status;
    status = status == BFT_OK ? bft_label_set_close(err, &loader->set, new_id) : status;
    bool single = loader->dataset->problem == BFT_SINGLE_LABEL;
    if (status == BFT_OK && classes->count < (single ? 2 : 1)) {
        status = single ? bft_error_set(err, BFT_BAD, "%s: the only label is \"%s\": a classifier needs two", path,
                                        classes->at[0])
                        : bft_error_set(err, BFT_BAD, "%s: no row has a label", path);
    }
    status = status == BFT_OK ? bft_dataset_set_labels(err, loader->dataset, classes->count, classes->at) : status;
    status = status == BFT_OK ? add_targets(err, loader, new_id, targets) : status;
    bft_arena_free(&arena);
    return status;
}

static bft_status load(bft_error *err, dataset_loader *loader, size_t path_count, const char *const *paths,
                       const bft_labels *labels) {
    bool regression = loader->dataset->problem == BFT_REGRESSION;
    char *score = "score";
    if (regression) {
        BFT_TRY(bft_dataset_set_labels(err, loader->dataset, 1, &score));
    } else {
        BFT_TRY(bft_label_set_create(err, &loader->set, loader->config, labels));
    }
    for (size_t i = 0; i < path_count; i++) {
        BFT_TRY(read_file(err, loader, paths[i]));
    }
    BFT_TRY(add_waiting(err, loader));
    if (loader->dataset->count == 0) {
        return bft_error_set(err, BFT_BAD, "%s: no row is left that can be used", path_count > 0 ? paths[0] : "data");
    }
    return regression ? BFT_OK : finish_classes(err, loader, paths[0]);
}

/* What kind of target the configuration asks for. */
static bft_status choose_problem(bft_error *err, const bft_config *config, bft_problem *out) {
    bool multi = bft_config_bool(config, "DATA.MULTI_LABEL"), regression = bft_config_bool(config, "DATA.REGRESSION");
    if (multi && regression) {
        return bft_error_set(err, BFT_BAD, "%s: DATA.MULTI_LABEL and DATA.REGRESSION can't both be true",
                             bft_config_origin(config, "DATA.REGRESSION"));
    }
    *out = regression ? BFT_REGRESSION : multi ? BFT_MULTI_LABEL : BFT_SINGLE_LABEL;
    return BFT_OK;
}

bft_status bft_dataset_read(bft_error *err, bft_dataset **out, const bft_config *config, size_t path_count,
                            const char *const *paths, const bft_tokenizer *tokenizer, size_t max_length,
                            const bft_labels *labels) {
    bft_problem problem = BFT_PROBLEM_NONE;
    BFT_TRY(choose_problem(err, config, &problem));
    dataset_loader loader = {.config = config, .tokenizer = tokenizer, .max_length = max_length};
    loader.skip_bad = strcmp(bft_config_string(config, "DATA.ON_BAD_ROW"), "skip") == 0;
    BFT_TRY(bft_dataset_create(err, &loader.dataset, problem));
    bft_status status = load(err, &loader, path_count, paths, labels);
    bft_label_set_free(&loader.set);
    bft_buffer_free(&loader.classes);
    bft_buffer_free(&loader.class_end);
    bft_buffer_free(&loader.texts);
    bft_buffer_free(&loader.waiting);
    bft_encodings_free(&loader.encodings);
    bft_pool_destroy(loader.pool);
    if (status != BFT_OK) {
        bft_dataset_destroy(loader.dataset);
        return status;
    }
    *out = loader.dataset;
    return BFT_OK;
}
