/* vocabulary.h: the model's tokens, by text and by id, and the cache that saves reading them again. */
#ifndef BFT_TEXT_VOCABULARY_H
#define BFT_TEXT_VOCABULARY_H

#include "base/cache.h"
#include "text/trie.h"

/* Bytes that somebody else owns: they may hold NULs. data is NULL where nothing was said. */
typedef struct bft_text {
    const char *data;
    size_t length;
} bft_text;

typedef struct bft_entry {
    bft_text text;
    uint32_t id;
} bft_entry;

/* All of it lies either in memory of its own or in a cache, which may hold anything: ask through the functions. */
typedef struct bft_vocabulary {
    size_t size, count;     /* ids are below `size`; different tokens, at least 1 once it is there */
    bft_trie trie;          /* ids as values */
    const uint32_t *starts; /* (size + 1): of the texts by id; an id without a token has no bytes */
    const char *texts;      /* (starts[size]): each with a NUL behind it */
    size_t text_bytes;
    bft_text settings; /* what else the source holds, as its reader has written it for the cache; or nothing */
    uint32_t *owned_starts;
    char *owned_texts;
    bft_cache cache;
} bft_vocabulary;

/* Copies the texts. Of entries with the same text the last one counts. */
bft_status bft_vocabulary_build(bft_error *err, bft_vocabulary *vocabulary, const bft_entry *entries, size_t count);
void bft_vocabulary_free(bft_vocabulary *vocabulary); /* fine on {0} */

/* The id of a token, or BFT_TRIE_NONE; and the text of an id, NUL-terminated, data NULL where there is none. */
uint32_t bft_vocabulary_find(const bft_vocabulary *vocabulary, bft_text token);
bft_text bft_vocabulary_text(const bft_vocabulary *vocabulary, size_t id);

/* Maps the vocabulary of the file `source` from its cache; false where there is none that fits. */
bool bft_vocabulary_open(bft_vocabulary *vocabulary, const char *source, const bft_cache_key *key);

/* Writes the cache, if the vocabulary is large enough to be worth it and may be written somewhere. */
enum { BFT_VOCABULARY_CACHED = 20000 };
void bft_vocabulary_keep(const bft_vocabulary *vocabulary, const char *source, const bft_cache_key *key,
                         bft_text settings);

#endif
