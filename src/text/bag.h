/* bag.h: different words and how often each was met; a word's place in the order of first meeting is its number. */
#ifndef BFT_TEXT_BAG_H
#define BFT_TEXT_BAG_H

#include "base/buffer.h"
#include "text/vocabulary.h" /* bft_text */

#include <stddef.h>
#include <stdint.h>

enum { BFT_BAG_LIMIT = 1 << 27 }; /* different words; each takes some hundred bytes by the time it is learnt from */

typedef struct bft_bag_word {
    size_t start; /* in `bytes` */
    uint64_t count;
    uint32_t length, hash;
} bft_bag_word;

/* Create zeroed. */
typedef struct bft_bag {
    bft_bag_word *words; /* (count) */
    size_t count, capacity;
    bft_buffer bytes;
    uint32_t *slots; /* (slot_count), a power of 2: a word's number + 1, or 0 */
    size_t slot_count;
    uint64_t seed; /* of the hash, by chance: no file is made to collide. What a bag holds doesn't depend on it */
} bft_bag;

/* Adds `count` to the word's, which is new with 0 where it wasn't there; *number is the word's, where it isn't NULL. */
bft_status bft_bag_add(bft_error *err, bft_bag *bag, bft_text word, uint64_t count, uint32_t *number);
void bft_bag_free(bft_bag *bag);

/* Numbers the words anew by their bytes, so that it no longer tells in which order they came. */
void bft_bag_sort(bft_bag *bag);

/* The bytes move when a word is added. */
static inline bft_text bft_bag_text(const bft_bag *bag, size_t number) {
    return (bft_text){bag->bytes.data + bag->words[number].start, bag->words[number].length};
}

#endif
