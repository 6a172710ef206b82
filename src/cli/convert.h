/* convert.h: what import and export share: a folder in, a folder out. */
#ifndef BFT_CLI_CONVERT_H
#define BFT_CLI_CONVERT_H

#include "bertft/model.h"
#include "bertft/tokenizer.h"

typedef struct bft_conversion {
    bft_backend backend;
    bft_model *model;
    bft_tokenizer *tokenizer;
} bft_conversion;

/* Opens the model and the tokenizer of `source` and makes the folder `target`, which must not hold a model yet. */
bft_status bft_conversion_open(bft_error *err, bft_conversion *conversion, const char *source, const char *target);
void bft_conversion_close(bft_conversion *conversion);

#endif
