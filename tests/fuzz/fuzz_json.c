/* fuzz_json.c: any bytes as a model's config.json; what is read must be in bounds, and must survive writing. */
#include "bertft/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/bertft-fuzz-XXXXXX", path[sizeof folder + 16];

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

static void clean_up(void) {
    unlink(path);
    rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    if (mkdtemp(folder) == NULL) {
        abort();
    }
    snprintf(path, sizeof path, "%s/config.json", folder);
    return atexit(clean_up);
}

static void expect(bool holds) {
    if (!holds) {
        abort();
    }
}

static void write_and_read_again(const bft_model_config *config) {
    bft_error err = {0};
    bft_model_config again;
    expect(bft_model_config_write(&err, config, folder) == BFT_OK);
    expect(bft_model_config_read(&err, &again, folder) == BFT_OK);
    expect(again.layers == config->layers && again.vocabulary == config->vocabulary);
    expect(again.layer_norm_eps == config->layer_norm_eps && again.hidden_dropout == config->hidden_dropout);
    expect(again.classes == config->classes && again.problem == config->problem && again.head == config->head);
    for (size_t i = 0; i < again.classes; i++) {
        expect(strcmp(again.labels[i], config->labels[i]) == 0);
    }
    bft_model_config_free(&again);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size) {
    bft_error err = {0};
    bft_model_config config;
    FILE *file = fopen(path, "wb");
    expect(file != NULL && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
    bft_status status = bft_model_config_read(&err, &config, folder);
    expect(status != BFT_FAILED);
    if (status == BFT_OK) {
        expect(config.channels % config.heads == 0 && config.layers >= 1 && config.layers <= 1000);
        if (config.classes <= 100) { /* writing syncs: keep it quick */
            write_and_read_again(&config);
        }
        bft_model_config_free(&config);
    }
    return 0;
}
