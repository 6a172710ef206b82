/* cache.h: what was worked out from a file, kept in a file for the next start.
 *
 * A cache lies beside its source (SOURCE + suffix), or where that folder can't be written to, in the user's cache folder
 * ($XDG_CACHE_HOME or ~/.cache, there bertft/DEVICE-INODE + suffix). It fits when it was written for this very state of
 * the source and this version of the format; one that doesn't is as good as none, and is replaced when it is written.
 *
 * A cache may come from anybody: whoever reads one checks each offset and index in it before use. */
#ifndef BFT_BASE_CACHE_H
#define BFT_BASE_CACHE_H

#include "base/file.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The state of a source: device, inode, size, the times of its last changes, and a hash of its first 64 KiB. */
typedef struct bft_cache_key {
    uint64_t words[8];
} bft_cache_key;

/* Taken before the source is read: what changes while it is read then never fits. False: there is no such file. */
bool bft_cache_key_of(const char *source, bft_cache_key *key);

typedef struct bft_cache {
    bft_map map;
    const unsigned char *data; /* the content, 64-byte aligned */
    size_t size;
} bft_cache;

/* Maps the cache that fits; false, and an empty cache, where there is none. Reads its header only. */
bool bft_cache_open(bft_cache *cache, const char *source, const char *suffix, uint32_t version,
                    const bft_cache_key *key);

/* Whether the content is what was once written: reads all of it, at some 10 GB/s. It tells damage from what is whole;
 * it is no proof of who wrote it. */
bool bft_cache_intact(const bft_cache *cache);
void bft_cache_close(bft_cache *cache); /* also fine on {0} */

typedef struct bft_cache_part {
    const void *bytes;
    size_t length;
} bft_cache_part;

/* Writes the parts, end to end. A cache that can't be written is no error: the next start has the same work again.
 * False tells that it is so. */
bool bft_cache_write(const char *source, const char *suffix, uint32_t version, const bft_cache_key *key,
                     const bft_cache_part *parts, size_t count);

#endif
