/* prepared.c: walks the layers' matrices, decides each one's form, has the backend prepare it, and keeps the cache. */
#include "nn/prepared.h"

#include "base/buffer.h"
#include "base/log.h"
#include "kernels/quantize.h"
#include "nn/network.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IN_LAYER = 6, OF_LAYER = 4, EXTRA = 2, ROWS_LOOKED_AT = 64, VERSION = 3, NAME_ROOM = 32 };
enum { SMALL = 16 << 20 }; /* bytes: fewer are prepared faster than a cache is worth */

/* Above this share of squared error a matrix stays in bfloat16. One with normal values has 5e-5. all-MiniLM-L6-v2's worst,
 * its `down`s, have 1.3e-4 to 1.7e-4: fine-tuned on GoEmotions in Ekman's classes it answers 99.7 % of the test rows as
 * in fp32, with these in int8 (11 of 3,481 differ) or in bfloat16 (9). */
static const double worst_error = 2.5e-4;

/* One product of the network: its weight is one matrix, or some that lie behind one another. */
typedef struct matrix {
    const bft_param *first; /* of `parts` in the list of params */
    size_t parts, out, in;
    bft_linear_place *place;
    const bft_norm_place *norm; /* of the LayerNorm that it reads from; NULL: it reads from something else */
    bft_form form;
    float *gains; /* (in), of int8; NULL: all 1 */
    void *data;
} matrix;

typedef struct work {
    bft_model *model;
    const bft_ops *ops;
    const bft_tensor *const *tensors;
    matrix *matrices;
    size_t count, largest; /* largest: elements of a matrix */
    float *host;           /* (largest) int8: a matrix as it is in the file, for its calibration */
    void *reals;           /* (largest) a matrix as the backend takes it, where the file has it otherwise */
    float *channels; /* what choose_forms keeps for channels: gamma, beta, second moments, and the matrices' gains */
} work;

/* ---- The matrices ---- */

static void add(work *w, const bft_param *first, size_t parts, bft_linear_place *place, const bft_norm_place *norm) {
    size_t out = parts * first->shape[0], in = first->shape[1];
    w->matrices[w->count++] = (matrix){first, parts, out, in, place, norm, w->model->backend.form, NULL, NULL};
    w->largest = out * in > w->largest ? out * in : w->largest;
}

/* A layer's six matrices, in the order of the list. */
static void find_in_layer(const bft_params *params, size_t layer, const bft_param *found[IN_LAYER]) {
    size_t count = 0;
    for (size_t i = 0; i < params->count; i++) {
        if (params->list[i].apart && params->list[i].layer == (int)layer) {
            found[count++] = &params->list[i];
        }
    }
}

/* The last layer is asked for all of its rows or for the first ones alone, and has query, key and value in both ways. */
static bft_status list_matrices(bft_error *err, work *w) {
    bft_params *params = &w->model->params;
    size_t layers = w->model->config.layers;
    BFT_TRY(BFT_NEW(err, &w->model->arena, &w->matrices, OF_LAYER * layers + EXTRA));
    for (size_t layer = 0; layer < layers; layer++) {
        bft_layer_places *places = &params->layers[layer];
        const bft_norm_place *before = layer == 0 ? &params->embedding_norm : &params->layers[layer - 1].output_norm;
        const bft_param *of[IN_LAYER]; /* query, key, value, attention's output, up, down */
        find_in_layer(params, layer, of);
        add(w, of[0], 3, &places->qkv, before);
        add(w, of[3], 1, &places->attention_out, NULL);
        add(w, of[4], 1, &places->up, &places->attention_norm);
        add(w, of[5], 1, &places->down, NULL);
        if (layer + 1 == layers) {
            add(w, of[0], 1, &places->q, before);
            add(w, of[1], 2, &places->kv, before);
        }
    }
    return BFT_OK;
}

static size_t bytes_of(const work *w, const matrix *m) {
    return w->ops->prepared_bytes(m->form, m->out, m->in);
}

/* ---- Calibration without data ---- */

double bft_prepared_error(const float *weight, const float *moments, size_t out, size_t in) {
    size_t stride = out / ROWS_LOOKED_AT + 1;
    double error = 0, size = 0;
    for (size_t o = 0; o < out; o += stride) {
        const float *row = weight + o * in;
        float largest = 0;
        for (size_t i = 0; i < in; i++) {
            largest = fmaxf(largest, fabsf(row[i]));
        }
        float step = bft_quantize_step(largest);
        for (size_t i = 0; i < in; i++) {
            double off = (double)row[i] - (double)bft_quantize(row[i], step) * (double)step;
            double moment = moments == NULL ? 1 : (double)moments[i];
            error += moment * off * off;
            size += moment * (double)row[i] * (double)row[i];
        }
    }
    return size > 0 ? error / size : 0;
}

void bft_prepared_even(float *weight, const float *gamma, const float *beta, size_t out, size_t in, float *gains,
                       float *moments) {
    static const float least = 1e-6f; /* of either size: a channel of nothing gets no gain without bounds */
    memset(moments, 0, in * sizeof *moments);
    for (size_t at = 0; at < out * in; at++) {
        moments[at % in] += weight[at] * weight[at];
    }
    for (size_t i = 0; i < in; i++) {
        float of_weight = fmaxf(sqrtf(moments[i] / (float)out), least);
        float of_x = fmaxf(fabsf(beta[i]) + 3 * fabsf(gamma[i]), least);
        gains[i] = fminf(fmaxf(sqrtf(of_weight / of_x), 0x1p-20f), 0x1p20f);
        moments[i] = (gamma[i] * gamma[i] + beta[i] * beta[i]) * gains[i] * gains[i];
    }
    for (size_t at = 0; at < out * in; at++) {
        weight[at] /= gains[at % in];
    }
}

/* ---- Preparing ---- */

static const bft_tensor *tensor_of(const work *w, const matrix *m, size_t part) {
    return w->tensors[m->first + part - w->model->params.list];
}

/* A part of a matrix where it lies in the file, or made to reals behind the parts before: that doesn't last. */
static bft_status find_part(bft_error *err, work *w, const matrix *m, size_t part, const void **out, bool *lasting) {
    const bft_tensor *tensor = tensor_of(w, m, part);
    if (tensor->dtype == BFT_F32 && w->ops->real == sizeof(float) && (uintptr_t)tensor->data % sizeof(float) == 0) {
        *out = tensor->data;
        return BFT_OK;
    }
    *lasting = false;
    bft_device *device = w->model->backend.device;
    if (w->reals == NULL) {
        BFT_TRY(w->ops->alloc(err, device, w->largest * w->ops->real, &w->reals));
    }
    char *to = (char *)w->reals + part * m->first->count * w->ops->real;
    w->ops->to_device(device, tensor->dtype, tensor->data, to, tensor->count);
    *out = to;
    return BFT_OK;
}

/* Which value isn't finite. */
static bft_status name_value(bft_error *err, const work *w, const matrix *m) {
    for (size_t part = 0; part < m->parts; part++) {
        const bft_tensor *tensor = tensor_of(w, m, part);
        float *values = malloc(tensor->count * sizeof *values);
        if (values == NULL) {
            return bft_error_memory(err, tensor->count * sizeof *values);
        }
        bft_tensor_to_float(tensor, values);
        bft_status status = bft_tensor_check_finite(err, tensor, values, 0, tensor->count);
        free(values);
        BFT_TRY(status);
    }
    return bft_error_set(err, BFT_BAD, "%s: changed while it was read", tensor_of(w, m, 0)->file);
}

static bft_status prepare_matrix(bft_error *err, work *w, matrix *m, void *to) {
    bft_weight weight = {m->out, m->in, m->parts, .lasting = m->form == BFT_FORM_FP32, .gains = m->gains};
    for (size_t part = 0; part < m->parts; part++) {
        BFT_TRY(find_part(err, w, m, part, &weight.values[part], &weight.lasting));
    }
    bool finite = w->ops->prepare(w->model->backend.device, m->form, &weight, to);
    for (size_t part = 0; part < m->parts && !weight.lasting; part++) {
        const bft_tensor *tensor = tensor_of(w, m, part);
        bft_tensor_release(tensor, 0, tensor->count);
    }
    m->data = to;
    return finite ? BFT_OK : name_value(err, w, m);
}

/* The gains of a matrix behind a LayerNorm, whose values in w->host they even out, and the second moments of its input. */
static const float *even_out(work *w, matrix *m, float *gains) {
    const bft_model *model = w->model;
    float *gamma = w->channels, *beta = gamma + m->in, *moments = beta + m->in;
    w->ops->to_host(model->backend.device, bft_model_at(model, model->values, m->norm->gamma), gamma, m->in);
    w->ops->to_host(model->backend.device, bft_model_at(model, model->values, m->norm->beta), beta, m->in);
    bft_prepared_even(w->host, gamma, beta, m->out, m->in, gains, moments);
    m->gains = gains;
    return moments;
}

/* A matrix that int8 would hurt, or is too deep for it, gets bfloat16. */
static void choose_form(work *w, matrix *m, float *gains) {
    for (size_t part = 0; part < m->parts; part++) {
        bft_tensor_to_float(tensor_of(w, m, part), w->host + part * m->first->count);
    }
    const float *moments = m->norm == NULL ? NULL : even_out(w, m, gains);
    double error = bft_prepared_error(w->host, moments, m->out, m->in);
    if (error > worst_error || w->ops->prepared_bytes(BFT_FORM_INT8, m->out, m->in) == 0) {
        m->form = BFT_FORM_BF16;
    }
}

static bft_status choose_forms(bft_error *err, work *w) {
    size_t channels = w->model->config.channels;
    w->host = malloc(w->largest * sizeof *w->host);
    w->channels = malloc((3 + w->count) * channels * sizeof *w->channels);
    if (w->host == NULL || w->channels == NULL) {
        return bft_error_memory(err, (w->largest + (3 + w->count) * channels) * sizeof *w->host);
    }
    for (size_t i = 0; i < w->count; i++) {
        choose_form(w, &w->matrices[i], w->channels + (3 + i) * channels);
    }
    return BFT_OK;
}

static bft_status prepare_all(bft_error *err, work *w) {
    if (w->model->backend.form == BFT_FORM_INT8) {
        BFT_TRY(choose_forms(err, w));
    }
    size_t bytes = 0;
    for (size_t i = 0; i < w->count; i++) {
        bytes += bytes_of(w, &w->matrices[i]);
    }
    bft_prepared *prepared = &w->model->prepared;
    BFT_TRY(w->ops->alloc(err, w->model->backend.device, bytes, &prepared->block));
    char *to = prepared->block;
    for (size_t i = 0; i < w->count; i++) {
        BFT_TRY(prepare_matrix(err, w, &w->matrices[i], to));
        to += bytes_of(w, &w->matrices[i]);
    }
    return BFT_OK;
}

/* ---- The cache: a header, an entry for each matrix, and the matrices themselves ---- */

typedef struct cache_header {
    char backend[NAME_ROOM]; /* its name: the layout is its own */
    uint64_t form, count;
} cache_header;

typedef struct cache_entry {
    uint64_t out, in, form;
} cache_entry;

static size_t head_bytes(const work *w) {
    return (sizeof(cache_header) + w->count * sizeof(cache_entry) + 63) / 64 * 64;
}

static void write_head(const work *w, char *head) {
    cache_header header = {.form = (uint64_t)w->model->backend.form, .count = w->count};
    strncpy(header.backend, w->ops->name, NAME_ROOM - 1);
    memcpy(head, &header, sizeof header);
    for (size_t i = 0; i < w->count; i++) {
        const matrix *m = &w->matrices[i];
        cache_entry entry = {m->out, m->in, (uint64_t)m->form};
        memcpy(head + sizeof header + i * sizeof entry, &entry, sizeof entry);
    }
}

/* The forms are the cache's; all else must be as this model, this backend and this build have it. */
static bool read_forms(work *w, const bft_cache *cache) {
    for (size_t i = 0; i < w->count; i++) {
        cache_entry entry;
        memcpy(&entry, cache->data + sizeof(cache_header) + i * sizeof entry, sizeof entry);
        if (entry.form != BFT_FORM_BF16 && entry.form != BFT_FORM_INT8) {
            return false;
        }
        w->matrices[i].form = (bft_form)entry.form;
    }
    return true;
}

static bool use_cache(work *w, const bft_cache *cache) {
    size_t at = head_bytes(w);
    char *head = cache->size < at ? NULL : calloc(1, at);
    bool fits = head != NULL && read_forms(w, cache);
    if (fits) {
        write_head(w, head);
        fits = memcmp(head, cache->data, at) == 0;
    }
    for (size_t i = 0; i < w->count && fits; i++) {
        size_t bytes = bytes_of(w, &w->matrices[i]);
        fits = bytes > 0 && bytes <= cache->size - at;
        w->matrices[i].data = (void *)(cache->data + at); /* int8 and bf16 are only read */
        at += bytes;
    }
    free(head);
    return fits && at == cache->size && bft_cache_intact(cache);
}

static void name_cache(const work *w, char suffix[2 * NAME_ROOM]) {
    snprintf(suffix, 2 * NAME_ROOM, ".%s-%s.cache", w->ops->name,
             w->model->backend.form == BFT_FORM_INT8 ? "int8" : "bf16");
}

static bool open_cache(work *w) {
    bft_prepared *prepared = &w->model->prepared;
    char suffix[2 * NAME_ROOM];
    name_cache(w, suffix);
    if (!bft_cache_open(&prepared->cache, prepared->source, suffix, VERSION, &prepared->key)) {
        return false;
    }
    if (use_cache(w, &prepared->cache)) {
        return true;
    }
    bft_cache_close(&prepared->cache);
    for (size_t i = 0; i < w->count; i++) {
        w->matrices[i].form = w->model->backend.form;
    }
    return false;
}

static void write_cache(const work *w) {
    const bft_prepared *prepared = &w->model->prepared;
    char suffix[2 * NAME_ROOM], *head = calloc(1, head_bytes(w));
    bft_cache_part *parts = calloc(w->count + 1, sizeof *parts);
    if (head != NULL && parts != NULL) {
        name_cache(w, suffix);
        write_head(w, head);
        parts[0] = (bft_cache_part){head, head_bytes(w)};
        for (size_t i = 0; i < w->count; i++) {
            parts[i + 1] = (bft_cache_part){w->matrices[i].data, bytes_of(w, &w->matrices[i])};
        }
        bft_cache_write(prepared->source, suffix, VERSION, &prepared->key, parts, w->count + 1);
    }
    free(head);
    free(parts);
}

/* All matrices are in the one file that the key is of, many enough, and worth it: in fp32 the file itself is as large. */
static bool is_cached(const work *w) {
    size_t bytes = 0;
    bool one = w->model->prepared.source != NULL && w->model->backend.form != BFT_FORM_FP32;
    for (size_t i = 0; i < w->count; i++) {
        const matrix *m = &w->matrices[i];
        for (size_t part = 0; part < m->parts && one; part++) {
            one = strcmp(tensor_of(w, m, part)->file, w->model->prepared.source) == 0;
        }
        bytes += bytes_of(w, m);
    }
    return one && bytes >= SMALL;
}

/* ---- Loading ---- */

bft_status bft_prepared_begin(bft_error *err, bft_prepared *prepared, const char *folder) {
    static const char *const names[] = {"model.safetensors", "pytorch_model.bin"};
    bft_buffer path = {0};
    bft_status status = BFT_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names && prepared->source == NULL && status == BFT_OK; i++) {
        status = bft_path_join(err, &path, folder, names[i]);
        if (status == BFT_OK && bft_cache_key_of(path.data, &prepared->key)) {
            prepared->source = strdup(path.data);
            status = prepared->source == NULL ? bft_error_memory(err, path.length) : BFT_OK;
        }
    }
    bft_buffer_free(&path);
    return status;
}

static void set_places(const work *w) {
    size_t plain = 0;
    for (size_t i = 0; i < w->count; i++) {
        const matrix *m = &w->matrices[i];
        m->place->form = m->form;
        m->place->prepared = m->data;
        plain += m->form != w->model->backend.form;
    }
    if (plain > 0) {
        bft_log_info("int8 would hurt %zu of %zu matrices: they are in bf16", plain, w->count);
    }
}

bft_status bft_prepared_load(bft_error *err, bft_model *model, const bft_tensor *const *tensors) {
    work w = {.model = model, .ops = model->backend.ops, .tensors = tensors};
    BFT_TRY(list_matrices(err, &w));
    bool cached = is_cached(&w);
    bft_status status = BFT_OK;
    if (!cached || !open_cache(&w)) {
        status = prepare_all(err, &w);
        if (cached && status == BFT_OK) {
            write_cache(&w);
        }
    }
    if (status == BFT_OK) {
        set_places(&w);
    }
    free(w.host);
    free(w.channels);
    if (w.reals != NULL) {
        w.ops->free(model->backend.device, w.reals);
    }
    return status;
}

void bft_prepared_free(bft_model *model) {
    bft_prepared *prepared = &model->prepared;
    if (prepared->block != NULL) {
        model->backend.ops->free(model->backend.device, prepared->block);
    }
    bft_cache_close(&prepared->cache);
    free(prepared->source);
    *prepared = (bft_prepared){0};
}
