/* learner.c: counting the words of texts, and making a tokenizer of what is learnt from them. */
#include "bertft/vocab.h"

#include "base/utf8.h"
#include "text/internal.h"
#include "text/learn.h"

#include <stdlib.h>

struct bft_learner {
    bft_learner_setup setup;
    bft_normal_form form;
    bft_buffer valid; /* a text with its broken UTF-8 replaced */
    bft_normal_text normal;
    bft_bag words;
    bft_learner_counts counts;
};

/* In the order of their ids, as most BERT vocabularies have them. */
static const bft_role special[BFT_ROLES] = {BFT_PAD, BFT_UNK, BFT_CLS, BFT_SEP, BFT_MASK};

bft_learner_setup bft_learner_defaults(void) {
    return (bft_learner_setup){
        .normalizer = bft_recipe_create("").normalizer, .size = 30522, .min_count = 2, .alphabet = 1000};
}

bft_status bft_learner_create(bft_error *err, bft_learner **out, const bft_learner_setup *setup) {
    if (setup->size > BFT_MOST_TOKENS) {
        return bft_error_set(err, BFT_BAD, "a vocabulary has at most %d tokens, not %zu", BFT_MOST_TOKENS, setup->size);
    }
    bft_learner *learner = calloc(1, sizeof *learner);
    if (learner == NULL) {
        return bft_error_memory(err, sizeof *learner);
    }
    learner->setup = *setup;
    learner->form = bft_normal_form_create(setup->normalizer);
    *out = learner;
    return BFT_OK;
}

void bft_learner_destroy(bft_learner *learner) {
    if (learner == NULL) {
        return;
    }
    bft_buffer_free(&learner->valid);
    bft_normal_text_free(&learner->normal);
    bft_bag_free(&learner->words);
    free(learner);
}

bft_status bft_learner_add(bft_error *err, bft_learner *learner, const char *text, size_t length) {
    BFT_TRY(bft_utf8_repair(err, &text, &length, &learner->valid));
    BFT_TRY(bft_normalize(err, &learner->form, text, length, &learner->normal));
    const size_t longest = bft_recipe_create("").longest_word;
    const bft_buffer *normal = &learner->normal.text;
    size_t at = 0, start;
    while (bft_wordpiece_next(normal->data, normal->length, &at, &start)) {
        bft_text word = {normal->data + start, at - start};
        if (!bft_wordpiece_is_short(word.data, word.length, longest)) {
            learner->counts.left_out++;
            continue;
        }
        BFT_TRY(bft_bag_add(err, &learner->words, word, 1, NULL));
        learner->counts.words++;
    }
    return BFT_OK;
}

bft_learner_counts bft_learner_count(const bft_learner *learner) {
    bft_learner_counts counts = learner->counts;
    counts.different = learner->words.count;
    return counts;
}

/* As bft_tokenizer_from_vocab makes one of a file. */
static bft_status make_tokenizer(bft_error *err, const bft_learner *learner, const bft_bag *tokens, bft_recipe *recipe,
                                 bft_tokenizer **out) {
    recipe->normalizer = learner->setup.normalizer;
    recipe->entries = calloc(tokens->count, sizeof *recipe->entries);
    if (recipe->entries == NULL) {
        return bft_error_memory(err, tokens->count * sizeof *recipe->entries);
    }
    recipe->entry_count = tokens->count;
    for (size_t id = 0; id < tokens->count; id++) {
        recipe->entries[id] = (bft_entry){bft_bag_text(tokens, id), (uint32_t)id};
    }
    for (int i = 0; i < BFT_ROLES; i++) {
        BFT_TRY(bft_recipe_add(err, recipe, (bft_added_token){.text = recipe->roles[special[i]], .special = true}));
    }
    return bft_tokenizer_make(err, out, recipe);
}

bft_status bft_learner_finish(bft_error *err, bft_learner *learner, const bft_learner_progress *progress,
                              bft_tokenizer **out) {
    if (learner->words.count == 0) {
        return bft_error_set(err, BFT_BAD, "there are no words to learn from");
    }
    bft_recipe recipe = bft_recipe_create("the vocabulary");
    bft_bag tokens = {0};
    bft_status status = BFT_OK;
    for (int i = 0; i < BFT_ROLES && status == BFT_OK; i++) {
        status = bft_bag_add(err, &tokens, recipe.roles[special[i]], 0, NULL);
    }
    if (status == BFT_OK) {
        status = bft_learn(err, &learner->words, &learner->setup, progress, &tokens);
    }
    if (status == BFT_OK) {
        status = make_tokenizer(err, learner, &tokens, &recipe, out);
    }
    bft_recipe_free(&recipe);
    bft_bag_free(&tokens);
    return status;
}
