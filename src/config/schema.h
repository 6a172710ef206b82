/* schema.h: every configuration key: name, types, default, allowed values, documentation. */
#ifndef BFT_CONFIG_SCHEMA_H
#define BFT_CONFIG_SCHEMA_H

#include "base/buffer.h"
#include "bertft/error.h"

#include <stdbool.h>
#include <stddef.h>

/* What a value can be. A value has one of the first seven; a key takes a set of them. */
enum {
    BFT_TYPE_NULL = 1,
    BFT_TYPE_BOOL = 2,
    BFT_TYPE_INT = 4,
    BFT_TYPE_FLOAT = 8,
    BFT_TYPE_STRING = 16,
    BFT_TYPE_LIST = 32, /* of strings, each taken as written */
    BFT_TYPE_MAP = 64,  /* from string to string or null, as written */
    /* Of a key's set, instead of BFT_TYPE_LIST: */
    BFT_TYPE_NUMBERS = 128 /* a list of floats */
};

typedef struct bft_key {
    const char *name; /* "GROUP.KEY", or "KEY" at the top */
    unsigned types;
    const char *preset;  /* the default, a literal as in a KEY VALUE pair */
    const char *choices; /* "a|b|c": allowed strings; of a key that takes lists only, allowed items. NULL: any */
    const char *range;   /* an interval for numbers, items included; "[0, 1) x 2": two items. NULL: any finite */
    const char *doc;
} bft_key;

extern const bft_key bft_schema[];
extern const size_t bft_schema_count;

enum { BFT_SCHEMA_LONGEST = 64 }; /* no dotted name is as long as this */

/* The index of a dotted key, bft_schema_count where there is none. */
size_t bft_schema_find(const char *name);
bool bft_schema_is_group(const char *name);

/* The known key (or, for a name without a dot, perhaps a group) that `name` was probably meant to be. */
void bft_schema_nearest(const char *name, char nearest[BFT_SCHEMA_LONGEST]);

/* "null or a float in [0, 1)": for error lines and documentation. */
bft_status bft_schema_describe(bft_error *err, const bft_key *key, bft_buffer *out);

#endif
