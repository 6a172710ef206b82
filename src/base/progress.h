/* progress.h: one line on a terminal that is redrawn in place; nothing where stderr isn't a terminal. */
#ifndef BFT_BASE_PROGRESS_H
#define BFT_BASE_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct bft_progress_bar {
    bool terminal, drawn;
    double started, last; /* seconds on the monotonic clock */
    size_t first;         /* done when it started, for the ETA of a resumed run */
} bft_progress_bar;

bft_progress_bar bft_progress_start(size_t first);

/* Redraws at most ten times a second (and at the end): bar, done/total, time left, `text`. */
void bft_progress_show(bft_progress_bar *bar, size_t done, size_t total, const char *text);

/* Clears the line, before other output and at the end. */
void bft_progress_clear(bft_progress_bar *bar);

/* "1:05" or "2:03:07". */
void bft_duration_format(double seconds, char *out, size_t size);

#endif
