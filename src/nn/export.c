/* export.c: the do-nothing layer, writing it, and measuring what it costs. */
#include "nn/export.h"

#include "base/buffer.h"
#include "base/file.h"
#include "nn/save.h"

#include <math.h>
#include <string.h>

/* The two layers between the first row and the logits, as Hugging Face's class will hold them. */
typedef struct exported_head {
    bool tanh;                        /* else ReLU */
    float diagonal;                   /* of the (C, C) layer */
    float *shift;                     /* (C) its bias */
    float *weight;                    /* (K, C) */
    float *bias;                      /* (K) */
    float *plain_weight, *plain_bias; /* the model's own */
    bft_arena arena;
} exported_head;

static void fetch(const bft_model *model, size_t offset, float *out, size_t count) {
    model->backend.ops->to_host(model->backend.device, bft_model_at(model, model->values, offset), out, count);
}

/* |LayerNorm| <= |gamma| sqrt(C - 1) + |beta|, channel by channel. */
static bft_status bounds(bft_error *err, const bft_model *model, exported_head *head) {
    size_t channels = model->config.channels;
    bft_norm_place norm = model->params.layers[model->config.layers - 1].output_norm;
    float *gamma, *beta;
    BFT_TRY(BFT_NEW(err, &head->arena, &gamma, channels));
    BFT_TRY(BFT_NEW(err, &head->arena, &beta, channels));
    fetch(model, norm.gamma, gamma, channels);
    fetch(model, norm.beta, beta, channels);
    for (size_t i = 0; i < channels; i++) {
        head->shift[i] = ceilf(fabsf(gamma[i]) * sqrtf((float)channels) + fabsf(beta[i]));
    }
    return BFT_OK;
}

static bft_status make_head(bft_error *err, const bft_model *model, exported_head *head) {
    size_t channels = model->config.channels, classes = model->config.classes;
    head->tanh = model->config.architecture == BFT_BERT;
    head->diagonal = head->tanh ? 0x1p-12f : 1.0f;
    BFT_TRY(BFT_NEW(err, &head->arena, &head->shift, channels));
    BFT_TRY(BFT_NEW(err, &head->arena, &head->weight, classes * channels));
    BFT_TRY(BFT_NEW(err, &head->arena, &head->bias, classes));
    BFT_TRY(BFT_NEW(err, &head->arena, &head->plain_weight, classes * channels));
    BFT_TRY(BFT_NEW(err, &head->arena, &head->plain_bias, classes));
    fetch(model, model->params.classifier.weight, head->plain_weight, classes * channels);
    fetch(model, model->params.classifier.bias, head->plain_bias, classes);
    if (!head->tanh) {
        BFT_TRY(bounds(err, model, head));
    }
    for (size_t k = 0; k < classes; k++) {
        double bias = head->plain_bias[k];
        for (size_t i = 0; i < channels; i++) {
            head->weight[k * channels + i] = head->plain_weight[k * channels + i] / head->diagonal;
            bias -= (double)head->plain_weight[k * channels + i] * (double)head->shift[i];
        }
        head->bias[k] = (float)bias;
    }
    return BFT_OK;
}

/* ---- Writing ---- */

static bft_status declare_all(bft_error *err, bft_saver *saver, const exported_head *head) {
    const bft_model *model = saver->model;
    size_t channels = model->config.channels, classes = model->config.classes, square[2] = {channels, channels};
    for (size_t i = 0; i < model->params.count; i++) {
        if (model->params.list[i].layer != BFT_LAYER_HEAD) {
            BFT_TRY(bft_saver_declare(err, saver, &model->params.list[i]));
        }
    }
    const char *weight = head->tanh ? "bert.pooler.dense.weight" : "pre_classifier.weight";
    const char *bias = head->tanh ? "bert.pooler.dense.bias" : "pre_classifier.bias";
    BFT_TRY(bft_safetensors_declare(err, saver->file, weight, 2, square));
    BFT_TRY(bft_safetensors_declare(err, saver->file, bias, 1, square));
    BFT_TRY(bft_safetensors_declare(err, saver->file, "classifier.weight", 2, (size_t[]){classes, channels}));
    return bft_safetensors_declare(err, saver->file, "classifier.bias", 1, &classes);
}

static bft_status write_all(bft_error *err, bft_saver *saver, exported_head *head) {
    const bft_model *model = saver->model;
    size_t channels = model->config.channels, classes = model->config.classes;
    BFT_TRY(declare_all(err, saver, head));
    for (size_t i = 0; i < model->params.count; i++) {
        if (model->params.list[i].layer != BFT_LAYER_HEAD) {
            BFT_TRY(bft_saver_write(err, saver, &model->params.list[i]));
        }
    }
    float *row;
    BFT_TRY(BFT_NEW(err, &head->arena, &row, channels));
    for (size_t i = 0; i < channels; i++) { /* the diagonal matrix, row by row */
        row[i] = head->diagonal;
        BFT_TRY(bft_safetensors_write(err, saver->file, row, channels));
        row[i] = 0;
    }
    BFT_TRY(bft_safetensors_write(err, saver->file, head->shift, channels));
    BFT_TRY(bft_safetensors_write(err, saver->file, head->weight, classes * channels));
    return bft_safetensors_write(err, saver->file, head->bias, classes);
}

static bft_status write_model(bft_error *err, const char *path, bft_dtype dtype, const bft_model *model,
                              exported_head *head) {
    bft_saver saver;
    BFT_TRY(bft_saver_open(err, &saver, model, bft_table_reader(&model->table), dtype, path));
    bft_status status = write_all(err, &saver, head);
    if (status != BFT_OK) {
        bft_saver_discard(&saver);
        return status;
    }
    return bft_saver_commit(err, &saver);
}

static bft_status export_linear(bft_error *err, const bft_model *model, bft_dtype dtype, const char *folder) {
    exported_head head = {0};
    bft_buffer path = {0};
    bft_status status = bft_path_join(err, &path, folder, "model.safetensors");
    if (status == BFT_OK) {
        status = make_head(err, model, &head);
    }
    if (status == BFT_OK) {
        status = write_model(err, path.data, dtype, model, &head);
    }
    bft_buffer_free(&path);
    bft_arena_free(&head.arena);
    BFT_TRY(status);
    bft_model_config config = model->config;
    config.head = "pooler"; /* that is what it is now */
    return bft_model_config_write(err, &config, folder);
}

bft_status bft_model_export(bft_error *err, const bft_model *model, bft_dtype dtype, const char *folder) {
    switch (model->head) {
    case BFT_HEAD_POOLER:
    case BFT_HEAD_MASKED:
        return bft_model_save(err, model, dtype, folder);
    case BFT_HEAD_LINEAR:
        return export_linear(err, model, dtype, folder);
    case BFT_HEAD_MEAN:
        return bft_error_set(err, BFT_BAD,
                             "a `mean` head has no class in transformers; train with MODEL.HEAD linear or pooler");
    default:
        return bft_error_set(err, BFT_BAD, "the model has no classifier to export");
    }
}

/* ---- Measuring ---- */

/* To the nearest half-precision value, ties to even; beyond its range infinite. */
static float to_half(float x) {
    if (!(fabsf(x) < 65520.0f)) {
        return copysignf(INFINITY, x);
    }
    int exponent;
    frexpf(x, &exponent);
    int step = (exponent < -13 ? -13 : exponent) - 11; /* weight of the last bit; -24 for subnormal values */
    return ldexpf(rintf(ldexpf(x, -step)), step);
}

static float keep(float x) {
    return x;
}

static double worst_difference(const bft_model *model, const exported_head *head, const float *rows, size_t count,
                               float (*to)(float), float *hidden) {
    size_t channels = model->config.channels, classes = model->config.classes;
    double worst = 0;
    for (size_t r = 0; r < count; r++) {
        const float *x = rows + r * channels;
        for (size_t i = 0; i < channels; i++) {
            float sum = to(to(to(x[i]) * to(head->diagonal)) + to(head->shift[i]));
            hidden[i] = to(head->tanh ? tanhf(sum) : sum > 0 ? sum : 0);
        }
        for (size_t k = 0; k < classes; k++) {
            double plain = head->plain_bias[k];
            float exported = to(head->bias[k]);
            for (size_t i = 0; i < channels; i++) {
                plain += (double)head->plain_weight[k * channels + i] * (double)x[i];
                exported += to(head->weight[k * channels + i]) * hidden[i]; /* products are summed in float */
            }
            worst = fmax(worst, fabs((double)to(exported) - plain));
        }
    }
    return worst;
}

bft_status bft_model_export_error(bft_error *err, const bft_model *model, const float *rows, size_t count,
                                  bft_export_error *out) {
    *out = (bft_export_error){0};
    if (model->head != BFT_HEAD_LINEAR) {
        return BFT_OK;
    }
    exported_head head = {0};
    float *hidden = NULL;
    bft_status status = make_head(err, model, &head);
    if (status == BFT_OK) {
        status = BFT_NEW(err, &head.arena, &hidden, model->config.channels);
    }
    if (status == BFT_OK) {
        out->single = worst_difference(model, &head, rows, count, keep, hidden);
        out->half = worst_difference(model, &head, rows, count, to_half, hidden);
    }
    bft_arena_free(&head.arena);
    return status;
}
