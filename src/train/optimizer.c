/* optimizer.c: gradients in, new weights out; and the bookkeeping of lagging rows. */
#include "train/optimizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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
    for (uint32_t word = 0; word < table->vocabulary; word++) {
        uint32_t slot;
        BFT_TRY(bft_table_wake(err, table, &word, 1, &slot));
    }
    return alloc_reals(err, o, table->vocabulary * table->channels, &o->table_grad);
}

static bft_status create_rows(bft_error *err, bft_optimizer *o, size_t batch_words, size_t step_words) {
    bft_table *table = &o->model->table;
    size_t channels = table->channels;
    o->batch_rows = batch_words;
    o->row_limit = step_words;
    BFT_TRY(bft_table_reserve(err, table, o->slots));
    BFT_TRY(alloc_reals(err, o, (o->slots + 1) * channels, &o->row_m));
    BFT_TRY(alloc_reals(err, o, (o->slots + 1) * channels, &o->row_v));
    BFT_TRY(alloc_words(err, o->slots, &o->last));
    BFT_TRY(alloc_words(err, o->slots, &o->row_of_slot));
    BFT_TRY(alloc_words(err, step_words, &o->slot));
    BFT_TRY(alloc_words(err, batch_words, &o->batch_slot));
    BFT_TRY(alloc_words(err, batch_words, &o->batch_index));
    BFT_TRY(alloc_reals(err, o, step_words * channels, &o->row_grad));
    BFT_TRY(alloc_reals(err, o, batch_words * channels, &o->batch_grad));
    return o->dense_table ? wake_all(err, o) : BFT_OK;
}

bft_status bft_optimizer_create(bft_error *err, bft_optimizer *o, bft_model *model, const bft_config *config,
                                uint32_t total_steps, size_t words, size_t batch_words, size_t step_words) {
    bool table = !model->params.embeddings_frozen;
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
    void *const blocks[] = {o->grad, o->m, o->v, o->row_m, o->row_v, o->row_grad, o->batch_grad, o->table_grad};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        if (blocks[i] != NULL) {
            backend->ops->free(backend->device, blocks[i]);
        }
    }
    free(o->history);
    free(o->last);
    free(o->slot);
    free(o->row_of_slot);
    free(o->batch_slot);
    free(o->batch_index);
    *o = (bft_optimizer){0};
}

/* ---- Lagging rows ---- */

static bft_adamw_rows describe_rows(const bft_optimizer *o, size_t rows, const uint32_t *slots, uint32_t now) {
    return (bft_adamw_rows){.beta1 = o->beta1,
                            .beta2 = o->beta2,
                            .eps = o->eps,
                            .scale = 1,
                            .rows = rows,
                            .channels = o->model->table.channels,
                            .history = o->history,
                            .now = now,
                            .slot = slots,
                            .last = o->last,
                            .p = o->model->table.slab,
                            .m = o->row_m,
                            .v = o->row_v};
}

/* A live row that is current, as all of a training batch are. */
static bool is_current(const bft_optimizer *o, uint32_t word) {
    const bft_table *table = &o->model->table;
    return bft_table_is_live(table, word) && o->last[table->slot_of[word] - 1] == o->step;
}

/* A row as of the last step. A live one comes out of the replay as a copy. One that training never touched has missed
 * every step: it is replayed from the spare slot behind the live ones, whose moments stay zero. */
static void read_lagging(const bft_optimizer *o, uint32_t word, void *out) {
    const bft_table *table = &o->model->table;
    const bft_backend *backend = &o->model->backend;
    uint32_t slot = (uint32_t)o->slots;
    if (bft_table_is_live(table, word)) {
        slot = table->slot_of[word] - 1;
    } else {
        bft_table_read(table, &word, 1, (char *)table->slab + slot * table->channels * backend->ops->real);
    }
    bft_adamw_rows replay = describe_rows(o, 1, &slot, o->step);
    replay.copy = out;
    backend->ops->adamw_rows(backend->device, &replay);
}

static void read_caught_up(void *context, const uint32_t *words, size_t count, void *rows) {
    const bft_optimizer *o = context;
    size_t row_bytes = o->model->table.channels * o->model->backend.ops->real;
    for (size_t i = 0; i < count;) {
        size_t run = 0;
        while (i + run < count && is_current(o, words[i + run])) {
            run++;
        }
        if (run > 0) {
            bft_table_read(&o->model->table, words + i, run, (char *)rows + i * row_bytes);
        } else {
            read_lagging(o, words[i], (char *)rows + i * row_bytes);
            run = 1;
        }
        i += run;
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
        bft_adamw_rows replay = describe_rows(o, batch->words, o->batch_slot, o->step);
        o->model->backend.ops->adamw_rows(o->model->backend.device, &replay);
    }
    return BFT_OK;
}

/* ---- A step ---- */

void bft_optimizer_begin(bft_optimizer *o) {
    const bft_backend *backend = &o->model->backend;
    backend->ops->fill_zero(backend->device, o->grad, o->model->params.size * backend->ops->real);
    for (size_t row = 0; row < o->rows; row++) {
        o->row_of_slot[o->slot[row]] = 0;
    }
    o->rows = 0;
}

/* The first micro-batch of a step writes its rows where the step's rows are; most steps have no other. */
bft_gradients bft_optimizer_gradients(const bft_optimizer *o) {
    return (bft_gradients){o->grad, !o->table ? NULL : o->rows == 0 ? o->row_grad : o->batch_grad};
}

void bft_optimizer_collect(bft_optimizer *o, const bft_batch *batch) {
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
                          .index = o->slot,
                          .dy = o->row_grad,
                          .dx = o->table_grad};
    backend->ops->gather_backward(backend->device, &scatter);
}

/* The factor of torch.nn.utils.clip_grad_norm_, over all gradients of the step. */
static double clip_factor(bft_optimizer *o) {
    const bft_backend *backend = &o->model->backend;
    double squares = backend->ops->sum_squares(backend->device, o->grad, o->model->params.size);
    if (o->table) {
        squares += backend->ops->sum_squares(backend->device, o->row_grad, o->rows * o->model->table.channels);
    }
    o->norm = (float)sqrt(squares);
    double factor = o->clip > 0 ? o->clip / (sqrt(squares) + 1e-6) : 1;
    return factor < 1 ? factor : 1;
}

static void update_dense(const bft_optimizer *o, double scale) {
    const bft_model *model = o->model;
    bft_adamw op = {.beta1 = o->beta1, .beta2 = o->beta2, .eps = o->eps, .scale = scale, .step = o->history[o->step]};
    for (size_t i = 0; i < model->params.count; i++) {
        const bft_param *param = &model->params.list[i];
        if (param->sparse || param->frozen) {
            continue;
        }
        op.count = param->count;
        op.decay = param->decay;
        op.p = bft_model_at(model, model->values, param->offset);
        op.m = bft_model_at(model, o->m, param->offset);
        op.v = bft_model_at(model, o->v, param->offset);
        op.grad = bft_model_at(model, o->grad, param->offset);
        model->backend.ops->adamw(model->backend.device, &op);
    }
}

static void update_table(bft_optimizer *o, double scale) {
    const bft_model *model = o->model;
    if (!o->dense_table) {
        bft_adamw_rows op = describe_rows(o, o->rows, o->slot, o->step);
        op.scale = scale;
        op.grad = o->row_grad;
        model->backend.ops->adamw_rows(model->backend.device, &op);
        return;
    }
    scatter_table_gradient(o);
    bft_adamw op = {.beta1 = o->beta1,
                    .beta2 = o->beta2,
                    .eps = o->eps,
                    .scale = scale,
                    .count = o->slots * model->table.channels,
                    .decay = true,
                    .step = o->history[o->step],
                    .p = model->table.slab,
                    .m = o->row_m,
                    .v = o->row_v,
                    .grad = o->table_grad};
    model->backend.ops->adamw(model->backend.device, &op);
}

bft_status bft_optimizer_finish(bft_error *err, bft_optimizer *o, double lr) {
    double scale = clip_factor(o);
    if (!isfinite(o->norm)) {
        return bft_error_set(err, BFT_FAILED, "step %u: the gradient is not finite; a smaller OPTIM.LR may help",
                             o->step + 1);
    }
    double before = o->history[o->step].decay_product;
    o->step++;
    o->history[o->step] = (bft_adamw_step){.lr = lr,
                                           .weight_decay = o->weight_decay,
                                           .correction1 = 1 - pow(o->beta1, o->step),
                                           .correction2 = 1 - pow(o->beta2, o->step),
                                           .decay_product = before * (1 - lr * o->weight_decay)};
    update_dense(o, scale);
    if (o->table) {
        update_table(o, scale);
    }
    return o->model->backend.ops->fault(err, o->model->backend.device);
}
