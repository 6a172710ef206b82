/* recipe.h: what a tokenizer is made from, however its files say it. The readers of tokenizer.json and vocab.txt
 * write a recipe; bft_tokenizer_make turns it into a tokenizer. */
#ifndef BFT_TEXT_RECIPE_H
#define BFT_TEXT_RECIPE_H

#include "bertft/tokenizer.h"
#include "base/json.h"
#include "text/vocabulary.h"

enum {
    BFT_TOKENIZER_FILE_LIMIT = 64 << 20, /* LaBSE's tokenizer.json of 501,153 tokens has some 10 MiB */
    BFT_MOST_TOKENS = 1 << 22,           /* each takes a hundred bytes here, and may be one newline in the file */
    /* Characters of a word that may still be cut into pieces, bytes of an added token: the searches for both take time
     * that grows with the product of this and the length of the text. Models have 100. */
    BFT_LONGEST_MATCH = 1000
};
#define BFT_NO_ID UINT32_MAX

/* A token that is looked for in the text itself, before it is cut into words. */
typedef struct bft_added_token {
    bft_text text;
    uint32_t id; /* given by bft_tokenizer_make: what a file says about it counts for nothing, as in tokenizers */
    bool special, single_word, lstrip, rstrip;
    bool normalized; /* looked for in the normal form of the text */
    bool weak;       /* leaves the settings of an equal token before it alone */
} bft_added_token;

typedef enum bft_role { BFT_UNK, BFT_SEP, BFT_PAD, BFT_CLS, BFT_MASK, BFT_ROLES } bft_role;

typedef struct bft_recipe {
    const char *source;        /* the file to name in error lines */
    bft_vocabulary vocabulary; /* from a cache; where there is none, it is made of the entries */
    bft_entry *entries;        /* a later one with the same text wins */
    size_t entry_count;
    bool keyed; /* a cache may be written, with this key and these settings (of tokenizer.json, without the entries) */
    bft_cache_key key;
    char *settings;
    bft_added_token *added;
    size_t added_count, added_capacity;
    bft_normalizer normalizer;
    bft_text roles[BFT_ROLES]; /* the special tokens by name; pad and mask may be missing */
    uint32_t cls, sep;         /* BFT_NO_ID: whatever id their names have */
    bft_text prefix;           /* of a piece that goes on with a word, "##" */
    size_t longest_word;       /* in characters; a longer one is unknown */
    size_t max_length;
} bft_recipe;

bft_recipe bft_recipe_create(const char *source); /* what holds where no file says otherwise */
bft_text bft_text_of(const char *string);
bool bft_text_equal(bft_text a, bft_text b);
bft_status bft_recipe_add(bft_error *err, bft_recipe *recipe, bft_added_token token);
void bft_recipe_free(bft_recipe *recipe); /* its lists; the bytes belong to whoever read them */

/* Takes the vocabulary from the cache of the recipe's source, if there is one; else lets one be written. */
bool bft_recipe_open_cache(bft_recipe *recipe);

/* Copies all that it keeps. */
bft_status bft_tokenizer_make(bft_error *err, bft_tokenizer **out, bft_recipe *recipe);

/* The vocabulary of the recipe's source, a vocab.txt: from its cache, or its entries from its bytes, which are read into
 * `text` and must stay. */
bft_status bft_recipe_read_vocab(bft_error *err, bft_recipe *recipe, bft_buffer *text);

/* All but max_length from tokenizer.json, parsed; `size` is that of the file, `json` must stay. The entries are left out
 * where the vocabulary is there. */
bft_status bft_recipe_read_json(bft_error *err, bft_recipe *recipe, json_t *json, size_t size);

/* An added token as configurations write it: {"content": "a", "lstrip": true, ...}. What isn't said is false, but
 * `normalized`, which is then true of tokens that aren't special. `special`: it is, whatever is said. */
bft_status bft_recipe_read_token(bft_error *err, const bft_recipe *recipe, const json_t *json, bool special,
                                 bft_added_token *token);

#endif
