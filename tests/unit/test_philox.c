/* test_philox.c: Philox4x32-10 against the known answers that its authors publish (Random123, kat_vectors), and the
 * stream on top of it. */
#include "base/philox.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static void gives_the_known_answers(void **state) {
    (void)state;
    static const struct {
        bft_philox counter;
        uint64_t key;
        bft_philox answer;
    } known[] = {
        {{{0, 0, 0, 0}}, 0, {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}}},
        {{{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}},
         0xffffffffffffffff,
         {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}}},
        {{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, /* pi's digits */
         0x299f31d0a4093822,
         {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        bft_philox block = bft_philox_block(known[i].counter, known[i].key);
        assert_memory_equal(&block, &known[i].answer, sizeof block);
    }
}

static void a_stream_starts_anywhere(void **state) {
    (void)state;
    bft_random whole = bft_random_create(7, 3, 0), part = bft_random_create(7, 3, 5),
               other = bft_random_create(7, 4, 0);
    uint32_t words[24], same = 0;
    for (size_t i = 0; i < 24; i++) {
        words[i] = bft_random_word(&whole);
        same += words[i] == bft_random_word(&other);
    }
    assert_int_equal(same, 0);
    for (size_t i = 20; i < 24; i++) { /* block 5 holds words 20 to 23 */
        assert_int_equal(bft_random_word(&part), words[i]);
    }
}

/* Counts within 6 standard deviations; the seed is fixed, so that this passes always or never. */
static void below_is_uniform(void **state) {
    (void)state;
    enum { BOUND = 7, DRAWS = 70000 };
    bft_random random = bft_random_create(1, 1, 0);
    int counts[BOUND] = {0};
    for (int i = 0; i < DRAWS; i++) {
        uint32_t drawn = bft_random_below(&random, BOUND);
        assert_in_range(drawn, 0, BOUND - 1);
        counts[drawn]++;
    }
    for (int i = 0; i < BOUND; i++) {
        assert_true(abs(counts[i] - DRAWS / BOUND) < 6 * sqrt(DRAWS / BOUND));
    }
    assert_int_equal(bft_random_below(&random, 1), 0);
}

/* With 3 * 2^30 values, taking the product's upper word without rejection would give every third value twice as
 * often. */
static void below_is_unbiased_for_large_bounds(void **state) {
    (void)state;
    enum { DRAWS = 30000 };
    bft_random random = bft_random_create(2, 1, 0);
    int thirds[3] = {0};
    for (int i = 0; i < DRAWS; i++) {
        thirds[bft_random_below(&random, 3u << 30) % 3]++;
    }
    for (int i = 0; i < 3; i++) {
        assert_true(abs(thirds[i] - DRAWS / 3) < 6 * sqrt(DRAWS / 3));
    }
}

static void units_and_normals_have_their_moments(void **state) {
    (void)state;
    enum { DRAWS = 40000 };
    bft_random random = bft_random_create(3, 1, 0);
    double sum = 0, normal = 0, squares = 0;
    for (int i = 0; i < DRAWS; i++) {
        double unit = bft_random_unit(&random), drawn = bft_random_normal(&random);
        assert_true(unit > 0 && unit < 1);
        sum += unit / DRAWS;
        normal += drawn / DRAWS;
        squares += drawn * drawn / DRAWS;
    }
    assert_true(fabs(sum - 0.5) < 6 * sqrt(1.0 / 12 / DRAWS));
    assert_true(fabs(normal) < 6 * sqrt(1.0 / DRAWS));
    assert_true(fabs(squares - 1) < 6 * sqrt(2.0 / DRAWS));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_known_answers),
        cmocka_unit_test(a_stream_starts_anywhere),
        cmocka_unit_test(below_is_uniform),
        cmocka_unit_test(below_is_unbiased_for_large_bounds),
        cmocka_unit_test(units_and_normals_have_their_moments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
