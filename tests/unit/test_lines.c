/* test_lines.c: lines from files, pipes and gzip. */
#include "scratch.h"

#include "base/buffer.h"
#include "base/lines.h"

#include <zlib.h>

static bft_error err;

/* All lines of a file as "[line]", a cut one as "[line~]", and at the end the message of an error, if any. */
static char *lines_of(const char *path, size_t longest) {
    static bft_buffer out;
    bft_buffer_free(&out);
    bft_lines *lines;
    assert_int_equal(bft_lines_open(&err, &lines, path, longest), BFT_OK);
    size_t number = 0;
    for (bool more = true; more;) {
        char *line;
        size_t length;
        bool cut;
        if (bft_lines_next(&err, lines, &line, &length, &cut, &more) != BFT_OK) {
            bft_buffer_printf(&err, &out, "%s", err.message);
            break;
        }
        if (!more) {
            assert_null(line);
            break;
        }
        assert_int_equal(line[length], 0);
        assert_int_equal(bft_lines_number(lines), ++number);
        bft_buffer_append(&err, &out, "[", 1);
        bft_buffer_append(&err, &out, line, length);
        bft_buffer_printf(&err, &out, "%s", cut ? "~]" : "]");
    }
    bft_lines_close(lines);
    return out.data == NULL ? "" : out.data;
}

static void ends_are_lf_or_cr_lf(void **state) {
    (void)state;
    SCRATCH("a", "one\ntwo\r\n\r\n\nthree");
    assert_string_equal(lines_of("a", 0), "[one][two][][][three]");
    SCRATCH("a", "one\r");
    assert_string_equal(lines_of("a", 0), "[one]");
    SCRATCH("a", "x\ry\n");
    assert_string_equal(lines_of("a", 0), "[x\ry]");
    SCRATCH("a", "\n");
    assert_string_equal(lines_of("a", 0), "[]");
    SCRATCH("a", "");
    assert_string_equal(lines_of("a", 0), "");
}

static void a_byte_order_mark_is_dropped_at_the_start_only(void **state) {
    (void)state;
    SCRATCH("a", "\xEF\xBB\xBFone\n\xEF\xBB\xBFtwo\n");
    assert_string_equal(lines_of("a", 0), "[one][\xEF\xBB\xBFtwo]");
    SCRATCH("a", "\xEF\xBB\xBF");
    assert_string_equal(lines_of("a", 0), "");
    SCRATCH("a", "\xEF\xBB");
    assert_string_equal(lines_of("a", 0), "[\xEF\xBB]");
}

static void long_lines_are_cut(void **state) {
    (void)state;
    SCRATCH("a", "1234\n12345\n123456\n1234567\r\n12345\r\n12345\r6\n1\n");
    assert_string_equal(lines_of("a", 5), "[1234][12345][12345~][12345~][12345][12345~][1]");
    enum { LENGTH = 300000 };
    static char text[LENGTH + 3];
    memset(text, 'x', LENGTH);
    memcpy(text + LENGTH, "\ny\n", 3);
    scratch_write("a", text, sizeof text);
    assert_string_equal(lines_of("a", 3), "[xxx~][y]");
    assert_int_equal(strlen(lines_of("a", 0)), LENGTH + 5);
    assert_int_equal(strlen(lines_of("a", LENGTH)), LENGTH + 5);
    assert_int_equal(strlen(lines_of("a", LENGTH - 1)), LENGTH + 5); /* one x less, and a ~ */
}

/* A gzip member in a file of its own, or behind what is there. */
static void gzip(const char *name, const char *mode, const char *text, size_t length) {
    gzFile file = gzopen(name, mode);
    assert_non_null(file);
    assert_int_equal(gzwrite(file, text, (unsigned)length), length);
    assert_int_equal(gzclose(file), Z_OK);
}

static void gzip_members_are_one_text(void **state) {
    (void)state;
    gzip("a", "wb", "\xEF\xBB\xBFone\ntw", 9);
    gzip("a", "ab", "o\nthree\n", 8);
    assert_string_equal(lines_of("a", 0), "[one][two][three]");
    gzip("a", "wb", "\n", 1);
    gzip("a", "ab", "x", 1);
    assert_string_equal(lines_of("a", 0), "[][x]");
}

/* Every way to cut a file short but at a member's end; what came before the cut is given. */
static void cut_short_gzip_is_told(void **state) {
    (void)state;
    char bytes[256];
    gzip("whole", "wb", "one\ntwo\nthree\n", 14);
    FILE *file = fopen("whole", "rb");
    assert_non_null(file);
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    for (size_t length = 2; length < size; length++) {
        scratch_write("a", bytes, length);
        assert_non_null(strstr(lines_of("a", 0), "the gzip data is cut short"));
    }
    bytes[size - 6] ^= 1; /* its checksum */
    scratch_write("a", bytes, size);
    assert_non_null(strstr(lines_of("a", 0), "the gzip data is damaged"));
}

/* 64 MiB of zeros in 64 KiB: a line's limit bounds the memory. */
static void gzip_bombs_are_bounded(void **state) {
    (void)state;
    enum { PIECE = 1 << 20, PIECES = 64 };
    static char zeros[PIECE];
    gzFile file = gzopen("bomb", "wb9");
    assert_non_null(file);
    for (int i = 0; i < PIECES; i++) {
        assert_int_equal(gzwrite(file, zeros, PIECE), PIECE);
    }
    assert_int_equal(gzclose(file), Z_OK);
    assert_int_equal(strncmp(lines_of("bomb", 10), "[", 1), 0);
}

static void next_is(bft_lines *lines, const char *want) {
    char *line;
    size_t length;
    bool cut, more;
    assert_int_equal(bft_lines_next(&err, lines, &line, &length, &cut, &more), BFT_OK);
    assert_string_equal(line, want);
}

static void put(int fd, const char *text) {
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void a_pipe_tells_when_it_would_block(void **state) {
    (void)state;
    int ends[2];
    char path[32];
    assert_int_equal(pipe(ends), 0);
    snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
    bft_lines *lines;
    assert_int_equal(bft_lines_open(&err, &lines, path, 0), BFT_OK);
    assert_true(bft_lines_would_block(lines));
    put(ends[1], "one\ntwo\nthr");
    assert_false(bft_lines_would_block(lines));
    next_is(lines, "one");
    assert_false(bft_lines_would_block(lines));
    next_is(lines, "two");
    assert_true(bft_lines_would_block(lines)); /* half a line */
    put(ends[1], "ee");
    assert_true(bft_lines_would_block(lines));
    put(ends[1], "\nfour");
    assert_false(bft_lines_would_block(lines));
    next_is(lines, "three");
    close(ends[1]);
    assert_false(bft_lines_would_block(lines));
    next_is(lines, "four");
    bft_lines_close(lines);
    close(ends[0]);
}

static void a_folder_and_a_missing_file_are_refused(void **state) {
    (void)state;
    bft_lines *lines;
    assert_int_equal(bft_lines_open(&err, &lines, ".", 0), BFT_BAD);
    assert_int_equal(bft_lines_open(&err, &lines, "missing", 0), BFT_BAD);
    assert_int_equal(strncmp(err.message, "missing: ", 9), 0);
    bft_lines_close(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_are_lf_or_cr_lf),
        cmocka_unit_test(a_byte_order_mark_is_dropped_at_the_start_only),
        cmocka_unit_test(long_lines_are_cut),
        cmocka_unit_test(gzip_members_are_one_text),
        cmocka_unit_test(cut_short_gzip_is_told),
        cmocka_unit_test(gzip_bombs_are_bounded),
        cmocka_unit_test(a_pipe_tells_when_it_would_block),
        cmocka_unit_test(a_folder_and_a_missing_file_are_refused),
    };
    return cmocka_run_group_tests(tests, scratch_enter, scratch_leave);
}
