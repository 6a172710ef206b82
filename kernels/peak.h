/* peak.h: what this machine's processors can do at most, measured: what op timers and benchmarks are held against. */
#ifndef BFT_KERNELS_PEAK_H
#define BFT_KERNELS_PEAK_H

#include "bertft/error.h"

typedef struct bft_peak {
    double flops; /* fp32 operations a second: multiply-adds of the widest vectors, in registers */
    double bf16;  /* the same by vdpbf16ps, which takes two products at once; 0 where a processor lacks it */
    double int8;  /* by vpdpbusd, which takes four; 0 where a processor lacks it */
    double bytes; /* read plus written a second by a copy that no cache holds */
} bft_peak;

/* With as many threads; takes some hundred milliseconds, and 128 MiB. */
bft_status bft_peak_measure(bft_error *err, int threads, bft_peak *out);

#endif
