/* scratch.h: a folder for one test program's files, and configurations made in one line. */
#ifndef BFT_TESTS_SCRATCH_H
#define BFT_TESTS_SCRATCH_H

#include "bertft/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

/* Makes a folder and works in it, so that error lines hold short names. For cmocka's group setup and teardown. */
static inline int scratch_enter(void **state) {
    static char folder[] = "/tmp/bertft-test-XXXXXX";
    *state = mkdtemp(folder);
    return *state == NULL ? -1 : chdir(folder);
}

static inline int scratch_leave(void **state) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", (const char *)*state);
    return system(command);
}

static inline void scratch_write(const char *name, const char *bytes, size_t length) {
    FILE *file = fopen(name, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

#define SCRATCH(name, text) scratch_write((name), (text), sizeof(text) - 1)

/* The defaults with `KEY VALUE` pairs over them. */
#define CONFIG(...)                                                                                                    \
    scratch_config((const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static inline bft_config *scratch_config(const char *const *words, size_t count) {
    bft_error err = {0};
    bft_config *config;
    assert_int_equal(bft_config_create(&err, &config), BFT_OK);
    bft_status status = bft_config_merge_pairs(&err, config, count, (char *const *)(uintptr_t)words);
    if (status != BFT_OK) {
        fail_msg("%s", err.message);
    }
    return config;
}

#endif
