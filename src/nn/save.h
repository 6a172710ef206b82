/* save.h: writing a model's tensors, one of the list at a time. */
#ifndef BFT_NN_SAVE_H
#define BFT_NN_SAVE_H

#include "nn/network.h"

typedef struct bft_saver {
    const bft_model *model;
    bft_row_reader reader; /* of the word rows */
    bft_safetensors_writer *file;
    void *rows;  /* a few word rows on the device */
    float *host; /* as many floats here */
} bft_saver;

/* Announce tensors with bft_safetensors_declare on `file`, the list's with bft_saver_declare; then write in the same
 * order. Commit and discard free the saver. */
bft_status bft_saver_open(bft_error *err, bft_saver *saver, const bft_model *model, bft_row_reader reader,
                          bft_dtype dtype, const char *path);
bft_status bft_saver_declare(bft_error *err, bft_saver *saver, const bft_param *param);
bft_status bft_saver_write(bft_error *err, bft_saver *saver, const bft_param *param);
bft_status bft_saver_commit(bft_error *err, bft_saver *saver);
void bft_saver_discard(bft_saver *saver);

#endif
