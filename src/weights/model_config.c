/* model_config.c: config.json of BERT and DistilBERT models, read and written through one list of fields. */
#include "bertft/weights.h"
#include "base/file.h"
#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_LIMIT = 16 << 20, CLASS_LIMIT = 65536, ARCHITECTURES = 2 };

static const char config_name[] = "config.json";
static const char *const model_types[ARCHITECTURES] = {[BFT_BERT] = "bert", [BFT_DISTILBERT] = "distilbert"};
static const char *const classes_of[ARCHITECTURES] = {[BFT_BERT] = "Bert", [BFT_DISTILBERT] = "DistilBert"};
static const char *const problem_names[] = {[BFT_SINGLE_LABEL] = "single_label_classification",
                                            [BFT_MULTI_LABEL] = "multi_label_classification",
                                            [BFT_REGRESSION] = "regression"};
static const char *const head_names[] = {"linear", "mean", "pooler"};
/* Models of these tasks may have a "classifier" too: of tokens, or of one of several answers. */
static const char *const other_tasks[] = {"TokenClassification", "MultipleChoice", "QuestionAnswering"};

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

/* ---- The numbers of a configuration, by architecture; the defaults are those of transformers ---- */

typedef struct field {
    const char *key[ARCHITECTURES]; /* NULL: the architecture has no such key, and the default always holds */
    double fallback[ARCHITECTURES];
    double least, most;
    size_t place;   /* in bft_model_config */
    bool is_number; /* a float; else a size_t */
} field;

#define SIZE(member, bert, bert_default, distil, distil_default, most)                                                 \
    { {bert, distil}, {bert_default, distil_default}, 1, most, offsetof(bft_model_config, member), false }
#define NUMBER(member, bert, bert_default, distil, distil_default, most)                                               \
    { {bert, distil}, {bert_default, distil_default}, 0, most, offsetof(bft_model_config, member), true }
#define LIKE_HIDDEN (-1) /* a missing or null classifier_dropout is hidden_dropout_prob */

static const field fields[] = {
    SIZE(vocabulary, "vocab_size", 30522, "vocab_size", 30522, 1 << 26),
    SIZE(channels, "hidden_size", 768, "dim", 768, 65536),
    SIZE(layers, "num_hidden_layers", 12, "n_layers", 6, 255),
    SIZE(heads, "num_attention_heads", 12, "n_heads", 12, 65536),
    SIZE(feed_forward, "intermediate_size", 3072, "hidden_dim", 3072, 1 << 20),
    SIZE(positions, "max_position_embeddings", 512, "max_position_embeddings", 512, 1 << 16),
    SIZE(types, "type_vocab_size", 2, NULL, 0, 65536),
    NUMBER(layer_norm_eps, "layer_norm_eps", 1e-12, NULL, 1e-12, 0.1),
    NUMBER(hidden_dropout, "hidden_dropout_prob", 0.1, "dropout", 0.1, 0.999),
    NUMBER(attention_dropout, "attention_probs_dropout_prob", 0.1, "attention_dropout", 0.1, 0.999),
    NUMBER(classifier_dropout, "classifier_dropout", LIKE_HIDDEN, "seq_classif_dropout", 0.2, 0.999),
};

/* What we don't support must have the one value that means its absence. */
static const struct {
    const char *key;
    const char *text; /* NULL: the value is false */
} demands[] = {
    {"position_embedding_type", "absolute"},
    {"is_decoder", NULL},
    {"add_cross_attention", NULL},
    {"is_encoder_decoder", NULL},
};
static const char *const activation_keys[ARCHITECTURES] = {[BFT_BERT] = "hidden_act", [BFT_DISTILBERT] = "activation"};

/* ---- Reading ---- */

/* One configuration file. */
typedef struct source {
    const char *path;
    json_t *json;
} source;

/* The value of a key; null is as good as missing, as in transformers. */
static json_t *look_up(const source *from, const char *key) {
    json_t *value = json_object_get(from->json, key);
    return json_is_null(value) ? NULL : value;
}

static bft_status demand_text(bft_error *err, const source *from, const char *key, const char *text) {
    const json_t *value = look_up(from, key);
    if (value == NULL || (json_is_string(value) && strcmp(json_string_value(value), text) == 0)) {
        return BFT_OK;
    }
    return bft_error_set(err, BFT_BAD, "%s: \"%s\": %s is not supported, only %s is", from->path, key,
                         json_is_string(value) ? json_string_value(value) : "this value", text);
}

static bft_status check_demands(bft_error *err, const source *from, bft_architecture architecture) {
    BFT_TRY(demand_text(err, from, activation_keys[architecture], "gelu"));
    for (size_t i = 0; i < COUNT_OF(demands); i++) {
        const json_t *value = look_up(from, demands[i].key);
        if (demands[i].text != NULL) {
            BFT_TRY(demand_text(err, from, demands[i].key, demands[i].text));
        } else if (value != NULL && !json_is_false(value)) {
            return bft_error_set(err, BFT_BAD, "%s: \"%s\" is not supported, only false is", from->path,
                                 demands[i].key);
        }
    }
    const json_t *pruned = look_up(from, "pruned_heads");
    if (pruned != NULL && json_object_size(pruned) + json_array_size(pruned) > 0) {
        return bft_error_set(err, BFT_BAD, "%s: \"pruned_heads\" are not supported", from->path);
    }
    return BFT_OK;
}

/* Files from before model_type existed are BERT's if they look like it. */
static bft_status read_architecture(bft_error *err, const source *from, bft_architecture *out) {
    const json_t *type = look_up(from, "model_type");
    if (type != NULL) {
        const char *name = json_is_string(type) ? json_string_value(type) : "this value";
        for (int i = 0; i < ARCHITECTURES; i++) {
            if (strcmp(name, model_types[i]) == 0) {
                *out = (bft_architecture)i;
                return BFT_OK;
            }
        }
        return bft_error_set(err, BFT_BAD, "%s: \"model_type\": %s is not supported, bert and distilbert are",
                             from->path, name);
    }
    const char *model_class = json_string_value(json_array_get(look_up(from, "architectures"), 0));
    if (look_up(from, "hidden_size") == NULL || look_up(from, "num_hidden_layers") == NULL ||
        (model_class != NULL && strncmp(model_class, "Bert", 4) != 0)) {
        return bft_error_set(err, BFT_BAD, "%s: has no \"model_type\", and does not describe a BERT", from->path);
    }
    *out = BFT_BERT;
    return BFT_OK;
}

/* BertForTokenClassification -> "TokenClassification"; "" where there is no class for a task. */
static const char *read_task(const source *from) {
    const char *model_class = json_string_value(json_array_get(look_up(from, "architectures"), 0));
    const char *task = model_class == NULL ? NULL : strstr(model_class, "For");
    return task == NULL ? "" : task + strlen("For");
}

/* The task where it is one of other_tasks, else NULL. */
static const char *read_other_task(const source *from) {
    const char *task = read_task(from);
    for (size_t i = 0; i < COUNT_OF(other_tasks); i++) {
        if (strcmp(task, other_tasks[i]) == 0) {
            return other_tasks[i];
        }
    }
    return NULL;
}

static bft_status read_field(bft_error *err, const source *from, const field *f, bft_model_config *config) {
    const char *key = f->key[config->architecture];
    const json_t *json = key == NULL ? NULL : look_up(from, key);
    double value = json == NULL ? f->fallback[config->architecture] : json_number_value(json);
    bool fits = json == NULL || ((f->is_number ? json_is_number(json) : json_is_integer(json)) && value >= f->least &&
                                 value <= f->most);
    if (!fits) {
        return bft_error_set(err, BFT_BAD, "%s: \"%s\" must be %s from %g to %g", from->path, key,
                             f->is_number ? "a number" : "a whole number", f->least, f->most);
    }
    char *place = (char *)config + f->place;
    if (f->is_number) {
        *(float *)(void *)place = (float)value;
    } else {
        *(size_t *)(void *)place = (size_t)value;
    }
    return BFT_OK;
}

static bft_status read_fields(bft_error *err, const source *from, bft_model_config *config) {
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        BFT_TRY(read_field(err, from, &fields[i], config));
    }
    if (config->classifier_dropout == LIKE_HIDDEN) {
        config->classifier_dropout = config->hidden_dropout;
    }
    if (config->channels % config->heads != 0) {
        return bft_error_set(err, BFT_BAD, "%s: %zu channels can't be shared by %zu attention heads", from->path,
                             config->channels, config->heads);
    }
    if (config->layer_norm_eps <= 0) {
        return bft_error_set(err, BFT_BAD, "%s: \"layer_norm_eps\" must be more than 0", from->path);
    }
    return BFT_OK;
}

/* ---- Labels ---- */

/* Room for the pointers and `bytes` of text in one block; the text starts behind the pointers. */
static bft_status make_labels(bft_error *err, bft_model_config *config, size_t count, size_t bytes, char **text) {
    size_t size = count * sizeof *config->labels + bytes;
    config->labels = calloc(size, 1);
    if (config->labels == NULL) {
        return bft_error_memory(err, size);
    }
    config->classes = count;
    *text = (char *)(config->labels + count);
    return BFT_OK;
}

static bft_status make_placeholders(bft_error *err, bft_model_config *config, size_t count) {
    enum { ROOM = sizeof "LABEL_65535" };
    char *text = NULL;
    BFT_TRY(make_labels(err, config, count, count * ROOM, &text));
    for (size_t i = 0; i < count; i++, text += ROOM) {
        snprintf(text, ROOM, "LABEL_%u", (unsigned)i % CLASS_LIMIT);
        config->labels[i] = text;
    }
    return BFT_OK;
}

/* A decimal number without a sign or leading zeros that is below `count`. */
static bool read_id(const char *key, size_t count, size_t *out) {
    char *end;
    size_t length = strlen(key);
    if (length == 0 || length > 5 || strspn(key, "0123456789") != length || (key[0] == '0' && length > 1)) {
        return false;
    }
    *out = strtoul(key, &end, 10);
    return *out < count;
}

static int compare_labels(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bft_status refuse_duplicates(bft_error *err, const source *from, const bft_model_config *config) {
    size_t size = config->classes * sizeof *config->labels;
    char **sorted = malloc(size);
    if (sorted == NULL) {
        return bft_error_memory(err, size);
    }
    memcpy(sorted, config->labels, size);
    qsort(sorted, config->classes, sizeof *sorted, compare_labels);
    bft_status status = BFT_OK;
    for (size_t i = 1; status == BFT_OK && i < config->classes; i++) {
        if (strcmp(sorted[i - 1], sorted[i]) == 0) {
            status =
                bft_error_set(err, BFT_BAD, "%s: \"id2label\": two ids have the label \"%s\"", from->path, sorted[i]);
        }
    }
    free(sorted);
    return status;
}

static bft_status read_id2label(bft_error *err, const source *from, json_t *map, bft_model_config *config) {
    const char *key;
    json_t *value;
    size_t count = json_object_size(map), bytes = 0, id = 0;
    if (!json_is_object(map) || count == 0 || count > CLASS_LIMIT) {
        return bft_error_set(err, BFT_BAD, "%s: \"id2label\" must name 1 to %d labels", from->path, CLASS_LIMIT);
    }
    json_object_foreach(map, key, value) {
        if (!read_id(key, count, &id)) {
            return bft_error_set(err, BFT_BAD, "%s: \"id2label\": id \"%s\" found, where 0 to %zu are expected",
                                 from->path, key, count - 1);
        }
        if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value)) {
            return bft_error_set(err, BFT_BAD, "%s: \"id2label\": the label of id %zu is not a string", from->path, id);
        }
        bytes += json_string_length(value) + 1;
    }
    char *text = NULL;
    BFT_TRY(make_labels(err, config, count, bytes, &text));
    json_object_foreach(map, key, value) { /* distinct keys, all below count: every id occurs once */
        (void)read_id(key, count, &id);
        memcpy(text, json_string_value(value), json_string_length(value) + 1);
        config->labels[id] = text;
        text += json_string_length(value) + 1;
    }
    config->has_labels = true;
    return refuse_duplicates(err, from, config);
}

static bool are_placeholders(const bft_model_config *config) {
    char name[sizeof "LABEL_65535"];
    for (size_t i = 0; i < config->classes; i++) {
        snprintf(name, sizeof name, "LABEL_%u", (unsigned)i % CLASS_LIMIT);
        if (strcmp(name, config->labels[i]) != 0) {
            return false;
        }
    }
    return true;
}

/* Old versions of transformers wrote num_labels beside an id2label that nobody had touched: num_labels then holds. */
static bft_status read_labels(bft_error *err, const source *from, bft_model_config *config) {
    json_t *map = look_up(from, "id2label");
    const json_t *number = look_up(from, "num_labels");
    json_int_t count = number == NULL ? 2 : json_integer_value(number);
    if (number != NULL && (!json_is_integer(number) || count < 1 || count > CLASS_LIMIT)) {
        return bft_error_set(err, BFT_BAD, "%s: \"num_labels\" must be a whole number from 1 to %d", from->path,
                             CLASS_LIMIT);
    }
    if (map == NULL) {
        return make_placeholders(err, config, (size_t)count);
    }
    BFT_TRY(read_id2label(err, from, map, config));
    if (number == NULL || (size_t)count == config->classes) {
        return BFT_OK;
    }
    if (!are_placeholders(config)) {
        return bft_error_set(err, BFT_BAD, "%s: \"num_labels\" is %zu, but \"id2label\" names %zu labels", from->path,
                             (size_t)count, config->classes);
    }
    bft_model_config_free(config);
    config->has_labels = false;
    return make_placeholders(err, config, (size_t)count);
}

/* The index of a string value among `names`, or -1 where the key is missing. */
static bft_status read_choice(bft_error *err, const source *from, const char *key, const char *const *names,
                              size_t count, int *out) {
    const json_t *value = look_up(from, key);
    *out = -1;
    for (size_t i = 0; json_is_string(value) && i < count; i++) {
        if (names[i] != NULL && strcmp(json_string_value(value), names[i]) == 0) {
            *out = (int)i;
        }
    }
    if (value != NULL && *out < 0) {
        return bft_error_set(err, BFT_BAD, "%s: \"%s\": %s is not one that we know", from->path, key,
                             json_is_string(value) ? json_string_value(value) : "this value");
    }
    return BFT_OK;
}

static bft_status read_config(bft_error *err, const source *from, bft_model_config *config) {
    int problem, head;
    BFT_TRY(read_architecture(err, from, &config->architecture));
    BFT_TRY(check_demands(err, from, config->architecture));
    BFT_TRY(read_fields(err, from, config));
    BFT_TRY(read_labels(err, from, config));
    BFT_TRY(read_choice(err, from, "problem_type", problem_names, COUNT_OF(problem_names), &problem));
    BFT_TRY(read_choice(err, from, "bertft_head", head_names, COUNT_OF(head_names), &head));
    config->problem = problem < 0 ? BFT_PROBLEM_NONE : (bft_problem)problem;
    config->head = head < 0 ? NULL : head_names[head];
    config->other_task = read_other_task(from);
    config->masked = strcmp(read_task(from), "MaskedLM") == 0;
    return BFT_OK;
}

bft_status bft_model_config_read(bft_error *err, bft_model_config *out, const char *folder) {
    *out = (bft_model_config){0};
    bft_buffer path = {0};
    source from = {0};
    bft_status status = bft_path_join(err, &path, folder, config_name);
    if (status == BFT_OK) {
        from.path = path.data;
        status = bft_json_read(err, path.data, FILE_LIMIT, &from.json);
    }
    if (status == BFT_OK) {
        status = read_config(err, &from, out);
        json_decref(from.json);
    }
    if (status != BFT_OK) {
        bft_model_config_free(out);
    }
    bft_buffer_free(&path);
    return status;
}

void bft_model_config_free(bft_model_config *config) {
    free(config->labels);
    config->labels = NULL;
    config->classes = 0;
}

/* ---- Writing ---- */

/* The shortest decimal number that reads back as the same float; always with a point or an exponent, since transformers
 * tells ints from floats. */
static bft_status write_number(bft_error *err, bft_buffer *out, float value) {
    char text[32];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value) {
            break;
        }
    }
    return bft_buffer_printf(err, out, "%s%s", text, strpbrk(text, ".e") == NULL ? ".0" : "");
}

static bft_status write_fields(bft_error *err, bft_buffer *out, const bft_model_config *config) {
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        const field *f = &fields[i];
        const char *place = (const char *)config + f->place;
        if (f->key[config->architecture] == NULL) {
            continue;
        }
        BFT_TRY(bft_buffer_printf(err, out, "  \"%s\": ", f->key[config->architecture]));
        if (f->is_number) {
            BFT_TRY(write_number(err, out, *(const float *)(const void *)place));
        } else {
            BFT_TRY(bft_buffer_printf(err, out, "%zu", *(const size_t *)(const void *)place));
        }
        BFT_TRY(bft_buffer_append(err, out, ",\n", 2));
    }
    return BFT_OK;
}

static bft_status write_labels(bft_error *err, bft_buffer *out, const bft_model_config *config) {
    BFT_TRY(bft_buffer_printf(err, out, "  \"id2label\": {"));
    for (size_t i = 0; i < config->classes; i++) {
        BFT_TRY(bft_buffer_printf(err, out, "%s\n    \"%zu\": ", i == 0 ? "" : ",", i));
        BFT_TRY(bft_json_quote(err, out, config->labels[i], strlen(config->labels[i])));
    }
    BFT_TRY(bft_buffer_printf(err, out, "\n  },\n  \"label2id\": {"));
    for (size_t i = 0; i < config->classes; i++) {
        BFT_TRY(bft_buffer_printf(err, out, "%s\n    ", i == 0 ? "" : ","));
        BFT_TRY(bft_json_quote(err, out, config->labels[i], strlen(config->labels[i])));
        BFT_TRY(bft_buffer_printf(err, out, ": %zu", i));
    }
    return bft_buffer_printf(err, out, "\n  },\n");
}

static bft_status write_config(bft_error *err, bft_buffer *out, const bft_model_config *config) {
    bft_architecture architecture = config->architecture;
    BFT_TRY(bft_buffer_printf(err, out, "{\n  \"architectures\": [\"%sFor%s\"],\n  \"model_type\": \"%s\",\n",
                              classes_of[architecture], config->masked ? "MaskedLM" : "SequenceClassification",
                              model_types[architecture]));
    if (config->head != NULL) {
        BFT_TRY(bft_buffer_printf(err, out, "  \"bertft_head\": \"%s\",\n", config->head));
    }
    BFT_TRY(write_fields(err, out, config));
    BFT_TRY(bft_buffer_printf(err, out, "  \"%s\": \"gelu\",\n", activation_keys[architecture]));
    if (!config->masked) {
        BFT_TRY(write_labels(err, out, config));
    }
    if (config->problem != BFT_PROBLEM_NONE) {
        BFT_TRY(bft_buffer_printf(err, out, "  \"problem_type\": \"%s\",\n", problem_names[config->problem]));
    }
    return bft_buffer_printf(err, out, "  \"torch_dtype\": \"float32\"\n}\n");
}

bft_status bft_model_config_write(bft_error *err, const bft_model_config *config, const char *folder) {
    bft_buffer path = {0}, text = {0};
    bft_status status = bft_path_join(err, &path, folder, config_name);
    if (status == BFT_OK) {
        status = write_config(err, &text, config);
    }
    if (status == BFT_OK) {
        status = bft_file_write(err, path.data, text.data, text.length);
    }
    bft_buffer_free(&path);
    bft_buffer_free(&text);
    return status;
}
