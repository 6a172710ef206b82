/* convert.c: opening both ends of an import or export. */
#include "cli/convert.h"

#include "base/buffer.h"
#include "base/file.h"

static bft_status make_target(bft_error *err, const char *target) {
    bft_buffer path = {0};
    bft_status status = bft_path_join(err, &path, target, "config.json");
    if (status == BFT_OK && bft_file_exists(path.data)) {
        status = bft_error_set(err, BFT_BAD, "%s: holds a model already; name a folder that doesn't exist yet", target);
    }
    bft_buffer_free(&path);
    return status == BFT_OK ? bft_directory_create(err, target) : status;
}

bft_status bft_conversion_open(bft_error *err, bft_conversion *conversion, const char *source, const char *target) {
    *conversion = (bft_conversion){0};
    bft_status status = bft_backend_open(err, &conversion->backend, &(bft_backend_setup){.name = "cpu"});
    if (status == BFT_OK) {
        status = bft_model_open(err, &conversion->model, source, conversion->backend);
    }
    if (status == BFT_OK) {
        status = bft_tokenizer_open(err, &conversion->tokenizer, source);
    }
    if (status == BFT_OK) {
        status = make_target(err, target);
    }
    if (status != BFT_OK) {
        bft_conversion_close(conversion);
    }
    return status;
}

void bft_conversion_close(bft_conversion *conversion) {
    bft_tokenizer_destroy(conversion->tokenizer);
    bft_model_destroy(conversion->model);
    bft_backend_close(&conversion->backend);
    *conversion = (bft_conversion){0};
}
