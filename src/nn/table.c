/* table.c: base rows, live rows, and the map between words and slots. */
#include "nn/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RUN = 512, STAGE_ROWS = 2048 }; /* rows that one gather takes; that one copy takes */

static size_t base_row_bytes(const bft_table *table) {
    return table->channels * bft_dtype_size(table->base->dtype);
}

bft_status bft_table_create(bft_error *err, bft_table *table, const bft_tensor *base, bft_backend backend) {
    *table = (bft_table){.vocabulary = base->shape[0], .channels = base->shape[1], .base = base, .backend = backend};
    if (backend.ops->remote) {
        table->stage = calloc(STAGE_ROWS, base_row_bytes(table));
    }
    return backend.ops->remote && table->stage == NULL ? bft_error_memory(err, STAGE_ROWS * base_row_bytes(table))
                                                       : BFT_OK;
}

void bft_table_free(bft_table *table) {
    free(table->slot_of);
    free(table->word_of);
    free(table->stage);
    if (table->slab != NULL) {
        table->backend.ops->free(table->backend.device, table->slab);
    }
    if (table->whole != NULL && !table->whole_lent) {
        table->backend.ops->free(table->backend.device, table->whole);
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
    return (const char *)table->base->data + (size_t)word * base_row_bytes(table);
}

/* One more in the exponent carries into the sign where it was all ones, which infinity and NaN have. */
static bool is_finite(const void *row, bft_dtype type, size_t count) {
    enum { SIDE_BY_SIDE = 16 }; /* so many, and it becomes vectors */
    if (type == BFT_F32) {
        const uint32_t *bits = row;
        uint32_t carried[SIDE_BY_SIDE] = {0};
        size_t i = 0;
        for (; i + SIDE_BY_SIDE <= count; i += SIDE_BY_SIDE) {
            for (size_t j = 0; j < SIDE_BY_SIDE; j++) {
                carried[j] |= (bits[i + j] & 0x7FFFFFFFu) + 0x00800000u;
            }
        }
        for (size_t j = 1; j < SIDE_BY_SIDE; j++) {
            carried[0] |= carried[j];
        }
        for (; i < count; i++) {
            carried[0] |= (bits[i] & 0x7FFFFFFFu) + 0x00800000u;
        }
        return carried[0] >> 31 == 0;
    }
    const uint16_t *bits = row;
    uint16_t one = type == BFT_F16 ? 0x0400 : 0x0080, carried = 0;
    for (size_t i = 0; i < count; i++) {
        carried = (uint16_t)(carried | ((bits[i] & 0x7FFF) + one));
    }
    return carried >> 15 == 0;
}

bft_status bft_table_check(bft_error *err, const bft_table *table, const uint32_t *words, size_t count) {
    const bft_tensor *base = table->base;
    for (size_t i = 0; i < count && !table->whole_finite; i++) {
        if (!bft_table_is_live(table, words[i]) &&
            !is_finite(base_row(table, words[i]), base->dtype, table->channels)) {
            return bft_error_set(err, BFT_BAD, "%s: tensor %s: row %u holds a value that is not a finite number",
                                 base->file, base->name, words[i]);
        }
    }
    return BFT_OK;
}

/* ---- Copying ---- */

static void *row_of(const bft_table *table, void *rows, size_t row) {
    return (char *)rows + row * table->channels * table->backend.ops->real;
}

void bft_table_hold(bft_table *table) {
    const bft_ops *ops = table->backend.ops;
    bft_device *device = table->backend.device;
    size_t bytes = table->vocabulary * table->channels * ops->real, room, total;
    bft_error ignored;
    ops->memory(device, &room, &total);
    if (!ops->remote || bytes > room / 2 || ops->alloc(&ignored, device, bytes, &table->whole) != BFT_OK) {
        table->whole = NULL;
        return;
    }
    table->whole_finite = true;
    for (size_t word = 0; word < table->vocabulary; word += STAGE_ROWS) {
        size_t rows = table->vocabulary - word < STAGE_ROWS ? table->vocabulary - word : STAGE_ROWS;
        const void *base = base_row(table, (uint32_t)word);
        table->whole_finite &= is_finite(base, table->base->dtype, rows * table->channels);
        ops->to_device(device, table->base->dtype, base, row_of(table, table->whole, word), rows * table->channels);
        bft_tensor_release(table->base, word * table->channels, rows * table->channels);
    }
}

void bft_table_view(bft_table *table, void *rows, size_t vocabulary, size_t channels, const bft_tensor *base,
                    bft_backend backend) {
    *table = (bft_table){.vocabulary = vocabulary,
                         .channels = channels,
                         .base = base,
                         .backend = backend,
                         .whole = rows,
                         .whole_finite = true,
                         .whole_lent = true};
}

void bft_table_read_base(const bft_table *table, const uint32_t *words, size_t count, void *rows) {
    const bft_backend *backend = &table->backend;
    bft_dtype type = table->base->dtype;
    size_t at_once = table->stage != NULL ? STAGE_ROWS : 1, row_bytes = base_row_bytes(table);
    for (size_t at = 0; at < count; at += at_once) {
        size_t taken = count - at < at_once ? count - at : at_once;
        for (size_t i = 0; i < taken && table->stage != NULL; i++) {
            memcpy(table->stage + i * row_bytes, base_row(table, words[at + i]), row_bytes);
        }
        backend->ops->to_device(backend->device, type, table->stage != NULL ? table->stage : base_row(table, words[at]),
                                row_of(table, rows, at), taken * table->channels);
    }
}

bft_status bft_table_wake(bft_error *err, bft_table *table, const uint32_t *words, size_t count, uint32_t *slots) {
    BFT_TRY(bft_table_check(err, table, words, count));
    size_t awake = table->slots;
    for (size_t i = 0; i < count; i++) {
        uint32_t word = words[i];
        if (table->slot_of[word] == 0) {
            if (table->slots == table->slot_limit) {
                return bft_error_set(err, BFT_FAILED, "the table of live rows is full: %zu rows", table->slots);
            }
            table->word_of[table->slots] = word;
            table->slot_of[word] = (uint32_t)++table->slots;
        }
        slots[i] = table->slot_of[word] - 1;
    }
    bft_table_read_base(table, table->word_of + awake, table->slots - awake, row_of(table, table->slab, awake));
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

static size_t base_run(const bft_table *table, const uint32_t *words, size_t count) {
    size_t run = 0;
    while (run < count && !bft_table_is_live(table, words[run])) {
        run++;
    }
    return run;
}

static void gather(const bft_table *table, const void *from, const uint32_t *index, size_t count, void *rows) {
    bft_gather op = {.rows = count, .channels = table->channels, .real = true, .index = index, .x = from, .y = rows};
    table->backend.ops->gather_forward(table->backend.device, &op);
}

void bft_table_read(const bft_table *table, const uint32_t *words, size_t count, void *rows) {
    if (table->whole != NULL) {
        gather(table, table->whole, words, count, rows);
        return;
    }
    uint32_t slots[RUN];
    for (size_t i = 0; i < count;) {
        size_t live = live_run(table, words + i, count - i, slots), run = live;
        if (live > 0) {
            gather(table, table->slab, slots, live, row_of(table, rows, i));
        } else {
            run = base_run(table, words + i, count - i);
            bft_table_read_base(table, words + i, run, row_of(table, rows, i));
        }
        i += run;
    }
}

static void read_rows(void *context, const uint32_t *words, size_t count, void *rows) {
    bft_table_read(context, words, count, rows);
}

bft_row_reader bft_table_reader(const bft_table *table) {
    return (bft_row_reader){read_rows, (void *)(uintptr_t)table};
}
