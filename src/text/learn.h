/* learn.h: from words and their counts to the pieces of a WordPiece vocabulary. */
#ifndef BFT_TEXT_LEARN_H
#define BFT_TEXT_LEARN_H

#include "bertft/vocab.h"
#include "text/bag.h"

/* Appends pieces to `tokens`, which holds the special ones, until there are setup->size, or nothing is left to merge. The
 * result depends on what the words are and how often, not on their order. */
bft_status bft_learn(bft_error *err, bft_bag *words, const bft_learner_setup *setup,
                     const bft_learner_progress *progress, bft_bag *tokens);

#endif
