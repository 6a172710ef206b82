/* dataset.h: what a data set is made of; for the files of this folder. */
#ifndef BFT_DATA_DATASET_H
#define BFT_DATA_DATASET_H

#include "base/arena.h"
#include "base/buffer.h"
#include "bertft/data.h"

struct bft_dataset {
    bft_problem problem;
    bft_labels labels; /* in the arena */
    size_t count, skipped, longest;
    bft_buffer ids;     /* uint32_t, all samples end to end */
    bft_buffer start;   /* size_t, (count + 1): where each sample starts in ids */
    bft_buffer target;  /* uint32_t, (count): single label */
    bft_buffer targets; /* float, (count, K): multi label, regression */
    bft_arena arena;
};

/* An empty set without labels. */
bft_status bft_dataset_create(bft_error *err, bft_dataset **out, bft_problem problem);
bft_status bft_dataset_set_labels(bft_error *err, bft_dataset *dataset, size_t count,
                                  char *const *names); /* copied, once */

/* A sample comes in two parts, since targets can't be written before the labels are known: its ids, and, in the same
 * order, its target or targets. */
bft_status bft_dataset_add_ids(bft_error *err, bft_dataset *dataset, const uint32_t *ids, size_t length);
bft_status bft_dataset_add_target(bft_error *err, bft_dataset *dataset, bft_sample sample);

/* The class that a sample counts as where each must count once: its label, the first of several, K for none; 0 for
 * regression. */
size_t bft_dataset_class(const bft_dataset *dataset, size_t index);

#endif
