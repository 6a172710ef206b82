/* added.c: the sets of added tokens and the search for them. */
#include "text/added.h"

#include "text/unicode.h"

#include <stdlib.h>

/* The normal forms of the tokens, one behind the other; a buffer moves while it grows, so keys get offsets first. */
static bft_status normal_keys(bft_error *err, const bft_added_token *tokens, size_t count, const bft_normal_form *form,
                              bft_buffer *bytes, bft_trie_key *keys, size_t *used) {
    bft_normal_text normal = {0};
    bft_status status = BFT_OK;
    for (size_t i = 0; i < count && status == BFT_OK; i++) {
        if (!tokens[i].normalized) {
            continue;
        }
        status = bft_normalize(err, form, tokens[i].text.data, tokens[i].text.length, &normal);
        if (status == BFT_OK && normal.text.length == 0) {
            status = bft_error_set(err, BFT_BAD,
                                   "the added token %u, \"%s\", has nothing left after normalization; "
                                   "it needs \"normalized\": false",
                                   tokens[i].id, tokens[i].text.data);
        }
        if (status == BFT_OK) {
            keys[*used] = (bft_trie_key){NULL, normal.text.length, (uint32_t)i, (uint32_t)i};
            *used += 1;
            status = bft_buffer_append(err, bytes, normal.text.data, normal.text.length);
        }
    }
    bft_normal_text_free(&normal);
    for (size_t i = 0, at = 0; i < *used; i++) {
        keys[i].text = bytes->data + at;
        at += keys[i].length;
    }
    return status;
}

static void plain_keys(const bft_added_token *tokens, size_t count, bft_trie_key *keys, size_t *used) {
    for (size_t i = 0; i < count; i++) {
        if (!tokens[i].normalized) {
            keys[*used] = (bft_trie_key){tokens[i].text.data, tokens[i].text.length, (uint32_t)i, (uint32_t)i};
            *used += 1;
        }
    }
}

bft_status bft_added_set_build(bft_error *err, bft_added_set *set, const bft_added_token *tokens, size_t count,
                               const bft_normal_form *form) {
    *set = (bft_added_set){.tokens = tokens};
    bft_trie_key *keys = calloc(count + 1, sizeof *keys);
    if (keys == NULL) {
        return bft_error_memory(err, (count + 1) * sizeof *keys);
    }
    bft_buffer bytes = {0};
    size_t used = 0;
    bft_status status = BFT_OK;
    if (form != NULL) {
        status = normal_keys(err, tokens, count, form, &bytes, keys, &used);
    } else {
        plain_keys(tokens, count, keys, &used);
    }
    if (status == BFT_OK) {
        set->empty = used == 0;
        for (size_t i = 0; i < used; i++) {
            set->starts[(unsigned char)keys[i].text[0]] = true;
        }
        status = bft_trie_build(err, &set->trie, keys, &used);
    }
    bft_buffer_free(&bytes);
    free(keys);
    return status;
}

void bft_added_set_free(bft_added_set *set) {
    bft_trie_free(&set->trie);
    *set = (bft_added_set){0};
}

static bool word_at(const char *text, size_t length, size_t at) {
    uint32_t scalar = 0;
    if (at < length) {
        bft_unicode_next(text + at, &scalar);
    }
    return (bft_unicode_flags(scalar) & BFT_WORD) != 0;
}

/* Whether words touch neither side of text[start .. end). */
static bool stands_alone(const char *text, size_t length, size_t start, size_t end) {
    return !word_at(text, length, end) && (start == 0 || !word_at(text, length, bft_unicode_last(text, start)));
}

static size_t spaces_before(const char *text, size_t start, size_t floor) {
    while (start > floor) {
        size_t last = bft_unicode_last(text, start);
        uint32_t scalar;
        bft_unicode_next(text + last, &scalar);
        if ((bft_unicode_flags(scalar) & BFT_SPACE) == 0) {
            break;
        }
        start = last;
    }
    return start;
}

static size_t spaces_after(const char *text, size_t length, size_t end) {
    while (end < length) {
        uint32_t scalar;
        size_t taken = bft_unicode_next(text + end, &scalar);
        if ((bft_unicode_flags(scalar) & BFT_SPACE) == 0) {
            break;
        }
        end += taken;
    }
    return end;
}

const bft_added_token *bft_added_next(const bft_added_set *set, const char *text, size_t length,
                                      bft_added_search *search) {
    search->gap = search->end;
    for (size_t at = search->at; !set->empty && at < length;) {
        size_t matched = 0;
        uint32_t index = set->starts[(unsigned char)text[at]]
                             ? bft_trie_longest(&set->trie, BFT_TRIE_ROOT, text + at, length - at, &matched)
                             : BFT_TRIE_NONE;
        if (index == BFT_TRIE_NONE) {
            at++;
            continue;
        }
        /* As in tokenizers, the search goes on behind the match itself: not behind the spaces that it takes along,
         * which may match again, and also where the match doesn't count because words touch it. */
        const bft_added_token *token = &set->tokens[index];
        size_t start = at, end = at + matched;
        search->at = at = end;
        if (token->single_word && !stands_alone(text, length, start, end)) {
            continue;
        }
        /* Spaces that the token before has taken along are taken; where nothing else is left, there is no token. */
        if (token->lstrip) {
            start = start < search->gap ? search->gap : spaces_before(text, start, search->gap);
        }
        if (token->rstrip) {
            end = spaces_after(text, length, end < search->gap ? search->gap : end);
        }
        if (start >= end) {
            continue;
        }
        search->start = start;
        search->end = end;
        return token;
    }
    search->at = search->start = search->end = length;
    return NULL;
}
