/* store.h: the set of tensors that the readers of the single formats fill. Internal to src/weights. */
#ifndef BFT_WEIGHTS_STORE_H
#define BFT_WEIGHTS_STORE_H

#include "bertft/weights.h"
#include "base/arena.h"
#include "base/file.h"

typedef struct bft_weight_file {
    bft_map map;
    struct bft_weight_file *next;
} bft_weight_file;

struct bft_weights {
    bft_arena arena;        /* names, copies of data that can't be mapped, the list of files */
    bft_weight_file *files; /* newest first */
    bft_tensor *tensors;    /* (count) from the heap */
    size_t count, capacity;
    size_t *by_name; /* (count) indices, sorted by name; made when all tensors are there */
};

/* Maps a file for as long as the weights are open. */
bft_status bft_weights_map(bft_error *err, bft_weights *weights, const char *path, const bft_map **out);

/* Appends a tensor; its name (which may not hold a NUL) is copied. */
bft_status bft_weights_add(bft_error *err, bft_weights *weights, const bft_tensor *tensor, const char *name,
                           size_t name_length);

/* Multiplies the shape into tensor->count; false where the product leaves size_t. */
bool bft_tensor_measure(bft_tensor *tensor);

/* True where `data` can be read as elements of `size` bytes. */
bool bft_data_aligned(const void *data, size_t size);

/* The formats. Each reads one mapped file into the set. */
bft_status bft_safetensors_read(bft_error *err, bft_weights *weights, const bft_map *map);
bft_status bft_pytorch_read(bft_error *err, bft_weights *weights, const bft_map *map);
bool bft_pytorch_recognize(const bft_map *map);

/* model.safetensors.index.json, with the files that it names beside it. */
bft_status bft_shards_read(bft_error *err, bft_weights *weights, const char *path);

#endif
