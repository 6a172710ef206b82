/* test_base.c: the base layer: arena, buffer, errors, UTF-8, JSON strings, threads, files. */
#include "scratch.h"

#include "base/arena.h"
#include "base/buffer.h"
#include "base/file.h"
#include "base/json.h"
#include "base/thread.h"
#include "base/utf8.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>

static bft_error err;

/* ---- Memory ---- */

static void arena_blocks_are_zeroed_aligned_and_apart(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 63, 64, 65, 4000, 1, 100000, 3, 3 << 20, 7};
    enum { COUNT = sizeof sizes / sizeof sizes[0] };
    bft_arena arena = {0};
    unsigned char *block[COUNT];
    size_t total = 0;
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(BFT_NEW(&err, &arena, &block[i], sizes[i]), BFT_OK);
        assert_int_equal((uintptr_t)block[i] % 64, 0);
        total += sizes[i];
        for (size_t j = 0; j < sizes[i]; j++) {
            assert_int_equal(block[i][j], 0);
        }
        memset(block[i], (int)i + 1, sizes[i]);
    }
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t j = 0; j < sizes[i]; j++) {
            assert_int_equal(block[i][j], i + 1);
        }
    }
    assert_true(arena.used >= total);
    bft_arena_free(&arena);
    assert_null(arena.chunks);
    assert_int_equal(arena.used, 0);
}

static void arena_refuses_products_that_overflow(void **state) {
    (void)state;
    bft_arena arena = {0};
    void *block;
    assert_int_equal(bft_arena_alloc(&err, &arena, SIZE_MAX / 2, 3, &block), BFT_FAILED);
    assert_int_equal(bft_arena_alloc(&err, &arena, SIZE_MAX, 1, &block), BFT_FAILED);
    assert_int_equal(bft_arena_alloc(&err, &arena, (size_t)1 << 62, 4, &block), BFT_FAILED);
    assert_null(arena.chunks);
}

static void arena_strings_keep_their_nuls(void **state) {
    (void)state;
    bft_arena arena = {0};
    char *copy, *empty;
    assert_int_equal(bft_arena_string(&err, &arena, "a\0b", 3, &copy), BFT_OK);
    assert_int_equal(bft_arena_string(&err, &arena, NULL, 0, &empty), BFT_OK);
    assert_memory_equal(copy, "a\0b", 4);
    assert_string_equal(empty, "");
    bft_arena_free(&arena);
}

static void buffer_grows_and_stays_terminated(void **state) {
    (void)state;
    bft_buffer buffer = {0};
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(bft_buffer_append(&err, &buffer, "ab\0", 3), BFT_OK);
        assert_int_equal(buffer.data[buffer.length], 0);
    }
    assert_int_equal(buffer.length, 3000);
    assert_memory_equal(buffer.data + 2997, "ab\0", 4);
    bft_buffer_clear(&buffer);
    assert_string_equal(buffer.data, "");
    assert_int_equal(bft_buffer_printf(&err, &buffer, "%0300d|%s", 7, "x"), BFT_OK);
    assert_int_equal(buffer.length, 302);
    assert_string_equal(buffer.data + 299, "7|x");
    assert_int_equal(bft_buffer_reserve(&err, &buffer, SIZE_MAX - 10), BFT_FAILED);
    assert_int_equal(buffer.length, 302);
    bft_buffer_free(&buffer);
    assert_null(buffer.data);
}

/* ---- Errors ---- */

static void errors_are_one_line_of_whole_characters(void **state) {
    (void)state;
    assert_int_equal(bft_error_set(&err, BFT_BAD, "%s",
                                   "a\nb\x1b[31m\x7f\xc2\x9b"
                                   "c"),
                     BFT_BAD);
    assert_string_equal(err.message, "a?b?[31m???c");
    char text[3 * BFT_ERROR_SIZE];
    for (size_t i = 0; i + 2 < sizeof text; i += 2) {
        memcpy(text + i, "\xd0\x96", 3);
    }
    bft_error_set(&err, BFT_FAILED, "%s", text);
    assert_int_equal(strlen(err.message) % 2, 0);
    bft_error_set(&err, BFT_BAD, "cause");
    assert_int_equal(bft_error_prefix(&err, "%s:%d", "file", 7), BFT_BAD);
    assert_string_equal(err.message, "file:7: cause");
}

/* ---- UTF-8 ---- */

typedef struct broken {
    const char *text;
    size_t length;
    const char *want; /* '?' for U+FFFD */
} broken;

static void utf8_marks_maximal_subparts(void **state) {
    (void)state;
#define BROKEN(text, want)                                                                                             \
    { text, sizeof text - 1, want }
    static const broken cases[] = {
        /* The Unicode standard's own examples, tables 3-8 to 3-11 */
        BROKEN("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", "????????A"),
        BROKEN("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41", "????????A"),
        BROKEN("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42", "?????A??B"),
        BROKEN("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", "????A"),
        /* cut short at the end */
        BROKEN("A\xD0", "A?"),
        BROKEN("A\xE2\x82", "A?"),
        BROKEN("A\xF0\x9F\x98", "A?"),
        BROKEN("\xF0\x9F\x98\xD0\x41", "??A"),
        /* leads that don't exist */
        BROKEN("\xC1\x80\xF5\x80\xF8\x88\xFE", "???????"),
        BROKEN("\x80", "?"),
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char got[32] = "";
        size_t count = 0;
        for (size_t at = 0; at < cases[i].length;) {
            uint32_t scalar;
            at += bft_utf8_decode(cases[i].text + at, cases[i].length - at, &scalar);
            got[count++] = scalar == BFT_UTF8_INVALID ? '?' : (char)scalar;
        }
        assert_string_equal(got, cases[i].want);
    }
}

static void utf8_validity(void **state) {
    (void)state;
    static const char nul[] = "a\0b", replacement[] = "\xEF\xBF\xBD", cut[] = "\xD0\x90\xD0";
    assert_true(bft_utf8_valid("", 0));
    assert_true(bft_utf8_valid(nul, 3));
    assert_true(bft_utf8_valid(replacement, 3));
    assert_true(bft_utf8_valid(cut, 2));
    assert_false(bft_utf8_valid(cut, 3));
    assert_false(bft_utf8_valid("\xEF\xBF\xBE\xFF", 4));
    assert_false(bft_utf8_valid("\xED\xA0\x80", 3)); /* a surrogate */
}

static void utf8_round_trips_every_scalar(void **state) {
    (void)state;
    for (uint32_t scalar = 0; scalar <= 0x10FFFF; scalar++) {
        if (scalar >= 0xD800 && scalar <= 0xDFFF) {
            continue;
        }
        char bytes[4];
        uint32_t back;
        size_t length = bft_utf8_encode(scalar, bytes);
        assert_int_equal(length, scalar < 0x80 ? 1 : scalar < 0x800 ? 2 : scalar < 0x10000 ? 3 : 4);
        assert_int_equal(bft_utf8_decode(bytes, length, &back), length);
        assert_int_equal(back, scalar);
    }
}

static void json_quotes_what_must_be_quoted(void **state) {
    (void)state;
    static const char text[] = "a\"b\\c\n\t\0\x7f\xe2\x80\xa8\xd0\x96\xff\xf0\x9f\x98\x80";
    bft_buffer out = {0};
    assert_int_equal(bft_json_quote(&err, &out, text, sizeof text - 1), BFT_OK);
    assert_string_equal(out.data, "\"a\\\"b\\\\c\\n\\u0009\\u0000\\u007f\\u2028\xd0\x96\xef\xbf\xbd\xf0\x9f\x98\x80\"");
    json_t *back;
    assert_int_equal(bft_json_parse(&err, "x", 1, out.data, out.length, &back), BFT_OK);
    assert_int_equal(json_string_length(back), sizeof text - 1 + 2); /* the broken byte became three */
    json_decref(back);
    assert_int_equal(bft_json_parse(&err, "x", 5, "{\"a\":1,\n\"a\":2}", 14, &back), BFT_BAD);
    assert_int_equal(strncmp(err.message, "x:6: ", 5), 0);
    bft_buffer_free(&out);
}

/* ---- Threads ---- */

enum { UNITS = 1000, RUNS = 50 };

typedef struct tally {
    atomic_int done[UNITS];
    atomic_int strangers; /* calls with a thread that the pool doesn't have */
    int threads;
} tally;

static void count_unit(void *context, size_t unit, int thread) {
    tally *t = context;
    atomic_fetch_add(&t->done[unit], 1);
    if (thread < 0 || thread >= t->threads) {
        atomic_fetch_add(&t->strangers, 1);
    }
}

static void pool_does_every_unit_once(void **state) {
    (void)state;
    static tally t;
    for (int threads = 1; threads <= 5; threads++) {
        bft_pool *pool;
        memset(&t, 0, sizeof t);
        t.threads = threads;
        assert_int_equal(bft_pool_create(&err, &pool, threads), BFT_OK);
        assert_int_equal(bft_pool_threads(pool), threads);
        for (int i = 0; i < RUNS; i++) {
            bft_pool_run(pool, UNITS, count_unit, &t);
            bft_pool_run(pool, 0, count_unit, &t);
        }
        bft_pool_destroy(pool);
        for (size_t unit = 0; unit < UNITS; unit++) {
            assert_int_equal(t.done[unit], RUNS);
        }
        assert_int_equal(t.strangers, 0);
    }
}

static void pool_refuses_absurd_sizes(void **state) {
    (void)state;
    bft_pool *pool;
    assert_int_equal(bft_pool_create(&err, &pool, -1), BFT_BAD);
    assert_int_equal(bft_pool_create(&err, &pool, 100000), BFT_BAD);
    assert_int_equal(bft_pool_create(&err, &pool, 0), BFT_OK);
    assert_true(bft_pool_threads(pool) >= 1);
    bft_pool_destroy(pool);
    bft_pool_destroy(NULL);
}

/* ---- Files ---- */

/* The number of names in the scratch folder that hold ".tmp.": what a writer left behind. */
static int leftovers(void) {
    FILE *list = popen("ls -A | grep -c '\\.tmp\\.'", "r");
    int count = -1;
    assert_non_null(list);
    assert_int_equal(fscanf(list, "%d", &count), 1);
    pclose(list);
    return count;
}

static void assert_holds(const char *path, const void *bytes, size_t length) {
    bft_buffer text = {0};
    assert_int_equal(bft_file_read(&err, path, 1 << 20, &text), BFT_OK);
    assert_int_equal(text.length, length);
    assert_memory_equal(text.data, bytes, length);
    bft_buffer_free(&text);
}

static void writer_renames_into_place(void **state) {
    (void)state;
    enum { SIZE = 200001 };
    static char bytes[SIZE];
    for (size_t i = 0; i < SIZE; i++) {
        bytes[i] = (char)(i * 7 % 251);
    }
    SCRATCH("out", "old");
    bft_writer *writer;
    assert_int_equal(bft_writer_open(&err, &writer, "out"), BFT_OK);
    for (size_t at = 0; at < SIZE;) { /* pieces of 1, 4, 13, ... 88573 bytes, around the writer's buffer */
        size_t piece = at * 3 + 1 < SIZE - at ? at * 3 + 1 : SIZE - at;
        assert_int_equal(bft_writer_write(&err, writer, bytes + at, piece), BFT_OK);
        at += piece;
    }
    assert_holds("out", "old", 3);
    assert_int_equal(bft_writer_commit(&err, writer), BFT_OK);
    assert_holds("out", bytes, SIZE);
    assert_int_equal(leftovers(), 0);
}

static void writer_discarded_leaves_nothing(void **state) {
    (void)state;
    SCRATCH("kept", "old");
    bft_writer *writer;
    assert_int_equal(bft_writer_open(&err, &writer, "kept"), BFT_OK);
    assert_int_equal(bft_writer_write(&err, writer, "new", 3), BFT_OK);
    assert_int_equal(leftovers(), 1);
    bft_writer_discard(writer);
    bft_writer_discard(NULL);
    assert_holds("kept", "old", 3);
    assert_int_equal(leftovers(), 0);
}

static void writer_fails_whole_when_the_disk_is_full(void **state) {
    (void)state;
    static const char bytes[300000];
    struct rlimit before, tight;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    tight = before;
    tight.rlim_cur = 100000;
    signal(SIGXFSZ, SIG_IGN);
    SCRATCH("full", "old");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    bft_status status = bft_file_write(&err, "full", bytes, sizeof bytes);
    bft_status small = bft_file_write(&err, "small", bytes, 1000);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(status, BFT_FAILED);
    assert_int_equal(small, BFT_OK);
    assert_holds("full", "old", 3);
    assert_int_equal(leftovers(), 0);
}

static void writer_needs_its_folder(void **state) {
    (void)state;
    bft_writer *writer;
    assert_int_equal(bft_writer_open(&err, &writer, "nowhere/file"), BFT_FAILED);
    assert_non_null(strstr(err.message, "nowhere/file"));
    assert_int_equal(bft_directory_create(&err, "some/deep/folder"), BFT_OK);
    assert_int_equal(bft_directory_create(&err, "some/deep/folder"), BFT_OK);
    assert_true(bft_directory_exists("some/deep"));
    assert_int_equal(bft_file_write(&err, "some/deep/folder/file", "x", 1), BFT_OK);
    assert_int_equal(bft_directory_create(&err, "some/deep/folder/file/more"), BFT_FAILED);
}

static void reading_refuses_what_is_not_a_small_regular_file(void **state) {
    (void)state;
    bft_buffer text = {0};
    SCRATCH("five", "12345");
    assert_int_equal(bft_file_read(&err, "five", 4, &text), BFT_BAD);
    assert_int_equal(bft_file_read(&err, "five", 5, &text), BFT_OK);
    assert_int_equal(bft_file_read(&err, "missing", 5, &text), BFT_BAD);
    assert_int_equal(bft_file_read(&err, ".", 5, &text), BFT_BAD);
    assert_int_equal(mkfifo("fifo", 0600), 0);
    assert_int_equal(bft_file_read(&err, "fifo", 5, &text), BFT_BAD); /* and doesn't wait for a writer */
    bft_buffer_free(&text);
}

static void a_mapping_notices_that_its_file_shrank(void **state) {
    (void)state;
    bft_map map, empty;
    SCRATCH("mapped", "0123456789");
    SCRATCH("empty", "");
    assert_int_equal(bft_map_open(&err, &map, "mapped"), BFT_OK);
    assert_int_equal(map.size, 10);
    assert_memory_equal(map.data, "0123456789", 10);
    assert_int_equal(bft_map_check(&err, &map), BFT_OK);
    assert_int_equal(truncate("mapped", 4), 0);
    assert_int_equal(bft_map_check(&err, &map), BFT_BAD);
    bft_map_close(&map);
    assert_int_equal(bft_map_open(&err, &empty, "empty"), BFT_OK);
    assert_null(empty.data);
    bft_map_close(&empty);
    bft_map_close(&empty);
}

static void paths_are_joined(void **state) {
    (void)state;
    static const char *const cases[][3] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"", "b", "b"}, {"/", "b", "/b"}, {"a", "/b", "/b"}};
    bft_buffer out = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(bft_path_join(&err, &out, cases[i][0], cases[i][1]), BFT_OK);
        assert_string_equal(out.data, cases[i][2]);
    }
    bft_buffer_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_blocks_are_zeroed_aligned_and_apart),
        cmocka_unit_test(arena_refuses_products_that_overflow),
        cmocka_unit_test(arena_strings_keep_their_nuls),
        cmocka_unit_test(buffer_grows_and_stays_terminated),
        cmocka_unit_test(errors_are_one_line_of_whole_characters),
        cmocka_unit_test(utf8_marks_maximal_subparts),
        cmocka_unit_test(utf8_validity),
        cmocka_unit_test(utf8_round_trips_every_scalar),
        cmocka_unit_test(json_quotes_what_must_be_quoted),
        cmocka_unit_test(pool_does_every_unit_once),
        cmocka_unit_test(pool_refuses_absurd_sizes),
        cmocka_unit_test(writer_renames_into_place),
        cmocka_unit_test(writer_discarded_leaves_nothing),
        cmocka_unit_test(writer_fails_whole_when_the_disk_is_full),
        cmocka_unit_test(writer_needs_its_folder),
        cmocka_unit_test(reading_refuses_what_is_not_a_small_regular_file),
        cmocka_unit_test(a_mapping_notices_that_its_file_shrank),
        cmocka_unit_test(paths_are_joined),
    };
    return cmocka_run_group_tests(tests, scratch_enter, scratch_leave);
}
