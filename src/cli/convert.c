/* convert.c: opening both ends of an import or export. */
#include "cli/convert.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/log.h"

static bft_status make_target(bft_error *err, const char *target) {
    bft_buffer path = {0};
    bft_status status = bft_path_join(err, &path, target, "config.json");
    if (status == BFT_OK && bft_file_exists(path.data)) {
        status = bft_error_set(err, BFT_BAD, "%s: holds a model already; name a folder that doesn't exist yet", target);
    }
    bft_buffer_free(&path);
    return status == BFT_OK ? bft_directory_create(err, target) : status;
}

/* A masked language model with the head that it was trained with, where it has one that we can hold. */
static bft_status open_model(bft_error *err, bft_conversion *conversion, const char *source) {
    bft_model_config config;
    BFT_TRY(bft_model_config_read(err, &config, source));
    bool masked = config.masked;
    bft_model_config_free(&config);
    const bft_pretraining_setup setup = {.own_head = true, .dropout = -1};
    if (masked &&
        bft_model_open_for_pretraining(err, &conversion->model, source, conversion->backend, &setup) == BFT_OK) {
        return BFT_OK;
    }
    bft_error why = *err;
    BFT_TRY(bft_model_open(err, &conversion->model, source, conversion->backend));
    if (masked) {
        bft_log_warning("%s; the encoder alone is taken", why.message);
    }
    return BFT_OK;
}

bft_status bft_conversion_open(bft_error *err, bft_conversion *conversion, const char *source, const char *target) {
    *conversion = (bft_conversion){0};
    bft_status status = bft_backend_open(err, &conversion->backend, &(bft_backend_setup){.name = "cpu"});
    if (status == BFT_OK) {
        status = open_model(err, conversion, source);
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
