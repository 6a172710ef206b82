/* test_config.c: the configuration from outside: types, ranges, merges, _BASE_ files, hostile YAML. */
#include "scratch.h"

static bft_error err;

static bft_config *defaults(void) {
    bft_config *config;
    assert_int_equal(bft_config_create(&err, &config), BFT_OK);
    return config;
}

static char *dump(const bft_config *config) {
    bft_buffer text = {0};
    assert_int_equal(bft_config_dump(&err, config, false, &text), BFT_OK);
    return text.data;
}

static void assert_error(bft_status status, const char *message) {
    assert_int_equal(status, BFT_BAD);
    if (strstr(err.message, message) == NULL) {
        fail_msg("the error is \"%s\", which lacks \"%s\"", err.message, message);
    }
}

/* A file with `text` must be refused with `message` and change nothing. */
static void refuse_bytes(const char *text, size_t length, const char *message) {
    bft_config *config = defaults();
    char *before = dump(config);
    scratch_write("bad.yaml", text, length);
    assert_error(bft_config_merge_file(&err, config, "bad.yaml"), message);
    char *after = dump(config);
    assert_string_equal(before, after);
    free(before);
    free(after);
    bft_config_destroy(config);
}

static void refuse(const char *text, const char *message) {
    refuse_bytes(text, strlen(text), message);
}

static void refuse_pair(const char *key, const char *value, const char *message) {
    bft_config *config = defaults();
    char *words[] = {(char *)(uintptr_t)key, (char *)(uintptr_t)value};
    assert_error(bft_config_merge_pairs(&err, config, 2, words), message);
    assert_true(strncmp(err.message, "KEY VALUE pair", 14) == 0);
    bft_config_destroy(config);
}

static bft_config *merged(const char *text) {
    bft_config *config = defaults();
    scratch_write("good.yaml", text, strlen(text));
    if (bft_config_merge_file(&err, config, "good.yaml") != BFT_OK) {
        fail_msg("%s", err.message);
    }
    return config;
}

/* ---- Values ---- */

static void default_values(void **state) {
    (void)state;
    bft_config *config = defaults();
    assert_string_equal(bft_config_string(config, "MODEL.WEIGHTS"), "checkpoints/mini-ru");
    assert_true(bft_config_is_null(config, "MODEL.DROPOUT"));
    assert_true(bft_config_float(config, "OPTIM.LR") == 5e-5);
    assert_true(bft_config_list_number(config, "OPTIM.BETAS", 1) == 0.999);
    assert_int_equal(bft_config_int(config, "SEED"), 42);
    assert_int_equal(bft_config_list_size(config, "DATA.TRAIN"), 0);
    assert_string_equal(bft_config_string(config, "DATA.TRAIN"), "");
    assert_string_equal(bft_config_list_at(config, "DIALOG.CLIENT_NAMES", 0), "Клиент");
    assert_string_equal(bft_config_origin(config, "SEED"), "default");
    bft_config_destroy(config);
}

static void values_of_a_file(void **state) {
    (void)state;
    bft_config *config = merged("OPTIM:\n"
                                "  LR: 1e-5 # a string to YAML, a float to YACS\n"
                                "  CLIP: 2\n"
                                "  BETAS: (0.8, 1e-1)\n"
                                "DATA:\n"
                                "  TRAIN: [a.tsv, \"b c.tsv\"]\n"
                                "  TEST: t.tsv\n"
                                "  TEXT: 0\n"
                                "  HEADER: off\n"
                                "  LABELS: [yes, no, 0, 1e5]\n"
                                "  LABEL_MAP: {0: anger, joy: null, \"null\": 'null'}\n"
                                "TRAIN: {FREEZE: [embeddings, 0]}\n"
                                "OUTPUT_DIR: '12'\n");
    const char *from, *to;
    assert_true(bft_config_float(config, "OPTIM.LR") == 1e-5);
    assert_true(bft_config_float(config, "OPTIM.CLIP") == 2.0);
    assert_true(bft_config_list_number(config, "OPTIM.BETAS", 1) == 0.1);
    assert_int_equal(bft_config_list_size(config, "DATA.TRAIN"), 2);
    assert_string_equal(bft_config_list_at(config, "DATA.TRAIN", 1), "b c.tsv");
    assert_int_equal(bft_config_list_size(config, "DATA.TEST"), 1);
    assert_string_equal(bft_config_string(config, "DATA.TEST"), "t.tsv");
    assert_string_equal(bft_config_string(config, "DATA.TEXT"), "0");
    assert_string_equal(bft_config_string(config, "DATA.HEADER"), "false");
    assert_string_equal(bft_config_list_at(config, "DATA.LABELS", 0), "yes");
    assert_string_equal(bft_config_list_at(config, "DATA.LABELS", 3), "1e5");
    assert_int_equal(bft_config_map_size(config, "DATA.LABEL_MAP"), 3);
    bft_config_map_at(config, "DATA.LABEL_MAP", 1, &from, &to);
    assert_string_equal(from, "joy");
    assert_null(to);
    bft_config_map_at(config, "DATA.LABEL_MAP", 2, &from, &to);
    assert_string_equal(to, "null");
    assert_string_equal(bft_config_origin(config, "DATA.TEST"), "good.yaml:7");
    assert_string_equal(bft_config_string(config, "OUTPUT_DIR"), "12");
    bft_config_destroy(config);
}

static void values_of_pairs(void **state) {
    (void)state;
    bft_config *config = CONFIG("DATA.TRAIN", "['a.tsv','b.tsv']", "DATA.VALID", "[c.tsv, d.tsv]", "MODEL.DROPOUT", "0",
                                "DATA.MULTI_LABEL", "true", "DATA.REGRESSION", "False", "LOSS.CLASS_WEIGHTS", "1, 2.5",
                                "DATA.LABEL_MAP", "{'a': 'b', 'c': None}", "OUTPUT_DIR", "runs/a b");
    assert_string_equal(bft_config_list_at(config, "DATA.TRAIN", 1), "b.tsv");
    assert_string_equal(bft_config_list_at(config, "DATA.VALID", 1), "d.tsv");
    assert_true(bft_config_float(config, "MODEL.DROPOUT") == 0);
    assert_true(bft_config_bool(config, "DATA.MULTI_LABEL"));
    assert_true(bft_config_list_number(config, "LOSS.CLASS_WEIGHTS", 1) == 2.5);
    assert_string_equal(bft_config_string(config, "LOSS.CLASS_WEIGHTS"), "");
    assert_int_equal(bft_config_map_size(config, "DATA.LABEL_MAP"), 2);
    assert_string_equal(bft_config_string(config, "OUTPUT_DIR"), "runs/a b");
    assert_string_equal(bft_config_origin(config, "OUTPUT_DIR"), "KEY VALUE pair");
    bft_config_destroy(config);
}

static void wrong_types(void **state) {
    (void)state;
    refuse("SEED: 1\nOPTIM:\n  LR: fast\n", "bad.yaml:3: OPTIM.LR must be a float in [0, inf), not 'fast'");
    refuse("OPTIM: {LR: '1e-5'}", "write it without quotes");
    refuse("SEED: 1.0", "SEED must be an int");
    refuse("SEED: yes", "SEED must be an int");
    refuse("DATA: {MULTI_LABEL: 1}", "must be true or false, not 1");
    refuse("OUTPUT_DIR: 2024", "put it in quotes");
    refuse("OUTPUT_DIR: ''", "OUTPUT_DIR must be a string, not ''");
    refuse("SEED: null", "not null");
    refuse("DATA: {TRAIN: ''}", "write null to unset it");
    refuse("DATA: {TRAIN: [a, [b]]}", "an item is a list");
    refuse("DATA: {TRAIN: [a, null]}", "an item is null");
    refuse("DATA: {LABEL_MAP: [a]}", "must be null or a map");
    refuse("DATA: {LABEL_MAP: {a: [b]}}", "an item is a list");
    refuse("DATA: {LABEL_MAP: {'': b}}", "1 to 200 bytes");
    refuse("OPTIM: 1", "bad.yaml:1: OPTIM is a group");
    refuse("OPTIM:\n", "OPTIM is a group");
    refuse("- a", "bad.yaml:1: a configuration is a map of keys");
    refuse_pair("OPTIM", "{LR: 1}", "OPTIM is a group");
    refuse_pair("OUTPUT_DIR", "12", "inside the shell's own");
    refuse_pair("OUTPUT_DIR", "\xff", "not UTF-8");
    refuse_pair("DATA.TRAIN", "[a", "KEY VALUE pair: [a is neither a Python nor a YAML literal");
    refuse_pair("DATA.LABEL_MAP", "{'a': 'b', 'a': 'c'}", "duplicate");
}

static void out_of_range(void **state) {
    (void)state;
    refuse("SEED: -1", "[0, inf), not -1");
    refuse("SEED: 9223372036854775808", "SEED must be an int");
    refuse("OPTIM: {LR: .inf}", "not .inf");
    refuse("OPTIM: {LR: .nan}", "not .nan");
    refuse("OPTIM: {EPS: 0}", "(0, inf), not 0");
    refuse("MODEL: {DROPOUT: 1}", "[0, 1), not 1");
    refuse("MODEL: {HEAD: poler}", "must be linear, pooler or mean, not 'poler'");
    refuse("DATA: {HEADER: maybe}", "true or false or auto, not 'maybe'");
    refuse("OPTIM: {BETAS: [0.9]}", "must hold 2 numbers, not 1");
    refuse("OPTIM: {BETAS: [0.9, 1.0]}", "an item is 1.0");
    refuse("TRAIN: {FREEZE: [embedding]}", "an item is 'embedding'");
    refuse("TRAIN: {FREEZE: [-1]}", "an item is -1");
}

static void unknown_keys(void **state) {
    (void)state;
    refuse("SEED: 1\nOPTIM:\n  LRR: 1\n", "bad.yaml:3: unknown key OPTIM.LRR; the nearest known key is OPTIM.LR");
    refuse("TRAIN: {LR: 1}", "nearest known key is OPTIM.LR");
    refuse("OPTM:\n  LR: 1\n", "bad.yaml:1: unknown key OPTM; the nearest known key is OPTIM");
    refuse("seed: 1", "nearest known key is SEED");
    refuse("OPTIM.LR: 1", "keys nest in YAML: write LR below OPTIM:");
    refuse_pair("DATA.TRIAN", "a", "nearest known key is DATA.TRAIN");
    refuse_pair("", "a", "unknown key");
}

static void duplicates(void **state) {
    (void)state;
    refuse("SEED: 1\nSEED: 2\n", "bad.yaml:2: duplicate key SEED; it stands in line 1 already");
    refuse("OPTIM: {LR: 1}\nOPTIM: {CLIP: 1}\n", "duplicate key OPTIM");
    refuse("DATA: {LABEL_MAP: {a: b, 'a': c}}", "duplicate key a");
    bft_config *config = defaults();
    assert_error(bft_config_merge_pairs(&err, config, 4, (char *[]){"SEED", "1", "SEED", "1"}), "SEED is given twice");
    assert_error(bft_config_merge_pairs(&err, config, 3, (char *[]){"SEED", "1", "OPTIM.LR"}), "OPTIM.LR has no value");
    bft_config_destroy(config);
}

static void merges_are_atomic(void **state) {
    (void)state;
    bft_config *config = defaults();
    SCRATCH("half.yaml", "SEED: 7\nOPTIM: {LR: 1}\nDATA: {MAX_LENGTH: 0}\n");
    assert_error(bft_config_merge_file(&err, config, "half.yaml"), "half.yaml:3");
    assert_error(bft_config_merge_pairs(&err, config, 4, (char *[]){"SEED", "7", "OPTIM.LR", "x"}), "OPTIM.LR");
    assert_int_equal(bft_config_int(config, "SEED"), 42);
    assert_true(bft_config_float(config, "OPTIM.LR") == 5e-5);
    assert_string_equal(bft_config_origin(config, "SEED"), "default");
    bft_config_destroy(config);
}

static void reset(void **state) {
    (void)state;
    bft_config *config = CONFIG("DEVICE.NAME", "cpu", "DEVICE.THREADS", "3", "SEED", "1");
    bft_config_reset(config, "DEVICE.");
    assert_string_equal(bft_config_string(config, "DEVICE.NAME"), "auto");
    assert_int_equal(bft_config_int(config, "DEVICE.THREADS"), 0);
    assert_int_equal(bft_config_int(config, "SEED"), 1);
    bft_config_destroy(config);
}

/* ---- _BASE_ ---- */

static void base_files(void **state) {
    (void)state;
    assert_int_equal(system("mkdir -p sub/deep"), 0);
    SCRATCH("sub/base.yaml", "SEED: 1\nOPTIM: {LR: 1.0, CLIP: 3.0}\nDATA: {LABEL_MAP: {a: b}}\n");
    SCRATCH("sub/second.yml", "SEED: 2\n");
    SCRATCH("sub/deep/middle.yaml", "_BASE_: [../base.yaml, ../second.yml]\nOPTIM: {LR: 2.0}\n");
    bft_config *config = merged("DATA: {LABEL_MAP: {c: d}}\n_BASE_: sub/deep/middle.yaml\n");
    assert_int_equal(bft_config_int(config, "SEED"), 2);
    assert_true(bft_config_float(config, "OPTIM.LR") == 2.0);
    assert_true(bft_config_float(config, "OPTIM.CLIP") == 3.0);
    assert_int_equal(bft_config_map_size(config, "DATA.LABEL_MAP"), 1);
    assert_string_equal(bft_config_origin(config, "OPTIM.CLIP"), "sub/deep/../base.yaml:2");
    bft_config_destroy(config);

    char here[512], text[600];
    assert_non_null(getcwd(here, sizeof here));
    setenv("HOME", here, 1);
    bft_config_destroy(merged("_BASE_: ~/sub/base.yaml\n"));
    snprintf(text, sizeof text, "_BASE_: %s/sub/base.yaml\n", here);
    bft_config_destroy(merged(text));
}

static void bad_base_files(void **state) {
    (void)state;
    SCRATCH("one.yaml", "SEED: 1\n_BASE_: two.yaml\n");
    SCRATCH("two.yaml", "_BASE_: ./one.yaml\n");
    SCRATCH("wrong.yaml", "SEED: x\n");
    refuse("_BASE_: one.yaml", "two.yaml:1: _BASE_ ./one.yaml leads back to itself");
    refuse("_BASE_: bad.yaml", "bad.yaml:1: _BASE_ bad.yaml leads back to itself");
    refuse("SEED: 1\n_BASE_: missing.yaml", "bad.yaml:2: _BASE_ missing.yaml does not exist");
    refuse("_BASE_: wrong.yaml", "wrong.yaml:1: SEED must be");
    refuse("_BASE_: {a: b}", "_BASE_ must be a path or a list of paths");
    refuse("_BASE_: [one.yaml, 3]", "two.yaml:1");
    refuse("OPTIM: {_BASE_: one.yaml}", "unknown key OPTIM._BASE_");
    /* nine files in a row, and one that doubles at each level */
    for (int i = 0; i < 9; i++) {
        char name[32], text[64];
        snprintf(name, sizeof name, "l%d.yaml", i);
        snprintf(text, sizeof text, i == 8 ? "SEED: 1\n" : "_BASE_: l%d.yaml\n", i + 1);
        scratch_write(name, text, strlen(text));
        snprintf(name, sizeof name, "t%d.yaml", i);
        snprintf(text, sizeof text, i >= 6 ? "SEED: 1\n" : "_BASE_: [t%d.yaml, t%d.yaml]\n", i + 1, i + 1);
        scratch_write(name, text, strlen(text));
    }
    bft_config_destroy(merged("_BASE_: l2.yaml"));
    refuse("_BASE_: l0.yaml", "too many _BASE_ files");
    refuse("_BASE_: t0.yaml", "too many _BASE_ files");
}

static void file_names(void **state) {
    (void)state;
    bft_config *config = defaults();
    SCRATCH("c.py", "cfg = {}\n");
    SCRATCH("c.json", "{}");
    SCRATCH("plain", "SEED: 3\n");
    assert_error(bft_config_merge_file(&err, config, "c.py"), "c.py: Python configurations are not run");
    assert_error(bft_config_merge_file(&err, config, "c.json"), ".yaml or .yml");
    assert_error(bft_config_merge_file(&err, config, "absent.yaml"), "absent.yaml: cannot open");
    assert_error(bft_config_merge_file(&err, config, "."), ".: is not a regular file");
    assert_int_equal(bft_config_merge_file(&err, config, "plain"), BFT_OK);
    assert_int_equal(bft_config_int(config, "SEED"), 3);
    bft_config_destroy(config);
}

/* ---- Hostile YAML ---- */

static void hostile_yaml(void **state) {
    (void)state;
    refuse("a: &x [1]\nb: [*x, *x]\n", "bad.yaml:1: anchors and aliases");
    refuse("SEED: *x\n", "anchors and aliases");
    refuse("&x SEED: 1\n", "anchors and aliases");
    refuse("<<: {SEED: 1}\n", "merge keys");
    refuse("SEED: !!python/object:os.system 1\n", "only the tags");
    refuse("SEED: !!int x\n", "doesn't fit its tag");
    refuse("DATA: !!set {a}\n", "only the tags");
    refuse("SEED: 1\n---\nSEED: 2\n", "bad.yaml:2: a second document");
    refuse("SEED: 1\n\tx: 2\n", "bad.yaml:2: ");
    refuse("SEED: [1\n", "bad.yaml:2: ");
    refuse("SEED: 'a\n", "bad.yaml:");
    refuse("? [a]\n: 1\n", "a key must be a plain name");
    refuse("OUTPUT_DIR: \"a\\0b\"\n", "NUL");
    refuse("SEED: 1\nOUTPUT_DIR: \xff\n", "bad.yaml:2: ");
    refuse("SEED: 1\nOUTPUT_DIR: \xed\xa0\x80\n", "bad.yaml:2: ");
    refuse_bytes("SEED: 1\n\0", 9, "bad.yaml:2: ");
    bft_config *config =
        merged("%YAML 1.1\n---\nSEED: !!int 5\nOUTPUT_DIR: !!str 5\nOPTIM: !!map {LR: !!float 1}\n...\n");
    assert_string_equal(bft_config_string(config, "OUTPUT_DIR"), "5");
    bft_config_destroy(config);
    bft_config_destroy(merged(""));
    bft_config_destroy(merged("# nothing\n"));
    bft_config_destroy(merged("~"));
}

static void too_much_yaml(void **state) {
    (void)state;
    size_t size = (1 << 20) + 1;
    char *text = malloc(size + 1);
    assert_non_null(text);
    memset(text, '[', size);
    memcpy(text, "SEED: ", 6);
    refuse_bytes(text, 1000, "nesting is too deep");
    refuse_bytes(text, size, "holds 1048577 bytes");
    for (size_t i = 7; i < size; i++) {
        text[i] = i % 2 ? 'a' : ',';
    }
    refuse_bytes(text, size - 1, "more values than");
    memset(text, ' ', size);
    size_t at = 0;
    for (int i = 0; i < 5000; i++) {
        at += (size_t)snprintf(text + at, 16, "k%d: 1\n", i);
    }
    refuse_bytes(text, at, "too many keys");
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_values), cmocka_unit_test(values_of_a_file),  cmocka_unit_test(values_of_pairs),
        cmocka_unit_test(wrong_types),    cmocka_unit_test(out_of_range),      cmocka_unit_test(unknown_keys),
        cmocka_unit_test(duplicates),     cmocka_unit_test(merges_are_atomic), cmocka_unit_test(reset),
        cmocka_unit_test(base_files),     cmocka_unit_test(bad_base_files),    cmocka_unit_test(file_names),
        cmocka_unit_test(hostile_yaml),   cmocka_unit_test(too_much_yaml),

    };
    return cmocka_run_group_tests(tests, scratch_enter, scratch_leave);
}
