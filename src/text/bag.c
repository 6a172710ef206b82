/* bag.c: a hash table of words, open addressing, with the words' bytes laid end to end. */
#include "text/bag.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { FIRST_SLOTS = 1 << 10 };

static uint64_t mix(uint64_t a, uint64_t b) {
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint32_t hash_of(uint64_t seed, bft_text word) {
    const uint64_t odd = 0x9E3779B97F4A7C15u;
    uint64_t hash = seed ^ word.length * odd;
    for (size_t at = 0; at < word.length; at += 8) {
        uint64_t eight = 0;
        size_t rest = word.length - at;
        memcpy(&eight, word.data + at, rest < 8 ? rest : 8);
        hash = mix(hash ^ eight, odd ^ seed << 1);
    }
    return (uint32_t)(hash ^ hash >> 32);
}

/* The slot of a word, or the empty one that it belongs into. */
static size_t find(const bft_bag *bag, bft_text word, uint32_t hash) {
    size_t slot = hash & (bag->slot_count - 1);
    while (bag->slots[slot] != 0) {
        const bft_bag_word *there = &bag->words[bag->slots[slot] - 1];
        if (there->hash == hash && there->length == word.length &&
            memcmp(bag->bytes.data + there->start, word.data, word.length) == 0) {
            break;
        }
        slot = (slot + 1) & (bag->slot_count - 1);
    }
    return slot;
}

/* All different, so only an empty slot is looked for. */
static void fill_slots(bft_bag *bag) {
    memset(bag->slots, 0, bag->slot_count * sizeof *bag->slots);
    for (size_t i = 0; i < bag->count; i++) {
        size_t slot = bag->words[i].hash & (bag->slot_count - 1);
        while (bag->slots[slot] != 0) {
            slot = (slot + 1) & (bag->slot_count - 1);
        }
        bag->slots[slot] = (uint32_t)i + 1;
    }
}

/* Room for one word more, with half of the slots empty. */
static bft_status grow(bft_error *err, bft_bag *bag) {
    if (bag->count >= BFT_BAG_LIMIT) {
        return bft_error_set(err, BFT_BAD, "there are more than %d different words", BFT_BAG_LIMIT);
    }
    if (bag->count == bag->capacity) {
        size_t capacity = bag->capacity == 0 ? FIRST_SLOTS / 2 : 2 * bag->capacity;
        bft_bag_word *words = realloc(bag->words, capacity * sizeof *words);
        if (words == NULL) {
            return bft_error_memory(err, capacity * sizeof *words);
        }
        bag->words = words;
        bag->capacity = capacity;
    }
    if (bag->slot_count >= 2 * bag->capacity) {
        return BFT_OK;
    }
    if (bag->slots == NULL && getrandom(&bag->seed, sizeof bag->seed, 0) != sizeof bag->seed) {
        return bft_error_errno(err, BFT_FAILED, "the machine has no random numbers");
    }
    uint32_t *slots = malloc(2 * bag->capacity * sizeof *slots);
    if (slots == NULL) {
        return bft_error_memory(err, 2 * bag->capacity * sizeof *slots);
    }
    free(bag->slots);
    bag->slots = slots;
    bag->slot_count = 2 * bag->capacity;
    fill_slots(bag);
    return BFT_OK;
}

bft_status bft_bag_add(bft_error *err, bft_bag *bag, bft_text word, uint64_t count, uint32_t *number) {
    if (bag->count == bag->capacity) {
        BFT_TRY(grow(err, bag));
    }
    uint32_t hash = hash_of(bag->seed, word);
    size_t slot = find(bag, word, hash);
    if (bag->slots[slot] == 0) {
        bft_bag_word fresh = {.start = bag->bytes.length, .length = (uint32_t)word.length, .hash = hash};
        if (word.length > UINT32_MAX) {
            return bft_error_memory(err, word.length);
        }
        BFT_TRY(bft_buffer_append(err, &bag->bytes, word.data, word.length));
        bag->words[bag->count++] = fresh;
        bag->slots[slot] = (uint32_t)bag->count;
    }
    uint32_t found = bag->slots[slot] - 1;
    bag->words[found].count += count;
    if (number != NULL) {
        *number = found;
    }
    return BFT_OK;
}

static int compare(const void *a, const void *b, void *bytes) {
    const bft_bag_word *x = a, *y = b;
    size_t shorter = x->length < y->length ? x->length : y->length;
    int order = memcmp((const char *)bytes + x->start, (const char *)bytes + y->start, shorter);
    return order != 0 ? order : (x->length > y->length) - (x->length < y->length);
}

void bft_bag_sort(bft_bag *bag) {
    if (bag->count > 0) {
        qsort_r(bag->words, bag->count, sizeof *bag->words, compare, bag->bytes.data);
        fill_slots(bag);
    }
}

void bft_bag_free(bft_bag *bag) {
    free(bag->words);
    free(bag->slots);
    bft_buffer_free(&bag->bytes);
    *bag = (bft_bag){0};
}
