/* embedder.c: texts to vectors: a raw pooling, or what a sentence-transformers folder makes of it. */
#include "bertft/predict.h"

#include "infer/runner.h"
#include "infer/sentence.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct bft_embedder {
    bft_runner runner;
    bft_sentence sentence; /* without stages for a raw pooling */
    float *x, *spare;      /* (widest) */
    float *vectors;        /* (texts, width) of those finished last */
    size_t capacity;       /* floats */
};

static bft_status open_parts(bft_error *err, bft_embedder *e, const char *folder, bft_embedding embedding,
                             const bft_config *config, bft_backend backend) {
    static const bft_pooling raw[] = {
        [BFT_EMBED_CLS] = BFT_POOL_CLS, [BFT_EMBED_MEAN] = BFT_POOL_MEAN, [BFT_EMBED_POOLER] = BFT_POOL_POOLER};
    BFT_TRY(bft_runner_open(err, &e->runner, folder, config, backend));
    size_t channels = bft_model_configuration(e->runner.model)->channels;
    if (embedding == BFT_EMBED_SENTENCE) {
        BFT_TRY(bft_sentence_open(err, &e->sentence, folder, channels));
    } else {
        e->sentence = (bft_sentence){.pooling = raw[embedding], .width = channels, .widest = channels};
    }
    if (e->sentence.max_length != 0) {
        BFT_TRY(bft_runner_limit(err, &e->runner, e->sentence.max_length));
    }
    e->x = calloc(e->sentence.widest, sizeof *e->x);
    e->spare = calloc(e->sentence.widest, sizeof *e->spare);
    return e->x != NULL && e->spare != NULL ? BFT_OK : bft_error_memory(err, e->sentence.widest * sizeof *e->x);
}

bft_status bft_embedder_create(bft_error *err, bft_embedder **out, const char *folder, bft_embedding embedding,
                               const bft_config *config, bft_backend backend) {
    bft_embedder *embedder = calloc(1, sizeof *embedder);
    if (embedder == NULL) {
        return bft_error_memory(err, sizeof *embedder);
    }
    bft_status status = open_parts(err, embedder, folder, embedding, config, backend);
    if (status != BFT_OK) {
        bft_embedder_destroy(embedder);
        return status;
    }
    *out = embedder;
    return BFT_OK;
}

void bft_embedder_destroy(bft_embedder *embedder) {
    if (embedder == NULL) {
        return;
    }
    bft_runner_close(&embedder->runner);
    bft_sentence_free(&embedder->sentence);
    free(embedder->x);
    free(embedder->spare);
    free(embedder->vectors);
    free(embedder);
}

size_t bft_embedder_width(const bft_embedder *embedder) {
    return embedder->sentence.width;
}

size_t bft_embedder_max_length(const bft_embedder *embedder) {
    return embedder->runner.max_length;
}

bft_status bft_embedder_add(bft_error *err, bft_embedder *embedder, const char *text, size_t length, bool *cut) {
    return bft_runner_add(err, &embedder->runner, text, length, cut);
}

bft_status bft_embedder_start(bft_error *err, bft_embedder *embedder) {
    return bft_runner_start_vectors(err, &embedder->runner, embedder->sentence.pooling);
}

/* The session has checked what it computes; a Dense may still overflow. */
static bft_status check_finite(bft_error *err, const bft_embedder *embedder, const float *vector) {
    for (size_t k = 0; k < embedder->sentence.width; k++) {
        if (!isfinite(vector[k])) {
            return bft_error_set(err, BFT_BAD, "%s/modules.json: a Dense gives a value that isn't finite",
                                 embedder->runner.folder);
        }
    }
    return BFT_OK;
}

bft_status bft_embedder_finish(bft_error *err, bft_embedder *embedder) {
    const bft_sentence *sentence = &embedder->sentence;
    bft_runner *runner = &embedder->runner;
    BFT_TRY(bft_runner_finish(err, runner));
    size_t wanted = runner->finished * sentence->width;
    if (wanted > embedder->capacity) {
        float *bigger = realloc(embedder->vectors, wanted * sizeof *bigger);
        if (bigger == NULL) {
            return bft_error_memory(err, wanted * sizeof *bigger);
        }
        embedder->vectors = bigger;
        embedder->capacity = wanted;
    }
    for (size_t i = 0; i < runner->finished; i++) {
        memcpy(embedder->x, runner->rows + i * runner->width, runner->width * sizeof *embedder->x);
        const float *vector = bft_sentence_apply(sentence, embedder->x, embedder->spare);
        BFT_TRY(check_finite(err, embedder, vector));
        memcpy(embedder->vectors + i * sentence->width, vector, sentence->width * sizeof *vector);
    }
    return BFT_OK;
}

const float *bft_embedder_at(const bft_embedder *embedder, size_t index) {
    return embedder->vectors + index * embedder->sentence.width;
}
