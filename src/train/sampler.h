/* sampler.h: which samples each step takes, what is masked in them, and what their loss is divided by.
 *
 * All follows from the seed and the step: an epoch's order is a shuffle keyed by seed and epoch, so there is no state to save. */
#ifndef BFT_TRAIN_SAMPLER_H
#define BFT_TRAIN_SAMPLER_H

#include "bertft/config.h"
#include "bertft/data.h"
#include "data/masker.h"
#include "kernels/ops.h"

typedef struct bft_sampler {
    const bft_dataset *data;
    size_t batch_size, accumulate;
    uint64_t seed, epoch; /* epoch whose order is at hand; UINT64_MAX: none */
    uint32_t *order;      /* (samples) */
    bft_masker *masker;   /* not owned; NULL: samples are taken as they are */
} bft_sampler;

bft_status bft_sampler_create(bft_error *err, bft_sampler *sampler, const bft_dataset *data, const bft_config *config);
void bft_sampler_free(bft_sampler *sampler); /* also fine on {0} */

uint64_t bft_sampler_steps_per_epoch(const bft_sampler *sampler);

/* The samples of a step (from 0): places [first, first + count) of the epoch's order, cut into micro-batches of
 * batch_size. */
typedef struct bft_step_samples {
    size_t first, count;
} bft_step_samples;
bft_step_samples bft_sampler_step(bft_sampler *sampler, uint64_t step);

/* Packs the micro-batch that starts `offset` samples into the step; returns how many it took. With a masker, each epoch masks
 * other words. */
size_t bft_sampler_fill(const bft_sampler *sampler, bft_step_samples samples, size_t offset, bft_batch *batch);

/* The most tokens that one micro-batch can hold, whatever the order. */
bft_status bft_sampler_token_limit(bft_error *err, const bft_sampler *sampler, size_t *out);

/* How many distinct words the data set has. */
bft_status bft_sampler_words(bft_error *err, const bft_sampler *sampler, size_t vocabulary, size_t *out);

/* ---- The loss that a configuration asks for on this data set ---- */
typedef struct bft_loss_setup {
    bft_loss_kind kind;
    float *weight; /* (K) or NULL */
    float smoothing;
} bft_loss_setup;

bft_status bft_loss_setup_create(bft_error *err, bft_loss_setup *setup, const bft_config *config,
                                 const bft_dataset *data);
void bft_loss_setup_free(bft_loss_setup *setup);

/* Kind, weights, smoothing and the normalizer of a whole step, for bft_session_step. */
bft_loss bft_sampler_loss(const bft_sampler *sampler, const bft_loss_setup *setup, bft_step_samples samples);

#endif
