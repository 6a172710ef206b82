/* advice.h: what would fit, where a card's memory is too small for what was asked for. */
#ifndef BFT_TRAIN_ADVICE_H
#define BFT_TRAIN_ADVICE_H

#include "nn/network.h"
#include "train/sampler.h"

/* After a training session could not be made: adds to the error which batch, with how much accumulation and in which
 * precision, would fit into the memory that is free. `longest`: a session has room for a text of so many tokens at least. Returns
 * the error's status. */
bft_status bft_advise_batch(bft_error *err, const bft_model *model, const bft_sampler *sampler, size_t longest);

#endif
