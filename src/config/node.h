/* node.h: a parsed value before the schema has looked at it, from YAML or from a Python literal. */
#ifndef BFT_CONFIG_NODE_H
#define BFT_CONFIG_NODE_H

#include "base/arena.h"
#include "bertft/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bft_node {
    unsigned type;    /* one of BFT_TYPE_NULL .. BFT_TYPE_MAP */
    const char *text; /* a scalar as written, a string's value; no NUL inside */
    size_t line;      /* from 1; 0 where there is no file */
    bool quoted;      /* a string that said so: it is nothing else */
    bool huge;        /* an int beyond 64 bits: only `number` holds it */
    bool boolean;
    int64_t integer;
    double number;                 /* of ints too */
    size_t count;                  /* items of a list, entries of a map */
    struct bft_node *first, *last; /* items; of a map: key, value, key, value, ... */
    struct bft_node *next;
} bft_node;

enum { BFT_NODE_DEPTH = 16 }; /* deepest nesting, more than any configuration has */

bft_status bft_node_create(bft_error *err, bft_arena *arena, unsigned type, size_t line, bft_node **out);
void bft_node_append(bft_node *parent, bft_node *child); /* counts are the caller's */

/* Gives an unquoted scalar `node->text` its type and value: PyYAML's YAML 1.1 rules, else Python's numbers, else
 * a string. */
void bft_node_resolve(bft_node *node);

/* Reads a Python number without a sign at the start of `text`; returns its length, 0 where none is. */
size_t bft_node_number(bft_node *node, const char *text);
void bft_node_negate(bft_node *node); /* of an int or a float */

/* Reads `text` as ast.literal_eval does. *out is NULL where it isn't a literal. */
bft_status bft_python_parse(bft_error *err, bft_arena *arena, const char *text, size_t line, bft_node **out);

/* Reads one YAML document; `name` goes into error lines. *out is NULL where there is none. */
bft_status bft_yaml_parse(bft_error *err, bft_arena *arena, const char *name, const char *text, size_t length,
                          bft_node **out);

#endif
