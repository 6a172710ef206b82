/* test_batch.c: packed batches: layout, distinct words, limits, reuse. */
#include "bertft/data.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static bft_error err;

static void assert_words(const uint32_t *have, const uint32_t *want, size_t count) {
    assert_memory_equal(have, want, count * sizeof *want);
}

static void layout(void **state) {
    (void)state;
    bft_batch batch;
    assert_int_equal(bft_batch_create(&err, &batch, 3, 9, 2, 20), BFT_OK);
    uint32_t one[] = {2, 7, 7, 3}, two[] = {2, 3}, three[] = {2, 19, 3};
    float targets[] = {0.0f, 1.0f};
    assert_true(bft_batch_add(&batch, (bft_sample){.ids = one, .length = 4, .target = 1}, 5));
    assert_true(bft_batch_add(&batch, (bft_sample){.ids = two, .length = 2, .targets = targets}, 0));
    assert_true(bft_batch_add(&batch, (bft_sample){.ids = three, .length = 3}, 9));

    assert_int_equal(batch.batch, 3);
    assert_int_equal(batch.tokens, 9);
    assert_int_equal(batch.longest, 4);
    assert_int_equal(batch.words, 4);
    assert_words(batch.start, (uint32_t[]){0, 4, 6, 9}, 4);
    assert_words(batch.first, (uint32_t[]){0, 4, 6}, 3);
    assert_words(batch.word, (uint32_t[]){2, 7, 3, 19}, 4);
    assert_words(batch.word_row, (uint32_t[]){0, 1, 1, 2, 0, 2, 0, 3, 2}, 9);
    assert_words(batch.position, (uint32_t[]){0, 1, 2, 3, 0, 1, 0, 1, 2}, 9);
    assert_words(batch.sample, (uint32_t[]){5, 0, 9}, 3);
    assert_words(batch.token_sample, (uint32_t[]){5, 5, 5, 5, 0, 0, 9, 9, 9}, 9);
    assert_int_equal(batch.target[0], 1);
    assert_true(batch.targets[2] == 0.0f && batch.targets[3] == 1.0f);
    bft_batch_free(&batch);
    assert_null(batch.memory);
}

static void limits(void **state) {
    (void)state;
    bft_batch batch;
    assert_int_equal(bft_batch_create(&err, &batch, 2, 5, 0, 10), BFT_OK);
    uint32_t ids[] = {1, 2, 3, 4, 5, 6};
    assert_false(bft_batch_add(&batch, (bft_sample){.ids = ids, .length = 6}, 0));
    assert_int_equal(batch.words, 0); /* a refusal changes nothing */
    assert_true(bft_batch_add(&batch, (bft_sample){.ids = ids, .length = 3}, 0));
    assert_false(bft_batch_add(&batch, (bft_sample){.ids = ids + 3, .length = 3}, 1));
    assert_int_equal(batch.tokens, 3);
    assert_int_equal(batch.words, 3);
    assert_true(bft_batch_add(&batch, (bft_sample){.ids = ids, .length = 1}, 1));
    assert_false(bft_batch_add(&batch, (bft_sample){.ids = ids, .length = 1}, 2)); /* sequences are up, tokens aren't */
    bft_batch_free(&batch);
}

/* After a clear nothing of the old batch is left in the map, however often. */
static void reuse(void **state) {
    (void)state;
    bft_batch batch;
    assert_int_equal(bft_batch_create(&err, &batch, 4, 16, 1, 50), BFT_OK);
    uint32_t random = 1;
    for (int round = 0; round < 200; round++) {
        bft_batch_clear(&batch);
        for (uint32_t s = 0; s < 4; s++) {
            uint32_t ids[4];
            for (int i = 0; i < 4; i++) {
                random = random * 1664525u + 1013904223u;
                ids[i] = random >> 16 & 31;
            }
            assert_true(bft_batch_add(&batch, (bft_sample){.ids = ids, .length = 4}, s));
            for (size_t i = 0; i < 4; i++) {
                assert_int_equal(batch.word[batch.word_row[s * 4 + i]], ids[i]);
            }
        }
        for (size_t a = 0; a < batch.words; a++) {
            for (size_t b = 0; b < a; b++) {
                assert_int_not_equal(batch.word[a], batch.word[b]);
            }
        }
    }
    bft_batch_clear(&batch);
    for (size_t id = 0; id < batch.vocabulary; id++) {
        assert_int_equal(batch.row_of_word[id], 0);
    }
    bft_batch_free(&batch);
}

static void absurd_sizes(void **state) {
    (void)state;
    bft_batch batch;
    assert_int_equal(bft_batch_create(&err, &batch, SIZE_MAX, 1, 1, 1), BFT_BAD);
    assert_int_equal(bft_batch_create(&err, &batch, 1, (size_t)1 << 32, 1, 1), BFT_BAD);
    assert_int_equal(bft_batch_create(&err, &batch, 1000, 1, SIZE_MAX / 10, 1), BFT_BAD);
    assert_string_equal(err.message,
                        "a batch of 1000 sequences, 1 tokens and 1844674407370955161 classes is too large");
    bft_batch_free(&batch);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layout),
        cmocka_unit_test(limits),
        cmocka_unit_test(reuse),
        cmocka_unit_test(absurd_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
