/* value.h: a typed value of the configuration, checked against its key, and how it is written. */
#ifndef BFT_CONFIG_VALUE_H
#define BFT_CONFIG_VALUE_H

#include "base/arena.h"
#include "base/buffer.h"
#include "config/node.h"
#include "config/schema.h"

typedef struct bft_value {
    unsigned type; /* one BFT_TYPE_...; a list of floats is BFT_TYPE_NUMBERS */
    bool boolean;
    int64_t integer;
    double number;
    const char *text;   /* of every scalar but null */
    size_t count;       /* items of a list, entries of a map */
    const char **items; /* list: (count); map: (2 count), from and to by turns, `to` may be NULL */
    double *numbers;    /* (count) of a list of floats */
    const char *origin; /* "file:line" and the like */
} bft_value;

/* Checks `node` against `key` and makes its value, all in `arena`. */
bft_status bft_value_create(bft_error *err, bft_arena *arena, const bft_key *key, const bft_node *node,
                            const char *origin, bft_value *out);

enum { BFT_FLOAT_SIZE = 40 };
/* The shortest decimal form that reads back to the same double, in a form that YAML 1.1 takes for a float. */
void bft_float_text(double number, char out[BFT_FLOAT_SIZE]);

#endif
