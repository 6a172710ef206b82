/* label_list.h: the labels of one row, as they are written in a cell: one label, or a list of them. */
#ifndef BFT_DATA_LABEL_LIST_H
#define BFT_DATA_LABEL_LIST_H

#include "bertft/error.h"
#include "data/field.h"

#include <stddef.h>

typedef enum bft_label_form {
    BFT_LABELS_SINGLE, /* the whole cell is one label; an empty cell is none */
    BFT_LABELS_LIST    /* [ 4 27], [0, 2], 4,27, ['joy', 'deep anger'], []: by commas, else by blanks */
} bft_label_form;

/* Growing and reused from row to row. Zero-initialise, free with bft_label_list_free. */
typedef struct bft_label_list {
    bft_field *items;
    size_t count, capacity;
} bft_label_list;

void bft_label_list_clear(bft_label_list *list);
bft_status bft_label_list_add(bft_error *err, bft_label_list *list, bft_field item);
void bft_label_list_free(bft_label_list *list);

/* Appends the labels of a cell; the items point into it. The message of a failure doesn't name the file. */
bft_status bft_label_list_parse(bft_error *err, bft_label_list *list, bft_field cell, bft_label_form form);

#endif
