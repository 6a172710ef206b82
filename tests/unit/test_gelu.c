/* test_gelu.c: GELU of every CPU backend against erfc of the C library, in double, on a dense grid. */
#include "kernels/ops.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { COUNT = 400001 };

/* One column through a linear layer that is the identity. */
static void apply(const bft_ops *ops, const float *x, float *y) {
    bft_error err;
    bft_device *device;
    assert_int_equal(ops->open(&err, &(bft_device_options){.threads = 1}, &device), BFT_OK);
    const float one = 1;
    bft_linear op = {.rows = COUNT, .in = 1, .out = 1, .activation = BFT_GELU, .x = x, .weight = &one, .y = y};
    bft_memory memory;
    ops->linear_memory(&op, &memory);
    assert_int_equal(ops->alloc(&err, device, memory.scratch, &op.scratch), BFT_OK);
    ops->linear_forward(device, &op);
    ops->free(device, op.scratch);
    ops->close(device);
}

/* The error stays within two units of roundoff of |x|, and far out the function is x or nothing. */
static void test_grid(void **state) {
    (void)state;
    float *x = malloc(COUNT * sizeof *x), *y = malloc(COUNT * sizeof *y);
    assert_true(x != NULL && y != NULL);
    for (int i = 0; i < COUNT; i++) {
        x[i] = (float)(i - COUNT / 2) * 1e-4f;
    }
    for (const bft_ops *const *ops = bft_ops_all(); *ops != NULL; ops++) {
        if (strncmp((*ops)->name, "cpu", 3) != 0) {
            continue;
        }
        apply(*ops, x, y);
        for (int i = 0; i < COUNT; i++) {
            double at = (double)x[i], truth = at * 0.5 * erfc(-at / sqrt(2));
            if (!(fabs((double)y[i] - truth) <= 0x1p-23 * fabs(at))) {
                fail_msg("%s: gelu(%.9g) is %.9g, not %.9g", (*ops)->name, at, (double)y[i], truth);
            }
        }
    }
    free(x);
    free(y);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_grid)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
