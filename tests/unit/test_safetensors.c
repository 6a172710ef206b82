/* test_safetensors.c: reading safetensors (whole, sharded, hostile) and writing them. */
#include "weights_test.h"

#include <math.h>

/* ---- Files made by the reference implementation ---- */

static void reads_the_reference(void **state) {
    (void)state;
    bft_weights *weights = open_path(FIXTURES "plain.safetensors");
    expect_plain(weights);
    assert_true(bft_weights_find(weights, "a")->mapped);
    assert_string_equal(bft_weights_find(weights, "a")->file, FIXTURES "plain.safetensors");
    bft_weights_close(weights);
}

static void reads_shards(void **state) {
    (void)state;
    static const char *const paths[] = {FIXTURES "sharded", FIXTURES "sharded/model.safetensors.index.json"};
    for (size_t i = 0; i < 2; i++) {
        bft_weights *weights = open_path(paths[i]);
        assert_int_equal(bft_weights_count(weights), 3);
        expect_steps(weights, "a", BFT_F32, "3,4", 0, 0.25);
        expect_steps(weights, "b", BFT_BF16, "5,2", -1, 0.25);
        assert_null(expect_tensor(weights, "ids", BFT_F32, "1,7")->data);
        bft_weights_close(weights);
    }
}

static void survives_damage(void **state) {
    (void)state;
    refuse_every_prefix(FIXTURES "plain.safetensors");
    survive_every_flip(FIXTURES "plain.safetensors");
}

/* ---- Files made by hand: a header and so many bytes of data ---- */

static void build(bft_buffer *out, uint64_t length, const char *header, size_t data) {
    bft_error err;
    static const char zeros[256];
    unsigned char prefix[8];
    for (size_t i = 0; i < 8; i++) {
        prefix[i] = (unsigned char)(length >> (8 * i));
    }
    bft_buffer_clear(out);
    assert_int_equal(bft_buffer_append(&err, out, prefix, 8), BFT_OK);
    assert_int_equal(bft_buffer_append(&err, out, header, strlen(header)), BFT_OK);
    assert_int_equal(bft_buffer_append(&err, out, zeros, data), BFT_OK);
}

static void accepts_what_the_format_allows(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data, tensors;
    } cases[] = {
        {"{}", 0, 0},
        {"{}      ", 0, 0},
        {"{\"__metadata__\":{}}", 0, 0},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, 1},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[0,9],\"data_offsets\":[0,0]}}", 0, 1},
        {"{\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[2,6]},"
         "\"a\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0,2]}}",
         6, 2},
        {"{\"a\":{\"dtype\":\"F4\",\"shape\":[2],\"data_offsets\":[0,1]}}", 1, 1},
        {"{\"a\":{\"dtype\":\"I64\",\"shape\":[1,1,1,1,1,1,1,2],\"data_offsets\":[0,16]}}", 16, 1},
        {"{\"\xd0\xb2\xd0\xb5\xd1\x81\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]}}", 3, 1},
    };
    bft_buffer file = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bft_error err = {0};
        bft_weights *weights;
        build(&file, strlen(cases[i].header), cases[i].header, cases[i].data);
        if (open_bytes(&err, &weights, file.data, file.length) != BFT_OK) {
            fail_msg("%s: %s", cases[i].header, err.message);
        }
        assert_int_equal(bft_weights_count(weights), cases[i].tensors);
        bft_weights_close(weights);
    }
    bft_buffer_free(&file);
}

static void copies_what_is_misaligned(void **state) {
    (void)state;
    static const char header[] = "{\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]},"
                                 "\"u\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}  ";
    bft_buffer file = {0};
    bft_error err = {0};
    bft_weights *weights;
    float value = 2.5f;
    build(&file, strlen(header), header, 5);
    memcpy(file.data + file.length - 4, &value, 4);
    assert_int_equal(open_bytes(&err, &weights, file.data, file.length), BFT_OK);
    assert_false(bft_weights_find(weights, "b")->mapped);
    expect_steps(weights, "b", BFT_F32, "1", 2.5, 0);
    assert_string_equal(bft_weights_at(weights, 0)->name, "u"); /* in the order of their places */
    bft_weights_close(weights);
    bft_buffer_free(&file);
}

/* floats[i] must be what the 16 bits of i mean: a sign, an exponent, a fraction of so many bits. */
static void expect_short_floats(const float *floats, int fraction_bits) {
    int top = (1 << (15 - fraction_bits)) - 1, bias = top / 2 + fraction_bits;
    for (int i = 0; i < 1 << 16; i++) {
        int exponent = i >> fraction_bits & top, fraction = i & ((1 << fraction_bits) - 1);
        double size =
            exponent == 0 ? ldexp(fraction, 1 - bias) : ldexp((1 << fraction_bits) + fraction, exponent - bias);
        assert_int_equal(signbit(floats[i]) != 0, i >> 15);
        if (exponent < top) {
            assert_true(fabs((double)floats[i]) == size);
        } else {
            assert_true(fraction == 0 ? isinf(floats[i]) : isnan(floats[i]));
        }
    }
}

static void converts_short_floats(void **state) {
    (void)state;
    static uint16_t shorts[1 << 16];
    static float floats[1 << 16];
    for (size_t i = 0; i < 1 << 16; i++) {
        shorts[i] = (uint16_t)i;
    }
    bft_tensor tensor = {.dtype = BFT_F16, .data = shorts, .count = 1 << 16};
    bft_tensor_to_float(&tensor, floats);
    expect_short_floats(floats, 10);
    tensor.dtype = BFT_BF16;
    bft_tensor_to_float(&tensor, floats);
    expect_short_floats(floats, 7);
}

#define ENTRY(name, dtype, shape, begin, end)                                                                          \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"

static void refuses_lies(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        const char *words;
    } cases[] = {
        {"{" ENTRY("a", "F32", "[2]", "0", "8") "}", 7, "the tensors take 8 bytes, but the file has 7"},
        {"{" ENTRY("a", "F32", "[2]", "0", "8") "}", 9, "the tensors take 8 bytes, but the file has 9"},
        {"{" ENTRY("a", "F32", "[2]", "0", "4") "}", 4, "is not what 2 elements of F32 take"},
        {"{" ENTRY("a", "F32", "[2]", "8", "0") "}", 8, "begin <= end"},
        {"{" ENTRY("a", "F32", "[2]", "-8", "0") "}", 8, "begin <= end"},
        {"{" ENTRY("a", "F32", "[2]", "0.0", "8") "}", 8, "data_offsets"},
        {"{" ENTRY("a", "F32", "[2]", "0", "8,8") "}", 8, "data_offsets"},
        {"{" ENTRY("a", "F32", "[1]", "0", "4") "," ENTRY("b", "F32", "[1]", "0", "4") "}", 4, "neither overlap"},
        {"{" ENTRY("a", "F32", "[2]", "0", "8") "," ENTRY("b", "F32", "[2]", "4", "12") "}", 12, "neither overlap"},
        {"{" ENTRY("a", "F32", "[1]", "0", "4") "," ENTRY("b", "F32", "[1]", "8", "12") "}", 12, "nor leave holes"},
        {"{" ENTRY("a", "F32", "[1]", "4", "8") "}", 8, "nor leave holes"},
        {"{" ENTRY("a", "F32", "[0]", "4", "4") "}", 0, "nor leave holes"},
        {"{" ENTRY("a", "F32", "[1]", "9223372036854775800", "9223372036854775804") "}", 4, "nor leave holes"},
        {"{" ENTRY("a", "F32", "[4294967296,4294967296]", "0", "4") "}", 4, "overflows"},
        {"{" ENTRY("a", "F32", "[4611686018427387904]", "0", "0") "}", 0, "is not what"},
        {"{" ENTRY("a", "F32", "[576460752303423488]", "0", "0") "}", 0, "is not what"},
        {"{" ENTRY("a", "F32", "[18446744073709551617]", "0", "4") "}", 4, "not JSON"},
        {"{" ENTRY("a", "F32", "[-1]", "0", "4") "}", 4, "not a whole number"},
        {"{" ENTRY("a", "F32", "[1.0]", "0", "4") "}", 4, "not a whole number"},
        {"{" ENTRY("a", "F32", "[1,1,1,1,1,1,1,1,1]", "0", "4") "}", 4, "at most 8 sizes"},
        {"{" ENTRY("a", "F32", "4", "0", "4") "}", 4, "at most 8 sizes"},
        {"{" ENTRY("a", "F4", "[1]", "0", "0") "}", 0, "is not what"},
        {"{" ENTRY("a", "F33", "[1]", "0", "4") "}", 4, "F33 is not a type"},
        {"{\"a\":{\"dtype\":5,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "is not a type"},
        {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "is not a type"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "data_offsets"},
        {"{\"a\":7}", 0, "an object with dtype"},
        {"{" ENTRY("a", "F32", "[1]", "0", "4") "," ENTRY("a", "F32", "[1]", "4", "8") "}", 8, "duplicate"},
        {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "duplicate"},
        {"{" ENTRY("a\\u0000b", "F32", "[1]", "0", "4") "}", 4, "NUL"},
        {"{\"__metadata__\":{\"a\":1}}", 0, "map strings to strings"},
        {"{\"__metadata__\":[]}", 0, "map strings to strings"},
        {"{\"a\":", 0, "not JSON"},
        {"{}x", 0, "not JSON"},
        {"{\"\xff\":1}", 0, "not JSON"},
        {"[]", 0, "neither a safetensors"},
        {" {}", 0, "neither a safetensors"},
        {"", 0, "neither a safetensors"},
    };
    bft_buffer file = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        build(&file, strlen(cases[i].header), cases[i].header, cases[i].data);
        refuse_bytes(file.data, file.length, cases[i].words);
    }
    static const uint64_t lengths[] = {0, 1, 3, 100000001, UINT32_MAX, UINT64_MAX, UINT64_MAX - 7, 1ull << 63};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        build(&file, lengths[i], "{}", 0);
        refuse_bytes(file.data, file.length, lengths[i] == 1 ? "not JSON" : "neither a safetensors");
    }
    bft_buffer_free(&file);
}

static void refuses_deep_headers(void **state) {
    (void)state;
    enum { DEPTH = 100000 };
    char *header = malloc(DEPTH + 6);
    assert_non_null(header);
    memcpy(header, "{\"a\":", 5);
    memset(header + 5, '[', DEPTH);
    header[DEPTH + 5] = '\0';
    bft_buffer file = {0};
    build(&file, DEPTH + 5, header, 0);
    refuse_bytes(file.data, file.length, "not JSON");
    bft_buffer_free(&file);
    free(header);
}

/* A header of four megabytes is read, one byte more isn't: not even looked at. */
static void refuses_large_headers(void **state) {
    (void)state;
    enum { MOST = 4 << 20 };
    char *header = malloc(MOST + 2);
    assert_non_null(header);
    memset(header, ' ', MOST + 1);
    memcpy(header, "{}", 2);
    header[MOST] = '\0';
    bft_buffer file = {0};
    bft_error err = {0};
    bft_weights *weights;
    build(&file, MOST, header, 0);
    assert_int_equal(open_bytes(&err, &weights, file.data, file.length), BFT_OK);
    bft_weights_close(weights);
    header[MOST] = ' ';
    header[MOST + 1] = '\0';
    build(&file, MOST + 1, header, 0);
    refuse_bytes(file.data, file.length, "has a header of 4194305 bytes, at most 4194304 are expected");
    bft_buffer_free(&file);
    free(header);
}

/* ---- Folders ---- */

typedef struct folder {
    char path[64];
    char file[128];
} folder;

static const char *inside(folder *f, const char *name) {
    snprintf(f->file, sizeof f->file, "%s/%s", f->path, name);
    return f->file;
}

static void put(folder *f, const char *name, const void *bytes, size_t size) {
    bft_error err = {0};
    if (bft_file_write(&err, inside(f, name), bytes, size) != BFT_OK) {
        fail_msg("%s", err.message);
    }
}

static void refuse_path(const char *path, const char *words) {
    bft_error err = {0};
    bft_weights *weights = NULL;
    assert_int_equal(bft_weights_open(&err, &weights, path), BFT_BAD);
    if (strstr(err.message, words) == NULL) {
        fail_msg("\"%s\" does not hold \"%s\"", err.message, words);
    }
}

static void folders(void **state) {
    (void)state;
    folder f = {.path = "/tmp/bertft-test-XXXXXX"};
    bft_buffer file = {0};
    assert_non_null(mkdtemp(f.path));
    refuse_path(f.path, "no weights here");
    put(&f, "pytorch_model.bin.index.json", "{}", 2);
    refuse_path(f.path, "sharded PyTorch files are not supported");
    load_file(FIXTURES "plain-legacy.bin", &file);
    put(&f, "pytorch_model.bin", file.data, file.length);
    bft_weights *weights = open_path(f.path);
    assert_int_equal(bft_weights_count(weights), 7);
    bft_weights_close(weights);
    build(&file, 2, "{}", 0);
    put(&f, "model.safetensors", file.data, file.length);
    weights = open_path(f.path);
    assert_int_equal(bft_weights_count(weights), 0);
    assert_int_equal(bft_weights_check(&(bft_error){0}, weights), BFT_OK);
    assert_int_equal(truncate(inside(&f, "model.safetensors"), 3), 0);
    bft_error err = {0};
    assert_int_equal(bft_weights_check(&err, weights), BFT_BAD);
    assert_non_null(strstr(err.message, "shrank"));
    bft_weights_close(weights);
    refuse_path(inside(&f, "nothing.safetensors"), "cannot open");
    unlink(inside(&f, "pytorch_model.bin.index.json"));
    unlink(inside(&f, "pytorch_model.bin"));
    unlink(inside(&f, "model.safetensors"));
    assert_int_equal(rmdir(f.path), 0);
    bft_buffer_free(&file);
}

static void refuses_lying_indices(void **state) {
    (void)state;
    static const struct {
        const char *index, *words;
    } cases[] = {
        {"{}", "weight_map"},
        {"{\"weight_map\":[]}", "weight_map"},
        {"[]", "a JSON object is expected"},
        {"{\"weight_map\":{\"a\":1}}", "the name of a file in the same folder"},
        {"{\"weight_map\":{\"a\":\"../s\"}}", "the name of a file in the same folder"},
        {"{\"weight_map\":{\"a\":\"..\"}}", "the name of a file in the same folder"},
        {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "the name of a file in the same folder"},
        {"{\"weight_map\":{\"a\":\"missing\"}}", "cannot open"},
        {"{\"weight_map\":{\"b\":\"s\"}}", "says that it is nowhere"},
        {"{\"weight_map\":{\"a\":\"s\",\"b\":\"s\"}}", "names 2 tensors, but its files hold 1"},
        {"{\"weight_map\":{\"a\":\"s\",\"b\":\"t\"}}", "says that it is in s"},
        {"{\"weight_map\":{\"a\":\"s\",\"a\":\"t\"}}", "duplicate"},
    };
    static const char header[] = "{" ENTRY("a", "F32", "[1]", "0", "4") "}";
    folder f = {.path = "/tmp/bertft-test-XXXXXX"};
    bft_buffer file = {0};
    assert_non_null(mkdtemp(f.path));
    build(&file, strlen(header), header, 4);
    put(&f, "s", file.data, file.length);
    put(&f, "t", file.data, file.length);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put(&f, "model.safetensors.index.json", cases[i].index, strlen(cases[i].index));
        refuse_path(f.path, cases[i].words);
    }
    unlink(inside(&f, "model.safetensors.index.json"));
    unlink(inside(&f, "s"));
    unlink(inside(&f, "t"));
    assert_int_equal(rmdir(f.path), 0);
    bft_buffer_free(&file);
}

/* ---- Writing ---- */

static void write_two(const char *path) {
    bft_error err = {0};
    bft_safetensors_writer *writer = NULL;
    float values[12];
    for (int i = 0; i < 12; i++) {
        values[i] = 0.25f * (float)i;
    }
    assert_int_equal(bft_safetensors_create(&err, &writer, path, BFT_F32), BFT_OK);
    assert_int_equal(bft_safetensors_declare(&err, writer, "second \"name\"", 2, (size_t[]){3, 2}), BFT_OK);
    assert_int_equal(bft_safetensors_declare(&err, writer, "first", 1, (size_t[]){6}), BFT_OK);
    assert_int_equal(bft_safetensors_declare(&err, writer, "scalar", 0, NULL), BFT_OK);
    assert_int_equal(bft_safetensors_write(&err, writer, values, 1), BFT_OK);
    assert_int_equal(bft_safetensors_write(&err, writer, values + 1, 9), BFT_OK);
    assert_int_equal(bft_safetensors_write(&err, writer, values + 10, 0), BFT_OK);
    assert_int_equal(bft_safetensors_write(&err, writer, values + 10, 2), BFT_OK);
    assert_int_equal(bft_safetensors_write(&err, writer, values, 1), BFT_OK);
    assert_int_equal(bft_safetensors_commit(&err, writer), BFT_OK);
}

static void writes(void **state) {
    (void)state;
    folder f = {.path = "/tmp/bertft-test-XXXXXX"};
    bft_buffer one = {0}, two = {0};
    assert_non_null(mkdtemp(f.path));
    write_two(inside(&f, "model.safetensors"));
    load_file(f.file, &one);
    write_two(f.file);
    load_file(f.file, &two);
    assert_int_equal(one.length, two.length);
    assert_memory_equal(one.data, two.data, one.length);
    assert_int_equal((unsigned char)one.data[0] % 8, 0); /* the data begins at a multiple of 8 */
    static const char start[] = "{\"__metadata__\":{\"format\":\"pt\"},\"second \\\"name\\\"\":"
                                "{\"dtype\":\"F32\",\"shape\":[3,2],\"data_offsets\":[0,24]},\"first\":";
    assert_memory_equal(one.data + 8, start, sizeof start - 1);
    bft_weights *weights = open_path(f.path);
    expect_steps(weights, "second \"name\"", BFT_F32, "3,2", 0, 0.25);
    expect_steps(weights, "first", BFT_F32, "6", 1.5, 0.25);
    expect_steps(weights, "scalar", BFT_F32, "", 0, 0);
    assert_true(bft_weights_find(weights, "first")->mapped);
    bft_weights_close(weights);
    unlink(f.file);
    assert_int_equal(rmdir(f.path), 0); /* nothing else was left there */
    bft_buffer_free(&one);
    bft_buffer_free(&two);
}

static void writing_fails_cleanly(void **state) {
    (void)state;
    bft_error err = {0};
    bft_safetensors_writer *writer = NULL;
    assert_int_equal(bft_safetensors_create(&err, &writer, "/nonexistent/model.safetensors", BFT_F32), BFT_FAILED);
    assert_null(writer);
    folder f = {.path = "/tmp/bertft-test-XXXXXX"};
    assert_non_null(mkdtemp(f.path));
    assert_int_equal(bft_safetensors_create(&err, &writer, inside(&f, "model.safetensors"), BFT_F32), BFT_OK);
    assert_int_equal(bft_safetensors_declare(&err, writer, "a", 1, (size_t[]){2}), BFT_OK);
    assert_int_equal(bft_safetensors_declare(&err, writer, "b", 2, (size_t[]){1ull << 40, 1ull << 40}), BFT_BAD);
    assert_non_null(strstr(err.message, "too large"));
    bft_safetensors_discard(writer);
    bft_safetensors_discard(NULL);
    assert_int_equal(rmdir(f.path), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_reference),   cmocka_unit_test(reads_shards),
        cmocka_unit_test(survives_damage),       cmocka_unit_test(accepts_what_the_format_allows),
        cmocka_unit_test(converts_short_floats), cmocka_unit_test(copies_what_is_misaligned),
        cmocka_unit_test(refuses_lies),          cmocka_unit_test(refuses_deep_headers),
        cmocka_unit_test(refuses_large_headers), cmocka_unit_test(folders),
        cmocka_unit_test(refuses_lying_indices), cmocka_unit_test(writes),
        cmocka_unit_test(writing_fails_cleanly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
