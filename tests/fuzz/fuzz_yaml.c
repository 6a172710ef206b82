/* fuzz_yaml.c: any bytes as a configuration file, and as the value of pairs. What is taken must survive a dump
 * and reading it back; what is refused must change nothing. */
#include "bertft/config.h"
#include "fuzz_file.h"

#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

static fuzz_file file;
static bft_buffer untouched; /* the dumped defaults */

static void expect(bool holds) {
    if (!holds) {
        abort();
    }
}

static bft_config *create(void) {
    bft_error err = {0};
    bft_config *config;
    expect(bft_config_create(&err, &config) == BFT_OK);
    return config;
}

static bft_buffer dump(const bft_config *config) {
    bft_error err = {0};
    bft_buffer text = {0};
    expect(bft_config_dump(&err, config, false, &text) == BFT_OK);
    return text;
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    bft_config *config = create();
    file = fuzz_file_create("config");
    untouched = dump(config);
    bft_config_destroy(config);
    return 0;
}

/* `config` after a merge with `status`. */
static void check(bft_config *config, bft_status status, const bft_error *err) {
    bft_buffer first = dump(config);
    if (status == BFT_OK) {
        bft_error again = {0};
        bft_config *other = create();
        fuzz_file_fill(&file, first.data, first.length);
        expect(bft_config_merge_file(&again, other, file.path) == BFT_OK);
        bft_buffer second = dump(other);
        expect(strcmp(first.data, second.data) == 0);
        bft_buffer_free(&second);
        bft_config_destroy(other);
    } else {
        expect(status == BFT_BAD && err->message[0] != '\0' && strcmp(first.data, untouched.data) == 0);
    }
    bft_buffer_free(&first);
    bft_config_destroy(config);
}

static void as_pair(const char *key, const unsigned char *bytes, size_t size) {
    bft_error err = {0};
    bft_config *config = create();
    bft_buffer name = {0}, value = {0};
    expect(bft_buffer_printf(&err, &name, "%s", key) == BFT_OK);
    expect(bft_buffer_append(&err, &value, bytes, size) == BFT_OK);
    check(config, bft_config_merge_pairs(&err, config, 2, (char *[]){name.data, value.data}), &err);
    bft_buffer_free(&name);
    bft_buffer_free(&value);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size) {
    static const char *const keys[] = {"OPTIM.LR",       "OUTPUT_DIR",         "DATA.LABELS",
                                       "DATA.LABEL_MAP", "LOSS.CLASS_WEIGHTS", "SEED"};
    bft_error err = {0};
    bft_config *config = create();
    fuzz_file_fill(&file, bytes, size);
    check(config, bft_config_merge_file(&err, config, file.path), &err);
    as_pair(keys[size % (sizeof keys / sizeof keys[0])], bytes, size);
    return 0;
}
