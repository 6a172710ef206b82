/* pickle.h: PyTorch's pickles as data.
 *
 * A pickle is a program for a small stack machine. Ours knows the opcodes that state dicts are made of and a handful of
 * global names, builds plain values, and calls nothing. Anything else is an error that names it. */
#ifndef BFT_WEIGHTS_PICKLE_H
#define BFT_WEIGHTS_PICKLE_H

#include "base/arena.h"
#include "kernels/ops.h" /* bft_dtype */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum bft_value_kind {
    BFT_VALUE_NONE,
    BFT_VALUE_BOOL,
    BFT_VALUE_INT,
    BFT_VALUE_STRING,
    BFT_VALUE_TUPLE,
    BFT_VALUE_LIST,
    BFT_VALUE_DICT,
    BFT_VALUE_FUNCTION,     /* one of the globals that may be "called": a bft_pickle_function */
    BFT_VALUE_STORAGE_TYPE, /* torch.FloatStorage and its like */
    BFT_VALUE_STORAGE,
    BFT_VALUE_TENSOR,
    BFT_VALUE_MARK /* only on the stack, never in another value */
} bft_value_kind;

typedef struct bft_value bft_value;

typedef struct bft_values {
    bft_value **at;
    size_t count, capacity;
} bft_values;

typedef struct bft_string {
    const char *bytes; /* in the pickle itself, so no NUL ends them */
    size_t length;
} bft_string;

typedef struct bft_storage_type {
    const char *name;
    size_t size;   /* bytes of an element */
    bool readable; /* as `dtype`; the others (ids, masks, doubles) are listed without data */
    bft_dtype dtype;
} bft_storage_type;

/* What a persistent id says about a storage; several references may share a key, and then share the bytes. */
typedef struct bft_storage {
    const bft_storage_type *type;
    bft_string key;
    size_t count;                   /* elements of the whole storage */
    size_t view_begin, view_length; /* the elements that this reference sees */
    struct bft_storage *next;       /* all references of a pickle, the last one first */
    struct bft_storage *root;       /* the reference that stands for all with this key: set by the file's reader */
    const unsigned char *data;      /* of the root: set by the file's reader, NULL where it isn't needed */
    bool mapped;
} bft_storage;

struct bft_value {
    bft_value_kind kind;
    union {
        int64_t integer; /* INT, BOOL */
        bft_string string;
        bft_values items; /* TUPLE, LIST; DICT: key, value, key, value, ... */
        int function;
        const bft_storage_type *storage_type;
        bft_storage *storage;
        struct {
            const bft_storage *storage;
            int64_t offset;
            const bft_values *sizes, *strides; /* INTs, equally many, at most BFT_MAX_DIMENSIONS */
        } tensor;
    };
};

/* Runs the pickle at bytes[*position], moves *position behind it, and gives its value. `path` goes into error lines.
 * Values live in `arena` and point into `bytes`; each storage that the pickle names is put before *storages. */
bft_status bft_pickle_read(bft_error *err, bft_arena *arena, const char *path, const unsigned char *bytes, size_t size,
                           size_t *position, bft_storage **storages, bft_value **out);

/* ---- Between the machine and the names that it meets. Errors of these four have no place yet. ---- */

bft_status bft_values_append(bft_error *err, bft_arena *arena, bft_values *values, bft_value *value);

/* The meaning of a global name; one that isn't on the list is an error. */
bft_status bft_torch_global(bft_error *err, bft_string module, bft_string name, bft_value *out);

/* What calling `callee` with a TUPLE of arguments would give. */
bft_status bft_torch_call(bft_error *err, bft_arena *arena, const bft_value *callee, const bft_value *arguments,
                          bft_value *out);

/* The storage that a persistent id stands for. */
bft_status bft_torch_storage(bft_error *err, bft_arena *arena, const bft_value *id, bft_storage **out);

/* ---- Looking at values ---- */

bool bft_string_is(bft_string string, const char *text);
int bft_string_compare(bft_string a, bft_string b);

/* The value under a string key of a DICT, or NULL. */
bft_value *bft_value_lookup(const bft_value *dict, const char *key);

#endif
