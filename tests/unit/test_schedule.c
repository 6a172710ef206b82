/* test_schedule.c: learning rates against 1,000-step traces of transformers' get_scheduler, and what is refused. */
#include "base/buffer.h"
#include "base/json.h"
#include "base/lines.h"
#include "train/schedule.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* ---- Configurations ---- */

static bft_config *config_of(size_t count, char *const *words) {
    bft_error err;
    bft_config *config;
    assert_int_equal(bft_config_create(&err, &config), BFT_OK);
    if (bft_config_merge_pairs(&err, config, count, words) != BFT_OK) {
        fail_msg("%s", err.message);
    }
    return config;
}

#define CONFIG(...) config_of(sizeof((char *[]){__VA_ARGS__}) / sizeof(char *), (char *const *)(char *[]){__VA_ARGS__})

/* What get_scheduler calls a setting, and what we call it. */
static const char *key_of(const char *setting) {
    static const char *const keys[][2] = {
        {"num_cycles", "SCHEDULER.CYCLES"},
        {"lr_end", "SCHEDULER.MIN_LR"},
        {"min_lr", "SCHEDULER.MIN_LR"},
        {"min_lr_rate", "SCHEDULER.MIN_LR_RATE"},
        {"min_lr_ratio", "SCHEDULER.MIN_LR_RATE"},
        {"power", "SCHEDULER.POWER"},
        {"timescale", "SCHEDULER.TIMESCALE"},
        {"num_decay_steps", "SCHEDULER.DECAY_STEPS"},
        {"warmup_type", "SCHEDULER.WARMUP_TYPE"},
        {"decay_type", "SCHEDULER.DECAY_TYPE"},
        {"factor", "SCHEDULER.FACTOR"},
        {"patience", "SCHEDULER.PATIENCE"},
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strcmp(keys[i][0], setting) == 0) {
            return keys[i][1];
        }
    }
    fail_msg("a trace has the setting %s, which this test doesn't know", setting);
    return NULL;
}

static void set(bft_config *config, const char *key, const char *value) {
    bft_error err;
    char *words[2] = {(char *)(uintptr_t)key, (char *)(uintptr_t)value};
    if (bft_config_merge_pairs(&err, config, 2, words) != BFT_OK) {
        fail_msg("%s", err.message);
    }
}

static bft_schedule schedule_of_trace(const json_t *document, const json_t *trace) {
    char text[64];
    bft_config *config = config_of(0, NULL);
    set(config, "SCHEDULER.NAME", json_string_value(json_object_get(trace, "name")));
    snprintf(text, sizeof text, "%.17g", json_number_value(json_object_get(document, "base_lr")));
    set(config, "OPTIM.LR", text);
    snprintf(text, sizeof text, "%.17g", json_number_value(json_object_get(trace, "warmup")));
    set(config, "SCHEDULER.WARMUP", text);
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(trace, "settings"), name, value) {
        if (strcmp(name, "mode") == 0) { /* torch's max: ours follows from the metric */
            set(config, "SCHEDULER.METRIC", "accuracy");
            continue;
        }
        snprintf(text, sizeof text, "%.17g", json_number_value(value));
        set(config, key_of(name), json_is_string(value) ? json_string_value(value) : text);
    }
    bft_error err;
    bft_schedule schedule;
    uint64_t total = (uint64_t)json_integer_value(json_object_get(document, "total_steps"));
    if (bft_schedule_create(&err, &schedule, config, total) != BFT_OK) {
        fail_msg("%s", err.message);
    }
    bft_config_destroy(config);
    return schedule;
}

/* ---- Traces ---- */

static json_t *read_traces(void) {
    bft_error err;
    bft_lines *lines;
    char *text;
    size_t length;
    bool cut, more;
    json_t *document;
    const char *path = "tests/golden/schedules.json.gz"; /* one line */
    if (bft_lines_open(&err, &lines, path, 0) != BFT_OK ||
        bft_lines_next(&err, lines, &text, &length, &cut, &more) != BFT_OK ||
        bft_json_parse(&err, path, 1, text, length, &document) != BFT_OK) {
        fail_msg("%s", err.message);
    }
    bft_lines_close(lines);
    return document;
}

/* The largest relative error of a trace; where the trace is 0, so must we be. */
static double largest_error(bft_schedule *schedule, const json_t *rates, const json_t *metric) {
    double largest = 0;
    for (size_t step = 0; step < json_array_size(rates); step++) {
        double wanted = json_number_value(json_array_get(rates, step)), got = bft_schedule_lr(schedule, step);
        double error = got == wanted ? 0 : fabs(got - wanted) / wanted;
        largest = error > largest ? error : largest;
        bft_schedule_observe(schedule, json_number_value(json_array_get(metric, step)));
    }
    return largest;
}

static void test_traces(void **state) {
    (void)state;
    json_t *document = read_traces(), *traces = json_object_get(document, "traces"), *trace;
    size_t index, kinds = 0, steps = 0;
    bool seen[16] = {false};
    json_array_foreach(traces, index, trace) {
        bft_schedule schedule = schedule_of_trace(document, trace);
        const json_t *rates = json_object_get(trace, "lr");
        double error = largest_error(&schedule, rates, json_object_get(document, "metric"));
        if (!(error <= 1e-12)) {
            fail_msg("trace %zu (%s): relative error %g", index, json_string_value(json_object_get(trace, "name")),
                     error);
        }
        kinds += !seen[schedule.kind];
        seen[schedule.kind] = true;
        steps += json_array_size(rates);
    }
    assert_int_equal(kinds, 11);
    assert_int_equal(steps, 1000 * json_array_size(traces));
    json_decref(document);
}

/* ---- Warm-up, defaults, resuming ---- */

static bft_schedule schedule_of(bft_config *config, uint64_t total) {
    bft_error err;
    bft_schedule schedule;
    if (bft_schedule_create(&err, &schedule, config, total) != BFT_OK) {
        fail_msg("%s", err.message);
    }
    bft_config_destroy(config);
    return schedule;
}

static void test_warmup_as_share(void **state) {
    (void)state;
    bft_schedule schedule = schedule_of(CONFIG("SCHEDULER.WARMUP", "0.1", "OPTIM.LR", "1.0"), 101);
    assert_true(schedule.warmup == 11); /* ceil(10.1) */
    assert_true(bft_schedule_lr(&schedule, 0) == 0);
    assert_true(bft_schedule_lr(&schedule, 11) == 1);
    assert_true(bft_schedule_lr(&schedule, 101) == 0);
    schedule = schedule_of(CONFIG("SCHEDULER.WARMUP", "1", "OPTIM.LR", "1.0"), 101);
    assert_true(schedule.warmup == 1);
}

static void test_plateau_resumes(void **state) {
    (void)state;
    char *words[] = {"SCHEDULER.NAME", "reduce_lr_on_plateau", "SCHEDULER.PATIENCE", "2", "SCHEDULER.FACTOR", "0.5"};
    bft_schedule whole = schedule_of(config_of(6, words), 100), resumed = schedule_of(config_of(6, words), 100);
    for (int i = 0; i < 5; i++) {
        bft_schedule_observe(&whole, 1.0);
    }
    resumed.plateau = whole.plateau;
    for (uint64_t i = 0; i < 5; i++) {
        bft_schedule_observe(&whole, 1.0);
        bft_schedule_observe(&resumed, 1.0);
        assert_true(bft_schedule_lr(&whole, i) == bft_schedule_lr(&resumed, i));
    }
    assert_true(bft_schedule_lr(&whole, 0) == 5e-5 * 0.125); /* 9 evaluations without improvement, 3 by 3 */
}

static void test_rate_zero(void **state) {
    (void)state;
    bft_schedule schedule =
        schedule_of(CONFIG("OPTIM.LR", "0.0", "SCHEDULER.NAME", "cosine_with_min_lr", "SCHEDULER.MIN_LR", "0.0"), 10);
    for (uint64_t step = 0; step < 12; step++) {
        assert_true(bft_schedule_lr(&schedule, step) == 0);
    }
}

/* ---- Refusals ---- */

static void assert_refused(bft_config *config, const char *part) {
    bft_error err;
    bft_schedule schedule;
    assert_int_equal(bft_schedule_create(&err, &schedule, config, 100), BFT_BAD);
    if (strstr(err.message, part) == NULL) {
        fail_msg("\"%s\" lacks \"%s\"", err.message, part);
    }
    bft_config_destroy(config);
}

static void test_refusals(void **state) {
    (void)state;
    assert_refused(CONFIG("SCHEDULER.NAME", "cosine_with_min_lr"), "cosine_with_min_lr needs SCHEDULER.MIN_LR");
    assert_refused(CONFIG("SCHEDULER.NAME", "cosine_warmup_with_min_lr"), "needs SCHEDULER.MIN_LR");
    assert_refused(CONFIG("SCHEDULER.NAME", "warmup_stable_decay"), "needs SCHEDULER.DECAY_STEPS");
    assert_refused(CONFIG("SCHEDULER.NAME", "polynomial", "SCHEDULER.MIN_LR", "1e-3"), "smaller than OPTIM.LR");
    assert_refused(CONFIG("SCHEDULER.MIN_LR", "1e-6", "SCHEDULER.MIN_LR_RATE", "0.1"), "not both");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_traces),          cmocka_unit_test(test_warmup_as_share),
        cmocka_unit_test(test_plateau_resumes), cmocka_unit_test(test_rate_zero),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
