/* table.c: base rows, live rows, and the map between words and slots. */
#include "nn/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void bft_table_create(bft_table *table, const bft_tensor *base, bft_backend backend) {
    *table = (bft_table){.vocabulary = base->shape[0], .channels = base->shape[1], .base = base, .backend = backend};
}

void bft_table_free(bft_table *table) {
    free(table->slot_of);
    free(table->word_of);
    if (table->slab != NULL) {
        table->backend.ops->free(table->backend.device, table->slab);
    }
    *table = (bft_table){0};
}

bft_status bft_table_reserve(bft_error *err, bft_table *table, size_t slots) {
    table->slot_of = calloc(table->vocabulary, sizeof *table->slot_of);
    table->word_of = calloc(slots + 1, sizeof *table->word_of);
    if (table->slot_of == NULL || table->word_of == NULL) {
        return bft_error_memory(err, (table->vocabulary + slots) * sizeof *table->slot_of);
    }
    table->slot_limit = slots;
    const bft_ops *ops = table->backend.ops;
    return ops->alloc(err, table->backend.device, slots * table->channels * ops->real, &table->slab);
}

static const void *base_row(const bft_table *table, uint32_t word) {
    const bft_tensor *base = table->base;
    return (const char *)base->data + (size_t)word * table->channels * bft_dtype_size(base->dtype);
}

/* 16-bit values are finite unless their exponent is all ones. */
static bool is_finite(const void *row, bft_dtype type, size_t count) {
    bool finite = true;
    if (type == BFT_F32) {
        const float *values = row;
        for (size_t i = 0; i < count; i++) {
            finite &= isfinite(values[i]) != 0;
        }
        return finite;
    }
    const uint16_t *values = row;
    uint16_t exponent = type == BFT_F16 ? 0x7C00 : 0x7F80;
    for (size_t i = 0; i < count; i++) {
        finite &= (values[i] & exponent) != exponent;
    }
    return finite;
}

bft_status bft_table_check(bft_error *err, const bft_table *table, const uint32_t *words, size_t count) {
    const bft_tensor *base = table->base;
    for (size_t i = 0; i < count; i++) {
        if (!bft_table_is_live(table, words[i]) &&
            !is_finite(base_row(table, words[i]), base->dtype, table->channels)) {
            return bft_error_set(err, BFT_BAD, "%s: tensor %s: row %u holds a value that is not a finite number",
                                 base->file, base->name, words[i]);
        }
    }
    return BFT_OK;
}

enum { RUN = 512 }; /* live rows that one gather takes */

static void *slab_row(const bft_table *table, size_t slot) {
    return (char *)table->slab + slot * table->channels * table->backend.ops->real;
}

bft_status bft_table_wake(bft_error *err, bft_table *table, const uint32_t *words, size_t count, uint32_t *slots) {
    BFT_TRY(bft_table_check(err, table, words, count));
    for (size_t i = 0; i < count; i++) {
        uint32_t word = words[i];
        if (table->slot_of[word] == 0) {
            if (table->slots == table->slot_limit) {
                return bft_error_set(err, BFT_FAILED, "the table of live rows is full: %zu rows", table->slots);
            }
            table->backend.ops->to_device(table->backend.device, table->base->dtype, base_row(table, word),
                                          slab_row(table, table->slots), table->channels);
            table->word_of[table->slots] = word;
            table->slot_of[word] = (uint32_t)++table->slots;
        }
        slots[i] = table->slot_of[word] - 1;
    }
    return BFT_OK;
}

/* How many of the words, from the first on, are live; their slots. */
static size_t live_run(const bft_table *table, const uint32_t *words, size_t count, uint32_t slots[RUN]) {
    size_t run = 0;
    for (; run < count && run < RUN && bft_table_is_live(table, words[run]); run++) {
        slots[run] = table->slot_of[words[run]] - 1;
    }
    return run;
}

void bft_table_read(const bft_table *table, const uint32_t *words, size_t count, void *rows) {
    const bft_ops *ops = table->backend.ops;
    bft_device *device = table->backend.device;
    uint32_t slots[RUN];
    for (size_t i = 0; i < count;) {
        void *out = (char *)rows + i * table->channels * ops->real;
        size_t run = live_run(table, words + i, count - i, slots);
        if (run > 0) {
            bft_gather live = {
                .rows = run, .channels = table->channels, .real = true, .index = slots, .x = table->slab, .y = out};
            ops->gather_forward(device, &live);
            i += run;
        } else {
            ops->to_device(device, table->base->dtype, base_row(table, words[i]), out, table->channels);
            i++;
        }
    }
}

static void read_rows(void *context, const uint32_t *words, size_t count, void *rows) {
    bft_table_read(context, words, count, rows);
}

bft_row_reader bft_table_reader(const bft_table *table) {
    return (bft_row_reader){read_rows, (void *)(uintptr_t)table};
}
