/* norm_bound.h: bounds of LayerNorm's errors, in the units of tolerance.c. */
#ifndef BFT_TESTS_OPS_NORM_BOUND_H
#define BFT_TESTS_OPS_NORM_BOUND_H

#include "tests/ops/ops_test.h"

typedef struct norm_bound {
    size_t rows, channels;
    double *normal, *normal_error; /* (rows, C) the rows before gamma and beta, and their bound */
    double *saved_error;           /* the same of those that the backward reads: values */
    double *scale, *scale_error;   /* (rows) 1 / sigma, and its bound, relative */
} norm_bound;

/* From the rows that are normalised, and the bound of their error. */
norm_bound bound_norm(problem *p, size_t rows, size_t channels, const double *input, const double *input_error,
                      double eps);
double bound_norm_output(const norm_bound *b, size_t i, double gamma, double beta);

/* |dx| and its bound from dy, itself with a bound. */
void bound_norm_backward(const norm_bound *b, const double *gamma, const double *dy, const double *dy_error,
                         double *dx_size, double *dx_error);
void bound_gamma_beta(const norm_bound *b, const double *dy, const double *dy_error, tensor *dgamma, tensor *dbeta);

#endif
