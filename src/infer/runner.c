/* runner.c: the queue of texts and its batches. */
#include "infer/runner.h"

#include <stdlib.h>
#include <string.h>

enum { BATCH_TEXTS = 64, BATCH_TOKENS = 4096, SHORTEST = 3 /* [CLS] word [SEP] */ };

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

bft_status bft_runner_limit(bft_error *err, bft_runner *runner, size_t max_length) {
    size_t positions = bft_model_configuration(runner->model)->positions;
    size_t limit = least(max_length, runner->max_length != 0 ? runner->max_length : positions);
    if (limit < SHORTEST) {
        return bft_error_set(err, BFT_BAD, "%s: a text of %zu tokens at most has no room for words; %d is the least",
                             runner->folder, limit, SHORTEST);
    }
    runner->max_length = limit;
    return BFT_OK;
}

static bft_status open_parts(bft_error *err, bft_runner *runner, const char *folder, const bft_config *settings,
                             bft_backend backend) {
    runner->folder = strdup(folder);
    runner->start = calloc(1, sizeof *runner->start);
    if (runner->folder == NULL || runner->start == NULL) {
        return bft_error_memory(err, strlen(folder) + 1 + sizeof *runner->start);
    }
    BFT_TRY(bft_tokenizer_open(err, &runner->tokenizer, folder));
    BFT_TRY(bft_model_open(err, &runner->model, folder, backend));
    const bft_model_config *config = bft_model_configuration(runner->model);
    if (bft_tokenizer_size(runner->tokenizer) > config->vocabulary) {
        return bft_error_set(err, BFT_BAD, "%s: the tokenizer has %zu tokens, the model's table only %zu rows", folder,
                             bft_tokenizer_size(runner->tokenizer), config->vocabulary);
    }
    bool limited = strcmp(bft_config_origin(settings, "DATA.MAX_LENGTH"), "default") != 0;
    size_t wanted = limited ? (size_t)bft_config_int(settings, "DATA.MAX_LENGTH") : SIZE_MAX;
    BFT_TRY(bft_runner_limit(err, runner, least(wanted, bft_tokenizer_max_length(runner->tokenizer))));
    size_t tokens = runner->max_length > BATCH_TOKENS ? runner->max_length : BATCH_TOKENS;
    BFT_TRY(bft_batch_create(err, &runner->batch, BATCH_TEXTS, tokens, 0, config->vocabulary));
    return bft_session_create(err, &runner->session, runner->model, BATCH_TEXTS, tokens);
}

bft_status bft_runner_open(bft_error *err, bft_runner *runner, const char *folder, const bft_config *settings,
                           bft_backend backend) {
    *runner = (bft_runner){0};
    bft_status status = open_parts(err, runner, folder, settings, backend);
    if (status != BFT_OK) {
        bft_runner_close(runner);
    }
    return status;
}

void bft_runner_close(bft_runner *runner) {
    bft_session_destroy(runner->session);
    bft_batch_free(&runner->batch);
    bft_encoding_free(&runner->encoding);
    bft_model_destroy(runner->model);
    bft_tokenizer_destroy(runner->tokenizer);
    free(runner->folder);
    free(runner->start);
    free(runner->order);
    free(runner->ids);
    free(runner->coming);
    free(runner->rows);
    *runner = (bft_runner){0};
}

/* Makes *memory hold `wanted` items, at least doubling it. Counts are bounded by what was read into memory already. */
static bft_status grow(bft_error *err, void **memory, size_t *capacity, size_t wanted, size_t size) {
    if (wanted <= *capacity) {
        return BFT_OK;
    }
    size_t count = *capacity * 2 > wanted ? *capacity * 2 : wanted;
    void *bigger = count <= SIZE_MAX / size ? realloc(*memory, count * size) : NULL;
    if (bigger == NULL) {
        return bft_error_memory(err, (unsigned long long)count * size);
    }
    *memory = bigger;
    *capacity = count;
    return BFT_OK;
}

bft_status bft_runner_add_ids(bft_error *err, bft_runner *runner, const uint32_t *ids, size_t count) {
    size_t end = runner->start[runner->count];
    size_t starts = runner->text_capacity + 1;
    BFT_TRY(grow(err, (void **)&runner->start, &starts, runner->count + 2, sizeof *runner->start));
    runner->text_capacity = starts - 1;
    BFT_TRY(grow(err, (void **)&runner->ids, &runner->id_capacity, end + count, sizeof *runner->ids));
    memcpy(runner->ids + end, ids, count * sizeof *ids);
    runner->count++;
    runner->start[runner->count] = end + count;
    return BFT_OK;
}

bft_status bft_runner_add(bft_error *err, bft_runner *runner, const char *text, size_t length, bool *cut) {
    /* one id more than fits tells whether anything was cut; the closing [SEP] then moves one place down */
    size_t limit = runner->max_length;
    bft_encoding *encoding = &runner->encoding;
    BFT_TRY(bft_tokenizer_encode(err, runner->tokenizer, text, length, NULL, 0, limit + 1, encoding));
    bool over = encoding->count > limit;
    if (over) {
        encoding->ids[limit - 1] = encoding->ids[limit];
        encoding->count = limit;
    }
    if (cut != NULL) {
        *cut = over;
    }
    return bft_runner_add_ids(err, runner, encoding->ids, encoding->count);
}

static size_t length_of(const bft_runner *runner, size_t text) {
    return runner->start[text + 1] - runner->start[text];
}

static int by_length(const void *a, const void *b, void *context) {
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    size_t length_x = length_of(context, x), length_y = length_of(context, y);
    return length_x != length_y ? (length_x > length_y) - (length_x < length_y) : (x > y) - (x < y);
}

/* Fills the batch from order[next] on; returns the place behind what went in. */
static size_t fill_batch(bft_runner *runner, size_t next) {
    bft_batch_clear(&runner->batch);
    while (next < runner->started) {
        size_t text = runner->order[next];
        bft_sample sample = {.ids = runner->ids + runner->start[text], .length = length_of(runner, text)};
        if (!bft_batch_add(&runner->batch, sample, (uint32_t)runner->batch.batch)) {
            break;
        }
        next++;
    }
    return next;
}

/* Waits for the batch under way, and puts its values in their texts' places. */
static bft_status collect(bft_error *err, bft_runner *runner) {
    size_t width = runner->width;
    if (runner->packed == runner->in_flight) {
        return BFT_OK;
    }
    float *values = runner->coming + runner->started * width;
    BFT_TRY(bft_session_collect(err, runner->session, values));
    for (size_t i = runner->in_flight; i < runner->packed; i++) {
        memcpy(runner->coming + runner->order[i] * width, values + (i - runner->in_flight) * width,
               width * sizeof *values);
    }
    runner->in_flight = runner->packed;
    return BFT_OK;
}

static bft_status make_order(bft_error *err, bft_runner *runner) {
    BFT_TRY(grow(err, (void **)&runner->order, &runner->order_capacity, runner->count, sizeof *runner->order));
    BFT_TRY(grow(err, (void **)&runner->coming, &runner->coming_capacity, (runner->count + BATCH_TEXTS) * runner->width,
                 sizeof *runner->coming));
    for (size_t i = 0; i < runner->count; i++) {
        runner->order[i] = i;
    }
    qsort_r(runner->order, runner->count, sizeof *runner->order, by_length, runner);
    return BFT_OK;
}

static bft_status start(bft_error *err, bft_runner *runner, bool logits, bft_pooling pooling) {
    if (runner->count > 0) {
        BFT_TRY(make_order(err, runner));
    }
    runner->started = runner->count;
    runner->in_flight = runner->packed = 0;
    while (runner->packed < runner->started) {
        size_t next = fill_batch(runner, runner->packed);
        BFT_TRY(collect(err, runner));
        BFT_TRY(logits ? bft_session_start_logits(err, runner->session, &runner->batch)
                       : bft_session_start_vectors(err, runner->session, &runner->batch, pooling));
        runner->packed = next;
    }
    runner->count = 0; /* all are packed: what is added now may take their ids' place */
    return BFT_OK;
}

bft_status bft_runner_start_logits(bft_error *err, bft_runner *runner) {
    runner->width = bft_model_classes(runner->model);
    return start(err, runner, true, BFT_POOL_NONE);
}

bft_status bft_runner_start_vectors(bft_error *err, bft_runner *runner, bft_pooling pooling) {
    runner->width = bft_model_configuration(runner->model)->channels;
    return start(err, runner, false, pooling);
}

bft_status bft_runner_finish(bft_error *err, bft_runner *runner) {
    BFT_TRY(collect(err, runner));
    float *rows = runner->rows;
    size_t capacity = runner->row_capacity;
    runner->rows = runner->coming;
    runner->row_capacity = runner->coming_capacity;
    runner->coming = rows;
    runner->coming_capacity = capacity;
    runner->finished = runner->started;
    runner->started = 0;
    return BFT_OK;
}
