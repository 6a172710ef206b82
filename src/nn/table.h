/* table.h: the word embeddings: a read-only base, most often mapped from the file, and a slab of live rows.
 *
 * A row becomes live when training first touches it: its values move into a slot of the slab, and the base's copy is
 * no longer read. Slots are given in the order of first touch. Without training there is no slab at all. The moments
 * and the lag of live rows belong to the optimizer (train/optimizer.h), which uses the same slots.
 *
 * To a remote device rows of the base go many at a time; for inference the whole base moves there, where it fits. */
#ifndef BFT_NN_TABLE_H
#define BFT_NN_TABLE_H

#include "bertft/model.h"

typedef struct bft_table {
    size_t vocabulary, channels;
    const bft_tensor *base; /* (V, C) of any dtype */
    bft_backend backend;
    size_t slots, slot_limit;
    uint32_t *slot_of; /* (V) 0: not live, else slot + 1; NULL before bft_table_reserve */
    uint32_t *word_of; /* (slot_limit) the word in each slot */
    void *slab;        /* (slot_limit, C) reals on the device */
    void *whole;       /* (V, C) reals on the device, all of the base; NULL: rows are read from the base one by one */
    bool whole_finite; /* no row of it needs to be checked */
    bool whole_lent;   /* it is another's memory */
    char *stage;       /* rows of the base on their way to a remote device; NULL where it isn't one */
} bft_table;

bft_status bft_table_create(bft_error *err, bft_table *table, const bft_tensor *base, bft_backend backend);
void bft_table_free(bft_table *table); /* also fine on {0} */

/* For inference: brings the whole base to a remote device, unless it would take more than half of what is free there. */
void bft_table_hold(bft_table *table);

/* A view of rows that lie on the device already, finite ones, where training changes them all at each step: `rows` (V, C) reals.
 * `base` is where they came from; NULL: nowhere. */
void bft_table_view(bft_table *table, void *rows, size_t vocabulary, size_t channels, const bft_tensor *base,
                    bft_backend backend);

/* Room for `slots` live rows. Once, before the first bft_table_wake. */
bft_status bft_table_reserve(bft_error *err, bft_table *table, size_t slots);

/* Makes the words live that aren't, and gives their slots, (count). */
bft_status bft_table_wake(bft_error *err, bft_table *table, const uint32_t *words, size_t count, uint32_t *slots);

static inline bool bft_table_is_live(const bft_table *table, uint32_t word) {
    return table->slot_of != NULL && table->slot_of[word] != 0;
}

/* Fails, naming the row, where a base row among `words` isn't finite. Before rows are computed with; copying them needs
 * no such check. */
bft_status bft_table_check(bft_error *err, const bft_table *table, const uint32_t *words, size_t count);

/* Copies the rows of `words` as they are, slab or base, into `rows` (count, C) reals on the device. */
void bft_table_read(const bft_table *table, const uint32_t *words, size_t count, void *rows);

/* The same from the base alone, whether they are live or not. */
void bft_table_read_base(const bft_table *table, const uint32_t *words, size_t count, void *rows);

/* How a session gets its word rows. Training puts a reader of its own in place, which shows lagging rows caught up. */
typedef struct bft_row_reader {
    void (*read)(void *context, const uint32_t *words, size_t count, void *rows);
    void *context;
} bft_row_reader;

/* The plain one: bft_table_read. */
bft_row_reader bft_table_reader(const bft_table *table);

#endif
