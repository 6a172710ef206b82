/* wordpiece.c: BertPreTokenizer and the WordPiece model. */
#include "text/wordpiece.h"

#include "text/unicode.h"

#include <stdlib.h>

bft_status bft_ids_reserve(bft_error *err, bft_ids *ids, size_t more) {
    if (more <= ids->capacity - ids->count) {
        return BFT_OK;
    }
    if (more > SIZE_MAX / 4 / sizeof *ids->data - ids->count) {
        return bft_error_memory(err, more);
    }
    size_t capacity = 2 * (ids->count + more) + 64;
    uint32_t *data = realloc(ids->data, capacity * sizeof *data);
    if (data == NULL) {
        return bft_error_memory(err, capacity * sizeof *data);
    }
    ids->data = data;
    ids->capacity = capacity;
    return BFT_OK;
}

void bft_wordpiece_set_prefix(bft_wordpiece *model, bft_text prefix) {
    model->bare = prefix.length == 0;
    model->inside = BFT_TRIE_ROOT;
    for (size_t i = 0; i < prefix.length; i++) {
        model->inside = bft_trie_step(model->trie, model->inside, (unsigned char)prefix.data[i]);
        if (model->inside == BFT_TRIE_DEAD) {
            return;
        }
    }
}

bool bft_wordpiece_is_short(const char *word, size_t length, size_t most) {
    size_t characters = 0;
    for (size_t i = 0; i < length && length > most; i++) { /* no character is less than a byte */
        characters += ((unsigned char)word[i] & 0xC0) != 0x80;
    }
    return characters <= most;
}

void bft_wordpiece_word(const bft_wordpiece *model, const char *word, size_t length, bft_ids *ids) {
    size_t before = ids->count, at = 0;
    bool known = bft_wordpiece_is_short(word, length, model->longest_word);
    while (known && at < length) {
        size_t matched = 0;
        uint32_t id = BFT_TRIE_NONE;
        if (at == 0 || model->bare || model->inside != BFT_TRIE_DEAD) {
            id = bft_trie_longest(model->trie, at == 0 ? BFT_TRIE_ROOT : model->inside, word + at, length - at,
                                  &matched);
        }
        known = id < model->size; /* BFT_TRIE_NONE is not */
        ids->data[ids->count] = id;
        ids->count += known;
        at += matched;
    }
    if (!known) {
        ids->count = before;
        ids->data[ids->count++] = model->unknown;
    }
}

bool bft_wordpiece_next(const char *text, size_t length, size_t *at, size_t *start) {
    *start = *at;
    while (*at < length) { /* up to the character that ends the word */
        uint32_t scalar;
        size_t taken = bft_unicode_next(text + *at, &scalar);
        uint8_t flags = bft_unicode_flags(scalar);
        if ((flags & (BFT_SPACE | BFT_PUNCTUATION)) == 0) {
            *at += taken;
        } else if (*at > *start) {
            return true;
        } else {
            *at += taken;
            if ((flags & BFT_PUNCTUATION) != 0) {
                return true;
            }
            *start = *at;
        }
    }
    return *at > *start;
}

bft_status bft_wordpiece_encode(bft_error *err, const bft_wordpiece *model, const char *text, size_t length,
                                size_t enough, bft_ids *ids) {
    size_t at = 0, start;
    while (ids->count < enough && bft_wordpiece_next(text, length, &at, &start)) {
        BFT_TRY(bft_ids_reserve(err, ids, at - start + 4));
        bft_wordpiece_word(model, text + start, at - start, ids);
    }
    return BFT_OK;
}
