/* queue.cu: the record between begin and end, and the graphs made of records that come again. */
#include "kernels/cuda/device.cuh"

#include <new>
#include <stdlib.h>

enum { RECORD = 2 << 20, GRAPHS = 64, CAPTURED_AT = 2 };

/* In the record each command is this, and behind it its bytes, rounded up. */
struct command {
    const char *name;
    bft_command *start;
    size_t bytes;
};

struct graph { /* of one record, or only how often it was seen */
    uint64_t hash, last_used;
    unsigned seen; /* 0: free */
    unsigned char *record;
    size_t used;
    bft_graph *captured;
    bft_device *device;
};

struct bft_queue {
    alignas(16) unsigned char record[RECORD];
    size_t used;
    bool recording, graphs;
    uint64_t clock;
    graph known[GRAPHS];
};

static size_t rounded(size_t bytes) {
    return (bytes + 15) / 16 * 16;
}

const char *bft_queue_open(bft_queue **out) {
    bft_queue *queue = new (std::nothrow) bft_queue();
    if (queue == NULL) {
        return "out of memory";
    }
    const char *wanted = getenv("BERTFT_CUDA_GRAPHS"); /* "0": none, to see that the bits stay */
    queue->graphs = wanted == NULL || strcmp(wanted, "0") != 0;
    *out = queue;
    return NULL;
}

static void forget(bft_device *device, graph *g) {
    if (g->captured != NULL) {
        bft_runtime_forget(device->runtime, g->captured);
    }
    free(g->record);
    *g = {};
}

void bft_queue_close(bft_device *device) {
    if (device->queue != NULL) {
        for (graph &g : device->queue->known) {
            forget(device, &g);
        }
        delete device->queue;
    }
}

bool bft_queue_recording(const bft_device *device) {
    return device->queue->recording;
}

/* ---- Doing what a record says ---- */

static const char *start(bft_device *device, const command *c) {
    const char *failure = c->start(device, reinterpret_cast<const unsigned char *>(c) + rounded(sizeof *c));
    if (failure != NULL) {
        bft_fail(device, c->name, failure);
    }
    return failure;
}

static const char *walk(bft_device *device, const unsigned char *record, size_t used) {
    const char *failure = NULL;
    for (size_t at = 0; at < used && failure == NULL && healthy(device);) {
        const command *c = reinterpret_cast<const command *>(record + at);
        failure = start(device, c);
        at += rounded(sizeof *c) + rounded(c->bytes);
    }
    return failure;
}

void bft_queue_command(bft_device *device, const char *name, bft_command *start_it, const void *arguments,
                       size_t bytes) {
    bft_queue *queue = device->queue;
    if (!healthy(device)) {
        return;
    }
    if (!queue->recording) {
        const char *failure = start_it(device, arguments);
        if (failure != NULL) {
            bft_fail(device, name, failure);
        }
        return;
    }
    size_t size = rounded(sizeof(command)) + rounded(bytes);
    if (size > RECORD - queue->used) {
        bft_check(device, "more is asked for in one step than can be recorded: the model has too many layers");
        return;
    }
    command c = {};
    c.name = name;
    c.start = start_it;
    c.bytes = bytes;
    unsigned char *to = queue->record + queue->used;
    memset(to, 0, size);
    memcpy(to, &c, sizeof c);
    memcpy(to + rounded(sizeof c), arguments, bytes);
    queue->used += size;
}

/* ---- Graphs ---- */

static uint64_t hash_of(const unsigned char *bytes, size_t count) {
    uint64_t hash = count, word;
    for (size_t at = 0; at < count; at += sizeof word) { /* rounded: whole words */
        memcpy(&word, bytes + at, sizeof word);
        hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
        hash ^= hash >> 29;
    }
    return hash;
}

/* The record's graph; where it is new the place of the one that wasn't used for longest. */
static graph *find(bft_device *device, uint64_t hash) {
    bft_queue *queue = device->queue;
    graph *oldest = &queue->known[0];
    for (graph &g : queue->known) {
        if (g.seen > 0 && g.hash == hash &&
            (g.record == NULL || (g.used == queue->used && memcmp(g.record, queue->record, queue->used) == 0))) {
            return &g;
        }
        if (g.last_used < oldest->last_used) {
            oldest = &g;
        }
    }
    forget(device, oldest);
    oldest->hash = hash;
    oldest->device = device;
    return oldest;
}

static const char *walk_graph(void *context) {
    const graph *g = static_cast<const graph *>(context);
    return walk(g->device, g->record, g->used);
}

static void capture(bft_device *device, graph *g) {
    const bft_queue *queue = device->queue;
    g->used = queue->used;
    g->record = static_cast<unsigned char *>(malloc(g->used));
    if (g->record == NULL) {
        return; /* it is walked through, then */
    }
    memcpy(g->record, queue->record, g->used);
    const char *failure = bft_runtime_capture(device->runtime, walk_graph, g, &g->captured);
    if (failure != NULL) {
        bft_fail(device, "a CUDA graph", failure);
    }
}

static void run_record(bft_device *device) {
    bft_queue *queue = device->queue;
    if (!queue->graphs) {
        walk(device, queue->record, queue->used);
        return;
    }
    graph *g = find(device, hash_of(queue->record, queue->used));
    g->last_used = ++queue->clock;
    g->seen++;
    if (g->seen >= CAPTURED_AT && g->captured == NULL) {
        capture(device, g);
    }
    if (g->captured != NULL && healthy(device)) {
        bft_check(device, bft_runtime_replay(device->runtime, g->captured));
    } else {
        walk(device, queue->record, queue->used);
    }
}

void bft_queue_begin(bft_device *device) {
    device->queue->used = 0;
    device->queue->recording = true;
    bft_stage_begin(device);
}

void bft_queue_end(bft_device *device) {
    device->queue->recording = false;
    bft_stage_end(device);
    if (healthy(device) && device->queue->used > 0) {
        run_record(device);
    }
}

/* ---- Commands that are no kernels of ours ---- */

static const char *multiply(bft_device *device, const void *product) {
    return bft_runtime_product(device->runtime, static_cast<const bft_product *>(product));
}

void bft_multiply(bft_device *device, const bft_product *product) {
    bft_queue_command(device, "a matrix product", multiply, product, sizeof *product);
}

struct stretch {
    void *memory;
    size_t bytes;
};

static const char *zero(bft_device *device, const void *arguments) {
    const stretch *s = static_cast<const stretch *>(arguments);
    return bft_runtime_zero(device->runtime, s->memory, s->bytes);
}

void bft_cuda_fill_zero(bft_device *device, void *memory, size_t bytes) {
    stretch s = {memory, bytes};
    if (bytes > 0) {
        bft_queue_command(device, "filling memory with zeros", zero, &s, sizeof s);
    }
}
