/* philox.h: counter-based random numbers, Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy
 * as 1, 2, 3", SC 2011). The same counter and key give the same numbers on every machine, in any order. */
#ifndef BFT_BASE_PHILOX_H
#define BFT_BASE_PHILOX_H

#include <stdint.h>

typedef struct bft_philox {
    uint32_t word[4];
} bft_philox;

static inline bft_philox bft_philox_block(bft_philox counter, uint64_t key) {
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    bft_philox c = counter;
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c.word[0], p1 = (uint64_t)0xCD9E8D57u * c.word[2];
        c = (bft_philox){
            {(uint32_t)(p1 >> 32) ^ c.word[1] ^ k0, (uint32_t)p1, (uint32_t)(p0 >> 32) ^ c.word[3] ^ k1, (uint32_t)p0}};
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c;
}

/* A stream for host-side draws (shuffles, initial weights): `stream` tells one use from another. */
typedef struct bft_random {
    uint64_t seed, index; /* index of the next 32-bit word */
    uint32_t stream;
    bft_philox block;
} bft_random;

bft_random bft_random_create(uint64_t seed, uint32_t stream, uint64_t start);
uint32_t bft_random_word(bft_random *random);
uint32_t bft_random_below(bft_random *random, uint32_t bound); /* uniform in [0, bound), without bias; bound > 0 */
double bft_random_unit(bft_random *random);                    /* uniform in (0, 1), 32 bits */
double bft_random_normal(bft_random *random);                  /* N(0, 1), Box-Muller */

#endif
