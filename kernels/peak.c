/* peak.c: the processors' peaks; see peak.h. The best of several short trials, since other processes come between. */
#include "kernels/peak.h"

#include "base/thread.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TRIALS = 100, MULTIPLY_ADDS = 200000, MOST_THREADS = 256, COPIES = 10, COPIED = 64 << 20, PIECE = 1 << 20 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- Chains of multiply-adds that stay in registers, enough of them to hide their latency. ---- */
#if defined(__x86_64__)
#define IN_REGISTER "+x"
#else
#define IN_REGISTER "+w"
#endif

#define CHAINS(name, attribute, lanes, chains)                                                                         \
    attribute static double name(void) {                                                                               \
        typedef float vector __attribute__((vector_size(4 * (lanes))));                                                \
        vector sum[chains] = {{0}}, a = {0.5f};                                                                        \
        double start = now();                                                                                          \
        for (int i = 0; i < MULTIPLY_ADDS; i++) {                                                                      \
            _Pragma("GCC unroll 24") for (int c = 0; c < (chains); c++) {                                              \
                sum[c] = sum[c] * a + a;                                                                               \
                __asm__ volatile("" : IN_REGISTER(sum[c]));                                                            \
            }                                                                                                          \
        }                                                                                                              \
        return 2.0 * MULTIPLY_ADDS * (chains) * (lanes) / (now() - start);                                             \
    }
CHAINS(chains_128, , 4, 12)
#if defined(__x86_64__)
CHAINS(chains_256, __attribute__((target("avx2,fma"))), 8, 12)
CHAINS(chains_512, __attribute__((target("avx512f"))), 16, 24)
#endif

static double run_chains(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) {
        return chains_512();
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        return chains_256();
    }
#endif
    return chains_128();
}

static void measure_thread(void *context, size_t unit, int thread) {
    double *best = (double *)context + unit;
    (void)thread;
    for (int i = 0; i < TRIALS; i++) {
        double one = run_chains();
        *best = one > *best ? one : *best;
    }
}

static double measure_flops(bft_pool *pool) {
    double best[MOST_THREADS] = {0}, sum = 0;
    int threads = bft_pool_threads(pool);
    bft_pool_run(pool, (size_t)threads, measure_thread, best);
    for (int i = 0; i < threads; i++) {
        sum += best[i];
    }
    return sum;
}

/* ---- The copy ---- */

static void copy_piece(void *context, size_t unit, int thread) {
    char *from = (char *)context + unit * PIECE;
    (void)thread;
    memcpy(from + COPIED, from, PIECE);
}

static bft_status measure_bytes(bft_error *err, bft_pool *pool, double *best) {
    char *memory = malloc(2 * (size_t)COPIED);
    if (memory == NULL) {
        return bft_error_memory(err, 2 * (size_t)COPIED);
    }
    memset(memory, 1, COPIED); /* pages that were never written are one page of zeros */
    for (int i = 0; i < COPIES; i++) {
        double start = now();
        bft_pool_run(pool, COPIED / PIECE, copy_piece, memory);
        double rate = 2.0 * COPIED / (now() - start);
        *best = rate > *best ? rate : *best;
    }
    free(memory);
    return BFT_OK;
}

bft_status bft_peak_measure(bft_error *err, int threads, bft_peak *out) {
    bft_pool *pool;
    *out = (bft_peak){0};
    BFT_TRY(bft_pool_create(err, &pool, threads));
    out->flops = measure_flops(pool);
    bft_status status = measure_bytes(err, pool, &out->bytes);
    bft_pool_destroy(pool);
    return status;
}
