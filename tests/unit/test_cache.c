/* test_cache.c: caches that fit, and all the ways in which one doesn't. */
#include "scratch.h"

#include "base/cache.h"

#include <fcntl.h>
#include <sys/stat.h>

enum { VERSION = 7, LENGTH = 70000 };

static const char source[] = "model/source", cache_path[] = "model/source.test-cache", suffix[] = ".test-cache";
static char content[LENGTH];

static bft_cache_key key_of(const char *path) {
    bft_cache_key key = {{0}};
    assert_true(bft_cache_key_of(path, &key));
    return key;
}

static bool write_it(const char *path) {
    bft_cache_key key = key_of(path);
    const bft_cache_part parts[] = {{content, 1}, {content + 1, 63}, {NULL, 0}, {content + 64, LENGTH - 64}};
    return bft_cache_write(path, suffix, VERSION, &key, parts, sizeof parts / sizeof *parts);
}

/* Whether there is a cache that fits, and whether it is whole. */
static bool opens(const char *path, bool *intact) {
    bft_cache cache;
    bft_cache_key key = key_of(path);
    bool found = bft_cache_open(&cache, path, suffix, VERSION, &key);
    if (found) {
        assert_int_equal(cache.size, LENGTH);
        assert_int_equal((uintptr_t)cache.data % 64, 0);
        *intact = bft_cache_intact(&cache);
        assert_int_equal(*intact, memcmp(cache.data, content, LENGTH) == 0);
    } else {
        assert_null(cache.data);
    }
    bft_cache_close(&cache);
    return found;
}

static bool fits(const char *path) {
    bool intact = false;
    return opens(path, &intact) && intact;
}

static int enter(void **state) {
    for (size_t i = 0; i < LENGTH; i++) {
        content[i] = (char)(i * i / 7);
    }
    return scratch_enter(state);
}

static void fresh_source(void) {
    assert_int_equal(system("chmod -Rf u+w model; rm -rf model home; mkdir -p model home"), 0);
    assert_int_equal(unsetenv("HOME"), 0);
    assert_int_equal(unsetenv("XDG_CACHE_HOME"), 0);
    SCRATCH(source, "the source");
}

static void is_found_again(void **state) {
    (void)state;
    fresh_source();
    bft_cache_key key;
    assert_false(fits(source));
    assert_false(bft_cache_key_of("model/nothing", &key));
    assert_false(bft_cache_key_of("model", &key));
    assert_true(write_it(source));
    assert_true(fits(source));
    bft_cache cache;
    key = key_of(source);
    assert_false(bft_cache_open(&cache, source, suffix, VERSION + 1, &key));
    assert_false(bft_cache_open(&cache, source, ".other", VERSION, &key));
}

static void the_sources_state_counts(void **state) {
    (void)state;
    fresh_source();
    assert_true(write_it(source));
    const struct timespec times[2] = {{1, 2}, {3, 4}};
    assert_int_equal(utimensat(AT_FDCWD, source, times, 0), 0);
    assert_false(fits(source));
    assert_true(write_it(source));
    SCRATCH(source, "the Source");
    assert_int_equal(utimensat(AT_FDCWD, source, times, 0), 0); /* the same size and time, other bytes */
    assert_false(fits(source));
    assert_true(write_it(source));
    assert_int_equal(system("cp -a model/source model/copy; cp -a model/source.test-cache model/copy.test-cache"), 0);
    assert_false(fits("model/copy"));
    assert_true(fits(source));
}

static void read_whole(unsigned char **bytes, size_t *size) {
    bft_buffer file = {0};
    bft_error err;
    assert_int_equal(bft_file_read(&err, cache_path, 1 << 20, &file), BFT_OK);
    *bytes = (unsigned char *)file.data;
    *size = file.length;
}

static void damage_is_seen(void **state) {
    (void)state;
    fresh_source();
    assert_true(write_it(source));
    unsigned char *bytes;
    size_t size, header;
    read_whole(&bytes, &size);
    header = size - LENGTH;
    for (size_t i = 0; i < size; i += i < header ? 1 : 997) {
        bool intact = false;
        bytes[i] ^= (unsigned char)(1u << i % 8);
        scratch_write(cache_path, (const char *)bytes, size);
        assert_int_equal(opens(source, &intact), i >= header);
        assert_false(intact);
        bytes[i] ^= (unsigned char)(1u << i % 8);
    }
    const size_t lengths[] = {0, 1, 8, header - 1, header, header + 1, size - 1};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        scratch_write(cache_path, (const char *)bytes, lengths[i]);
        assert_false(fits(source));
    }
    bytes = realloc(bytes, size + 1);
    bytes[size] = 0;
    scratch_write(cache_path, (const char *)bytes, size + 1);
    assert_false(fits(source));
    scratch_write(cache_path, (const char *)bytes, size);
    assert_true(fits(source));
    free(bytes);
    assert_int_equal(unlink(cache_path), 0);
    assert_int_equal(mkdir(cache_path, 0700), 0);
    assert_false(fits(source));
}

/* Root may write anywhere: a folder by the temporary's name is as good as a folder that can't be written to. */
static void block_writing(const char *path) {
    char name[256];
    snprintf(name, sizeof name, "%s.tmp.%ld", path, (long)getpid());
    assert_int_equal(mkdir(name, 0700), 0);
}

static void goes_to_the_users_folder(void **state) {
    (void)state;
    fresh_source();
    block_writing(cache_path);
    assert_false(write_it(source));
    char home[256];
    assert_non_null(getcwd(home, sizeof home - 8));
    strcat(home, "/home");
    assert_int_equal(setenv("HOME", home, 1), 0);
    assert_true(write_it(source));
    assert_true(fits(source));
    assert_int_equal(system("test -n \"$(ls home/.cache/bertft)\" && ! test -e model/source.test-cache"), 0);
    assert_int_equal(setenv("XDG_CACHE_HOME", "relative", 1), 0); /* says nothing, as its specification has it */
    assert_true(fits(source));
    strcat(home, "/x");
    assert_int_equal(setenv("XDG_CACHE_HOME", home, 1), 0);
    assert_false(fits(source));
    assert_true(write_it(source));
    assert_true(fits(source));
    assert_int_equal(system("test -n \"$(ls home/x/bertft)\""), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_found_again),
        cmocka_unit_test(the_sources_state_counts),
        cmocka_unit_test(damage_is_seen),
        cmocka_unit_test(goes_to_the_users_folder),
    };
    return cmocka_run_group_tests(tests, enter, scratch_leave);
}
