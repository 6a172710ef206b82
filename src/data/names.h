/* names.h: a set of distinct names, numbered in the order in which they came. */
#ifndef BFT_DATA_NAMES_H
#define BFT_DATA_NAMES_H

#include "bertft/error.h"
#include "data/field.h"

#include <stddef.h>
#include <stdint.h>

/* Zero-initialise, free with bft_names_free. */
typedef struct bft_names {
    char **at; /* (count) by number; NUL-terminated */
    size_t count, capacity;
    uint32_t *slots; /* hash table of number + 1; 0 is free */
    size_t slot_count;
} bft_names;

enum { BFT_NO_NAME = -1 };

int64_t bft_names_find(const bft_names *names, bft_field name); /* BFT_NO_NAME where it isn't there */
/* The number of `name`, which is added where it isn't there. */
bft_status bft_names_add(bft_error *err, bft_names *names, bft_field name, uint32_t *number);
/* Renumbers the names in the order of `compare`, which gets pointers to two strings; new_number, (count), by old
 * number. */
bft_status bft_names_sort(bft_error *err, bft_names *names, int (*compare)(const void *, const void *),
                          uint32_t *new_number);
void bft_names_free(bft_names *names);

#endif
