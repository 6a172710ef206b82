/* advice.c: plans smaller batches without making them; see advice.h. */
#include "train/advice.h"

#include "base/buffer.h"

#include <stdio.h>
#include <string.h>

/* The memory of a session for batches of at most `texts` texts. */
static bft_status measure(bft_error *err, const bft_model *model, const bft_sampler *sampler, size_t texts,
                          size_t longest, size_t *bytes) {
    bft_sampler smaller = *sampler;
    size_t tokens;
    smaller.batch_size = texts;
    BFT_TRY(bft_sampler_token_limit(err, &smaller, &tokens));
    return bft_session_measure(err, model, texts, tokens > longest ? tokens : longest, bytes);
}

/* The largest of the batch, its half, its quarter, ... that fits into `room`; 0: none. */
static bft_status find_batch(bft_error *err, const bft_model *model, const bft_sampler *sampler, size_t longest,
                             size_t room, size_t *texts) {
    size_t bytes, most = bft_dataset_size(sampler->data);
    for (*texts = sampler->batch_size; *texts > 0; *texts /= 2) {
        BFT_TRY(measure(err, model, sampler, *texts < most ? *texts : most, longest, &bytes));
        if (bytes <= room) {
            break;
        }
    }
    return BFT_OK;
}

static bft_status say(bft_error *err, bft_buffer *out, const char *precision, size_t texts,
                      const bft_sampler *sampler) {
    size_t accumulate = sampler->accumulate * (sampler->batch_size / texts);
    return bft_buffer_printf(err, out, "%s%sTRAIN.BATCH_SIZE %zu with TRAIN.ACCUMULATE %zu",
                             out->length > 0 ? ", or " : "", precision, texts, accumulate);
}

/* The same batches with values of 16 bits, whose rounded weights take memory too. */
static bft_status advise_bf16(bft_error *err, bft_buffer *out, const bft_model *model, const bft_sampler *sampler,
                              size_t longest, size_t room) {
    const bft_ops *ops = model->backend.ops;
    char name[64];
    bft_model rounded = *model;
    size_t weights = model->params.size * bft_dtype_size(BFT_BF16), texts;
    snprintf(name, sizeof name, "%s-bf16", ops->name);
    if (ops->values != BFT_F32 || bft_ops_find(err, name, &rounded.backend.ops) != BFT_OK || weights > room) {
        return BFT_OK;
    }
    BFT_TRY(find_batch(err, &rounded, sampler, longest, room - weights, &texts));
    return texts > 0 ? say(err, out, "TRAIN.PRECISION bf16 and ", texts, sampler) : BFT_OK;
}

static bft_status advise(bft_error *err, bft_buffer *out, const bft_model *model, const bft_sampler *sampler,
                         size_t longest) {
    size_t room, total, texts;
    model->backend.ops->memory(model->backend.device, &room, &total);
    room -= room / 16; /* a step asks for a little more: room for its products, for graphs */
    BFT_TRY(find_batch(err, model, sampler, longest, room, &texts));
    if (texts == sampler->batch_size) { /* it isn't this memory that was missing */
        return BFT_OK;
    }
    if (texts > 0) {
        BFT_TRY(say(err, out, "", texts, sampler));
    }
    BFT_TRY(advise_bf16(err, out, model, sampler, longest, room));
    return bft_buffer_printf(err, out,
                             out->length > 0 ? " would fit"
                                             : "not one text would fit beside the model and its optimizer; "
                                               "a shorter DATA.MAX_LENGTH needs less");
}

bft_status bft_advise_batch(bft_error *err, const bft_model *model, const bft_sampler *sampler, size_t longest) {
    bft_error failure = *err, ignored;
    bft_buffer advice = {0};
    if (advise(&ignored, &advice, model, sampler, longest) == BFT_OK && advice.length > 0) {
        bft_error_set(err, failure.status, "%s; %s", failure.message, advice.data);
    }
    bft_buffer_free(&advice);
    return err->status;
}
