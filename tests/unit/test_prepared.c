/* test_prepared.c: what tells the matrices that int8 hurts from the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "nn/prepared.h"

#include "base/philox.h"

#include <math.h>
#include <string.h>

enum { OUT = 40, IN = 300 };

static float weight[OUT * IN];

static void draw(void) {
    bft_random random = bft_random_create(1, 2, 3);
    for (size_t i = 0; i < OUT * IN; i++) {
        weight[i] = (float)bft_random_normal(&random);
    }
}

/* A rounding is off by up to half a step, s^2 / 12 in its square's mean; a step is a 127th of a row's largest. */
static double expected(void) {
    double error = 0, size = 0;
    for (size_t o = 0; o < OUT; o++) {
        double largest = 0;
        for (size_t i = 0; i < IN; i++) {
            double w = fabs((double)weight[o * IN + i]);
            largest = fmax(largest, w);
            size += w * w;
        }
        error += IN * pow(largest / 127, 2) / 12;
    }
    return error / size;
}

static void test_error(void **state) {
    (void)state;
    draw();
    double error = bft_prepared_error(weight, NULL, OUT, IN);
    assert_true(fabs(error / expected() - 1) <
                0.05); /* the mean of 12,000 squares, each off by less than thrice its mean */
    for (size_t o = 0; o < OUT; o++) {
        weight[o * IN] = 30;
    }
    assert_true(bft_prepared_error(weight, NULL, OUT, IN) > 10 * error); /* coarse steps for all that isn't 30 */
}

static void test_moments(void **state) {
    (void)state;
    draw();
    float moments[IN] = {0};
    for (size_t o = 0; o < OUT; o++) {
        weight[o * IN] = 30;
    }
    moments[0] = 1; /* the large weight, which is a whole number of steps, is all that is asked for */
    assert_true(bft_prepared_error(weight, moments, OUT, IN) < 1e-12);
    moments[0] = 0;
    moments[1] = 1;
    assert_true(bft_prepared_error(weight, moments, OUT, IN) > 1e-3);
}

static void test_zeros(void **state) {
    (void)state;
    static const float zeros[OUT * IN];
    assert_true(bft_prepared_error(zeros, NULL, OUT, IN) == 0);
}

/* One channel of x is 100 times the others: evened out, steps are 10 times as coarse for the others, not 100 times. */
static void test_even(void **state) {
    (void)state;
    draw();
    static float before[OUT * IN];
    memcpy(before, weight, sizeof weight);
    float gamma[IN], beta[IN] = {0}, gains[IN], moments[IN];
    for (size_t i = 0; i < IN; i++) {
        gamma[i] = i == 7 ? 100 : 1;
    }
    bft_prepared_even(weight, gamma, beta, OUT, IN, gains, moments);
    for (size_t at = 0; at < OUT * IN; at++) {
        assert_true(fabsf(weight[at] * gains[at % IN] - before[at]) <= 1e-6f * fabsf(before[at]));
    }
    for (size_t i = 0; i < IN; i++) {
        assert_true(fabsf(moments[i] - gamma[i] * gamma[i] * gains[i] * gains[i]) <= 1e-6f * moments[i]);
    }
    float largest = gamma[7] * gains[7] / (gamma[0] * gains[0]);
    assert_true(largest > 7 && largest < 14); /* 10, and columns of 40 normal values differ by a fifth */
}

/* Nothing, on either side, makes gains that are no numbers. */
static void test_even_of_nothing(void **state) {
    (void)state;
    static float zeros[OUT * IN];
    float nothing[IN] = {0}, much[IN], gains[IN], moments[IN];
    for (size_t i = 0; i < IN; i++) {
        much[i] = 1e30f;
    }
    bft_prepared_even(zeros, much, nothing, OUT, IN, gains, moments);
    assert_true(gains[0] == 0x1p-20f && zeros[0] == 0);
    draw();
    bft_prepared_even(weight, nothing, nothing, OUT, IN, gains, moments);
    assert_true(gains[0] > 100 && gains[0] < 0x1p20f && moments[0] == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_error), cmocka_unit_test(test_moments),
                                       cmocka_unit_test(test_zeros), cmocka_unit_test(test_even),
                                       cmocka_unit_test(test_even_of_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
