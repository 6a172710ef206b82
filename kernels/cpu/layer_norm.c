/* layer_norm.c: LayerNorm by rows, for embed and residual_norm: y = (x - mean) / sqrt(var + eps) * gamma + beta. */
#include "kernels/cpu/cpu.h"

#include <math.h>

size_t CPU(norm_saved_bytes)(size_t rows, size_t channels) {
    return rows * (channels + 1) * sizeof(float);
}

norm_saved CPU(norm_saved_at)(void *saved, size_t rows, size_t channels) {
    float *normal = saved;
    return normal == NULL ? (norm_saved){NULL, NULL} : (norm_saved){normal, normal + rows * channels};
}

size_t CPU(norm_partial_bytes)(size_t rows, size_t channels) {
    return blocks_of(rows, ROW_BLOCK) * 2 * channels * sizeof(float);
}

enum { CHAINS = 4 }; /* of a sum, side by side: each waits for itself only */

static float mean_of(size_t channels, const float *x) {
    vf sum[CHAINS] = {0};
    size_t c = 0;
    for (; c + CHAINS * LANES <= channels; c += CHAINS * LANES) {
        UNROLLED
        for (int i = 0; i < CHAINS; i++) {
            sum[i] += vf_load(x + c + i * LANES);
        }
    }
    for (; c < channels; c += LANES) {
        sum[0] += vf_load_some(x + c, channels - c);
    }
    return vf_sum((sum[0] + sum[1]) + (sum[2] + sum[3])) / (float)channels;
}

static float variance_of(size_t channels, const float *x, float mean) {
    vf sum[CHAINS] = {0};
    size_t c = 0;
    for (; c + CHAINS * LANES <= channels; c += CHAINS * LANES) {
        UNROLLED
        for (int i = 0; i < CHAINS; i++) {
            vf off = vf_load(x + c + i * LANES) - mean;
            sum[i] += off * off;
        }
    }
    for (; c < channels; c += LANES) {
        vf off = vf_first(vf_load_some(x + c, channels - c) - mean, channels - c);
        sum[0] += off * off;
    }
    return vf_sum((sum[0] + sum[1]) + (sum[2] + sum[3])) / (float)channels;
}

void CPU(norm_row)(size_t row, size_t channels, float eps, const float *gamma, const float *beta, const float *x,
                   float *y, norm_saved saved) {
    float mean = mean_of(channels, x);
    float scale = 1 / sqrtf(variance_of(channels, x, mean) + eps);
    float *normal = saved.normal == NULL ? NULL : saved.normal + row * channels;
    for (size_t c = 0; c < channels; c += LANES) {
        size_t some = channels - c;
        vf v = (vf_load_some(x + c, some) - mean) * scale;
        if (normal != NULL) {
            vf_store_some(normal + c, v, some);
        }
        vf_store_some(y + c, v * vf_load_some(gamma + c, some) + vf_load_some(beta + c, some), some);
    }
    if (saved.scale != NULL) {
        saved.scale[row] = scale;
    }
}

/* With g = dy gamma and n the normal row: dx = scale (g - mean(g) - n mean(g n)). */
void CPU(norm_row_backward)(size_t row, size_t channels, const float *gamma, norm_saved saved, const float *dy,
                            float *dx, float *partial) {
    const float *normal = saved.normal + row * channels;
    float *dgamma = partial, *dbeta = partial + channels, scale = saved.scale[row];
    vf sum = {0}, along = {0};
    for (size_t c = 0; c < channels; c += LANES) {
        size_t some = channels - c;
        vf d = vf_load_some(dy + c, some), n = vf_load_some(normal + c, some);
        vf g = d * vf_load_some(gamma + c, some);
        sum += g;
        along += g * n;
        vf_store_some(dgamma + c, vf_load_some(dgamma + c, some) + d * n, some);
        vf_store_some(dbeta + c, vf_load_some(dbeta + c, some) + d, some);
    }
    float mean = vf_sum(sum) / (float)channels, slope = vf_sum(along) / (float)channels;
    for (size_t c = 0; c < channels; c += LANES) {
        size_t some = channels - c;
        vf g = vf_load_some(dy + c, some) * vf_load_some(gamma + c, some);
        vf_store_some(dx + c, scale * (g - mean - slope * vf_load_some(normal + c, some)), some);
    }
}

void CPU(norm_combine)(size_t rows, size_t channels, const float *partial, float *dgamma, float *dbeta) {
    for (size_t block = 0; block < blocks_of(rows, ROW_BLOCK); block++, partial += 2 * channels) {
        for (size_t c = 0; dgamma != NULL && c < channels; c++) {
            dgamma[c] += partial[c];
        }
        for (size_t c = 0; dbeta != NULL && c < channels; c++) {
            dbeta[c] += partial[channels + c];
        }
    }
}
