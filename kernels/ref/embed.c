/* embed.c: word + position + type, LayerNorm, dropout. */
#include "kernels/ref/ref.h"

#include <string.h>

void REF(embed_memory)(const bft_embed *op, bft_memory *out) {
    out->saved = REF(norm_saved_bytes)(op->rows, op->channels);
    out->scratch = op->rows * op->channels * sizeof(real);
}

void REF(embed_forward)(bft_device *device, const bft_embed *op) {
    (void)device;
    size_t channels = op->channels;
    const real *types = op->type_table;
    norm_saved saved = REF(norm_saved_at)(op->saved, op->rows, channels);
    for (size_t r = 0; r < op->rows; r++) {
        const real *word = (const real *)op->word + op->word_row[r] * channels;
        const real *position = (const real *)op->position_table + op->position[r] * channels;
        real *y = (real *)op->y + r * channels;
        for (size_t c = 0; c < channels; c++) {
            double type = types == NULL ? 0 : (double)types[c];
            y[c] = (real)((double)word[c] + (double)position[c] + type);
        }
        REF(norm_row)(r, channels, op->eps, op->gamma, op->beta, op->y, saved);
        for (size_t c = 0; c < channels; c++) {
            y[c] = (real)((double)y[c] * dropout_in_row(&op->dropout, r, c));
        }
    }
}

void REF(embed_backward)(bft_device *device, const bft_embed *op) {
    (void)device;
    size_t channels = op->channels;
    const real *dy = op->dy;
    real *d = op->scratch; /* (N, C) dy without dropout, then the gradient of the sum of the three tables */
    for (size_t r = 0; r < op->rows; r++) {
        for (size_t c = 0; c < channels; c++) {
            d[r * channels + c] = (real)((double)dy[r * channels + c] * dropout_in_row(&op->dropout, r, c));
        }
    }
    norm_saved saved = REF(norm_saved_at)(op->saved, op->rows, channels);
    REF(norm_backward)(op->rows, channels, op->gamma, saved, d, d, op->dgamma, op->dbeta);

    real *dword = op->dword, *dposition = op->dposition_table, *dtype = op->dtype_table;
    if (dword != NULL) {
        memset(dword, 0, op->words * channels * sizeof(real));
    }
    for (size_t r = 0; r < op->rows; r++) {
        for (size_t c = 0; c < channels; c++) {
            real g = d[r * channels + c];
            if (dword != NULL) {
                dword[op->word_row[r] * channels + c] += g;
            }
            if (dposition != NULL) {
                dposition[op->position[r] * channels + c] += g;
            }
            if (dtype != NULL) {
                dtype[c] += g;
            }
        }
    }
}
