/* dataset.c: the samples of a data set: ids end to end, targets beside them. */
#include "data/dataset.h"

#include <stdlib.h>
#include <string.h>

static size_t targets_of(const bft_dataset *dataset) {
    return dataset->problem == BFT_SINGLE_LABEL ? 0 : dataset->labels.count; /* unlabelled: 0 too */
}

static const size_t *starts(const bft_dataset *dataset) {
    return (const size_t *)(const void *)dataset->start.data;
}

bft_status bft_dataset_create(bft_error *err, bft_dataset **out, bft_problem problem) {
    bft_dataset *dataset = calloc(1, sizeof *dataset);
    if (dataset == NULL) {
        return bft_error_memory(err, sizeof *dataset);
    }
    dataset->problem = problem;
    size_t zero = 0;
    bft_status status = bft_buffer_append(err, &dataset->start, &zero, sizeof zero);
    if (status != BFT_OK) {
        bft_dataset_destroy(dataset);
        return status;
    }
    *out = dataset;
    return BFT_OK;
}

bft_status bft_dataset_set_labels(bft_error *err, bft_dataset *dataset, size_t count, char *const *names) {
    dataset->labels.count = count;
    BFT_TRY(BFT_NEW(err, &dataset->arena, &dataset->labels.names, count));
    for (size_t i = 0; i < count; i++) {
        BFT_TRY(bft_arena_string(err, &dataset->arena, names[i], strlen(names[i]), &dataset->labels.names[i]));
    }
    return BFT_OK;
}

void bft_dataset_destroy(bft_dataset *dataset) {
    if (dataset == NULL) {
        return;
    }
    bft_buffer_free(&dataset->ids);
    bft_buffer_free(&dataset->start);
    bft_buffer_free(&dataset->target);
    bft_buffer_free(&dataset->targets);
    bft_arena_free(&dataset->arena);
    free(dataset);
}

bft_status bft_dataset_add_ids(bft_error *err, bft_dataset *dataset, const uint32_t *ids, size_t length) {
    if (dataset->count == UINT32_MAX) {
        return bft_error_set(err, BFT_BAD, "a data set holds at most %u samples", UINT32_MAX);
    }
    size_t end = starts(dataset)[dataset->count] + length;
    BFT_TRY(bft_buffer_append(err, &dataset->ids, ids, length * sizeof *ids));
    BFT_TRY(bft_buffer_append(err, &dataset->start, &end, sizeof end));
    dataset->count++;
    dataset->longest = length > dataset->longest ? length : dataset->longest;
    return BFT_OK;
}

bft_status bft_dataset_add_target(bft_error *err, bft_dataset *dataset, bft_sample sample) {
    if (dataset->problem == BFT_SINGLE_LABEL) {
        return bft_buffer_append(err, &dataset->target, &sample.target, sizeof sample.target);
    }
    size_t bytes = targets_of(dataset) * sizeof *sample.targets;
    return bytes == 0 ? BFT_OK : bft_buffer_append(err, &dataset->targets, sample.targets, bytes);
}

size_t bft_dataset_size(const bft_dataset *dataset) {
    return dataset->count;
}

const bft_labels *bft_dataset_labels(const bft_dataset *dataset) {
    return &dataset->labels;
}

bft_problem bft_dataset_problem(const bft_dataset *dataset) {
    return dataset->problem;
}

size_t bft_dataset_skipped(const bft_dataset *dataset) {
    return dataset->skipped;
}

size_t bft_dataset_longest(const bft_dataset *dataset) {
    return dataset->longest;
}

size_t bft_dataset_tokens(const bft_dataset *dataset) {
    return starts(dataset)[dataset->count];
}

bft_sample bft_dataset_at(const bft_dataset *dataset, size_t index) {
    const size_t *start = starts(dataset) + index;
    bft_sample sample = {.ids = (const uint32_t *)(const void *)dataset->ids.data + start[0],
                         .length = start[1] - start[0]};
    if (dataset->problem == BFT_SINGLE_LABEL) {
        sample.target = ((const uint32_t *)(const void *)dataset->target.data)[index];
    } else if (targets_of(dataset) > 0) {
        sample.targets = (const float *)(const void *)dataset->targets.data + index * targets_of(dataset);
    }
    return sample;
}

size_t bft_dataset_class(const bft_dataset *dataset, size_t index) {
    bft_sample sample = bft_dataset_at(dataset, index);
    if (dataset->problem != BFT_MULTI_LABEL) {
        return sample.target;
    }
    size_t class = 0;
    while (class < dataset->labels.count && sample.targets[class] == 0.0f) {
        class ++;
    }
    return class;
}

void bft_dataset_class_counts(const bft_dataset *dataset, size_t *counts) {
    memset(counts, 0, dataset->labels.count * sizeof *counts);
    for (size_t i = 0; i < dataset->count; i++) {
        bft_sample sample = bft_dataset_at(dataset, i);
        if (dataset->problem != BFT_MULTI_LABEL) {
            counts[sample.target]++;
            continue;
        }
        for (size_t k = 0; k < dataset->labels.count; k++) {
            counts[k] += sample.targets[k] != 0.0f;
        }
    }
}
