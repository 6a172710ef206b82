/* test_optimizer.c: deferred AdamW on embedding rows against the dense one, and what may not change a gradient: how a step is
 * cut into micro-batches, with dropout on. */
#include "nn/network.h"
#include "scratch.h"
#include "train/optimizer.h"

#include <math.h>

enum { SAMPLES = 8, LENGTH = 6, STEPS = 400, CLASSES = 3 };

typedef struct rig {
    bft_backend backend;
    bft_model *model;
    bft_session *session;
    bft_batch batch;
    bft_config *config;
    bft_optimizer optimizer;
} rig;

static bft_error error;

#define OK(expression)                                                                                                 \
    do {                                                                                                               \
        if ((expression) != BFT_OK) {                                                                                  \
            fail_msg("%s", error.message);                                                                             \
        }                                                                                                              \
    } while (0)

static void rig_open(rig *r, char *dense, double dropout) {
    *r = (rig){0};
    char *names[CLASSES] = {"a", "b", "c"};
    bft_model_setup setup = {.head = BFT_HEAD_LINEAR,
                             .problem = BFT_SINGLE_LABEL,
                             .labels = {CLASSES, names},
                             .seed = 3,
                             .dropout = dropout};
    char *pairs[] = {"OPTIM.DENSE_EMBEDDINGS", dense, "OPTIM.WEIGHT_DECAY", "0.05"};
    OK(bft_backend_open(&error, &r->backend, &(bft_backend_setup){.name = "cpu", .threads = 2}));
    OK(bft_model_open_for_training(&error, &r->model, "tests/golden/bert", r->backend, &setup));
    size_t words = r->model->config.vocabulary;
    OK(bft_session_create_training(&error, &r->session, r->model, SAMPLES, SAMPLES * LENGTH));
    OK(bft_batch_create(&error, &r->batch, SAMPLES, SAMPLES * LENGTH, CLASSES, words));
    OK(bft_config_create(&error, &r->config));
    OK(bft_config_merge_pairs(&error, r->config, 4, pairs));
    OK(bft_optimizer_create(&error, &r->optimizer, r->model, r->config, STEPS, words, words, words));
    r->session->reader = bft_optimizer_reader(&r->optimizer);
}

static void rig_close(rig *r) {
    bft_optimizer_free(&r->optimizer);
    bft_config_destroy(r->config);
    bft_batch_free(&r->batch);
    bft_session_destroy(r->session);
    bft_model_destroy(r->model);
    bft_backend_close(&r->backend);
}

/* Sample i of a step: common words always, a rare one (word 20 + step / 100) in every hundredth step only. */
static void add(rig *r, size_t step, size_t i) {
    uint32_t ids[LENGTH] = {2, 10, (uint32_t)(11 + (step + i) % 7), (uint32_t)(11 + (step * i) % 5), 9, 3};
    if (step % 100 == 0 && i == 0) {
        ids[4] = (uint32_t)(20 + step / 100);
    }
    assert_true(bft_batch_add(
        &r->batch, (bft_sample){.ids = ids, .length = LENGTH - i % 2, .target = (uint32_t)(i % CLASSES)}, (uint32_t)i));
}

/* One step of SAMPLES samples in micro-batches of `micro`. */
static double step(rig *r, size_t number, size_t micro, double lr) {
    bft_loss loss = {.kind = BFT_CROSS_ENTROPY, .normalizer = SAMPLES};
    bft_pass pass = {.training = true, .seed = 5, .step = (uint32_t)number};
    bft_optimizer_begin(&r->optimizer);
    bft_session_clear_loss(r->session);
    for (size_t at = 0; at < SAMPLES; at += micro) {
        bft_batch_clear(&r->batch);
        for (size_t i = at; i < at + micro && i < SAMPLES; i++) {
            add(r, number, i);
        }
        OK(bft_optimizer_prepare(&error, &r->optimizer, &r->batch));
        OK(bft_session_step(&error, r->session, &r->batch, pass, loss, bft_optimizer_gradients(&r->optimizer)));
        bft_optimizer_collect(&r->optimizer, &r->batch);
    }
    OK(bft_optimizer_finish(&error, &r->optimizer, lr));
    return bft_session_loss(r->session);
}

static void read_table(rig *r, float *out) {
    bft_row_reader reader = bft_optimizer_reader(&r->optimizer);
    size_t channels = r->model->config.channels;
    for (uint32_t word = 0; word < r->model->config.vocabulary; word++) {
        reader.read(reader.context, &word, 1, out + word * channels); /* CPU reals are floats */
    }
}

/* Every row of the table, trained often, seldom or never, after 400 steps with weight decay: as dense AdamW leaves it. Both
 * round each of 400 updates to float: 400 half units in the last place of values below 1. */
static void deferred_is_dense(void **state) {
    (void)state;
    rig deferred, dense;
    rig_open(&deferred, "False", 0);
    rig_open(&dense, "True", 0);
    for (size_t number = 0; number < STEPS; number++) {
        double lr = 1e-3 * (1 - (double)number / STEPS);
        double a = step(&deferred, number, SAMPLES, lr), b = step(&dense, number, SAMPLES, lr);
        assert_true(fabs(a - b) < 1e-3);
    }
    size_t count = deferred.model->config.vocabulary * deferred.model->config.channels;
    float *a = malloc(count * sizeof *a), *b = malloc(count * sizeof *b);
    read_table(&deferred, a);
    read_table(&dense, b);
    double difference = 0, norm = 0;
    for (size_t i = 0; i < count; i++) {
        difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        norm += (double)b[i] * b[i];
    }
    assert_true(sqrt(difference) <= STEPS * 0x1p-24 * sqrt(norm));
    assert_true(deferred.model->table.slots < 30); /* the rest was never touched, and decayed all the same */
    free(a);
    free(b);
    rig_close(&deferred);
    rig_close(&dense);
}

/* Reading in between changes nothing. */
static void reading_leaves_no_trace(void **state) {
    (void)state;
    rig plain, read;
    rig_open(&plain, "False", 0.1);
    rig_open(&read, "False", 0.1);
    size_t count = plain.model->config.vocabulary * plain.model->config.channels;
    float *a = malloc(count * sizeof *a), *b = malloc(count * sizeof *b);
    for (size_t number = 0; number < 250; number++) {
        step(&plain, number, SAMPLES, 1e-3);
        step(&read, number, SAMPLES, 1e-3);
        if (number % 10 == 3) {
            read_table(&read, b);
        }
    }
    read_table(&plain, a);
    read_table(&read, b);
    assert_memory_equal(a, b, count * sizeof *a);
    free(a);
    free(b);
    rig_close(&plain);
    rig_close(&read);
}

/* The masks don't depend on the cut, and the losses add up: one step in one piece, in pieces of 3, and sample by sample. The
 * sums' order differs, so the norm may by some units in the last place of float. */
static void cuts_change_nothing(void **state) {
    (void)state;
    double losses[3], norms[3];
    const size_t cuts[3] = {SAMPLES, 3, 1};
    for (size_t i = 0; i < 3; i++) {
        rig r;
        rig_open(&r, "False", 0.3);
        losses[i] = step(&r, 0, cuts[i], 1e-3);
        OK(bft_optimizer_check(&error, &r.optimizer, &norms[i]));
        rig_close(&r);
    }
    for (size_t i = 1; i < 3; i++) {
        assert_true(fabs(losses[i] - losses[0]) < 1e-6 * losses[0]);
        assert_true(fabs(norms[i] - norms[0]) < 1e-5 * norms[0]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(deferred_is_dense), cmocka_unit_test(reading_leaves_no_trace),
                                       cmocka_unit_test(cuts_change_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
