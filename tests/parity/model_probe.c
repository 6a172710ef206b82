/* model_probe.c: shows the parity scripts what lies inside: hidden states, logits, gradients, the batches of a run.
 *
 *     model_probe hidden FOLDER IDS OUT           "hidden" (N, C), sequence after sequence
 *     model_probe logits FOLDER IDS OUT           "logits" (B, K)
 *     model_probe gradients FOLDER HEAD IDS OUT   a tensor a parameter, of the mean cross-entropy over all of IDS; and that, "loss"
 *     model_probe batches CONFIG [KEY VALUE]...   on stdout, a JSON line a training step: its samples in their order
 *
 * IDS: JSON lines, {"ids": [2, 17, 3], "target": 0}, or, for HEAD masked, {"ids": [2, 4, 3], "places": [1], "targets": [17]}.
 * OUT: a safetensors file. Dropout is off. */
#include "base/buffer.h"
#include "base/json.h"
#include "base/lines.h"
#include "nn/network.h"
#include "train/trainer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 16 };

/* ---- Samples ---- */

typedef struct sample_list {
    bft_arena arena;
    bft_sample *list;
    size_t count, longest, tokens;
} sample_list;

static bft_status read_numbers(bft_error *err, sample_list *s, const json_t *line, const char *key,
                               const uint32_t **out, size_t *count) {
    const json_t *list = json_object_get(line, key);
    uint32_t *copy;
    *count = json_array_size(list);
    BFT_TRY(BFT_NEW(err, &s->arena, &copy, *count));
    for (size_t i = 0; i < *count; i++) {
        copy[i] = (uint32_t)json_integer_value(json_array_get(list, i));
    }
    *out = copy;
    return BFT_OK;
}

static bft_status read_sample(bft_error *err, sample_list *s, const json_t *line, bft_sample *out) {
    *out = (bft_sample){.target = (uint32_t)json_integer_value(json_object_get(line, "target"))};
    BFT_TRY(read_numbers(err, s, line, "ids", &out->ids, &out->length));
    BFT_TRY(read_numbers(err, s, line, "places", &out->masked_place, &out->masked));
    BFT_TRY(read_numbers(err, s, line, "targets", &out->masked_target, &out->masked));
    s->longest = out->length > s->longest ? out->length : s->longest;
    s->tokens += out->length;
    return BFT_OK;
}

static bft_status read_lines(bft_error *err, sample_list *s, bft_lines *lines) {
    enum { MOST = 100000 };
    BFT_TRY(BFT_NEW(err, &s->arena, &s->list, MOST));
    for (;;) {
        char *line;
        size_t length;
        bool cut, more;
        BFT_TRY(bft_lines_next(err, lines, &line, &length, &cut, &more));
        if (!more || s->count == MOST) {
            return BFT_OK;
        }
        json_t *value;
        BFT_TRY(bft_json_parse(err, bft_lines_name(lines), bft_lines_number(lines), line, length, &value));
        bft_status status = read_sample(err, s, value, &s->list[s->count++]);
        json_decref(value);
        BFT_TRY(status);
    }
}

static bft_status read_samples(bft_error *err, sample_list *s, const char *path) {
    bft_lines *lines;
    BFT_TRY(bft_lines_open(err, &lines, path, 0));
    bft_status status = read_lines(err, s, lines);
    bft_lines_close(lines);
    return status;
}

/* ---- Hidden states and logits ---- */

typedef struct probe {
    bft_backend backend;
    bft_model *model;
    bft_session *session;
    bft_batch batch;
    sample_list samples;
    bft_safetensors_writer *out;
} probe;

static bft_status run_forward(bft_error *err, probe *p, bool hidden, float *values) {
    size_t channels = bft_model_configuration(p->model)->channels, classes = bft_model_classes(p->model);
    size_t shape[2] = {hidden ? p->samples.tokens : p->samples.count, hidden ? channels : classes};
    BFT_TRY(bft_safetensors_declare(err, p->out, hidden ? "hidden" : "logits", 2, shape));
    for (size_t first = 0; first < p->samples.count; first += BATCH) {
        bft_batch_clear(&p->batch);
        for (size_t i = first; i < first + BATCH && i < p->samples.count; i++) {
            bft_batch_add(&p->batch, p->samples.list[i], (uint32_t)(i - first));
        }
        if (hidden) {
            BFT_TRY(bft_session_vectors(err, p->session, &p->batch, BFT_POOL_NONE, values));
        } else {
            BFT_TRY(bft_session_logits(err, p->session, &p->batch, values));
        }
        BFT_TRY(bft_safetensors_write(err, p->out, values, (hidden ? p->batch.tokens : p->batch.batch) * shape[1]));
    }
    return BFT_OK;
}

static bft_status forward(bft_error *err, probe *p, bool hidden, const char *folder, const char *ids) {
    BFT_TRY(bft_model_open(err, &p->model, folder, p->backend));
    BFT_TRY(read_samples(err, &p->samples, ids));
    const bft_model_config *config = bft_model_configuration(p->model);
    size_t room = BATCH * p->samples.longest, classes = bft_model_classes(p->model);
    BFT_TRY(bft_session_create(err, &p->session, p->model, BATCH, room));
    BFT_TRY(bft_batch_create(err, &p->batch, BATCH, room, 0, config->vocabulary));
    float *values;
    BFT_TRY(BFT_NEW(err, &p->samples.arena, &values, room * (config->channels + classes)));
    return run_forward(err, p, hidden, values);
}

/* ---- Gradients ---- */

static bft_status open_for_gradients(bft_error *err, probe *p, const char *folder, const char *head) {
    bft_model_config config;
    if (strcmp(head, "masked") == 0) {
        bft_pretraining_setup setup = {.own_head = true};
        return bft_model_open_for_pretraining(err, &p->model, folder, p->backend, &setup);
    }
    BFT_TRY(bft_model_config_read(err, &config, folder));
    bft_model_setup setup = {.head = strcmp(head, "linear") == 0   ? BFT_HEAD_LINEAR
                                     : strcmp(head, "pooler") == 0 ? BFT_HEAD_POOLER
                                                                   : BFT_HEAD_MEAN,
                             .problem = BFT_SINGLE_LABEL,
                             .labels = {config.classes, config.labels}};
    bft_status status = bft_model_open_for_training(err, &p->model, folder, p->backend, &setup);
    bft_model_config_free(&config);
    return status;
}

/* The word embeddings' gradient, scattered over the whole table. */
static bft_status write_words(bft_error *err, probe *p, const float *rows, const bft_param *param) {
    float *table;
    size_t channels = param->shape[1];
    BFT_TRY(BFT_NEW(err, &p->samples.arena, &table, param->count));
    for (size_t i = 0; i < p->batch.words; i++) {
        memcpy(table + p->batch.word[i] * channels, rows + i * channels, channels * sizeof *table);
    }
    return bft_safetensors_write(err, p->out, table, param->count);
}

static bft_status run_backward(bft_error *err, probe *p, bft_gradients gradients, float *host) {
    const bft_params *params = &p->model->params;
    const bft_ops *ops = p->backend.ops;
    bool masked = bft_model_head(p->model) == BFT_HEAD_MASKED;
    bft_loss loss = {.kind = BFT_CROSS_ENTROPY, .normalizer = (double)(masked ? p->batch.masked : p->samples.count)};
    bft_session_clear_loss(p->session);
    BFT_TRY(bft_session_step(err, p->session, &p->batch, (bft_pass){.training = true}, loss, gradients));
    float mean = (float)bft_session_loss(p->session);
    BFT_TRY(bft_safetensors_declare(err, p->out, "loss", 1, (size_t[]){1}));
    for (size_t i = 0; i < params->count; i++) {
        BFT_TRY(bft_safetensors_declare(err, p->out, params->list[i].name, params->list[i].dimensions,
                                        params->list[i].shape));
    }
    BFT_TRY(bft_safetensors_write(err, p->out, &mean, 1));
    for (size_t i = 0; i < params->count; i++) {
        const bft_param *param = &params->list[i];
        if (param->sparse) {
            ops->to_host(p->backend.device, gradients.words, host, p->batch.words * param->shape[1]);
            BFT_TRY(write_words(err, p, host, param));
        } else {
            ops->to_host(p->backend.device, bft_model_at(p->model, gradients.dense, param->offset), host, param->count);
            BFT_TRY(bft_safetensors_write(err, p->out, host, param->count));
        }
    }
    return BFT_OK;
}

static bft_status backward(bft_error *err, probe *p, const char *folder, const char *head, const char *ids) {
    BFT_TRY(open_for_gradients(err, p, folder, head));
    BFT_TRY(read_samples(err, &p->samples, ids));
    const bft_model_config *config = bft_model_configuration(p->model);
    size_t count = p->samples.count, tokens = p->samples.tokens;
    BFT_TRY(bft_session_create_training(err, &p->session, p->model, count, tokens));
    BFT_TRY(bft_batch_create(err, &p->batch, count, tokens, bft_model_classes(p->model), config->vocabulary));
    for (size_t i = 0; i < count; i++) {
        bft_batch_add(&p->batch, p->samples.list[i], (uint32_t)i);
    }
    size_t dense = p->model->params.size, words = p->batch.words * config->channels;
    float *host;
    BFT_TRY(BFT_NEW(err, &p->samples.arena, &host, dense > words ? dense : words));
    const bft_ops *ops = p->backend.ops;
    bft_gradients gradients = {0};
    bft_status status = ops->alloc(err, p->backend.device, dense * ops->real, &gradients.dense);
    status = status ? status : ops->alloc(err, p->backend.device, words * ops->real, &gradients.words);
    status = status ? status : run_backward(err, p, gradients, host);
    ops->free(p->backend.device, gradients.dense);
    ops->free(p->backend.device, gradients.words);
    return status;
}

/* ---- The batches of a run ---- */

static void print_step(bft_trainer *trainer, uint64_t step) {
    bft_step_samples samples = bft_sampler_step(&trainer->sampler, step);
    printf("[");
    for (size_t i = 0; i < samples.count; i++) {
        bft_sample sample = bft_dataset_at(trainer->train, trainer->sampler.order[samples.first + i]);
        printf("%s{\"target\": %u, \"ids\": [", i > 0 ? ", " : "", sample.target);
        for (size_t j = 0; j < sample.length; j++) {
            printf("%s%u", j > 0 ? ", " : "", sample.ids[j]);
        }
        printf("]}");
    }
    printf("]\n");
}

static bft_status batches(bft_error *err, probe *p, bft_config *config, int argc, char **argv) {
    BFT_TRY(bft_config_merge_file(err, config, argv[0]));
    BFT_TRY(bft_config_merge_pairs(err, config, (size_t)argc - 1, argv + 1));
    bft_trainer trainer = {.config = config, .backend = p->backend};
    bft_status status = bft_trainer_open(err, &trainer);
    for (uint64_t step = 0; status == BFT_OK && step < trainer.total; step++) {
        print_step(&trainer, step);
    }
    bft_trainer_close(&trainer);
    return status;
}

/* ---- The program ---- */

static bft_status dispatch(bft_error *err, probe *p, int argc, char **argv) {
    const char *command = argc > 1 ? argv[1] : "";
    if (argc > 2 && strcmp(command, "batches") == 0) {
        bft_config *config;
        BFT_TRY(bft_config_create(err, &config));
        bft_status status = batches(err, p, config, argc - 2, argv + 2);
        bft_config_destroy(config);
        return status;
    }
    bool gradients = strcmp(command, "gradients") == 0, hidden = strcmp(command, "hidden") == 0;
    if (argc != (gradients ? 6 : 5)) {
        return bft_error_set(err, BFT_BAD,
                             "usage: hidden|logits FOLDER IDS OUT, gradients FOLDER HEAD IDS OUT, batches CONFIG");
    }
    BFT_TRY(bft_safetensors_create(err, &p->out, argv[argc - 1], BFT_F32));
    BFT_TRY(gradients ? backward(err, p, argv[2], argv[3], argv[4]) : forward(err, p, hidden, argv[2], argv[3]));
    bft_safetensors_writer *out = p->out;
    p->out = NULL;
    return bft_safetensors_commit(err, out);
}

int main(int argc, char **argv) {
    bft_error err;
    probe p = {0};
    bft_status status = bft_backend_open(&err, &p.backend, &(bft_backend_setup){.name = "cpu"});
    if (status == BFT_OK) {
        status = dispatch(&err, &p, argc, argv);
    }
    if (status != BFT_OK) {
        fprintf(stderr, "model_probe: %s\n", err.message);
    }
    bft_safetensors_discard(p.out);
    bft_batch_free(&p.batch);
    bft_session_destroy(p.session);
    bft_model_destroy(p.model);
    bft_arena_free(&p.samples.arena);
    bft_backend_close(&p.backend);
    return (int)status;
}
