/* profile.c: the table of --profile: op by op, the longest first, what time it took and how near it came to the machine's peak. */
#include "cli/profile.h"

#include "kernels/peak.h"
#include "kernels/profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b) {
    double x = ((const bft_profile_row *)a)->seconds, y = ((const bft_profile_row *)b)->seconds;
    return x > y ? -1 : x < y;
}

static void name_row(const bft_profile_row *row, char *out, size_t size) {
    static const char *const activations[] = {
        [BFT_IDENTITY] = "", [BFT_GELU] = " gelu", [BFT_TANH] = " tanh", [BFT_RELU] = " relu"};
    static const char *const forms[] = {[BFT_FORM_PLAIN] = "", [BFT_FORM_BF16] = " bf16", [BFT_FORM_INT8] = " int8"};
    if (row->in != 0) {
        snprintf(out, size, "%s %zu -> %zu%s%s", row->op, row->in, row->out, activations[row->activation],
                 forms[row->form]);
    } else {
        snprintf(out, size, "%s%s", row->op, strcmp(row->op, "linear") == 0 ? " of further shapes" : "");
    }
}

static void print_share(double part, double whole) {
    fprintf(stderr, "  %5.1f %%", whole > 0 ? 100 * part / whole : 0);
}

/* What its kind of work can reach. A processor without products of 16 bits rounds and multiplies in fp32. */
static double find_most(const bft_profile_row *row, const bft_peak *peak) {
    double products = row->form == BFT_FORM_INT8 ? peak->int8 : row->form == BFT_FORM_BF16 ? peak->bf16 : 0;
    return row->flops <= 0 ? peak->bytes : products > 0 ? products : peak->flops;
}

static void print_row(const bft_profile_row *row, double wall, const bft_peak *peak) {
    char name[64];
    double work = row->flops > 0 ? row->flops : row->bytes, most = find_most(row, peak);
    double rate = row->seconds > 0 ? work / row->seconds : 0;
    name_row(row, name, sizeof name);
    fprintf(stderr, "%-30s  %-8s  %8llu  %10.1f", name, row->pass, (unsigned long long)row->calls, 1e3 * row->seconds);
    print_share(row->seconds, wall);
    fprintf(stderr, "  %8.1f %-*s", rate * 1e-9, most > 0 ? 7 : 0, row->flops > 0 ? "GFLOP/s" : "GB/s");
    if (most > 0) {
        print_share(rate, most);
    }
    fputc('\n', stderr);
}

/* A remote device's peaks are not this machine's. */
static bft_peak find_peak(const bft_backend *backend) {
    bft_error ignored;
    bft_peak peak = {0};
    if (!backend->ops->remote && bft_peak_measure(&ignored, backend->ops->threads(backend->device), &peak) != BFT_OK) {
        peak = (bft_peak){0};
    }
    return peak;
}

static void print_head(const bft_backend *backend, const bft_peak *peak, double wall) {
    char device[BFT_DESCRIPTION_SIZE];
    backend->ops->describe(backend->device, device);
    fprintf(stderr, "\nprofile: %s, %s, %.3f s\n", backend->ops->name, device, wall);
    if (backend->ops->remote) {
        fputs("each op was waited for, so that its time could be taken: together they take longer than in a queue\n",
              stderr);
    }
    if (peak->flops > 0) {
        fprintf(stderr, "peak, measured now: %.1f GFLOP/s in registers", peak->flops * 1e-9);
        if (peak->bf16 > 0) {
            fprintf(stderr, ", %.1f in bf16", peak->bf16 * 1e-9);
        }
        if (peak->int8 > 0) {
            fprintf(stderr, ", %.1f in int8", peak->int8 * 1e-9);
        }
        fprintf(stderr, "; %.1f GB/s copying; what lies in caches goes above\n", peak->bytes * 1e-9);
    }
    fprintf(stderr, "%-30s  %-8s  %8s  %10s  %7s  %8s%s\n", "op", "pass", "calls", "ms", "share", "rate",
            peak->flops > 0 ? "          of peak" : "");
}

void bft_profile_print(const bft_backend *backend) {
    size_t count;
    double wall, sum = 0;
    const bft_profile_row *rows = bft_profile_rows(backend->ops, backend->device, &count, &wall);
    bft_profile_row *sorted = rows != NULL ? calloc(count + 1, sizeof *sorted) : NULL;
    if (sorted == NULL) {
        return;
    }
    memcpy(sorted, rows, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare);
    bft_peak peak = find_peak(backend);
    print_head(backend, &peak, wall);
    for (size_t i = 0; i < count; i++) {
        print_row(&sorted[i], wall, &peak);
        sum += sorted[i].seconds;
    }
    fprintf(stderr, "%-30s  %-8s  %8s  %10.1f", "outside the ops", "", "", 1e3 * (wall - sum));
    print_share(wall - sum, wall);
    fputc('\n', stderr);
    free(sorted);
}
