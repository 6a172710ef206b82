/* run.h: a run's folder: what lies in it, and its metrics.jsonl. */
#ifndef BFT_TRAIN_RUN_H
#define BFT_TRAIN_RUN_H

#include "base/buffer.h"
#include "bertft/train.h"
#include "train/metrics.h"

#include <stdio.h>

typedef struct bft_run {
    char *folder;
    char *model, *checkpoint; /* paths of model.safetensors and checkpoint/last */
    FILE *metrics;            /* metrics.jsonl, open for appending */
} bft_run;

/* Refuses a folder that holds a run, unless it may be overwritten; and, always, one that holds a model which isn't a
 * run, or is `source`, what the run starts from: neither may be lost. */
bft_status bft_run_check(bft_error *err, const char *folder, const char *source, bool overwrite);

/* A new run: the folder, config.yaml and an empty metrics.jsonl. An old run's files are removed first. */
bft_status bft_run_create(bft_error *err, bft_run *run, const char *folder, const bft_config *config);

/* An existing run, for going on; what a killed process left half-written is removed. bft_run_cut then takes
 * metrics.jsonl back to `step`. */
bft_status bft_run_open(bft_error *err, bft_run *run, const char *folder);
bft_status bft_run_cut(bft_error *err, bft_run *run, uint64_t step);
void bft_run_close(bft_run *run); /* also fine on {0} */

bft_status bft_run_log_step(bft_error *err, bft_run *run, const bft_train_step *step);
bft_status bft_run_log_evaluation(bft_error *err, bft_run *run, uint64_t step, const bft_metrics *metrics);

#endif
