/* checkpoint.c: the file's layout, written and read in the same order.
 *
 *   header    fixed fields, below
 *   dense     values, m, v: params.size floats each
 *   rows      slab, m, v: slots * C floats each; last, word: slots uint32 each
 *   history   step + 1 entries
 *   sum       CRC-32 of all before */
#include "train/checkpoint.h"

#include "base/file.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static const char magic[8] = "BFTCKPT1";

enum { PIECE = 4096 };

typedef struct header {
    char magic[8], backend[24];                  /* backend: the kernels' name, since bits are a backend's own */
    uint64_t fingerprint, size, slots, channels; /* params.size; live rows */
    bft_progress progress;
} header;

uint64_t bft_fingerprint(uint64_t sum, const void *bytes, size_t length) {
    const unsigned char *b = bytes;
    sum ^= 0xcbf29ce484222325u;
    for (size_t i = 0; i < length; i++) {
        sum = (sum ^ b[i]) * 0x100000001b3u;
    }
    return sum;
}

/* ---- Writing ---- */

typedef struct output {
    bft_writer *writer;
    uLong sum;
} output;

static bft_status put(bft_error *err, output *out, const void *bytes, size_t length) {
    out->sum = crc32_z(out->sum, bytes, length);
    return bft_writer_write(err, out->writer, bytes, length);
}

static bft_status put_reals(bft_error *err, output *out, const bft_backend *backend, const void *reals, size_t count) {
    float piece[PIECE];
    for (size_t at = 0; at < count; at += PIECE) {
        size_t part = count - at < PIECE ? count - at : PIECE;
        backend->ops->to_host(backend->device, (const char *)reals + at * backend->ops->real, piece, part);
        BFT_TRY(put(err, out, piece, part * sizeof *piece));
    }
    return BFT_OK;
}

static size_t live_rows(const bft_optimizer *o) {
    return o->table ? o->model->table.slots : 0;
}

static bft_status put_all(bft_error *err, output *out, const bft_progress *progress, const bft_optimizer *o,
                          uint64_t fingerprint) {
    const bft_model *model = o->model;
    const bft_backend *backend = &model->backend;
    size_t slots = live_rows(o), reals = slots * model->table.channels;
    header head = {.fingerprint = fingerprint,
                   .size = model->params.size,
                   .slots = slots,
                   .channels = model->table.channels,
                   .progress = *progress};
    memcpy(head.magic, magic, sizeof magic);
    snprintf(head.backend, sizeof head.backend, "%s", backend->ops->name);
    BFT_TRY(put(err, out, &head, sizeof head));
    BFT_TRY(put_reals(err, out, backend, model->values, model->params.size));
    BFT_TRY(put_reals(err, out, backend, o->m, model->params.size));
    BFT_TRY(put_reals(err, out, backend, o->v, model->params.size));
    BFT_TRY(put_reals(err, out, backend, model->table.slab, reals));
    BFT_TRY(put_reals(err, out, backend, o->row_m, reals));
    BFT_TRY(put_reals(err, out, backend, o->row_v, reals));
    if (slots > 0) {
        BFT_TRY(put(err, out, o->last, slots * sizeof *o->last));
        BFT_TRY(put(err, out, model->table.word_of, slots * sizeof *model->table.word_of));
    }
    BFT_TRY(put(err, out, o->history, ((size_t)o->step + 1) * sizeof *o->history));
    uint32_t sum = (uint32_t)out->sum;
    return bft_writer_write(err, out->writer, &sum, sizeof sum);
}

bft_status bft_checkpoint_write(bft_error *err, const char *path, const bft_progress *progress, const bft_optimizer *o,
                                uint64_t fingerprint) {
    output out = {.sum = crc32(0, NULL, 0)};
    BFT_TRY(bft_writer_open(err, &out.writer, path));
    bft_status status = put_all(err, &out, progress, o, fingerprint);
    if (status != BFT_OK) {
        bft_writer_discard(out.writer);
        return status;
    }
    return bft_writer_commit(err, out.writer);
}

/* ---- Reading: the whole file is checked first, then taken over ---- */

/* A checkpoint of ours, whole. */
static bft_status check_sum(bft_error *err, const bft_map *map, header *head) {
    uint32_t sum;
    if (map->size < sizeof *head + sizeof sum || memcmp(map->data, magic, sizeof magic) != 0) {
        return bft_error_set(err, BFT_BAD, "%s: is not a checkpoint of this version of bertft", map->path);
    }
    memcpy(head, map->data, sizeof *head);
    memcpy(&sum, map->data + map->size - sizeof sum, sizeof sum);
    if ((uint32_t)crc32_z(crc32(0, NULL, 0), map->data, map->size - sizeof sum) != sum) {
        return bft_error_set(err, BFT_BAD, "%s: the checkpoint is damaged: its sum doesn't fit", map->path);
    }
    return BFT_OK;
}

bft_status bft_checkpoint_summarize(bft_error *err, const char *path, bft_checkpoint_summary *out) {
    bft_map map;
    header head = {0};
    BFT_TRY(bft_map_open(err, &map, path));
    bft_status status = check_sum(err, &map, &head);
    bft_map_close(&map);
    *out = (bft_checkpoint_summary){head.progress, (size_t)head.size, (size_t)head.slots};
    return status;
}

/* One that this run can go on from. */
static bft_status check(bft_error *err, const bft_map *map, const bft_optimizer *o, uint64_t fingerprint,
                        header *head) {
    BFT_TRY(check_sum(err, map, head));
    if (head->fingerprint != fingerprint) {
        return bft_error_set(
            err, BFT_BAD,
            "%s: was made with other data, settings or weights than are there now; restore them, or start a new run",
            map->path);
    }
    bool fits = head->size == o->model->params.size && head->channels == o->model->table.channels &&
                head->slots <= (o->table ? o->slots : 0) && head->progress.step <= o->total;
    size_t floats = 3 * (size_t)head->size + (fits ? 3 * (size_t)head->slots * (size_t)head->channels : 0);
    size_t expected = sizeof *head + floats * sizeof(float) + (size_t)head->slots * 2 * sizeof(uint32_t) +
                      ((size_t)head->progress.step + 1) * sizeof *o->history + sizeof(uint32_t);
    if (!fits || expected != map->size) {
        return bft_error_set(err, BFT_BAD, "%s: its sizes don't fit this run", map->path);
    }
    return BFT_OK;
}

static void warn_of_other_kernels(const char *path, const header *head, const bft_optimizer *o) {
    const char *now = o->model->backend.ops->name;
    const char *precision = memmem(head->backend, sizeof head->backend, "-bf16", 5); /* no part of the device's name */
    int device = (int)(precision != NULL ? (size_t)(precision - head->backend) : sizeof head->backend);
    if (strncmp(head->backend, now, sizeof head->backend) != 0) {
        bft_log_warning(
            "%s: was computed by %.24s, goes on with %s: the last bits will differ; --device %.*s keeps them", path,
            head->backend, now, device, head->backend);
    }
}

typedef struct input {
    const unsigned char *at;
} input;

static void get(input *in, void *out, size_t length) {
    memcpy(out, in->at, length);
    in->at += length;
}

static void get_reals(input *in, const bft_backend *backend, void *reals, size_t count) {
    float piece[PIECE];
    for (size_t at = 0; at < count; at += PIECE) {
        size_t part = count - at < PIECE ? count - at : PIECE;
        get(in, piece, part * sizeof *piece);
        backend->ops->to_device(backend->device, BFT_F32, piece, (char *)reals + at * backend->ops->real, part);
    }
}

/* The words in slot order: each below V, none twice, and no row ahead of the optimizer. */
static bft_status take_slots(bft_error *err, const char *path, const bft_optimizer *o, size_t slots) {
    bft_table *table = &o->model->table;
    if (table->slot_of != NULL) {
        memset(table->slot_of, 0, table->vocabulary * sizeof *table->slot_of);
    }
    if (o->dense_table && slots != o->slots) {
        return bft_error_set(err, BFT_BAD, "%s: holds %zu rows of the embedding table, not all", path, slots);
    }
    table->slots = slots;
    for (size_t slot = 0; slot < slots; slot++) {
        uint32_t word = table->word_of[slot];
        if ((o->dense_table && word != slot) || word >= table->vocabulary || table->slot_of[word] != 0 ||
            o->last[slot] > o->step) {
            return bft_error_set(err, BFT_BAD, "%s: row %zu of the embedding table is out of place", path, slot);
        }
        table->slot_of[word] = (uint32_t)slot + 1;
    }
    return BFT_OK;
}

bft_status bft_checkpoint_read(bft_error *err, const char *path, bft_progress *progress, bft_optimizer *o,
                               uint64_t fingerprint) {
    bft_map map;
    header head;
    BFT_TRY(bft_map_open(err, &map, path));
    bft_status status = check(err, &map, o, fingerprint, &head);
    if (status == BFT_OK) {
        warn_of_other_kernels(path, &head, o);
        const bft_model *model = o->model;
        const bft_backend *backend = &model->backend;
        size_t slots = (size_t)head.slots, reals = slots * model->table.channels;
        input in = {map.data + sizeof head};
        get_reals(&in, backend, model->values, model->params.size);
        get_reals(&in, backend, o->m, model->params.size);
        get_reals(&in, backend, o->v, model->params.size);
        get_reals(&in, backend, model->table.slab, reals);
        get_reals(&in, backend, o->row_m, reals);
        get_reals(&in, backend, o->row_v, reals);
        if (slots > 0) {
            get(&in, o->last, slots * sizeof *o->last);
            get(&in, model->table.word_of, slots * sizeof *model->table.word_of);
        }
        get(&in, o->history, ((size_t)head.progress.step + 1) * sizeof *o->history);
        o->step = (uint32_t)head.progress.step;
        bft_optimizer_share_history(o, 0, o->step);
        bft_model_round_weights(o->model);
        *progress = head.progress;
        status = take_slots(err, path, o, slots);
    }
    bft_map_close(&map);
    return status;
}
