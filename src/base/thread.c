/* thread.c: the pool. Units are taken from one atomic counter; workers sleep on a condition between runs. */
#include "base/thread.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

enum { MAX_THREADS = 256 };

struct bft_pool {
    int threads;
    pthread_mutex_t lock;
    pthread_cond_t start, done;
    unsigned generation; /* of the current run; under lock, like all below but `next` */
    int busy;            /* workers that have not finished the current run */
    bool stop;
    bft_work *work;
    void *context;
    size_t units;
    atomic_size_t next;
    pthread_t *handles; /* (threads - 1) */
};

typedef struct worker {
    bft_pool *pool;
    int thread;
} worker;

static void take_units(bft_pool *pool, int thread) {
    for (;;) {
        size_t unit = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (unit >= pool->units) {
            return;
        }
        pool->work(pool->context, unit, thread);
    }
}

static void *worker_main(void *argument) {
    worker self = *(worker *)argument;
    free(argument);
    bft_pool *pool = self.pool;
    unsigned seen = 0;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (pool->generation == seen && !pool->stop) {
            pthread_cond_wait(&pool->start, &pool->lock);
        }
        if (pool->stop) {
            break;
        }
        seen = pool->generation;
        pthread_mutex_unlock(&pool->lock);
        take_units(pool, self.thread);
        pthread_mutex_lock(&pool->lock);
        if (--pool->busy == 0) {
            pthread_cond_signal(&pool->done);
        }
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static int usable_processors(void) {
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return count < 1 ? 1 : count > MAX_THREADS ? MAX_THREADS : count;
}

/* Signals belong to the main thread: workers are started with all of them blocked. */
static bft_status start_worker(bft_error *err, bft_pool *pool, int thread) {
    worker *self = malloc(sizeof *self);
    if (self == NULL) {
        return bft_error_memory(err, sizeof *self);
    }
    *self = (worker){pool, thread};
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&pool->handles[thread - 1], NULL, worker_main, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
        free(self);
        return bft_error_set(err, BFT_FAILED, "cannot start thread %d; --threads 1 needs none", thread + 1);
    }
    pool->threads++;
    return BFT_OK;
}

bft_status bft_pool_create(bft_error *err, bft_pool **out, int threads) {
    if (threads < 0 || threads > MAX_THREADS) {
        return bft_error_set(err, BFT_BAD, "%d threads asked for; 0 (all processors) to %d can be had", threads,
                             MAX_THREADS);
    }
    int wanted = threads == 0 ? usable_processors() : threads;
    bft_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL) {
        return bft_error_memory(err, sizeof *pool);
    }
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->start, NULL);
    pthread_cond_init(&pool->done, NULL);
    pool->threads = 1;
    pool->handles = calloc((size_t)wanted, sizeof *pool->handles);
    bft_status status = pool->handles == NULL ? bft_error_memory(err, (size_t)wanted * sizeof *pool->handles) : BFT_OK;
    for (int i = 1; status == BFT_OK && i < wanted; i++) {
        status = start_worker(err, pool, i);
    }
    if (status != BFT_OK) {
        bft_pool_destroy(pool);
        return status;
    }
    *out = pool;
    return BFT_OK;
}

void bft_pool_destroy(bft_pool *pool) {
    if (pool == NULL) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    pthread_cond_broadcast(&pool->start);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 1; i < pool->threads; i++) {
        pthread_join(pool->handles[i - 1], NULL);
    }
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->start);
    pthread_mutex_destroy(&pool->lock);
    free(pool->handles);
    free(pool);
}

int bft_pool_threads(const bft_pool *pool) {
    return pool->threads;
}

void bft_pool_run(bft_pool *pool, size_t units, bft_work *work, void *context) {
    if (pool->threads == 1 || units <= 1) {
        for (size_t unit = 0; unit < units; unit++) {
            work(context, unit, 0);
        }
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->work = work;
    pool->context = context;
    pool->units = units;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    pool->busy = pool->threads - 1;
    pool->generation++;
    pthread_cond_broadcast(&pool->start);
    pthread_mutex_unlock(&pool->lock);
    take_units(pool, 0);
    pthread_mutex_lock(&pool->lock);
    while (pool->busy > 0) {
        pthread_cond_wait(&pool->done, &pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
}
