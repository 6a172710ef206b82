/* names.c: names in a growing list, found through an open hash table. */
#include "data/names.h"

#include <stdlib.h>
#include <string.h>

/* FNV-1a. */
static size_t hash(bft_field name) {
    uint64_t sum = 0xcbf29ce484222325u;
    for (size_t i = 0; i < name.length; i++) {
        sum = (sum ^ (unsigned char)name.bytes[i]) * 0x100000001b3u;
    }
    return (size_t)(sum ^ sum >> 32);
}

/* The slot that holds `name`, or the free one where it belongs. The table is never full. */
static size_t find_slot(const bft_names *names, bft_field name) {
    size_t mask = names->slot_count - 1, slot = hash(name) & mask;
    while (names->slots[slot] != 0 && !bft_field_equals(name, names->at[names->slots[slot] - 1])) {
        slot = (slot + 1) & mask;
    }
    return slot;
}

int64_t bft_names_find(const bft_names *names, bft_field name) {
    if (names->count == 0) {
        return BFT_NO_NAME;
    }
    return (int64_t)names->slots[find_slot(names, name)] - 1;
}

/* Enters all names into an empty hash table. */
static void fill_slots(bft_names *names) {
    for (size_t i = 0; i < names->count; i++) {
        names->slots[find_slot(names, bft_field_of(names->at[i]))] = (uint32_t)i + 1;
    }
}

/* Doubles both tables; slots are at most half full. */
static bft_status grow(bft_error *err, bft_names *names) {
    size_t capacity = names->capacity == 0 ? 32 : 2 * names->capacity;
    char **at = realloc(names->at, capacity * sizeof *at);
    if (at == NULL) {
        return bft_error_memory(err, capacity * sizeof *at);
    }
    names->at = at;
    uint32_t *slots = calloc(2 * capacity, sizeof *slots);
    if (slots == NULL) {
        return bft_error_memory(err, 2 * capacity * sizeof *slots);
    }
    free(names->slots);
    names->slots = slots;
    names->capacity = capacity;
    names->slot_count = 2 * capacity;
    fill_slots(names);
    return BFT_OK;
}

bft_status bft_names_add(bft_error *err, bft_names *names, bft_field name, uint32_t *number) {
    int64_t known = bft_names_find(names, name);
    if (known != BFT_NO_NAME) {
        *number = (uint32_t)known;
        return BFT_OK;
    }
    if (names->count == names->capacity) {
        BFT_TRY(grow(err, names));
    }
    char *copy = malloc(name.length + 1);
    if (copy == NULL) {
        return bft_error_memory(err, name.length + 1);
    }
    memcpy(copy, name.bytes, name.length);
    copy[name.length] = '\0';
    *number = (uint32_t)names->count;
    names->slots[find_slot(names, name)] = *number + 1;
    names->at[names->count++] = copy;
    return BFT_OK;
}

bft_status bft_names_sort(bft_error *err, bft_names *names, int (*compare)(const void *, const void *),
                          uint32_t *new_number) {
    size_t bytes = names->count * sizeof *names->at;
    char **before = malloc(bytes + 1);
    if (before == NULL) {
        return bft_error_memory(err, bytes);
    }
    if (names->count > 0) {
        memcpy(before, names->at, bytes);
        qsort(names->at, names->count, sizeof *names->at, compare);
        memset(names->slots, 0, names->slot_count * sizeof *names->slots);
        fill_slots(names);
    }
    for (size_t i = 0; i < names->count; i++) {
        new_number[i] = (uint32_t)bft_names_find(names, bft_field_of(before[i]));
    }
    free(before);
    return BFT_OK;
}

void bft_names_free(bft_names *names) {
    for (size_t i = 0; i < names->count; i++) {
        free(names->at[i]);
    }
    free(names->at);
    free(names->slots);
    *names = (bft_names){0};
}
