/* vocab.h: learning a WordPiece vocabulary from text, as Hugging Face's WordPieceTrainer does: from letters on, the most
 * frequent pair of neighbouring pieces becomes a piece, until the vocabulary is full. */
#ifndef BERTFT_VOCAB_H
#define BERTFT_VOCAB_H

#include "bertft/error.h"
#include "bertft/tokenizer.h"

typedef struct bft_learner_setup {
    bft_normalizer normalizer; /* training and encoding see the same words */
    size_t size;               /* tokens at most, [PAD] [UNK] [CLS] [SEP] [MASK] with the ids 0 to 4 among them */
    size_t min_count;          /* a pair that stands in the text less often than this isn't merged */
    size_t alphabet;           /* so many different characters at most: the most frequent ones */
} bft_learner_setup;

bft_learner_setup bft_learner_defaults(void); /* uncased, 30,522 tokens, counted twice or more, 1,000 characters */

typedef struct bft_learner bft_learner; /* the words met so far */

bft_status bft_learner_create(bft_error *err, bft_learner **out, const bft_learner_setup *setup);
void bft_learner_destroy(bft_learner *learner); /* NULL is fine */

/* Counts the words of one text: any bytes, broken UTF-8 is read as U+FFFD. Words of more than 100 characters are left out:
 * they are unknown to BERT's WordPiece whatever its vocabulary. Memory grows with the number of different words. */
bft_status bft_learner_add(bft_error *err, bft_learner *learner, const char *text, size_t length);

typedef struct bft_learner_counts {
    uint64_t words; /* counted in all */
    size_t different;
    uint64_t left_out; /* too long */
} bft_learner_counts;
bft_learner_counts bft_learner_count(const bft_learner *learner);

/* Told how many tokens there are after each merge. */
typedef struct bft_learner_progress {
    void (*show)(void *context, size_t tokens, size_t size);
    void *context;
} bft_learner_progress;

/* Learns, and makes a tokenizer of the vocabulary, for bft_tokenizer_save. The same words with the same counts give the same
 * vocabulary, in whatever order and from however many texts they came. Texts without words, and a size with no room for the
 * alphabet, are errors. `progress` may be NULL. */
bft_status bft_learner_finish(bft_error *err, bft_learner *learner, const bft_learner_progress *progress,
                              bft_tokenizer **out);

#endif
