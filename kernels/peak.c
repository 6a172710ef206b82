/* peak.c: the processors' peaks; see peak.h. The best of several short trials, since other processes come between. */
#include "kernels/peak.h"

#include "base/thread.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TRIALS = 100, STEPS = 200000, MOST_THREADS = 256, COPIES = 10, COPIED = 64 << 20, PIECE = 1 << 20 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- Chains of multiply-adds that stay in registers, enough of them to hide their latency. ---- */
#if defined(__x86_64__)
#include <immintrin.h>
#define IN_REGISTER "+v"
#else
#define IN_REGISTER "+w"
#endif

/* `operations` is what one step of a chain counts. */
#define CHAINS(name, attribute, vector, chains, operations, step)                                                      \
    attribute static double name(void) {                                                                               \
        vector sum[chains] = {{0}}, a = {1};                                                                           \
        double start = now();                                                                                          \
        for (int i = 0; i < STEPS; i++) {                                                                              \
            _Pragma("GCC unroll 24") for (int c = 0; c < (chains); c++) {                                              \
                sum[c] = step;                                                                                         \
                __asm__ volatile("" : IN_REGISTER(sum[c]));                                                            \
            }                                                                                                          \
        }                                                                                                              \
        return (double)STEPS * (chains) * (operations) / (now() - start);                                              \
    }

typedef float floats4 __attribute__((vector_size(16)));
CHAINS(fp32_128, , floats4, 12, 8, sum[c] * a + a)
#if defined(__x86_64__)
typedef float floats8 __attribute__((vector_size(32)));
CHAINS(fp32_256, __attribute__((target("avx2,fma"))), floats8, 12, 16, sum[c] * a + a)
CHAINS(fp32_512, __attribute__((target("avx512f"))), __m512, 24, 32, sum[c] * a + a)
CHAINS(bf16_512, __attribute__((target("avx512bf16"))), __m512, 24, 64,
       _mm512_dpbf16_ps(sum[c], (__m512bh)a, (__m512bh)a))
CHAINS(int8_512, __attribute__((target("avx512vnni"))), __m512i, 24, 128, _mm512_dpbusd_epi32(sum[c], a, a))
#endif

typedef double chains(void);

/* The chains of each type, NULL where this processor has none. */
typedef struct kind {
    chains *fp32, *bf16, *int8;
} kind;

static kind find_kind(void) {
    kind k = {.fp32 = fp32_128};
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) {
        k.fp32 = fp32_512;
    } else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        k.fp32 = fp32_256;
    }
    k.bf16 = __builtin_cpu_supports("avx512bf16") ? bf16_512 : NULL;
    k.int8 = __builtin_cpu_supports("avx512vnni") ? int8_512 : NULL;
#endif
    return k;
}

typedef struct trials {
    chains *run;
    double best[MOST_THREADS];
} trials;

static void measure_thread(void *context, size_t unit, int thread) {
    trials *t = context;
    (void)thread;
    for (int i = 0; i < TRIALS; i++) {
        double one = t->run();
        t->best[unit] = one > t->best[unit] ? one : t->best[unit];
    }
}

/* Of all threads together; 0 without chains. */
static double measure_chains(bft_pool *pool, chains *run) {
    trials t = {.run = run};
    double sum = 0;
    int threads = bft_pool_threads(pool);
    if (run == NULL) {
        return 0;
    }
    bft_pool_run(pool, (size_t)threads, measure_thread, &t);
    for (int i = 0; i < threads; i++) {
        sum += t.best[i];
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
    kind k = find_kind();
    out->flops = measure_chains(pool, k.fp32);
    out->bf16 = measure_chains(pool, k.bf16);
    out->int8 = measure_chains(pool, k.int8);
    bft_status status = measure_bytes(err, pool, &out->bytes);
    bft_pool_destroy(pool);
    return status;
}
