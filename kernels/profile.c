/* profile.c: the wrapper that times ops; see profile.h. */
#include "kernels/profile.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_SHAPES = 8, MOST_ROWS = 64, PROBE = 64 };

/* The wrapper's device; `ops` is what the outside calls, `inner` does the work. */
struct bft_device {
    bft_ops ops;
    const bft_ops *inner;
    bft_device *device;
    void *probe; /* in remote memory: reading it waits for what is queued */
    double start;
    size_t count;
    bft_profile_row rows[MOST_ROWS];
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- Adding up ---- */

static void wait_for(bft_device *d) {
    char bytes[PROBE];
    if (d->probe != NULL) {
        d->inner->read(d->device, d->probe, bytes, sizeof bytes);
    }
}

static bool same_shape(const bft_profile_row *a, const bft_profile_row *b) {
    return a->in == b->in && a->out == b->out && a->activation == b->activation && a->form == b->form;
}

/* The row to add to. */
static bft_profile_row *find_row(bft_device *d, bft_profile_row *call) {
    size_t shapes = 0;
    for (size_t i = 0; i < d->count; i++) {
        bft_profile_row *row = &d->rows[i];
        bool same = strcmp(row->op, call->op) == 0 && strcmp(row->pass, call->pass) == 0;
        if (same && same_shape(row, call)) {
            return row;
        }
        shapes += same && row->in != 0;
    }
    if (shapes == MOST_SHAPES && call->in != 0) {
        call->in = call->out = 0;
        call->activation = BFT_IDENTITY;
        call->form = BFT_FORM_PLAIN;
        return find_row(d, call);
    }
    d->rows[d->count] = (bft_profile_row){.op = call->op,
                                          .pass = call->pass,
                                          .in = call->in,
                                          .out = call->out,
                                          .activation = call->activation,
                                          .form = call->form};
    return &d->rows[d->count++];
}

static void add(bft_device *d, double start, bft_profile_row call) {
    wait_for(d);
    double took = now() - start;
    bft_profile_row *row = find_row(d, &call);
    row->calls++;
    row->seconds += took;
    row->flops += call.flops;
    row->bytes += call.bytes;
}

/* ---- What an op computes and moves ---- */

static double product(size_t a, size_t b) {
    return (double)a * (double)b;
}

/* Multiply-adds. */
static double linear_products(const bft_linear *op) {
    return product(op->rows, op->in) * (double)op->out;
}

static double wanted_products(const bft_linear *op) {
    return ((op->dx != NULL) + (op->dweight != NULL)) * linear_products(op);
}

/* The sum of queries times keys, times channels. */
static double attention_pairs(const bft_attention *op) {
    double pairs = 0;
    for (size_t i = 0; i < op->batch; i++) {
        pairs += product(op->query_start[i + 1] - op->query_start[i], op->key_start[i + 1] - op->key_start[i]);
    }
    return pairs * (double)(op->heads * op->head_size);
}

/* Multiply-adds, but for those that are done twice. */
static double tied_products(const bft_tied_loss *op) {
    double one = product(op->rows, op->channels) * (double)op->vocabulary;
    return op->dx == NULL ? one : op->dtable == NULL ? 2 * one : 3 * one;
}

static double embed_gradients(const bft_embed *op) {
    double words = op->dword != NULL ? product(op->words, op->channels) : 0;
    return words + (op->dposition_table != NULL ? 2 * product(op->rows, op->channels) : 0);
}

static double norm_elements(const bft_norm *op) {
    size_t count = 0;
    for (size_t i = 0; i < BFT_NORM_BLOCKS; i++) {
        count += op->x[i] != NULL ? op->count[i] : 0;
    }
    return (double)count;
}

static double adamw_elements(const bft_adamw *op) {
    size_t count = 0;
    for (size_t i = 0; i < op->tensor_count; i++) {
        count += op->tensors[i].count;
    }
    return (double)count;
}

/* Accesses: rows that lag are read and written; the copy reads all three and writes one. */
static double adamw_rows_elements(const bft_adamw_rows *op) {
    size_t lagging = 0;
    for (size_t i = 0; i < op->rows; i++) {
        lagging += op->last[i] < op->now;
    }
    return op->copy != NULL ? 4 * product(op->rows, op->channels)
                            : (op->grad != NULL ? 7 : 6) * product(lagging, op->channels);
}

/* ---- The ops: function, its struct; the row's name and pass; then, with bytes r of a real and v of a value, flops and bytes ---- */
#define TIMED(function, type, name, direction, flop_count, byte_count)                                                 \
    static void function(bft_device *d, const type *op) {                                                              \
        double start = now(), r = (double)d->ops.real, v = (double)bft_ops_value_size(&d->ops);                        \
        d->inner->function(d->device, op);                                                                             \
        (void)r, (void)v;                                                                                              \
        add(d, start, (bft_profile_row){.op = name, .pass = direction, .flops = flop_count, .bytes = byte_count});     \
    }

TIMED(embed_forward, bft_embed, "embed", "forward", 0, product(op->rows, op->channels) * (2 * r + v))
TIMED(embed_backward, bft_embed, "embed", "backward", 0, product(op->rows, op->channels) * v + embed_gradients(op) * r)
TIMED(attention_forward, bft_attention, "attention", "forward", 4 * attention_pairs(op), 0)
TIMED(attention_backward, bft_attention, "attention", "backward", 10 * attention_pairs(op), 0)
TIMED(residual_norm_forward, bft_residual_norm, "residual_norm", "forward", 0, product(op->rows, op->channels) * 3 * v)
TIMED(residual_norm_backward, bft_residual_norm, "residual_norm", "backward", 0,
      product(op->rows, op->channels) * (op->dresidual == op->dx ? 2 : 3) * v)
TIMED(gather_forward, bft_gather, "gather", "forward", 0, product(op->rows, op->channels) * 2 * (op->real ? r : v))
TIMED(gather_backward, bft_gather, "gather", "backward", 0, product(op->rows, op->channels) * 3 * (op->real ? r : v))
TIMED(mean_forward, bft_mean, "mean", "forward", 0, product(op->start[op->batch] + op->batch, op->channels) * v)
TIMED(mean_backward, bft_mean, "mean", "backward", 0, product(op->start[op->batch] + op->batch, op->channels) * v)
TIMED(mask, bft_mask, "mask", "both", 0, product(op->rows, op->channels) * 2 * v)
TIMED(loss, bft_loss, "loss", "both", 0, product(op->batch, op->classes) * (op->dlogits != NULL ? 2 : 1) * r)
TIMED(tied_loss, bft_tied_loss, "tied_loss", "both", 2 * tied_products(op), 0)
TIMED(norm, bft_norm, "norm", "update", 0, norm_elements(op) * r)
TIMED(adamw, bft_adamw, "adamw", "update", 0, adamw_elements(op) * (7 * r + (op->values != NULL ? v : 0)))
TIMED(adamw_rows, bft_adamw_rows, "adamw_rows", "update", 0, adamw_rows_elements(op) * r)

/* For inference, weights in bfloat16 are widened and multiplied in fp32; in training both factors are rounded. */
static bft_form factors_of(const bft_device *d, const bft_linear *op) {
    bool rounds = op->form == BFT_FORM_PLAIN && !d->ops.remote && strstr(d->ops.name, "-bf16") != NULL;
    return op->form == BFT_FORM_INT8 ? BFT_FORM_INT8 : rounds ? BFT_FORM_BF16 : BFT_FORM_PLAIN;
}

static bft_profile_row linear_row(const bft_device *d, const bft_linear *op, const char *pass, double flops) {
    return (bft_profile_row){.op = "linear",
                             .pass = pass,
                             .in = op->in,
                             .out = op->out,
                             .activation = op->activation,
                             .form = factors_of(d, op),
                             .flops = flops};
}

static void linear_forward(bft_device *d, const bft_linear *op) {
    double start = now();
    d->inner->linear_forward(d->device, op);
    add(d, start, linear_row(d, op, "forward", 2 * linear_products(op)));
}

static void linear_backward(bft_device *d, const bft_linear *op) {
    double start = now();
    d->inner->linear_backward(d->device, op);
    add(d, start, linear_row(d, op, "backward", 2 * wanted_products(op)));
}

static bool prepare(bft_device *d, bft_form form, const bft_weight *weight, void *prepared) {
    double start = now(), read = product(weight->out * weight->in, d->ops.real);
    bool finite = d->inner->prepare(d->device, form, weight, prepared);
    double written = (double)d->ops.prepared_bytes(form, weight->out, weight->in);
    add(d, start, (bft_profile_row){.op = "prepare", .pass = "", .bytes = read + written});
    return finite;
}

/* ---- Memory ---- */

static void add_bytes(bft_device *d, double start, const char *name, double bytes) {
    add(d, start, (bft_profile_row){.op = name, .pass = "", .bytes = bytes});
}

static void fill_zero(bft_device *d, void *memory, size_t bytes) {
    double start = now();
    d->inner->fill_zero(d->device, memory, bytes);
    add_bytes(d, start, "fill_zero", (double)bytes);
}

static void write_bytes(bft_device *d, void *to, const void *host, size_t bytes) {
    double start = now();
    d->inner->write(d->device, to, host, bytes);
    add_bytes(d, start, "copies", 2 * (double)bytes);
}

static void read_bytes(bft_device *d, const void *from, void *host, size_t bytes) {
    double start = now();
    d->inner->read(d->device, from, host, bytes);
    add_bytes(d, start, "copies", 2 * (double)bytes);
}

static void to_device(bft_device *d, bft_dtype from, const void *host, void *reals, size_t count) {
    double start = now();
    d->inner->to_device(d->device, from, host, reals, count);
    add_bytes(d, start, "casts", product(count, bft_dtype_size(from) + d->ops.real));
}

static void to_host(bft_device *d, const void *reals, float *host, size_t count) {
    double start = now();
    d->inner->to_host(d->device, reals, host, count);
    add_bytes(d, start, "casts", product(count, d->ops.real + sizeof *host));
}

static void values_to_host(bft_device *d, const void *values, float *host, size_t count) {
    double start = now();
    d->inner->values_to_host(d->device, values, host, count);
    add_bytes(d, start, "casts", product(count, bft_ops_value_size(&d->ops) + sizeof *host));
}

static void to_values(bft_device *d, const void *reals, void *values, size_t count) {
    double start = now();
    d->inner->to_values(d->device, reals, values, count);
    add_bytes(d, start, "casts", product(count, d->ops.real + bft_ops_value_size(&d->ops)));
}

/* ---- The device. What needs no device, sizes, stays the inner backend's. ---- */

static void close_device(bft_device *d) {
    if (d->probe != NULL) {
        d->inner->free(d->device, d->probe);
    }
    d->inner->close(d->device);
    free(d);
}

static int threads(const bft_device *d) {
    return d->inner->threads(d->device);
}

static void describe(const bft_device *d, char out[BFT_DESCRIPTION_SIZE]) {
    d->inner->describe(d->device, out);
}

static bft_status fault(bft_error *err, bft_device *d) {
    return d->inner->fault(err, d->device);
}

/* Zeroing may be queued: it is no op's time. */
static bft_status alloc_memory(bft_error *err, bft_device *d, size_t bytes, void **out) {
    BFT_TRY(d->inner->alloc(err, d->device, bytes, out));
    wait_for(d);
    return BFT_OK;
}

static void free_memory(bft_device *d, void *memory) {
    d->inner->free(d->device, memory);
}

static void tell_memory(bft_device *d, size_t *free_bytes, size_t *total) {
    d->inner->memory(d->device, free_bytes, total);
}

static void boundary(bft_device *d) {
    (void)d;
}

static void wrap(bft_ops *ops) {
    ops->close = close_device;
    ops->threads = threads;
    ops->describe = describe;
    ops->fault = fault;
    ops->alloc = alloc_memory;
    ops->free = free_memory;
    ops->memory = tell_memory;
    ops->fill_zero = fill_zero;
    ops->write = write_bytes;
    ops->read = read_bytes;
    ops->to_device = to_device;
    ops->to_host = to_host;
    ops->values_to_host = values_to_host;
    ops->to_values = to_values;
    ops->begin = ops->end = boundary;
    ops->embed_forward = embed_forward;
    ops->embed_backward = embed_backward;
    ops->linear_forward = linear_forward;
    ops->linear_backward = linear_backward;
    ops->prepare = prepare;
    ops->attention_forward = attention_forward;
    ops->attention_backward = attention_backward;
    ops->residual_norm_forward = residual_norm_forward;
    ops->residual_norm_backward = residual_norm_backward;
    ops->gather_forward = gather_forward;
    ops->gather_backward = gather_backward;
    ops->mean_forward = mean_forward;
    ops->mean_backward = mean_backward;
    ops->mask = mask;
    ops->loss = loss;
    ops->tied_loss = tied_loss;
    ops->norm = norm;
    ops->adamw = adamw;
    ops->adamw_rows = adamw_rows;
}

bft_status bft_profile_wrap(bft_error *err, const bft_ops **ops, bft_device **device) {
    bft_device *d = calloc(1, sizeof *d);
    if (d == NULL) {
        return bft_error_memory(err, sizeof *d);
    }
    if ((*ops)->remote && (*ops)->alloc(err, *device, PROBE, &d->probe) != BFT_OK) {
        free(d);
        return err->status;
    }
    d->inner = *ops;
    d->device = *device;
    d->ops = **ops;
    wrap(&d->ops);
    d->start = now();
    *ops = &d->ops;
    *device = d;
    return BFT_OK;
}

const bft_profile_row *bft_profile_rows(const bft_ops *ops, const bft_device *device, size_t *count, double *wall) {
    if (ops == NULL || ops->close != close_device) {
        return NULL;
    }
    *count = device->count;
    *wall = now() - device->start;
    return device->rows;
}
