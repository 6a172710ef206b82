/* masker.h: masked copies of samples, for a masked language model.
 *
 * Whole words are masked (Devlin et al., "BERT: Pre-training of deep bidirectional transformers", 2019, appendix A.1, and the
 * authors' later "whole word masking"): of a sample's n pieces that are text, max(1, round(rate n)) are to be masked; its words
 * are taken in a random order, those that would make it more are passed over, and where none fits the first is taken. Of the
 * masked pieces 80 % become [MASK], 10 % a random token, 10 % stay. Special tokens and [UNK] are never masked.
 *
 * Which ones follows from seed, epoch and the sample's index: nothing else, so that there is no state to save. */
#ifndef BFT_DATA_MASKER_H
#define BFT_DATA_MASKER_H

#include "bertft/data.h"

typedef struct bft_masker bft_masker;

/* For samples of at most `max_length` ids. The tokenizer must have a [MASK], and may go afterwards. */
bft_status bft_masker_create(bft_error *err, bft_masker **out, const bft_tokenizer *tokenizer, double rate,
                             uint64_t seed, size_t max_length);
void bft_masker_destroy(bft_masker *masker); /* NULL is fine */

/* The sample with masked ids, and which they are; it lies in the masker until the next call. */
bft_sample bft_masker_draw(bft_masker *masker, bft_sample sample, uint64_t epoch, uint32_t index);

/* How many pieces bft_masker_draw would mask. */
size_t bft_masker_count(bft_masker *masker, bft_sample sample, uint64_t epoch, uint32_t index);

#endif
