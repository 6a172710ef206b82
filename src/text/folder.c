/* folder.c: opens the tokenizer of a model folder.
 *
 * tokenizer.json says all but the maximum length and the names of the padding and mask tokens. Without it, vocab.txt
 * and the settings of tokenizer_config.json, special_tokens_map.json and added_tokens.json are put together as
 * transformers does for BertTokenizer: tokens that the vocabulary lacks are added behind it, in that order. */
#include "bertft/tokenizer.h"

#include "base/file.h"
#include "text/recipe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SETTINGS_LIMIT = 16 << 20 };

/* All that the recipe's texts point into. */
typedef struct folder {
    bft_buffer path, text;
    json_t *tokenizer, *config, *map, *added; /* NULL where there is no such file */
} folder;

/* In the order in which transformers adds them; BFT_ROLES where BERT has no use for one. */
static const struct {
    const char *key;
    bft_role role;
} named_tokens[] = {
    {"bos_token", BFT_ROLES}, {"eos_token", BFT_ROLES}, {"unk_token", BFT_UNK},   {"sep_token", BFT_SEP},
    {"pad_token", BFT_PAD},   {"cls_token", BFT_CLS},   {"mask_token", BFT_MASK},
};
enum { NAMED_TOKENS = sizeof named_tokens / sizeof *named_tokens };

static void close_folder(folder *files) {
    bft_buffer_free(&files->path);
    bft_buffer_free(&files->text);
    json_decref(files->tokenizer);
    json_decref(files->config);
    json_decref(files->map);
    json_decref(files->added);
}

static bft_status read_settings(bft_error *err, folder *files, const char *where, const char *name, json_t **out) {
    BFT_TRY(bft_path_join(err, &files->path, where, name));
    return bft_file_exists(files->path.data) ? bft_json_read_reals(err, files->path.data, SETTINGS_LIMIT, out) : BFT_OK;
}

/* A setting that is true or false; null and missing leave *out as it is. */
static bft_status read_flag(bft_error *err, const folder *files, const char *where, const char *key, bool *out) {
    const json_t *flag = json_object_get(files->config, key);
    if (flag == NULL || json_is_null(flag)) {
        return BFT_OK;
    }
    if (!json_is_boolean(flag)) {
        return bft_error_set(err, BFT_BAD, "%s/tokenizer_config.json: %s: true or false is expected", where, key);
    }
    *out = json_is_true(flag);
    return BFT_OK;
}

static bft_status read_max_length(bft_error *err, const folder *files, const char *where, size_t *out) {
    const json_t *length = json_object_get(files->config, "model_max_length");
    if (length == NULL || json_is_null(length)) {
        return BFT_OK;
    }
    double value = json_real_value(length);
    if (!json_is_real(length) || !(value >= 1)) {
        return bft_error_set(err, BFT_BAD,
                             "%s/tokenizer_config.json: model_max_length: a number of 1 or more is expected", where);
    }
    *out = value < 1e15 ? (size_t)value : SIZE_MAX; /* transformers writes 1e30 for "no limit" */
    return BFT_OK;
}

/* A token that is written as a string or as an object; *token stays as it is where there is none. */
static bft_status read_token(bft_error *err, const bft_recipe *recipe, const json_t *json, bft_added_token *token) {
    if (json == NULL || json_is_null(json)) {
        return BFT_OK;
    }
    if (json_is_string(json)) {
        *token = (bft_added_token){.text = {json_string_value(json), json_string_length(json)}};
    } else {
        BFT_TRY(bft_recipe_read_token(err, recipe, json, true, token));
    }
    token->special = token->weak = true;
    return BFT_OK;
}

/* The named tokens, of which special_tokens_map.json has the last word unless tokenizer_config.json lists all added
 * tokens. A token that is null there is none. */
static bft_status read_named(bft_error *err, const folder *files, bft_recipe *recipe,
                             bft_added_token tokens[NAMED_TOKENS]) {
    bool listed = json_object_get(files->config, "added_tokens_decoder") != NULL;
    for (size_t i = 0; i < NAMED_TOKENS; i++) {
        bft_role role = named_tokens[i].role;
        tokens[i] = (bft_added_token){.special = true, .weak = true};
        if (role != BFT_ROLES) {
            tokens[i].text = recipe->roles[role];
        }
        const json_t *sources[] = {json_object_get(files->config, named_tokens[i].key),
                                   listed ? NULL : json_object_get(files->map, named_tokens[i].key)};
        for (size_t k = 0; k < 2; k++) {
            if (json_is_null(sources[k])) {
                tokens[i].text = (bft_text){0};
            }
            BFT_TRY(read_token(err, recipe, sources[k], &tokens[i]));
        }
    }
    return BFT_OK;
}

typedef struct numbered {
    double number; /* JSON's, and a whole number in any file that we know */
    bft_text key;
    json_t *value;
} numbered;

static int compare_numbered(const void *left, const void *right) {
    const numbered *a = left, *b = right;
    return (a->number > b->number) - (a->number < b->number);
}

/* Fills the list from {"5": {"content": "a", …}} (added_tokens_decoder) or {"a": 5} (added_tokens.json). */
static bft_status list_numbered(bft_error *err, const bft_recipe *recipe, json_t *object, bool keys_are_numbers,
                                numbered *list) {
    for (void *at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at), list++) {
        *list = (numbered){.key = {json_object_iter_key(at), json_object_iter_key_len(at)},
                           .value = json_object_iter_value(at)};
        char *end = NULL;
        list->number = keys_are_numbers ? strtod(list->key.data, &end) : json_number_value(list->value);
        bool fine = keys_are_numbers ? end != list->key.data && end == list->key.data + list->key.length
                                     : json_is_number(list->value);
        if (!fine || !isfinite(list->number)) {
            return bft_error_set(err, BFT_BAD, "%s/%s: the entry \"%s\" has no number", recipe->source,
                                 keys_are_numbers ? "tokenizer_config.json: added_tokens_decoder" : "added_tokens.json",
                                 list->key.data);
        }
    }
    return BFT_OK;
}

/* Adds those tokens by rising number. */
static bft_status add_numbered(bft_error *err, bft_recipe *recipe, json_t *object, bool keys_are_numbers) {
    numbered *list = calloc(json_object_size(object) + 1, sizeof *list);
    if (list == NULL) {
        return bft_error_memory(err, (json_object_size(object) + 1) * sizeof *list);
    }
    size_t count = json_object_size(object);
    bft_status status = list_numbered(err, recipe, object, keys_are_numbers, list);
    if (status == BFT_OK) {
        qsort(list, count, sizeof *list, compare_numbered);
    }
    for (size_t i = 0; i < count && status == BFT_OK; i++) {
        bft_added_token token = {.text = list[i].key, .normalized = true};
        if (keys_are_numbers) {
            status = bft_recipe_read_token(err, recipe, list[i].value, false, &token);
        }
        if (status == BFT_OK) {
            status = bft_recipe_add(err, recipe, token);
        }
    }
    free(list);
    return status;
}

static bft_status add_tokens(bft_error *err, const folder *files, bft_recipe *recipe,
                             const bft_added_token named[NAMED_TOKENS]) {
    json_t *listed = json_object_get(files->config, "added_tokens_decoder");
    BFT_TRY(add_numbered(err, recipe, listed != NULL ? listed : files->added, listed != NULL));
    for (size_t i = 0; i < NAMED_TOKENS; i++) {
        if (named[i].text.data != NULL) {
            BFT_TRY(bft_recipe_add(err, recipe, named[i]));
        }
    }
    static const char *const extra_keys[] = {"extra_special_tokens", "additional_special_tokens"};
    const json_t *sources[] = {files->config, listed != NULL ? NULL : files->map};
    for (size_t i = 0; i < 4; i++) {
        const json_t *extra = json_object_get(sources[i / 2], extra_keys[i % 2]);
        for (size_t k = 0; k < json_array_size(extra); k++) {
            bft_added_token token = {0};
            BFT_TRY(read_token(err, recipe, json_array_get(extra, k), &token));
            BFT_TRY(bft_recipe_add(err, recipe, token));
        }
    }
    return BFT_OK;
}

/* A vocab.txt says nothing about how a text is cut: only these classes cut it as BERT does. */
static bft_status check_class(bft_error *err, const folder *files, const char *where) {
    static const char *const known[] = {"BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer",
                                        "DistilBertTokenizerFast"};
    const char *class = json_string_value(json_object_get(files->config, "tokenizer_class"));
    for (size_t i = 0; class != NULL && i < sizeof known / sizeof *known; i++) {
        if (strcmp(class, known[i]) == 0) {
            return BFT_OK;
        }
    }
    return class == NULL ? BFT_OK
                         : bft_error_set(err, BFT_BAD,
                                         "%s/tokenizer_config.json: tokenizer_class %s is not supported without a "
                                         "tokenizer.json; BertTokenizer and DistilBertTokenizer are",
                                         where, class);
}

static bft_status read_vocab_folder(bft_error *err, folder *files, const char *where, bft_recipe *recipe,
                                    const bft_added_token named[NAMED_TOKENS]) {
    bft_normalizer *to = &recipe->normalizer;
    BFT_TRY(check_class(err, files, where));
    BFT_TRY(read_settings(err, files, where, "added_tokens.json", &files->added));
    BFT_TRY(read_flag(err, files, where, "do_lower_case", &to->lowercase));
    BFT_TRY(read_flag(err, files, where, "tokenize_chinese_chars", &to->chinese_chars));
    to->strip_accents = to->lowercase;
    BFT_TRY(read_flag(err, files, where, "strip_accents", &to->strip_accents));
    BFT_TRY(add_tokens(err, files, recipe, named));
    BFT_TRY(bft_path_join(err, &files->path, where, "vocab.txt"));
    recipe->source = files->path.data;
    return bft_recipe_read_vocab(err, recipe, &files->text);
}

/* tokenizer.json without its vocabulary, which takes nearly all of the time that reading it takes. */
static bft_status write_settings(bft_error *err, const json_t *tokenizer, char **out) {
    json_t *settings = json_copy((json_t *)(uintptr_t)tokenizer),
           *model = json_copy(json_object_get(settings, "model"));
    if (settings != NULL && model != NULL && json_object_del(model, "vocab") == 0 &&
        json_object_set(settings, "model", model) == 0) {
        *out = json_dumps(settings, JSON_COMPACT);
    }
    json_decref(model);
    json_decref(settings);
    return *out != NULL ? BFT_OK : bft_error_memory(err, sizeof *settings);
}

static bft_status read_tokenizer_json(bft_error *err, folder *files, bft_recipe *recipe) {
    recipe->source = files->path.data;
    if (bft_recipe_open_cache(recipe)) {
        bft_text settings = recipe->vocabulary.settings;
        BFT_TRY(bft_json_parse(err, files->path.data, 1, settings.data, settings.length, &files->tokenizer));
        return bft_recipe_read_json(err, recipe, files->tokenizer, settings.length);
    }
    BFT_TRY(bft_file_read(err, files->path.data, BFT_TOKENIZER_FILE_LIMIT, &files->text));
    BFT_TRY(bft_json_parse(err, files->path.data, 1, files->text.data, files->text.length, &files->tokenizer));
    BFT_TRY(bft_recipe_read_json(err, recipe, files->tokenizer, files->text.length));
    return write_settings(err, files->tokenizer, &recipe->settings);
}

static bft_status read_folder(bft_error *err, folder *files, const char *where, bft_recipe *recipe) {
    bft_added_token named[NAMED_TOKENS];
    BFT_TRY(read_settings(err, files, where, "tokenizer_config.json", &files->config));
    BFT_TRY(read_settings(err, files, where, "special_tokens_map.json", &files->map));
    BFT_TRY(read_named(err, files, recipe, named));
    BFT_TRY(read_max_length(err, files, where, &recipe->max_length));
    for (size_t i = 0; i < NAMED_TOKENS; i++) {
        if (named_tokens[i].role != BFT_ROLES) {
            recipe->roles[named_tokens[i].role] = named[i].text;
        }
    }
    BFT_TRY(bft_path_join(err, &files->path, where, "vocab.txt"));
    bool has_vocab = bft_file_exists(files->path.data);
    BFT_TRY(bft_path_join(err, &files->path, where, "tokenizer.json"));
    if (bft_file_exists(files->path.data)) {
        return read_tokenizer_json(err, files, recipe);
    }
    return has_vocab ? read_vocab_folder(err, files, where, recipe, named)
                     : bft_error_set(err, BFT_BAD,
                                     "%s: holds neither a tokenizer.json nor a vocab.txt; "
                                     "a model folder has one of them",
                                     where);
}

bft_status bft_tokenizer_open(bft_error *err, bft_tokenizer **out, const char *where) {
    folder files = {0};
    bft_recipe recipe = bft_recipe_create(where);
    bft_status status = read_folder(err, &files, where, &recipe);
    if (status == BFT_OK) {
        status = bft_tokenizer_make(err, out, &recipe);
    }
    bft_recipe_free(&recipe);
    close_folder(&files);
    return status;
}
