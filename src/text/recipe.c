/* recipe.c: recipes, and making tokenizers from them: ids of added tokens, the table of texts, the tries. */
#include "text/recipe.h"

#include "text/internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

bft_text bft_text_of(const char *string) {
    return (bft_text){string, string != NULL ? strlen(string) : 0};
}

bool bft_recipe_open_cache(bft_recipe *recipe) {
    recipe->keyed = bft_cache_key_of(recipe->source, &recipe->key);
    return recipe->keyed && bft_vocabulary_open(&recipe->vocabulary, recipe->source, &recipe->key);
}

bool bft_text_equal(bft_text a, bft_text b) {
    return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

bft_recipe bft_recipe_create(const char *source) {
    return (bft_recipe){
        .source = source,
        .normalizer = {.clean_text = true, .chinese_chars = true, .strip_accents = true, .lowercase = true},
        .roles = {[BFT_UNK] = bft_text_of("[UNK]"),
                  [BFT_SEP] = bft_text_of("[SEP]"),
                  [BFT_PAD] = bft_text_of("[PAD]"),
                  [BFT_CLS] = bft_text_of("[CLS]"),
                  [BFT_MASK] = bft_text_of("[MASK]")},
        .cls = BFT_NO_ID,
        .sep = BFT_NO_ID,
        .prefix = bft_text_of("##"),
        .longest_word = 100,
        .max_length = SIZE_MAX,
    };
}

bft_status bft_recipe_add(bft_error *err, bft_recipe *recipe, bft_added_token token) {
    if (token.text.length > BFT_LONGEST_MATCH) {
        return bft_error_set(err, BFT_BAD, "%s: an added token has %zu bytes; at most %d are supported", recipe->source,
                             token.text.length, BFT_LONGEST_MATCH);
    }
    if (recipe->added_count == recipe->added_capacity) {
        size_t capacity = 2 * recipe->added_capacity + 16;
        bft_added_token *grown = realloc(recipe->added, capacity * sizeof *grown);
        if (grown == NULL) {
            return bft_error_memory(err, capacity * sizeof *grown);
        }
        recipe->added = grown;
        recipe->added_capacity = capacity;
    }
    recipe->added[recipe->added_count++] = token;
    return BFT_OK;
}

void bft_recipe_free(bft_recipe *recipe) {
    free(recipe->entries);
    free(recipe->added);
    free(recipe->settings);
    bft_vocabulary_free(&recipe->vocabulary);
    *recipe = (bft_recipe){0};
}

/* An added token that is named twice keeps its first place and gets the last settings; the empty one is left out. */
static bft_status merge_added(bft_error *err, bft_recipe *recipe) {
    bft_trie_key *keys = calloc(recipe->added_count + 1, sizeof *keys);
    size_t *place = calloc(recipe->added_count + 1, sizeof *place); /* by index: where a first occurrence went */
    if (keys == NULL || place == NULL) {
        free(keys);
        free(place);
        return bft_error_memory(err, (recipe->added_count + 1) * sizeof *keys);
    }
    size_t count = 0, kept = 0;
    for (size_t i = 0; i < recipe->added_count; i++) {
        bft_text text = recipe->added[i].text;
        if (text.length > 0) {
            recipe->added[count] = recipe->added[i];
            keys[count] = (bft_trie_key){text.data, text.length, (uint32_t)count, (uint32_t)count};
            count++;
        }
    }
    bft_trie first = {0};
    size_t distinct = count;
    bft_status status = bft_trie_build(err, &first, keys, &distinct);
    for (size_t i = 0; status == BFT_OK && i < count; i++) {
        bft_text text = recipe->added[i].text;
        uint32_t index = bft_trie_find(&first, text.data, text.length);
        place[i] = index == i ? kept++ : place[index];
        if (index == i || !recipe->added[i].weak) {
            recipe->added[place[i]] = recipe->added[i];
        }
    }
    recipe->added_count = kept;
    bft_trie_free(&first);
    free(place);
    free(keys);
    return status;
}

/* As in tokenizers: an added token that the model knows has the model's id; the others get ids from the number of
 * the model's tokens on. */
static bft_status number_added(bft_error *err, bft_tokenizer *tokenizer, const bft_recipe *recipe) {
    const bft_vocabulary *vocabulary = &tokenizer->vocabulary;
    tokenizer->added_count = recipe->added_count;
    BFT_TRY(BFT_NEW(err, &tokenizer->arena, &tokenizer->added, recipe->added_count));
    BFT_TRY(BFT_NEW(err, &tokenizer->arena, &tokenizer->fresh, recipe->added_count));
    for (size_t i = 0; i < recipe->added_count; i++) {
        bft_added_token token = recipe->added[i];
        char *copy;
        BFT_TRY(bft_arena_string(err, &tokenizer->arena, token.text.data, token.text.length, &copy));
        token.text.data = copy;
        token.id = bft_vocabulary_find(vocabulary, token.text);
        if (token.id == BFT_TRIE_NONE) {
            token.id = (uint32_t)(vocabulary->count + tokenizer->fresh_count);
            bft_text taken = bft_vocabulary_text(vocabulary, token.id);
            if (taken.data != NULL) {
                return bft_error_set(err, BFT_BAD, "the added token \"%s\" gets the id %u, which \"%s\" has already",
                                     copy, token.id, taken.data);
            }
            tokenizer->fresh[tokenizer->fresh_count++] = token.text;
        }
        tokenizer->added[i] = token;
    }
    size_t end = tokenizer->fresh_count > 0 ? vocabulary->count + tokenizer->fresh_count : 0;
    tokenizer->size = end > vocabulary->size ? end : vocabulary->size;
    return BFT_OK;
}

bft_text bft_tokenizer_text(const bft_tokenizer *tokenizer, size_t id) {
    size_t first = tokenizer->vocabulary.count; /* of those that were added */
    bool fresh = id >= first && id - first < tokenizer->fresh_count;
    return fresh ? tokenizer->fresh[id - first] : bft_vocabulary_text(&tokenizer->vocabulary, id);
}

static uint32_t find_token(const bft_tokenizer *tokenizer, bft_text text) {
    uint32_t id = bft_vocabulary_find(&tokenizer->vocabulary, text);
    for (size_t i = 0; id == BFT_TRIE_NONE && i < tokenizer->added_count; i++) {
        id = bft_text_equal(tokenizer->added[i].text, text) ? tokenizer->added[i].id : BFT_TRIE_NONE;
    }
    return id;
}

static bft_status find_roles(bft_error *err, bft_tokenizer *tokenizer, const bft_recipe *recipe) {
    for (int role = 0; role < BFT_ROLES; role++) {
        bft_text name = recipe->roles[role];
        tokenizer->roles[role] = name.data != NULL ? find_token(tokenizer, name) : BFT_NO_ID;
    }
    if (recipe->cls != BFT_NO_ID) {
        tokenizer->roles[BFT_CLS] = recipe->cls;
        tokenizer->roles[BFT_SEP] = recipe->sep;
    }
    static const struct {
        bft_role role;
        const char *key;
    } needed[] = {{BFT_UNK, "unk_token"}, {BFT_CLS, "cls_token"}, {BFT_SEP, "sep_token"}};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        uint32_t id = tokenizer->roles[needed[i].role];
        if (recipe->roles[needed[i].role].data == NULL) {
            return bft_error_set(err, BFT_BAD, "the tokenizer's settings say that there is no %s; BERT needs one",
                                 needed[i].key);
        }
        if (bft_tokenizer_text(tokenizer, id).data == NULL) {
            return bft_error_set(err, BFT_BAD, "the vocabulary lacks the special token \"%s\"",
                                 recipe->roles[needed[i].role].data);
        }
    }
    /* The model itself must know the unknown token: an added one can't stand for a word. */
    bft_text unk = recipe->roles[BFT_UNK];
    tokenizer->model.unknown = bft_vocabulary_find(&tokenizer->vocabulary, unk);
    if (tokenizer->model.unknown == BFT_TRIE_NONE) {
        return bft_error_set(err, BFT_BAD, "the vocabulary lacks the unknown token \"%s\"", unk.data);
    }
    return BFT_OK;
}

/* The recipe's vocabulary, or one made of its entries. */
static bft_status take_vocabulary(bft_error *err, bft_tokenizer *tokenizer, bft_recipe *recipe) {
    if (recipe->vocabulary.count > 0) {
        tokenizer->vocabulary = recipe->vocabulary;
        recipe->vocabulary = (bft_vocabulary){0};
        return BFT_OK;
    }
    if (recipe->entry_count == 0 || recipe->entry_count >= UINT32_MAX / 2) {
        return bft_error_set(err, BFT_BAD, "holds %zu tokens; a vocabulary is expected", recipe->entry_count);
    }
    BFT_TRY(bft_vocabulary_build(err, &tokenizer->vocabulary, recipe->entries, recipe->entry_count));
    if (recipe->keyed) {
        bft_vocabulary_keep(&tokenizer->vocabulary, recipe->source, &recipe->key, bft_text_of(recipe->settings));
    }
    return BFT_OK;
}

static bft_status make(bft_error *err, bft_tokenizer *tokenizer, bft_recipe *recipe) {
    BFT_TRY(merge_added(err, recipe));
    BFT_TRY(take_vocabulary(err, tokenizer, recipe));
    tokenizer->model.trie = &tokenizer->vocabulary.trie;
    tokenizer->model.size = tokenizer->vocabulary.size;
    BFT_TRY(number_added(err, tokenizer, recipe));
    BFT_TRY(find_roles(err, tokenizer, recipe));
    char *prefix;
    BFT_TRY(bft_arena_string(err, &tokenizer->arena, recipe->prefix.data, recipe->prefix.length, &prefix));
    tokenizer->prefix = (bft_text){prefix, recipe->prefix.length};
    bft_wordpiece_set_prefix(&tokenizer->model, tokenizer->prefix);
    tokenizer->model.longest_word = recipe->longest_word;
    tokenizer->max_length = recipe->max_length;
    tokenizer->form = bft_normal_form_create(recipe->normalizer);
    BFT_TRY(bft_added_set_build(err, &tokenizer->plain, tokenizer->added, tokenizer->added_count, NULL));
    BFT_TRY(bft_added_set_build(err, &tokenizer->normal, tokenizer->added, tokenizer->added_count, &tokenizer->form));
    BFT_TRY(bft_quick_build(err, &tokenizer->quick, &tokenizer->form, &tokenizer->model, tokenizer->added,
                            tokenizer->added_count));
    if (getrandom(&tokenizer->identity, sizeof tokenizer->identity, 0) != sizeof tokenizer->identity) {
        return bft_error_errno(err, BFT_FAILED, "the machine has no random numbers");
    }
    return BFT_OK;
}

bft_status bft_tokenizer_make(bft_error *err, bft_tokenizer **out, bft_recipe *recipe) {
    bft_tokenizer *tokenizer = calloc(1, sizeof *tokenizer);
    if (tokenizer == NULL) {
        return bft_error_memory(err, sizeof *tokenizer);
    }
    bft_status status = make(err, tokenizer, recipe);
    if (status != BFT_OK) {
        bft_tokenizer_destroy(tokenizer);
        return bft_error_prefix(err, "%s", recipe->source);
    }
    *out = tokenizer;
    return BFT_OK;
}
