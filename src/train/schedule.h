/* schedule.h: the learning rate of each optimizer step, by the formulas and defaults of transformers 5. */
#ifndef BFT_TRAIN_SCHEDULE_H
#define BFT_TRAIN_SCHEDULE_H

#include "bertft/config.h"
#include "bertft/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum bft_schedule_kind {
    BFT_SCHEDULE_LINEAR,
    BFT_SCHEDULE_COSINE,
    BFT_SCHEDULE_COSINE_RESTARTS,
    BFT_SCHEDULE_POLYNOMIAL,
    BFT_SCHEDULE_CONSTANT,
    BFT_SCHEDULE_CONSTANT_WARMUP,
    BFT_SCHEDULE_INVERSE_SQRT,
    BFT_SCHEDULE_PLATEAU,
    BFT_SCHEDULE_COSINE_MIN,
    BFT_SCHEDULE_COSINE_WARMUP_MIN,
    BFT_SCHEDULE_WARMUP_STABLE_DECAY
} bft_schedule_kind;

typedef enum bft_ramp { BFT_RAMP_LINEAR, BFT_RAMP_COSINE, BFT_RAMP_SQRT } bft_ramp;

/* What reduce_lr_on_plateau remembers, and all that a schedule needs from a checkpoint. */
typedef struct bft_plateau {
    double lr, best;
    uint64_t bad; /* evaluations without improvement */
} bft_plateau;

/* A plain value: copy it as you like, there is nothing to free. */
typedef struct bft_schedule {
    bft_schedule_kind kind;
    double base;                            /* OPTIM.LR */
    double warmup, total, decay, timescale; /* steps, whole numbers */
    double least;                           /* the lowest rate, as a share of the base */
    double minimum;                         /* the lowest rate itself, of the polynomial and the plateau */
    double cycles, power;
    bft_ramp rise, fall; /* of warmup_stable_decay */
    double factor;       /* of the plateau, as the rest */
    uint64_t patience;
    bool maximize; /* its metric is better when it is higher */
    bft_plateau plateau;
} bft_schedule;

/* The schedule that SCHEDULER.* and OPTIM.LR describe, over `total_steps` optimizer steps. BFT_BAD where the chosen schedule lacks
 * a key that it can't do without. */
bft_status bft_schedule_create(bft_error *err, bft_schedule *out, const bft_config *config, uint64_t total_steps);

/* The learning rate of step `step`, counted from 0: the first step of a warm-up has 0. Defined past the end too. */
double bft_schedule_lr(const bft_schedule *schedule, uint64_t step);

/* The metric that reduce_lr_on_plateau watches: SCHEDULER.METRIC, "loss" where that is null. */
const char *bft_schedule_metric(const bft_config *config);

/* Tells reduce_lr_on_plateau the value of its metric after an evaluation; other schedules take no notice. */
void bft_schedule_observe(bft_schedule *schedule, double metric);

#endif
