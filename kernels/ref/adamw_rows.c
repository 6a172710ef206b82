/* adamw_rows.c: AdamW on rows that lag behind: what dense AdamW gives, up to rounding, without touching them each
 * step. */
#include "kernels/ref/ref.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>

/* One element of one row: its state, worked on outside of the table so that `copy` leaves the table alone. */
typedef struct element {
    real p, m, v;
} element;

static const double smallest_normal = sizeof(real) == sizeof(float) ? (double)FLT_MIN : DBL_MIN;

static real flushed(double x) {
    return fabs(x) < smallest_normal ? 0 : (real)x;
}

static double decay_of(const bft_adamw_step *step) {
    return 1 - step->lr * step->weight_decay;
}

/* Steps from + 1 .. to without a gradient. */
static void replay(const bft_adamw_rows *op, uint32_t from, uint32_t to, bool at_rest, element *e) {
    uint32_t gap = at_rest ? 0 : bft_adamw_gap(op->beta1);
    uint32_t middle = to - from > gap ? from + gap : to; /* step by step up to here, decay alone behind it */
    for (uint32_t t = from + 1; t <= middle; t++) {
        const bft_adamw_step *step = &op->history[t];
        REF(adamw_element)(op->beta1, op->beta2, op->eps, step, decay_of(step), 0, &e->p, &e->m, &e->v);
        e->m = flushed((double)e->m);
        e->v = flushed((double)e->v);
    }
    if (middle < to) {
        double rest = to - middle;
        double before = op->history[middle].decay_product; /* 0 once lr wd was 1: then nothing is left to decay */
        e->p = (real)(before == 0 ? 0 : (double)e->p * (op->history[to].decay_product / before));
        e->m = flushed((double)e->m * pow(op->beta1, rest));
        e->v = flushed((double)e->v * pow(op->beta2, rest));
    }
}

static bool row_at_rest(const bft_adamw_rows *op, size_t start) {
    for (size_t c = 0; c < op->channels; c++) {
        if (((const real *)op->m)[start + c] != 0 || ((const real *)op->v)[start + c] != 0) {
            return false;
        }
    }
    return true;
}

/* A row without a slot lies in the copy, and has only decay to catch up with. */
static void decay_copy(const bft_adamw_rows *op, size_t row) {
    real *p = (real *)op->copy + row * op->channels;
    for (size_t c = 0; c < op->channels; c++) {
        element e = {p[c], 0, 0};
        replay(op, op->last[row], op->now, true, &e);
        p[c] = e.p;
    }
}

static void row_step(const bft_adamw_rows *op, size_t row) {
    size_t start = op->slot[row] * op->channels;
    bool at_rest = row_at_rest(op, start);
    real *p = (real *)op->p + start, *m = (real *)op->m + start, *v = (real *)op->v + start;
    for (size_t c = 0; c < op->channels; c++) {
        element e = {p[c], m[c], v[c]};
        replay(op, op->last[row], op->grad == NULL ? op->now : op->now - 1, at_rest, &e);
        if (op->grad != NULL) {
            const bft_adamw_step *step = &op->history[op->now];
            real g = (real)op->norm->scale * ((const real *)op->grad)[row * op->channels + c];
            REF(adamw_element)(op->beta1, op->beta2, op->eps, step, decay_of(step), g, &e.p, &e.m, &e.v);
        }
        if (op->copy != NULL) {
            ((real *)op->copy)[row * op->channels + c] = e.p;
        } else {
            p[c] = e.p;
            m[c] = e.m;
            v[c] = e.v;
        }
    }
}

void REF(adamw_rows)(bft_device *device, const bft_adamw_rows *op) {
    (void)device;
    if (op->grad != NULL && op->norm->failed != 0) {
        return;
    }
    for (size_t row = 0; row < op->rows; row++) {
        if (op->slot[row] == BFT_NO_SLOT) {
            decay_copy(op, row);
        } else {
            row_step(op, row);
        }
    }
}
