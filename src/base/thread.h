/* thread.h: a pool of worker threads and the one way to use it.
 *
 * Work is cut into numbered units by its shape, never by the number of threads, so that results don't depend on how
 * many threads there are. The calling thread works too: a pool of 1 starts no thread. */
#ifndef BFT_BASE_THREAD_H
#define BFT_BASE_THREAD_H

#include "bertft/error.h"

#include <stddef.h>

typedef struct bft_pool bft_pool;

/* threads = 0: as many as this process may run on. */
bft_status bft_pool_create(bft_error *err, bft_pool **out, int threads);
void bft_pool_destroy(bft_pool *pool); /* NULL is fine */
int bft_pool_threads(const bft_pool *pool);

/* Runs work(context, unit, thread) for every unit in [0, units), units < 2^32, in any order, on any thread, and returns when all
 * are done. `thread` is in [0, threads) and names the scratch that a unit may use. Not reentrant. */
typedef void bft_work(void *context, size_t unit, int thread);
void bft_pool_run(bft_pool *pool, size_t units, bft_work *work, void *context);

#endif
