/* main.c: the table of op x shape x backend, walked. Usage: ops [--backend NAME] [--op NAME] [--seed N] [--list] */
#include "tests/ops/ops_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const subject *const subjects[] = {
    &memory_subject,        &cast_subject,   &embed_subject,      &linear_subject, &attention_subject,
    &residual_norm_subject, &gather_subject, &mean_subject,       &mask_subject,   &loss_subject,
    &norm_subject,          &adamw_subject,  &adamw_rows_subject,
};
enum { SUBJECTS = sizeof subjects / sizeof subjects[0], MAX_BACKENDS = 16 };

typedef struct options {
    const char *backend, *op;
    uint64_t seed;
    bool list;
} options;

typedef struct tally {
    size_t cases;
    double worst; /* largest error, as a share of what is allowed */
} tally;

typedef struct session {
    options options;
    const bft_ops *ref64;
    const bft_ops *backends[MAX_BACKENDS]; /* NULL at the end */
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

static void make_problem(problem *p, const subject *s, size_t shape, uint64_t seed) {
    uint32_t stream = 0;
    for (const char *c = s->op; *c != '\0'; c++) {
        stream = stream * 31 + (unsigned char)*c;
    }
    *p = (problem){.subject = s,
                   .shape = (const char *)s->shapes + shape * s->shape_size,
                   .random = bft_random_create(seed, stream + (uint32_t)shape, 0)};
    s->prepare(p);
}

/* ref64's result becomes the truth, and what is wrong with it by itself is told. */
static const char *find_truth(problem *p, const bft_ops *ref64, char *why, size_t room) {
    double *result[MAX_TENSORS] = {0};
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

/* The same bits with 1, 2 and 3 threads. */
static const char *check_threads(const problem *p, const bft_ops *ops, double *const one[MAX_TENSORS], char *why,
                                 size_t room) {
    for (int threads = 2; threads <= 3; threads++) {
        double *result[MAX_TENSORS] = {0};
        bft_arena arena = {0};
        const char *wrong = run_problem(p, ops, threads, &arena, result, why, room);
        for (int at = 0; at < MAX_TENSORS && wrong == NULL; at++) {
            if (one[at] != NULL && memcmp(one[at], result[at], p->tensor[at].count * sizeof(double)) != 0) {
                snprintf(why, room, "%s has other bits with %d threads than with 1", p->tensor[at].name, threads);
                wrong = why;
            }
        }
        bft_arena_free(&arena);
        if (wrong != NULL) {
            return wrong;
        }
    }
    return NULL;
}

static const char *check_backend(const problem *p, const bft_ops *ops, double *worst, char *why, size_t room) {
    double *result[MAX_TENSORS] = {0};
    bft_arena arena = {0};
    const char *wrong = run_problem(p, ops, 1, &arena, result, why, room);
    if (wrong == NULL) {
        wrong = compare(p, ops->real, result, worst, why, room);
    }
    if (wrong == NULL) {
        wrong = check_threads(p, ops, result, why, room);
    }
    bft_arena_free(&arena);
    return wrong;
}

static bool is_chosen(const options *chosen, const bft_ops *ops) {
    return chosen->backend == NULL || strcmp(chosen->backend, ops->name) == 0 ||
           (strcmp(chosen->backend, "cpu") == 0 && strncmp(ops->name, "cpu", 3) == 0);
}

static void run_shape(session *all, const subject *s, size_t shape, tally by_backend[MAX_BACKENDS],
                      tally *differences) {
    char why[512];
    problem p;
    make_problem(&p, s, shape, all->options.seed);
    const char *broken = find_truth(&p, all->ref64, why, sizeof why);
    if (broken != NULL) {
        count(all, s, shape, "ref64", broken);
        bft_arena_free(&p.arena);
        return;
    }
    const bft_ops *const *every = all->backends;
    for (size_t i = 0; every[i] != NULL; i++) {
        if (is_chosen(&all->options, every[i]) && (every[i] != all->ref64 || s->truth != NULL)) {
            by_backend[i].cases++;
            const char *wrong = check_backend(&p, every[i], &by_backend[i].worst, why, sizeof why);
            count(all, s, shape, every[i]->name, wrong);
        }
    }
    if (is_chosen(&all->options, all->ref64) && differences_possible(&p)) {
        differences->cases++;
        const char *wrong = check_differences(&p, all->ref64, &differences->worst, why, sizeof why);
        count(all, s, shape, "finite differences", wrong);
    }
    bft_arena_free(&p.arena);
}

static void run_subject(session *all, const subject *s) {
    tally by_backend[MAX_BACKENDS] = {0}, differences = {0};
    for (size_t shape = 0; shape < s->shape_count; shape++) {
        run_shape(all, s, shape, by_backend, &differences);
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

/* All that this machine can run; and the one asked for, which may be a library of its own. */
static void find_backends(session *all) {
    bft_error err;
    size_t count = 0;
    for (; bft_ops_all()[count] != NULL; count++) {
        all->backends[count] = bft_ops_all()[count];
    }
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
}

int main(int count_of, char **words) {
    session all = {.options.seed = 20240229};
    bft_error err;
    if (!parse(count_of, words, &all.options)) {
        fprintf(stderr, "usage: ops [--backend NAME] [--op NAME] [--seed N] [--list]\n");
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
            printf("%s, %s\n", s->op, title(s, shape));
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
