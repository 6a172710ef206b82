/* tokenizer.h: WordPiece with BERT's normalisation; ids equal to those of Hugging Face tokenizers (fast). */
#ifndef BERTFT_TOKENIZER_H
#define BERTFT_TOKENIZER_H

#include "bertft/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bft_tokenizer bft_tokenizer; /* constant once made: many threads may encode with one */

/* BertNormalizer of tokenizers. */
typedef struct bft_normalizer {
    bool clean_text, chinese_chars, strip_accents, lowercase;
} bft_normalizer;

/* From a model folder: tokenizer.json where there is one, else vocab.txt; casing, special tokens and the maximum
 * length from tokenizer_config.json and special_tokens_map.json. A normalizer in tokenizer.json wins over
 * tokenizer_config.json; its truncation and padding blocks are ignored; unknown components are refused by name.
 * A vocabulary of 20,000 tokens or more is compiled once and then mapped, from FILE.bertft-cache beside the file that it
 * came from or, where that folder can't be written to, from the user's cache folder. */
bft_status bft_tokenizer_open(bft_error *err, bft_tokenizer **out, const char *folder);

/* From a vocab.txt alone. Special tokens that it lacks get ids behind it, as in transformers; [UNK] must be there. */
bft_status bft_tokenizer_from_vocab(bft_error *err, bft_tokenizer **out, const char *path, bft_normalizer normalizer);
void bft_tokenizer_destroy(bft_tokenizer *tokenizer); /* NULL is fine */

/* Ids of one text, or of a pair (second != NULL), special tokens included: [CLS] a [SEP], [CLS] a [SEP] b [SEP], cut
 * to `limit` ids (0: no limit) as tokenizers' longest_first truncation does. Texts are byte runs and may hold NULs;
 * broken UTF-8 is read as U+FFFD. types are 1 for b and its [SEP], else 0. The result lies in `scratch` until its next
 * use: one encoding a thread, created zeroed, freed by bft_encoding_free. A limit too small for the special tokens is
 * an error. */
typedef struct bft_encoding {
    uint32_t *ids;
    uint8_t *types;
    size_t count;
    struct bft_encoding_scratch *scratch; /* the tokenizer's own */
} bft_encoding;

bft_status bft_tokenizer_encode(bft_error *err, const bft_tokenizer *tokenizer, const char *text, size_t length,
                                const char *second, size_t second_length, size_t limit, bft_encoding *encoding);
void bft_encoding_free(bft_encoding *encoding);

/* Many single texts at once, on the threads of a pool (NULL: on this one): for each the ids that bft_tokenizer_encode
 * gives, in the order of the texts. They stay until the next use of `out`, which is created zeroed and kept for further
 * calls, so that these need no memory of their own. */
struct bft_pool;
typedef struct bft_string {
    const char *data;
    size_t length;
} bft_string;

typedef struct bft_encodings {
    struct bft_encoded {
        const uint32_t *ids;
        size_t count;
    } * texts;
    size_t count;
    struct bft_encodings_scratch *scratch; /* the tokenizer's own */
} bft_encodings;

bft_status bft_tokenizer_encode_all(bft_error *err, const bft_tokenizer *tokenizer, struct bft_pool *pool,
                                    const bft_string *texts, size_t count, size_t limit, bft_encodings *out);
void bft_encodings_free(bft_encodings *encodings);

size_t bft_tokenizer_size(const bft_tokenizer *tokenizer);       /* ids are below this */
size_t bft_tokenizer_max_length(const bft_tokenizer *tokenizer); /* model_max_length, or SIZE_MAX */
/* The token's text, NUL-terminated, or NULL for an id without a token. */
const char *bft_tokenizer_token(const bft_tokenizer *tokenizer, uint32_t id);

/* What a token is, for whoever masks words of a text. */
typedef enum bft_piece {
    BFT_PIECE_NONE, /* nothing of a text's own: an id without a token, a special token, [UNK], [unused7] */
    BFT_PIECE_WORD, /* a word, or the beginning of one */
    BFT_PIECE_TAIL  /* goes on with a word: ##ing */
} bft_piece;

/* A bft_piece for each id, into (bft_tokenizer_size). */
void bft_tokenizer_pieces(const bft_tokenizer *tokenizer, uint8_t *pieces);
bool bft_tokenizer_mask(const bft_tokenizer *tokenizer, uint32_t *id); /* of [MASK]; false: there is none */

/* Writes vocab.txt, tokenizer.json, tokenizer_config.json and special_tokens_map.json into `folder`, so that
 * AutoTokenizer of transformers and bft_tokenizer_open give the same ids. */
bft_status bft_tokenizer_save(bft_error *err, const bft_tokenizer *tokenizer, const char *folder);

#endif
