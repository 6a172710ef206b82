/* folder.c: a model's folder, its configuration, the backend. */
#include "cli/folder.h"

#include "base/buffer.h"
#include "base/file.h"
#include "kernels/profile.h"

#include <stdio.h>

static const char newest[] = "checkpoints/latest", shipped[] = "checkpoints/mini-ru-tone";

bft_status bft_folder_find(bft_error *err, const char *given, const char **folder) {
    bool trained = bft_file_exists(newest), ships = bft_directory_exists(shipped);
    *folder = given != NULL ? given : trained || !ships ? newest : shipped;
    if (bft_directory_exists(*folder)) {
        return BFT_OK;
    }
    if (given == NULL && !trained) {
        return bft_error_set(
            err, BFT_BAD,
            "%s: there is no trained run here, nor %s, which ships; `bertft train configs/params.yaml` "
            "makes one, or name the folder of a model",
            newest, shipped);
    }
    return bft_error_set(err, BFT_BAD, "%s: is not a folder; a run or a Hugging Face model is expected", *folder);
}

static bft_status merge_frozen(bft_error *err, bft_config *config, const char *folder) {
    bft_buffer path = {0};
    bft_status status = bft_path_join(err, &path, folder, "config.yaml");
    if (status == BFT_OK && bft_file_exists(path.data)) {
        status = bft_config_merge_file(err, config, path.data);
    }
    bft_buffer_free(&path);
    return status;
}

bft_status bft_folder_merge(bft_error *err, bft_config *config, const bft_arguments *arguments) {
    BFT_TRY(bft_config_merge_pairs(err, config, arguments->pair_words, arguments->pairs));
    if (arguments->device != NULL) {
        char *words[] = {"DEVICE.NAME", (char *)arguments->device};
        BFT_TRY(bft_config_merge_pairs(err, config, 2, words));
    }
    if (arguments->threads >= 0) {
        char number[16];
        snprintf(number, sizeof number, "%d", arguments->threads);
        char *words[] = {"DEVICE.THREADS", number};
        BFT_TRY(bft_config_merge_pairs(err, config, 2, words));
    }
    return BFT_OK;
}

bft_status bft_folder_configure(bft_error *err, bft_config **out, const char *folder, const bft_arguments *arguments) {
    bft_config *config = NULL;
    BFT_TRY(bft_config_create(err, &config));
    bft_status status = folder != NULL ? merge_frozen(err, config, folder) : BFT_OK;
    if (status == BFT_OK) {
        bft_config_reset(config, "DEVICE.");
        status = bft_folder_merge(err, config, arguments);
    }
    if (status != BFT_OK) {
        bft_config_destroy(config);
        return status;
    }
    *out = config;
    return BFT_OK;
}

bft_status bft_folder_backend(bft_error *err, bft_backend *backend, const bft_config *config,
                              const bft_arguments *arguments, bool training) {
    const char *precision = training ? bft_config_string(config, "TRAIN.PRECISION") : arguments->precision;
    bft_backend_setup setup = {.name = bft_config_string(config, "DEVICE.NAME"),
                               .precision = precision != NULL ? precision : "fp32",
                               .inference = !training,
                               .threads = (int)bft_config_int(config, "DEVICE.THREADS"),
                               .tf32 = bft_config_bool(config, "DEVICE.TF32"),
                               .attention = bft_config_string(config, "DEVICE.ATTENTION")};
    BFT_TRY(bft_backend_open(err, backend, &setup));
    if (arguments->profile && bft_profile_wrap(err, &backend->ops, &backend->device) != BFT_OK) {
        bft_backend_close(backend);
        return err->status;
    }
    return BFT_OK;
}
