/* test_allocations.c: no memory is asked for in a training step, nor in a batch of inference, once the first is through.
 *
 * The linker sends malloc and its kin of the whole program here (see the Makefile), where they are counted. */
#include "bertft/model.h"
#include "bertft/train.h"
#include "scratch.h"

#include <stdatomic.h>

static atomic_size_t allocations;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

void *__wrap_malloc(size_t size) {
    atomic_fetch_add(&allocations, 1);
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size) {
    atomic_fetch_add(&allocations, 1);
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *block, size_t size) {
    atomic_fetch_add(&allocations, 1);
    return __real_realloc(block, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    atomic_fetch_add(&allocations, 1);
    return __real_aligned_alloc(alignment, size);
}

typedef struct counts {
    size_t after_first, steps;
} counts;

static void on_step(void *context, const bft_train_step *step) {
    counts *c = context;
    c->steps = (size_t)step->step;
    if (step->step == 1) {
        c->after_first = atomic_load(&allocations);
    } else {
        assert_int_equal(atomic_load(&allocations), c->after_first);
    }
}

static void train(bft_task task, char *accumulate, char *dense) {
    char *pairs[] = {"MODEL.WEIGHTS",
                     "checkpoints/mini-ru",
                     "DATA.TRAIN",
                     "data/support-ru/train.tsv",
                     "DATA.VALID_FRACTION",
                     "0",
                     "TRAIN.BATCH_SIZE",
                     "8",
                     "TRAIN.MAX_STEPS",
                     "30",
                     "TRAIN.LOG_EVERY",
                     "1000",
                     "TRAIN.SAVE_EVERY",
                     "1000",
                     "TRAIN.ACCUMULATE",
                     accumulate,
                     "OPTIM.DENSE_EMBEDDINGS",
                     dense};
    char folder[] = "/tmp/bertft-test-XXXXXX", command[64];
    bft_error err = {0};
    bft_config *config = NULL;
    bft_backend backend;
    bft_train_result result;
    counts c = {0};
    bft_train_events events = {.context = &c, .on_step = on_step};
    assert_non_null(mkdtemp(folder));
    char *output[] = {"OUTPUT_DIR", folder};
    assert_int_equal(bft_config_create(&err, &config), BFT_OK);
    assert_int_equal(bft_config_merge_pairs(&err, config, sizeof pairs / sizeof *pairs, pairs), BFT_OK);
    assert_int_equal(bft_config_merge_pairs(&err, config, 2, output), BFT_OK);
    assert_int_equal(bft_backend_open(&err, &backend, &(bft_backend_setup){.name = "cpu", .threads = 2}), BFT_OK);
    if (bft_train(&err, config, task, backend, true, &events, &result) != BFT_OK) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(c.steps, 30);
    assert_true(c.after_first > 0);
    bft_backend_close(&backend);
    bft_config_destroy(config);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
}

static void deferred(void **state) {
    (void)state;
    train(BFT_FINE_TUNE, "1", "False");
}

static void accumulated(void **state) {
    (void)state;
    train(BFT_FINE_TUNE, "3", "False");
}

static void dense(void **state) {
    (void)state;
    train(BFT_FINE_TUNE, "1", "True");
}

static void pretraining(void **state) {
    (void)state;
    train(BFT_PRETRAIN, "2", "False");
}

/* Batch after batch of other sizes, in each precision. */
static void inference(void **state) {
    (void)state;
    enum { TEXTS = 9, LENGTH = 40, CHANNELS = 1024 };
    static const char *const precisions[] = {"fp32", "bf16", "int8"};
    static float vectors[TEXTS * CHANNELS];
    uint32_t ids[LENGTH];
    for (uint32_t i = 0; i < LENGTH; i++) {
        ids[i] = 5 + i;
    }
    for (size_t p = 0; p < sizeof precisions / sizeof *precisions; p++) {
        bft_error err = {0};
        bft_backend_setup setup = {.name = "cpu", .threads = 2, .precision = precisions[p], .inference = true};
        bft_backend backend;
        bft_model *model = NULL;
        bft_session *session = NULL;
        bft_batch batch;
        assert_int_equal(bft_backend_open(&err, &backend, &setup), BFT_OK);
        assert_int_equal(bft_model_open(&err, &model, "checkpoints/mini-ru", backend), BFT_OK);
        const bft_model_config *config = bft_model_configuration(model);
        assert_true(config->channels <= CHANNELS);
        assert_int_equal(bft_session_create(&err, &session, model, TEXTS, TEXTS * LENGTH), BFT_OK);
        assert_int_equal(bft_batch_create(&err, &batch, TEXTS, TEXTS * LENGTH, 0, config->vocabulary), BFT_OK);
        size_t after_first = 0;
        for (size_t run = 0; run < 20; run++) {
            bft_batch_clear(&batch);
            for (uint32_t text = 0; text < TEXTS - run % 3; text++) {
                assert_true(
                    bft_batch_add(&batch, (bft_sample){.ids = ids, .length = LENGTH - (run + text) % 30}, text));
            }
            assert_int_equal(bft_session_vectors(&err, session, &batch, BFT_POOL_CLS, vectors), BFT_OK);
            after_first = run == 0 ? atomic_load(&allocations) : after_first;
            assert_int_equal(atomic_load(&allocations), after_first);
        }
        bft_batch_free(&batch);
        bft_session_destroy(session);
        bft_model_destroy(model);
        bft_backend_close(&backend);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(deferred), cmocka_unit_test(accumulated),
                                       cmocka_unit_test(dense), cmocka_unit_test(pretraining), cmocka_unit_test(inference)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
