/* text_queue.h: texts that wait to be tokenized, many at once: read on one thread, turned into ids on all of them. */
#ifndef BFT_DATA_TEXT_QUEUE_H
#define BFT_DATA_TEXT_QUEUE_H

#include "base/buffer.h"
#include "base/thread.h"
#include "bertft/tokenizer.h"
#include "data/field.h"

/* Gets each text's ids, special tokens included, in the order in which the texts were added. */
typedef bft_status bft_take_ids(bft_error *err, void *context, const uint32_t *ids, size_t count);

/* Create zeroed but for the first five. */
typedef struct bft_text_queue {
    const bft_tokenizer *tokenizer;
    size_t limit; /* of ids a text; 0: none */
    int threads;  /* 0: all processors */
    bft_take_ids *take;
    void *context;
    bft_pool *pool;     /* made when there is work for it */
    bft_buffer texts;   /* of those that wait */
    bft_buffer waiting; /* bft_string: those texts, once the buffer has stopped moving */
    bft_encodings encodings;
} bft_text_queue;

/* Copies the text; where enough of them wait, they are tokenized and taken. */
bft_status bft_text_queue_add(bft_error *err, bft_text_queue *queue, bft_field text);
bft_status bft_text_queue_finish(bft_error *err, bft_text_queue *queue); /* all that still wait */
void bft_text_queue_free(bft_text_queue *queue);

#endif
