/* vocabulary.c: building vocabularies, and their form in a cache. */
#include "text/vocabulary.h"

#include <stdlib.h>
#include <string.h>

/* ---- Building ---- */

static int shown(const bft_trie_key *key) {
    return (int)(key->length < 100 ? key->length : 100);
}

static bft_status same_id(bft_error *err, const bft_trie_key *keys, size_t second) {
    size_t first = 0;
    while (keys[first].value != keys[second].value) {
        first++;
    }
    return bft_error_set(err, BFT_BAD, "the tokens \"%.*s\" and \"%.*s\" have the same id %u", shown(&keys[first]),
                         keys[first].text, shown(&keys[second]), keys[second].text, keys[second].value);
}

/* Places the texts one behind the other by id. `keys` are what the trie has kept. */
static bft_status place_texts(bft_error *err, bft_vocabulary *vocabulary, const bft_trie_key *keys) {
    uint32_t *starts = vocabulary->owned_starts;
    for (size_t i = 0; i < vocabulary->count; i++) {
        uint32_t id = keys[i].value;
        if (starts[id + 1] != 0) {
            return same_id(err, keys, i);
        }
        starts[id + 1] = (uint32_t)keys[i].length + 1;
    }
    for (size_t id = 0; id < vocabulary->size; id++) {
        starts[id + 1] += starts[id];
    }
    vocabulary->text_bytes = starts[vocabulary->size];
    vocabulary->owned_texts = calloc(vocabulary->text_bytes, 1);
    if (vocabulary->owned_texts == NULL) {
        return bft_error_memory(err, vocabulary->text_bytes);
    }
    for (size_t i = 0; i < vocabulary->count; i++) {
        if (keys[i].length > 0) {
            memcpy(vocabulary->owned_texts + starts[keys[i].value], keys[i].text, keys[i].length);
        }
    }
    vocabulary->starts = starts;
    vocabulary->texts = vocabulary->owned_texts;
    return BFT_OK;
}

static bft_status build(bft_error *err, bft_vocabulary *vocabulary, bft_trie_key *keys) {
    BFT_TRY(bft_trie_build(err, &vocabulary->trie, keys, &vocabulary->count));
    for (size_t i = 0; i < vocabulary->count; i++) {
        vocabulary->size = keys[i].value >= vocabulary->size ? keys[i].value + (size_t)1 : vocabulary->size;
    }
    vocabulary->owned_starts = calloc(vocabulary->size + 1, sizeof *vocabulary->owned_starts);
    if (vocabulary->owned_starts == NULL) {
        return bft_error_memory(err, (vocabulary->size + 1) * sizeof *vocabulary->owned_starts);
    }
    return place_texts(err, vocabulary, keys);
}

bft_status bft_vocabulary_build(bft_error *err, bft_vocabulary *vocabulary, const bft_entry *entries, size_t count) {
    *vocabulary = (bft_vocabulary){.count = count};
    bft_trie_key *keys = calloc(count + 1, sizeof *keys);
    if (keys == NULL) {
        return bft_error_memory(err, (count + 1) * sizeof *keys);
    }
    for (size_t i = 0; i < count; i++) { /* ranks fall, since the last of equal entries stays */
        keys[i] = (bft_trie_key){entries[i].text.data, entries[i].text.length, entries[i].id, UINT32_MAX - (uint32_t)i};
    }
    bft_status status = build(err, vocabulary, keys);
    free(keys);
    if (status != BFT_OK) {
        bft_vocabulary_free(vocabulary);
    }
    return status;
}

void bft_vocabulary_free(bft_vocabulary *vocabulary) {
    bft_trie_free(&vocabulary->trie);
    free(vocabulary->owned_starts);
    free(vocabulary->owned_texts);
    bft_cache_close(&vocabulary->cache);
    *vocabulary = (bft_vocabulary){0};
}

/* ---- Asking ---- */

uint32_t bft_vocabulary_find(const bft_vocabulary *vocabulary, bft_text token) {
    uint32_t id = bft_trie_find(&vocabulary->trie, token.data, token.length);
    return id < vocabulary->size ? id : BFT_TRIE_NONE;
}

bft_text bft_vocabulary_text(const bft_vocabulary *vocabulary, size_t id) {
    if (id >= vocabulary->size) {
        return (bft_text){0};
    }
    size_t start = vocabulary->starts[id], end = vocabulary->starts[id + 1];
    bool there = start < end && end <= vocabulary->text_bytes && vocabulary->texts[end - 1] == '\0';
    return there ? (bft_text){vocabulary->texts + start, end - start - 1} : (bft_text){0};
}

/* ---- The cache: this header, the trie's nodes, the starts, the texts, the settings ---- */

enum { VERSION = 1 };

static const char suffix[] = ".bertft-cache";

typedef struct header {
    uint64_t size, count, nodes, text_bytes, settings_bytes;
} header;

/* The parts' sizes, if together they are the whole cache. */
static bool measure(const header *head, size_t whole, size_t *nodes, size_t *starts) {
    uint64_t parts = sizeof *head;
    bool fits = head->count > 0 && head->count <= head->size && head->size < BFT_TRIE_NO_VALUE && head->nodes > 0 &&
                head->nodes < whole && head->text_bytes <= whole && head->settings_bytes <= whole;
    if (!fits) {
        return false;
    }
    *nodes = head->nodes * sizeof(bft_trie_node);
    *starts = (head->size + 1) * sizeof(uint32_t);
    parts += *nodes + *starts + head->text_bytes + head->settings_bytes;
    return parts == whole;
}

bool bft_vocabulary_open(bft_vocabulary *vocabulary, const char *source, const bft_cache_key *key) {
    bft_cache cache;
    header head;
    size_t nodes, starts;
    if (!bft_cache_open(&cache, source, suffix, VERSION, key)) {
        return false;
    }
    if (cache.size >= sizeof head) {
        memcpy(&head, cache.data, sizeof head);
    }
    if (cache.size < sizeof head || !measure(&head, cache.size, &nodes, &starts) || !bft_cache_intact(&cache)) {
        bft_cache_close(&cache);
        return false;
    }
    const unsigned char *at = cache.data + sizeof head; /* where all is aligned to 8 bytes, then to 4 */
    const char *texts = (const char *)at + nodes + starts;
    *vocabulary = (bft_vocabulary){
        .size = head.size,
        .count = head.count,
        .trie = {.nodes = (const bft_trie_node *)(const void *)at, .count = head.nodes},
        .starts = (const uint32_t *)(const void *)(at + nodes),
        .texts = texts,
        .text_bytes = head.text_bytes,
        .settings = {texts + head.text_bytes, head.settings_bytes},
        .cache = cache,
    };
    return true;
}

void bft_vocabulary_keep(const bft_vocabulary *vocabulary, const char *source, const bft_cache_key *key,
                         bft_text settings) {
    if (vocabulary->count < BFT_VOCABULARY_CACHED) {
        return;
    }
    const header head = {vocabulary->size, vocabulary->count, vocabulary->trie.count, vocabulary->text_bytes,
                         settings.length};
    const bft_cache_part parts[] = {
        {&head, sizeof head},
        {vocabulary->trie.nodes, vocabulary->trie.count * sizeof *vocabulary->trie.nodes},
        {vocabulary->starts, (vocabulary->size + 1) * sizeof *vocabulary->starts},
        {vocabulary->texts, vocabulary->text_bytes},
        {settings.data, settings.length},
    };
    bft_cache_write(source, suffix, VERSION, key, parts, sizeof parts / sizeof *parts);
}
