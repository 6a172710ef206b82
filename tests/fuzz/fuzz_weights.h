/* fuzz_weights.h: what the fuzz targets of weight files share. */
#ifndef BFT_TESTS_FUZZ_WEIGHTS_H
#define BFT_TESTS_FUZZ_WEIGHTS_H

#include "bertft/weights.h"
#include "fuzz_file.h"

/* Opens bytes as weights and reads every byte of every tensor, so that a place outside of the file is noticed. An input
 * may be bad; it must not be the machine's fault. */
static inline unsigned fuzz_weights(const void *bytes, size_t size) {
    bft_error err = {0};
    bft_weights *weights = NULL;
    fuzz_file file = fuzz_file_create("weights");
    fuzz_file_fill(&file, bytes, size);
    bft_status status = bft_weights_open(&err, &weights, file.path);
    if (status == BFT_FAILED) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
    unsigned sum = 0;
    for (size_t i = 0; status == BFT_OK && i < bft_weights_count(weights); i++) {
        const bft_tensor *tensor = bft_weights_at(weights, i);
        const unsigned char *data = tensor->data;
        for (size_t k = 0; data != NULL && k < tensor->count * bft_dtype_size(tensor->dtype); k++) {
            sum += data[k];
        }
    }
    bft_weights_close(weights);
    close(file.fd);
    return sum;
}

#endif
