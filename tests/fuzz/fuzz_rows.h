/* fuzz_rows.h: what the targets for data files share: the first byte chooses the settings, the rest is the file;
 * whatever is read must be a sound data set. */
#ifndef BFT_TESTS_FUZZ_ROWS_H
#define BFT_TESTS_FUZZ_ROWS_H

#include "fuzz_file.h"

#include "base/log.h"
#include "bertft/data.h"

#include <string.h>

static inline void fuzz_check(bool holds) {
    if (!holds) {
        abort();
    }
}

static inline void fuzz_check_dataset(bft_dataset *dataset, size_t vocabulary) {
    const bft_labels *labels = bft_dataset_labels(dataset);
    fuzz_check(bft_dataset_size(dataset) > 0 && labels->count > 0);
    for (size_t i = 0; i < bft_dataset_size(dataset); i++) {
        bft_sample sample = bft_dataset_at(dataset, i);
        fuzz_check(sample.length >= 2 && sample.length <= 16 && sample.target < labels->count);
        for (size_t j = 0; j < sample.length; j++) {
            fuzz_check(sample.ids[j] < vocabulary);
        }
    }
    bft_error err;
    bft_dataset *taken;
    size_t size = bft_dataset_size(dataset);
    if (bft_dataset_split(&err, dataset, 0.5, 1, &taken) == BFT_OK) {
        fuzz_check(bft_dataset_size(dataset) + bft_dataset_size(taken) == size);
        bft_dataset_destroy(taken);
    }
}

/* The bits of `choice` are the settings. Made once for each, kept for the process's life. */
static inline const bft_config *fuzz_settings(uint8_t choice, const char *format) {
    char *words[] = {"DATA.FORMAT",      (char *)(uintptr_t)format,
                     "DATA.ON_BAD_ROW",  choice & 1 ? "skip" : "error",
                     "DATA.MULTI_LABEL", choice & 2 ? "True" : "False",
                     "DATA.SKIP_MULTI",  choice & 4 ? "True" : "False",
                     "DATA.EMPTY_LABEL", choice & 8 ? "none" : "None",
                     "DATA.REGRESSION",  choice & 16 ? "True" : "False",
                     "DATA.LABEL_NAMES", choice & 32 ? "[x, y, z]" : "None",
                     "DATA.LABEL_MAP",   choice & 64 ? "{x: null, y: z}" : "None",
                     "DATA.TEXT",        choice & 128 ? "0" : "text",
                     "DATA.LABEL",       choice & 128 ? "1" : "label"};
    static bft_config *made[256];
    bft_error err;
    if (made[choice] == NULL) {
        fuzz_check(bft_config_create(&err, &made[choice]) == BFT_OK);
        fuzz_check(bft_config_merge_pairs(&err, made[choice], sizeof words / sizeof *words, words) == BFT_OK);
    }
    return made[choice];
}

static inline int fuzz_rows(const uint8_t *data, size_t size, const char *format) {
    static const char vocabulary[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\n";
    static fuzz_file file;
    static bft_tokenizer *tokenizer;
    bft_error err;
    if (tokenizer == NULL) {
        file = fuzz_file_create("vocabulary");
        fuzz_file_fill(&file, vocabulary, sizeof vocabulary - 1);
        fuzz_check(bft_tokenizer_from_vocab(&err, &tokenizer, file.path, (bft_normalizer){0}) == BFT_OK);
        bft_log_set_level(BFT_LOG_QUIET);
    }
    if (size == 0) {
        return 0;
    }
    fuzz_file_fill(&file, data + 1, size - 1);
    const bft_config *config = fuzz_settings(data[0], format);
    const char *path = file.path;
    bft_dataset *dataset;
    if (bft_dataset_read(&err, &dataset, config, 1, &path, tokenizer, 16, NULL) == BFT_OK) {
        fuzz_check_dataset(dataset, bft_tokenizer_size(tokenizer));
        bft_dataset_destroy(dataset);
    } else {
        fuzz_check(err.status == BFT_BAD && err.message[0] != '\0');
    }
    return 0;
}

#endif
