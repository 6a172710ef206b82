/* schedule.c: the eleven learning rate schedules of transformers 5 (get_scheduler), and torch's ReduceLROnPlateau.
 *
 * Each function gives the factor on the base learning rate. Steps are doubles throughout, as the formulas divide them, and each formula
 * keeps the order of operations of the original, so that traces agree to the last bits. */
#include "train/schedule.h"
#include "train/metrics.h"

#include <math.h>
#include <string.h>

static const double pi = 3.14159265358979323846;

static const char *const names[] = {
    [BFT_SCHEDULE_LINEAR] = "linear",
    [BFT_SCHEDULE_COSINE] = "cosine",
    [BFT_SCHEDULE_COSINE_RESTARTS] = "cosine_with_restarts",
    [BFT_SCHEDULE_POLYNOMIAL] = "polynomial",
    [BFT_SCHEDULE_CONSTANT] = "constant",
    [BFT_SCHEDULE_CONSTANT_WARMUP] = "constant_with_warmup",
    [BFT_SCHEDULE_INVERSE_SQRT] = "inverse_sqrt",
    [BFT_SCHEDULE_PLATEAU] = "reduce_lr_on_plateau",
    [BFT_SCHEDULE_COSINE_MIN] = "cosine_with_min_lr",
    [BFT_SCHEDULE_COSINE_WARMUP_MIN] = "cosine_warmup_with_min_lr",
    [BFT_SCHEDULE_WARMUP_STABLE_DECAY] = "warmup_stable_decay",
};
enum { KINDS = sizeof names / sizeof *names };

/* ---- Reading the configuration ---- */

static bft_schedule_kind kind_of(const char *name) {
    size_t i = 0;
    while (i < KINDS - 1 && strcmp(names[i], name) != 0) { /* the schema lets no other name in */
        i++;
    }
    return (bft_schedule_kind)i;
}

/* A key that may be null: then the schedule's own default counts. */
static double float_or(const bft_config *config, const char *key, double otherwise) {
    return bft_config_is_null(config, key) ? otherwise : bft_config_float(config, key);
}

static bft_status needs(bft_error *err, const bft_config *config, bft_schedule_kind kind, const char *keys) {
    return bft_error_set(err, BFT_BAD, "%s: SCHEDULER.NAME: %s needs %s, which has no default",
                         bft_config_origin(config, "SCHEDULER.NAME"), names[kind], keys);
}

static bft_ramp ramp_of(const char *name) {
    return strcmp(name, "linear") == 0   ? BFT_RAMP_LINEAR
           : strcmp(name, "cosine") == 0 ? BFT_RAMP_COSINE
                                         : BFT_RAMP_SQRT;
}

/* The lowest rate, absolute and as a share; the configuration gives one of the two, or neither. */
static bft_status read_minimum(bft_error *err, const bft_config *config, bft_schedule *s) {
    const char *absolute = "SCHEDULER.MIN_LR", *share = "SCHEDULER.MIN_LR_RATE";
    bool has_absolute = !bft_config_is_null(config, absolute), has_share = !bft_config_is_null(config, share);
    if (has_absolute && has_share) {
        return bft_error_set(err, BFT_BAD, "%s: %s: set this or %s, not both", bft_config_origin(config, share), share,
                             absolute);
    }
    if (!has_absolute && !has_share &&
        (s->kind == BFT_SCHEDULE_COSINE_MIN || s->kind == BFT_SCHEDULE_COSINE_WARMUP_MIN)) {
        return needs(err, config, s->kind, "SCHEDULER.MIN_LR or SCHEDULER.MIN_LR_RATE");
    }
    if (has_share) {
        s->least = bft_config_float(config, share);
        s->minimum = s->least * s->base;
    } else {
        s->minimum = float_or(config, absolute, s->kind == BFT_SCHEDULE_POLYNOMIAL ? 1e-7 : 0);
        s->least = s->base > 0 ? s->minimum / s->base : 0;
    }
    if (s->kind == BFT_SCHEDULE_POLYNOMIAL && s->minimum >= s->base) {
        return bft_error_set(err, BFT_BAD, "%s: %s: %g must be smaller than OPTIM.LR, %g",
                             bft_config_origin(config, absolute), absolute, s->minimum, s->base);
    }
    return BFT_OK;
}

bft_status bft_schedule_create(bft_error *err, bft_schedule *out, const bft_config *config, uint64_t total_steps) {
    bft_schedule s = {.base = bft_config_float(config, "OPTIM.LR"), .total = (double)total_steps};
    s.kind = kind_of(bft_config_string(config, "SCHEDULER.NAME"));
    BFT_TRY(read_minimum(err, config, &s));
    if (!bft_config_is_null(config, "SCHEDULER.DECAY_STEPS")) {
        s.decay = (double)bft_config_int(config, "SCHEDULER.DECAY_STEPS");
    } else if (s.kind == BFT_SCHEDULE_WARMUP_STABLE_DECAY) {
        return needs(err, config, s.kind, "SCHEDULER.DECAY_STEPS");
    }
    double warmup = bft_config_float(config, "SCHEDULER.WARMUP");
    s.warmup = warmup >= 1 ? floor(warmup) : ceil(warmup * s.total);
    s.timescale = s.warmup > 0 ? s.warmup : 10000;
    if (!bft_config_is_null(config, "SCHEDULER.TIMESCALE")) {
        s.timescale = (double)bft_config_int(config, "SCHEDULER.TIMESCALE");
    }
    s.cycles = float_or(config, "SCHEDULER.CYCLES", s.kind == BFT_SCHEDULE_COSINE_RESTARTS ? 1 : 0.5);
    s.power = float_or(config, "SCHEDULER.POWER", 1);
    s.rise = ramp_of(bft_config_string(config, "SCHEDULER.WARMUP_TYPE"));
    s.fall = ramp_of(bft_config_string(config, "SCHEDULER.DECAY_TYPE"));

    s.factor = float_or(config, "SCHEDULER.FACTOR", 0.1);
    bool has_patience = !bft_config_is_null(config, "SCHEDULER.PATIENCE");
    s.patience = has_patience ? (uint64_t)bft_config_int(config, "SCHEDULER.PATIENCE") : 10;
    s.maximize = bft_metric_maximizes(bft_schedule_metric(config));
    s.plateau = (bft_plateau){.lr = s.base, .best = s.maximize ? -INFINITY : INFINITY};
    *out = s;
    return BFT_OK;
}

const char *bft_schedule_metric(const bft_config *config) {
    return bft_config_is_null(config, "SCHEDULER.METRIC") ? "loss" : bft_config_string(config, "SCHEDULER.METRIC");
}

/* ---- The factors behind the warm-up ---- */

static double at_least_1(double steps) {
    return fmax(1, steps);
}

/* How far the part after the warm-up has got: 0 at its start, 1 at the planned end. */
static double progress_of(const bft_schedule *s, double step) {
    return (step - s->warmup) / at_least_1(s->total - s->warmup);
}

/* A wave from 1 to `least`, `cycles` times. */
static double cosine(double cycles, double progress, double least) {
    double wave = 0.5 * (1 + cos(pi * cycles * 2 * progress));
    return fmax(0, wave * (1 - least) + least);
}

static double cosine_restarts(const bft_schedule *s, double progress) {
    return progress >= 1 ? 0 : fmax(0, 0.5 * (1 + cos(pi * fmod(s->cycles * progress, 1))));
}

static double polynomial(const bft_schedule *s, double step) {
    double steps = s->total - s->warmup;
    if (step > s->total || steps <= 0) {
        return s->minimum / s->base;
    }
    double remaining = 1 - (step - s->warmup) / steps;
    return ((s->base - s->minimum) * pow(remaining, s->power) + s->minimum) / s->base;
}

static double inverse_sqrt(const bft_schedule *s, double step) {
    return 1 / sqrt((step + (s->timescale - s->warmup)) / s->timescale);
}

static double warmup_stable_decay(const bft_schedule *s, double step) {
    double decay_start = s->total - s->decay, factor;
    if (step < s->warmup) {
        double progress = step / at_least_1(s->warmup);
        factor = s->rise == BFT_RAMP_LINEAR   ? progress
                 : s->rise == BFT_RAMP_COSINE ? 0.5 * (1 - cos(pi * progress))
                                              : 1 - sqrt(1 - progress);
    } else if (step < decay_start) {
        return 1;
    } else if (step < s->total) {
        double progress = (step - decay_start) / at_least_1(s->decay);
        factor = s->fall == BFT_RAMP_LINEAR   ? 1 - progress
                 : s->fall == BFT_RAMP_COSINE ? 0.5 * (1 + cos(pi * s->cycles * 2 * progress))
                                              : 1 - sqrt(progress);
    } else {
        return s->least;
    }
    return fmax(0, factor * (1 - s->least) + s->least);
}

/* Its warm-up starts at one step's worth instead of 0, and its decay one step early. */
static double cosine_warmup_min(const bft_schedule *s, double step) {
    return step < s->warmup ? (step + 1) / at_least_1(s->warmup)
                            : cosine(s->cycles, progress_of(s, step + 1), s->least);
}

/* ---- The learning rate ---- */

static double factor_after_warmup(const bft_schedule *s, double step) {
    switch (s->kind) {
    case BFT_SCHEDULE_LINEAR:
        return fmax(0, (s->total - step) / at_least_1(s->total - s->warmup));
    case BFT_SCHEDULE_COSINE:
        return cosine(s->cycles, progress_of(s, step), 0);
    case BFT_SCHEDULE_COSINE_MIN:
        return cosine(s->cycles, progress_of(s, step), s->least);
    case BFT_SCHEDULE_COSINE_RESTARTS:
        return cosine_restarts(s, progress_of(s, step));
    case BFT_SCHEDULE_POLYNOMIAL:
        return polynomial(s, step);
    case BFT_SCHEDULE_INVERSE_SQRT:
        return inverse_sqrt(s, step);
    default:
        return 1; /* constant_with_warmup */
    }
}

double bft_schedule_lr(const bft_schedule *schedule, uint64_t step) {
    double k = (double)step;
    switch (schedule->kind) {
    case BFT_SCHEDULE_CONSTANT: /* no warm-up, as the plateau */
        return schedule->base;
    case BFT_SCHEDULE_PLATEAU:
        return schedule->plateau.lr;
    case BFT_SCHEDULE_WARMUP_STABLE_DECAY:
        return schedule->base * warmup_stable_decay(schedule, k);
    case BFT_SCHEDULE_COSINE_WARMUP_MIN:
        return schedule->base * cosine_warmup_min(schedule, k);
    default:
        return schedule->base *
               (k < schedule->warmup ? k / at_least_1(schedule->warmup) : factor_after_warmup(schedule, k));
    }
}

/* ---- reduce_lr_on_plateau, with torch's defaults ---- */

static bool improves(const bft_schedule *s, double metric) {
    const double threshold = 1e-4; /* relative */
    return s->maximize ? metric > s->plateau.best * (1 + threshold) : metric < s->plateau.best * (1 - threshold);
}

void bft_schedule_observe(bft_schedule *schedule, double metric) {
    bft_plateau *plateau = &schedule->plateau;
    if (improves(schedule, metric)) {
        plateau->best = metric;
        plateau->bad = 0;
    } else {
        plateau->bad++;
    }
    if (plateau->bad > schedule->patience) {
        double lr = fmax(plateau->lr * schedule->factor, schedule->minimum);
        if (plateau->lr - lr > 1e-8) { /* smaller changes are not worth making */
            plateau->lr = lr;
        }
        plateau->bad = 0;
    }
}
