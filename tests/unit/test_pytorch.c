/* test_pytorch.c: state dicts written by torch, and pickles that want more than to be read. */
#include "zip_builder.h"

/* ---- Files made by torch ---- */

static void reads_plain(void **state) {
    (void)state;
    static const char *const files[] = {FIXTURES "plain-zip.bin", FIXTURES "plain-legacy.bin"};
    for (size_t i = 0; i < 2; i++) {
        bft_weights *weights = open_path(files[i]);
        expect_plain(weights);
        assert_string_equal(bft_weights_at(weights, 0)->name, "a"); /* in the file's order */
        assert_string_equal(bft_weights_at(weights, 6)->name, "double");
        bft_weights_close(weights);
    }
}

static void expect_views(const bft_weights *weights) {
    expect_steps(weights, "base", BFT_F32, "4,6", 0, 0.25);
    expect_steps(weights, "tied", BFT_F32, "4,6", 0, 0.25);
    assert_ptr_equal(bft_weights_find(weights, "base")->data, bft_weights_find(weights, "tied")->data);
    expect_steps(weights, "row", BFT_F32, "6", 3, 0.25);
    expect_steps(weights, "step", BFT_F32, "5", 0.25, 1.25);
    expect_steps(weights, "parameter", BFT_F32, "2,2", 7, 0.25);
    const bft_tensor *transposed = expect_tensor(weights, "transposed", BFT_F32, "6,4");
    const bft_tensor *columns = expect_tensor(weights, "columns", BFT_F32, "4,2");
    const bft_tensor *expanded = expect_tensor(weights, "expanded", BFT_F32, "2,3");
    const bft_tensor *swapped = expect_tensor(weights, "swapped", BFT_F32, "4,2,3");
    const bft_tensor *half = expect_tensor(weights, "half", BFT_F16, "3,3");
    for (size_t i = 0; i < 24; i++) {
        assert_true(element(transposed, i) == 0.25 * (double)(i % 4 * 6 + i / 4));
        assert_true(element(swapped, i) == 0.25 * (double)(i % 6 / 3 * 12 + i % 3 * 4 + i / 6));
        assert_true(element(columns, i % 8) == 0.25 * (double)(i % 8 / 2 * 6 + i % 2 + 1));
        assert_true(element(expanded, i % 6) == 0.25 * (double)(i % 3));
        assert_true(element(half, i % 9) == 0.25 * (double)(i % 3 * 3 + i % 9 / 3));
    }
}

static void reads_views(void **state) {
    (void)state;
    static const char *const files[] = {FIXTURES "views-zip.bin", FIXTURES "views-deflated.bin",
                                        FIXTURES "views-legacy.bin"};
    for (size_t i = 0; i < 3; i++) {
        bft_weights *weights = open_path(files[i]);
        expect_views(weights);
        assert_int_equal(bft_weights_find(weights, "base")->mapped, i == 0); /* aligned and stored only there */
        assert_false(bft_weights_find(weights, "transposed")->mapped);
        bft_weights_close(weights);
    }
}

static void reads_module_states(void **state) {
    (void)state;
    static const char *const files[] = {FIXTURES "module-zip.bin", FIXTURES "module-legacy.bin"};
    for (size_t i = 0; i < 2; i++) {
        bft_weights *weights = open_path(files[i]);
        assert_int_equal(bft_weights_count(weights), 4);
        expect_tensor(weights, "0.weight", BFT_F32, "2,3");
        expect_steps(weights, "1.weight", BFT_F32, "2", 1, 0);
        expect_steps(weights, "1.bias", BFT_F32, "2", 0, 0);
        bft_weights_close(weights);
    }
}

static void reads_storage_views(void **state) {
    (void)state;
    bft_weights *weights = open_path(FIXTURES "python2-legacy.bin");
    assert_int_equal(bft_weights_count(weights), 2);
    expect_steps(weights, "whole", BFT_F32, "3,4", 0, 0.25);
    expect_steps(weights, "view", BFT_F32, "5", 1.25, 0.25); /* 4 elements in, then one more */
    bft_weights_close(weights);
}

static void damage(void **state) {
    (void)state;
    static const char *const files[] = {FIXTURES "plain-legacy.bin", FIXTURES "views-legacy.bin",
                                        FIXTURES "module-legacy.bin", FIXTURES "python2-legacy.bin"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        refuse_every_prefix(files[i]);
        survive_every_flip(files[i]);
    }
}

/* ---- Pickles made by hand, in an archive with one storage of four floats ---- */

static void build(zip_builder *zip, const void *pickle, size_t length) {
    static const float four[4] = {0.0f, 0.25f, 0.5f, 0.75f};
    zip_free(zip);
    zip_add(zip, "x/data.pkl", pickle, length);
    zip_add(zip, "x/data/0", four, sizeof four);
    zip_finish(zip, "");
}

typedef struct pickle_case {
    const char *pickle;
    size_t length;
    const char *words;
} pickle_case;

#define CASE(pickle, words)                                                                                            \
    { (pickle), sizeof(pickle) - 1, (words) }
#define ALL STORAGE("FloatStorage", "0", "\4")
#define CALL(module, name, argument) "\x80\2c" module "\n" name "\n(" argument "tR."

static void refuse_all(const pickle_case *cases, size_t count) {
    zip_builder zip = {0};
    for (size_t i = 0; i < count; i++) {
        build(&zip, cases[i].pickle, cases[i].length);
        refuse_bytes(zip.file.data, zip.file.length, cases[i].words);
    }
    zip_free(&zip);
}

static void calls_nothing(void **state) {
    (void)state;
    static const pickle_case cases[] = {
        CASE(CALL("os", "system", STRING1("!")), "asks for os.system"),
        CASE(CALL("posix", "system", STRING1("!")), "asks for posix.system"),
        CASE(CALL("builtins", "eval", STRING1("!")), "asks for builtins.eval"),
        CASE(CALL("__builtin__", "exec", STRING1("!")), "asks for __builtin__.exec"),
        CASE(CALL("torch", "load", STRING1("!")), "asks for torch.load"),
        CASE(CALL("torch._utils", "_rebuild_tensor_v3", ""), "asks for torch._utils._rebuild_tensor_v3"),
        CASE(CALL("collections", "OrderedDict.fromkeys", ""), "asks for collections.OrderedDict.fromkeys"),
        CASE(CALL("torch", "FloatStorage", ""), "calls torch.FloatStorage"),
        CASE(CALL("torch.cuda", "FloatStorage", ""), "asks for torch.cuda.FloatStorage"),
        CASE(STATE(STRING1("w") "cos\nsystem\n"), "asks for os.system"),
        CASE("\x80\2(" STRING1("!") "ios\nsystem\n.", "opcode 0x69"),
        CASE("\x80\2(cos\nsystem\no.", "asks for os.system"),
        CASE("\x80\2" STRING1("a") STRING1("b") "\x93.", "opcode 0x93"),
        CASE("\x80\2ccollections\nOrderedDict\n)\x81.", "opcode 0x81"),
        CASE("\x80\2\x82\1.", "opcode 0x82"),
        CASE("\x80\4}.", "protocol 2 is expected"),
        CASE("\x80\2" STRING1("f") ")R.", "not a function"),
        CASE("\x80\2ccollections\nOrderedDict\nNR.", "not a function"),
        CASE("\x80\2ccollections\nOrderedDict\n(K\1tR.", "OrderedDict takes nothing"),
        CASE("\x80\2ccollections\nOrderedDict\n(](K\1etR.", "OrderedDict takes nothing"),
        CASE("\x80\2" VECTOR4 "}b.", "sets the state of something"),
        CASE("\x80\2ctorch._utils\n_rebuild_parameter\n(K\1tR.", "a parameter needs a tensor"),
    };
    refuse_all(cases, sizeof cases / sizeof *cases);
}

static void refuses_broken_programs(void **state) {
    (void)state;
    static const pickle_case cases[] = {
        CASE("", "cut short"),
        CASE("\x80\2", "cut short"),
        CASE("\x80\2.", "a value is missing"),
        CASE("\x80\2(.", "a value is missing"),
        CASE("\x80\2t.", "a mark is missing"),
        CASE("\x80\2K\1a.", "a value is missing"),
        CASE("\x80\2K\1K\2a.", "not a list"),
        CASE("\x80\2](K\1s.", "a value is missing"),
        CASE("\x80\2}(K\1u.", "not a dict"),
        CASE("\x80\2](K\1u.", "not a dict"),
        CASE("\x80\2(K\1\x86.", "a value is missing"),
        CASE("\x80\2(q\1.", "a value is missing"),
        CASE("\x80\2h\1.", "the memo has no such entry"),
        CASE("\x80\2]q\2h\1.", "the memo has no such entry"),
        CASE("\x80\2]r\377\377\377\377.", "memo index is too large"),
        CASE("\x80\2j\377\377\377\377.", "the memo has no such entry"),
        CASE("\x80\2X\377\377\377\377.", "a string is too long"),
        CASE("\x80\2X\5\0\0\0ab.", "cut short"),
        CASE("\x80\2\x8a\11123456789.", "more than 8 bytes"),
        CASE("\x80\2cos", "does not end"),
        CASE("\x80\2Q.", "a value is missing"),
        CASE("\x80\2K\1Q.", "not that of a storage"),
        CASE("\x80\2(X\6\0\0\0moduleK\1tQ.", "not that of a storage"),
        CASE("\x80\2(X\7\0\0\0storagectorch\nFloatStorage\n" STRING1("0") STRING1("c") "J\377\377\377\377tQ.",
             "not that of a storage"),
        CASE("\x80\2(X\7\0\0\0storagectorch\nFloatStorage\n" STRING1("0") STRING1("c") "K\4(" STRING1("1") "K\3K\2ttQ.",
             "lies outside of it"),
        CASE("\x80\2K\1.", "does not hold a state dict"),
        CASE("\x80\2].", "does not hold a state dict"),
        CASE("\x80\2" VECTOR4 ".", "does not hold a state dict"),
        CASE(STATE("K\1" VECTOR4), "a key of the state dict is not a string"),
        CASE(STATE(STRING1("w") "N"), "entry \"w\" is not a tensor"),
        CASE(STATE("X\12\0\0\0state_dict}"), "entry \"state_dict\" is not a tensor"),
        CASE("\x80\2}q\1" STRING1("a") "h\1s.", "entry \"a\" is not a tensor"), /* a dict that holds itself */
    };
    refuse_all(cases, sizeof cases / sizeof *cases);
}

static void refuses_tensors_outside_of_their_storage(void **state) {
    (void)state;
    static const pickle_case cases[] = {
        CASE(ONE(REBUILD(ALL, "\0", "K\5", "K\1")), "reaches beyond its storage of 4"),
        CASE(ONE(REBUILD(ALL, "\1", "K\4", "K\1")), "reaches beyond"),
        CASE(ONE(REBUILD(ALL, "\4", "", "")), "reaches beyond"),
        CASE(ONE(REBUILD(ALL, "\0", "K\2K\2", "K\3K\1")), "reaches beyond"),
        CASE(ONE(REBUILD(ALL, "\0", "K\2", "\x8a\10\0\0\0\0\0\0\0\100")), "reaches beyond"),
        CASE(ONE(REBUILD(ALL, "\0", "K\3K\3", "\x8a\10\377\377\377\377\377\377\377\177\x8a\10\2\0\0\0\0\0\0\100")),
             "reaches beyond"),
        CASE(ONE(REBUILD(ALL, "\0", "\x8a\10\0\0\0\0\0\0\0\100K\4", "K\0K\1")), "overflows"),
        CASE(ONE(REBUILD(ALL, "\0", "\x8a\10\0\0\0\0\0\0\0\020", "K\0")), "more bytes of memory than a file"),
        CASE(ONE(REBUILD(ALL, "\0", "J\0\0\0\100", "K\0")), "more bytes of memory than a file"),
        CASE(ONE(REBUILD(ALL, "\0", "J\377\377\377\377", "K\1")), "is negative"),
        CASE(ONE(REBUILD(ALL, "\3", "K\4", "J\377\377\377\377")), "is negative"),
        CASE(ONE(REBUILD(ALL, "\0", "K\4", "")), "as many strides"),
        CASE(ONE(REBUILD(ALL, "\0", "N", "K\1")), "is not an integer"),
        CASE(ONE(REBUILD("N", "\0", "K\4", "K\1")), "needs a storage"),
        CASE(ONE(REBUILD(ALL, "\0", "K\1K\1K\1K\1K\1K\1K\1K\1K\1", "K\1K\1K\1K\1K\1K\1K\1K\1K\1")), "8 dimensions"),
        CASE(STATE(STRING1("w") VECTOR4 STRING1("w") VECTOR4), "tensor \"w\" is also in the same file"),
        CASE(STATE("X\3\0\0\0w\0v" VECTOR4), "NUL"),
        CASE(STATE(STRING1("w") VECTOR4 STRING1("v") REBUILD(STORAGE("HalfStorage", "0", "\4"), "\0", "K\4", "K\1")),
             "two types or two lengths"),
        CASE(STATE(STRING1("w") VECTOR4 STRING1("v") REBUILD(STORAGE("FloatStorage", "0", "\3"), "\0", "K\3", "K\1")),
             "two types or two lengths"),
        CASE(ONE(REBUILD(STORAGE("FloatStorage", "1", "\4"), "\0", "K\4", "K\1")), "is not in the archive"),
        CASE(ONE(REBUILD(STORAGE("LongStorage", "0", "\4"), "\0", "K\4", "K\1")), "has another size"),
        CASE(ONE(REBUILD("(X\7\0\0\0storagectorch\nFloatStorage\n" STRING1("0")
                             STRING1("c") "\x8a\10\4\0\0\0\0\0\0\100tQ",
                         "\0", "K\4", "K\1")),
             "its size overflows"),
    };
    refuse_all(cases, sizeof cases / sizeof *cases);
}

static void accepts_what_is_harmless(void **state) {
    (void)state;
    static const pickle_case cases[] = {
        CASE(ONE(VECTOR4), "4"),
        CASE(ONE(REBUILD(ALL, "\0", "K\2K\2", "K\2K\1")), "2,2"),
        CASE(ONE(REBUILD(ALL, "\0", "K\1K\4K\1", "K\7K\1K\0")), "1,4,1"), /* strides of single rows mean nothing */
        CASE(ONE(REBUILD(ALL, "\377", "K\0", "K\1")), "0"),               /* nothing, from anywhere */
        CASE("\x80\2ccollections\nOrderedDict\n)R" STRING1("w") VECTOR4 "s}X\11\0\0\0_metadataNsb.", "4"),
        CASE("\x80\2ccollections\nOrderedDict\n(]](U\1w" VECTOR4 "eatR.", "4"), /* as Python 2 wrote it */
        CASE(ONE("ctorch._utils\n_rebuild_parameter\n(" VECTOR4 "\x88}tR"), "4"),
        CASE(ONE("ctorch._utils\n_rebuild_tensor\n(" ALL "K\0(K\4t(K\1ttR"), "4"),
    };
    zip_builder zip = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bft_error err = {0};
        bft_weights *weights;
        build(&zip, cases[i].pickle, cases[i].length);
        if (open_bytes(&err, &weights, zip.file.data, zip.file.length) != BFT_OK) {
            fail_msg("case %zu: %s", i, err.message);
        }
        expect_steps(weights, "w", BFT_F32, cases[i].words, 0, 0.25);
        bft_weights_close(weights);
    }
    zip_free(&zip);
}

/* Programs that are small but would make much: the limit on instructions and the limit on copies hold them. */
static void bounds_the_work(void **state) {
    (void)state;
    bft_buffer pickle = {0};
    zip_builder zip = {0};
    enum { MANY = 1 << 18, PAIRS = 100000 };
    zip_put(&pickle, "\x80\2(", 3);
    for (size_t i = 0; i < MANY; i++) {
        zip_put(&pickle, "N", 1);
    }
    zip_put(&pickle, "t.", 2);
    build(&zip, pickle.data, pickle.length);
    refuse_bytes(zip.file.data, zip.file.length, "too many instructions");
    /* one list of pairs, made into a dict again and again */
    bft_buffer_clear(&pickle);
    zip_put(&pickle, "\x80\2]q\1(", 6);
    for (size_t i = 0; i < PAIRS; i++) {
        zip_put(&pickle, "NN\x86", 3);
    }
    zip_put(&pickle, "e", 1);
    static const char call[] = "ccollections\nOrderedDict\n(h\1tR";
    for (size_t i = 0; i < PAIRS; i++) {
        zip_put(&pickle, call, sizeof call - 1);
    }
    zip_put(&pickle, ".", 1);
    build(&zip, pickle.data, pickle.length);
    refuse_bytes(zip.file.data, zip.file.length, "too many instructions");
    /* one long name for thousands of tensors */
    static char name[60000];
    memset(name, 'n', sizeof name);
    bft_buffer_clear(&pickle);
    zip_put(&pickle, "\x80\2", 2);
    zip_put(&pickle, VECTOR4, sizeof VECTOR4 - 1);
    zip_put(&pickle, "q\1X\x60\xea\0\0", 7);
    zip_put(&pickle, name, sizeof name);
    zip_put(&pickle, "q\2}(", 4);
    for (size_t i = 0; i < PAIRS; i++) {
        zip_put(&pickle, "h\2h\1", 4);
    }
    zip_put(&pickle, "u.", 2);
    build(&zip, pickle.data, pickle.length);
    refuse_bytes(zip.file.data, zip.file.length, "more bytes of memory than a file");
    bft_buffer_free(&pickle);
    zip_free(&zip);
}

/* ---- The legacy format made by hand ---- */

#define MAGIC "\x80\2\x8a\12\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
#define SYSTEM "\x80\2}X\15\0\0\0little_endian\x88s."
#define LEGACY MAGIC "\x80\2M\351\3." SYSTEM ONE(VECTOR4)
#define FOUR                                                                                                           \
    "\4\0\0\0\0\0\0\0"                                                                                                 \
    "\0\0\0\0\0\0\200\76\0\0\0\77\0\0\100\77"

static void legacy(void **state) {
    (void)state;
    static const char good[] = LEGACY "\x80\2](" STRING1("0") "e." FOUR;
    bft_error err = {0};
    bft_weights *weights;
    assert_int_equal(open_bytes(&err, &weights, good, sizeof good - 1), BFT_OK);
    expect_steps(weights, "w", BFT_F32, "4", 0, 0.25);
    bft_weights_close(weights);
    static const pickle_case cases[] = {
        CASE(MAGIC "\x80\2M\350\3.", "a version other than 1001"),
        CASE(MAGIC "\x80\2M\351\3.\x80\2}X\15\0\0\0little_endian\x89s.", "byte order is not little"),
        CASE(MAGIC "\x80\2M\351\3.\x80\2}.", "byte order is not little"),
        CASE(MAGIC "\x80\2M\351\3.cos\nsystem\n(tR.", "asks for os.system"),
        CASE(LEGACY "cos\nsystem\n(tR.", "asks for os.system"),
        CASE(LEGACY "\x80\2N.", "its list of storages"),
        CASE(LEGACY "\x80\2].", "its list of storages"),
        CASE(LEGACY "\x80\2](" STRING1("1") "e." FOUR, "has a key that no tensor uses"),
        CASE(LEGACY "\x80\2](K\1e." FOUR, "has a key that no tensor uses"),
        CASE(LEGACY "\x80\2](" STRING1("0") STRING1("0") "e." FOUR FOUR, "its list of storages"),
        CASE(MAGIC "\x80\2M\351\3." SYSTEM STATE(STRING1("w") VECTOR4 STRING1("v") REBUILD(
                 STORAGE("FloatStorage", "1", "\4"), "\0", "K\4", "K\1")) "\x80\2](" STRING1("0")
                 STRING1("0") "e." FOUR FOUR,
             "or one twice"),
        CASE(LEGACY "\x80\2](" STRING1("0") "e.\3\0\0\0\0\0\0\0abcdabcdabcd", "of 4 elements is expected"),
        CASE(LEGACY "\x80\2](" STRING1("0") "e.\4\0\0\0\0\0\0\200abcdabcdabcdabcd", "of 4 elements is expected"),
        CASE(LEGACY "\x80\2](" STRING1("0") "e.\4\0\0\0\0\0\0\0abcdabcdabcdabc", "of 4 elements is expected"),
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        refuse_bytes(cases[i].pickle, cases[i].length, cases[i].words);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_plain),
        cmocka_unit_test(reads_views),
        cmocka_unit_test(reads_module_states),
        cmocka_unit_test(reads_storage_views),
        cmocka_unit_test(damage),
        cmocka_unit_test(calls_nothing),
        cmocka_unit_test(refuses_broken_programs),
        cmocka_unit_test(refuses_tensors_outside_of_their_storage),
        cmocka_unit_test(accepts_what_is_harmless),
        cmocka_unit_test(bounds_the_work),
        cmocka_unit_test(legacy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
