/* checkpoint.h: one file with all that a run needs to go on to the same bits.
 *
 * It holds lagging rows as they are. What can be read again (the base of the embedding table, the data) isn't in it;
 * a fingerprint tells when that has changed. The file is written beside its place, synced and renamed, and ends in a sum. */
#ifndef BFT_TRAIN_CHECKPOINT_H
#define BFT_TRAIN_CHECKPOINT_H

#include "train/optimizer.h"
#include "train/schedule.h"

#include <stdint.h>

typedef struct bft_progress {
    uint64_t step; /* optimizer steps done */
    double best;   /* value of TRAIN.METRIC, where best_step > 0 */
    uint64_t best_step;
    uint64_t bad; /* evaluations since the best */
    bft_plateau plateau;
} bft_progress;

bft_status bft_checkpoint_write(bft_error *err, const char *path, const bft_progress *progress,
                                const bft_optimizer *optimizer, uint64_t fingerprint);

/* Into an optimizer freshly made for the same configuration. On failure optimizer and progress are not to be used. */
bft_status bft_checkpoint_read(bft_error *err, const char *path, bft_progress *progress, bft_optimizer *optimizer,
                               uint64_t fingerprint);

/* What a checkpoint says of itself, without a run around it. */
typedef struct bft_checkpoint_summary {
    bft_progress progress;
    size_t parameters, live_rows; /* dense parameters; rows of the embedding table that have trained */
} bft_checkpoint_summary;
bft_status bft_checkpoint_summarize(bft_error *err, const char *path, bft_checkpoint_summary *out);

/* Adds bytes to a fingerprint (FNV-1a, 64 bits); start with 0. */
uint64_t bft_fingerprint(uint64_t sum, const void *bytes, size_t length);

#endif
