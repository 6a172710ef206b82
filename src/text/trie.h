/* trie.h: a constant set of byte strings with a number each, walked a byte at a time. */
#ifndef BFT_TEXT_TRIE_H
#define BFT_TEXT_TRIE_H

#include "bertft/error.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { BFT_TRIE_ROOT = 0, BFT_TRIE_DEAD = 0 }; /* the root is nobody's child, so 0 also says "no such child" */
#define BFT_TRIE_NONE UINT32_MAX               /* the value of a node where no key ends */

/* Nodes lie breadth first, so a node's children are neighbours, and end where the next node's children start. */
typedef struct bft_trie_node {
    uint32_t child, value;
} bft_trie_node;

typedef struct bft_trie {
    bft_trie_node *nodes;  /* (count + 1): the last one only ends its predecessor's children */
    unsigned char *labels; /* (count): the byte that leads to each node */
    size_t count;
} bft_trie;

typedef struct bft_trie_key {
    const char *text;
    size_t length;
    uint32_t value; /* not BFT_TRIE_NONE */
    uint32_t rank;  /* of equal keys the one with the lowest rank stays */
} bft_trie_key;

/* Sorts the keys, drops doubles (*count tells how many stay), and builds. The key texts may go afterwards. */
bft_status bft_trie_build(bft_error *err, bft_trie *trie, bft_trie_key *keys, size_t *count);
void bft_trie_free(bft_trie *trie); /* fine on {0} */

/* The child of `node` by `byte`, or BFT_TRIE_DEAD. */
static inline uint32_t bft_trie_step(const bft_trie *trie, uint32_t node, unsigned char byte) {
    uint32_t child = trie->nodes[node].child, end = trie->nodes[node + 1].child;
    if (end - child == 1) {
        return trie->labels[child] == byte ? child : BFT_TRIE_DEAD;
    }
    const unsigned char *found = memchr(trie->labels + child, byte, end - child);
    return found != NULL ? (uint32_t)(found - trie->labels) : BFT_TRIE_DEAD;
}

/* The value of the whole string, or BFT_TRIE_NONE. */
uint32_t bft_trie_find(const bft_trie *trie, const char *text, size_t length);

/* The value of the longest non-empty key that `text` starts with, walking from `node`, and its length into *matched;
 * BFT_TRIE_NONE if there is none. */
static inline uint32_t bft_trie_longest(const bft_trie *trie, uint32_t node, const char *text, size_t length,
                                        size_t *matched) {
    uint32_t best = BFT_TRIE_NONE;
    for (size_t i = 0; i < length; i++) {
        node = bft_trie_step(trie, node, (unsigned char)text[i]);
        if (node == BFT_TRIE_DEAD) {
            break;
        }
        if (trie->nodes[node].value != BFT_TRIE_NONE) {
            best = trie->nodes[node].value;
            *matched = i + 1;
        }
    }
    return best;
}

#endif
