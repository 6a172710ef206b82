/* main.c: the table of op x shape x backend, walked. Usage: ops [--backend NAME] [--op NAME] [--seed N] [--short] [--list]; --short leaves
 * the long sequences out. */
#include "tests/ops/ops_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const subject *const subjects[] = {
    &memory_subject,     &to_device_subject,     &to_values_subject,
    &embed_subject,      &linear_subject,        &linear_prepared_subject,
    &attention_subject,  &residual_norm_subject, &gather_subject,
    &mean_subject,       &mask_subject,          &loss_subject,
    &tied_loss_subject,  &norm_subject,          &adamw_subject,
    &adamw_rows_subject,
};
enum { SUBJECTS = sizeof subjects / sizeof subjects[0], MAX_BACKENDS = 16 };

typedef struct options {
    const char *backend, *op;
    uint64_t seed;
    bool list, brief;
} options;

typedef struct tally {
    size_t cases;
    double worst; /* largest error, as a share of what is allowed */
} tally;

typedef struct session {
    options options;
    const bft_ops *ref64;
    const bft_ops *backends[MAX_BACKENDS]; /* NULL at the end */
    bool threads[MAX_BACKENDS];            /* whether the backend has several */
    size_t passed, failed;
} session;

static const char *title(const subject *s, size_t shape) {
    return *(const char *const *)((const char *)s->shapes + shape * s->shape_size);
}

static void count(session *all, const subject *s, size_t shape, const char *judge, const char *wrong) {
    if (wrong == NULL) {
        all->passed++;
    } else {
        all->failed++;
        printf("FAILED %s, %s, %s: %s\n", s->op, title(s, shape), judge, wrong);
    }
}

/* ref64's result becomes the truth, and what is wrong with it by itself is told. */
static const char *find_truth(problem *p, const bft_ops *ref64, char *why, size_t room) {
    results result = {0};
    const char *wrong = NULL;
    if (p->subject->truth != NULL) {
        p->subject->truth(p);
    } else {
        wrong = run_problem(p, ref64, 1, &p->arena, result, why, room);
        for (int at = 0; at < MAX_TENSORS; at++) {
            if (result[at] != NULL) {
                memcpy(p->tensor[at].truth, result[at], p->tensor[at].count * sizeof(double));
            }
        }
    }
    p->subject->bound(p);
    return wrong;
}

static const char *compare_bits(const problem *p, const results one, const results other, const char *when, char *why,
                                size_t room) {
    for (int at = 0; at < MAX_TENSORS; at++) {
        if (one[at] != NULL && memcmp(one[at], other[at], p->tensor[at].count * sizeof(double)) != 0) {
            snprintf(why, room, "%s has other bits %s", p->tensor[at].name, when);
            return why;
        }
    }
    return NULL;
}

/* The same bits with 2 and 3 threads as with 1, where the backend has several. */
static const char *check_threads(const problem *p, const bft_ops *ops, const results one, bft_arena *arena, char *why,
                                 size_t room) {
    const char *wrong = NULL;
    for (int threads = 2; threads <= 3 && wrong == NULL; threads++) {
        results result = {0};
        wrong = run_problem(p, ops, threads, arena, result, why, room);
        wrong = wrong != NULL ? wrong : compare_bits(p, one, result, "with more threads than 1", why, room);
    }
    return wrong;
}

/* Each problem by itself, the first is judged; then in stretches by turns: the second uses what was recorded for the
 * first, the third what was made of the second. In the host's memory a stretch is nothing. */
static const char *check_backend(const problem *p, const problem *other, const bft_ops *ops, bool threads,
                                 double *worst, char *why, size_t room) {
    turn turns[] = {{.problem = p},
                    {.problem = other},
                    {.problem = p, .stretch = true},
                    {.problem = other, .stretch = true},
                    {.problem = p, .stretch = true}};
    size_t count = ops->remote ? sizeof turns / sizeof turns[0] : 1;
    bft_arena arena = {0};
    const char *wrong = run_turns(turns, count, ops, &arena, why, room);
    wrong = wrong != NULL ? wrong : compare(p, ops->real, turns[0].result, worst, why, room);
    for (size_t i = 2; i < count && wrong == NULL; i++) {
        wrong = compare_bits(turns[i].problem, turns[i % 2].result, turns[i].result, "in a stretch", why, room);
    }
    if (wrong == NULL && threads) {
        wrong = check_threads(p, ops, turns[0].result, &arena, why, room);
    }
    bft_arena_free(&arena);
    return wrong;
}

static bool is_chosen(const options *chosen, const bft_ops *ops) {
    return chosen->backend == NULL || strcmp(chosen->backend, ops->name) == 0 ||
           (strcmp(chosen->backend, "cpu") == 0 && strncmp(ops->name, "cpu", 3) == 0);
}

/* Whether to run a subject's shape on a backend: long sequences take the shim long. */
static bool is_case(const session *all, const subject *s, size_t shape, bft_dtype values, const bft_ops *ops) {
    bool is_long = s->is_long != NULL && s->is_long((const char *)s->shapes + shape * s->shape_size);
    bool spared = is_long && (all->options.brief || (values != BFT_F32 && strncmp(ops->name, "cudasim", 7) == 0));
    bool known = s->is_known == NULL || s->is_known(ops, (const char *)s->shapes + shape * s->shape_size);
    bool other = ops->factors == ops->values || s == &linear_subject ||
                 s == &linear_prepared_subject; /* else it is the table with longer factors */
    return ops->factors == values && other && is_chosen(&all->options, ops) && known && !spared;
}

static bool has_cases(const session *all, const subject *s, size_t shape, bft_dtype values) {
    for (size_t i = 0; all->backends[i] != NULL; i++) {
        if (is_case(all, s, shape, values, all->backends[i])) {
            return true;
        }
    }
    return false;
}

static void run_backend(session *all, const problem *p, size_t shape, size_t backend, tally *by) {
    char why[512];
    const bft_ops *ops = all->backends[backend];
    problem other;
    problem_open(&other, p->subject, shape, all->options.seed, p->values, ops->padded);
    by->cases++;
    const char *wrong = check_backend(p, &other, ops, all->threads[backend], &by->worst, why, sizeof why);
    count(all, p->subject, shape, ops->name, wrong);
    problem_close(&other);
}

static void run_differences(session *all, problem *p, size_t shape, tally *by) {
    char why[512];
    by->cases++;
    const char *wrong = check_differences(p, all->ref64, &by->worst, why, sizeof why);
    count(all, p->subject, shape, "finite differences", wrong);
}

static void run_shape(session *all, const subject *s, size_t shape, bft_dtype values, tally by_backend[MAX_BACKENDS],
                      tally *differences) {
    char why[512];
    problem p;
    problem_open(&p, s, shape, all->options.seed, values, NULL);
    const char *broken = find_truth(&p, all->ref64, why, sizeof why);
    if (broken != NULL) {
        count(all, s, shape, "ref64", broken);
    }
    const bft_ops *const *every = all->backends;
    for (size_t i = 0; broken == NULL && every[i] != NULL; i++) {
        bool judged = every[i] != all->ref64 || s->truth != NULL; /* not by itself */
        if (judged && is_case(all, s, shape, values, every[i])) {
            run_backend(all, &p, shape, i, &by_backend[i]);
        }
    }
    if (broken == NULL && values == BFT_F32 && is_chosen(&all->options, all->ref64) && differences_possible(&p)) {
        run_differences(all, &p, shape, differences);
    }
    problem_close(&p);
}

static void run_subject(session *all, const subject *s) {
    tally by_backend[MAX_BACKENDS] = {0}, differences = {0};
    static const bft_dtype types[] = {BFT_F32, BFT_BF16, BFT_F16};
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
        for (size_t shape = 0; shape < s->shape_count; shape++) {
            if (has_cases(all, s, shape, types[t])) {
                run_shape(all, s, shape, types[t], by_backend, &differences);
            }
        }
    }
    for (size_t i = 0; all->backends[i] != NULL; i++) {
        if (by_backend[i].cases > 0) {
            printf("%-14s %-18s %3zu cases, largest error %.3f of the bound\n", s->op, all->backends[i]->name,
                   by_backend[i].cases, by_backend[i].worst);
        }
    }
    if (differences.cases > 0) {
        printf("%-14s %-18s %3zu cases, largest error %.3f of the bound\n", s->op, "finite differences",
               differences.cases, differences.worst);
    }
}

static bool parse(int count_of, char **words, options *out) {
    for (int i = 1; i < count_of; i++) {
        bool more = i + 1 < count_of;
        if (strcmp(words[i], "--list") == 0) {
            out->list = true;
        } else if (strcmp(words[i], "--short") == 0) {
            out->brief = true;
        } else if (strcmp(words[i], "--backend") == 0 && more) {
            out->backend = words[++i];
        } else if (strcmp(words[i], "--op") == 0 && more) {
            out->op = words[++i];
        } else if (strcmp(words[i], "--seed") == 0 && more) {
            char *end;
            out->seed = strtoull(words[++i], &end, 10);
            if (end == words[i] || *end != '\0') {
                return false;
            }
        } else {
            return false;
        }
    }
    return true;
}

static bool has_cases_of_any(const session *all, const subject *s, size_t shape) {
    return has_cases(all, s, shape, BFT_F32) || has_cases(all, s, shape, BFT_BF16) || has_cases(all, s, shape, BFT_F16);
}

static bool has_threads(const bft_ops *ops) {
    bft_device *device;
    bft_error err;
    must(ops->open(&err, &(bft_device_options){.threads = 2}, &device), &err);
    bool has = ops->threads(device) > 1;
    ops->close(device);
    return has;
}

/* All that this machine can run; and the one asked for, which may be a library of its own. */
static void find_backends(session *all) {
    bft_error err;
    size_t count = 0;
    for (const bft_ops *const *ops = bft_ops_all(); *ops != NULL; ops++) {
        char name[64];
        all->backends[count++] = *ops;
        snprintf(name, sizeof name, "%s-bf16", (*ops)->name);
        count += bft_ops_find(&err, name, &all->backends[count]) == BFT_OK;
    }
    all->backends[count] = NULL;
    if (all->options.backend != NULL) {
        const bft_ops *asked;
        must(bft_ops_find(&err, all->options.backend, &asked), &err);
        bool known = false;
        for (size_t i = 0; i < count; i++) {
            known |= all->backends[i] == asked;
        }
        if (!known) {
            all->backends[count] = asked;
        }
    }
    for (size_t i = 0; all->backends[i] != NULL; i++) {
        all->threads[i] = has_threads(all->backends[i]);
    }
}

int main(int count_of, char **words) {
    session all = {.options.seed = 20240229};
    bft_error err;
    if (!parse(count_of, words, &all.options)) {
        fprintf(stderr, "usage: ops [--backend NAME] [--op NAME] [--seed N] [--short] [--list]\n");
        return 2;
    }
    must(bft_ops_find(&err, "ref64", &all.ref64), &err);
    find_backends(&all);
    printf("seed %llu\n", (unsigned long long)all.options.seed);
    for (size_t i = 0; i < SUBJECTS; i++) {
        const subject *s = subjects[i];
        if (all.options.op != NULL && strcmp(all.options.op, s->op) != 0) {
            continue;
        }
        for (size_t shape = 0; all.options.list && shape < s->shape_count; shape++) {
            if (has_cases_of_any(&all, s, shape)) {
                printf("%s, %s\n", s->op, title(s, shape));
            }
        }
        if (!all.options.list) {
            run_subject(&all, s);
        }
    }
    if (all.options.list) {
        return 0;
    }
    printf("%zu passed, %zu failed\n", all.passed, all.failed);
    return all.failed > 0 || all.passed == 0;
}
