/* test_thread.c: the pool under what a training step does to it: many tiny runs, with pauses that put its workers to sleep, and
 * without. Meant for ThreadSanitizer too: the units write to plain memory, which only the pool orders. */
#include "scratch.h"

#include "base/thread.h"

#include <sched.h>
#include <stdatomic.h>
#include <time.h>

enum { UNITS = 16, RUNS = 400, THREADS = 8 };

static bft_error err;

typedef struct tally {
    size_t run;
    size_t seen[UNITS];   /* the run that last did this unit */
    size_t done[UNITS];   /* how often it was done */
    size_t work[THREADS]; /* units done by this thread */
} tally;

static void count_unit(void *context, size_t unit, int thread) {
    tally *t = context;
    t->seen[unit] = t->run;
    t->done[unit]++;
    t->work[thread]++;
}

static void rest(long nanoseconds) {
    nanosleep(&(struct timespec){.tv_nsec = nanoseconds}, NULL);
}

/* Runs of all sizes; after some the workers have time to fall asleep, or are about to. */
static void runs_follow_each_other(void **state) {
    (void)state;
    static const long pauses[] = {0, 0, 0, 1000, 0, 0, 20000, 0, 0, 0, 400000};
    for (int threads = 1; threads <= THREADS; threads++) {
        bft_pool *pool;
        tally t = {0};
        size_t expected = 0, all = 0;
        assert_int_equal(bft_pool_create(&err, &pool, threads), BFT_OK);
        for (t.run = 1; t.run <= RUNS; t.run++) {
            size_t units = t.run % UNITS + 1;
            bft_pool_run(pool, units, count_unit, &t);
            expected += units;
            for (size_t unit = 0; unit < units; unit++) {
                assert_int_equal(t.seen[unit], t.run);
            }
            long pause = pauses[t.run % (sizeof pauses / sizeof *pauses)];
            if (pause > 0) {
                rest(pause);
            }
        }
        bft_pool_destroy(pool);
        for (size_t unit = 0; unit < UNITS; unit++) {
            all += t.done[unit];
        }
        assert_int_equal(all, expected);
        for (int thread = 0; thread < THREADS; thread++) {
            all -= t.work[thread];
        }
        assert_int_equal(all, 0);
    }
}

/* A unit of one run waits for another of the same run: both are under way at once, so the worker does come. */
static void meet(void *context, size_t unit, int thread) {
    (void)thread;
    atomic_int *arrived = context;
    atomic_store(&arrived[unit], 1);
    while (atomic_load(&arrived[1 - unit]) == 0) {
        rest(1000);
    }
}

static void workers_come_awake_or_asleep(void **state) {
    (void)state;
    bft_pool *pool;
    assert_int_equal(bft_pool_create(&err, &pool, 2), BFT_OK);
    for (int i = 0; i < 100; i++) {
        atomic_int arrived[2] = {0};
        bft_pool_run(pool, 2, meet, arrived);
        if (i % 3 == 0) {
            rest(500000);
        }
    }
    bft_pool_destroy(pool);
}

/* The first unit waits for all others: whoever has it, the other thread does what was to be this one's share. */
static void wait_for_all(void *context, size_t unit, int thread) {
    (void)thread;
    atomic_int *done = context;
    while (unit == 0 && atomic_load(done) < UNITS - 1) {
        rest(1000);
    }
    atomic_fetch_add(done, 1);
}

static void a_share_is_taken_over(void **state) {
    (void)state;
    bft_pool *pool;
    assert_int_equal(bft_pool_create(&err, &pool, 2), BFT_OK);
    for (int i = 0; i < 100; i++) {
        atomic_int done = 0;
        bft_pool_run(pool, UNITS, wait_for_all, &done);
        assert_int_equal(done, UNITS);
    }
    bft_pool_destroy(pool);
}

typedef struct places {
    cpu_set_t allowed; /* the caller's */
    atomic_int others; /* units whose thread is allowed elsewhere */
} places;

static void compare_places(void *context, size_t unit, int thread) {
    (void)unit, (void)thread;
    places *p = context;
    cpu_set_t allowed;
    assert_int_equal(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    p->others += !CPU_EQUAL(&allowed, &p->allowed);
    rest(20000);
}

/* A worker that moved off the caller's processor may run anywhere again. */
static void workers_stay_free_to_move(void **state) {
    (void)state;
    bft_pool *pool;
    places p = {0};
    assert_int_equal(sched_getaffinity(0, sizeof p.allowed, &p.allowed), 0);
    assert_int_equal(bft_pool_create(&err, &pool, 0), BFT_OK);
    for (int run = 0; run < RUNS; run++) {
        bft_pool_run(pool, UNITS, compare_places, &p);
    }
    bft_pool_destroy(pool);
    assert_int_equal(p.others, 0);
}

static void a_pool_may_be_never_used(void **state) {
    (void)state;
    for (int i = 0; i < 100; i++) {
        bft_pool *pool;
        assert_int_equal(bft_pool_create(&err, &pool, 1 + i % THREADS), BFT_OK);
        bft_pool_destroy(pool);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_follow_each_other),   cmocka_unit_test(workers_come_awake_or_asleep),
        cmocka_unit_test(a_share_is_taken_over),    cmocka_unit_test(workers_stay_free_to_move),
        cmocka_unit_test(a_pool_may_be_never_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
