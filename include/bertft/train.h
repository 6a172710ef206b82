/* train.h: fine-tuning and pre-training, from a configuration to a run's folder.
 *
 * A run's folder holds config.yaml (frozen), model.safetensors (the best by TRAIN.METRIC where there is a validation
 * set, else the last), config.json, the tokenizer's files, metrics.jsonl, and checkpoint/last for resuming. */
#ifndef BERTFT_TRAIN_H
#define BERTFT_TRAIN_H

#include "bertft/config.h"
#include "bertft/error.h"
#include "bertft/model.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* What happens while training, for whoever wants to show or track it. Every pointer may be NULL. */
typedef struct bft_train_step {
    uint64_t step, total;                         /* optimizer steps done, to do */
    double epoch;                                 /* with its fraction */
    double loss, lr;                              /* of this step */
    double samples_per_second, tokens_per_second; /* since the last report */
} bft_train_step;

struct bft_metrics;

typedef struct bft_train_events {
    void *context;
    void (*on_start)(void *context, const bft_model *model, uint64_t total_steps, uint64_t first_step);
    void (*on_step)(void *context, const bft_train_step *step); /* every step */
    void (*on_evaluation)(void *context, uint64_t step, const struct bft_metrics *metrics, bool best);
    const volatile sig_atomic_t *stop; /* set by a signal: finish the step, save, return */
} bft_train_events;

typedef struct bft_train_result {
    uint64_t steps, best_step; /* best_step 0: no validation set */
    double best;               /* value of TRAIN.METRIC */
    bool stopped;              /* by a signal: `train --resume` goes on */
    bool early;                /* by TRAIN.PATIENCE */
} bft_train_result;

/* What is learnt: a classifier, from labelled texts; or a masked language model, from texts alone, with MODEL.WEIGHTS to go on
 * from or PRETRAIN.* to begin with. */
typedef enum bft_task { BFT_FINE_TUNE, BFT_PRETRAIN } bft_task;

/* The metric that chooses the best: TRAIN.METRIC, or what its "auto" stands for. */
const char *bft_train_metric(const bft_config *config, bft_task task);

/* Trains into the configuration's OUTPUT_DIR. A folder that holds a run is refused unless `overwrite`. */
bft_status bft_train(bft_error *err, const bft_config *config, bft_task task, bft_backend backend, bool overwrite,
                     const bft_train_events *events, bft_train_result *result);

/* Goes on from the run's last checkpoint, or from step 0 where there is none yet, to the same bytes that the run
 * would have had without the break. `config` is the run's own, read from its config.yaml; a run of another task is refused. */
bft_status bft_train_resume(bft_error *err, const bft_config *config, bft_task task, const char *run,
                            bft_backend backend, const bft_train_events *events, bft_train_result *result);

#endif
