/* philox.c: the host-side stream on top of the block function. */
#include "base/philox.h"

#include <math.h>

bft_random bft_random_create(uint64_t seed, uint32_t stream, uint64_t start) {
    bft_random random = {.seed = seed, .stream = stream, .index = start * 4};
    return random;
}

uint32_t bft_random_word(bft_random *random) {
    uint64_t block = random->index / 4;
    unsigned lane = (unsigned)(random->index % 4);
    if (lane == 0) {
        bft_philox counter = {{(uint32_t)block, (uint32_t)(block >> 32), random->stream, 0x62667431u}};
        random->block = bft_philox_block(counter, random->seed);
    }
    random->index++;
    return random->block.word[lane];
}

uint32_t bft_random_below(bft_random *random, uint32_t bound) {
    uint32_t floor = (uint32_t)(-bound) % bound; /* 2^32 mod bound: words below it would be drawn once too often */
    for (;;) {
        uint64_t product = (uint64_t)bft_random_word(random) * bound;
        if ((uint32_t)product >= floor) {
            return (uint32_t)(product >> 32);
        }
    }
}

double bft_random_unit(bft_random *random) {
    return ((double)bft_random_word(random) + 0.5) * 0x1p-32;
}

double bft_random_normal(bft_random *random) {
    double radius = sqrt(-2.0 * log(bft_random_unit(random)));
    return radius * cos(2.0 * 3.14159265358979323846 * bft_random_unit(random));
}
