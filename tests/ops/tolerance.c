/* tolerance.c: how far from the truth a result may lie.
 *
 * Every subject bounds the error of each element from the values that go into it, to first order, in units of u, the
 * unit roundoff of the backend's type (2^-24 for float, 2^-53 for double). The rules, for exact inputs:
 *   - an operation or a rounding of a constant gives |result| u;
 *   - a sum of n terms, in any order, gives growth(n) sum |term| u. The worst case is n - 1 (Higham, Accuracy and
 * Stability
 *     of Numerical Algorithms, section 4.2); with roundings that behave like random ones it is L sqrt(n), but for a
 *     probability of 2 exp(-L^2 / 2) (Higham and Mary, A new approach to probabilistic rounding error analysis,
 * 2019).
 *     L = 8 makes that 3e-14 for an element, so that it doesn't happen in a table of some million elements;
 *   - exp, erf, tanh, log give FUNCTION |result| u, beside what their argument's error does: 4 units in the last
 * place,
 *     which is what fast vector versions of them promise;
 *   - errors of operands pass on through the derivative.
 *   - where values are of 16 bits, rounding to them gives `stored` u where the contract lets an op keep them: outputs
 *     that are values, `saved`, and the factors of products, which tensor cores want in that type. All else is reals.
 *     The unit roundoff is 2^-8 for bfloat16 and 2^-11 for halves, and absolute below the smallest normal number.
 * What is below the smallest normal number may be flushed to 0: UNDERFLOW u is a few times that of float. */
#include "tests/ops/ops_test.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

const double FUNCTION = 8; /* one unit in the last place is up to 2 u */
const double UNDERFLOW = 4 * (double)FLT_MIN / 0x1p-24;

double growth(size_t terms) {
    double n = (double)terms;
    return fmin(n, 8 * sqrt(n));
}

double stored(const problem *p, double x) {
    switch (p->values) {
    case BFT_BF16:
        return fmax(fabs(x), 0x1p-126) * (0x1p-8 / 0x1p-24);
    case BFT_F16:
        return fmax(fabs(x), 0x1p-14) * (0x1p-11 / 0x1p-24);
    case BFT_F32:
        break;
    }
    return 0;
}

double unit_roundoff(size_t real) {
    return real == sizeof(double) ? 0x1p-53 : 0x1p-24;
}

static bool within(const problem *p, const tensor *t, size_t i, double value, double u, double *worst) {
    double truth = t->truth[i];
    if (isinf(t->slack[i])) {
        return true; /* for the subject's `check` to judge */
    }
    if (isnan(truth)) {
        return isnan(value); /* a gap between rows, never written */
    }
    if (t->mask && (truth == 0 || (value == 0 && fabs(truth) > stored(p, 0) * u))) {
        return truth == value;
    }
    if (t->error[i] <= 0) {
        return value == truth;
    }
    double rounding = t->in_double ? t->error[i] * 0x1p-53 : (t->error[i] + UNDERFLOW) * u;
    double off = fabs(value - truth), allowed = rounding + t->slack[i];
    *worst = fmax(*worst, off / allowed);
    return off <= allowed;
}

const char *compare(const problem *p, size_t real, const results result, double *worst, char *why, size_t room) {
    double u = unit_roundoff(real);
    for (int at = 0; at < MAX_TENSORS; at++) {
        const tensor *t = &p->tensor[at];
        if (t->name == NULL || t->role == INPUT || (p->inference && t->backward)) {
            continue;
        }
        for (size_t i = 0; i < t->count; i++) {
            if (!within(p, t, i, result[at][i], u, worst)) {
                snprintf(why, room, "%s[%zu] is %.9g, not %.9g: off by %.3g, %.3g is allowed", t->name, i,
                         result[at][i], t->truth[i], fabs(result[at][i] - t->truth[i]), t->error[i] * u);
                return why;
            }
        }
    }
    return NULL;
}
