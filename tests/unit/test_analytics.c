/* test_analytics.c: a dialogue's summary against figures worked out by hand, and against a plain computation over all turns. */
#include "bertft/predict.h"

#include "base/philox.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static void assert_near(double value, double expected, double bound) {
    if (!(fabs(value - expected) <= bound)) {
        fail_msg("%.17g is not within %g of %.17g", value, bound, expected);
    }
}

static void add(bft_summary *summary, bft_speaker speaker, const char *label, double negativity) {
    bft_error err;
    bft_prediction prediction = {.negativity = (float)negativity, .negative = strcmp(label, "anger") == 0};
    assert_int_equal(bft_summary_add(&err, summary, speaker, label, &prediction), BFT_OK);
}

static bft_summary create(size_t limit) {
    bft_error err;
    bft_summary summary;
    assert_int_equal(bft_summary_create(&err, &summary, limit), BFT_OK);
    return summary;
}

static void assert_stretch(const bft_summary *summary, size_t index, size_t from, size_t to, size_t turns) {
    assert_true(index < summary->stretch_count);
    assert_int_equal(summary->stretches[index].from, from);
    assert_int_equal(summary->stretches[index].to, to);
    assert_int_equal(summary->stretches[index].turns, turns);
}

/* An operator's turn between two angry ones of the client does not end their stretch, and a calm one does. */
static void test_a_dialogue(void **state) {
    (void)state;
    bft_summary s = create(10);
    add(&s, BFT_OPERATOR, "joy", 0.9);  /* 0: an operator's negativity counts nowhere */
    add(&s, BFT_CLIENT, "calm", 0.25);  /* 1 */
    add(&s, BFT_CLIENT, "anger", 0.5);  /* 2 */
    add(&s, BFT_OPERATOR, "anger", 1);  /* 3 */
    add(&s, BFT_CLIENT, "anger", 0.75); /* 4 */
    add(&s, BFT_CLIENT, "calm", 0.75);  /* 5: as bad as turn 4, and later */
    add(&s, BFT_CLIENT, "anger", 0.5);  /* 6 */
    assert_int_equal(s.turns, 7);
    assert_int_equal(s.client_turns, 5);
    assert_int_equal(s.negative_turns, 3);
    assert_near(bft_summary_negative_share(&s), 0.6, 1e-15);
    assert_int_equal(s.first.turn, 1);
    assert_string_equal(s.first.label.data, "calm");
    assert_int_equal(s.last.turn, 6);
    assert_string_equal(s.last.label.data, "anger");
    assert_int_equal(s.worst.turn, 4);
    assert_string_equal(s.worst.label.data, "anger");
    assert_near(s.worst.negativity, 0.75, 0);
    assert_int_equal(s.stretch_total, 2);
    assert_int_equal(s.stretch_count, 2);
    assert_stretch(&s, 0, 2, 4, 2);
    assert_stretch(&s, 1, 6, 6, 1);
    /* slope of .25 .5 .75 .75 .5 over 0..4: (-2*.25 - .5 + .75 + 2*.5) / 10 = 0.075 a turn, four turns */
    assert_near(bft_summary_trend(&s), 0.3, 1e-12);
    bft_summary_free(&s);
}

static void test_nothing_said(void **state) {
    (void)state;
    bft_summary s = create(1);
    add(&s, BFT_OPERATOR, "anger", 1);
    assert_int_equal(s.turns, 1);
    assert_int_equal(s.client_turns, 0);
    assert_near(bft_summary_negative_share(&s), 0, 0);
    assert_near(bft_summary_trend(&s), 0, 0);
    assert_int_equal(s.stretch_count, 0);
    add(&s, BFT_CLIENT, "anger", 0); /* even a negativity of 0 is the worst where it is the only one */
    assert_int_equal(s.worst.turn, 1);
    assert_string_equal(s.worst.label.data, "anger");
    assert_near(bft_summary_trend(&s), 0, 0);
    bft_summary_free(&s);
}

/* Over the limit stretches are counted; the last one kept doesn't grow with turns of later ones. */
static void test_stretches_are_capped(void **state) {
    (void)state;
    bft_summary s = create(2);
    for (int i = 0; i < 5; i++) {
        add(&s, BFT_CLIENT, "anger", 0.9);
        add(&s, BFT_CLIENT, "anger", 0.9);
        add(&s, BFT_CLIENT, "calm", 0.1);
    }
    assert_int_equal(s.stretch_total, 5);
    assert_int_equal(s.stretch_count, 2);
    assert_stretch(&s, 0, 0, 1, 2);
    assert_stretch(&s, 1, 3, 4, 2);
    bft_summary_free(&s);

    s = create(0);
    add(&s, BFT_CLIENT, "anger", 0.9);
    assert_int_equal(s.stretch_total, 1);
    assert_int_equal(s.stretch_count, 0);
    bft_summary_free(&s);
}

static void test_cleared_for_the_next(void **state) {
    (void)state;
    bft_summary s = create(3);
    add(&s, BFT_CLIENT, "anger", 0.9);
    add(&s, BFT_CLIENT, "anger", 0.8);
    bft_summary_clear(&s);
    assert_int_equal(s.turns, 0);
    assert_int_equal(s.stretch_limit, 3);
    assert_int_equal(s.stretch_total, 0);
    add(&s, BFT_CLIENT, "anger", 0.2);
    assert_int_equal(s.first.turn, 0);
    assert_int_equal(s.worst.turn, 0);
    assert_string_equal(s.worst.label.data, "anger");
    assert_near(s.worst.negativity, 0.2f, 0);
    assert_stretch(&s, 0, 0, 0, 1);
    bft_summary_free(&s);
}

/* The sums give the trend that two passes over all turns give. */
static void test_trend_of_many(void **state) {
    (void)state;
    enum { TURNS = 2000 };
    static double y[TURNS];
    bft_random random = bft_random_create(7, 0, 0);
    bft_summary s = create(4);
    double mean = 0;
    for (int i = 0; i < TURNS; i++) {
        y[i] = (float)(0.5 * bft_random_unit(&random) + 0.0002 * i);
        mean += y[i] / TURNS;
        add(&s, BFT_CLIENT, y[i] > 0.5 ? "anger" : "calm", y[i]);
    }
    double covariance = 0, variance = 0;
    for (int i = 0; i < TURNS; i++) {
        double x = i - (TURNS - 1) / 2.0;
        covariance += x * (y[i] - mean);
        variance += x * x;
    }
    assert_near(bft_summary_trend(&s), covariance / variance * (TURNS - 1), 1e-9);
    bft_summary_free(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_dialogue),           cmocka_unit_test(test_nothing_said),
        cmocka_unit_test(test_stretches_are_capped), cmocka_unit_test(test_cleared_for_the_next),
        cmocka_unit_test(test_trend_of_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
