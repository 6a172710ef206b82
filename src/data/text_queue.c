/* text_queue.c: gathering texts, and tokenizing what has been gathered. */
#include "data/text_queue.h"

enum { WORTH_THREADS = 1 << 17, MOST_WAITING = 1 << 21 }; /* bytes of texts */

bft_status bft_text_queue_finish(bft_error *err, bft_text_queue *queue) {
    bft_string *texts = (bft_string *)(void *)queue->waiting.data;
    size_t count = queue->waiting.length / sizeof *texts;
    for (size_t i = 0, at = 0; i < count; at += texts[i++].length) {
        texts[i].data = queue->texts.data + at;
    }
    if (queue->pool == NULL && queue->texts.length >= WORTH_THREADS) {
        BFT_TRY(bft_pool_create(err, &queue->pool, queue->threads));
    }
    BFT_TRY(
        bft_tokenizer_encode_all(err, queue->tokenizer, queue->pool, texts, count, queue->limit, &queue->encodings));
    for (size_t i = 0; i < count; i++) {
        const struct bft_encoded *text = &queue->encodings.texts[i];
        BFT_TRY(queue->take(err, queue->context, text->ids, text->count));
    }
    bft_buffer_clear(&queue->texts);
    bft_buffer_clear(&queue->waiting);
    return BFT_OK;
}

bft_status bft_text_queue_add(bft_error *err, bft_text_queue *queue, bft_field text) {
    bft_string waiting = {.length = text.length};
    BFT_TRY(bft_buffer_append(err, &queue->texts, text.bytes, text.length));
    BFT_TRY(bft_buffer_append(err, &queue->waiting, &waiting, sizeof waiting));
    bool full = queue->texts.length >= MOST_WAITING || queue->waiting.length >= MOST_WAITING;
    return full ? bft_text_queue_finish(err, queue) : BFT_OK;
}

void bft_text_queue_free(bft_text_queue *queue) {
    bft_buffer_free(&queue->texts);
    bft_buffer_free(&queue->waiting);
    bft_encodings_free(&queue->encodings);
    bft_pool_destroy(queue->pool);
}
