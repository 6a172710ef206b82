/* pytorch.h: what the two container formats of torch.save share. Internal to src/weights. */
#ifndef BFT_WEIGHTS_PYTORCH_H
#define BFT_WEIGHTS_PYTORCH_H

#include "weights/pickle.h"
#include "weights/store.h"

/* One file being read. */
typedef struct bft_pytorch {
    bft_weights *weights;
    const bft_map *map;
    bft_arena scratch;       /* the pickle's values; gone when the tensors are there */
    bft_storage *references; /* all that the pickle names */
    bft_storage **roots;     /* (root_count) one reference for each key, sorted by key */
    size_t root_count;
    size_t copied, copy_limit; /* bytes of data held in memory; a small file must not ask for much */
} bft_pytorch;

/* Counts `size` bytes towards the copy limit; the second form also hands them out. */
bft_status bft_pytorch_charge(bft_error *err, bft_pytorch *file, size_t size);
bft_status bft_pytorch_alloc(bft_error *err, bft_pytorch *file, bft_arena *arena, size_t size, void **out);

/* Finds the roots; references with one key must agree on type and length. */
bft_status bft_pytorch_link(bft_error *err, bft_pytorch *file);
bft_storage *bft_pytorch_root(const bft_pytorch *file, bft_string key); /* NULL: the pickle has no such key */

/* Gives a root its bytes, which lie in the mapping: as they are where they are aligned, else a copy. */
bft_status bft_pytorch_place(bft_error *err, bft_pytorch *file, bft_storage *root, const unsigned char *bytes);

/* Adds the tensors of a state dict to the weights. The roots have their bytes. */
bft_status bft_pytorch_add_tensors(bft_error *err, bft_pytorch *file, const bft_value *state);

#endif
