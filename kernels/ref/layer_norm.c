/* layer_norm.c: y = gamma (x - mean) / sqrt(variance + eps) + beta a row, forward and backward, for embed and
 * residual_norm. */
#include "kernels/ref/ref.h"

#include <math.h>

size_t REF(norm_saved_bytes)(size_t rows, size_t channels) {
    return (rows * channels + rows) * sizeof(real);
}

norm_saved REF(norm_saved_at)(void *saved, size_t rows, size_t channels) {
    if (saved == NULL) {
        return (norm_saved){NULL, NULL};
    }
    real *normal = saved;
    return (norm_saved){normal, normal + rows * channels};
}

void REF(norm_row)(size_t row, size_t channels, float eps, const void *gamma, const void *beta, void *y,
                   norm_saved saved) {
    const real *scale = gamma, *shift = beta;
    real *out = (real *)y + row * channels;
    double sum = 0, squares = 0;
    for (size_t c = 0; c < channels; c++) {
        sum += (double)out[c];
    }
    double mean = sum / (double)channels;
    for (size_t c = 0; c < channels; c++) {
        squares += ((double)out[c] - mean) * ((double)out[c] - mean);
    }
    double inverse = 1 / sqrt(squares / (double)channels + (double)eps);
    for (size_t c = 0; c < channels; c++) {
        double normal = ((double)out[c] - mean) * inverse;
        if (saved.normal != NULL) {
            saved.normal[row * channels + c] = (real)normal;
        }
        out[c] = (real)(normal * (double)scale[c] + (double)shift[c]);
    }
    if (saved.scale != NULL) {
        saved.scale[row] = (real)inverse;
    }
}

/* dgamma = sum of dy normal over the rows, dbeta = sum of dy. */
static void add_gamma_beta(size_t rows, size_t channels, norm_saved saved, const real *dy, real *dgamma, real *dbeta) {
    for (size_t c = 0; c < channels; c++) {
        double of_gamma = 0, of_beta = 0;
        for (size_t r = 0; r < rows; r++) {
            of_gamma += (double)dy[r * channels + c] * (double)saved.normal[r * channels + c];
            of_beta += (double)dy[r * channels + c];
        }
        if (dgamma != NULL) {
            dgamma[c] += (real)of_gamma;
        }
        if (dbeta != NULL) {
            dbeta[c] += (real)of_beta;
        }
    }
}

/* With n the normal row and g = dy gamma: dx = (g - mean(g) - n mean(g n)) / sigma. */
void REF(norm_backward)(size_t rows, size_t channels, const void *gamma, norm_saved saved, const void *dy, void *dx,
                        void *dgamma, void *dbeta) {
    add_gamma_beta(rows, channels, saved, dy, dgamma, dbeta);
    const real *scale = gamma;
    for (size_t r = 0; r < rows; r++) {
        const real *out = (const real *)dy + r * channels, *normal = saved.normal + r * channels;
        real *in = (real *)dx + r * channels;
        double sum = 0, along = 0;
        for (size_t c = 0; c < channels; c++) {
            double g = (double)out[c] * (double)scale[c];
            sum += g;
            along += g * (double)normal[c];
        }
        double mean = sum / (double)channels, mean_along = along / (double)channels;
        for (size_t c = 0; c < channels; c++) {
            double g = (double)out[c] * (double)scale[c];
            in[c] = (real)((g - mean - (double)normal[c] * mean_along) * (double)saved.scale[r]);
        }
    }
}
