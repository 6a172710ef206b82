/* learn.c: byte pair encoding over characters, with "##" before what doesn't start a word.
 *
 * Ties go to the pair with the lowest ids, as in tokenizers. There the ids of "##" letters follow the order of a hash table
 * and differ from run to run; here they follow the code points. */
#include "text/learn.h"

#include "base/utf8.h"
#include "text/neighbours.h"
#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

enum { SCALARS = 0x110000, PREFIX = 2 };
#define NO_TOKEN UINT32_MAX

typedef struct letter {
    uint64_t count;
    uint32_t first, inside; /* ids at the start of a word and behind it; NO_TOKEN */
    bool is_inside;         /* stands somewhere inside a word that is learnt from */
} letter;

typedef struct ranked {
    uint64_t count;
    uint32_t scalar;
} ranked;

typedef struct learning {
    const bft_bag *words;
    const bft_learner_setup *setup;
    bft_bag *tokens;
    letter *letters;  /* (SCALARS) */
    ranked *alphabet; /* (alphabet_count) */
    size_t alphabet_count;
    uint32_t *pieces; /* of all words: ids, each word with room for as many as it has letters */
    size_t *start;    /* (words) */
    uint32_t *length; /* (words) in pieces; 0 where a word has a character outside the alphabet */
    bft_neighbours pairs;
    bft_buffer text; /* of a new token */
} learning;

/* ---- The alphabet ---- */

static bft_status count_letters(bft_error *err, learning *l) {
    for (size_t i = 0; i < l->words->count; i++) {
        bft_text word = bft_bag_text(l->words, i);
        for (size_t at = 0; at < word.length;) {
            uint32_t scalar;
            at += bft_unicode_next(word.data + at, &scalar);
            l->alphabet_count += l->letters[scalar].count == 0;
            l->letters[scalar].count += l->words->words[i].count;
        }
    }
    l->alphabet = malloc((l->alphabet_count + 1) * sizeof *l->alphabet);
    if (l->alphabet == NULL) {
        return bft_error_memory(err, l->alphabet_count * sizeof *l->alphabet);
    }
    size_t count = 0;
    for (uint32_t scalar = 0; scalar < SCALARS; scalar++) {
        if (l->letters[scalar].count > 0) {
            l->alphabet[count++] = (ranked){l->letters[scalar].count, scalar};
        }
        l->letters[scalar].first = l->letters[scalar].inside = NO_TOKEN;
    }
    return BFT_OK;
}

static int by_scalar(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    return (x->scalar > y->scalar) - (x->scalar < y->scalar);
}

static int by_count(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    return x->count != y->count ? (x->count < y->count) - (x->count > y->count) : by_scalar(a, b);
}

static bft_status add_letter(bft_error *err, learning *l, bool inside, uint32_t scalar, uint32_t *id) {
    char bytes[PREFIX + 4] = "##", *at = bytes + (inside ? PREFIX : 0);
    size_t length = bft_utf8_encode(scalar, at);
    return bft_bag_add(err, l->tokens, (bft_text){bytes, (size_t)(at - bytes) + length}, 0, id);
}

/* The most frequent letters are tokens, in the order of their code points. */
static bft_status choose_alphabet(bft_error *err, learning *l) {
    if (l->alphabet_count > l->setup->alphabet) {
        qsort(l->alphabet, l->alphabet_count, sizeof *l->alphabet, by_count);
        l->alphabet_count = l->setup->alphabet;
        qsort(l->alphabet, l->alphabet_count, sizeof *l->alphabet, by_scalar);
    }
    for (size_t i = 0; i < l->alphabet_count; i++) {
        uint32_t scalar = l->alphabet[i].scalar;
        BFT_TRY(add_letter(err, l, false, scalar, &l->letters[scalar].first));
    }
    return BFT_OK;
}

/* The number of letters, or 0 where one isn't in the alphabet: such a word is unknown, whatever is learnt. */
static size_t count_pieces(const learning *l, bft_text word) {
    size_t count = 0;
    for (size_t at = 0; at < word.length; count++) {
        uint32_t scalar;
        at += bft_unicode_next(word.data + at, &scalar);
        if (l->letters[scalar].first == NO_TOKEN) {
            return 0;
        }
    }
    return count;
}

/* Which letters stand inside words: they are tokens with "##" before them. */
static bft_status find_inside(bft_error *err, learning *l) {
    for (size_t i = 0; i < l->words->count; i++) {
        bft_text word = bft_bag_text(l->words, i);
        bool known = count_pieces(l, word) > 0;
        for (size_t at = 0, start = 0; known && at < word.length; start = at) {
            uint32_t scalar;
            at += bft_unicode_next(word.data + at, &scalar);
            l->letters[scalar].is_inside |= start > 0;
        }
    }
    for (size_t i = 0; i < l->alphabet_count; i++) {
        letter *its = &l->letters[l->alphabet[i].scalar];
        if (its->is_inside) {
            BFT_TRY(add_letter(err, l, true, l->alphabet[i].scalar, &its->inside));
        }
    }
    return BFT_OK;
}

static bft_status make_alphabet(bft_error *err, learning *l) {
    l->letters = calloc(SCALARS, sizeof *l->letters);
    if (l->letters == NULL) {
        return bft_error_memory(err, SCALARS * sizeof *l->letters);
    }
    BFT_TRY(count_letters(err, l));
    BFT_TRY(choose_alphabet(err, l));
    BFT_TRY(find_inside(err, l));
    if (l->tokens->count > l->setup->size) {
        return bft_error_set(
            err, BFT_BAD,
            "a vocabulary of %zu has no room for its alphabet of %zu characters: with \"##\" forms and "
            "special tokens these take %zu",
            l->setup->size, l->alphabet_count, l->tokens->count);
    }
    return BFT_OK;
}

/* ---- Words as pieces ---- */

static bft_status make_room(bft_error *err, learning *l) {
    size_t bytes = l->words->bytes.length, count = l->words->count; /* no word has more letters than bytes */
    l->pieces = bytes < SIZE_MAX / 2 / sizeof *l->pieces ? malloc((bytes + 1) * sizeof *l->pieces) : NULL;
    l->start = malloc((count + 1) * sizeof *l->start);
    l->length = malloc((count + 1) * sizeof *l->length);
    return l->pieces != NULL && l->start != NULL && l->length != NULL
               ? BFT_OK
               : bft_error_memory(err, bytes * sizeof *l->pieces + count * (sizeof *l->start + sizeof *l->length));
}

/* Cuts the words into letters and counts the pairs. */
static bft_status cut_words(bft_error *err, learning *l) {
    BFT_TRY(make_room(err, l));
    size_t end = 0;
    for (size_t i = 0; i < l->words->count; i++) {
        bft_text word = bft_bag_text(l->words, i);
        size_t count = count_pieces(l, word), at = 0;
        uint32_t *pieces = l->pieces + end;
        l->start[i] = end;
        l->length[i] = (uint32_t)count;
        end += count;
        for (size_t p = 0; p < count; p++) {
            uint32_t scalar;
            at += bft_unicode_next(word.data + at, &scalar);
            pieces[p] = p == 0 ? l->letters[scalar].first : l->letters[scalar].inside;
        }
        for (size_t p = 1; p < count; p++) {
            BFT_TRY(bft_neighbours_change(err, &l->pairs, pieces[p - 1], pieces[p], (int64_t)l->words->words[i].count,
                                          (uint32_t)i));
        }
    }
    return bft_neighbours_queue(err, &l->pairs);
}

/* ---- Merging ---- */

/* The token that a pair makes, which may be there already: "ab" "##c" and "a" "##bc" make the same. */
static bft_status add_merged(bft_error *err, learning *l, uint32_t left, uint32_t right, uint32_t *merged) {
    bft_text a = bft_bag_text(l->tokens, left), b = bft_bag_text(l->tokens, right);
    bft_buffer_clear(&l->text);
    BFT_TRY(bft_buffer_append(err, &l->text, a.data, a.length));
    BFT_TRY(bft_buffer_append(err, &l->text, b.data + PREFIX, b.length - PREFIX));
    return bft_bag_add(err, l->tokens, (bft_text){l->text.data, l->text.length}, 0, merged);
}

/* Makes one piece of left and right wherever they stand side by side in a word, first to last, and counts the pairs that go
 * and come. */
static bft_status merge_in_word(bft_error *err, learning *l, uint32_t word, uint32_t left, uint32_t right,
                                uint32_t merged) {
    uint32_t *pieces = l->pieces + l->start[word], count = l->length[word], kept = 0;
    int64_t often = (int64_t)l->words->words[word].count;
    for (uint32_t i = 0; i < count;) {
        if (i + 1 == count || pieces[i] != left || pieces[i + 1] != right) {
            pieces[kept++] = pieces[i++];
            continue;
        }
        if (kept > 0) {
            BFT_TRY(bft_neighbours_change(err, &l->pairs, pieces[kept - 1], left, -often, word));
            BFT_TRY(bft_neighbours_change(err, &l->pairs, pieces[kept - 1], merged, often, word));
        }
        i += 2;
        if (i < count) {
            BFT_TRY(bft_neighbours_change(err, &l->pairs, right, pieces[i], -often, word));
            BFT_TRY(bft_neighbours_change(err, &l->pairs, merged, pieces[i], often, word));
        }
        pieces[kept++] = merged;
    }
    l->length[word] = kept;
    return BFT_OK;
}

static bft_status merge(bft_error *err, learning *l, const bft_neighbour_pair *pair) {
    uint32_t left = (uint32_t)(pair->key >> 32), right = (uint32_t)pair->key, merged;
    BFT_TRY(add_merged(err, l, left, right, &merged));
    for (size_t i = 0; i < pair->place_count; i++) {
        BFT_TRY(merge_in_word(err, l, pair->places[i], left, right, merged));
    }
    return bft_neighbours_queue(err, &l->pairs);
}

static bft_status fill(bft_error *err, learning *l, const bft_learner_progress *progress) {
    bft_neighbour_pair best;
    while (l->tokens->count < l->setup->size && bft_neighbours_take(&l->pairs, &best)) {
        bool enough = (uint64_t)best.count >= l->setup->min_count;
        bft_status status = enough ? merge(err, l, &best) : BFT_OK;
        free(best.places);
        BFT_TRY(status);
        if (!enough) {
            break;
        }
        if (progress != NULL) {
            progress->show(progress->context, l->tokens->count, l->setup->size);
        }
    }
    return BFT_OK;
}

bft_status bft_learn(bft_error *err, bft_bag *words, const bft_learner_setup *setup,
                     const bft_learner_progress *progress, bft_bag *tokens) {
    learning l = {.words = words, .setup = setup, .tokens = tokens};
    bft_bag_sort(words);
    bft_status status = make_alphabet(err, &l);
    if (status == BFT_OK) {
        status = cut_words(err, &l);
    }
    if (status == BFT_OK) {
        status = fill(err, &l, progress);
    }
    free(l.letters);
    free(l.alphabet);
    free(l.pieces);
    free(l.start);
    free(l.length);
    bft_neighbours_free(&l.pairs);
    bft_buffer_free(&l.text);
    return status;
}
