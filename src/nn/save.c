/* save.c: model.safetensors, in pieces, so that a table of any size is never in memory whole. */
#include "nn/save.h"

#include "base/buffer.h"
#include "base/file.h"

#include <stdlib.h>

enum { ROWS_AT_ONCE = 256 };

static void release(bft_saver *saver) {
    if (saver->rows != NULL) {
        saver->model->backend.ops->free(saver->model->backend.device, saver->rows);
    }
    free(saver->host);
    *saver = (bft_saver){0};
}

bft_status bft_saver_open(bft_error *err, bft_saver *saver, const bft_model *model, bft_row_reader reader,
                          bft_dtype dtype, const char *path) {
    const bft_ops *ops = model->backend.ops;
    size_t room = ROWS_AT_ONCE * model->table.channels;
    *saver = (bft_saver){.model = model, .reader = reader, .host = malloc(room * sizeof *saver->host)};
    bft_status status = saver->host == NULL ? bft_error_memory(err, room * sizeof *saver->host)
                                            : ops->alloc(err, model->backend.device, room * ops->real, &saver->rows);
    if (status == BFT_OK) {
        status = bft_safetensors_create(err, &saver->file, path, dtype);
    }
    if (status != BFT_OK) {
        release(saver);
    }
    return status;
}

bft_status bft_saver_declare(bft_error *err, bft_saver *saver, const bft_param *param) {
    return bft_safetensors_declare(err, saver->file, param->name, param->dimensions, param->shape);
}

static bft_status write_table(bft_error *err, bft_saver *saver) {
    const bft_backend *backend = &saver->model->backend;
    size_t vocabulary = saver->model->table.vocabulary, channels = saver->model->table.channels;
    uint32_t words[ROWS_AT_ONCE];
    for (size_t at = 0; at < vocabulary; at += ROWS_AT_ONCE) {
        size_t count = vocabulary - at < ROWS_AT_ONCE ? vocabulary - at : ROWS_AT_ONCE;
        for (size_t i = 0; i < count; i++) {
            words[i] = (uint32_t)(at + i);
        }
        saver->reader.read(saver->reader.context, words, count, saver->rows);
        backend->ops->to_host(backend->device, saver->rows, saver->host, count * channels);
        BFT_TRY(bft_safetensors_write(err, saver->file, saver->host, count * channels));
        bft_tensor_release(saver->model->table.base, at * channels, count * channels);
    }
    return BFT_OK;
}

bft_status bft_saver_write(bft_error *err, bft_saver *saver, const bft_param *param) {
    if (param->sparse) {
        return write_table(err, saver);
    }
    const bft_model *model = saver->model;
    size_t room = ROWS_AT_ONCE * model->table.channels;
    for (size_t at = 0; at < param->count; at += room) {
        size_t count = param->count - at < room ? param->count - at : room;
        const void *values = bft_model_at(model, model->values, param->offset + at);
        model->backend.ops->to_host(model->backend.device, values, saver->host, count);
        BFT_TRY(bft_safetensors_write(err, saver->file, saver->host, count));
    }
    return BFT_OK;
}

bft_status bft_saver_commit(bft_error *err, bft_saver *saver) {
    bft_status status = bft_safetensors_commit(err, saver->file);
    release(saver);
    return status;
}

void bft_saver_discard(bft_saver *saver) {
    bft_safetensors_discard(saver->file);
    release(saver);
}

/* ---- A whole model ---- */

static bft_status write_all(bft_error *err, bft_saver *saver) {
    const bft_params *params = &saver->model->params;
    for (size_t i = 0; i < params->count; i++) {
        BFT_TRY(bft_saver_declare(err, saver, &params->list[i]));
    }
    for (size_t i = 0; i < params->count; i++) {
        BFT_TRY(bft_saver_write(err, saver, &params->list[i]));
    }
    return BFT_OK;
}

bft_status bft_model_save_weights(bft_error *err, const bft_model *model, bft_row_reader reader, bft_dtype dtype,
                                  const char *path) {
    bft_saver saver;
    BFT_TRY(bft_saver_open(err, &saver, model, reader, dtype, path));
    bft_status status = write_all(err, &saver);
    if (status != BFT_OK) {
        bft_saver_discard(&saver);
        return status;
    }
    return bft_saver_commit(err, &saver);
}

bft_status bft_model_save(bft_error *err, const bft_model *model, bft_dtype dtype, const char *folder) {
    bft_buffer path = {0};
    bft_status status = bft_path_join(err, &path, folder, "model.safetensors");
    if (status == BFT_OK) {
        status = bft_model_save_weights(err, model, bft_table_reader(&model->table), dtype, path.data);
    }
    if (status == BFT_OK) {
        status = bft_model_config_write(err, &model->config, folder);
    }
    bft_buffer_free(&path);
    return status;
}
