/* tokenizer_json.c: reads the tokenizer.json of Hugging Face tokenizers into a recipe. Components that do anything
 * else than BERT's are refused by name; truncation, padding and decoder play no part here. */
#include "text/recipe.h"

#include <stdlib.h>
#include <string.h>

static bft_text text_of(const json_t *json) {
    return json_is_string(json) ? (bft_text){json_string_value(json), json_string_length(json)} : (bft_text){0};
}

static bft_status refuse(bft_error *err, const bft_recipe *recipe, const char *what, const char *wanted) {
    return bft_error_set(err, BFT_BAD, "%s: %s: %s is expected", recipe->source, what, wanted);
}

/* A part of the tokenizer, which must be of the type `wanted` or (unless NULL) `other`. */
static bft_status get_part(bft_error *err, const bft_recipe *recipe, const json_t *json, const char *name,
                           const char *wanted, const char *other, json_t **out) {
    *out = json_object_get(json, name);
    const char *type = json_string_value(json_object_get(*out, "type"));
    if (type == NULL || (strcmp(type, wanted) != 0 && (other == NULL || strcmp(type, other) != 0))) {
        return bft_error_set(err, BFT_BAD, "%s: %s of type %s is not supported; %s%s%s is", recipe->source, name,
                             type != NULL ? type : "null", wanted, other != NULL ? " or " : "",
                             other != NULL ? other : "");
    }
    return BFT_OK;
}

static bft_status get_flag(bft_error *err, const bft_recipe *recipe, const json_t *json, const char *name, bool *out) {
    const json_t *flag = json_object_get(json, name);
    if (!json_is_boolean(flag)) {
        return refuse(err, recipe, name, "true or false");
    }
    *out = json_is_true(flag);
    return BFT_OK;
}

/* No normalizer at all is one that changes nothing. */
static bft_status read_normalizer(bft_error *err, bft_recipe *recipe, const json_t *json) {
    bft_normalizer *to = &recipe->normalizer;
    json_t *part = json_object_get(json, "normalizer");
    if (part == NULL || json_is_null(part)) {
        *to = (bft_normalizer){0};
        return BFT_OK;
    }
    BFT_TRY(get_part(err, recipe, json, "normalizer", "BertNormalizer", NULL, &part));
    BFT_TRY(get_flag(err, recipe, part, "clean_text", &to->clean_text));
    BFT_TRY(get_flag(err, recipe, part, "handle_chinese_chars", &to->chinese_chars));
    BFT_TRY(get_flag(err, recipe, part, "lowercase", &to->lowercase));
    const json_t *strip = json_object_get(part, "strip_accents");
    to->strip_accents = to->lowercase;
    return strip == NULL || json_is_null(strip) ? BFT_OK
                                                : get_flag(err, recipe, part, "strip_accents", &to->strip_accents);
}

/* Whether a template's item is {kind: {"id": id, "type_id": type}}; *id receives or, where not NULL, gives the id. */
static bool is_item(const json_t *item, const char *kind, const char **id, json_int_t type) {
    const json_t *body = json_object_get(item, kind);
    const char *its = json_string_value(json_object_get(body, "id"));
    const json_t *its_type = json_object_get(body, "type_id");
    if (its == NULL || json_object_size(item) != 1 || (*id != NULL && strcmp(*id, its) != 0) ||
        !json_is_integer(its_type) || json_integer_value(its_type) != type) {
        return false;
    }
    *id = its;
    return true;
}

/* [CLS]:0 A:0 [SEP]:0, and for a pair B:1 [SEP]:1 behind it. */
static bool is_bert_template(const json_t *items, size_t length, const char **cls, const char **sep) {
    const char *a = "A", *b = "B";
    return json_array_size(items) == length && is_item(json_array_get(items, 0), "SpecialToken", cls, 0) &&
           is_item(json_array_get(items, 1), "Sequence", &a, 0) &&
           is_item(json_array_get(items, 2), "SpecialToken", sep, 0) &&
           (length == 3 || (is_item(json_array_get(items, 3), "Sequence", &b, 1) &&
                            is_item(json_array_get(items, 4), "SpecialToken", sep, 1)));
}

static bft_status read_id(bft_error *err, const bft_recipe *recipe, const json_t *json, const char *what,
                          uint32_t *out) {
    if (!json_is_integer(json) || json_integer_value(json) < 0 || json_integer_value(json) >= BFT_NO_ID) {
        return refuse(err, recipe, what, "an id");
    }
    *out = (uint32_t)json_integer_value(json);
    return BFT_OK;
}

static bft_status read_template(bft_error *err, bft_recipe *recipe, const json_t *part) {
    const char *cls = NULL, *sep = NULL;
    if (!is_bert_template(json_object_get(part, "single"), 3, &cls, &sep) ||
        !is_bert_template(json_object_get(part, "pair"), 5, &cls, &sep)) {
        return refuse(err, recipe, "post_processor", "BERT's template, [CLS] A [SEP] B [SEP] with types 0 and 1,");
    }
    const json_t *tokens = json_object_get(part, "special_tokens");
    const char *names[] = {cls, sep};
    uint32_t *ids[] = {&recipe->cls, &recipe->sep};
    for (int i = 0; i < 2; i++) {
        const json_t *list = json_object_get(json_object_get(tokens, names[i]), "ids");
        if (json_array_size(list) != 1) {
            return refuse(err, recipe, "post_processor: special_tokens", "one id each for [CLS] and [SEP]");
        }
        BFT_TRY(read_id(err, recipe, json_array_get(list, 0), "post_processor: special_tokens", ids[i]));
    }
    recipe->roles[BFT_CLS] = bft_text_of(cls);
    recipe->roles[BFT_SEP] = bft_text_of(sep);
    return BFT_OK;
}

static bft_status read_post_processor(bft_error *err, bft_recipe *recipe, const json_t *json) {
    json_t *part;
    BFT_TRY(get_part(err, recipe, json, "post_processor", "TemplateProcessing", "BertProcessing", &part));
    if (strcmp(json_string_value(json_object_get(part, "type")), "BertProcessing") != 0) {
        return read_template(err, recipe, part);
    }
    const char *keys[] = {"cls", "sep"};
    bft_role roles[] = {BFT_CLS, BFT_SEP};
    uint32_t *ids[] = {&recipe->cls, &recipe->sep};
    for (int i = 0; i < 2; i++) { /* "cls": ["[CLS]", 101] */
        const json_t *token = json_object_get(part, keys[i]);
        recipe->roles[roles[i]] = text_of(json_array_get(token, 0));
        if (recipe->roles[roles[i]].data == NULL) {
            return refuse(err, recipe, "post_processor", "a token and its id for \"cls\" and \"sep\"");
        }
        BFT_TRY(read_id(err, recipe, json_array_get(token, 1), "post_processor", ids[i]));
    }
    return BFT_OK;
}

static bft_status read_vocabulary(bft_error *err, bft_recipe *recipe, json_t *vocab, size_t size) {
    if (json_object_size(vocab) > BFT_MOST_TOKENS) {
        return bft_error_set(err, BFT_BAD, "%s: holds %zu tokens, a vocabulary of at most %d is supported",
                             recipe->source, json_object_size(vocab), BFT_MOST_TOKENS);
    }
    recipe->entries = calloc(json_object_size(vocab) + 1, sizeof *recipe->entries);
    if (recipe->entries == NULL) {
        return bft_error_memory(err, json_object_size(vocab) * sizeof *recipe->entries);
    }
    for (void *at = json_object_iter(vocab); at != NULL; at = json_object_iter_next(vocab, at)) {
        bft_entry *entry = &recipe->entries[recipe->entry_count++];
        entry->text = (bft_text){json_object_iter_key(at), json_object_iter_key_len(at)};
        BFT_TRY(read_id(err, recipe, json_object_iter_value(at), "model: vocab", &entry->id));
        /* A table of that many tokens would take more memory than the file accounts for. */
        if (entry->id >= size || entry->id >= BFT_MOST_TOKENS) {
            return bft_error_set(err, BFT_BAD, "%s: the token \"%s\" has the id %u, which is too high for %zu tokens",
                                 recipe->source, entry->text.data, entry->id, json_object_size(vocab));
        }
    }
    return BFT_OK;
}

static bft_status read_model(bft_error *err, bft_recipe *recipe, json_t *json, size_t size) {
    json_t *part = json_object_get(json, "model");
    if (json_object_get(part, "type") != NULL || !json_is_object(part)) { /* old files don't name it */
        BFT_TRY(get_part(err, recipe, json, "model", "WordPiece", NULL, &part));
    }
    recipe->roles[BFT_UNK] = text_of(json_object_get(part, "unk_token"));
    recipe->prefix = text_of(json_object_get(part, "continuing_subword_prefix"));
    if (recipe->roles[BFT_UNK].data == NULL || recipe->prefix.data == NULL) {
        return refuse(err, recipe, "model", "WordPiece, with strings for unk_token and continuing_subword_prefix,");
    }
    const json_t *longest = json_object_get(part, "max_input_chars_per_word");
    if (!json_is_integer(longest) || json_integer_value(longest) < 0 ||
        json_integer_value(longest) > BFT_LONGEST_MATCH) {
        return bft_error_set(err, BFT_BAD, "%s: model: max_input_chars_per_word: a number from 0 to %d is expected",
                             recipe->source, BFT_LONGEST_MATCH);
    }
    recipe->longest_word = (size_t)json_integer_value(longest);
    if (recipe->vocabulary.count > 0) {
        return BFT_OK;
    }
    json_t *vocab = json_object_get(part, "vocab");
    if (!json_is_object(vocab)) {
        return refuse(err, recipe, "model: vocab", "an object of tokens and their ids");
    }
    return read_vocabulary(err, recipe, vocab, size);
}

bft_status bft_recipe_read_token(bft_error *err, const bft_recipe *recipe, const json_t *json, bool special,
                                 bft_added_token *token) {
    struct {
        const char *name;
        bool *flag;
    } settings[] = {{"special", &token->special},
                    {"single_word", &token->single_word},
                    {"lstrip", &token->lstrip},
                    {"rstrip", &token->rstrip},
                    {"normalized", &token->normalized}};
    *token = (bft_added_token){.text = text_of(json_object_get(json, "content"))};
    if (token->text.data == NULL) {
        return refuse(err, recipe, "an added token", "an object with \"content\"");
    }
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        if (json_object_get(json, settings[i].name) != NULL) {
            BFT_TRY(get_flag(err, recipe, json, settings[i].name, settings[i].flag));
        }
    }
    token->special |= special;
    if (json_object_get(json, "normalized") == NULL) {
        token->normalized = !token->special;
    }
    return BFT_OK;
}

bft_status bft_recipe_read_json(bft_error *err, bft_recipe *recipe, json_t *json, size_t size) {
    json_t *ignored;
    BFT_TRY(read_normalizer(err, recipe, json));
    BFT_TRY(get_part(err, recipe, json, "pre_tokenizer", "BertPreTokenizer", NULL, &ignored));
    BFT_TRY(read_post_processor(err, recipe, json));
    BFT_TRY(read_model(err, recipe, json, size));
    const json_t *list = json_object_get(json, "added_tokens");
    if (list != NULL && !json_is_array(list)) {
        return refuse(err, recipe, "added_tokens", "a list");
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        bft_added_token token;
        BFT_TRY(bft_recipe_read_token(err, recipe, json_array_get(list, i), false, &token));
        BFT_TRY(bft_recipe_add(err, recipe, token));
    }
    return BFT_OK;
}
