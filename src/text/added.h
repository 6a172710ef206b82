/* added.h: finding added tokens in a text, leftmost and longest first. */
#ifndef BFT_TEXT_ADDED_H
#define BFT_TEXT_ADDED_H

#include "text/normalize.h"
#include "text/recipe.h"
#include "text/trie.h"

/* Either the tokens that are looked for in the text as it is, or those looked for in its normal form. */
typedef struct bft_added_set {
    const bft_added_token *tokens; /* all added tokens, of both kinds */
    bft_trie trie;                 /* its values are places in `tokens` */
    bool empty, starts[256];       /* the first bytes of the tokens */
} bft_added_set;

/* `form` is NULL for the tokens that are looked for as they are. The tokens must stay. */
bft_status bft_added_set_build(bft_error *err, bft_added_set *set, const bft_added_token *tokens, size_t count,
                               const bft_normal_form *form);
void bft_added_set_free(bft_added_set *set);

/* Where a search in one text stands. Create zeroed. */
typedef struct bft_added_search {
    size_t at;         /* the next place to look at */
    size_t gap, start; /* text[gap .. start) holds no added token */
    size_t end;        /* text[start .. end) is the token, with the spaces that it takes along */
} bft_added_search;

/* The next token, or NULL at the end, where the gap is the rest of the text. */
const bft_added_token *bft_added_next(const bft_added_set *set, const char *text, size_t length,
                                      bft_added_search *search);

#endif
