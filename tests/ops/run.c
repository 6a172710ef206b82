/* run.c: a problem on one backend. Every tensor, `saved` and `scratch` lie between guards, at exactly the size
 * asked for. */
#include "tests/ops/ops_test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 256, GUARD_BYTE = 0xA5 };

void must(bft_status status, const bft_error *err) {
    if (status != BFT_OK) {
        fprintf(stderr, "ops: error: %s\n", err->message);
        exit(1);
    }
}

static size_t whole_size(size_t bytes) {
    return GUARD + (bytes + 7) / 8 * 8 + GUARD;
}

static void *host_bytes(size_t bytes) {
    void *memory = malloc(bytes);
    if (memory == NULL) {
        bft_error err;
        must(bft_error_memory(&err, bytes), &err);
    }
    return memory;
}

/* Memory for `bytes` between guards: NaN inside. */
static void poison(const run *r, void *inside, size_t bytes) {
    unsigned char *host = host_bytes(whole_size(bytes));
    memset(host, GUARD_BYTE, whole_size(bytes));
    memset(host + GUARD, 0xFF, bytes);
    r->ops->write(r->device, (char *)inside - GUARD, host, whole_size(bytes));
    free(host);
}

static void *guarded(run *r, size_t bytes) {
    bft_error err;
    void *base;
    must(r->ops->alloc(&err, r->device, whole_size(bytes), &base), &err);
    poison(r, (char *)base + GUARD, bytes);
    return (char *)base + GUARD;
}

static bool guards_hold(const run *r, const void *inside, size_t bytes) {
    if (inside == NULL) {
        return true;
    }
    unsigned char *host = host_bytes(whole_size(bytes));
    r->ops->read(r->device, (const char *)inside - GUARD, host, whole_size(bytes));
    bool hold = true;
    for (size_t i = 0; i < whole_size(bytes); i++) {
        hold = hold && ((i >= GUARD && i < GUARD + bytes) || host[i] == GUARD_BYTE);
    }
    free(host);
    return hold;
}

/* ---- Runs ---- */

static size_t element(const run *r, int at) {
    return r->problem->tensor[at].doubles ? sizeof(double) : r->ops->real;
}

static size_t bytes_of(const run *r, int at) {
    return r->problem->tensor[at].count * element(r, at);
}

run run_open(const problem *p, const bft_ops *ops, int threads) {
    run r = {.problem = p, .ops = ops};
    bft_error err;
    must(ops->open(&err, &(bft_device_options){.threads = threads}, &r.device), &err);
    for (int at = 0; at < MAX_TENSORS; at++) {
        const tensor *t = &p->tensor[at];
        if (t->name == NULL) {
            continue;
        }
        r.memory[at] = t->shares == NONE ? guarded(&r, bytes_of(&r, at)) : r.memory[t->shares];
    }
    if (p->subject->memory != NULL) {
        p->subject->memory(&r, &r.wanted);
        r.saved = p->inference ? NULL : guarded(&r, r.wanted.saved);
        r.scratch = guarded(&r, r.wanted.scratch);
    }
    return r;
}

static void write_values(run *r, int at) {
    const tensor *t = &r->problem->tensor[at];
    if (element(r, at) == sizeof(double)) {
        r->ops->write(r->device, r->memory[at], t->start, t->count * sizeof(double));
        return;
    }
    float *host = host_bytes(t->count * sizeof *host + 1);
    for (size_t i = 0; i < t->count; i++) {
        host[i] = (float)t->start[i];
    }
    r->ops->write(r->device, r->memory[at], host, t->count * sizeof *host);
    free(host);
}

void run_load(run *r) {
    for (int at = 0; at < MAX_TENSORS; at++) {
        const tensor *t = &r->problem->tensor[at];
        if (t->name == NULL || t->shares != NONE) {
            continue;
        }
        if (t->role == OUTPUT) {
            poison(r, r->memory[at], bytes_of(r, at));
        } else {
            write_values(r, at);
        }
    }
    if (r->saved != NULL) {
        poison(r, r->saved, r->wanted.saved);
    }
    if (r->scratch != NULL) {
        poison(r, r->scratch, r->wanted.scratch);
    }
}

void run_forward(run *r) {
    r->problem->subject->forward(r);
}

/* Scratch, and the outputs that a backward has no right to read, are lost between the two. */
void run_backward(run *r) {
    for (int at = 0; at < MAX_TENSORS; at++) {
        const tensor *t = &r->problem->tensor[at];
        if (t->name != NULL && t->role == OUTPUT && !t->backward && !t->read_again) {
            poison(r, r->memory[at], bytes_of(r, at));
        }
    }
    if (r->scratch != NULL) {
        poison(r, r->scratch, r->wanted.scratch);
    }
    r->problem->subject->backward(r);
}

void run_read(const run *r, int at, double *out) {
    size_t count = r->problem->tensor[at].count;
    if (element(r, at) == sizeof(double)) {
        r->ops->read(r->device, r->memory[at], out, count * sizeof *out);
        return;
    }
    float *host = host_bytes(count * sizeof *host + 1);
    r->ops->read(r->device, r->memory[at], host, count * sizeof *host);
    for (size_t i = 0; i < count; i++) {
        out[i] = (double)host[i];
    }
    free(host);
}

static bool overwritten(const problem *p, int at) {
    for (int i = 0; i < MAX_TENSORS; i++) {
        if (p->tensor[i].name != NULL && p->tensor[i].shares == at) {
            return true;
        }
    }
    return p->tensor[at].role != INPUT;
}

const char *run_check(const run *r, char *why, size_t room) {
    const problem *p = r->problem;
    for (int at = 0; at < MAX_TENSORS; at++) {
        const tensor *t = &p->tensor[at];
        if (t->name == NULL) {
            continue;
        }
        if (!guards_hold(r, r->memory[at], bytes_of(r, at))) {
            snprintf(why, room, "bytes beside %s were written", t->name);
            return why;
        }
        if (!overwritten(p, at)) {
            double *now = host_bytes(t->count * sizeof *now + 1);
            run_read(r, at, now);
            bool same = memcmp(now, t->start, t->count * sizeof *now) == 0;
            free(now);
            if (!same) {
                snprintf(why, room, "%s, an input, was written", t->name);
                return why;
            }
        }
    }
    if (!guards_hold(r, r->saved, r->wanted.saved) || !guards_hold(r, r->scratch, r->wanted.scratch)) {
        snprintf(why, room, "bytes beside saved or scratch were written");
        return why;
    }
    return p->subject->check == NULL ? NULL : p->subject->check(r);
}

static void release(const run *r, void *inside) {
    if (inside != NULL) {
        r->ops->free(r->device, (char *)inside - GUARD);
    }
}

void run_close(run *r) {
    for (int at = 0; at < MAX_TENSORS; at++) {
        const tensor *t = &r->problem->tensor[at];
        if (t->name != NULL && t->shares == NONE) {
            release(r, r->memory[at]);
        }
    }
    release(r, r->saved);
    release(r, r->scratch);
    r->ops->close(r->device);
}

static void read_written(const run *r, bool backward, bft_arena *arena, double *result[MAX_TENSORS]) {
    for (int at = 0; at < MAX_TENSORS; at++) {
        const tensor *t = &r->problem->tensor[at];
        if (t->name != NULL && t->role != INPUT && t->backward == backward) {
            bft_error err;
            must(BFT_NEW(&err, arena, &result[at], t->count), &err);
            run_read(r, at, result[at]);
        }
    }
}

const char *run_problem(const problem *p, const bft_ops *ops, int threads, bft_arena *arena,
                        double *result[MAX_TENSORS], char *why, size_t room) {
    run r = run_open(p, ops, threads);
    run_load(&r);
    run_forward(&r);
    read_written(&r, false, arena, result);
    if (p->subject->backward != NULL && !p->inference) {
        run_backward(&r);
        read_written(&r, true, arena, result);
    }
    const char *wrong = run_check(&r, why, room);
    bft_error err;
    if (wrong == NULL && ops->fault(&err, r.device) != BFT_OK) {
        snprintf(why, room, "the device died: %s", err.message);
        wrong = why;
    }
    run_close(&r);
    return wrong;
}
