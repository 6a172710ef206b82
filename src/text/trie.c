/* trie.c: builds the double array from sorted keys, depth first, so that what is below a node lies together. */
#include "text/trie.h"

#include <stdlib.h>
#include <string.h>

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

/* ---- Placing nodes ----
 *
 * Nodes lie in blocks of 256, and the children of one node in one block. A ring links the free places of the last
 * blocks; older ones have few free places left, which aren't worth the search. */

enum { BLOCK = 256, OPEN_BLOCKS = 16, FIRST_BLOCKS = 16 };

typedef struct place {
    uint32_t next, previous; /* of the ring, while the place is free; place 0 is the ring's head */
    bool taken, is_base;
} place;

typedef struct builder {
    bft_trie_node *nodes; /* (blocks * BLOCK), as is `places` */
    place *places;
    size_t blocks, room; /* in blocks */
} builder;

static void take(builder *b, uint32_t index) {
    place *p = &b->places[index];
    b->places[p->previous].next = p->next;
    b->places[p->next].previous = p->previous;
    p->taken = true;
}

static bft_status add_block(bft_error *err, builder *b) {
    if (b->blocks == b->room) {
        size_t room = b->room == 0 ? FIRST_BLOCKS : 2 * b->room;
        bft_trie_node *nodes = realloc(b->nodes, room * BLOCK * sizeof *nodes);
        b->nodes = nodes != NULL ? nodes : b->nodes;
        place *places = realloc(b->places, room * BLOCK * sizeof *places);
        b->places = places != NULL ? places : b->places;
        if (nodes == NULL || places == NULL) {
            return bft_error_memory(err, room * BLOCK * (sizeof *nodes + sizeof *places));
        }
        b->room = room;
    }
    if (b->blocks >= OPEN_BLOCKS) {
        uint32_t old = (uint32_t)(b->blocks - OPEN_BLOCKS) * BLOCK;
        for (uint32_t i = old; i < old + BLOCK; i++) {
            if (!b->places[i].taken) {
                take(b, i);
            }
        }
    }
    uint32_t first = (uint32_t)b->blocks * BLOCK;
    for (uint32_t i = first; i < first + BLOCK; i++) {
        b->nodes[i] = (bft_trie_node){.value_label = (uint32_t)BFT_TRIE_NO_VALUE << 9};
        b->places[i] = (place){0};
        if (i > 0) {
            uint32_t last = b->places[0].previous;
            b->places[i].previous = last;
            b->places[last].next = b->places[0].previous = i;
        }
    }
    b->places[0].taken = true;
    b->blocks++;
    return BFT_OK;
}

/* A base that nobody has, with free places for all these children. */
static bft_status find_base(bft_error *err, builder *b, const unsigned char *labels, size_t count, uint32_t *base) {
    for (;;) {
        for (uint32_t at = b->places[0].next; at != 0; at = b->places[at].next) {
            *base = at ^ labels[0];
            bool fits = !b->places[*base].is_base;
            for (size_t i = 1; fits && i < count; i++) {
                fits = !b->places[*base ^ labels[i]].taken;
            }
            if (fits) {
                return BFT_OK;
            }
        }
        BFT_TRY(add_block(err, b));
    }
}

/* ---- The tree of the sorted keys ---- */

/* A node, the keys below it, and how many bytes they share. */
typedef struct span {
    uint32_t node, first, end, depth;
} span;

/* Where the keys that go on with the same byte as the first one end. */
static uint32_t end_of_label(const bft_trie_key *keys, span here) {
    char label = keys[here.first].text[here.depth];
    while (here.first < here.end && keys[here.first].text[here.depth] == label) {
        here.first++;
    }
    return here.first;
}

/* Gives a node its value and its children their places, and puts those on the stack. */
static bft_status place_children(bft_error *err, builder *b, const bft_trie_key *keys, span here, span *stack,
                                 size_t *height) {
    if (keys[here.first].length == here.depth) {
        b->nodes[here.node].value_label &= (1 << 9) - 1;
        b->nodes[here.node].value_label |= keys[here.first].value << 9;
        here.first++;
    }
    b->nodes[here.node].base = BFT_TRIE_LEAF;
    if (here.first == here.end) {
        return BFT_OK;
    }
    unsigned char labels[BLOCK];
    size_t count = 0;
    for (span rest = here; rest.first < rest.end; rest.first = end_of_label(keys, rest)) {
        labels[count++] = (unsigned char)keys[rest.first].text[rest.depth];
    }
    uint32_t base;
    BFT_TRY(find_base(err, b, labels, count, &base));
    b->nodes[here.node].base = base;
    b->places[base].is_base = true;
    for (size_t i = 0; i < count; i++) {
        uint32_t child = base ^ labels[i], end = end_of_label(keys, here);
        take(b, child);
        b->nodes[child].value_label |= BFT_TRIE_REACHED | labels[i];
        stack[(*height)++] = (span){child, here.first, end, here.depth + 1};
        here.first = end;
    }
    return BFT_OK;
}

static bft_status place_all(bft_error *err, builder *b, const bft_trie_key *keys, size_t count) {
    /* The spans on the stack are apart from each other, and each has a key. */
    span *stack = calloc(count + 1, sizeof *stack);
    if (stack == NULL) {
        return bft_error_memory(err, (count + 1) * sizeof *stack);
    }
    bft_status status = add_block(err, b);
    size_t height = 0;
    if (count > 0) {
        stack[height++] = (span){BFT_TRIE_ROOT, 0, (uint32_t)count, 0};
    }
    while (status == BFT_OK && height > 0) {
        span here = stack[--height];
        status = place_children(err, b, keys, here, stack, &height);
    }
    free(stack);
    return status;
}

bft_status bft_trie_build(bft_error *err, bft_trie *trie, bft_trie_key *keys, size_t *count) {
    qsort(keys, *count, sizeof *keys, compare_keys);
    *count = drop_doubles(keys, *count);
    size_t bytes = 0;
    bool fits = *count < BFT_TRIE_NO_VALUE;
    for (size_t i = 0; i < *count; i++) {
        bytes += keys[i].length;
        fits &= keys[i].value < BFT_TRIE_NO_VALUE;
    }
    if (!fits || bytes >= UINT32_MAX / 4) {
        return bft_error_set(err, BFT_BAD, "a vocabulary of %zu tokens and %zu bytes is not supported", *count, bytes);
    }
    builder b = {0};
    bft_status status = place_all(err, &b, keys, *count);
    free(b.places);
    if (status != BFT_OK) {
        free(b.nodes);
        return status;
    }
    *trie = (bft_trie){.nodes = b.nodes, .count = b.blocks * BLOCK, .owned = b.nodes};
    return BFT_OK;
}

void bft_trie_free(bft_trie *trie) {
    free(trie->owned);
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
    return bft_trie_value(trie, node);
}
