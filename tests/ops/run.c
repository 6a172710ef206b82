/* run.c: a problem on one backend. Every tensor, `saved` and `scratch` have exactly the memory that they ask for. */
#include "tests/ops/ops_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void must(bft_status status, const bft_error *err) {
    if (status != BFT_OK) {
        fprintf(stderr, "ops: error: %s\n", err->message);
        exit(1);
    }
}

/* What the problem asks for beside its tensors. */
static bft_memory memory_wanted(const run *r) {
    bft_memory wanted = {0};
    if (r->problem->subject->memory != NULL) {
        r->problem->subject->memory(r, &wanted);
    }
    return wanted;
}

run run_open(const problem *p, const bft_ops *ops, int threads) {
    run r = {.problem = p, .ops = ops};
    bft_error err;
    must(ops->open(&err, &(bft_device_options){.threads = threads}, &r.device), &err);
    for (int at = 0; at < MAX_TENSORS; at++) {
        const tensor *t = &p->tensor[at];
        if (t->name != NULL) {
            r.room[at] = tensor_bytes(&r, at);
            r.memory[at] = t->shares == NONE ? guarded_alloc(&r, r.room[at]) : r.memory[t->shares];
        }
    }
    if (p->subject->memory != NULL) {
        r.wanted = r.room_beside = memory_wanted(&r);
        r.saved = p->inference ? NULL : guarded_alloc(&r, r.wanted.saved);
        r.scratch = guarded_alloc(&r, r.wanted.scratch);
    }
    return r;
}

void run_close(run *r) {
    for (int at = 0; at < MAX_TENSORS; at++) {
        const tensor *t = &r->problem->tensor[at];
        if (t->name != NULL && t->shares == NONE) {
            guarded_free(r, r->memory[at]);
        }
    }
    guarded_free(r, r->saved);
    guarded_free(r, r->scratch);
    r->ops->close(r->device);
}

/* ---- Before and between ---- */

static void lose_scratch(const run *r) {
    if (r->scratch != NULL) {
        guarded_poison(r, r->scratch, r->wanted.scratch, r->room_beside.scratch);
    }
}

void run_load(run *r) {
    for (int at = 0; at < MAX_TENSORS; at++) {
        const tensor *t = &r->problem->tensor[at];
        if (t->name != NULL && t->shares == NONE) {
            tensor_load(r, at);
        }
    }
    if (r->saved != NULL) {
        guarded_poison(r, r->saved, r->wanted.saved, r->room_beside.saved);
    }
    lose_scratch(r);
}

/* Scratch, and the outputs that a backward has no right to read, are lost between the two. */
static void lose_forward(const run *r) {
    for (int at = 0; at < MAX_TENSORS; at++) {
        const tensor *t = &r->problem->tensor[at];
        if (t->name != NULL && t->role == OUTPUT && !t->backward && !t->read_again) {
            tensor_lose(r, at);
        }
    }
    lose_scratch(r);
}

/* ---- After ---- */

static bool overwritten(const problem *p, int at) {
    for (int i = 0; i < MAX_TENSORS; i++) {
        if (p->tensor[i].name != NULL && p->tensor[i].shares == at) {
            return true;
        }
    }
    return p->tensor[at].role != INPUT;
}

static bool is_unchanged(const run *r, int at) {
    const tensor *t = &r->problem->tensor[at];
    double *now = malloc(t->count * sizeof *now + 1);
    if (now == NULL) {
        bft_error err;
        must(bft_error_memory(&err, t->count * sizeof *now), &err);
    }
    tensor_read(r, at, now);
    bool same = memcmp(now, t->start, t->count * sizeof *now) == 0;
    free(now);
    return same;
}

static const char *check_tensor(const run *r, int at, char *why, size_t room) {
    const char *name = r->problem->tensor[at].name, *wrong = tensor_tail_check(r, at);
    if (!guards_hold(r, r->memory[at], tensor_bytes(r, at), r->room[at])) {
        snprintf(why, room, "bytes beside %s were written", name);
        return why;
    }
    if (wrong != NULL) {
        snprintf(why, room, "%s %s", name, wrong);
        return why;
    }
    if (!overwritten(r->problem, at) && !is_unchanged(r, at)) {
        snprintf(why, room, "%s, an input, was written", name);
        return why;
    }
    return NULL;
}

/* The device's health, guards, inputs and rows behind the last: NULL, or what is wrong. */
static const char *check(const run *r, char *why, size_t room) {
    const problem *p = r->problem;
    bft_error err;
    if (r->ops->fault(&err, r->device) != BFT_OK) {
        snprintf(why, room, "the device died: %s", err.message);
        return why;
    }
    for (int at = 0; at < MAX_TENSORS; at++) {
        const char *wrong = p->tensor[at].name == NULL ? NULL : check_tensor(r, at, why, room);
        if (wrong != NULL) {
            return wrong;
        }
    }
    if (!guards_hold(r, r->saved, r->wanted.saved, r->room_beside.saved) ||
        !guards_hold(r, r->scratch, r->wanted.scratch, r->room_beside.scratch)) {
        snprintf(why, room, "bytes beside saved or scratch were written");
        return why;
    }
    return p->subject->check == NULL ? NULL : p->subject->check(r);
}

static void read_written(const run *r, bool backward, bft_arena *arena, results out) {
    for (int at = 0; at < MAX_TENSORS; at++) {
        const tensor *t = &r->problem->tensor[at];
        if (t->name != NULL && t->role != INPUT && t->backward == backward) {
            bft_error err;
            must(BFT_NEW(&err, arena, &out[at], t->count), &err);
            tensor_read(r, at, out[at]);
        }
    }
}

/* ---- Runs ---- */

void run_forward(run *r) {
    r->problem->subject->forward(r);
}

static void run_part(const run *r, void (*part)(const run *r), bool stretch) {
    if (stretch) {
        r->ops->begin(r->device);
    }
    part(r);
    if (stretch) {
        r->ops->end(r->device);
    }
}

static const char *run_once(run *r, bool stretch, bft_arena *arena, results out, char *why, size_t room) {
    const problem *p = r->problem;
    run_load(r);
    run_part(r, p->subject->forward, stretch);
    read_written(r, false, arena, out);
    if (p->subject->backward != NULL && !p->inference) {
        lose_forward(r);
        run_part(r, p->subject->backward, stretch);
        read_written(r, true, arena, out);
    }
    return check(r, why, room);
}

const char *run_problem(const problem *p, const bft_ops *ops, int threads, bft_arena *arena, results out, char *why,
                        size_t room) {
    run r = run_open(p, ops, threads);
    const char *wrong = run_once(&r, false, arena, out, why, room);
    run_close(&r);
    return wrong;
}

/* Another problem in the same memory. NULL, or what is wrong: it doesn't fit. */
static const char *change_problem(run *r, const problem *p) {
    r->problem = p;
    r->wanted = memory_wanted(r);
    bool fits = r->wanted.saved <= r->room_beside.saved && r->wanted.scratch <= r->room_beside.scratch;
    for (int at = 0; at < MAX_TENSORS; at++) {
        fits = fits && (p->tensor[at].name == NULL || tensor_bytes(r, at) <= r->room[at]);
    }
    return fits ? NULL : "a batch of the same padded size wants more memory";
}

const char *run_turns(turn *turns, size_t count, const bft_ops *ops, bft_arena *arena, char *why, size_t room) {
    run r = run_open(turns[0].problem, ops, 1);
    const char *wrong = NULL;
    for (size_t i = 0; i < count && wrong == NULL; i++) {
        wrong = change_problem(&r, turns[i].problem);
        if (wrong == NULL) {
            wrong = run_once(&r, turns[i].stretch, arena, turns[i].result, why, room);
        }
    }
    run_close(&r);
    return wrong;
}
