/* optimizer.c: gradients in, new weights out; and the bookkeeping of lagging rows. */
#include "train/optimizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RUN = 512 }; /* rows that are read at a time */

static bft_status alloc_reals(bft_error *err, const bft_optimizer *o, size_t count, void **out) {
    const bft_backend *backend = &o->model->backend;
    size_t bytes;
    if (__builtin_mul_overflow(count, backend->ops->real, &bytes)) {
        return bft_error_memory(err, SIZE_MAX);
    }
    return backend->ops->alloc(err, backend->device, bytes, out);
}

static bft_status alloc_words(bft_error *err, size_t count, uint32_t **out) {
    *out = calloc(count + 1, sizeof **out);
    return *out == NULL ? bft_error_memory(err, (count + 1) * sizeof **out) : BFT_OK;
}

/* The dense table wakes every word once and for all, word w in slot w. */
static bft_status wake_all(bft_error *err, bft_optimizer *o) {
    bft_table *table = &o->model->table;
    uint32_t words[RUN], slots[RUN];
    for (size_t at = 0, count; at < table->vocabulary; at += count) {
        count = table->vocabulary - at < RUN ? table->vocabulary - at : RUN;
        for (size_t i = 0; i < count; i++) {
            words[i] = (uint32_t)(at + i);
        }
        BFT_TRY(bft_table_wake(err, table, words, count, slots));
    }
    o->table_tensor = (bft_adamw_tensor){0, table->vocabulary * table->channels, true};
    return alloc_reals(err, o, o->table_tensor.count, &o->table_grad);
}

static bft_status create_rows(bft_error *err, bft_optimizer *o, size_t batch_words, size_t step_words) {
    bft_table *table = &o->model->table;
    size_t channels = table->channels;
    o->batch_rows = batch_words;
    o->row_limit = step_words;
    BFT_TRY(bft_table_reserve(err, table, o->slots));
    BFT_TRY(alloc_reals(err, o, o->slots * channels, &o->row_m));
    BFT_TRY(alloc_reals(err, o, o->slots * channels, &o->row_v));
    BFT_TRY(alloc_words(err, o->slots, &o->last));
    BFT_TRY(alloc_words(err, o->slots, &o->row_of_slot));
    BFT_TRY(alloc_words(err, step_words, &o->slot));
    BFT_TRY(alloc_words(err, step_words, &o->slot_last));
    BFT_TRY(alloc_words(err, batch_words, &o->batch_slot));
    BFT_TRY(alloc_words(err, batch_words, &o->batch_index));
    BFT_TRY(alloc_reals(err, o, step_words * channels, &o->row_grad));
    BFT_TRY(alloc_reals(err, o, batch_words * channels, &o->batch_grad));
    return o->dense_table ? wake_all(err, o) : BFT_OK;
}

/* The dense tensors that train. */
static bft_status list_tensors(bft_error *err, bft_optimizer *o) {
    const bft_params *params = &o->model->params;
    o->tensors = calloc(params->count, sizeof *o->tensors);
    if (o->tensors == NULL) {
        return bft_error_memory(err, params->count * sizeof *o->tensors);
    }
    for (size_t i = 0; i < params->count; i++) {
        const bft_param *param = &params->list[i];
        if (!param->sparse && !param->frozen) {
            o->tensors[o->tensor_count++] = (bft_adamw_tensor){param->offset, param->count, param->decay};
        }
    }
    return BFT_OK;
}

bft_status bft_optimizer_create(bft_error *err, bft_optimizer *o, bft_model *model, const bft_config *config,
                                uint32_t total_steps, size_t words, size_t batch_words, size_t step_words) {
    bool table = !model->params.embeddings_frozen && model->head != BFT_HEAD_MASKED; /* whose table is dense */
    bool dense_table = table && bft_config_bool(config, "OPTIM.DENSE_EMBEDDINGS");
    *o = (bft_optimizer){.model = model,
                         .beta1 = bft_config_list_number(config, "OPTIM.BETAS", 0),
                         .beta2 = bft_config_list_number(config, "OPTIM.BETAS", 1),
                         .eps = bft_config_float(config, "OPTIM.EPS"),
                         .weight_decay = bft_config_float(config, "OPTIM.WEIGHT_DECAY"),
                         .clip = bft_config_float(config, "OPTIM.CLIP"),
                         .table = table,
                         .dense_table = dense_table,
                         .total = total_steps,
                         .slots = dense_table ? model->table.vocabulary : words};
    o->history = calloc((size_t)total_steps + 1, sizeof *o->history);
    if (o->history == NULL) {
        return bft_error_memory(err, ((size_t)total_steps + 1) * sizeof *o->history);
    }
    o->history[0].decay_product = 1;
    const bft_backend *backend = &model->backend;
    void *steps = NULL, *norm = NULL;
    BFT_TRY(backend->ops->alloc(err, backend->device, ((size_t)total_steps + 2) * sizeof *o->history, &steps));
    o->device_history = steps;
    BFT_TRY(backend->ops->alloc(err, backend->device, sizeof *o->norm, &norm));
    o->norm = norm;
    bft_optimizer_share_history(o, 0, 0);
    BFT_TRY(list_tensors(err, o));
    BFT_TRY(alloc_reals(err, o, model->params.size, &o->grad));
    BFT_TRY(alloc_reals(err, o, model->params.size, &o->m));
    BFT_TRY(alloc_reals(err, o, model->params.size, &o->v));
    return table ? create_rows(err, o, batch_words, step_words) : BFT_OK;
}

void bft_optimizer_free(bft_optimizer *o) {
    if (o->model == NULL) {
        return;
    }
    const bft_backend *backend = &o->model->backend;
    void *const blocks[] = {o->grad, o->m,        o->v,          o->row_m,      o->row_v,
                            o->norm, o->row_grad, o->batch_grad, o->table_grad, o->device_history};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        if (blocks[i] != NULL) {
            backend->ops->free(backend->device, blocks[i]);
        }
    }
    free(o->history);
    free(o->tensors);
    free(o->slot_last);
    free(o->last);
    free(o->slot);
    free(o->row_of_slot);
    free(o->batch_slot);
    free(o->batch_index);
    *o = (bft_optimizer){0};
}

void bft_optimizer_share_history(bft_optimizer *o, uint32_t first, uint32_t last) {
    const bft_backend *backend = &o->model->backend;
    backend->ops->write(backend->device, o->device_history + first, o->history + first,
                        ((size_t)last - first + 1) * sizeof *o->history);
}

/* ---- Lagging rows ---- */

static bft_adamw_rows describe_rows(const bft_optimizer *o, size_t rows, const uint32_t *slots, const uint32_t *last,
                                    uint32_t now) {
    return (bft_adamw_rows){.beta1 = o->beta1,
                            .beta2 = o->beta2,
                            .eps = o->eps,
                            .rows = rows,
                            .channels = o->model->table.channels,
                            .history = o->device_history,
                            .now = now,
                            .slot = slots,
                            .last = last,
                            .p = o->model->table.slab,
                            .m = o->row_m,
                            .v = o->row_v};
}

/* Rows that never trained, into their places among `rows`. The others are still to be written: to a remote device they all go, in
 * one copy. */
static void read_untrained(const bft_table *table, const uint32_t *words, const uint32_t *slots, size_t count,
                           void *rows) {
    size_t row_bytes = table->channels * table->backend.ops->real, run;
    for (size_t i = 0; i < count; i += run) {
        bool untrained = slots[i] == BFT_NO_SLOT;
        run = untrained && table->backend.ops->remote ? count - i : 1;
        if (untrained) {
            bft_table_read_base(table, &words[i], run, (char *)rows + i * row_bytes);
        }
    }
}

/* A live row is copied out of the slab and replayed. One that training never touched comes from the base, and has missed
 * every step. */
static void read_run(const bft_optimizer *o, const uint32_t *words, size_t count, void *rows) {
    const bft_table *table = &o->model->table;
    const bft_backend *backend = &o->model->backend;
    uint32_t slots[RUN], last[RUN];
    bool current = true;
    for (size_t i = 0; i < count; i++) {
        bool live = bft_table_is_live(table, words[i]);
        slots[i] = live ? table->slot_of[words[i]] - 1 : BFT_NO_SLOT;
        last[i] = live ? o->last[slots[i]] : 0;
        current = current && last[i] == o->step;
    }
    if (current) { /* as in a training step */
        bft_table_read(table, words, count, rows);
        return;
    }
    read_untrained(table, words, slots, count, rows);
    bft_adamw_rows replay = describe_rows(o, count, slots, last, o->step);
    replay.copy = rows;
    backend->ops->adamw_rows(backend->device, &replay);
}

static void read_caught_up(void *context, const uint32_t *words, size_t count, void *rows) {
    const bft_optimizer *o = context;
    size_t row_bytes = o->model->table.channels * o->model->backend.ops->real;
    for (size_t i = 0; i < count; i += RUN) {
        read_run(o, words + i, count - i < RUN ? count - i : RUN, (char *)rows + i * row_bytes);
    }
}

bft_row_reader bft_optimizer_reader(bft_optimizer *o) {
    return o->table && !o->dense_table ? (bft_row_reader){read_caught_up, o} : bft_table_reader(&o->model->table);
}

bft_status bft_optimizer_prepare(bft_error *err, bft_optimizer *o, const bft_batch *batch) {
    if (!o->table) {
        return BFT_OK;
    }
    bft_table *table = &o->model->table;
    size_t awake = table->slots;
    BFT_TRY(bft_table_wake(err, table, batch->word, batch->words, o->batch_slot));
    for (size_t slot = awake; slot < table->slots; slot++) {
        o->last[slot] = 0; /* the base's row is the state at the start: every step so far has been missed */
    }
    if (!o->dense_table) {
        uint32_t *last = o->batch_index; /* free until the batch is collected */
        for (size_t i = 0; i < batch->words; i++) {
            last[i] = o->last[o->batch_slot[i]];
            o->last[o->batch_slot[i]] = o->step;
        }
        bft_adamw_rows replay = describe_rows(o, batch->words, o->batch_slot, last, o->step);
        o->model->backend.ops->adamw_rows(o->model->backend.device, &replay);
    }
    return BFT_OK;
}

/* ---- A step ---- */

/* The first micro-batch overwrites the gradients of linear layers' weights, which are most of the block. */
static bool is_overwritten(const bft_param *param) {
    return param->decay && param->layer != BFT_LAYER_EMBEDDINGS;
}

/* Zeros where gradients are added up from the start. Many small fills cost a card more than one of all. */
static void clear_gradients(bft_optimizer *o) {
    const bft_backend *backend = &o->model->backend;
    const bft_params *params = &o->model->params;
    size_t from = 0;
    for (size_t i = 0; i < params->count && !backend->ops->remote; i++) {
        const bft_param *param = &params->list[i];
        if (is_overwritten(param)) {
            backend->ops->fill_zero(backend->device, bft_model_at(o->model, o->grad, from),
                                    (param->offset - from) * backend->ops->real);
            from = param->offset + param->count;
        }
    }
    backend->ops->fill_zero(backend->device, bft_model_at(o->model, o->grad, from),
                            (params->size - from) * backend->ops->real);
    o->fresh = true;
}

void bft_optimizer_begin(bft_optimizer *o) {
    clear_gradients(o);
    for (size_t row = 0; row < o->rows; row++) {
        o->row_of_slot[o->slot[row]] = 0;
    }
    o->rows = 0;
}

/* The first micro-batch of a step writes its rows where the step's rows are; most steps have no other. */
bft_gradients bft_optimizer_gradients(const bft_optimizer *o) {
    void *words = !o->table ? NULL : o->rows == 0 ? o->row_grad : o->batch_grad;
    return (bft_gradients){o->grad, words, o->fresh && !o->model->backend.ops->remote};
}

void bft_optimizer_collect(bft_optimizer *o, const bft_batch *batch) {
    o->fresh = false;
    if (!o->table) {
        return;
    }
    const bft_backend *backend = &o->model->backend;
    size_t channels = o->model->table.channels, row_bytes = channels * backend->ops->real;
    bool first = o->rows == 0;
    for (size_t i = 0; i < batch->words; i++) {
        uint32_t slot = o->batch_slot[i];
        if (o->row_of_slot[slot] == 0) {
            if (!first) {
                backend->ops->fill_zero(backend->device, (char *)o->row_grad + o->rows * row_bytes, row_bytes);
            }
            o->slot[o->rows] = slot;
            o->row_of_slot[slot] = (uint32_t)++o->rows;
        }
        o->batch_index[i] = o->row_of_slot[slot] - 1;
    }
    if (!first) {
        bft_gather add = {.rows = batch->words,
                          .channels = channels,
                          .real = true,
                          .index = o->batch_index,
                          .dy = o->batch_grad,
                          .dx = o->row_grad};
        backend->ops->gather_backward(backend->device, &add);
    }
}

/* The dense table's gradient: this step's rows, zero elsewhere. Slot and word are the same number there. */
static void scatter_table_gradient(bft_optimizer *o) {
    const bft_backend *backend = &o->model->backend;
    size_t count = o->slots * o->model->table.channels;
    backend->ops->fill_zero(backend->device, o->table_grad, count * backend->ops->real);
    bft_gather scatter = {.rows = o->rows,
                          .channels = o->model->table.channels,
                          .real = true,
                          .index = o->slot,
                          .dy = o->row_grad,
                          .dx = o->table_grad};
    backend->ops->gather_backward(backend->device, &scatter);
}

static void measure(const bft_optimizer *o) {
    bft_norm op = {.x = {o->grad, o->table ? o->row_grad : NULL},
                   .count = {o->model->params.size, o->rows * o->model->table.channels},
                   .limit = o->clip,
                   .step = o->step,
                   .result = o->norm};
    o->model->backend.ops->norm(o->model->backend.device, &op);
}

static bft_adamw describe_dense(const bft_optimizer *o) {
    return (bft_adamw){
        .beta1 = o->beta1, .beta2 = o->beta2, .eps = o->eps, .norm = o->norm, .step = o->device_history + o->total + 1};
}

static void update_dense(const bft_optimizer *o) {
    const bft_model *model = o->model;
    bft_adamw op = describe_dense(o);
    op.tensors = o->tensors;
    op.tensor_count = o->tensor_count;
    op.p = model->values;
    op.m = o->m;
    op.v = o->v;
    op.grad = o->grad;
    op.values = model->weights == model->values ? NULL : model->weights;
    model->backend.ops->adamw(model->backend.device, &op);
}

static void update_rows(bft_optimizer *o) {
    for (size_t i = 0; i < o->rows; i++) {
        o->slot_last[i] = o->last[o->slot[i]];
        o->last[o->slot[i]] = o->step;
    }
    bft_adamw_rows op = describe_rows(o, o->rows, o->slot, o->slot_last, o->step);
    op.norm = o->norm;
    op.grad = o->row_grad;
    o->model->backend.ops->adamw_rows(o->model->backend.device, &op);
}

static void update_dense_table(bft_optimizer *o) {
    const bft_model *model = o->model;
    scatter_table_gradient(o);
    bft_adamw op = describe_dense(o);
    op.tensors = &o->table_tensor;
    op.tensor_count = 1;
    op.p = model->table.slab;
    op.m = o->row_m;
    op.v = o->row_v;
    op.grad = o->table_grad;
    model->backend.ops->adamw(model->backend.device, &op);
}

bft_status bft_optimizer_finish(bft_error *err, bft_optimizer *o, double lr) {
    const bft_backend *backend = &o->model->backend;
    double before = o->history[o->step].decay_product;
    o->step++;
    o->history[o->step] = (bft_adamw_step){.lr = lr,
                                           .weight_decay = o->weight_decay,
                                           .correction1 = 1 - pow(o->beta1, o->step),
                                           .correction2 = 1 - pow(o->beta2, o->step),
                                           .decay_product = before * (1 - lr * o->weight_decay)};
    bft_optimizer_share_history(o, o->step, o->step);
    backend->ops->write(backend->device, o->device_history + o->total + 1, o->history + o->step, sizeof *o->history);
    backend->ops->begin(backend->device);
    measure(o);
    update_dense(o);
    if (o->dense_table) {
        update_dense_table(o);
    } else if (o->table) {
        update_rows(o);
    }
    backend->ops->end(backend->device);
    return backend->ops->fault(err, backend->device);
}

bft_status bft_optimizer_check(bft_error *err, const bft_optimizer *o, double *norm) {
    const bft_backend *backend = &o->model->backend;
    bft_norm_result result = {0};
    backend->ops->read(backend->device, o->norm, &result, sizeof result);
    BFT_TRY(backend->ops->fault(err, backend->device));
    if (result.failed != 0) {
        return bft_error_set(
            err, BFT_FAILED,
            "step %u: the loss or its gradient is not a finite number; a smaller OPTIM.LR or OPTIM.CLIP "
            "may help",
            result.failed);
    }
    if (norm != NULL) {
        *norm = result.norm;
    }
    return BFT_OK;
}
