/* progress.c: drawing the line. */
#include "base/progress.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { CELLS = 12, LINE = 512 };

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

bft_progress_bar bft_progress_start(size_t first) {
    return (bft_progress_bar){.terminal = isatty(STDERR_FILENO) == 1, .started = seconds(), .first = first};
}

void bft_duration_format(double duration, char *out, size_t size) {
    unsigned long long total = duration > 0 && isfinite(duration) ? (unsigned long long)(duration + 0.5) : 0;
    unsigned long long hours = total / 3600, minutes = total / 60 % 60, rest = total % 60;
    if (hours > 0) {
        snprintf(out, size, "%llu:%02llu:%02llu", hours, minutes, rest);
    } else {
        snprintf(out, size, "%llu:%02llu", minutes, rest);
    }
}

/* The bar in eighths of a cell. */
static void draw_bar(double share, char *out) {
    static const char *const eighths[] = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"};
    int filled = (int)(share * CELLS * 8);
    out[0] = '\0';
    for (int cell = 0; cell < CELLS; cell++) {
        int part = filled - cell * 8;
        strcat(out, eighths[part < 0 ? 0 : part > 8 ? 8 : part]);
    }
}

void bft_progress_show(bft_progress_bar *bar, size_t done, size_t total, const char *text) {
    double now = seconds();
    if (!bar->terminal || total == 0 || (done < total && now - bar->last < 0.1)) {
        return;
    }
    bar->last = now;
    bar->drawn = true;
    char cells[CELLS * 4 + 1], left[32], line[LINE];
    draw_bar((double)done / (double)total, cells);
    double fresh = (double)(done - bar->first);
    bft_duration_format(fresh > 0 ? (now - bar->started) / fresh * (double)(total - done) : 0, left, sizeof left);
    snprintf(line, sizeof line, "%s %zu/%zu  %s left  %s", cells, done, total, left, text);
    struct winsize window = {0};
    int columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0 ? window.ws_col : 80;
    int room = columns - 1 - CELLS; /* what follows the bar is ASCII: a column a byte */
    size_t bar_bytes = strlen(cells);
    if (room < 0) {
        room = 0;
    }
    fprintf(stderr, "\r%s%.*s\033[K", cells, room, line + bar_bytes);
    fflush(stderr);
}

void bft_progress_clear(bft_progress_bar *bar) {
    if (bar->drawn) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
        bar->drawn = false;
    }
}
