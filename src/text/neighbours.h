/* neighbours.h: pairs of neighbouring pieces: how often each stands in the words, in which of them, and which is the most
 * frequent. */
#ifndef BFT_TEXT_NEIGHBOURS_H
#define BFT_TEXT_NEIGHBOURS_H

#include "bertft/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bft_neighbour_pair {
    uint64_t key; /* left << 32 | right */
    int64_t count;
    uint32_t *places; /* (place_count) words that it may stand in, some perhaps twice, some perhaps no longer */
    size_t place_count, place_capacity;
    bool gained; /* in the list of those that have become more frequent */
} bft_neighbour_pair;

typedef struct bft_candidate {
    int64_t count; /* of the pair, when it was queued */
    uint64_t key;
    uint32_t pair;
} bft_candidate;

/* Create zeroed. */
typedef struct bft_neighbours {
    bft_neighbour_pair *items; /* (count) */
    size_t count, capacity;
    uint32_t *slots; /* (slot_count), a power of 2: an item's index + 1, or 0 */
    size_t slot_count;
    uint32_t *gained; /* (gained_count) items */
    size_t gained_count, gained_capacity;
    bft_candidate *queue; /* (queued): a heap, the best first */
    size_t queued, queue_capacity;
} bft_neighbours;

/* Adds `change` to how often the pair stands in the words; where that is more, it stands in `word` from now on. */
bft_status bft_neighbours_change(bft_error *err, bft_neighbours *pairs, uint32_t left, uint32_t right, int64_t change,
                                 uint32_t word);

/* Queues the pairs that have become more frequent since the last call. */
bft_status bft_neighbours_queue(bft_error *err, bft_neighbours *pairs);

/* Takes the most frequent pair, of equal ones that with the smallest key, out of the queue. Its places are the caller's to
 * free; its count stays as it is, so that it comes first where a later merge makes it anew. False: none is left. */
bool bft_neighbours_take(bft_neighbours *pairs, bft_neighbour_pair *out);

void bft_neighbours_free(bft_neighbours *pairs);

#endif
