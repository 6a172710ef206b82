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
    return ops->alloc(err, table->backend.device, (slots + 1) * table->channels * ops->real, &table->slab);
}

/* The base's row; 16-bit values are finite unless their exponent is all ones. */
static bft_status base_row(bft_error *err, const bft_table *table, uint32_t word, const void **row) {
    const bft_tensor *base = table->base;
    size_t channels = table->channels;
    *row = (const char *)base->data + (size_t)word * channels * bft_dtype_size(base->dtype);
    bool finite = true;
    if (base->dtype == BFT_F32) {
        const float *values = *row;
        for (size_t i = 0; i < channels; i++) {
            finite &= isfinite(values[i]) != 0;
        }
    } else {
        const uint16_t *values = *row;
        uint16_t exponent = base->dtype == BFT_F16 ? 0x7C00 : 0x7F80;
        for (size_t i = 0; i < channels; i++) {
            finite &= (values[i] & exponent) != exponent;
        }
    }
    if (!finite) {
        return bft_error_set(err, BFT_BAD, "%s: tensor %s: row %u holds a value that is not a finite number",
                             base->file, base->name, word);
    }
    return BFT_OK;
}

static void *slab_row(const bft_table *table, size_t slot) {
    return (char *)table->slab + slot * table->channels * table->backend.ops->real;
}

bft_status bft_table_wake(bft_error *err, bft_table *table, const uint32_t *words, size_t count, uint32_t *slots) {
    for (size_t i = 0; i < count; i++) {
        uint32_t word = words[i];
        if (table->slot_of[word] == 0) {
            if (table->slots == table->slot_limit) {
                return bft_error_set(err, BFT_FAILED, "the table of live rows is full: %zu rows", table->slots);
            }
            const void *row;
            BFT_TRY(base_row(err, table, word, &row));
            table->backend.ops->to_device(table->backend.device, table->base->dtype, row, slab_row(table, table->slots),
                                          table->channels);
            table->word_of[table->slots] = word;
            table->slot_of[word] = (uint32_t)++table->slots;
        }
        slots[i] = table->slot_of[word] - 1;
    }
    return BFT_OK;
}

bft_status bft_table_read(bft_error *err, const bft_table *table, const uint32_t *words, size_t count, void *rows) {
    const bft_ops *ops = table->backend.ops;
    bft_device *device = table->backend.device;
    for (size_t i = 0; i < count; i++) {
        void *out = (char *)rows + i * table->channels * ops->real;
        if (bft_table_is_live(table, words[i])) {
            uint32_t slot = table->slot_of[words[i]] - 1, zero = 0;
            ops->gather_forward(
                device,
                &(bft_gather){
                    .rows = 1, .channels = table->channels, .index = &zero, .x = slab_row(table, slot), .y = out});
        } else {
            const void *row;
            BFT_TRY(base_row(err, table, words[i], &row));
            ops->to_device(device, table->base->dtype, row, out, table->channels);
        }
    }
    return BFT_OK;
}

static bft_status read_rows(bft_error *err, void *context, const uint32_t *words, size_t count, void *rows) {
    return bft_table_read(err, context, words, count, rows);
}

bft_row_reader bft_table_reader(const bft_table *table) {
    return (bft_row_reader){read_rows, (void *)(uintptr_t)table};
}
