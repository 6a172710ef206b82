/* sentence.c: modules.json and the folders it names: Transformer, Pooling, then any of Dense and Normalize. */
#include "infer/sentence.h"

#include "base/file.h"
#include "base/json.h"
#include "bertft/weights.h"

#include <math.h>
#include <string.h>

enum { JSON_LIMIT = 1 << 20 };

/* ---- Small pieces ---- */

/* "sentence_transformers.models.Dense" -> "Dense" */
static const char *last_part(const char *dotted) {
    const char *dot = strrchr(dotted, '.');
    return dot != NULL ? dot + 1 : dotted;
}

/* FOLDER/PATH of a module; a path that leads out of the folder is refused. */
static bft_status module_folder(bft_error *err, const char *folder, const char *path, bft_buffer *out) {
    if (*path == '/' || strstr(path, "..") != NULL) {
        return bft_error_set(err, BFT_BAD, "%s/modules.json: the path '%s' leads out of the folder", folder, path);
    }
    return *path != '\0' ? bft_path_join(err, out, folder, path) : bft_buffer_printf(err, out, "%s", folder);
}

static bft_status read_json(bft_error *err, const char *folder, const char *name, bft_buffer *path, json_t **out) {
    BFT_TRY(bft_path_join(err, path, folder, name));
    return bft_json_read(err, path->data, JSON_LIMIT, out);
}

/* ---- The modules ---- */

/* The encoder itself: only what changes its input matters here. The file is optional. */
static bft_status read_transformer(bft_error *err, bft_sentence *sentence, const char *folder) {
    bft_buffer path = {0};
    json_t *json = NULL;
    bft_status status = bft_path_join(err, &path, folder, "sentence_bert_config.json");
    if (status == BFT_OK && bft_file_exists(path.data)) {
        status = bft_json_read(err, path.data, JSON_LIMIT, &json);
    }
    if (status == BFT_OK && json_is_true(json_object_get(json, "do_lower_case"))) {
        status = bft_error_set(err, BFT_BAD,
                               "%s: do_lower_case true is not supported here: the tokenizer's own "
                               "do_lower_case says it",
                               path.data);
    }
    json_t *length = json_object_get(json, "max_seq_length");
    if (status == BFT_OK && json_is_integer(length)) {
        sentence->max_length = json_integer_value(length) > 0 ? (size_t)json_integer_value(length) : 0;
    }
    json_decref(json);
    bft_buffer_free(&path);
    return status;
}

/* Old files have a flag a mode, of which one must be set; new ones name the mode. */
static bft_status pooling_of(bft_error *err, const char *path, const json_t *json, bft_pooling *out) {
    static const char flag[] = "pooling_mode_";
    const char *mode = json_string_value(json_object_get(json, "pooling_mode"));
    size_t set = mode != NULL;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)json, key, value) {
        if (strncmp(key, flag, strlen(flag)) == 0 && json_is_true(value)) {
            mode = key + strlen(flag);
            set++;
        }
    }
    if (set == 1 && (strcmp(mode, "cls_token") == 0 || strcmp(mode, "cls") == 0)) {
        *out = BFT_POOL_CLS;
        return BFT_OK;
    }
    if (set == 1 && (strcmp(mode, "mean_tokens") == 0 || strcmp(mode, "mean") == 0)) {
        *out = BFT_POOL_MEAN;
        return BFT_OK;
    }
    return bft_error_set(err, BFT_BAD, "%s: the pooling is %s%s; either cls or mean is supported", path,
                         mode != NULL ? mode : "none", set > 1 ? " and others" : "");
}

static bft_status read_pooling(bft_error *err, bft_sentence *sentence, const char *folder) {
    bft_buffer path = {0};
    json_t *json = NULL;
    bft_status status = read_json(err, folder, "config.json", &path, &json);
    if (status == BFT_OK) {
        status = pooling_of(err, path.data, json, &sentence->pooling);
    }
    json_decref(json);
    bft_buffer_free(&path);
    return status;
}

/* A copy in fp32 of a tensor of the expected shape; `rows` 0: a vector. */
static bft_status copy_tensor(bft_error *err, bft_sentence *sentence, const bft_weights *weights, const char *folder,
                              const char *name, size_t rows, size_t columns, float **out) {
    const bft_tensor *tensor = bft_weights_find(weights, name);
    if (tensor == NULL) {
        return bft_error_set(err, BFT_BAD, "%s: has no tensor '%s'", folder, name);
    }
    bool matrix = rows != 0;
    bool fits = matrix ? tensor->dimensions == 2 && tensor->shape[0] == rows && tensor->shape[1] == columns
                       : tensor->dimensions == 1 && tensor->shape[0] == columns;
    if (!fits) {
        size_t first = tensor->dimensions > 0 ? tensor->shape[0] : 0;
        size_t second = tensor->dimensions > 1 ? tensor->shape[1] : 0;
        return bft_error_set(err, BFT_BAD, "%s: '%s' has %zu dimensions (%zu, %zu, ..), config.json says (%zu, %zu)",
                             tensor->file, name, tensor->dimensions, first, second, rows, columns);
    }
    if (tensor->data == NULL) {
        return bft_error_set(err, BFT_BAD, "%s: '%s' is of a type other than F32, F16 and BF16", tensor->file, name);
    }
    BFT_TRY(BFT_NEW(err, &sentence->arena, out, tensor->count));
    bft_tensor_to_float(tensor, *out);
    for (size_t i = 0; i < tensor->count; i++) {
        if (!isfinite((*out)[i])) {
            return bft_error_set(err, BFT_BAD, "%s: '%s' holds a value that isn't finite", tensor->file, name);
        }
    }
    return BFT_OK;
}

static bft_status dense_config(bft_error *err, const char *path, const json_t *json, bft_stage *stage, bool *bias) {
    json_t *out = json_object_get(json, "out_features"), *in = json_object_get(json, "in_features");
    if (!json_is_integer(in) || !json_is_integer(out) || json_integer_value(out) < 1) {
        return bft_error_set(err, BFT_BAD, "%s: whole numbers in_features and out_features are expected", path);
    }
    if ((json_int_t)stage->in != json_integer_value(in)) {
        return bft_error_set(err, BFT_BAD, "%s: in_features is %lld, the vectors that come in have %zu", path,
                             (long long)json_integer_value(in), stage->in);
    }
    stage->out = (size_t)json_integer_value(out);
    *bias = !json_is_false(json_object_get(json, "bias"));
    const char *activation = json_string_value(json_object_get(json, "activation_function"));
    const char *name = activation != NULL ? last_part(activation) : "Tanh"; /* sentence-transformers' default */
    stage->tanh = strcmp(name, "Tanh") == 0;
    if (!stage->tanh && strcmp(name, "Identity") != 0) {
        return bft_error_set(err, BFT_BAD, "%s: the activation '%s' is not supported; Tanh and Identity are", path,
                             name);
    }
    return BFT_OK;
}

static bft_status read_dense(bft_error *err, bft_sentence *sentence, const char *folder, bft_stage *stage) {
    bft_buffer path = {0};
    json_t *json = NULL;
    bft_weights *weights = NULL;
    bool bias = false;
    bft_status status = read_json(err, folder, "config.json", &path, &json);
    if (status == BFT_OK) {
        status = dense_config(err, path.data, json, stage, &bias);
    }
    if (status == BFT_OK) {
        status = bft_weights_open(err, &weights, folder);
    }
    if (status == BFT_OK) {
        status = bft_weights_check(err, weights);
    }
    if (status == BFT_OK) {
        status = copy_tensor(err, sentence, weights, folder, "linear.weight", stage->out, stage->in, &stage->weight);
    }
    if (status == BFT_OK && bias) {
        status = copy_tensor(err, sentence, weights, folder, "linear.bias", 0, stage->out, &stage->bias);
    }
    bft_weights_close(weights);
    json_decref(json);
    bft_buffer_free(&path);
    return status;
}

/* ---- modules.json ---- */

static bft_status read_module(bft_error *err, bft_sentence *sentence, const char *folder, const char *type,
                              size_t index) {
    static const char *const places[] = {"Transformer", "Pooling"};
    if (index < 2) {
        if (strcmp(type, places[index]) != 0) {
            return bft_error_set(err, BFT_BAD, "%s: module %zu is '%s', '%s' is expected", folder, index, type,
                                 places[index]);
        }
        return index == 0 ? read_transformer(err, sentence, folder) : read_pooling(err, sentence, folder);
    }
    bool dense = strcmp(type, "Dense") == 0, normalize = strcmp(type, "Normalize") == 0;
    if ((!dense && !normalize) || sentence->stage_count == BFT_MOST_STAGES) {
        return bft_error_set(err, BFT_BAD,
                             "%s: module %zu is '%s'; at most %d of Dense and Normalize may follow the "
                             "pooling",
                             folder, index, type, BFT_MOST_STAGES);
    }
    bft_stage *stage = &sentence->stages[sentence->stage_count++];
    *stage = (bft_stage){.normalize = normalize, .in = sentence->width, .out = sentence->width};
    if (dense) {
        BFT_TRY(read_dense(err, sentence, folder, stage));
    }
    sentence->width = stage->out;
    sentence->widest = stage->out > sentence->widest ? stage->out : sentence->widest;
    return BFT_OK;
}

static bft_status read_modules(bft_error *err, bft_sentence *sentence, const char *folder, const json_t *modules) {
    bft_buffer path = {0};
    bft_status status = BFT_OK;
    for (size_t i = 0; status == BFT_OK && i < json_array_size(modules); i++) {
        const json_t *module = json_array_get(modules, i);
        const char *type = json_string_value(json_object_get(module, "type"));
        const char *place = json_string_value(json_object_get(module, "path"));
        if (type == NULL || place == NULL) {
            status = bft_error_set(err, BFT_BAD, "%s/modules.json: module %zu lacks its type or its path", folder, i);
            break;
        }
        bft_buffer_clear(&path);
        status = module_folder(err, folder, place, &path);
        if (status == BFT_OK) {
            status = read_module(err, sentence, path.data, last_part(type), i);
        }
    }
    bft_buffer_free(&path);
    return status;
}

bft_status bft_sentence_open(bft_error *err, bft_sentence *sentence, const char *folder, size_t channels) {
    *sentence = (bft_sentence){.width = channels, .widest = channels};
    bft_buffer path = {0}, text = {0};
    json_t *modules = NULL;
    bft_status status = bft_path_join(err, &path, folder, "modules.json");
    if (status == BFT_OK) {
        status = bft_file_read(err, path.data, JSON_LIMIT, &text);
    }
    if (status == BFT_OK) {
        status = bft_json_parse(err, path.data, 1, text.data, text.length, &modules);
    }
    if (status == BFT_OK && json_array_size(modules) < 2) { /* also where it is no array */
        status = bft_error_set(err, BFT_BAD, "%s: a list of modules is expected: Transformer, Pooling, ...", path.data);
    }
    if (status == BFT_OK) {
        status = read_modules(err, sentence, folder, modules);
    }
    json_decref(modules);
    bft_buffer_free(&text);
    bft_buffer_free(&path);
    if (status != BFT_OK) {
        bft_sentence_free(sentence);
    }
    return status;
}

void bft_sentence_free(bft_sentence *sentence) {
    bft_arena_free(&sentence->arena);
    *sentence = (bft_sentence){0};
}

/* ---- Applying the stages ---- */

static void dense(const bft_stage *stage, const float *x, float *y) {
    for (size_t o = 0; o < stage->out; o++) {
        const float *row = stage->weight + o * stage->in;
        double sum = stage->bias != NULL ? stage->bias[o] : 0;
        for (size_t i = 0; i < stage->in; i++) {
            sum += (double)row[i] * x[i];
        }
        y[o] = (float)(stage->tanh ? tanh(sum) : sum);
    }
}

/* torch.nn.functional.normalize: a zero vector stays zero. */
static void normalize_length(float *x, size_t width) {
    double squares = 0;
    for (size_t i = 0; i < width; i++) {
        squares += (double)x[i] * x[i];
    }
    double length = fmax(sqrt(squares), 1e-12);
    for (size_t i = 0; i < width; i++) {
        x[i] = (float)(x[i] / length);
    }
}

float *bft_sentence_apply(const bft_sentence *sentence, float *x, float *spare) {
    for (size_t i = 0; i < sentence->stage_count; i++) {
        const bft_stage *stage = &sentence->stages[i];
        if (stage->normalize) {
            normalize_length(x, stage->out);
            continue;
        }
        dense(stage, x, spare);
        float *swap = x;
        x = spare;
        spare = swap;
    }
    return x;
}

/* ---- Copying ---- */

static bft_status copy_file(bft_error *err, const char *from, const char *to, const char *name) {
    bft_buffer source = {0}, target = {0};
    bft_status status = bft_path_join(err, &source, from, name);
    if (status == BFT_OK) {
        status = bft_path_join(err, &target, to, name);
    }
    if (status == BFT_OK && bft_file_exists(source.data)) {
        status = bft_file_copy(err, source.data, target.data);
    }
    bft_buffer_free(&source);
    bft_buffer_free(&target);
    return status;
}

/* The module in the folder itself is the encoder, which the caller writes. */
static bft_status copy_module(bft_error *err, const char *from, const char *to, const json_t *module) {
    static const char *const names[] = {"config.json", "model.safetensors", "pytorch_model.bin"};
    const char *path = json_string_value(json_object_get(module, "path"));
    if (path == NULL || *path == '\0') {
        return BFT_OK;
    }
    bft_buffer source = {0}, target = {0};
    bft_status status = module_folder(err, from, path, &source);
    if (status == BFT_OK) {
        status = module_folder(err, to, path, &target);
    }
    if (status == BFT_OK) {
        status = bft_directory_create(err, target.data);
    }
    for (size_t i = 0; status == BFT_OK && i < sizeof names / sizeof *names; i++) {
        status = copy_file(err, source.data, target.data, names[i]);
    }
    bft_buffer_free(&source);
    bft_buffer_free(&target);
    return status;
}

static bft_status copy_modules(bft_error *err, const char *from, const char *to, const bft_buffer *text) {
    json_t *modules = NULL, *module;
    size_t i;
    BFT_TRY(bft_json_parse(err, "modules.json", 1, text->data, text->length, &modules));
    bft_status status = BFT_OK;
    json_array_foreach(modules, i, module) {
        if (status == BFT_OK) {
            status = copy_module(err, from, to, module);
        }
    }
    json_decref(modules);
    BFT_TRY(status);
    BFT_TRY(copy_file(err, from, to, "sentence_bert_config.json"));
    return copy_file(err, from, to, "modules.json");
}

bft_status bft_sentence_copy(bft_error *err, const char *from, const char *to) {
    bft_buffer path = {0}, text = {0};
    bft_status status = bft_path_join(err, &path, from, "modules.json");
    if (status == BFT_OK && bft_file_exists(path.data)) {
        status = bft_file_read(err, path.data, JSON_LIMIT, &text);
        if (status == BFT_OK) {
            status = copy_modules(err, from, to, &text);
        }
    }
    bft_buffer_free(&path);
    bft_buffer_free(&text);
    return status;
}
