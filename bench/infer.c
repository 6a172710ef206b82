/* infer.c: how many real tokens a second a model reads: packed batches through one session, logits back each time.
 *
 * Usage: infer MODEL TEXTS.tsv BACKEND BATCH TOKENS PASSES [PRECISION]. A batch takes texts in the file's order, BATCH of
 * them at most and TOKENS tokens. One pass over all texts warms up, PASSES are timed; a JSON object on stdout says how
 * long each took. With PASSES "-" each line of stdin is a number of passes, and answered with such an object.
 * Tokenizing is done before; packing a batch is part of the time. */
#include "bertft/config.h"
#include "bertft/data.h"
#include "bertft/model.h"
#include "bertft/tokenizer.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_PASSES = 1000 };

typedef struct bench {
    bft_backend backend;
    bft_config *config;
    bft_tokenizer *tokenizer;
    bft_model *model;
    bft_dataset *texts;
    bft_session *session;
    bft_batch batch;
    float *logits; /* (texts, K) */
} bench;

/* The classes are the model's, whichever of them the file has. */
static bft_status read_texts(bft_error *err, bench *b, const char *file) {
    size_t count = bft_model_classes(b->model);
    bft_labels labels = {.count = count, .names = calloc(count, sizeof *labels.names)};
    if (labels.names == NULL) {
        return bft_error_memory(err, count * sizeof *labels.names);
    }
    for (size_t k = 0; k < count; k++) {
        labels.names[k] = (char *)bft_model_label(b->model, k);
    }
    size_t positions = bft_model_configuration(b->model)->positions;
    bft_status status = bft_dataset_read(err, &b->texts, b->config, 1, &file, b->tokenizer, positions, &labels);
    free(labels.names);
    return status;
}

static bft_status open_bench(bft_error *err, bench *b, char **words, size_t batch, size_t tokens) {
    const char *folder = words[1], *file = words[2];
    bft_backend_setup setup = {.name = words[3], .precision = words[7], .inference = true};
    BFT_TRY(bft_backend_open(err, &b->backend, &setup));
    BFT_TRY(bft_config_create(err, &b->config));
    BFT_TRY(bft_tokenizer_open(err, &b->tokenizer, folder));
    BFT_TRY(bft_model_open(err, &b->model, folder, b->backend));
    BFT_TRY(read_texts(err, b, file));
    if (bft_dataset_longest(b->texts) > tokens) {
        return bft_error_set(err, BFT_BAD, "%s: a text has %zu tokens, a batch only %zu", file,
                             bft_dataset_longest(b->texts), tokens);
    }
    size_t values = bft_dataset_size(b->texts) * bft_model_classes(b->model);
    b->logits = calloc(values, sizeof *b->logits);
    if (b->logits == NULL) {
        return bft_error_memory(err, values * sizeof *b->logits);
    }
    BFT_TRY(bft_batch_create(err, &b->batch, batch, tokens, 0, bft_model_configuration(b->model)->vocabulary));
    return bft_session_create(err, &b->session, b->model, batch, tokens);
}

static void close_bench(bench *b) {
    bft_session_destroy(b->session);
    bft_batch_free(&b->batch);
    free(b->logits);
    bft_dataset_destroy(b->texts);
    bft_model_destroy(b->model);
    bft_tokenizer_destroy(b->tokenizer);
    bft_config_destroy(b->config);
    bft_backend_close(&b->backend);
}

/* Fills the batch from the text `next` on; returns the first that is left. */
static size_t fill(bench *b, size_t next) {
    bft_batch_clear(&b->batch);
    while (next < bft_dataset_size(b->texts)) {
        bft_sample text = bft_dataset_at(b->texts, next);
        text.targets = NULL;
        if (!bft_batch_add(&b->batch, text, (uint32_t)b->batch.batch)) {
            break;
        }
        next++;
    }
    return next;
}

static bft_status pass(bft_error *err, bench *b, double *seconds) {
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (size_t next = 0; next < bft_dataset_size(b->texts);) {
        float *logits = b->logits + next * bft_model_classes(b->model);
        next = fill(b, next);
        BFT_TRY(bft_session_logits(err, b->session, &b->batch, logits));
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    *seconds = (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec);
    return BFT_OK;
}

static void print(const bench *b, const double *seconds, size_t passes) {
    printf("{\"backend\": \"%s\", \"texts\": %zu, \"tokens\": %zu, \"seconds\": [", b->backend.ops->name,
           bft_dataset_size(b->texts), bft_dataset_tokens(b->texts));
    for (size_t i = 0; i < passes; i++) {
        printf("%s%.6f", i == 0 ? "" : ", ", seconds[i]);
    }
    printf("], \"logits\": [");
    for (size_t k = 0; k < bft_model_classes(b->model); k++) {
        printf("%s%.7g", k == 0 ? "" : ", ", (double)b->logits[k]);
    }
    printf("]}\n");
    fflush(stdout);
}

static bft_status run(bft_error *err, bench *b, size_t passes) {
    double seconds[MOST_PASSES];
    for (size_t i = 0; i < passes; i++) {
        BFT_TRY(pass(err, b, &seconds[i]));
    }
    print(b, seconds, passes);
    return BFT_OK;
}

/* The number of passes that a word means; 0: none that can be run. */
static size_t passes_of(const char *word) {
    size_t passes = strtoul(word, NULL, 10);
    return passes <= MOST_PASSES ? passes : 0;
}

static bft_status run_all(bft_error *err, bench *b, const char *word) {
    double warm_up;
    BFT_TRY(pass(err, b, &warm_up));
    if (strcmp(word, "-") != 0) {
        return run(err, b, passes_of(word));
    }
    puts("{\"ready\": true}");
    fflush(stdout);
    char line[32];
    while (fgets(line, sizeof line, stdin) != NULL) {
        BFT_TRY(run(err, b, passes_of(line)));
    }
    return BFT_OK;
}

int main(int count, char **words) {
    bool given = count == 7 || count == 8; /* words[7] is NULL where PRECISION isn't given */
    size_t batch = given ? strtoul(words[4], NULL, 10) : 0, tokens = given ? strtoul(words[5], NULL, 10) : 0;
    if (batch == 0 || tokens == 0 || (passes_of(words[6]) == 0 && strcmp(words[6], "-") != 0)) {
        fprintf(stderr, "usage: infer MODEL TEXTS.tsv BACKEND BATCH TOKENS PASSES [PRECISION]\n");
        return 2;
    }
    bft_error err;
    bench b = {0};
    bft_status status = open_bench(&err, &b, words, batch, tokens);
    if (status == BFT_OK) {
        status = run_all(&err, &b, words[6]);
    }
    close_bench(&b);
    if (status != BFT_OK) {
        fprintf(stderr, "infer: %s\n", err.message);
    }
    return status == BFT_OK ? 0 : 1;
}
