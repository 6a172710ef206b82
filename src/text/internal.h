/* internal.h: what a tokenizer is, for the files that make, use and save one. */
#ifndef BFT_TEXT_INTERNAL_H
#define BFT_TEXT_INTERNAL_H

#include "base/arena.h"
#include "text/added.h"
#include "text/normalize.h"
#include "text/quick.h"
#include "text/recipe.h"
#include "text/wordpiece.h"

struct bft_tokenizer {
    bft_arena arena;
    bft_normal_form form;
    bft_wordpiece model;
    bft_text prefix;
    size_t size;               /* ids are below this */
    bft_vocabulary vocabulary; /* of the model */
    bft_added_token *added;    /* (added_count): in the order in which they were added */
    size_t added_count;
    bft_text *fresh; /* (fresh_count): those that the model lacks; their ids go on from vocabulary.count */
    size_t fresh_count;
    bft_added_set plain, normal;
    bft_quick quick;
    uint64_t identity;         /* no other tokenizer of this process has had it */
    uint32_t roles[BFT_ROLES]; /* ids; BFT_NO_ID where there is none */
    size_t max_length;
};

/* The token's text, NUL-terminated; data is NULL for an id without a token. */
bft_text bft_tokenizer_text(const bft_tokenizer *tokenizer, size_t id);

#endif
