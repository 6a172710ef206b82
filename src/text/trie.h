/* trie.h: a constant set of byte strings with a number each, walked a byte at a time.
 *
 * A double array: the child of a node by a byte lies at the node's base XOR the byte, if what lies there says that it
 * was reached by this byte. A step is one load, and the children of a node are within 2 KiB. No two nodes have the same
 * base, so that no child is taken for another node's. */
#ifndef BFT_TEXT_TRIE_H
#define BFT_TEXT_TRIE_H

#include "bertft/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BFT_TRIE_ROOT = 0, BFT_TRIE_DEAD = 0 }; /* the root is nobody's child, so 0 also says "no such child" */
#define BFT_TRIE_NONE UINT32_MAX               /* the value where no key ends */
#define BFT_TRIE_LEAF UINT32_MAX               /* the base of a node without children */

enum { BFT_TRIE_VALUE_BITS = 23, BFT_TRIE_NO_VALUE = (1 << BFT_TRIE_VALUE_BITS) - 1, BFT_TRIE_REACHED = 0x100 };

typedef struct bft_trie_node {
    uint32_t base;
    uint32_t value_label; /* the value << 9, or BFT_TRIE_NO_VALUE << 9; BFT_TRIE_REACHED and the byte, or 0 */
} bft_trie_node;

typedef struct bft_trie {
    const bft_trie_node *nodes; /* (count); any content is safe to walk */
    size_t count;
    bft_trie_node *owned; /* the same, or NULL where somebody else owns them */
} bft_trie;

typedef struct bft_trie_key {
    const char *text;
    size_t length;
    uint32_t value; /* below BFT_TRIE_NO_VALUE */
    uint32_t rank;  /* of equal keys the one with the lowest rank stays */
} bft_trie_key;

/* Sorts the keys, drops doubles (*count tells how many stay), and builds. The key texts may go afterwards. */
bft_status bft_trie_build(bft_error *err, bft_trie *trie, bft_trie_key *keys, size_t *count);
void bft_trie_free(bft_trie *trie); /* fine on {0} */

/* The child of `node` by `byte`, or BFT_TRIE_DEAD. */
static inline uint32_t bft_trie_step(const bft_trie *trie, uint32_t node, unsigned char byte) {
    uint32_t child = trie->nodes[node].base ^ byte;
    bool is = child < trie->count && (trie->nodes[child].value_label & 0x1FF) == (BFT_TRIE_REACHED | byte);
    return is ? child : BFT_TRIE_DEAD;
}

static inline uint32_t bft_trie_value(const bft_trie *trie, uint32_t node) {
    uint32_t value = trie->nodes[node].value_label >> (32 - BFT_TRIE_VALUE_BITS);
    return value != BFT_TRIE_NO_VALUE ? value : BFT_TRIE_NONE;
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
        uint32_t value = bft_trie_value(trie, node);
        if (value != BFT_TRIE_NONE) {
            best = value;
            *matched = i + 1;
        }
    }
    return best;
}

#endif
