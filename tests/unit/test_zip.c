/* test_zip.c: PyTorch's zip format: archives that other tools could have written, and archives that lie. */
#include "zip_builder.h"

static const float four[4] = {0.0f, 0.25f, 0.5f, 0.75f};
static const char pickle[] = ONE(VECTOR4);

/* A good archive, but for what the builder was told. */
static void add_pickle(zip_builder *zip) {
    zip_add(zip, "x/data.pkl", pickle, sizeof pickle - 1);
}

static void add_data(zip_builder *zip) {
    zip_add(zip, "x/data/0", four, sizeof four);
}

static void accept(zip_builder *zip, const char *comment) {
    bft_error err = {0};
    bft_weights *weights;
    zip_finish(zip, comment);
    if (open_bytes(&err, &weights, zip->file.data, zip->file.length) != BFT_OK) {
        fail_msg("%s", err.message);
    }
    expect_steps(weights, "w", BFT_F32, "4", 0, 0.25);
    bft_weights_close(weights);
    zip_free(zip);
}

static void refuse(zip_builder *zip, const char *words) {
    zip_finish(zip, "");
    refuse_bytes(zip->file.data, zip->file.length, words);
    zip_free(zip);
}

static void honest_archives(void **state) {
    (void)state;
    for (int i = 0; i < 8; i++) {
        zip_builder zip = {.zip64 = i % 2 != 0};
        zip.method = (i & 2) != 0 ? 8 : 0;
        add_pickle(&zip);
        zip.method = (i & 4) != 0 ? 8 : 0;
        add_data(&zip);
        zip_add(&zip, "x/byteorder", "little", 6);
        zip_add(&zip, "x/version", "3\n", 2);
        accept(&zip, i % 2 != 0 ? "a comment with PK\5\6 in it, long enough for another end record" : "");
    }
}

static void lying_members(void **state) {
    (void)state;
    zip_builder zip = {0};
    add_pickle(&zip);
    refuse(&zip, "storage \"0\" of 4 elements (torch.FloatStorage) is not in the archive");
    add_pickle(&zip);
    zip_add(&zip, "x/data/0", four, 12);
    refuse(&zip, "has another size in the archive");
    add_pickle(&zip);
    zip.size_lie = 17;
    add_data(&zip);
    refuse(&zip, "a stored member has two sizes");
    add_pickle(&zip);
    zip.offset_lie = 1;
    add_data(&zip);
    refuse(&zip, "outside of the file");
    add_pickle(&zip);
    zip.offset_lie = 1 << 30;
    add_data(&zip);
    refuse(&zip, "outside of the file");
    zip.zip64 = true;
    add_pickle(&zip);
    zip.offset_lie = SIZE_MAX - 100;
    add_data(&zip);
    refuse(&zip, "outside of the file");
    add_pickle(&zip);
    zip.other_local = "x/data/1";
    add_data(&zip);
    refuse(&zip, "another name than the directory says");
    add_pickle(&zip);
    add_data(&zip);
    add_data(&zip);
    refuse(&zip, "two members have the same name");
    add_pickle(&zip);
    zip.flags = 1;
    add_data(&zip);
    refuse(&zip, "encrypted");
    add_pickle(&zip);
    zip.method = 12;
    add_data(&zip);
    refuse(&zip, "packed in another way");
}

static void wrong_archives(void **state) {
    (void)state;
    zip_builder zip = {0};
    add_data(&zip);
    refuse(&zip, "with 0 members NAME/data.pkl");
    add_pickle(&zip);
    zip_add(&zip, "y/data.pkl", pickle, sizeof pickle - 1);
    refuse(&zip, "with 2 members NAME/data.pkl");
    zip_add(&zip, "data.pkl", pickle, sizeof pickle - 1);
    refuse(&zip, "with 0 members NAME/data.pkl");
    add_pickle(&zip);
    add_data(&zip);
    zip_add(&zip, "x/byteorder", "big", 3);
    refuse(&zip, "byte order is not little");
    add_pickle(&zip);
    add_data(&zip);
    zip.members = 1;
    refuse(&zip, "holds more members than it says");
    add_pickle(&zip);
    add_data(&zip);
    zip.members = 3;
    refuse(&zip, "the directory");
    add_pickle(&zip);
    add_data(&zip);
    zip.zip64 = true; /* an end record that says so, over members that aren't */
    zip.members = SIZE_MAX;
    refuse(&zip, "outside of the file");
}

static void bombs(void **state) {
    (void)state;
    zip_builder zip = {0};
    /* says that it unpacks to 1 TB, and the pickle agrees */
    static const char huge[] =
        ONE(REBUILD("(X\7\0\0\0storagectorch\nFloatStorage\n" STRING1("0") STRING1("c") "\x8a\5\0\0\0\0\100tQ", "\0",
                    "K\4", "K\1"));
    zip.zip64 = true;
    zip_add(&zip, "x/data.pkl", huge, sizeof huge - 1);
    zip.method = 8;
    zip.size_lie = (size_t)1 << 40;
    add_data(&zip);
    refuse(&zip, "more bytes of memory than a file");
    /* says less than it unpacks to, and more */
    for (int lie = -4; lie <= 4; lie += 8) {
        add_pickle(&zip);
        float five[5] = {0};
        zip.method = 8;
        zip.size_lie = sizeof four;
        zip_add(&zip, "x/data/0", five, (size_t)(16 + lie));
        refuse(&zip, "does not unpack to what it says");
    }
    /* really unpacks to 64 MB */
    enum { ZEROS = 64 << 20 };
    char *zeros = calloc(ZEROS, 1);
    assert_non_null(zeros);
    zip.method = 8;
    zip_add(&zip, "x/data.pkl", zeros, ZEROS);
    assert_true(zip.file.length < 100000);
    refuse(&zip, "more bytes of memory than a file");
    free(zeros);
    /* a wrong check sum, and garbage */
    add_pickle(&zip);
    zip.method = 8;
    zip.crc_lie = 1;
    add_data(&zip);
    refuse(&zip, "does not unpack to what it says");
}

static void damage(void **state) {
    (void)state;
    static const char *const files[] = {FIXTURES "plain-zip.bin", FIXTURES "views-zip.bin",
                                        FIXTURES "views-deflated.bin", FIXTURES "module-zip.bin"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        refuse_every_prefix(files[i]);
        survive_every_flip(files[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(honest_archives), cmocka_unit_test(lying_members), cmocka_unit_test(wrong_archives),
        cmocka_unit_test(bombs),           cmocka_unit_test(damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
