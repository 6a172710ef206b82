/* batch.c: packed batches: sequences laid end to end, with the distinct words of the batch beside them.
 *
 * A batch is one block of memory cut into arrays at creation. Adding a sequence touches its own tokens only: the map
 * from word id to row covers the whole vocabulary and is cleared through the list of words that it holds. */
#include "bertft/data.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* What one batch needs, in 4-byte items. False where the counts can't be held in 32-bit rows or the sum overflows. */
static bool count_items(size_t batch_limit, size_t token_limit, size_t classes, size_t vocabulary, size_t *items) {
    if (batch_limit >= UINT32_MAX || token_limit >= UINT32_MAX || vocabulary >= UINT32_MAX) {
        return false;
    }
    size_t words = token_limit < vocabulary ? token_limit : vocabulary;
    size_t by_sequence, targets;
    if (__builtin_mul_overflow(batch_limit, (size_t)3, &by_sequence) ||
        __builtin_mul_overflow(batch_limit, classes, &targets) || __builtin_add_overflow(by_sequence, targets, items) ||
        __builtin_add_overflow(*items, 5 * token_limit, items)) {
        return false;
    }
    return !__builtin_add_overflow(*items, words + vocabulary + 1, items);
}

bft_status bft_batch_create(bft_error *err, bft_batch *batch, size_t batch_limit, size_t token_limit, size_t classes,
                            size_t vocabulary) {
    *batch = (bft_batch){
        .batch_limit = batch_limit, .token_limit = token_limit, .classes = classes, .vocabulary = vocabulary};
    size_t items;
    if (!count_items(batch_limit, token_limit, classes, vocabulary, &items)) {
        return bft_error_set(err, BFT_BAD, "a batch of %zu sequences, %zu tokens and %zu classes is too large",
                             batch_limit, token_limit, classes);
    }
    uint32_t *next = calloc(items, sizeof *next);
    if (next == NULL) {
        return bft_error_memory(err, (unsigned long long)items * sizeof *next);
    }
    batch->memory = next;
    batch->start = batch->first = next; /* `first` is `start` read without its end */
    batch->sample = next += batch_limit + 1;
    batch->target = next += batch_limit;
    batch->targets = (float *)(next += batch_limit);
    batch->word_row = next += batch_limit * classes;
    batch->position = next += token_limit;
    batch->token_sample = next += token_limit;
    batch->masked_row = next += token_limit;
    batch->masked_target = next += token_limit;
    batch->word = next += token_limit;
    batch->row_of_word = next + (token_limit < vocabulary ? token_limit : vocabulary);
    return BFT_OK;
}

void bft_batch_free(bft_batch *batch) {
    free(batch->memory);
    *batch = (bft_batch){0};
}

void bft_batch_clear(bft_batch *batch) {
    for (size_t i = 0; i < batch->words; i++) {
        batch->row_of_word[batch->word[i]] = 0;
    }
    batch->batch = batch->tokens = batch->words = batch->longest = batch->masked = 0;
}

/* The row of `id` among the batch's words, a new one at its first occurrence. */
static uint32_t word_row(bft_batch *batch, uint32_t id) {
    assert(id < batch->vocabulary);
    if (batch->row_of_word[id] == 0) {
        batch->word[batch->words++] = id;
        batch->row_of_word[id] = (uint32_t)batch->words;
    }
    return batch->row_of_word[id] - 1;
}

bool bft_batch_add(bft_batch *batch, bft_sample sample, uint32_t index_in_global_batch) {
    assert(sample.length > 0);
    if (batch->batch == batch->batch_limit || sample.length > batch->token_limit - batch->tokens) {
        return false;
    }
    for (size_t i = 0; i < sample.length; i++) {
        size_t row = batch->tokens + i;
        batch->word_row[row] = word_row(batch, sample.ids[i]);
        batch->position[row] = (uint32_t)i;
        batch->token_sample[row] = index_in_global_batch;
    }
    for (size_t i = 0; i < sample.masked; i++) {
        batch->masked_row[batch->masked] = (uint32_t)(batch->tokens + sample.masked_place[i]);
        batch->masked_target[batch->masked++] = sample.masked_target[i];
    }
    size_t index = batch->batch++;
    batch->tokens += sample.length;
    batch->start[index + 1] = (uint32_t)batch->tokens; /* start[0] is 0 for good */
    batch->sample[index] = index_in_global_batch;
    batch->target[index] = sample.target;
    if (sample.targets != NULL) {
        memcpy(batch->targets + index * batch->classes, sample.targets, batch->classes * sizeof *batch->targets);
    }
    if (sample.length > batch->longest) {
        batch->longest = sample.length;
    }
    return true;
}
