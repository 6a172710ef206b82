/* norm_bound.c: bounds of LayerNorm's errors, for embed and residual_norm. With a the input, d = a - mean, s = 1 /
 * sigma, n = d s: two passes over the row are expected, so d is as good as a and the mean are. */
#include "tests/ops/norm_bound.h"

#include <math.h>

static void bound_row(norm_bound *b, size_t row, const double *a, const double *a_error, double eps) {
    size_t channels = b->channels;
    double count = (double)channels, sum = 0, size = 0, passed_on = 0;
    for (size_t c = 0; c < channels; c++) {
        sum += a[c];
        size += fabs(a[c]);
        passed_on += a_error[c];
    }
    double mean = sum / count, mean_error = (growth(channels) * size + passed_on) / count + fabs(mean);
    double variance = 0, variance_error = 0;
    for (size_t c = 0; c < channels; c++) {
        double d = a[c] - mean, d_error = a_error[c] + mean_error + fabs(d);
        variance += d * d / count;
        variance_error += 2 * fabs(d) * d_error / count;
    }
    variance_error += (growth(channels) + 2) * variance;
    double s = 1 / sqrt(variance + eps), s_error = variance_error / (2 * (variance + eps)) + 4; /* +, sqrt, / */
    b->scale[row] = s;
    b->scale_error[row] = s_error;
    for (size_t c = 0; c < channels; c++) {
        double d = a[c] - mean, d_error = a_error[c] + mean_error + fabs(d);
        b->normal[row * channels + c] = d * s;
        b->normal_error[row * channels + c] = d_error * s + fabs(d * s) * (s_error + 1);
    }
}

norm_bound bound_norm(problem *p, size_t rows, size_t channels, const double *input, const double *input_error,
                      double eps) {
    norm_bound b = {.rows = rows, .channels = channels};
    b.normal = take(p, rows * channels, sizeof(double));
    b.normal_error = take(p, rows * channels, sizeof(double));
    b.saved_error = take(p, rows * channels, sizeof(double));
    b.scale = take(p, rows, sizeof(double));
    b.scale_error = take(p, rows, sizeof(double));
    for (size_t r = 0; r < rows; r++) {
        bound_row(&b, r, input + r * channels, input_error + r * channels, eps);
    }
    for (size_t i = 0; i < rows * channels; i++) {
        b.saved_error[i] = b.normal_error[i] + stored(p, b.normal[i]);
    }
    return b;
}

double bound_norm_output(const norm_bound *b, size_t i, double gamma, double beta) {
    double scaled = fabs(b->normal[i] * gamma);
    return fabs(gamma) * b->normal_error[i] + 2 * scaled + fabs(beta);
}

/* dx = (g - mean(g) - n mean(g n)) s, g = dy gamma: its absolute value, and its bound. */
static void bound_dx_row(const norm_bound *b, size_t row, const double *gamma, const double *dy, const double *dy_error,
                         double *dx_size, double *dx_error) {
    size_t channels = b->channels, start = row * channels;
    const double *n = b->normal + start, *n_error = b->saved_error + start;
    double count = (double)channels, mean = 0, along = 0, size = 0, size_along = 0, passed = 0, passed_along = 0;
    for (size_t c = 0; c < channels; c++) {
        double g = dy[c] * gamma[c], g_error = dy_error[c] * fabs(gamma[c]) + fabs(g);
        mean += g / count;
        along += g * n[c] / count;
        size += fabs(g) / count;
        size_along += fabs(g * n[c]) / count;
        passed += g_error / count;
        passed_along += (g_error * fabs(n[c]) + fabs(g) * n_error[c]) / count;
    }
    double mean_error = growth(channels) * size + passed + fabs(mean);
    double along_error = (growth(channels) + 1) * size_along + passed_along + fabs(along);
    for (size_t c = 0; c < channels; c++) {
        double g = dy[c] * gamma[c], g_error = dy_error[c] * fabs(gamma[c]) + fabs(g), away = n[c] * along;
        double sum_error = g_error + mean_error + fabs(n[c]) * along_error + fabs(along) * n_error[c] + fabs(away) +
                           2 * (fabs(g) + fabs(mean) + fabs(away));
        dx_size[c] = fabs(g - mean - away) * b->scale[row];
        dx_error[c] = sum_error * b->scale[row] + dx_size[c] * (b->scale_error[row] + 1);
    }
}

void bound_norm_backward(const norm_bound *b, const double *gamma, const double *dy, const double *dy_error,
                         double *dx_size, double *dx_error) {
    for (size_t r = 0; r < b->rows; r++) {
        size_t start = r * b->channels;
        bound_dx_row(b, r, gamma, dy + start, dy_error + start, dx_size + start, dx_error + start);
    }
}

void bound_gamma_beta(const norm_bound *b, const double *dy, const double *dy_error, tensor *dgamma, tensor *dbeta) {
    for (size_t c = 0; c < dgamma->count; c++) {
        double size = fabs(dgamma->start[c]), passed_on = 0;
        for (size_t i = c; i < b->rows * b->channels; i += b->channels) {
            size += fabs(dy[i] * b->normal[i]);
            passed_on += dy_error[i] * fabs(b->normal[i]) + fabs(dy[i]) * b->saved_error[i];
        }
        dgamma->error[c] = (growth(b->rows + 1) + 1) * size + passed_on;
    }
    for (size_t c = 0; c < dbeta->count; c++) {
        double size = fabs(dbeta->start[c]), passed_on = 0;
        for (size_t i = c; i < b->rows * b->channels; i += b->channels) {
            size += fabs(dy[i]);
            passed_on += dy_error[i];
        }
        dbeta->error[c] = growth(b->rows + 1) * size + passed_on;
    }
}
