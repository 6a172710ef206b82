/* neighbours.c: a hash table of pairs and a heap of candidates, whose counts may be out of date: they are put right when they
 * come to the top. */
#include "text/neighbours.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_PAIRS = 1 << 12, FIRST_PLACES = 4 };

static size_t slot_of(const bft_neighbours *pairs, uint64_t key) {
    uint64_t hash = (key ^ key >> 29) * 0x9E3779B97F4A7C15u;
    size_t slot = (size_t)(hash >> 32) & (pairs->slot_count - 1);
    while (pairs->slots[slot] != 0 && pairs->items[pairs->slots[slot] - 1].key != key) {
        slot = (slot + 1) & (pairs->slot_count - 1);
    }
    return slot;
}

/* Doubles a full array. */
static bft_status widen(bft_error *err, void **memory, size_t *capacity, size_t first, size_t size) {
    size_t room = *capacity == 0 ? first : 2 * *capacity;
    void *grown = room > *capacity && room <= SIZE_MAX / 2 / size ? realloc(*memory, room * size) : NULL;
    if (grown == NULL) {
        return bft_error_memory(err, *capacity);
    }
    *memory = grown;
    *capacity = room;
    return BFT_OK;
}

static bft_status grow(bft_error *err, bft_neighbours *pairs) {
    if (pairs->count >= UINT32_MAX / 2) {
        return bft_error_set(err, BFT_BAD, "there are more than %u pairs of pieces", UINT32_MAX / 2);
    }
    BFT_TRY(widen(err, (void **)&pairs->items, &pairs->capacity, FIRST_PAIRS, sizeof *pairs->items));
    uint32_t *slots = calloc(2 * pairs->capacity, sizeof *slots);
    if (slots == NULL) {
        return bft_error_memory(err, 2 * pairs->capacity * sizeof *slots);
    }
    free(pairs->slots);
    pairs->slots = slots;
    pairs->slot_count = 2 * pairs->capacity;
    for (size_t i = 0; i < pairs->count; i++) {
        pairs->slots[slot_of(pairs, pairs->items[i].key)] = (uint32_t)i + 1;
    }
    return BFT_OK;
}

static bft_status add_place(bft_error *err, bft_neighbours *pairs, uint32_t index, uint32_t word) {
    bft_neighbour_pair *pair = &pairs->items[index];
    if (pair->place_count == 0 || pair->places[pair->place_count - 1] != word) {
        if (pair->place_count == pair->place_capacity) {
            BFT_TRY(widen(err, (void **)&pair->places, &pair->place_capacity, FIRST_PLACES, sizeof *pair->places));
        }
        pair->places[pair->place_count++] = word;
    }
    if (pair->gained) {
        return BFT_OK;
    }
    if (pairs->gained_count == pairs->gained_capacity) {
        BFT_TRY(widen(err, (void **)&pairs->gained, &pairs->gained_capacity, FIRST_PAIRS, sizeof *pairs->gained));
    }
    pair->gained = true;
    pairs->gained[pairs->gained_count++] = index;
    return BFT_OK;
}

bft_status bft_neighbours_change(bft_error *err, bft_neighbours *pairs, uint32_t left, uint32_t right, int64_t change,
                                 uint32_t word) {
    if (pairs->count == pairs->capacity) {
        BFT_TRY(grow(err, pairs));
    }
    uint64_t key = (uint64_t)left << 32 | right;
    size_t slot = slot_of(pairs, key);
    if (pairs->slots[slot] == 0) {
        pairs->items[pairs->count++] = (bft_neighbour_pair){.key = key};
        pairs->slots[slot] = (uint32_t)pairs->count;
    }
    uint32_t index = pairs->slots[slot] - 1;
    pairs->items[index].count += change;
    return change > 0 ? add_place(err, pairs, index, word) : BFT_OK;
}

/* ---- The queue ---- */

static bool goes_before(const bft_candidate *a, const bft_candidate *b) {
    return a->count != b->count ? a->count > b->count : a->key < b->key;
}

/* Puts a candidate into the hole at `at`, or further up. */
static void rise(bft_neighbours *pairs, size_t at, bft_candidate candidate) {
    while (at > 0 && goes_before(&candidate, &pairs->queue[(at - 1) / 2])) {
        pairs->queue[at] = pairs->queue[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    pairs->queue[at] = candidate;
}

/* Puts a candidate into the hole at the top, or further down. */
static void sink(bft_neighbours *pairs, bft_candidate candidate) {
    size_t at = 0;
    for (size_t child = 1; child < pairs->queued; child = 2 * at + 1) {
        child += child + 1 < pairs->queued && goes_before(&pairs->queue[child + 1], &pairs->queue[child]);
        if (!goes_before(&pairs->queue[child], &candidate)) {
            break;
        }
        pairs->queue[at] = pairs->queue[child];
        at = child;
    }
    pairs->queue[at] = candidate;
}

bft_status bft_neighbours_queue(bft_error *err, bft_neighbours *pairs) {
    for (size_t i = 0; i < pairs->gained_count; i++) {
        uint32_t index = pairs->gained[i];
        bft_neighbour_pair *pair = &pairs->items[index];
        pair->gained = false;
        if (pair->count <= 0) {
            continue;
        }
        if (pairs->queued == pairs->queue_capacity) {
            BFT_TRY(widen(err, (void **)&pairs->queue, &pairs->queue_capacity, FIRST_PAIRS, sizeof *pairs->queue));
        }
        rise(pairs, pairs->queued++, (bft_candidate){pair->count, pair->key, index});
    }
    pairs->gained_count = 0;
    return BFT_OK;
}

/* Takes the top out: the last candidate stands in for it. */
static void drop_top(bft_neighbours *pairs) {
    pairs->queued--;
    if (pairs->queued > 0) {
        sink(pairs, pairs->queue[pairs->queued]);
    }
}

bool bft_neighbours_take(bft_neighbours *pairs, bft_neighbour_pair *out) {
    while (pairs->queued > 0) {
        bft_candidate top = pairs->queue[0];
        bft_neighbour_pair *pair = &pairs->items[top.pair];
        if (pair->place_count == 0 || pair->count <= 0) { /* it was queued twice and is merged, or it is gone */
            drop_top(pairs);
        } else if (pair->count != top.count) {
            top.count = pair->count;
            sink(pairs, top);
        } else {
            drop_top(pairs);
            *out = *pair;
            pair->places = NULL;
            pair->place_count = pair->place_capacity = 0;
            return true;
        }
    }
    return false;
}

void bft_neighbours_free(bft_neighbours *pairs) {
    for (size_t i = 0; i < pairs->count; i++) {
        free(pairs->items[i].places);
    }
    free(pairs->items);
    free(pairs->slots);
    free(pairs->gained);
    free(pairs->queue);
    *pairs = (bft_neighbours){0};
}
