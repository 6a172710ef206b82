/* attention_cudnn.cu: the attention op by cuDNN: the choice, the workspace, and what cuDNN must read about a batch.
 *
 * A plan is for the padded number of sequences and for a length rounded up to a power of two, so that few are made and a recorded step
 * serves every batch of its padded sizes. What is left of a padded batch are sequences without tokens. */
#include "kernels/cuda/attention_cudnn.cuh"

#include "kernels/cuda/attention_choice.h"
#include "kernels/cuda/cudnn.h"

#include <new>
#include <stdio.h>
#include <string.h>

enum { SHORTEST_PLAN = 128, THREADS = 128, ALIGNMENT = 256, OFFSETS = 4, WORKSPACES = 16 };

/* On compute capability 9.0 the backward with a fixed order of sums keeps B H T T values. Larger batches are ours. */
static const size_t least_workspace = (size_t)1 << 20, most_workspace = (size_t)512 << 20;

struct bft_attention_engine {
    bft_runtime *runtime;
    bft_cudnn *cudnn; /* NULL: native only */
    bft_dtype values;
    char choice[BFT_DESCRIPTION_SIZE];
    /* Each at least twice the one before; the last is in use, recorded launches may still use the others. */
    void *workspaces[WORKSPACES];
    size_t count, bytes; /* how many there are; of the last */
    size_t refused; /* what the card hadn't room for, 0: that never was; not asked for again, so that choices stay */
};

/* ---- The choice ---- */

static size_t shortest_of(const bft_attention *op) {
    size_t shortest = op->longest;
    for (size_t b = 0; b < op->batch; b++) {
        size_t length = op->key_start[b + 1] - op->key_start[b];
        shortest = length < shortest ? length : shortest;
    }
    return shortest;
}

/* Gradients lie as their tensors do. */
static bool aligned(const bft_attention *op) {
    uintptr_t steps = (op->q_stride | op->kv_stride) * sizeof(uint16_t);
    for (const void *tensor : {op->q, op->k, op->v, static_cast<const void *>(op->y)}) {
        steps |= reinterpret_cast<uintptr_t>(tensor);
    }
    return steps % 16 == 0;
}

static bft_attention_case case_of(const bft_attention_engine *engine, const bft_attention *op) {
    bft_attention_case c = {};
    c.capability = bft_runtime_capability(engine->runtime);
    c.cudnn_version = bft_cudnn_version(engine->cudnn);
    c.type = engine->values;
    c.training = op->saved != NULL;
    c.dropout = op->dropout.rate != 0;
    c.all_ask = op->rows == op->key_start[op->batch];
    c.aligned = aligned(op);
    c.head_size = op->head_size;
    c.shortest = shortest_of(op);
    return c;
}

static void describe_shape(const bft_attention_engine *engine, const bft_attention *op, bft_cudnn_shape *shape) {
    shape->type = engine->values;
    shape->training = op->saved != NULL;
    shape->batch = bft_padded(op->batch);
    shape->heads = op->heads;
    shape->head_size = op->head_size;
    shape->q_stride = op->q_stride;
    shape->kv_stride = op->kv_stride;
    shape->longest = SHORTEST_PLAN;
    while (shape->longest < op->longest) {
        shape->longest *= 2;
    }
}

/* ---- Memory: what cuDNN reads about the batch, and its workspace behind it ---- */

static size_t rounded(size_t bytes) {
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static size_t lengths_bytes(size_t batch) {
    return rounded(batch * sizeof(int32_t));
}

static size_t offsets_bytes(size_t batch) {
    return rounded((batch + 1) * sizeof(int64_t));
}

static bool has_room(bft_attention_engine *engine, size_t bytes) {
    if (bytes <= engine->bytes) {
        return true;
    }
    if (bytes > most_workspace || (engine->refused != 0 && bytes >= engine->refused)) {
        return false;
    }
    size_t larger = engine->bytes == 0 ? least_workspace : 2 * engine->bytes;
    larger = larger < bytes ? bytes : larger > most_workspace ? most_workspace : larger;
    if (bft_runtime_alloc(engine->runtime, larger, &engine->workspaces[engine->count]) != NULL) {
        engine->refused = bytes;
        return false;
    }
    engine->count++;
    engine->bytes = larger;
    return true;
}

/* Whether cuDNN serves this op, and its plan's shape: the same for an op's forward and its backward. */
static bool fits(bft_attention_engine *engine, const bft_attention *op, bft_cudnn_shape *shape) {
    const bft_attention_case c = case_of(engine, op);
    size_t workspace = 0;
    describe_shape(engine, op, shape);
    if (bft_cudnn_declines(&c) != NULL || bft_cudnn_prepare(engine->cudnn, shape, &workspace) != NULL) {
        return false;
    }
    return has_room(engine, lengths_bytes(shape->batch) + OFFSETS * offsets_bytes(shape->batch) + workspace);
}

/* ---- Kernels ---- */

struct layout_args {
    const uint32_t *start, *count; /* first rows, and how many sequences there are */
    uint32_t batch;                /* that the plan is for */
    int64_t q_stride, kv_stride, y_stride, heads;
    int32_t *lengths;                          /* (batch) */
    int64_t *q_at, *kv_at, *y_at, *log_sum_at; /* (batch + 1) */
};

/* Where each sequence starts in each tensor, in elements, and how long it is. */
__global__ void __launch_bounds__(THREADS) attention_layout(layout_args a) {
    uint32_t b = blockIdx.x * THREADS + threadIdx.x, count = *a.count;
    if (b > a.batch) {
        return;
    }
    int64_t first = a.start[b < count ? b : count];
    if (b < a.batch) {
        a.lengths[b] = b < count ? (int32_t)(a.start[b + 1] - a.start[b]) : 0;
    }
    a.q_at[b] = first * a.q_stride;
    a.kv_at[b] = first * a.kv_stride;
    a.y_at[b] = first * a.y_stride;
    a.log_sum_at[b] = first * a.heads;
}

struct behind_args {
    uint16_t *dq, *dk, *dv;
    size_t q_stride, kv_stride, padded, channels;
    const uint32_t *rows; /* how many there are */
};

/* cuDNN leaves gradients behind the last row as they are: zero them. A block a row. */
__global__ void __launch_bounds__(THREADS) attention_behind(behind_args a) {
    size_t row = *a.rows + (size_t)blockIdx.x;
    for (size_t c = threadIdx.x; row < a.padded && c < a.channels; c += THREADS) {
        a.dq[row * a.q_stride + c] = 0;
        a.dk[row * a.kv_stride + c] = 0;
        a.dv[row * a.kv_stride + c] = 0;
    }
}

/* ---- One call ---- */

static void describe_tensors(const bft_attention_engine *engine, const bft_attention *op, size_t batch,
                             bft_cudnn_tensors *t) {
    char *at = static_cast<char *>(engine->workspaces[engine->count - 1]);
    t->lengths = reinterpret_cast<int32_t *>(at);
    at += lengths_bytes(batch);
    for (const int64_t **offsets : {&t->q_at, &t->kv_at, &t->y_at, &t->log_sum_at}) {
        *offsets = reinterpret_cast<int64_t *>(at);
        at += offsets_bytes(batch);
    }
    t->workspace = at;
    t->q = op->q;
    t->k = op->k;
    t->v = op->v;
    t->dy = op->dy;
    t->y = op->y;
    t->dq = op->dq;
    t->dk = op->dk;
    t->dv = op->dv;
    t->log_sum = static_cast<float *>(op->saved);
}

static void lay_out(bft_device *device, const bft_attention *op, const bft_cudnn_tensors &t, size_t batch) {
    layout_args a = {};
    a.start = mirror_rows(device, op->key_start, op->batch + 1);
    a.count = mirror_value(device, (uint32_t)op->batch);
    a.batch = (uint32_t)batch;
    a.q_stride = (int64_t)op->q_stride;
    a.kv_stride = (int64_t)op->kv_stride;
    a.y_stride = (int64_t)(op->heads * op->head_size);
    a.heads = (int64_t)op->heads;
    a.lengths = const_cast<int32_t *>(t.lengths);
    a.q_at = const_cast<int64_t *>(t.q_at);
    a.kv_at = const_cast<int64_t *>(t.kv_at);
    a.y_at = const_cast<int64_t *>(t.y_at);
    a.log_sum_at = const_cast<int64_t *>(t.log_sum_at);
    LAUNCH(device, attention_layout, blocks_for(batch + 1, THREADS), THREADS, 0, a);
}

static void clear_behind(bft_device *device, const bft_attention *op) {
    behind_args a = {};
    a.dq = static_cast<uint16_t *>(op->dq);
    a.dk = static_cast<uint16_t *>(op->dk);
    a.dv = static_cast<uint16_t *>(op->dv);
    a.q_stride = op->q_stride;
    a.kv_stride = op->kv_stride;
    a.padded = bft_padded(op->key_start[op->batch]);
    a.channels = op->heads * op->head_size;
    a.rows = mirror_value(device, op->key_start[op->batch]);
    /* At most every ninth row isn't there. */
    LAUNCH(device, attention_behind, dim3((unsigned)(a.padded / 8 + 1)), THREADS, 0, a);
}

struct attention_call {
    bft_cudnn *cudnn;
    bft_cudnn_shape shape;
    bft_cudnn_tensors tensors;
};

static const char *start_forward(bft_device *, const void *arguments) {
    const auto *c = static_cast<const attention_call *>(arguments);
    return bft_cudnn_forward(c->cudnn, &c->shape, &c->tensors);
}

static const char *start_backward(bft_device *, const void *arguments) {
    const auto *c = static_cast<const attention_call *>(arguments);
    return bft_cudnn_backward(c->cudnn, &c->shape, &c->tensors);
}

/* The plan is made here, before what is asked for can be captured. */
static bool command(bft_attention_engine *engine, bft_device *device, const bft_attention *op, bft_command *start) {
    attention_call c;
    memset(static_cast<void *>(&c), 0, sizeof c); /* equal calls are equal bytes */
    if (engine->cudnn == NULL || op->batch == 0 || !fits(engine, op, &c.shape)) {
        return false;
    }
    c.cudnn = engine->cudnn;
    describe_tensors(engine, op, c.shape.batch, &c.tensors);
    lay_out(device, op, c.tensors, c.shape.batch);
    bft_queue_command(device, "cuDNN's attention", start, &c, sizeof c);
    return true;
}

bool bft_attention_engine_forward(bft_attention_engine *engine, bft_device *device, const bft_attention *op) {
    return command(engine, device, op, start_forward);
}

bool bft_attention_engine_backward(bft_attention_engine *engine, bft_device *device, const bft_attention *op) {
    bool done = command(engine, device, op, start_backward);
    if (done) {
        clear_behind(device, op);
    }
    return done;
}

/* ---- Open and close ---- */

/* What stands against cuDNN, or NULL: it is open then. */
static const char *open_cudnn(bft_attention_engine *engine) {
    int capability = bft_runtime_capability(engine->runtime);
    const char *unfit = bft_cudnn_unfit(capability, BFT_CUDNN_OLDEST, engine->values);
    unfit = unfit != NULL ? unfit : bft_cudnn_open(capability, bft_runtime_stream(engine->runtime), &engine->cudnn);
    if (unfit == NULL) {
        unfit = bft_cudnn_unfit(capability, bft_cudnn_version(engine->cudnn), engine->values);
    }
    if (unfit != NULL) {
        bft_cudnn_close(engine->cudnn);
        engine->cudnn = NULL;
    }
    return unfit;
}

bft_status bft_attention_engine_open(bft_error *err, bft_runtime *runtime, const char *wish, bft_dtype values,
                                     bft_attention_engine **out) {
    bool native = wish != NULL && strcmp(wish, "native") == 0, asked = wish != NULL && strcmp(wish, "cudnn") == 0;
    bft_attention_engine *engine = new (std::nothrow) bft_attention_engine();
    if (engine == NULL) {
        return bft_error_memory(err, sizeof *engine);
    }
    engine->runtime = runtime;
    engine->values = values;
    const char *unfit = native ? "asked for" : open_cudnn(engine);
    if (unfit != NULL && asked) {
        bft_attention_engine_close(engine);
        return bft_error_set(err, BFT_BAD, "DEVICE.ATTENTION cudnn: %s; auto or native does without", unfit);
    }
    int version = unfit == NULL ? bft_cudnn_version(engine->cudnn) : 0;
    if (unfit == NULL) {
        snprintf(
            engine->choice, sizeof engine->choice,
            "cuDNN %d.%d.%d%s, native with dropout on it, for texts of one token and heads not of 8, 16, .. 128 values",
            version / 10000, version / 100 % 100, version % 100,
            bft_runtime_capability(engine->runtime) / 10 == 8 ? " for inference" : "");
    } else {
        snprintf(engine->choice, sizeof engine->choice, "native: %s", unfit);
    }
    *out = engine;
    return BFT_OK;
}

void bft_attention_engine_close(bft_attention_engine *engine) {
    if (engine == NULL) {
        return;
    }
    bft_cudnn_close(engine->cudnn);
    for (size_t i = 0; i < engine->count; i++) {
        bft_runtime_free(engine->runtime, engine->workspaces[i]);
    }
    delete engine;
}

const char *bft_attention_engine_choice(const bft_attention_engine *engine) {
    return engine->choice;
}
