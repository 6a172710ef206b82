/* test_vocabulary.c: the vocabulary's cache: the same tokenizer with it and without, whatever it holds; and tries. */
#include "tokenizer_test.h"

#include "text/vocabulary.h"

#include <sys/stat.h>

enum { WORDS = BFT_VOCABULARY_CACHED + 100, CACHE_VERSION = 1 };

static const char cache_path[] = "model/vocab.txt.bertft-cache", json_cache_path[] = "json/tokenizer.json.bertft-cache";
static const char text[] = "Слово word17 word200 word20099x ёлка [MASK] w7 \"word7\" \xff new";

static bft_buffer file;

static void write_numbered(const char *path, size_t count) {
    bft_buffer out = {0};
    for (int i = 0; i <= MASK; i++) {
        assert_int_equal(bft_buffer_printf(&err, &out, "%s\n", vocabulary[i]), BFT_OK);
    }
    assert_int_equal(bft_buffer_printf(&err, &out, "слово\nелка\n##x\n\"\n"), BFT_OK);
    for (size_t i = 9; i < count; i++) {
        assert_int_equal(bft_buffer_printf(&err, &out, "%sword%zu\n", i % 3 == 0 ? "##" : "", i), BFT_OK);
    }
    scratch_write(path, out.data, out.length);
    bft_buffer_free(&out);
}

static int enter(void **state) {
    if (scratch_enter(state) != 0 || unsetenv("HOME") != 0 || unsetenv("XDG_CACHE_HOME") != 0) {
        return -1;
    }
    return mkdir("model", 0700) | mkdir("small", 0700) | mkdir("json", 0700);
}

static int leave(void **state) {
    bft_buffer_free(&file);
    return scratch_leave(state);
}

/* The ids of the text, and a sum over the tokens' texts. */
static void read_all(const char *folder, bft_buffer *out) {
    bft_tokenizer *tokenizer = open_folder(folder);
    bft_encoding encoding = {0};
    bft_buffer_clear(out);
    assert_int_equal(bft_tokenizer_encode(&err, tokenizer, text, sizeof text - 1, NULL, 0, 0, &encoding), BFT_OK);
    bft_buffer_append(&err, out, encoding.ids, encoding.count * sizeof *encoding.ids);
    for (uint32_t id = 0; id < bft_tokenizer_size(tokenizer); id++) {
        bft_buffer_printf(&err, out, "%s\n", bft_tokenizer_token(tokenizer, id));
    }
    bft_encoding_free(&encoding);
    bft_tokenizer_destroy(tokenizer);
}

static void assert_same(const char *folder, const bft_buffer *want) {
    bft_buffer got = {0};
    read_all(folder, &got);
    assert_int_equal(got.length, want->length);
    assert_memory_equal(got.data, want->data, want->length);
    bft_buffer_free(&got);
}

static void read_cache(const char *path) {
    assert_int_equal(bft_file_read(&err, path, 64 << 20, &file), BFT_OK);
}

static void small_ones_have_none(void **state) {
    (void)state;
    bft_buffer first = {0};
    write_numbered("small/vocab.txt", BFT_VOCABULARY_CACHED - 1);
    read_all("small", &first);
    assert_false(bft_file_exists("small/vocab.txt.bertft-cache"));
    bft_buffer_free(&first);
}

static void gives_the_same(void **state) {
    (void)state;
    bft_buffer first = {0};
    write_numbered("model/vocab.txt", WORDS);
    read_all("model", &first);
    read_cache(cache_path);
    assert_same("model", &first);
    for (size_t i = 0; i < file.length; i += 1 + i % 29989) { /* damage */
        file.data[i] ^= 16;
        scratch_write(cache_path, file.data, file.length);
        assert_same("model", &first);
        file.data[i] ^= 16;
    }
    scratch_write(cache_path, file.data, file.length / 2);
    assert_same("model", &first);
    read_cache(cache_path);
    assert_same("model", &first);
    write_numbered("model/vocab.txt", WORDS + 1); /* another source */
    bft_tokenizer *tokenizer = open_folder("model");
    assert_int_equal(bft_tokenizer_size(tokenizer), WORDS + 1);
    bft_tokenizer_destroy(tokenizer);
    bft_buffer_free(&first);
}

/* A tokenizer.json with the vocabulary of the folder "model", and settings that are not BERT's own. */
static void write_big_json(void) {
    bft_buffer out = {0};
    assert_int_equal(
        bft_buffer_printf(&err, &out,
                          "{\"added_tokens\": [{\"content\": \"new\"}, {\"content\": \"\\u0000\", \"special\": true}], "
                          "\"normalizer\": {\"type\": \"BertNormalizer\", \"clean_text\": true, "
                          "\"handle_chinese_chars\": true, \"strip_accents\": true, \"lowercase\": true}, "
                          "\"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"}, \"post_processor\": {\"type\": "
                          "\"BertProcessing\", \"sep\": [\"[SEP]\", 3], \"cls\": [\"[CLS]\", 2]}, "
                          "\"model\": {\"type\": \"WordPiece\", \"unk_token\": \"[UNK]\", "
                          "\"continuing_subword_prefix\": \"##\", \"max_input_chars_per_word\": 9, \"vocab\": {"),
        BFT_OK);
    for (int i = 0; i < WORDS; i++) {
        bft_buffer_printf(&err, &out, i <= MASK ? "%s\"%s\": %d" : "%s\"%sword%d\": %d", i > 0 ? ", " : "",
                          i <= MASK    ? vocabulary[i]
                          : i % 3 == 0 ? "##"
                                       : "",
                          i, i);
    }
    assert_int_equal(bft_buffer_printf(&err, &out, "}}}"), BFT_OK);
    scratch_write("json/tokenizer.json", out.data, out.length);
    bft_buffer_free(&out);
}

static void serves_tokenizer_json(void **state) {
    (void)state;
    bft_buffer first = {0};
    write_big_json();
    read_all("json", &first);
    read_cache(json_cache_path);
    assert_same("json", &first);
    assert_int_equal(bft_file_write(&err, json_cache_path, file.data, 3), BFT_OK);
    assert_same("json", &first);
    bft_buffer_free(&first);
}

/* Whatever a cache says that has the right key and sums, nothing is read that isn't there. */
static void hostile_ones_are_safe(void **state) {
    (void)state;
    write_numbered("model/vocab.txt", WORDS);
    bft_tokenizer_destroy(open_folder("model"));
    bft_cache cache;
    bft_cache_key key;
    assert_true(bft_cache_key_of("model/vocab.txt", &key));
    assert_true(bft_cache_open(&cache, "model/vocab.txt", ".bertft-cache", CACHE_VERSION, &key));
    size_t size = cache.size, opened = 0;
    char *content = malloc(size), *bad = malloc(size);
    memcpy(content, cache.data, size);
    bft_cache_close(&cache);
    unsigned random = 1;
    for (int round = 0; round < 25; round++) {
        memcpy(bad, content, size);
        for (size_t i = 0; i < size / (round < 15 ? 1000 : 10); i++) {
            random = random * 1664525u + 1013904223u;
            size_t at = round < 8 && i == 0 ? random % 40 : (40 + (size_t)random) % size;
            bad[at] = (char)(random >> 16);
        }
        const bft_cache_part part = {bad, round % 5 == 4 ? size - (size_t)round : size};
        assert_true(bft_cache_write("model/vocab.txt", ".bertft-cache", CACHE_VERSION, &key, &part, 1));
        bft_tokenizer *tokenizer;
        bft_encoding encoding = {0};
        if (bft_tokenizer_open(&err, &tokenizer, "model") != BFT_OK) {
            continue; /* a special token is gone */
        }
        opened++;
        assert_int_equal(bft_tokenizer_encode(&err, tokenizer, text, sizeof text - 1, NULL, 0, 0, &encoding), BFT_OK);
        for (size_t i = 0; i < encoding.count; i++) {
            assert_in_range(encoding.ids[i], 0, bft_tokenizer_size(tokenizer) - 1);
        }
        for (uint32_t id = 0; id < bft_tokenizer_size(tokenizer); id++) {
            const char *token = bft_tokenizer_token(tokenizer, id);
            assert_true(token == NULL || strlen(token) < size);
        }
        bft_encoding_free(&encoding);
        bft_tokenizer_destroy(tokenizer);
    }
    assert_in_range(opened, 1, 25);
    free(content);
    free(bad);
}

/* Keys with every byte in them, and tries of none, of the empty key, and of one. */
static void tries_find_their_keys(void **state) {
    (void)state;
    enum { KEYS = 4000 };
    static char texts[KEYS][8];
    static bft_trie_key keys[KEYS];
    unsigned random = 7;
    for (size_t round = 0, wanted = 0; round < 5; round++, wanted = wanted == 0 ? 1 : wanted * 15) {
        wanted = wanted > KEYS ? KEYS : wanted;
        for (size_t i = 0; i < wanted; i++) {
            for (size_t k = 0; k < sizeof texts[i]; k++) {
                random = random * 1664525u + 1013904223u;
                texts[i][k] = (char)(random >> 24);
            }
            keys[i] = (bft_trie_key){texts[i], i == 0 ? 0 : 1 + random / 65536 % 8, (uint32_t)i, (uint32_t)i};
        }
        size_t count = wanted;
        bft_trie trie;
        assert_int_equal(bft_trie_build(&err, &trie, keys, &count), BFT_OK);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(bft_trie_find(&trie, keys[i].text, keys[i].length), keys[i].value);
        }
        assert_int_equal(bft_trie_find(&trie, "\0\0\0\0\0\0\0\0\0", 9), BFT_TRIE_NONE);
        bft_trie_free(&trie);
    }
    keys[0] = (bft_trie_key){"a", 1, BFT_TRIE_NO_VALUE, 0};
    size_t count = 1;
    bft_trie trie;
    assert_int_equal(bft_trie_build(&err, &trie, keys, &count), BFT_BAD);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_ones_have_none),  cmocka_unit_test(gives_the_same),
        cmocka_unit_test(serves_tokenizer_json), cmocka_unit_test(hostile_ones_are_safe),
        cmocka_unit_test(tries_find_their_keys),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
