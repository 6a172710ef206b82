/* masker.c: choosing words, and masking their pieces. */
#include "data/masker.h"

#include "base/arena.h"
#include "base/philox.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    STREAM = 0x6d61736b, /* this use of the seed: "mask" */
    SAMPLE_SHIFT = 24    /* numbers, in blocks of four, that a sample may take: more than it has ids */
};

typedef struct word {
    uint32_t start, length; /* pieces, by their places among the ids */
    bool masked;
} word;

struct bft_masker {
    bft_arena arena;
    double rate;
    uint64_t seed;
    uint32_t mask;         /* the id of [MASK] */
    uint8_t *pieces;       /* (V) bft_piece */
    uint32_t *replacement; /* (replacements) the tokens that may stand for a masked one */
    uint32_t replacements;
    /* the sample at hand; each (max_length) */
    word *words;
    uint32_t word_count;
    uint32_t *order; /* (word_count) */
    uint32_t *ids, *place, *target;
};

static bft_status fill(bft_error *err, bft_masker *m, const bft_tokenizer *tokenizer, size_t max_length) {
    size_t size = bft_tokenizer_size(tokenizer);
    if (!bft_tokenizer_mask(tokenizer, &m->mask)) {
        return bft_error_set(err, BFT_BAD, "the tokenizer has no [MASK], without which no word can be masked");
    }
    BFT_TRY(BFT_NEW(err, &m->arena, &m->pieces, size));
    BFT_TRY(BFT_NEW(err, &m->arena, &m->replacement, size));
    BFT_TRY(BFT_NEW(err, &m->arena, &m->words, max_length));
    BFT_TRY(BFT_NEW(err, &m->arena, &m->order, max_length));
    BFT_TRY(BFT_NEW(err, &m->arena, &m->ids, max_length));
    BFT_TRY(BFT_NEW(err, &m->arena, &m->place, max_length));
    BFT_TRY(BFT_NEW(err, &m->arena, &m->target, max_length));
    bft_tokenizer_pieces(tokenizer, m->pieces);
    for (size_t id = 0; id < size; id++) {
        if (m->pieces[id] != BFT_PIECE_NONE) {
            m->replacement[m->replacements++] = (uint32_t)id;
        }
    }
    return m->replacements > 0 ? BFT_OK
                               : bft_error_set(err, BFT_BAD, "the tokenizer has no words, only special tokens");
}

bft_status bft_masker_create(bft_error *err, bft_masker **out, const bft_tokenizer *tokenizer, double rate,
                             uint64_t seed, size_t max_length) {
    bft_masker *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return bft_error_memory(err, sizeof *m);
    }
    m->rate = rate;
    m->seed = seed;
    bft_status status = fill(err, m, tokenizer, max_length);
    if (status != BFT_OK) {
        bft_masker_destroy(m);
        return status;
    }
    *out = m;
    return BFT_OK;
}

void bft_masker_destroy(bft_masker *masker) {
    if (masker != NULL) {
        bft_arena_free(&masker->arena);
        free(masker);
    }
}

/* Finds the sample's words; returns how many pieces they have. */
static size_t find_words(bft_masker *m, bft_sample sample) {
    size_t pieces = 0;
    bool inside = false; /* the id before is a piece of a word */
    m->word_count = 0;
    for (size_t i = 0; i < sample.length; i++) {
        bft_piece piece = m->pieces[sample.ids[i]];
        if (piece == BFT_PIECE_TAIL && inside) {
            m->words[m->word_count - 1].length++;
        } else if (piece != BFT_PIECE_NONE) {
            m->words[m->word_count++] = (word){.start = (uint32_t)i, .length = 1};
        }
        inside = piece != BFT_PIECE_NONE;
        pieces += inside;
    }
    return pieces;
}

/* Marks the words to be masked; returns how many pieces they have. */
static size_t choose(bft_masker *m, bft_sample sample, bft_random *random) {
    double wanted = floor(m->rate * (double)find_words(m, sample) + 0.5);
    size_t room = wanted > 1 ? (size_t)wanted : 1, taken = 0;
    for (uint32_t i = 0; i < m->word_count; i++) {
        m->order[i] = i;
    }
    for (uint32_t i = 0; i < m->word_count && taken < room; i++) { /* Fisher and Yates, as far as it is needed */
        uint32_t j = i + bft_random_below(random, m->word_count - i), chosen = m->order[j];
        m->order[j] = m->order[i];
        m->order[i] = chosen;
        word *w = &m->words[chosen];
        if (taken + w->length <= room) {
            w->masked = true;
            taken += w->length;
        }
    }
    if (taken == 0 && m->word_count > 0) {
        m->words[m->order[0]].masked = true;
        taken = m->words[m->order[0]].length;
    }
    return taken;
}

static bft_random random_of(const bft_masker *m, uint64_t epoch, uint32_t index) {
    return bft_random_create(m->seed ^ epoch << 32, STREAM, (uint64_t)index << SAMPLE_SHIFT);
}

size_t bft_masker_count(bft_masker *masker, bft_sample sample, uint64_t epoch, uint32_t index) {
    bft_random random = random_of(masker, epoch, index);
    return choose(masker, sample, &random);
}

static uint32_t mask_piece(const bft_masker *m, uint32_t id, bft_random *random) {
    uint32_t tenth = bft_random_below(random, 10);
    return tenth < 8 ? m->mask : tenth < 9 ? m->replacement[bft_random_below(random, m->replacements)] : id;
}

bft_sample bft_masker_draw(bft_masker *masker, bft_sample sample, uint64_t epoch, uint32_t index) {
    bft_random random = random_of(masker, epoch, index);
    choose(masker, sample, &random);
    memcpy(masker->ids, sample.ids, sample.length * sizeof *sample.ids);
    sample.masked = 0;
    for (uint32_t i = 0; i < masker->word_count; i++) {
        const word *w = &masker->words[i];
        for (uint32_t at = w->start; w->masked && at < w->start + w->length; at++) {
            masker->place[sample.masked] = at;
            masker->target[sample.masked++] = sample.ids[at];
            masker->ids[at] = mask_piece(masker, sample.ids[at], &random);
        }
    }
    sample.ids = masker->ids;
    sample.masked_place = masker->place;
    sample.masked_target = masker->target;
    return sample;
}
