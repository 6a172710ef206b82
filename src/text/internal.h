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
    bft_text *tokens; /* (size): by id, those of the model and the added ones; NUL-terminated */
    size_t size;
    bft_added_token *added; /* (added_count): in the order in which they were added */
    size_t added_count;
    bft_added_set plain, normal;
    bft_quick quick;
    uint64_t identity;         /* no other tokenizer of this process has had it */
    uint32_t roles[BFT_ROLES]; /* ids; BFT_NO_ID where there is none */
    size_t max_length;
};

#endif
