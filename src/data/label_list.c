/* label_list.c: the grammar of label cells. */
#include "data/label_list.h"

#include <stdlib.h>
#include <string.h>

void bft_label_list_clear(bft_label_list *list) {
    list->count = 0;
}

bft_status bft_label_list_add(bft_error *err, bft_label_list *list, bft_field item) {
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 16 : 2 * list->capacity;
        bft_field *items = realloc(list->items, capacity * sizeof *items);
        if (items == NULL) {
            return bft_error_memory(err, capacity * sizeof *items);
        }
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = item;
    return BFT_OK;
}

void bft_label_list_free(bft_label_list *list) {
    free(list->items);
    *list = (bft_label_list){0};
}

/* Cuts the next item off `rest`: up to its closing quote, or up to a comma, or a blank where blanks separate. */
static bft_status cut_item(bft_error *err, bft_field *rest, bool by_commas, bft_field *item) {
    char first = rest->bytes[0];
    size_t length = 0, taken;
    if (first == '\'' || first == '"') {
        const char *close = memchr(rest->bytes + 1, first, rest->length - 1);
        if (close == NULL) {
            return bft_error_set(err, BFT_BAD, "a quote in the label list is never closed");
        }
        taken = (size_t)(close - rest->bytes) + 1;
        *item = (bft_field){rest->bytes + 1, taken - 2};
    } else {
        while (length < rest->length && rest->bytes[length] != ',' &&
               (by_commas || !bft_field_is_blank(rest->bytes[length]))) {
            length++;
        }
        taken = length;
        *item = bft_field_trim((bft_field){rest->bytes, length});
    }
    *rest = bft_field_trim((bft_field){rest->bytes + taken, rest->length - taken});
    if (item->length == 0) {
        return bft_error_set(err, BFT_BAD, "an empty item in the label list");
    }
    return BFT_OK;
}

static bft_status parse_list(bft_error *err, bft_label_list *list, bft_field rest) {
    if (rest.length > 0 && rest.bytes[0] == '[') {
        if (rest.bytes[rest.length - 1] != ']') {
            return bft_error_set(err, BFT_BAD, "the label list opens with [ and doesn't end with ]");
        }
        rest = bft_field_trim((bft_field){rest.bytes + 1, rest.length - 2});
    }
    bool by_commas = rest.length > 0 && memchr(rest.bytes, ',', rest.length) != NULL;
    while (rest.length > 0) {
        bft_field item = {0};
        BFT_TRY(cut_item(err, &rest, by_commas, &item));
        BFT_TRY(bft_label_list_add(err, list, item));
        if (!by_commas || rest.length == 0) {
            continue;
        }
        if (rest.bytes[0] != ',') {
            return bft_error_set(err, BFT_BAD, "a comma is missing in the label list");
        }
        rest = bft_field_trim((bft_field){rest.bytes + 1, rest.length - 1});
        if (rest.length == 0) {
            return bft_error_set(err, BFT_BAD, "an empty item in the label list");
        }
    }
    return BFT_OK;
}

bft_status bft_label_list_parse(bft_error *err, bft_label_list *list, bft_field cell, bft_label_form form) {
    cell = bft_field_trim(cell);
    if (form == BFT_LABELS_LIST) {
        return parse_list(err, list, cell);
    }
    return cell.length == 0 ? BFT_OK : bft_label_list_add(err, list, cell);
}
