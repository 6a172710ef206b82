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

static bft_status find_kind(bft_error *err, const bft_config *config, bft_schedule_kind *kind) {
    const char *name = bft_config_string(config, "SCHEDULER.NAME");
    for (size_t i = 0; i < KINDS; i++) {
        if (strcmp(names[i], name) == 0) {
            *kind = (bft_schedule_kind)i;
            return BFT_OK;
        }
    }
    return bft_error_set(err, BFT_BAD, "%s: SCHEDULER.NAME: there is no schedule \"%s\"",
                         bft_config_origin(config, "SCHEDULER.NAME"), name);
}

/* A key that may be null: then the schedule's own default counts. */
static double float_or(const bft_config *config, const char *key, double otherwise) {
    return bft_config_is_null(config, key) ? otherwise : bft_config_float(config, key);
}

static bft_status require(bft_error *err, const bft_config *config, bft_schedule_kind kind, const char *key) {
    if (bft_config_is_null(config, key)) {
        return bft_error_set(err, BFT_BAD, "%s: SCHEDULER.NAME: %s needs a value for %s, which has no default",
                             bft_config_origin(config, "SCHEDULER.NAME"), names[kind], key);
    }
    return BFT_OK;
}

static bool needs_minimum(bft_schedule_kind kind) {
    return kind == BFT_SCHEDULE_COSINE_MIN || kind == BFT_SCHEDULE_COSINE_WARMUP_MIN;
}

bft_status bft_schedule_create(bft_error *err, bft_schedule *out, const bft_config *config, uint64_t total_steps) {
    bft_schedule_kind kind = BFT_SCHEDULE_LINEAR;
    BFT_TRY(find_kind(err, config, &kind));
    if (needs_minimum(kind)) {
        BFT_TRY(require(err, config, kind, "SCHEDULER.MIN_LR"));
    }
    if (kind == BFT_SCHEDULE_WARMUP_STABLE_DECAY) {
        BFT_TRY(require(err, config, kind, "SCHEDULER.DECAY_STEPS"));
    }
    double base = bft_config_float(config, "OPTIM.LR"), total = (double)total_steps;
    double warmup = bft_config_float(config, "SCHEDULER.WARMUP");
    *out = (bft_schedule){
        .kind = kind,
        .base = base,
        .warmup = warmup >= 1 ? floor(warmup) : ceil(warmup * total),
        .total = total,
        .minimum = float_or(config, "SCHEDULER.MIN_LR", kind == BFT_SCHEDULE_POLYNOMIAL ? 1e-7 : 0),
        .cycles = float_or(config, "SCHEDULER.CYCLES", kind == BFT_SCHEDULE_COSINE_RESTARTS ? 1 : 0.5),
        .power = bft_config_float(config, "SCHEDULER.POWER"),
        .factor = bft_config_float(config, "SCHEDULER.FACTOR"),
        .threshold = bft_config_float(config, "SCHEDULER.THRESHOLD"),
        .patience = (uint64_t)bft_config_int(config, "SCHEDULER.PATIENCE"),
        .cooldown = (uint64_t)bft_config_int(config, "SCHEDULER.COOLDOWN"),
        .maximize = bft_metric_maximizes(bft_config_string(config, "SCHEDULER.METRIC")),
    };
    if (!bft_config_is_null(config, "SCHEDULER.DECAY_STEPS")) {
        out->decay = (double)bft_config_int(config, "SCHEDULER.DECAY_STEPS");
    }
    out->plateau = (bft_plateau){.lr = base, .best = out->maximize ? -INFINITY : INFINITY};
    if (kind == BFT_SCHEDULE_POLYNOMIAL && out->minimum >= base) {
        return bft_error_set(err, BFT_BAD, "%s: SCHEDULER.MIN_LR: %g must be smaller than OPTIM.LR, %g",
                             bft_config_origin(config, "SCHEDULER.MIN_LR"), out->minimum, base);
    }
    return BFT_OK;
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
    double timescale = s->warmup > 0 ? s->warmup : 10000;
    return 1 / sqrt((step + (timescale - s->warmup)) / timescale);
}

static double warmup_stable_decay(const bft_schedule *s, double step) {
    double least = s->minimum / s->base, decay_start = s->total - s->decay;
    if (step < s->warmup) {
        return step / at_least_1(s->warmup) * (1 - least) + least;
    }
    if (step < decay_start) {
        return 1;
    }
    return step < s->total ? cosine(s->cycles, (step - decay_start) / at_least_1(s->decay), least) : least;
}

/* Its warm-up starts at one step's worth instead of 0, and its decay one step early. */
static double cosine_warmup_min(const bft_schedule *s, double step) {
    return step < s->warmup ? (step + 1) / at_least_1(s->warmup)
                            : cosine(s->cycles, progress_of(s, step + 1), s->minimum / s->base);
}

/* ---- The learning rate ---- */

static double factor_after_warmup(const bft_schedule *s, double step) {
    switch (s->kind) {
    case BFT_SCHEDULE_LINEAR:
        return fmax(0, (s->total - step) / at_least_1(s->total - s->warmup));
    case BFT_SCHEDULE_COSINE:
        return cosine(s->cycles, progress_of(s, step), 0);
    case BFT_SCHEDULE_COSINE_MIN:
        return cosine(s->cycles, progress_of(s, step), s->minimum / s->base);
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

/* ---- reduce_lr_on_plateau, with torch's relative threshold ---- */

static bool improves(const bft_schedule *s, double metric) {
    return s->maximize ? metric > s->plateau.best * (1 + s->threshold) : metric < s->plateau.best * (1 - s->threshold);
}

void bft_schedule_observe(bft_schedule *schedule, double metric) {
    bft_plateau *plateau = &schedule->plateau;
    if (improves(schedule, metric)) {
        plateau->best = metric;
        plateau->bad = 0;
    } else {
        plateau->bad++;
    }
    if (plateau->cooldown > 0) {
        plateau->cooldown--;
        plateau->bad = 0;
    }
    if (plateau->bad > schedule->patience) {
        double lr = fmax(plateau->lr * schedule->factor, schedule->minimum);
        if (plateau->lr - lr > 1e-8) { /* torch's eps: smaller steps are not worth taking */
            plateau->lr = lr;
        }
        plateau->cooldown = schedule->cooldown;
        plateau->bad = 0;
    }
}
