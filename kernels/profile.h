/* profile.h: a backend around any other that times its ops.
 *
 * Each op runs alone: where the inner backend queues work, begin and end aren't passed on, and every op is waited for.
 * Nothing else changes, so the results are the same bytes. Who doesn't wrap a backend pays nothing. */
#ifndef BFT_KERNELS_PROFILE_H
#define BFT_KERNELS_PROFILE_H

#include "kernels/ops.h"

/* What was done of one op; linear has a row for each of its first shapes and forms. */
typedef struct bft_profile_row {
    const char *op, *pass; /* "attention"; "forward", "backward", "both" in one, "update", or "" */
    size_t in, out;        /* linear; 0 -> 0: further shapes */
    bft_activation activation;
    bft_form
        form; /* linear: what its products' factors are: BFT_FORM_INT8; BFT_FORM_BF16, in training; else BFT_FORM_PLAIN, fp32 */
    uint64_t calls;
    double seconds;
    double flops,
        bytes; /* one of them is 0. Bytes: each tensor once, read or written; not what lies in saved and scratch */
} bft_profile_row;

/* Puts the wrapper in the place of an opened backend; its close closes both. On failure nothing has changed. */
bft_status bft_profile_wrap(bft_error *err, const bft_ops **ops, bft_device **device);

/* The rows of a wrapped device, in the order in which the ops were first called, and the seconds since it was wrapped. NULL: `ops`
 * is no wrapper. */
const bft_profile_row *bft_profile_rows(const bft_ops *ops, const bft_device *device, size_t *count, double *wall);

#endif
