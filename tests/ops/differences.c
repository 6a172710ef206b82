/* differences.c: ref64's gradients against central differences of ref64's forward.
 *
 * The scalar is L = sum of y dy over the op's outputs (dy = 1 for losses), whose gradient by an input is what the
 * backward gives. With D(h) = (L(x + h) - L(x - h)) / 2h, the truncation error of D(h) is c h^2 and that of D(2h)
 * is 4 c h^2, so |D(h) - D(2h)| is three times the former: it bounds it. The rounding error of an L is that of its
 * terms, from the op's own bounds, and of their sum; D(h) has twice that over 2h. h = 2^-17, near the cube root of
 * double's roundoff. */
#include "tests/ops/ops_test.h"

#include <math.h>
#include <stdio.h>

static const double STEP = 0x1p-17;
enum { MOST_ELEMENTS = 3000 };

static bool is_checked(const tensor *t) {
    return t->name != NULL && t->gradient_of != NONE;
}

bool differences_possible(const problem *p) {
    size_t gradients = 0, all = 0;
    for (int at = 0; at < MAX_TENSORS; at++) {
        if (p->tensor[at].name != NULL) {
            all += p->tensor[at].count;
            gradients += is_checked(&p->tensor[at]) ? p->tensor[at].count : 0;
        }
    }
    return !p->inference && gradients > 0 && all <= MOST_ELEMENTS;
}

static double upstream_of(const problem *p, const tensor *t, size_t i) {
    return t->upstream == NONE ? 1 : p->tensor[t->upstream].start[i];
}

static bool is_objective(const tensor *t) {
    return t->name != NULL && t->role == OUTPUT && t->gradient_of == NONE;
}

static double objective(run *r, double *buffer) {
    double sum = 0;
    run_load(r);
    run_forward(r);
    for (int at = 0; at < MAX_TENSORS; at++) {
        const tensor *t = &r->problem->tensor[at];
        if (is_objective(t)) {
            tensor_read(r, at, buffer);
            for (size_t i = 0; i < t->count; i++) {
                sum += buffer[i] * upstream_of(r->problem, t, i);
            }
        }
    }
    return sum;
}

/* Bound of the rounding error of one objective. */
static double objective_error(const problem *p) {
    double error = 0;
    for (int at = 0; at < MAX_TENSORS; at++) {
        const tensor *t = &p->tensor[at];
        for (size_t i = 0; is_objective(t) && i < t->count; i++) {
            double dy = fabs(upstream_of(p, t, i));
            error += dy * (t->error[i] + growth(t->count + 1) * fabs(t->truth[i]));
        }
    }
    return error * unit_roundoff(sizeof(double));
}

static double central(run *r, double *value, double step, double *buffer) {
    double kept = *value;
    *value = kept + step;
    double above = objective(r, buffer);
    *value = kept - step;
    double below = objective(r, buffer);
    *value = kept;
    return (above - below) / (2 * step);
}

const char *check_differences(problem *p, const bft_ops *ref64, double *worst, char *why, size_t room) {
    run r = run_open(p, ref64, 1);
    double *buffer = take(p, MOST_ELEMENTS, sizeof *buffer), rounding = objective_error(p) / STEP;
    const char *wrong = NULL;
    for (int at = 0; at < MAX_TENSORS && wrong == NULL; at++) {
        const tensor *t = &p->tensor[at];
        for (size_t i = 0; is_checked(t) && i < t->count && wrong == NULL; i++) {
            double *value = &p->tensor[t->gradient_of].start[i];
            if (isnan(t->truth[i])) {
                continue;
            }
            double near = central(&r, value, STEP, buffer), far = central(&r, value, 2 * STEP, buffer);
            double gradient = t->truth[i] - (t->role == ADDED ? t->start[i] : 0);
            double allowed = fabs(near - far) + rounding + t->error[i] * unit_roundoff(sizeof(double));
            *worst = fmax(*worst, fabs(near - gradient) / allowed);
            if (!(fabs(near - gradient) <= allowed)) {
                snprintf(why, room, "%s[%zu] is %.12g, finite differences give %.12g: off by %.3g, %.3g is allowed",
                         t->name, i, gradient, near, fabs(near - gradient), allowed);
                wrong = why;
            }
        }
    }
    run_close(&r);
    return wrong;
}
