/* trainer.h: all that a training run holds, and how it is put together; the loop itself is in loop.c. */
#ifndef BFT_TRAIN_TRAINER_H
#define BFT_TRAIN_TRAINER_H

#include "bertft/train.h"
#include "train/checkpoint.h"
#include "train/metrics.h"
#include "train/optimizer.h"
#include "train/run.h"
#include "train/sampler.h"
#include "train/schedule.h"

typedef struct bft_trainer {
    const bft_config *config;
    bft_task task;
    bft_backend backend;
    const bft_train_events *events;
    bft_run run;
    bft_tokenizer *tokenizer;
    bft_dataset *train, *valid; /* valid is NULL where there is no validation set */
    bft_masker *masker;         /* pre-training only */
    bft_model *model;
    bft_session *session;
    bft_batch batch;
    bft_sampler sampler;
    bft_loss_setup loss;
    bft_optimizer optimizer;
    bft_schedule schedule;
    bft_metrics *metrics;
    const char *metric;              /* that chooses the best */
    uint64_t seed, total, per_epoch; /* steps */
    uint64_t fingerprint;
    bft_progress progress;
} bft_trainer;

/* The folder that a run starts from: that of its model, or, for a new one, of its vocabulary. */
const char *bft_trainer_source(const bft_config *config, bft_task task);

/* Reads data and model as the configuration says. */
bft_status bft_trainer_open(bft_error *err, bft_trainer *trainer);
void bft_trainer_close(bft_trainer *trainer); /* also fine on {0} */

#endif
