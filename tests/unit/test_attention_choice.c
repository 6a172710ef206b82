/* test_attention_choice.c: where cuDNN's attention may stand in for ours: every condition by itself, and both sides of each limit. */
#include "kernels/cuda/attention_choice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

/* All is well: LaBSE in bf16 on an H100. */
static const bft_attention_case good = {.capability = 90,
                                        .cudnn_version = 92501,
                                        .type = BFT_BF16,
                                        .training = true,
                                        .all_ask = true,
                                        .aligned = true,
                                        .head_size = 64,
                                        .shortest = 2};

static void takes(bft_attention_case c) {
    const char *against = bft_cudnn_declines(&c);
    assert_null(against);
}

static void declines(bft_attention_case c, const char *reason) {
    const char *against = bft_cudnn_declines(&c);
    assert_non_null(against);
    assert_non_null(strstr(against, reason));
}

static void test_cards(void **state) {
    (void)state;
    for (int capability = 50; capability < 130; capability++) {
        int major = capability / 10;
        bft_attention_case c = good;
        c.capability = capability;
        if (major == 9 || major == 10) {
            takes(c);
        } else {
            declines(c, major == 8 ? "no fixed order of sums" : "compute capability 8.x, 9.x or 10.x");
        }
        c.training = false;
        if (major >= 8 && major <= 10) {
            takes(c);
        } else {
            declines(c, "compute capability");
        }
    }
}

static void test_versions(void **state) {
    (void)state;
    bft_attention_case c = good;
    static const int old[] = {0, 8907, 90100, 91801, 92200, 92499}, fresh[] = {92500, 92501, 92804, 100000};
    for (size_t i = 0; i < sizeof old / sizeof *old; i++) {
        c.cudnn_version = old[i];
        declines(c, "older than 9.25");
    }
    for (size_t i = 0; i < sizeof fresh / sizeof *fresh; i++) {
        c.cudnn_version = fresh[i];
        takes(c);
    }
}

static void test_types(void **state) {
    (void)state;
    bft_attention_case c = good;
    c.type = BFT_F16;
    takes(c);
    c.type = BFT_F32;
    declines(c, "bf16 and fp16 only");
}

static void test_heads(void **state) {
    (void)state;
    for (size_t size = 1; size <= 256; size++) {
        bft_attention_case c = good;
        c.head_size = size;
        if (size % 8 == 0 && size <= 128) {
            takes(c);
        } else {
            declines(c, "heads of 8, 16, .. 128 values"); /* 22 and 26 among them */
        }
    }
}

static void test_batches(void **state) {
    (void)state;
    bft_attention_case c = good;
    c.shortest = 1;
    declines(c, "one token");
    c.shortest = 0;
    declines(c, "one token");
    c = good;
    c.all_ask = false;
    declines(c, "first tokens");
    c = good;
    c.aligned = false;
    declines(c, "16 bytes");
    c = good;
    c.dropout = true;
    declines(c, "dropout");
}

/* What `DEVICE.ATTENTION cudnn` is refused with before any model is known. */
static void test_unfit(void **state) {
    (void)state;
    assert_null(bft_cudnn_unfit(80, 92500, BFT_F16));
    assert_null(bft_cudnn_unfit(103, 92500, BFT_BF16));
    assert_non_null(bft_cudnn_unfit(75, 92500, BFT_F16));
    assert_non_null(bft_cudnn_unfit(110, 92500, BFT_BF16));
    assert_non_null(bft_cudnn_unfit(120, 92500, BFT_BF16));
    assert_non_null(bft_cudnn_unfit(90, 92499, BFT_BF16));
    assert_non_null(bft_cudnn_unfit(90, 92500, BFT_F32));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cards),   cmocka_unit_test(test_versions),
                                       cmocka_unit_test(test_types),   cmocka_unit_test(test_heads),
                                       cmocka_unit_test(test_batches), cmocka_unit_test(test_unfit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
