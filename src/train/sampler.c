/* sampler.c: orders, micro-batches, and loss normalizers. */
#include "train/sampler.h"

#include "base/philox.h"

#include <stdlib.h>
#include <string.h>

enum { STREAM_ORDER = 0x6f726472 };

bft_status bft_sampler_create(bft_error *err, bft_sampler *sampler, const bft_dataset *data, const bft_config *config) {
    size_t count = bft_dataset_size(data);
    *sampler = (bft_sampler){.data = data,
                             .batch_size = (size_t)bft_config_int(config, "TRAIN.BATCH_SIZE"),
                             .accumulate = (size_t)bft_config_int(config, "TRAIN.ACCUMULATE"),
                             .seed = (uint64_t)bft_config_int(config, "SEED"),
                             .epoch = UINT64_MAX,
                             .order = malloc(count * sizeof *sampler->order)};
    return sampler->order == NULL ? bft_error_memory(err, count * sizeof *sampler->order) : BFT_OK;
}

void bft_sampler_free(bft_sampler *sampler) {
    free(sampler->order);
    *sampler = (bft_sampler){0};
}

uint64_t bft_sampler_steps_per_epoch(const bft_sampler *sampler) {
    size_t count = bft_dataset_size(sampler->data);
    size_t batches = (count + sampler->batch_size - 1) / sampler->batch_size;
    return (batches + sampler->accumulate - 1) / sampler->accumulate;
}

/* Fisher and Yates, from the identity each time. */
static void shuffle(bft_sampler *sampler, uint64_t epoch) {
    uint32_t count = (uint32_t)bft_dataset_size(sampler->data);
    bft_random random = bft_random_create(sampler->seed ^ epoch << 32, STREAM_ORDER, 0);
    for (uint32_t i = 0; i < count; i++) {
        sampler->order[i] = i;
    }
    for (uint32_t i = count; i > 1; i--) {
        uint32_t j = bft_random_below(&random, i), kept = sampler->order[i - 1];
        sampler->order[i - 1] = sampler->order[j];
        sampler->order[j] = kept;
    }
    sampler->epoch = epoch;
}

bft_step_samples bft_sampler_step(bft_sampler *sampler, uint64_t step) {
    uint64_t per_epoch = bft_sampler_steps_per_epoch(sampler), epoch = step / per_epoch;
    if (sampler->epoch != epoch) {
        shuffle(sampler, epoch);
    }
    size_t room = sampler->batch_size * sampler->accumulate, first = (size_t)(step % per_epoch) * room;
    size_t left = bft_dataset_size(sampler->data) - first;
    return (bft_step_samples){first, left < room ? left : room};
}

size_t bft_sampler_fill(const bft_sampler *sampler, bft_step_samples samples, size_t offset, bft_batch *batch) {
    size_t left = samples.count - offset, count = left < sampler->batch_size ? left : sampler->batch_size;
    bft_batch_clear(batch);
    for (size_t i = 0; i < count; i++) {
        uint32_t index = sampler->order[samples.first + offset + i];
        bft_sample sample = bft_dataset_at(sampler->data, index);
        if (sampler->masker != NULL) {
            sample = bft_masker_draw(sampler->masker, sample, sampler->epoch, index);
        }
        bft_batch_add(batch, sample, (uint32_t)(offset + i)); /* fits by token_limit */
    }
    return count;
}

static int longer_first(const void *a, const void *b) {
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x < y) - (x > y);
}

bft_status bft_sampler_token_limit(bft_error *err, const bft_sampler *sampler, size_t *out) {
    size_t count = bft_dataset_size(sampler->data);
    size_t *lengths = malloc(count * sizeof *lengths);
    if (lengths == NULL) {
        return bft_error_memory(err, count * sizeof *lengths);
    }
    for (size_t i = 0; i < count; i++) {
        lengths[i] = bft_dataset_at(sampler->data, i).length;
    }
    qsort(lengths, count, sizeof *lengths, longer_first);
    *out = 0;
    for (size_t i = 0; i < count && i < sampler->batch_size; i++) {
        *out += lengths[i];
    }
    free(lengths);
    return BFT_OK;
}

bft_status bft_sampler_words(bft_error *err, const bft_sampler *sampler, size_t vocabulary, size_t *out) {
    unsigned char *seen = calloc(vocabulary, 1);
    if (seen == NULL) {
        return bft_error_memory(err, vocabulary);
    }
    *out = 0;
    for (size_t i = 0; i < bft_dataset_size(sampler->data); i++) {
        bft_sample sample = bft_dataset_at(sampler->data, i);
        for (size_t j = 0; j < sample.length; j++) {
            *out += !seen[sample.ids[j]];
            seen[sample.ids[j]] = 1;
        }
    }
    free(seen);
    return BFT_OK;
}

/* ---- The loss ---- */

/* n / (K n_k), as scikit-learn's "balanced"; a class that doesn't occur keeps weight 1. */
static bft_status balanced_weights(bft_error *err, const bft_dataset *data, size_t classes, float *weight) {
    size_t *counts = calloc(classes, sizeof *counts);
    if (counts == NULL) {
        return bft_error_memory(err, classes * sizeof *counts);
    }
    bft_dataset_class_counts(data, counts);
    double samples = (double)bft_dataset_size(data);
    for (size_t k = 0; k < classes; k++) {
        weight[k] = counts[k] == 0 ? 1.0f : (float)(samples / ((double)classes * (double)counts[k]));
    }
    free(counts);
    return BFT_OK;
}

static bft_status read_weights(bft_error *err, const bft_config *config, size_t classes, float *weight) {
    size_t given = bft_config_list_size(config, "LOSS.CLASS_WEIGHTS");
    if (given != classes) {
        return bft_error_set(err, BFT_BAD, "%s: LOSS.CLASS_WEIGHTS lists %zu weights for %zu classes",
                             bft_config_origin(config, "LOSS.CLASS_WEIGHTS"), given, classes);
    }
    for (size_t k = 0; k < classes; k++) {
        weight[k] = (float)bft_config_list_number(config, "LOSS.CLASS_WEIGHTS", k);
    }
    return BFT_OK;
}

bft_status bft_loss_setup_create(bft_error *err, bft_loss_setup *setup, const bft_config *config,
                                 const bft_dataset *data) {
    bft_problem problem = bft_dataset_problem(data);
    size_t classes = bft_dataset_labels(data)->count;
    if (problem == BFT_PROBLEM_NONE) { /* a masked language model's loss has one kind */
        *setup = (bft_loss_setup){0};
        return BFT_OK;
    }
    *setup = (bft_loss_setup){
        .kind = problem == BFT_SINGLE_LABEL  ? BFT_CROSS_ENTROPY
                : problem == BFT_MULTI_LABEL ? BFT_BINARY
                                             : BFT_SQUARED,
        .smoothing = problem == BFT_SINGLE_LABEL ? (float)bft_config_float(config, "LOSS.LABEL_SMOOTHING") : 0};
    if (bft_config_is_null(config, "LOSS.CLASS_WEIGHTS") || problem == BFT_REGRESSION) {
        return BFT_OK;
    }
    setup->weight = malloc(classes * sizeof *setup->weight);
    if (setup->weight == NULL) {
        return bft_error_memory(err, classes * sizeof *setup->weight);
    }
    bool automatic = strcmp(bft_config_string(config, "LOSS.CLASS_WEIGHTS"), "auto") == 0;
    return automatic ? balanced_weights(err, data, classes, setup->weight)
                     : read_weights(err, config, classes, setup->weight);
}

void bft_loss_setup_free(bft_loss_setup *setup) {
    free(setup->weight);
    *setup = (bft_loss_setup){0};
}

static double count_masked(const bft_sampler *sampler, bft_step_samples samples) {
    size_t masked = 0;
    for (size_t i = 0; i < samples.count; i++) {
        uint32_t index = sampler->order[samples.first + i];
        masked += bft_masker_count(sampler->masker, bft_dataset_at(sampler->data, index), sampler->epoch, index);
    }
    return (double)masked;
}

bft_loss bft_sampler_loss(const bft_sampler *sampler, const bft_loss_setup *setup, bft_step_samples samples) {
    bft_loss loss = {.kind = setup->kind, .weight = setup->weight, .smoothing = setup->smoothing};
    if (sampler->masker != NULL) {
        loss.normalizer = count_masked(sampler, samples);
        return loss;
    }
    if (setup->kind != BFT_CROSS_ENTROPY) {
        loss.normalizer = (double)samples.count * (double)bft_dataset_labels(sampler->data)->count;
        return loss;
    }
    for (size_t i = 0; i < samples.count; i++) {
        bft_sample sample = bft_dataset_at(sampler->data, sampler->order[samples.first + i]);
        loss.normalizer += setup->weight == NULL ? 1.0 : (double)setup->weight[sample.target];
    }
    return loss;
}
