/* wordpiece.h: from a text in normal form to the ids of its words' pieces. */
#ifndef BFT_TEXT_WORDPIECE_H
#define BFT_TEXT_WORDPIECE_H

#include "text/recipe.h"
#include "text/trie.h"

typedef struct bft_wordpiece {
    const bft_trie *trie; /* the vocabulary's: ids as values */
    size_t size;          /* ids are below this: a cache may say otherwise */
    uint32_t inside;  /* the node of the prefix "##", where pieces inside a word start; BFT_TRIE_DEAD: there are none */
    bool bare;        /* the prefix is empty: pieces inside a word start at the root */
    uint32_t unknown; /* the id of a word that has no pieces */
    size_t longest_word; /* in characters */
} bft_wordpiece;

/* A growing list of ids. Create zeroed; free `data`. */
typedef struct bft_ids {
    uint32_t *data;
    size_t count, capacity;
} bft_ids;

bft_status bft_ids_reserve(bft_error *err, bft_ids *ids, size_t more);

/* Finds the prefix's node once the trie is there. */
void bft_wordpiece_set_prefix(bft_wordpiece *model, bft_text prefix);

/* Whether a word has at most `most` characters. */
bool bft_wordpiece_is_short(const char *word, size_t length, size_t most);

/* The next word of a text in normal form from *at on, as BertPreTokenizer has it: what stands between spaces, and each
 * punctuation character by itself. It is text[*start .. *at). False: there is none. */
bool bft_wordpiece_next(const char *text, size_t length, size_t *at, size_t *start);

/* Appends the pieces of one word in normal form, for which there is room: it has at most as many as bytes. */
void bft_wordpiece_word(const bft_wordpiece *model, const char *word, size_t length, bft_ids *ids);

/* Splits at spaces and punctuation (BertPreTokenizer) and appends the pieces of each word, greedily the longest
 * first; stops behind the word with which `enough` ids are there. `text` must be valid UTF-8. */
bft_status bft_wordpiece_encode(bft_error *err, const bft_wordpiece *model, const char *text, size_t length,
                                size_t enough, bft_ids *ids);

#endif
