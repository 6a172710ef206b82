/* test_metrics.c: metrics against scikit-learn's values (tests/fixtures/make_metrics.py), and the report's layout. */
#include "base/buffer.h"
#include "base/json.h"
#include "train/metrics.h"
#include "train/metrics_report.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 8 };

typedef struct fixture {
    json_t *document, *part;
    char *names[MOST];
    bft_labels labels;
    bft_metrics *metrics;
} fixture;

static void ok(bft_status status, const bft_error *err) {
    if (status != BFT_OK) {
        fail_msg("%s", err->message);
    }
}

static void add_sample(bft_metrics *metrics, const json_t *logits, const json_t *target) {
    float values[MOST], targets[MOST];
    for (size_t k = 0; k < json_array_size(logits); k++) {
        values[k] = (float)json_number_value(json_array_get(logits, k));
        targets[k] = (float)json_number_value(json_array_get(target, k));
    }
    bft_error err;
    ok(bft_metrics_add(&err, metrics, values, (uint32_t)json_integer_value(target), targets), &err);
}

/* Reads one part of the fixture file and counts all its samples, the first of them twice with a clear in between. */
static void count(fixture *f, const char *part, bft_problem problem) {
    bft_error err;
    memset(f, 0, sizeof *f);
    ok(bft_json_read(&err, "tests/fixtures/metrics.json", 1 << 20, &f->document), &err);
    f->part = json_object_get(f->document, part);
    const json_t *names = json_object_get(f->part, "labels"), *logits = json_object_get(f->part, "logits");
    for (size_t k = 0; k < json_array_size(names); k++) {
        f->names[k] = strdup(json_string_value(json_array_get(names, k)));
    }
    f->labels = (bft_labels){json_array_size(names), f->names};
    ok(bft_metrics_create(&err, &f->metrics, problem, &f->labels,
                          (size_t)json_integer_value(json_object_get(f->document, "bins")),
                          json_number_value(json_object_get(f->document, "threshold"))),
       &err);
    const json_t *targets = json_object_get(f->part, "targets");
    add_sample(f->metrics, json_array_get(logits, 0), json_array_get(targets, 0));
    bft_metrics_clear(f->metrics);
    for (size_t i = 0; i < json_array_size(logits); i++) {
        add_sample(f->metrics, json_array_get(logits, i), json_array_get(targets, i));
    }
}

static void release(fixture *f) {
    bft_metrics_destroy(f->metrics);
    for (size_t k = 0; k < f->labels.count; k++) {
        free(f->names[k]);
    }
    json_decref(f->document);
}

/* All names that the problem has are in the fixture, with the same values. */
static void assert_values(const fixture *f, bft_problem problem) {
    const json_t *values = json_object_get(f->part, "values");
    assert_int_equal(bft_metrics_count(problem), json_object_size(values));
    for (size_t i = 0; i < bft_metrics_count(problem); i++) {
        const char *name = bft_metrics_name(problem, i);
        const json_t *wanted = json_object_get(values, name);
        assert_non_null(wanted);
        double difference = fabs(bft_metrics_value(f->metrics, name) - json_number_value(wanted));
        if (!(difference <= 1e-12)) {
            fail_msg("%s is off by %g", name, difference);
        }
    }
}

/* The report begins with scikit-learn's, byte for byte. */
static void assert_report(const fixture *f, const char *rest) {
    bft_error err;
    bft_buffer text = {0};
    ok(bft_metrics_text(&err, f->metrics, &text), &err);
    const char *wanted = json_string_value(json_object_get(f->part, "report"));
    if (strncmp(text.data, wanted, strlen(wanted)) != 0) {
        fail_msg("the report is\n%s\nand scikit-learn's\n%s", text.data, wanted);
    }
    assert_string_equal(text.data + strlen(wanted), rest);
    bft_buffer_free(&text);
}

static void test_single_label(void **state) {
    (void)state;
    fixture f;
    count(&f, "single", BFT_SINGLE_LABEL);
    assert_values(&f, BFT_SINGLE_LABEL);
    const json_t *confusion = json_object_get(f.part, "confusion");
    for (size_t truth = 0; truth < f.labels.count; truth++) {
        for (size_t k = 0; k < f.labels.count; k++) {
            const json_t *wanted = json_array_get(json_array_get(confusion, truth), k);
            assert_int_equal(bft_metrics_confusion(f.metrics, truth, k), json_integer_value(wanted));
        }
    }
    assert_report(&f, "\nconfusion matrix (a row for the true class, a column for the answer)\n\n"
                      "                        0   1   2   3   4\n"
                      "              anger 0  18   5   5   0   4\n"
                      "               fear 1   3  17   5   0   2\n"
                      "                joy 2   0   0  12   0   2\n"
                      "surprise and wonder 3   3   1   2   0   1\n"
                      "              never 4   0   0   0   0   0\n"
                      "\nlog-loss  1.6919\nexpected calibration error  0.0728 (10 bins)\n");
    release(&f);
}

static void test_multi_label(void **state) {
    (void)state;
    fixture f;
    count(&f, "multi", BFT_MULTI_LABEL);
    assert_values(&f, BFT_MULTI_LABEL);
    assert_report(&f, "\nall labels right  0.2667\nlog-loss  0.4598\nexpected calibration error  0.1694 (10 bins)\n");
    release(&f);
}

static void test_regression(void **state) {
    (void)state;
    fixture f;
    count(&f, "regression", BFT_REGRESSION);
    assert_values(&f, BFT_REGRESSION);
    release(&f);
}

static void test_constant_answers_have_no_correlation(void **state) {
    (void)state;
    bft_error err;
    bft_labels labels = {1, (char *[]){"score"}};
    bft_metrics *metrics;
    bft_buffer text = {0};
    ok(bft_metrics_create(&err, &metrics, BFT_REGRESSION, &labels, 10, 0.5), &err);
    for (int i = 0; i < 3; i++) {
        ok(bft_metrics_add(&err, metrics, &(float){1}, 0, &(float){(float)i}), &err);
    }
    ok(bft_metrics_json(&err, metrics, &text), &err);
    json_t *document;
    ok(bft_json_parse(&err, "report", 1, text.data, text.length, &document), &err);
    assert_true(json_is_null(json_object_get(document, "pearson")));
    assert_true(json_is_null(json_object_get(document, "spearman")));
    assert_true(json_number_value(json_object_get(document, "r2")) == 0);
    json_decref(document);
    bft_buffer_free(&text);
    bft_metrics_destroy(metrics);
}

/* Labels of any script line up by what a terminal shows: a combining mark takes no column, a Chinese character two. */
static void test_labels_align(void **state) {
    (void)state;
    bft_error err;
    bft_labels labels = {3, (char *[]){"раздражение и гнев", "怒り", "йод"}};
    bft_metrics *metrics;
    bft_buffer text = {0};
    ok(bft_metrics_create(&err, &metrics, BFT_SINGLE_LABEL, &labels, 10, 0.5), &err);
    ok(bft_metrics_add(&err, metrics, (float[]){3, 0, 0}, 0, NULL), &err);
    ok(bft_metrics_text(&err, metrics, &text), &err);
    assert_non_null(strstr(text.data, "\nраздражение и гнев     1.0000    1.0000    1.0000         1\n"
                                      "              怒り     0.0000    0.0000    0.0000         0\n"
                                      "               йод     0.0000    0.0000    0.0000         0\n"));
    bft_buffer_free(&text);
    bft_metrics_destroy(metrics);
}

static void test_json(void **state) {
    (void)state;
    bft_error err;
    fixture f;
    count(&f, "single", BFT_SINGLE_LABEL);
    bft_buffer text = {0};
    ok(bft_metrics_json(&err, f.metrics, &text), &err);
    json_t *document;
    ok(bft_json_parse(&err, "report", 1, text.data, text.length, &document), &err);
    assert_int_equal(json_integer_value(json_object_get(document, "samples")), 80);
    const json_t *classes = json_object_get(document, "classes"), *first = json_array_get(classes, 0);
    assert_int_equal(json_array_size(classes), f.labels.count);
    assert_string_equal(json_string_value(json_object_get(first, "label")), "anger");
    assert_true(json_number_value(json_object_get(first, "recall")) == 0.5625);
    assert_int_equal(json_integer_value(json_object_get(first, "support")), 32);
    assert_true(json_equal(json_object_get(document, "confusion"), json_object_get(f.part, "confusion")));
    assert_non_null(json_object_get(document, "f1_macro"));
    json_decref(document);
    bft_buffer_free(&text);
    release(&f);
}

/* Huge logits neither overflow nor make a loss that isn't finite. */
static void test_extreme_logits(void **state) {
    (void)state;
    bft_error err;
    bft_labels labels = {2, (char *[]){"a", "b"}};
    for (bft_problem problem = BFT_SINGLE_LABEL; problem <= BFT_MULTI_LABEL; problem++) {
        bft_metrics *metrics;
        ok(bft_metrics_create(&err, &metrics, problem, &labels, 10, 0.5), &err);
        ok(bft_metrics_add(&err, metrics, (float[]){1e4f, -1e4f}, 1, (float[]){0, 1}), &err);
        double wanted = problem == BFT_SINGLE_LABEL ? 2e4 : 1e4;
        assert_true(bft_metrics_value(metrics, "log_loss") == wanted);
        assert_true(bft_metrics_value(metrics, "accuracy") == 0);
        assert_true(bft_metrics_value(metrics, "ece") == 1);
        bft_metrics_destroy(metrics);
    }
}

static void test_names(void **state) {
    (void)state;
    bft_error err;
    assert_int_equal(bft_metrics_check(&err, BFT_SINGLE_LABEL, "f1_macro", "here"), BFT_OK);
    assert_int_equal(bft_metrics_check(&err, BFT_REGRESSION, "f1_macro", "here"), BFT_BAD);
    assert_string_equal(err.message, "here: this problem has no metric \"f1_macro\"; it has mse rmse mae r2 pearson "
                                     "spearman loss");
    assert_int_equal(bft_metrics_check(&err, BFT_SINGLE_LABEL, "f1_samples", "here"), BFT_BAD);
    assert_true(bft_metric_maximizes("f1_macro") && bft_metric_maximizes("r2"));
    assert_false(bft_metric_maximizes("loss") || bft_metric_maximizes("mse") || bft_metric_maximizes("ece"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single_label),   cmocka_unit_test(test_multi_label),
        cmocka_unit_test(test_regression),     cmocka_unit_test(test_constant_answers_have_no_correlation),
        cmocka_unit_test(test_labels_align),   cmocka_unit_test(test_json),
        cmocka_unit_test(test_extreme_logits), cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
