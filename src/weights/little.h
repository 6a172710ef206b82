/* little.h: numbers as every format of weights writes them, lowest byte first. */
#ifndef BFT_WEIGHTS_LITTLE_H
#define BFT_WEIGHTS_LITTLE_H

#include <stddef.h>
#include <stdint.h>

/* The number in bytes[0 .. count), count at most 8. */
static inline uint64_t bft_little(const unsigned char *bytes, size_t count) {
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++) {
        value |= (uint64_t)bytes[i] << (8 * i);
    }
    return value;
}

#endif
