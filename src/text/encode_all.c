/* encode_all.c: many texts at once. They are cut into units of some size, whatever the number of threads; a unit's ids
 * stay in the unit's own list, so nothing has to be put in order afterwards. */
#include "bertft/tokenizer.h"

#include "base/thread.h"
#include "text/wordpiece.h"

#include <stdlib.h>
#include <string.h>

enum { UNIT_BYTES = 1 << 15, UNIT_TEXTS = 512 };

typedef struct text_unit {
    size_t first, end; /* texts */
    bft_ids ids;
    bft_status status;
    bft_error err;
} text_unit;

struct bft_encodings_scratch {
    bft_encoding *encodings; /* (threads) */
    int threads;
    text_unit *units; /* (unit_capacity) */
    size_t unit_count, unit_capacity, text_capacity;
};

typedef struct encode_job {
    const bft_tokenizer *tokenizer;
    const bft_string *texts;
    size_t limit;
    bft_encodings *out;
} encode_job;

static bft_status grow(bft_error *err, void **memory, size_t *capacity, size_t count, size_t size) {
    if (count <= *capacity) {
        return BFT_OK;
    }
    size_t room = 2 * *capacity > count ? 2 * *capacity : count;
    void *grown = room <= SIZE_MAX / size ? realloc(*memory, room * size) : NULL;
    if (grown == NULL) {
        return bft_error_memory(err, count);
    }
    memset((char *)grown + *capacity * size, 0, (room - *capacity) * size);
    *memory = grown;
    *capacity = room;
    return BFT_OK;
}

static bft_status add_unit(bft_error *err, struct bft_encodings_scratch *scratch, size_t first, size_t end) {
    BFT_TRY(
        grow(err, (void **)&scratch->units, &scratch->unit_capacity, scratch->unit_count + 1, sizeof *scratch->units));
    text_unit *added = &scratch->units[scratch->unit_count++];
    added->first = first;
    added->end = end;
    added->ids.count = 0;
    added->status = BFT_OK;
    return BFT_OK;
}

static bft_status cut_into_units(bft_error *err, struct bft_encodings_scratch *scratch, const bft_string *texts,
                                 size_t count) {
    scratch->unit_count = 0;
    for (size_t first = 0, end = 0; first < count; first = end) {
        size_t bytes = 0;
        while (end < count && end - first < UNIT_TEXTS && bytes < UNIT_BYTES) {
            bytes += texts[end++].length;
        }
        BFT_TRY(add_unit(err, scratch, first, end));
    }
    return BFT_OK;
}

static bft_status encode_unit(const encode_job *job, text_unit *unit, bft_encoding *encoding) {
    for (size_t i = unit->first; i < unit->end; i++) {
        const bft_string *text = &job->texts[i];
        BFT_TRY(
            bft_tokenizer_encode(&unit->err, job->tokenizer, text->data, text->length, NULL, 0, job->limit, encoding));
        BFT_TRY(bft_ids_reserve(&unit->err, &unit->ids, encoding->count));
        memcpy(unit->ids.data + unit->ids.count, encoding->ids, encoding->count * sizeof *encoding->ids);
        unit->ids.count += encoding->count;
        job->out->texts[i].count = encoding->count;
    }
    const uint32_t *at = unit->ids.data; /* which has stopped moving */
    for (size_t i = unit->first; i < unit->end; i++) {
        job->out->texts[i].ids = at;
        at += job->out->texts[i].count;
    }
    return BFT_OK;
}

static void work(void *context, size_t number, int thread) {
    const encode_job *job = context;
    struct bft_encodings_scratch *scratch = job->out->scratch;
    text_unit *unit = &scratch->units[number];
    unit->status = encode_unit(job, unit, &scratch->encodings[thread]);
}

/* Encodings for all threads of the pool. */
static bft_status prepare(bft_error *err, bft_encodings *out, int threads, size_t count) {
    if (out->scratch == NULL) {
        out->scratch = calloc(1, sizeof *out->scratch);
        if (out->scratch == NULL) {
            return bft_error_memory(err, sizeof *out->scratch);
        }
    }
    struct bft_encodings_scratch *scratch = out->scratch;
    size_t had = (size_t)scratch->threads;
    BFT_TRY(grow(err, (void **)&scratch->encodings, &had, (size_t)threads, sizeof *scratch->encodings));
    scratch->threads = (int)had;
    return grow(err, (void **)&out->texts, &scratch->text_capacity, count, sizeof *out->texts);
}

bft_status bft_tokenizer_encode_all(bft_error *err, const bft_tokenizer *tokenizer, bft_pool *pool,
                                    const bft_string *texts, size_t count, size_t limit, bft_encodings *out) {
    out->count = 0;
    BFT_TRY(prepare(err, out, pool != NULL ? bft_pool_threads(pool) : 1, count));
    struct bft_encodings_scratch *scratch = out->scratch;
    BFT_TRY(cut_into_units(err, scratch, texts, count));
    encode_job job = {tokenizer, texts, limit, out};
    if (pool != NULL) {
        bft_pool_run(pool, scratch->unit_count, work, &job);
    } else {
        for (size_t i = 0; i < scratch->unit_count; i++) {
            work(&job, i, 0);
        }
    }
    for (size_t i = 0; i < scratch->unit_count; i++) {
        if (scratch->units[i].status != BFT_OK) {
            return bft_error_set(err, scratch->units[i].status, "%s", scratch->units[i].err.message);
        }
    }
    out->count = count;
    return BFT_OK;
}

void bft_encodings_free(bft_encodings *encodings) {
    struct bft_encodings_scratch *scratch = encodings->scratch;
    if (scratch != NULL) {
        for (int i = 0; i < scratch->threads; i++) {
            bft_encoding_free(&scratch->encodings[i]);
        }
        for (size_t i = 0; i < scratch->unit_capacity; i++) {
            free(scratch->units[i].ids.data);
        }
        free(scratch->encodings);
        free(scratch->units);
        free(scratch);
    }
    free(encodings->texts);
    *encodings = (bft_encodings){0};
}
