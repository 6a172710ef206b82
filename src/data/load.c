/* load.c: reading files into a data set: rows are read, their labels resolved, their texts tokenized. */
#include "data/dataset.h"

#include "data/label_set.h"
#include "data/row_tally.h"
#include "data/text_queue.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct dataset_loader {
    const bft_config *config;
    bool skip_bad;
    bft_dataset *dataset;
    bft_label_set set;
    bft_buffer classes;   /* uint32_t: the classes of all samples, numbered as the set does before it is closed */
    bft_buffer class_end; /* size_t, (count): where each sample's classes end */
    bft_text_queue texts; /* of the rows whose ids are still to come */
} dataset_loader;

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

static bft_status take_ids(bft_error *err, void *dataset, const uint32_t *ids, size_t count) {
    return bft_dataset_add_ids(err, dataset, ids, count);
}

/* ---- One file ---- */

static bft_status read_rows(bft_error *err, dataset_loader *loader, bft_rows *rows, bft_row_tally *tally) {
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
            BFT_TRY(bft_row_tally_bad(err, tally, loader->skip_bad, name, &row));
        } else if (left_out) {
            tally->left_out++;
        } else {
            BFT_TRY(bft_text_queue_add(err, &loader->texts, row.text));
        }
    }
}

static bft_status read_file(bft_error *err, dataset_loader *loader, const char *path) {
    bft_row_tally tally = {0};
    bft_rows *rows;
    BFT_TRY(bft_rows_open(err, &rows, path, loader->config, true));
    bft_status status = read_rows(err, loader, rows, &tally);
    if (status == BFT_OK) {
        bft_row_tally_report(&tally, bft_rows_name(rows));
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
    BFT_TRY(bft_text_queue_finish(err, &loader->texts));
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
    dataset_loader loader = {.config = config,
                             .skip_bad = strcmp(bft_config_string(config, "DATA.ON_BAD_ROW"), "skip") == 0};
    BFT_TRY(bft_dataset_create(err, &loader.dataset, problem));
    loader.texts = (bft_text_queue){.tokenizer = tokenizer,
                                    .limit = max_length,
                                    .threads = (int)bft_config_int(config, "DEVICE.THREADS"),
                                    .take = take_ids,
                                    .context = loader.dataset};
    bft_status status = load(err, &loader, path_count, paths, labels);
    bft_label_set_free(&loader.set);
    bft_buffer_free(&loader.classes);
    bft_buffer_free(&loader.class_end);
    bft_text_queue_free(&loader.texts);
    if (status != BFT_OK) {
        bft_dataset_destroy(loader.dataset);
        return status;
    }
    *out = loader.dataset;
    return BFT_OK;
}
