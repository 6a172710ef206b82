/* split.c: taking a stratified share out of a data set. */
#include "data/dataset.h"

#include "base/philox.h"

#include <math.h>
#include <stdlib.h>

enum { STREAM = 0x73706c74 }; /* this use of the seed: "splt" */

/* One class's samples while the share is being chosen. */
typedef struct stratum {
    size_t count, taken, at; /* at: where its samples start in the order by class */
    double remainder;        /* what rounding down has cost it */
} stratum;

typedef struct split_plan {
    stratum *strata; /* (K + 1) */
    size_t classes;  /* K + 1: the last is for samples without a class */
    uint32_t *order; /* (count) samples by class */
    bool *taken;     /* (count) */
} split_plan;

/* Groups the samples by class, in their order. */
static void group(const bft_dataset *dataset, split_plan *plan) {
    for (size_t i = 0; i < dataset->count; i++) {
        plan->strata[bft_dataset_class(dataset, i)].count++;
    }
    for (size_t k = 1; k < plan->classes; k++) {
        plan->strata[k].at = plan->strata[k - 1].at + plan->strata[k - 1].count;
    }
    for (size_t i = 0; i < dataset->count; i++) {
        plan->order[plan->strata[bft_dataset_class(dataset, i)].at++] = (uint32_t)i;
    }
    for (size_t k = 0; k < plan->classes; k++) {
        plan->strata[k].at -= plan->strata[k].count;
    }
}

/* Shares `total` out among the classes by largest remainder; of equal ones the first class wins. */
static void apportion(split_plan *plan, double fraction, size_t total) {
    for (size_t k = 0; k < plan->classes; k++) {
        stratum *s = &plan->strata[k];
        double exact = fraction * (double)s->count;
        s->taken = (size_t)exact;
        s->remainder = exact - (double)s->taken;
        total -= s->taken;
    }
    for (; total > 0; total--) {
        stratum *largest = &plan->strata[0];
        for (size_t k = 1; k < plan->classes; k++) {
            largest = plan->strata[k].remainder > largest->remainder ? &plan->strata[k] : largest;
        }
        largest->taken++;
        largest->remainder = -1.0;
    }
}

/* Marks what is taken: the first of each class's samples after a partial Fisher-Yates shuffle. */
static void draw(split_plan *plan, uint64_t seed) {
    bft_random random = bft_random_create(seed, STREAM, 0);
    for (size_t k = 0; k < plan->classes; k++) {
        uint32_t *samples = plan->order + plan->strata[k].at;
        uint32_t count = (uint32_t)plan->strata[k].count;
        for (uint32_t i = 0; i < plan->strata[k].taken; i++) {
            uint32_t j = i + bft_random_below(&random, count - i), chosen = samples[j];
            samples[j] = samples[i];
            plan->taken[chosen] = true;
        }
    }
}

/* A new set of the samples whose mark equals `wanted`, in their order. */
static bft_status copy_marked(bft_error *err, const bft_dataset *from, const bool *marks, bool wanted,
                              bft_dataset **out) {
    bft_dataset *copy;
    BFT_TRY(bft_dataset_create(err, &copy, from->problem));
    bft_status status = bft_dataset_set_labels(err, copy, from->labels.count, from->labels.names);
    for (size_t i = 0; status == BFT_OK && i < from->count; i++) {
        bft_sample sample = bft_dataset_at(from, i);
        if (marks[i] == wanted) {
            status = bft_dataset_add_ids(err, copy, sample.ids, sample.length);
        }
        if (marks[i] == wanted && status == BFT_OK) {
            status = bft_dataset_add_target(err, copy, sample);
        }
    }
    if (status != BFT_OK) {
        bft_dataset_destroy(copy);
        return status;
    }
    *out = copy;
    return BFT_OK;
}

/* Moves the content of `rest` into `dataset`, whose address its owner keeps. */
static void replace(bft_dataset *dataset, bft_dataset *rest) {
    bft_dataset old = *dataset;
    *dataset = *rest;
    dataset->skipped = old.skipped;
    *rest = old;
    bft_dataset_destroy(rest);
}

static bft_status plan_create(bft_error *err, bft_arena *arena, split_plan *plan, const bft_dataset *dataset) {
    plan->classes = dataset->labels.count + 1;
    BFT_TRY(BFT_NEW(err, arena, &plan->strata, plan->classes));
    BFT_TRY(BFT_NEW(err, arena, &plan->order, dataset->count));
    return BFT_NEW(err, arena, &plan->taken, dataset->count);
}

bft_status bft_dataset_split(bft_error *err, bft_dataset *dataset, double fraction, uint64_t seed,
                             bft_dataset **taken) {
    size_t total = (size_t)llround(fraction * (double)dataset->count);
    if (total == 0 || total >= dataset->count) {
        return bft_error_set(
            err, BFT_BAD,
            "cannot split %g of %zu samples off: each side needs one; set another DATA.VALID_FRACTION, or DATA.VALID",
            fraction, dataset->count);
    }
    bft_arena arena = {0};
    split_plan plan;
    bft_dataset *rest = NULL;
    bft_status status = plan_create(err, &arena, &plan, dataset);
    if (status == BFT_OK) {
        group(dataset, &plan);
        apportion(&plan, fraction, total);
        draw(&plan, seed);
        status = copy_marked(err, dataset, plan.taken, false, &rest);
    }
    if (status == BFT_OK) {
        status = copy_marked(err, dataset, plan.taken, true, taken);
    }
    bft_arena_free(&arena);
    if (status != BFT_OK) {
        bft_dataset_destroy(rest);
        return status;
    }
    replace(dataset, rest);
    return BFT_OK;
}
