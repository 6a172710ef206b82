/* arena.c: chunks from the heap, given back together. */
#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64, FIRST_CHUNK = 4096, LARGEST_CHUNK = 1 << 20 };

typedef struct bft_arena_chunk {
    struct bft_arena_chunk *next;
    size_t size, used; /* of the bytes behind this header */
    size_t next_size;  /* what the next small chunk should take */
} chunk;

enum { HEADER = (sizeof(chunk) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT };

bft_status bft_arena_alloc(bft_error *err, bft_arena *arena, size_t count, size_t size, void **out) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2) {
        return bft_error_memory(err, SIZE_MAX);
    }
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    chunk *c = arena->chunks;
    if (c == NULL || c->size - c->used < bytes) {
        size_t small = c == NULL ? FIRST_CHUNK : c->next_size;
        size_t room = bytes > small ? bytes : small;
        chunk *fresh = aligned_alloc(ALIGNMENT, HEADER + (room + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
        if (fresh == NULL) {
            return bft_error_memory(err, bytes);
        }
        *fresh = (chunk){.next = c, .size = room, .next_size = small < LARGEST_CHUNK ? small * 2 : small};
        arena->chunks = c = fresh;
    }
    char *block = (char *)c + HEADER + c->used;
    memset(block, 0, bytes);
    c->used += bytes;
    arena->used += bytes;
    *out = block;
    return BFT_OK;
}

bft_status bft_arena_string(bft_error *err, bft_arena *arena, const char *bytes, size_t length, char **out) {
    BFT_TRY(bft_arena_alloc(err, arena, length + 1, 1, (void **)out));
    if (length > 0) {
        memcpy(*out, bytes, length);
    }
    return BFT_OK;
}

void bft_arena_free(bft_arena *arena) {
    for (chunk *c = arena->chunks; c != NULL;) {
        chunk *next = c->next;
        free(c);
        c = next;
    }
    *arena = (bft_arena){0};
}
