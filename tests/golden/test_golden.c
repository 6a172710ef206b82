/* test_golden.c: the tiny models of this folder against what transformers and PyTorch computed with them: hidden
 * states, logits, losses, every gradient, ten optimizer steps, deferred and dense, on every backend of this machine.
 *
 * Expected values are float64; ours are float (ref64: double). A value is a chain of some dozen sums of at most 28
 * terms of size about 1, each sum with a relative error of at most 28 eps and a LayerNorm between that divides by a
 * deviation of about 1: 1e-5 relative to the tensor's norm leaves room for five such chains. Adam divides a gradient by its own
 * size, so after ten steps a weight may be off by the learning rates times the gradients' relative error: 1e-3 of
 * the sum of the rates, 0.01, over weights of size 0.2; a key bias, whose gradient is zero but for rounding, by their sum.
 *
 * Usage: test_golden [BACKEND]..., from the repository's root; all of this machine's own where none is named. No test
 * library: scripts/gpu-check.sh takes this program to machines that have none. */
#include "base/json.h"
#include "base/log.h"
#include "bertft/data.h"
#include "nn/network.h"
#include "train/optimizer.h"

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLASSES = 5, SAMPLES = 12, LONGEST = 64 };

static const double rates = 0.01; /* the sum of the ten steps' */

/* Differences allowed, relative to a tensor's norm but for the last two. */
typedef struct bounds {
    double forward, gradient, norm,
        weight;   /* of values, of a gradient, of all gradients' norm, of weights after ten steps */
    double drift; /* of such a weight, in sums of the rates, besides */
    double loss;  /* of a step's */
} bounds;

typedef struct golden {
    bft_backend backend;
    bounds bounds;
    char folder[64];
    json_t *json;
    bft_weights *expected, *file;
    bft_model *model;
    bft_session *session;
    bft_batch batch;
} golden;

static bft_error error;
static size_t passed, failed;

/* Without this there is nothing to judge. */
static void must(bool holds, const char *why) {
    if (!holds) {
        printf("FAILED: %s\n", why);
        exit(1);
    }
}

#define OK(expression) must((expression) == BFT_OK, error.message)

__attribute__((format(printf, 3, 4))) static void judge(const golden *g, bool right, const char *format, ...) {
    if (right) {
        passed++;
        return;
    }
    failed++;
    va_list arguments;
    va_start(arguments, format);
    printf("FAILED %s on %s: ", g->folder, g->backend.ops->name);
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
}

/* ---- Bounds ---- */

/* Here a loss drifts with the weights: their bound times the gradient's norm, about 5. */
static const bounds of_reals = {
    .forward = 1e-5, .gradient = 1e-5, .norm = 1e-3, .weight = 1e-4, .drift = 0, .loss = 5e-4};

/* Values of 16 bits: each tensor and each weight matrix is rounded once, which puts it off by less than u / sqrt(3) of its norm,
 * independently of the others. A layer has 8 such tensors and 6 such matrices, what is around them another 6, so three layers have
 * 48, whose errors come to 4u when nothing makes them larger or smaller on their way; the backward rounds as often again and reads
 * the forward's, 7u. Twice that is allowed. Adam's first steps go by the learning rate whatever a gradient's size, so an element
 * that is off by more than itself goes the wrong way: of normally distributed ones a share of error / pi, each off by two rates. */
static bounds of_values(double u) {
    bounds b = {.forward = 8 * u, .gradient = 14 * u, .norm = 14 * u, .weight = 0, .loss = 8 * u};
    b.drift = 2 * sqrt(b.gradient / 3.14);
    return b;
}

static bounds bounds_of(bft_dtype values) {
    return values == BFT_BF16 ? of_values(0x1p-8) : values == BFT_F16 ? of_values(0x1p-11) : of_reals;
}

/* ---- Opening ---- */

static void read_head_from_file(golden *g) {
    for (size_t i = 0; i < g->model->params.count; i++) {
        const bft_param *param = &g->model->params.list[i];
        if (strncmp(param->name, "classifier.", 11) == 0) {
            const bft_tensor *tensor = bft_weights_find(g->file, param->name);
            must(tensor != NULL, param->name);
            g->backend.ops->to_device(g->backend.device, tensor->dtype, tensor->data,
                                      bft_model_at(g->model, g->model->values, param->offset), param->count);
        }
    }
    bft_model_round_weights(g->model);
}

static void open_model(golden *g, bft_head head) {
    char *names[CLASSES];
    for (size_t k = 0; k < CLASSES; k++) {
        names[k] = (char *)(uintptr_t)json_string_value(json_array_get(json_object_get(g->json, "labels"), k));
    }
    bft_model_setup setup = {
        .head = head, .problem = BFT_SINGLE_LABEL, .labels = {CLASSES, names}, .seed = 1, .dropout = 0};
    OK(bft_model_open_for_training(&error, &g->model, g->folder, g->backend, &setup));
    read_head_from_file(g);
    OK(bft_session_create_training(&error, &g->session, g->model, SAMPLES, SAMPLES * LONGEST));
    OK(bft_batch_create(&error, &g->batch, SAMPLES, SAMPLES * LONGEST, CLASSES, g->model->config.vocabulary));
}

static void close_model(golden *g) {
    bft_batch_free(&g->batch);
    bft_session_destroy(g->session);
    bft_model_destroy(g->model);
}

static void open_golden(golden *g, const char *name, const char *backend) {
    char path[128];
    snprintf(g->folder, sizeof g->folder, "tests/golden/%s", name);
    OK(bft_backend_open(&error, &g->backend, &(bft_backend_setup){.name = backend, .threads = 2}));
    g->bounds = bounds_of(g->backend.ops->factors);
    snprintf(path, sizeof path, "%s/expected.json", g->folder);
    OK(bft_json_read(&error, path, 1 << 22, &g->json));
    snprintf(path, sizeof path, "%s/expected.safetensors", g->folder);
    OK(bft_weights_open(&error, &g->expected, path));
    OK(bft_weights_open(&error, &g->file, g->folder));
}

static void close_golden(golden *g) {
    bft_weights_close(g->file);
    bft_weights_close(g->expected);
    json_decref(g->json);
    bft_backend_close(&g->backend);
}

/* ---- Batches ---- */

static uint32_t target_of(const golden *g, size_t sample) {
    return (uint32_t)json_integer_value(json_array_get(json_object_get(g->json, "targets"), sample));
}

static void add_sample(golden *g, size_t sample, size_t index, const float *targets) {
    uint32_t ids[LONGEST];
    json_t *list = json_array_get(json_object_get(g->json, "ids"), sample);
    size_t length = json_array_size(list);
    must(length >= 1 && length <= LONGEST, "expected.json: a text's length");
    for (size_t i = 0; i < length; i++) {
        ids[i] = (uint32_t)json_integer_value(json_array_get(list, i));
    }
    bft_sample one = {.ids = ids, .length = length, .target = target_of(g, sample), .targets = targets};
    must(bft_batch_add(&g->batch, one, (uint32_t)index), "the batch is full");
}

static size_t the_batch(golden *g, const char *targets_name) {
    size_t count = (size_t)json_integer_value(json_object_get(g->json, "batch"));
    json_t *all = targets_name != NULL ? json_object_get(g->json, targets_name) : NULL;
    bft_batch_clear(&g->batch);
    for (size_t i = 0; i < count; i++) {
        float targets[CLASSES] = {0};
        for (size_t k = 0; all != NULL && k < CLASSES; k++) {
            targets[k] = (float)json_number_value(json_array_get(json_array_get(all, i), k));
        }
        add_sample(g, i, i, targets);
    }
    return count;
}

static void read_floats(const golden *g, const char *key, float *out) {
    for (size_t k = 0; k < CLASSES; k++) {
        out[k] = (float)json_number_value(json_array_get(json_object_get(g->json, key), k));
    }
}

/* ---- Comparing ---- */

typedef struct difference {
    double difference, norm;
} difference;

static difference compare(const float *ours, const float *theirs, size_t count) {
    double d = 0, n = 0;
    for (size_t i = 0; i < count; i++) {
        d += ((double)ours[i] - theirs[i]) * ((double)ours[i] - theirs[i]);
        n += (double)theirs[i] * theirs[i];
    }
    return (difference){sqrt(d), sqrt(n)};
}

static const bft_tensor *expected(const golden *g, const char *format, const char *kind, const char *name) {
    char full[192];
    snprintf(full, sizeof full, format, kind, name);
    const bft_tensor *tensor = bft_weights_find(g->expected, full);
    must(tensor != NULL, full);
    return tensor;
}

static void check(const golden *g, const char *what, const float *ours, const bft_tensor *theirs, double bound) {
    difference d = compare(ours, theirs->data, theirs->count);
    judge(g, d.difference <= bound * d.norm, "%s is off by %.3g of %.3g", what, d.difference, d.norm);
}

static void check_number(const golden *g, const char *what, double ours, double theirs) {
    judge(g, fabs(ours - theirs) <= g->bounds.forward * (1 + fabs(theirs)), "%s is %.9g, expected %.9g", what, ours,
          theirs);
}

static bool is_key_bias(const char *name) {
    return strstr(name, "key.bias") != NULL || strstr(name, "k_lin.bias") != NULL;
}

/* ---- Forward, losses, gradients ---- */

static void check_gradient(const golden *g, const char *kind, const bft_param *param, const float *ours) {
    const bft_tensor *theirs = expected(g, "gradient.%s.%s", kind, param->name);
    if (!is_key_bias(param->name)) {
        check(g, theirs->name, ours, theirs, g->bounds.gradient);
        return;
    }
    char query[BFT_PARAM_NAME];
    snprintf(query, sizeof query, "%s", param->name);
    char *part = strstr(query, "key.bias") != NULL ? strstr(query, "key.bias") : strstr(query, "k_lin.bias");
    memcpy(part, strstr(query, "key.bias") != NULL ? "query.bias" : "q_lin.bias", 11);
    const bft_tensor *scale = expected(g, "gradient.%s.%s", kind, query);
    difference d = compare(ours, theirs->data, theirs->count), s = compare(scale->data, scale->data, scale->count);
    judge(g, d.difference <= g->bounds.gradient * s.norm, "%s is off by %.3g of the query's %.3g", theirs->name,
          d.difference, s.norm);
}

static void check_gradients(golden *g, const char *kind) {
    const bft_model *model = g->model;
    const bft_ops *ops = g->backend.ops;
    size_t table = model->config.vocabulary * model->config.channels;
    bft_gradients gradients = {0};
    OK(ops->alloc(&error, g->backend.device, model->params.size * ops->real, &gradients.dense));
    OK(ops->alloc(&error, g->backend.device, table * ops->real, &gradients.words));
    double count = (double)the_batch(g, NULL);
    bft_session_clear_loss(g->session);
    OK(bft_session_step(&error, g->session, &g->batch, (bft_pass){.training = true},
                        (bft_loss){.kind = BFT_CROSS_ENTROPY, .normalizer = count}, gradients));
    check_number(g, kind, bft_session_loss(g->session),
                 json_number_value(json_object_get(json_object_get(g->json, "cross_entropy"), kind)));
    float *values = calloc(table + model->params.size, sizeof *values);
    float *rows = calloc(table, sizeof *rows);
    for (size_t i = 0; i < model->params.count; i++) {
        const bft_param *param = &model->params.list[i];
        bool only_some = strcmp(kind, "mean") == 0 && !param->sparse && strncmp(param->name, "classifier", 10) != 0;
        if (only_some) {
            continue;
        }
        if (param->sparse) {
            size_t channels = model->config.channels;
            memset(values, 0, table * sizeof *values);
            ops->to_host(g->backend.device, gradients.words, rows, g->batch.words * channels);
            for (size_t u = 0; u < g->batch.words; u++) {
                memcpy(values + g->batch.word[u] * channels, rows + u * channels, channels * sizeof *values);
            }
        } else {
            ops->to_host(g->backend.device, bft_model_at(model, gradients.dense, param->offset), values, param->count);
        }
        check_gradient(g, kind, param, values);
    }
    free(rows);
    free(values);
    ops->free(g->backend.device, gradients.dense);
    ops->free(g->backend.device, gradients.words);
}

static void check_loss(golden *g, const char *name, bft_loss loss, const char *targets) {
    float dlogits[SAMPLES * CLASSES];
    size_t count = the_batch(g, targets);
    bft_session_clear_loss(g->session);
    if (loss.kind != BFT_CROSS_ENTROPY) {
        loss.normalizer = (double)(count * CLASSES);
    } else {
        for (size_t i = 0; i < count; i++) {
            loss.normalizer += (double)loss.weight[target_of(g, i)];
        }
    }
    bft_gradients gradients = {0};
    const bft_ops *ops = g->backend.ops;
    OK(ops->alloc(&error, g->backend.device, g->model->params.size * ops->real, &gradients.dense));
    OK(ops->alloc(&error, g->backend.device, g->model->config.vocabulary * g->model->config.channels * ops->real,
                  &gradients.words));
    OK(bft_session_step(&error, g->session, &g->batch, (bft_pass){.training = true}, loss, gradients));
    ops->to_host(g->backend.device, g->session->d_logits, dlogits, count * CLASSES);
    ops->free(g->backend.device, gradients.dense);
    ops->free(g->backend.device, gradients.words);
    check_number(g, name, bft_session_loss(g->session),
                 json_number_value(json_object_get(json_object_get(g->json, "losses"), name)));
    check(g, name, dlogits, expected(g, "dlogits.%s%s", name, ""), g->bounds.gradient);
}

static void check_losses(golden *g) {
    float weights[CLASSES], positive[CLASSES];
    read_floats(g, "class_weights", weights);
    read_floats(g, "positive_weights", positive);
    float smoothing = (float)json_number_value(json_object_get(g->json, "smoothing"));
    check_loss(g, "single", (bft_loss){.kind = BFT_CROSS_ENTROPY, .weight = weights, .smoothing = smoothing}, NULL);
    check_loss(g, "multi", (bft_loss){.kind = BFT_BINARY, .weight = positive}, "multi_targets");
    check_loss(g, "regression", (bft_loss){.kind = BFT_SQUARED}, "regression_targets");
}

static void check_forward(golden *g, const char *kind, bft_head head) {
    float logits[SAMPLES * CLASSES];
    static float hidden[SAMPLES * LONGEST * 64];
    open_model(g, head);
    the_batch(g, NULL);
    OK(bft_session_logits(&error, g->session, &g->batch, logits));
    check(g, kind, logits, expected(g, "logits.%s%s", kind, ""), g->bounds.forward);
    bft_session *whole = NULL; /* a training session of these heads computes first rows only */
    OK(bft_session_create(&error, &whole, g->model, SAMPLES, SAMPLES * LONGEST));
    OK(bft_session_vectors(&error, whole, &g->batch, BFT_POOL_NONE, hidden));
    bft_session_destroy(whole);
    check(g, "hidden", hidden, expected(g, "%s%s", "hidden", ""), g->bounds.forward);
    check_gradients(g, kind);
    if (head == BFT_HEAD_LINEAR) {
        check_losses(g);
    }
    close_model(g);
}

/* ---- Ten steps ---- */

static double step_normalizer(const golden *g, json_t *batches, const float *weights) {
    double sum = 0;
    size_t i, j;
    json_t *batch, *sample;
    json_array_foreach(batches, i, batch) {
        json_array_foreach(batch, j, sample) {
            sum += weights == NULL ? 1.0 : (double)weights[target_of(g, (size_t)json_integer_value(sample))];
        }
    }
    return sum;
}

static void take_step(golden *g, bft_optimizer *optimizer, json_t *step, const float *weights, float smoothing) {
    json_t *batches = json_object_get(step, "batches"), *batch, *sample;
    bft_loss loss = {.kind = BFT_CROSS_ENTROPY,
                     .weight = weights,
                     .smoothing = smoothing,
                     .normalizer = step_normalizer(g, batches, weights)};
    size_t i, j, index = 0;
    bft_optimizer_begin(optimizer);
    bft_session_clear_loss(g->session);
    json_array_foreach(batches, i, batch) {
        bft_batch_clear(&g->batch);
        json_array_foreach(batch, j, sample) {
            add_sample(g, (size_t)json_integer_value(sample), index++, NULL);
        }
        OK(bft_optimizer_prepare(&error, optimizer, &g->batch));
        OK(bft_session_step(&error, g->session, &g->batch, (bft_pass){.training = true}, loss,
                            bft_optimizer_gradients(optimizer)));
        bft_optimizer_collect(optimizer, &g->batch);
    }
    OK(bft_optimizer_finish(&error, optimizer, json_number_value(json_object_get(step, "lr"))));
    double loss_expected = json_number_value(json_object_get(step, "loss"));
    double loss_found = bft_session_loss(g->session), norm_found = 0;
    OK(bft_optimizer_check(&error, optimizer, &norm_found));
    judge(g, fabs(loss_found - loss_expected) <= g->bounds.loss * fmax(1, loss_expected),
          "a step's loss is %.9g, expected %.9g", loss_found, loss_expected);
    double norm = json_number_value(json_object_get(step, "norm"));
    judge(g, fabs(norm_found - norm) <= g->bounds.norm * norm, "a step's norm is %.9g, expected %.9g", norm_found,
          norm);
}

static void check_final(golden *g, bft_optimizer *optimizer, const char *kind) {
    const bft_model *model = g->model;
    bft_row_reader reader = bft_optimizer_reader(optimizer);
    size_t table = model->config.vocabulary * model->config.channels;
    void *rows;
    OK(g->backend.ops->alloc(&error, g->backend.device, table * g->backend.ops->real, &rows));
    float *values = calloc(table + model->params.size, sizeof *values);
    for (size_t i = 0; i < model->params.count; i++) {
        const bft_param *param = &model->params.list[i];
        const bft_tensor *theirs = expected(g, "final.%s.%s", kind, param->name);
        if (param->sparse) {
            for (uint32_t word = 0; word < model->config.vocabulary; word++) {
                reader.read(reader.context, &word, 1,
                            (char *)rows + word * model->config.channels * g->backend.ops->real);
            }
            g->backend.ops->to_host(g->backend.device, rows, values, table);
        } else {
            g->backend.ops->to_host(g->backend.device, bft_model_at(model, model->values, param->offset), values,
                                    param->count);
        }
        double drift = is_key_bias(param->name) ? 2 : g->bounds.drift;
        difference d = compare(values, theirs->data, theirs->count);
        judge(g, d.difference <= g->bounds.weight * d.norm + drift * rates * sqrt((double)theirs->count),
              "%s is off by %.3g of %.3g", theirs->name, d.difference, d.norm);
    }
    free(values);
    g->backend.ops->free(g->backend.device, rows);
}

static void check_steps(golden *g, const char *kind, bft_head head, char *dense) {
    float weights[CLASSES];
    char key[32];
    read_floats(g, "class_weights", weights);
    snprintf(key, sizeof key, "steps.%s", kind);
    bft_config *config = NULL;
    OK(bft_config_create(&error, &config));
    char *pairs[] = {"OPTIM.DENSE_EMBEDDINGS", dense};
    OK(bft_config_merge_pairs(&error, config, 2, pairs));
    open_model(g, head);
    bft_optimizer optimizer = {0};
    size_t words = g->model->config.vocabulary;
    json_t *steps = json_object_get(g->json, key), *step;
    OK(bft_optimizer_create(&error, &optimizer, g->model, config, (uint32_t)json_array_size(steps), words, words,
                            words));
    g->session->reader = bft_optimizer_reader(&optimizer);
    must(json_array_size(steps) == 10, "expected.json: ten steps");
    bool weighted = head == BFT_HEAD_LINEAR;
    size_t i;
    json_array_foreach(steps, i, step) {
        take_step(g, &optimizer, step, weighted ? weights : NULL,
                  weighted ? (float)json_number_value(json_object_get(g->json, "smoothing")) : 0);
    }
    check_final(g, &optimizer, kind);
    bft_optimizer_free(&optimizer);
    close_model(g);
    bft_config_destroy(config);
}

/* ---- Masked language models: the loss over the word table, and every gradient ---- */

static size_t read_numbers(json_t *list, uint32_t out[LONGEST]) {
    size_t count = json_array_size(list);
    must(count <= LONGEST, "expected.json: a text's length");
    for (size_t i = 0; i < count; i++) {
        out[i] = (uint32_t)json_integer_value(json_array_get(list, i));
    }
    return count;
}

static void the_masked_batch(golden *g) {
    json_t *all = json_object_get(g->json, "ids"), *one;
    size_t i;
    json_array_foreach(all, i, one) {
        uint32_t ids[LONGEST], places[LONGEST], targets[LONGEST];
        bft_sample sample = {.ids = ids, .masked_place = places, .masked_target = targets};
        sample.length = read_numbers(one, ids);
        sample.masked = read_numbers(json_array_get(json_object_get(g->json, "places"), i), places);
        read_numbers(json_array_get(json_object_get(g->json, "targets"), i), targets);
        must(bft_batch_add(&g->batch, sample, (uint32_t)i), "the batch is full");
    }
}

static void check_masked_gradients(const golden *g, void *dense) {
    const bft_params *params = &g->model->params;
    float *values = calloc(params->size, sizeof *values);
    for (size_t i = 0; i < params->count; i++) {
        const bft_param *param = &params->list[i];
        must(!param->sparse, "a tied decoder's table is dense");
        g->backend.ops->to_host(g->backend.device, bft_model_at(g->model, dense, param->offset), values, param->count);
        check_gradient(g, "masked", param, values);
    }
    free(values);
}

static void check_masked(golden *g) {
    OK(bft_model_open_for_pretraining(&error, &g->model, g->folder, g->backend,
                                      &(bft_pretraining_setup){.seed = 1, .dropout = 0}));
    OK(bft_session_create_training(&error, &g->session, g->model, SAMPLES, SAMPLES * LONGEST));
    OK(bft_batch_create(&error, &g->batch, SAMPLES, SAMPLES * LONGEST, 0, g->model->config.vocabulary));
    the_masked_batch(g);
    const bft_ops *ops = g->backend.ops;
    bft_gradients gradients = {0};
    OK(ops->alloc(&error, g->backend.device, g->model->params.size * ops->real, &gradients.dense));
    bft_session_clear_loss(g->session);
    OK(bft_session_step(&error, g->session, &g->batch, (bft_pass){.training = true},
                        (bft_loss){.normalizer = (double)g->batch.masked}, gradients));
    check_number(g, "the loss", bft_session_loss(g->session), json_number_value(json_object_get(g->json, "loss")));
    check_number(g, "hits", bft_session_hits(g->session), json_number_value(json_object_get(g->json, "hits")));
    check_masked_gradients(g, gradients.dense);
    ops->free(g->backend.device, gradients.dense);
    close_model(g);
}

static void judge_masked(const char *folder, const char *backend) {
    golden g = {0};
    open_golden(&g, folder, backend);
    check_masked(&g);
    close_golden(&g);
}

/* ---- Every model on every backend ---- */

static void judge_all(const char *folder, const char *backend) {
    golden g = {0};
    open_golden(&g, folder, backend);
    check_forward(&g, "pooler", BFT_HEAD_POOLER);
    check_forward(&g, "linear", BFT_HEAD_LINEAR);
    check_forward(&g, "mean", BFT_HEAD_MEAN);
    check_steps(&g, "pooler", BFT_HEAD_POOLER, "False");
    check_steps(&g, "pooler", BFT_HEAD_POOLER, "True");
    check_steps(&g, "linear", BFT_HEAD_LINEAR, "False");
    check_steps(&g, "linear", BFT_HEAD_LINEAR, "True");
    close_golden(&g);
}

static void judge_backend(const char *backend) {
    judge_all("bert", backend);
    judge_all("distilbert", backend);
    judge_masked("bert-masked", backend);
    judge_masked("distilbert-masked", backend);
}

int main(int count, char **names) {
    bft_log_set_level(BFT_LOG_WARNINGS);
    for (int i = 1; i < count; i++) {
        judge_backend(names[i]);
    }
    for (const bft_ops *const *ops = bft_ops_all(); count == 1 && *ops != NULL; ops++) {
        judge_backend((*ops)->name);
    }
    printf("%zu passed, %zu failed\n", passed, failed);
    return failed > 0 || passed == 0;
}
