/* thread.c: the pool. Most of a run's units are shared out beforehand, the same stretch to the same thread whenever a run has as many
 * units: the rows that it wrote in one product are in its own cache for the next. The rest goes to who comes first, and so does, in the
 * end, what others have left: nobody waits while there is work. Who waits, a worker for a run or the caller for a run's end, spins for a
 * while and then sleeps: between the runs of a training step nobody sleeps, and nobody takes a lock.
 *
 * A run ends when its units are done, not when every worker has seen it: a worker that the system lets wait holds nobody up. */
#include "base/thread.h"

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

enum { MAX_THREADS = 256, CACHE_LINE = 64 };

/* Nanoseconds. A spin lasts longer than waking a sleeper takes. Where one takes far longer than it should, or the caller waits long
 * for the last units, the system lets other threads run, and who spins only loses the favour that it does to sleepers: nobody spins
 * for a while then. Units that are long by themselves do the same, and don't need spinning. */
enum { SPIN = 20000, LONG = 1000000, RESPITE = 10000000 };

enum { PAUSES = 32 }; /* in a spin, from one look at the clock to the next */

enum { REST = 4, REST_EACH = 4 }; /* one of so many units isn't shared out, at most so many for each thread */

/* Where threads wait for a condition that is told by atomics. */
typedef struct bell {
    pthread_mutex_t lock;
    pthread_cond_t rung;
    atomic_int sleepers; /* changed under lock */
} bell;

/* Units that nobody has taken: the first of them, and behind it, in the upper half, the one that is no longer one. */
typedef struct stretch {
    alignas(CACHE_LINE) atomic_ullong units;
} stretch;

struct bft_pool {
    int threads;
    bft_work *work; /* of the current run, like context: who has taken one of its units may read them */
    void *context;
    bool spreads;                               /* there is a processor for each thread */
    atomic_int processor;                       /* that the caller is on */
    stretch *stretches;                         /* (threads + 1): each thread's, and the rest */
    alignas(CACHE_LINE) atomic_long unfinished; /* units that are not done */
    alignas(CACHE_LINE) atomic_llong spin_from; /* the time before which nobody spins */
    atomic_bool stop;
    bell start, done;
    pthread_t *handles; /* (workers) */
    int workers;        /* that run: threads - 1 */
};

typedef struct worker {
    bft_pool *pool;
    int thread;
} worker;

/* ---- Waiting ---- */

static void bell_create(bell *b) {
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->rung, NULL);
}

static void bell_destroy(bell *b) {
    pthread_cond_destroy(&b->rung);
    pthread_mutex_destroy(&b->lock);
}

static inline void pause_processor(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static long long nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void rest_after_long(bft_pool *pool, long long start, long long now) {
    if (now - start > LONG) {
        atomic_store_explicit(&pool->spin_from, now + RESPITE, memory_order_relaxed);
    }
}

static bool spin(bft_pool *pool, bool (*ready)(bft_pool *pool)) {
    long long start = nanoseconds(), now = start;
    bool found = false;
    if (start < atomic_load_explicit(&pool->spin_from, memory_order_relaxed)) {
        return false;
    }
    while (!found && now - start < SPIN) {
        for (int i = 0; i < PAUSES && !(found = ready(pool)); i++) {
            pause_processor();
        }
        now = nanoseconds();
    }
    rest_after_long(pool, start, now);
    return found;
}

/* All accesses to `sleepers`, and to what `ready` reads, are in one order: either a sleeper sees what made it ready, or who made it
 * so sees the sleeper. */
static void bell_wait(bell *b, bft_pool *pool, bool (*ready)(bft_pool *pool)) {
    if (ready(pool) || spin(pool, ready)) {
        return;
    }
    pthread_mutex_lock(&b->lock);
    atomic_fetch_add(&b->sleepers, 1);
    while (!ready(pool)) {
        pthread_cond_wait(&b->rung, &b->lock);
    }
    atomic_fetch_sub(&b->sleepers, 1);
    pthread_mutex_unlock(&b->lock);
}

/* Wakes at most `most` of the sleepers. */
static void bell_ring(bell *b, size_t most) {
    if (atomic_load(&b->sleepers) == 0) {
        return;
    }
    pthread_mutex_lock(&b->lock);
    size_t sleepers = (size_t)atomic_load(&b->sleepers);
    for (size_t i = 0; i < most && i < sleepers; i++) {
        pthread_cond_signal(&b->rung);
    }
    pthread_mutex_unlock(&b->lock);
}

static uint32_t first_of(unsigned long long units) {
    return (uint32_t)units;
}

static uint32_t behind_of(unsigned long long units) {
    return (uint32_t)(units >> 32);
}

static unsigned long long stretch_of(size_t first, size_t behind) {
    return (unsigned long long)behind << 32 | first;
}

static bool may_start(bft_pool *pool) {
    for (int i = 0; i <= pool->threads; i++) {
        unsigned long long units = atomic_load(&pool->stretches[i].units);
        if (first_of(units) < behind_of(units)) {
            return true;
        }
    }
    return atomic_load(&pool->stop);
}

static bool is_done(bft_pool *pool) {
    return atomic_load(&pool->unfinished) == 0;
}

/* ---- Working ---- */

static void share_out(bft_pool *pool, size_t units) {
    size_t threads = (size_t)pool->threads, rest = units / REST, most = REST_EACH * threads;
    size_t shared = units - (rest < most ? rest : most);
    for (size_t i = 0; i < threads; i++) {
        atomic_store(&pool->stretches[i].units, stretch_of(shared * i / threads, shared * (i + 1) / threads));
    }
    atomic_store(&pool->stretches[threads].units, stretch_of(shared, units));
}

/* From the front of a stretch, or from the back. */
static bool take_unit(stretch *from, bool front, size_t *unit) {
    unsigned long long units = atomic_load(&from->units);
    for (uint32_t first, behind; (first = first_of(units)) < (behind = behind_of(units));) {
        if (atomic_compare_exchange_weak(&from->units, &units,
                                         front ? stretch_of(first + 1, behind) : stretch_of(first, behind - 1))) {
            *unit = front ? first : behind - 1;
            return true;
        }
    }
    return false;
}

/* A thread's own units, then the rest, then others' from the back. All that are taken here are of one run: it cannot end before they are
 * counted as done. */
static void take_units(bft_pool *pool, int thread) {
    int threads = pool->threads;
    long taken = 0;
    for (int i = 0; i <= threads; i++) {
        int turn = i == 0 ? thread : i == 1 ? threads : (thread + i - 1) % threads;
        for (size_t unit; take_unit(&pool->stretches[turn], i < 2, &unit); taken++) {
            pool->work(pool->context, unit, thread);
        }
    }
    if (taken > 0 && atomic_fetch_sub(&pool->unfinished, taken) == taken) {
        bell_ring(&pool->done, 1);
    }
}

/* The system may wake a worker on the caller's processor while another is free, and leave both there for as long as each sleeps and
 * wakes in short turns: they would share one. Who finds itself there moves away. */
static void leave_caller(const bft_pool *pool) {
    int here = sched_getcpu();
    cpu_set_t usable, others;
    if (!pool->spreads || here != atomic_load_explicit(&pool->processor, memory_order_relaxed) ||
        sched_getaffinity(0, sizeof usable, &usable) != 0) {
        return;
    }
    others = usable;
    CPU_CLR((size_t)here, &others);
    if (CPU_COUNT(&others) > 0 && sched_setaffinity(0, sizeof others, &others) == 0) {
        (void)sched_setaffinity(0, sizeof usable, &usable);
    }
}

static void *worker_main(void *argument) {
    worker self = *(worker *)argument;
    free(argument);
    for (;;) {
        bell_wait(&self.pool->start, self.pool, may_start);
        if (atomic_load(&self.pool->stop)) {
            return NULL;
        }
        leave_caller(self.pool);
        take_units(self.pool, self.thread);
    }
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
    int failed = pthread_create(&pool->handles[pool->workers], NULL, worker_main, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
        free(self);
        return bft_error_set(err, BFT_FAILED, "cannot start thread %d; --threads 1 needs none", thread + 1);
    }
    pool->workers++;
    return BFT_OK;
}

bft_status bft_pool_create(bft_error *err, bft_pool **out, int threads) {
    if (threads < 0 || threads > MAX_THREADS) {
        return bft_error_set(err, BFT_BAD, "%d threads asked for; 0 (all processors) to %d can be had", threads,
                             MAX_THREADS);
    }
    int wanted = threads == 0 ? usable_processors() : threads;
    bft_pool *pool = aligned_alloc(CACHE_LINE, sizeof *pool);
    if (pool == NULL) {
        return bft_error_memory(err, sizeof *pool);
    }
    bool spreads = wanted <= usable_processors();
    *pool = (bft_pool){.threads = wanted, .spreads = spreads, .spin_from = spreads ? 0 : LLONG_MAX};
    bell_create(&pool->start);
    bell_create(&pool->done);
    pool->handles = calloc((size_t)wanted, sizeof *pool->handles);
    pool->stretches = aligned_alloc(CACHE_LINE, ((size_t)wanted + 1) * sizeof *pool->stretches);
    bft_status status = BFT_OK;
    if (pool->handles == NULL || pool->stretches == NULL) {
        status = bft_error_memory(err, (size_t)wanted * (sizeof *pool->handles + sizeof *pool->stretches));
    }
    for (int i = 0; status == BFT_OK && i <= wanted; i++) {
        atomic_init(&pool->stretches[i].units, 0);
    }
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
    atomic_store(&pool->stop, true);
    bell_ring(&pool->start, MAX_THREADS);
    for (int i = 0; i < pool->workers; i++) {
        pthread_join(pool->handles[i], NULL);
    }
    bell_destroy(&pool->done);
    bell_destroy(&pool->start);
    free(pool->stretches);
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
    pool->work = work;
    pool->context = context;
    atomic_store_explicit(&pool->processor, sched_getcpu(), memory_order_relaxed);
    atomic_store(&pool->unfinished, (long)units);
    share_out(pool, units);
    bell_ring(&pool->start, units - 1);
    take_units(pool, 0);
    long long start = nanoseconds();
    bell_wait(&pool->done, pool, is_done);
    rest_after_long(pool, start, nanoseconds());
}
