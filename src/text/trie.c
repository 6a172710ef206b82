/* trie.c: builds the trie from sorted keys, level by level, in time that grows with the bytes of the keys. */
#include "text/trie.h"

#include <stdlib.h>

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

static int compare_keys(const void *left, const void *right) {
    const bft_trie_key *a = left, *b = right;
    int order = memcmp(a->text, b->text, smaller(a->length, b->length));
    if (order == 0) {
        order = (a->length > b->length) - (a->length < b->length);
    }
    return order != 0 ? order : (a->rank > b->rank) - (a->rank < b->rank);
}

static size_t drop_doubles(bft_trie_key *keys, size_t count) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || keys[kept - 1].length != keys[i].length ||
            memcmp(keys[kept - 1].text, keys[i].text, keys[i].length) != 0) {
            keys[kept++] = keys[i];
        }
    }
    return kept;
}

/* One node for the root, and one for each byte of a key beyond what it shares with the key before it. */
static size_t count_nodes(const bft_trie_key *keys, size_t count) {
    size_t nodes = 1;
    for (size_t i = 0; i < count; i++) {
        size_t shared = 0, most = i > 0 ? smaller(keys[i].length, keys[i - 1].length) : 0;
        while (shared < most && keys[i].text[shared] == keys[i - 1].text[shared]) {
            shared++;
        }
        nodes += keys[i].length - shared;
    }
    return nodes;
}

/* The keys below a node, and how many bytes they share. */
typedef struct span {
    uint32_t first, end, depth;
} span;

/* The list of nodes is its own queue: node i is finished by appending its children. */
static void fill(bft_trie *trie, const bft_trie_key *keys, size_t count, span *spans) {
    uint32_t used = 1;
    spans[0] = (span){0, (uint32_t)count, 0};
    for (uint32_t i = 0; i < trie->count; i++) {
        span here = spans[i];
        trie->nodes[i] = (bft_trie_node){.child = used, .value = BFT_TRIE_NONE};
        if (here.first < here.end && keys[here.first].length == here.depth) {
            trie->nodes[i].value = keys[here.first].value;
            here.first++;
        }
        while (here.first < here.end) {
            unsigned char label = (unsigned char)keys[here.first].text[here.depth];
            uint32_t first = here.first;
            while (here.first < here.end && (unsigned char)keys[here.first].text[here.depth] == label) {
                here.first++;
            }
            trie->labels[used] = label;
            spans[used++] = (span){first, here.first, here.depth + 1};
        }
    }
    trie->nodes[trie->count] = (bft_trie_node){.child = used, .value = BFT_TRIE_NONE};
}

bft_status bft_trie_build(bft_error *err, bft_trie *trie, bft_trie_key *keys, size_t *count) {
    qsort(keys, *count, sizeof *keys, compare_keys);
    *count = drop_doubles(keys, *count);
    size_t nodes = count_nodes(keys, *count);
    if (nodes >= UINT32_MAX) {
        return bft_error_set(err, BFT_BAD, "a vocabulary of more than %u bytes is not supported", UINT32_MAX);
    }
    *trie = (bft_trie){.nodes = calloc(nodes + 1, sizeof *trie->nodes), .labels = calloc(nodes, 1), .count = nodes};
    span *spans = calloc(nodes, sizeof *spans);
    if (trie->nodes == NULL || trie->labels == NULL || spans == NULL) {
        free(spans);
        bft_trie_free(trie);
        return bft_error_memory(err, nodes * (sizeof *trie->nodes + sizeof *spans));
    }
    fill(trie, keys, *count, spans);
    free(spans);
    return BFT_OK;
}

void bft_trie_free(bft_trie *trie) {
    free(trie->nodes);
    free(trie->labels);
    *trie = (bft_trie){0};
}

uint32_t bft_trie_find(const bft_trie *trie, const char *text, size_t length) {
    uint32_t node = BFT_TRIE_ROOT;
    for (size_t i = 0; i < length; i++) {
        node = bft_trie_step(trie, node, (unsigned char)text[i]);
        if (node == BFT_TRIE_DEAD) {
            return BFT_TRIE_NONE;
        }
    }
    return trie->nodes[node].value;
}
