/* arena.h: memory with one lifetime.
 *
 * An arena hands out zeroed, 64-byte aligned blocks and frees them all at once. One arena per lifetime: a file being
 * read, a model, a request. Zero-initialise the struct ({0}) to create an empty arena; bft_arena_free returns it to
 * that state. Not for use by several threads at a time. */
#ifndef BFT_BASE_ARENA_H
#define BFT_BASE_ARENA_H

#include "bertft/error.h"

#include <stddef.h>

typedef struct bft_arena {
    struct bft_arena_chunk *chunks; /* newest first */
    size_t used;                    /* bytes handed out, for reports and limits */
} bft_arena;

/* `count` items of `size` bytes, zeroed, 64-byte aligned, into *out. The product is checked for overflow. A count of
 * zero gives a valid pointer to nothing. Fails with BFT_FAILED where memory is short. */
bft_status bft_arena_alloc(bft_error *err, bft_arena *arena, size_t count, size_t size, void **out);

/* A NUL-terminated copy of `length` bytes (which may hold NULs themselves). */
bft_status bft_arena_string(bft_error *err, bft_arena *arena, const char *bytes, size_t length, char **out);

void bft_arena_free(bft_arena *arena);

/* Typed form: `float *x; BFT_TRY(BFT_NEW(err, arena, &x, n));` gives n zeroed floats. */
#define BFT_NEW(err, arena, pointer, count)                                                                            \
    bft_arena_alloc((err), (arena), (count), sizeof **(pointer), (void **)(pointer))

#endif
