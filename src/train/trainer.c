/* trainer.c: from a configuration to everything that the loop needs. */
#include "train/trainer.h"

#include "base/log.h"
#include "train/advice.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static size_t smallest(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Whether the run makes a new model rather than going on with one. */
static bool makes_model(const bft_config *config, bft_task task) {
    return task == BFT_PRETRAIN && !bft_config_is_null(config, "PRETRAIN.VOCABULARY");
}

const char *bft_trainer_source(const bft_config *config, bft_task task) {
    return bft_config_string(config, makes_model(config, task) ? "PRETRAIN.VOCABULARY" : "MODEL.WEIGHTS");
}

/* ---- Data ---- */

static bft_status read_files(bft_error *err, const bft_trainer *t, const char *key, size_t max_length,
                             const bft_labels *labels, bft_dataset **out) {
    size_t count = bft_config_list_size(t->config, key);
    const char **paths = calloc(count, sizeof *paths);
    if (paths == NULL) {
        return bft_error_memory(err, count * sizeof *paths);
    }
    for (size_t i = 0; i < count; i++) {
        paths[i] = bft_config_list_at(t->config, key, i);
    }
    bft_status status = t->task == BFT_PRETRAIN
                            ? bft_dataset_read_unlabelled(err, out, t->config, count, paths, t->tokenizer, max_length)
                            : bft_dataset_read(err, out, t->config, count, paths, t->tokenizer, max_length, labels);
    free(paths);
    return status;
}

static bft_status read_data(bft_error *err, bft_trainer *t, size_t positions) {
    size_t max_length = smallest((size_t)bft_config_int(t->config, "DATA.MAX_LENGTH"),
                                 smallest(positions, bft_tokenizer_max_length(t->tokenizer)));
    if (bft_config_is_null(t->config, "DATA.TRAIN")) {
        return bft_error_set(err, BFT_BAD, "%s: DATA.TRAIN is not set: which file holds the training texts?",
                             bft_config_origin(t->config, "DATA.TRAIN"));
    }
    if (t->task == BFT_PRETRAIN) {
        double rate = bft_config_float(t->config, "PRETRAIN.MASK");
        BFT_TRY(bft_masker_create(err, &t->masker, t->tokenizer, rate, t->seed, max_length));
    }
    BFT_TRY(read_files(err, t, "DATA.TRAIN", max_length, NULL, &t->train));
    if (!bft_config_is_null(t->config, "DATA.VALID")) {
        return read_files(err, t, "DATA.VALID", max_length, bft_dataset_labels(t->train), &t->valid);
    }
    double fraction = bft_config_float(t->config, "DATA.VALID_FRACTION");
    return fraction > 0 ? bft_dataset_split(err, t->train, fraction, t->seed, &t->valid) : BFT_OK;
}

/* ---- Model ---- */

static bft_head head_by_name(const char *name) {
    return strcmp(name, "linear") == 0   ? BFT_HEAD_LINEAR
           : strcmp(name, "pooler") == 0 ? BFT_HEAD_POOLER
                                         : BFT_HEAD_MEAN;
}

/* The shape of a model to be made, but for its vocabulary, or, with weights to start from, theirs. */
static bft_status read_shape(bft_error *err, const bft_trainer *t, const char *folder, bft_model_config *shape) {
    if (!makes_model(t->config, t->task)) {
        return bft_model_config_read(err, shape, folder);
    }
    size_t channels = (size_t)bft_config_int(t->config, "PRETRAIN.CHANNELS");
    size_t heads = (size_t)bft_config_int(t->config, "PRETRAIN.HEADS");
    if (channels % heads != 0) {
        return bft_error_set(err, BFT_BAD, "%s: PRETRAIN.CHANNELS %zu isn't a multiple of PRETRAIN.HEADS %zu",
                             bft_config_origin(t->config, "PRETRAIN.CHANNELS"), channels, heads);
    }
    *shape = (bft_model_config){.architecture = BFT_BERT,
                                .layers = (size_t)bft_config_int(t->config, "PRETRAIN.LAYERS"),
                                .channels = channels,
                                .heads = heads,
                                .feed_forward = (size_t)bft_config_int(t->config, "PRETRAIN.FEED_FORWARD"),
                                .positions = (size_t)bft_config_int(t->config, "PRETRAIN.POSITIONS"),
                                .types = 2,
                                .layer_norm_eps = 1e-12f,
                                .hidden_dropout = 0.1f,
                                .attention_dropout = 0.1f,
                                .classifier_dropout = 0.1f};
    return BFT_OK;
}

static bft_status open_language_model(bft_error *err, bft_trainer *t, const char *folder, const bft_model_config *shape,
                                      double dropout) {
    bft_pretraining_setup setup = {.shape = shape, .seed = t->seed, .dropout = dropout};
    const char *weights = makes_model(t->config, t->task) ? NULL : folder;
    return bft_model_open_for_pretraining(err, &t->model, weights, t->backend, &setup);
}

static bft_status open_classifier(bft_error *err, bft_trainer *t, const char *folder, double dropout) {
    bft_model_setup setup = {.head = head_by_name(bft_config_string(t->config, "MODEL.HEAD")),
                             .problem = bft_dataset_problem(t->train),
                             .labels = *bft_dataset_labels(t->train),
                             .seed = t->seed,
                             .dropout = dropout};
    return bft_model_open_for_training(err, &t->model, folder, t->backend, &setup);
}

static bft_status open_model(bft_error *err, bft_trainer *t, const char *folder, const bft_model_config *shape) {
    bool own_dropout = !bft_config_is_null(t->config, "MODEL.DROPOUT");
    double dropout = own_dropout ? bft_config_float(t->config, "MODEL.DROPOUT") : -1;
    BFT_TRY(t->task == BFT_PRETRAIN ? open_language_model(err, t, folder, shape, dropout)
                                    : open_classifier(err, t, folder, dropout));
    for (size_t i = 0; i < bft_config_list_size(t->config, "TRAIN.FREEZE"); i++) {
        BFT_TRY(bft_params_freeze(err, &t->model->params, t->model->config.layers,
                                  bft_config_list_at(t->config, "TRAIN.FREEZE", i)));
    }
    return BFT_OK;
}

static bft_status check_vocabulary(bft_error *err, const bft_trainer *t, const bft_model_config *model,
                                   const char *folder) {
    size_t tokens = bft_tokenizer_size(t->tokenizer);
    if (tokens > model->vocabulary) {
        return bft_error_set(err, BFT_BAD, "%s: the tokenizer has %zu tokens, the model's table only %zu rows", folder,
                             tokens, model->vocabulary);
    }
    return BFT_OK;
}

/* ---- Steps ---- */

static bft_status count_steps(bft_error *err, bft_trainer *t) {
    t->per_epoch = bft_sampler_steps_per_epoch(&t->sampler);
    uint64_t asked = (uint64_t)bft_config_int(t->config, "TRAIN.MAX_STEPS");
    uint64_t epochs = (uint64_t)bft_config_int(t->config, "TRAIN.EPOCHS");
    t->total = asked > 0 ? asked : epochs * t->per_epoch;
    if (t->total >= UINT32_MAX) {
        return bft_error_set(err, BFT_BAD, "%llu steps are more than the %u that a run can have",
                             (unsigned long long)t->total, UINT32_MAX - 1);
    }
    return BFT_OK;
}

const char *bft_train_metric(const bft_config *config, bft_task task) {
    const char *name = bft_config_string(config, "TRAIN.METRIC");
    const char *automatic = bft_config_bool(config, "DATA.REGRESSION") ? "mse" : "f1_macro";
    return strcmp(name, "auto") != 0 ? name : task == BFT_PRETRAIN ? "loss" : automatic;
}

static bft_status open_measures(bft_error *err, bft_trainer *t) {
    bft_problem problem = bft_dataset_problem(t->train);
    t->metric = bft_train_metric(t->config, t->task);
    bool plateau = strcmp(bft_config_string(t->config, "SCHEDULER.NAME"), "reduce_lr_on_plateau") == 0;
    if (t->valid == NULL && (plateau || bft_config_int(t->config, "TRAIN.PATIENCE") > 0)) {
        return bft_error_set(err, BFT_BAD, "%s needs a validation set: set DATA.VALID or DATA.VALID_FRACTION",
                             plateau ? "SCHEDULER.NAME reduce_lr_on_plateau" : "TRAIN.PATIENCE");
    }
    BFT_TRY(bft_metrics_check(err, problem, t->metric, bft_config_origin(t->config, "TRAIN.METRIC")));
    BFT_TRY(bft_metrics_check(err, problem, bft_schedule_metric(t->config),
                              bft_config_origin(t->config, "SCHEDULER.METRIC")));
    return bft_metrics_create(err, &t->metrics, problem, bft_dataset_labels(t->train),
                              (size_t)bft_config_int(t->config, "EVAL.BINS"),
                              bft_config_float(t->config, "EVAL.THRESHOLD"));
}

/* ---- What a checkpoint must agree with: data, settings that shape the result, and the base of the table ---- */

static uint64_t fingerprint_data(uint64_t sum, const bft_dataset *data) {
    size_t classes = bft_dataset_labels(data)->count;
    for (size_t i = 0; i < bft_dataset_size(data); i++) {
        bft_sample sample = bft_dataset_at(data, i);
        sum = bft_fingerprint(sum, sample.ids, sample.length * sizeof *sample.ids);
        sum = bft_fingerprint(sum, &sample.target, sizeof sample.target);
        if (sample.targets != NULL) {
            sum = bft_fingerprint(sum, sample.targets, classes * sizeof *sample.targets);
        }
    }
    return sum;
}

/* The settings, but for those that can't change a weight. A line of the dump is a group, or a key in it. */
static bft_status fingerprint_settings(bft_error *err, const bft_config *config, uint64_t *sum) {
    static const char *const ignored[] = {
        "DIALOG:", "DEVICE:", "OUTPUT_DIR:", "  LOG_EVERY:", "  SAVE_EVERY:", "  TEST:"};
    bft_buffer text = {0};
    bft_status status = bft_config_dump(err, config, false, &text);
    bool skips = false, skips_group = false;
    for (char *line = text.data, *end; status == BFT_OK && (end = strchr(line, '\n')) != NULL; line = end + 1) {
        bool group = line[0] != ' ', key = !group && line[2] != ' ' && line[2] != '-';
        if (group || key) {
            skips = false;
            for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) {
                skips |= strncmp(line, ignored[i], strlen(ignored[i])) == 0;
            }
            skips_group = group ? skips : skips_group;
        }
        if (!skips && !skips_group) {
            *sum = bft_fingerprint(*sum, line, (size_t)(end - line));
        }
    }
    bft_buffer_free(&text);
    return status;
}

/* Some rows of the weights that the run starts from; a new model's follow from the settings. */
static uint64_t fingerprint_base(uint64_t sum, const bft_tensor *base) {
    if (base == NULL) {
        return sum;
    }
    size_t row_bytes = base->shape[1] * bft_dtype_size(base->dtype), rows = base->shape[0], stride = rows / 64 + 1;
    for (size_t row = 0; row < rows; row += stride) {
        sum = bft_fingerprint(sum, (const char *)base->data + row * row_bytes, row_bytes);
    }
    return sum;
}

static bft_status fingerprint(bft_error *err, bft_trainer *t) {
    t->fingerprint = fingerprint_data(0, t->train);
    if (t->valid != NULL) {
        t->fingerprint = fingerprint_data(t->fingerprint, t->valid);
    }
    t->fingerprint = fingerprint_base(t->fingerprint, t->model->table.base);
    return fingerprint_settings(err, t->config, &t->fingerprint);
}

/* ---- Putting it together ---- */

static bft_status open_steps(bft_error *err, bft_trainer *t) {
    BFT_TRY(bft_sampler_create(err, &t->sampler, t->train, t->config));
    t->sampler.masker = t->masker;
    BFT_TRY(count_steps(err, t));
    BFT_TRY(bft_loss_setup_create(err, &t->loss, t->config, t->train));
    BFT_TRY(bft_schedule_create(err, &t->schedule, t->config, t->total));
    t->progress.plateau = t->schedule.plateau;
    size_t tokens, words, vocabulary = t->model->config.vocabulary;
    BFT_TRY(bft_sampler_token_limit(err, &t->sampler, &tokens));
    BFT_TRY(bft_sampler_words(err, &t->sampler, vocabulary, &words));
    size_t longest = t->valid == NULL ? 0 : bft_dataset_longest(t->valid);
    size_t room = tokens > longest ? tokens : longest;
    size_t batch = smallest(t->sampler.batch_size, bft_dataset_size(t->train));
    BFT_TRY(bft_batch_create(err, &t->batch, batch, room, bft_model_classes(t->model), vocabulary));
    size_t batch_words = smallest(tokens, words);
    size_t step_words = words / t->sampler.accumulate < batch_words ? words : batch_words * t->sampler.accumulate;
    BFT_TRY(bft_optimizer_create(err, &t->optimizer, t->model, t->config, (uint32_t)t->total, words, batch_words,
                                 step_words));
    /* last, so that what is free then is what a batch may take */
    if (bft_session_create_training(err, &t->session, t->model, batch, room) != BFT_OK) {
        return bft_advise_batch(err, t->model, &t->sampler, longest);
    }
    t->session->reader = bft_optimizer_reader(&t->optimizer);
    return BFT_OK;
}

bft_status bft_trainer_open(bft_error *err, bft_trainer *t) {
    const char *folder = bft_trainer_source(t->config, t->task);
    t->seed = (uint64_t)bft_config_int(t->config, "SEED");
    bft_model_config shape;
    BFT_TRY(read_shape(err, t, folder, &shape));
    bft_status status = bft_tokenizer_open(err, &t->tokenizer, folder);
    if (status == BFT_OK && makes_model(t->config, t->task)) {
        shape.vocabulary = bft_tokenizer_size(t->tokenizer);
    }
    if (status == BFT_OK) {
        status = check_vocabulary(err, t, &shape, folder);
    }
    if (status == BFT_OK) {
        status = read_data(err, t, shape.positions);
    }
    if (status == BFT_OK) {
        status = open_measures(err, t);
    }
    if (status == BFT_OK) {
        status = open_model(err, t, folder, &shape);
    }
    bft_model_config_free(&shape);
    BFT_TRY(status);
    BFT_TRY(open_steps(err, t));
    return fingerprint(err, t);
}

void bft_trainer_close(bft_trainer *t) {
    bft_optimizer_free(&t->optimizer);
    bft_session_destroy(t->session);
    bft_batch_free(&t->batch);
    bft_loss_setup_free(&t->loss);
    bft_sampler_free(&t->sampler);
    bft_metrics_destroy(t->metrics);
    bft_model_destroy(t->model);
    bft_dataset_destroy(t->valid);
    bft_dataset_destroy(t->train);
    bft_masker_destroy(t->masker);
    bft_tokenizer_destroy(t->tokenizer);
    bft_run_close(&t->run);
}
