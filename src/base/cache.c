/* cache.c: places, keys and headers of caches. */
#include "base/cache.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HASHED = 1 << 16, LANES = 4 };

static const char magic[8] = "bertft\n\1";

/* What a cache starts with, in the machine's byte order: one from a machine of the other order has another version. */
typedef struct header {
    char magic[8];
    uint32_t version, size;
    bft_cache_key key;
    uint64_t padding[3];
    uint64_t length, sum; /* of the content behind the header */
    uint64_t own_sum;     /* of the header up to here */
} header;

_Static_assert(sizeof(header) == 128, "the content behind it is 64-byte aligned");

/* ---- A sum over any number of pieces: FNV's step, on words, in lanes that don't wait for each other ---- */

typedef struct summing {
    uint64_t lanes[LANES];
    unsigned char rest[LANES * sizeof(uint64_t)];
    size_t rest_length;
    uint64_t length;
} summing;

static const summing empty = {.lanes = {1, 2, 3, 4}};

/* Some whole blocks. The lanes are copied, so that they stay in registers. */
static void add_blocks(summing *sum, const unsigned char *from, size_t blocks) {
    uint64_t lanes[LANES], words[LANES];
    memcpy(lanes, sum->lanes, sizeof lanes);
    for (size_t i = 0; i < blocks; i++) {
        memcpy(words, from + i * sizeof words, sizeof words);
#pragma GCC unroll 8
        for (int k = 0; k < LANES; k++) {
            uint64_t mixed = (lanes[k] ^ words[k]) * 0x9E3779B97F4A7C15u;
            lanes[k] = mixed ^ mixed >> 32;
        }
    }
    memcpy(sum->lanes, lanes, sizeof lanes);
}

static void add(summing *sum, const void *bytes, size_t length) {
    const unsigned char *from = bytes;
    const size_t block = sizeof sum->rest;
    if (length == 0) { /* and perhaps no bytes at all */
        return;
    }
    sum->length += length;
    if (sum->rest_length > 0) {
        size_t taken = block - sum->rest_length < length ? block - sum->rest_length : length;
        memcpy(sum->rest + sum->rest_length, from, taken);
        sum->rest_length += taken;
        from += taken;
        length -= taken;
        if (sum->rest_length < block) {
            return;
        }
        add_blocks(sum, sum->rest, 1);
    }
    add_blocks(sum, from, length / block);
    sum->rest_length = length % block;
    memcpy(sum->rest, from + (length - sum->rest_length), sum->rest_length);
}

static uint64_t total(summing *sum) {
    memset(sum->rest + sum->rest_length, 0, sizeof sum->rest - sum->rest_length);
    add_blocks(sum, sum->rest, 1);
    uint64_t all = sum->length;
    for (int i = 0; i < LANES; i++) {
        all = (all ^ sum->lanes[i]) * 0xD6E8FEB86659FD93u;
        all ^= all >> 29;
    }
    return all;
}

static uint64_t sum_of(const void *bytes, size_t length) {
    summing sum = empty;
    add(&sum, bytes, length);
    return total(&sum);
}

/* ---- Keys and places ---- */

bool bft_cache_key_of(const char *source, bft_cache_key *key) {
    int fd = open(source, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return false;
    }
    static const size_t most = HASHED;
    struct stat info;
    unsigned char *start = malloc(most);
    ssize_t length = -1;
    if (start != NULL && fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) {
        length = pread(fd, start, most, 0);
    }
    if (length >= 0) {
        *key = (bft_cache_key){{(uint64_t)info.st_dev, (uint64_t)info.st_ino, (uint64_t)info.st_size,
                                (uint64_t)info.st_mtim.tv_sec, (uint64_t)info.st_mtim.tv_nsec,
                                (uint64_t)info.st_ctim.tv_sec, (uint64_t)info.st_ctim.tv_nsec,
                                sum_of(start, (size_t)length)}};
    }
    free(start);
    close(fd);
    return length >= 0;
}

typedef enum place { BESIDE, USERS, PLACES } place;

/* The path of a cache in one of its places; false where there is no such place. */
static bool path_in(place where, const char *source, const char *suffix, const bft_cache_key *key, bft_buffer *folder,
                    bft_buffer *path) {
    bft_error ignored;
    if (where == BESIDE) {
        bft_buffer_clear(path);
        return bft_buffer_printf(&ignored, path, "%s%s", source, suffix) == BFT_OK;
    }
    const char *caches = getenv("XDG_CACHE_HOME"), *below = "bertft";
    if (caches == NULL || caches[0] != '/') {
        caches = getenv("HOME");
        below = ".cache/bertft";
    }
    if (caches == NULL || caches[0] != '/' || bft_path_join(&ignored, folder, caches, below) != BFT_OK) {
        return false;
    }
    bft_buffer_clear(path);
    return bft_buffer_printf(&ignored, path, "%s/%llx-%llx%s", folder->data, (unsigned long long)key->words[0],
                             (unsigned long long)key->words[1], suffix) == BFT_OK;
}

/* ---- Reading ---- */

static bool fits(const bft_map *map, uint32_t version, const bft_cache_key *key) {
    header head;
    if (map->size < sizeof head) {
        return false;
    }
    memcpy(&head, map->data, sizeof head);
    return memcmp(head.magic, magic, sizeof magic) == 0 && head.version == version && head.size == sizeof head &&
           memcmp(&head.key, key, sizeof *key) == 0 && head.length == map->size - sizeof head &&
           head.own_sum == sum_of(&head, offsetof(header, own_sum));
}

bool bft_cache_open(bft_cache *cache, const char *source, const char *suffix, uint32_t version,
                    const bft_cache_key *key) {
    bft_buffer folder = {0}, path = {0};
    bft_error ignored;
    *cache = (bft_cache){0};
    for (place where = BESIDE; where < PLACES && cache->data == NULL; where++) {
        if (!path_in(where, source, suffix, key, &folder, &path) ||
            bft_map_open(&ignored, &cache->map, path.data) != BFT_OK) {
            continue;
        }
        if (fits(&cache->map, version, key)) {
            cache->data = cache->map.data + sizeof(header);
            cache->size = cache->map.size - sizeof(header);
        } else {
            bft_map_close(&cache->map);
        }
    }
    bft_buffer_free(&folder);
    bft_buffer_free(&path);
    return cache->data != NULL;
}

bool bft_cache_intact(const bft_cache *cache) {
    header head;
    memcpy(&head, cache->map.data, sizeof head);
    return head.sum == sum_of(cache->data, cache->size);
}

void bft_cache_close(bft_cache *cache) {
    bft_map_close(&cache->map);
    *cache = (bft_cache){0};
}

/* ---- Writing ---- */

static bool write_to(const char *path, const header *head, const bft_cache_part *parts, size_t count) {
    bft_writer *writer;
    bft_error ignored;
    if (bft_writer_open(&ignored, &writer, path) != BFT_OK) {
        return false;
    }
    bool written = bft_writer_write(&ignored, writer, head, sizeof *head) == BFT_OK;
    for (size_t i = 0; written && i < count; i++) {
        written = bft_writer_write(&ignored, writer, parts[i].bytes, parts[i].length) == BFT_OK;
    }
    if (!written) {
        bft_writer_discard(writer);
        return false;
    }
    return bft_writer_commit(&ignored, writer) == BFT_OK;
}

bool bft_cache_write(const char *source, const char *suffix, uint32_t version, const bft_cache_key *key,
                     const bft_cache_part *parts, size_t count) {
    header head = {.version = version, .size = sizeof head, .key = *key};
    memcpy(head.magic, magic, sizeof magic);
    summing sum = empty;
    for (size_t i = 0; i < count; i++) {
        add(&sum, parts[i].bytes, parts[i].length);
        head.length += parts[i].length;
    }
    head.sum = total(&sum);
    head.own_sum = sum_of(&head, offsetof(header, own_sum));
    bft_buffer folder = {0}, path = {0};
    bft_error ignored;
    bool written = false;
    for (place where = BESIDE; where < PLACES && !written; where++) {
        written = path_in(where, source, suffix, key, &folder, &path) &&
                  (where == BESIDE || bft_directory_create(&ignored, folder.data) == BFT_OK) &&
                  write_to(path.data, &head, parts, count);
    }
    bft_buffer_free(&folder);
    bft_buffer_free(&path);
    return written;
}
