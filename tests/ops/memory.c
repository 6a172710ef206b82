/* memory.c: the sizes that ops ask for: smaller shapes never want more than larger ones. */
#include "tests/ops/ops_test.h"

typedef enum kind { EMBED, LINEAR, ATTENTION, RESIDUAL_NORM } kind;

typedef struct shape {
    const char *title;
    kind kind;
} shape;

static const shape shapes[] = {
    {"embed", EMBED}, {"linear", LINEAR}, {"attention", ATTENTION}, {"residual_norm", RESIDUAL_NORM}};

static const size_t sizes[] = {1, 2, 7, 16, 31, 64, 65, 312, 768};
enum { SIZES = sizeof sizes / sizeof sizes[0], FACTORS = 4 };

/* What the op wants where its sizes are sizes[at[..]]. Linear: the last index picks its activation. */
static bft_memory wanted(const run *r, const size_t at[FACTORS]) {
    bft_memory memory = {0};
    size_t a = sizes[at[0]], b = sizes[at[1]], c = sizes[at[2]];
    switch (((const shape *)r->problem->shape)->kind) {
    case EMBED:
        r->ops->embed_memory(&(bft_embed){.rows = a, .words = b, .channels = c}, &memory);
        break;
    case LINEAR: {
        bft_linear op = {.rows = a, .in = b, .out = c, .activation = (bft_activation)(at[3] % 4)};
        r->ops->linear_memory(&op, &memory);
        break;
    }
    case ATTENTION: {
        bft_attention op = {.batch = a, .rows = a * sizes[at[3]], .heads = b, .head_size = c, .longest = sizes[at[3]]};
        r->ops->attention_memory(&op, &memory);
        break;
    }
    case RESIDUAL_NORM:
        r->ops->residual_norm_memory(&(bft_residual_norm){.rows = a, .channels = c}, &memory);
        break;
    }
    return memory;
}

static const char *check(const run *r) {
    size_t sized = ((const shape *)r->problem->shape)->kind == LINEAR ? 3 : FACTORS, at[FACTORS];
    for (size_t i = 0; i < SIZES * SIZES * SIZES * SIZES; i++) {
        size_t rest = i;
        for (size_t f = 0; f < FACTORS; f++, rest /= SIZES) {
            at[f] = rest % SIZES;
        }
        bft_memory here = wanted(r, at);
        for (size_t f = 0; f < sized; f++) {
            if (at[f] + 1 < SIZES) {
                at[f]++;
                bft_memory larger = wanted(r, at);
                at[f]--;
                if (larger.saved < here.saved || larger.scratch < here.scratch) {
                    return "a larger shape wants less memory";
                }
            }
        }
    }
    return NULL;
}

static void nothing(problem *p) {
    (void)p;
}

static void no_run(const run *r) {
    (void)r;
}

const subject memory_subject = {
    .op = "memory",
    .shapes = shapes,
    .shape_size = sizeof shapes[0],
    .shape_count = sizeof shapes / sizeof shapes[0],
    .prepare = nothing,
    .forward = no_run,
    .truth = nothing,
    .bound = nothing,
    .check = check,
};
