/* label_set.h: from the labels of a row, as they are written, to class ids. */
#ifndef BFT_DATA_LABEL_SET_H
#define BFT_DATA_LABEL_SET_H

#include "bertft/config.h"
#include "bertft/data.h"
#include "data/names.h"
#include "data/rows.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BFT_LABEL_LIMIT = 4096 }; /* classes; more of them mean that the label column is another one */

/* A written label passes through LABEL_NAMES (an id gets its name), LABEL_MAP (renamed or dropped), and is then
 * found among the classes. These are the ones given, DATA.LABELS, or LABEL_NAMES after the map; where there is none
 * of these the set is open and takes in what it meets. */
typedef struct bft_label_set {
    bft_names classes;
    bft_names ids;       /* LABEL_NAMES; empty where there are none */
    bft_names map_from;  /* LABEL_MAP's left side */
    const char **map_to; /* its right side; NULL drops the label */
    bool open;
    bool by_number; /* a label may also be written as its class id */
    bool multi, skip_multi;
    int64_t empty; /* the class of an empty list, or BFT_NO_NAME */
    /* The classes of the row resolved last, each once, in the order of the row. */
    uint32_t *row; /* (BFT_LABEL_LIMIT) */
    size_t row_count;
    uint32_t *seen; /* (BFT_LABEL_LIMIT) by class: the number of the row that had it last */
    uint32_t row_number;
} bft_label_set;

/* Zero-initialise the set before; free it in any case. `labels` may be NULL. The config must outlive the set. */
bft_status bft_label_set_create(bft_error *err, bft_label_set *set, const bft_config *config, const bft_labels *labels);
void bft_label_set_free(bft_label_set *set);

/* The classes of a row into set->row. *left_out: the configuration says that such a row isn't used. A failure is a
 * bad row; its message doesn't name the place. */
bft_status bft_label_set_resolve(bft_error *err, bft_label_set *set, const bft_row *row, bool *left_out);

/* Ends the reading. The classes of an open set are sorted, numbers first, by value, then names, by bytes. new_id,
 * (BFT_LABEL_LIMIT), tells where each class went. */
bft_status bft_label_set_close(bft_error *err, bft_label_set *set, uint32_t *new_id);

#endif
