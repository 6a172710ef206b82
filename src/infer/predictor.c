/* predictor.c: logits to scores, labels and negativity. */
#include "bertft/predict.h"

#include "infer/runner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct bft_predictor {
    bft_runner runner;
    bft_scoring scoring;
    size_t classes;
    bool multi_label, knows_negative;
    bool *negative; /* (K) labels of DIALOG.NEGATIVE */
    float threshold;
    char *empty_label;
    float *scores; /* (texts, K) of those finished last */
    size_t score_capacity;
};

static bft_scoring scoring_of(bft_problem problem, size_t classes) {
    if (problem == BFT_REGRESSION) {
        return BFT_SCORE_NONE;
    }
    return problem == BFT_MULTI_LABEL || classes == 1 ? BFT_SCORE_SIGMOID : BFT_SCORE_SOFTMAX;
}

bft_status bft_predictor_list_labels(bft_error *err, const bft_predictor *predictor, bft_buffer *out) {
    for (size_t id = 0; id < predictor->classes; id++) {
        if (out->length > BFT_ERROR_SIZE / 2) {
            return bft_buffer_printf(err, out, ", ...");
        }
        BFT_TRY(
            bft_buffer_printf(err, out, "%s%.64s", id == 0 ? "" : ", ", bft_model_label(predictor->runner.model, id)));
    }
    return BFT_OK;
}

static bft_status unknown_negative(bft_error *err, const bft_predictor *p, const bft_config *config, const char *name) {
    bft_buffer known = {0};
    bft_status status = bft_predictor_list_labels(err, p, &known);
    if (status == BFT_OK) {
        status = bft_error_set(err, BFT_BAD, "%s: DIALOG.NEGATIVE: %s has no label '%s', its labels are %s",
                               bft_config_origin(config, "DIALOG.NEGATIVE"), p->runner.folder, name, known.data);
    }
    bft_buffer_free(&known);
    return status;
}

/* Which labels are negative. A name that this model lacks is an error where it was written for this very run; the
 * configuration's own list is a list of usual names, of which a model has some. */
static bft_status find_negative(bft_error *err, bft_predictor *p, const bft_config *config) {
    bool asked = strcmp(bft_config_origin(config, "DIALOG.NEGATIVE"), "KEY VALUE pair") == 0;
    for (size_t i = 0; i < bft_config_list_size(config, "DIALOG.NEGATIVE"); i++) {
        const char *name = bft_config_list_at(config, "DIALOG.NEGATIVE", i);
        bool found = false;
        for (size_t id = 0; id < p->classes; id++) {
            bool same = strcmp(name, bft_model_label(p->runner.model, id)) == 0;
            p->negative[id] |= same;
            found |= same;
        }
        if (!found && asked) {
            return unknown_negative(err, p, config, name);
        }
        p->knows_negative |= found;
    }
    return BFT_OK;
}

static bft_status set_up(bft_error *err, bft_predictor *p, const bft_config *config) {
    const bft_model *model = p->runner.model;
    p->classes = bft_model_classes(model);
    if (p->classes == 0) {
        return bft_error_set(err, BFT_BAD,
                             "%s: the model has no classifier; `bertft embed` reads it, `bertft train` "
                             "gives it one",
                             p->runner.folder);
    }
    bft_problem problem = bft_model_configuration(model)->problem;
    p->scoring = scoring_of(problem, p->classes);
    p->multi_label = problem == BFT_MULTI_LABEL;
    p->threshold = (float)bft_config_float(config, "EVAL.THRESHOLD");
    p->empty_label = strdup(bft_config_string(config, "DATA.EMPTY_LABEL"));
    p->negative = calloc(p->classes, sizeof *p->negative);
    if (p->empty_label == NULL || p->negative == NULL) {
        return bft_error_memory(err, p->classes);
    }
    return p->scoring == BFT_SCORE_NONE ? BFT_OK : find_negative(err, p, config);
}

bft_status bft_predictor_create(bft_error *err, bft_predictor **out, const char *folder, const bft_config *config,
                                bft_backend backend) {
    bft_predictor *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return bft_error_memory(err, sizeof *p);
    }
    bft_status status = bft_runner_open(err, &p->runner, folder, config, backend);
    if (status == BFT_OK) {
        status = set_up(err, p, config);
    }
    if (status != BFT_OK) {
        bft_predictor_destroy(p);
        return status;
    }
    *out = p;
    return BFT_OK;
}

void bft_predictor_destroy(bft_predictor *predictor) {
    if (predictor == NULL) {
        return;
    }
    bft_runner_close(&predictor->runner);
    free(predictor->empty_label);
    free(predictor->negative);
    free(predictor->scores);
    free(predictor);
}

const bft_model *bft_predictor_model(const bft_predictor *predictor) {
    return predictor->runner.model;
}

size_t bft_predictor_max_length(const bft_predictor *predictor) {
    return predictor->runner.max_length;
}

bft_scoring bft_predictor_scoring(const bft_predictor *predictor) {
    return predictor->scoring;
}

bool bft_predictor_knows_negative(const bft_predictor *predictor) {
    return predictor->knows_negative;
}

/* ---- Running ---- */

bft_status bft_predictor_add(bft_error *err, bft_predictor *predictor, const char *text, size_t length, bool *cut) {
    return bft_runner_add(err, &predictor->runner, text, length, cut);
}

bft_status bft_predictor_start(bft_error *err, bft_predictor *predictor) {
    return bft_runner_start_logits(err, &predictor->runner);
}

static void softmax(const float *logits, float *scores, size_t classes) {
    double highest = logits[0], sum = 0;
    for (size_t k = 1; k < classes; k++) {
        highest = fmax(highest, logits[k]);
    }
    for (size_t k = 0; k < classes; k++) {
        sum += exp(logits[k] - highest);
    }
    for (size_t k = 0; k < classes; k++) {
        scores[k] = (float)(exp(logits[k] - highest) / sum);
    }
}

static void score(const bft_predictor *p, const float *logits, float *scores) {
    if (p->scoring == BFT_SCORE_SOFTMAX) {
        softmax(logits, scores, p->classes);
        return;
    }
    for (size_t k = 0; k < p->classes; k++) {
        scores[k] = p->scoring == BFT_SCORE_SIGMOID ? (float)(1 / (1 + exp(-(double)logits[k]))) : logits[k];
    }
}

bft_status bft_predictor_finish(bft_error *err, bft_predictor *predictor) {
    bft_runner *runner = &predictor->runner;
    BFT_TRY(bft_runner_finish(err, runner));
    size_t wanted = runner->finished * predictor->classes;
    if (wanted > predictor->score_capacity) {
        float *bigger = realloc(predictor->scores, wanted * sizeof *bigger);
        if (bigger == NULL) {
            return bft_error_memory(err, wanted * sizeof *bigger);
        }
        predictor->scores = bigger;
        predictor->score_capacity = wanted;
    }
    for (size_t i = 0; i < runner->finished; i++) {
        score(predictor, runner->rows + i * predictor->classes, predictor->scores + i * predictor->classes);
    }
    return BFT_OK;
}

/* ---- Reading the results ---- */

bool bft_predictor_chooses(const bft_predictor *predictor, const bft_prediction *prediction, size_t id) {
    return predictor->multi_label ? prediction->scores[id] >= predictor->threshold : id == prediction->best;
}

bft_prediction bft_predictor_at(const bft_predictor *predictor, size_t index) {
    size_t classes = predictor->classes;
    bft_prediction found = {.scores = predictor->scores + index * classes,
                            .logits = predictor->runner.rows + index * classes};
    for (size_t k = 1; k < classes && predictor->scoring != BFT_SCORE_NONE; k++) {
        if (found.scores[k] > found.scores[found.best]) {
            found.best = k;
        }
    }
    found.score = found.scores[found.best];
    double sum = 0, highest = 0;
    for (size_t k = 0; k < classes; k++) {
        if (predictor->negative[k]) {
            sum += found.scores[k];
            highest = fmax(highest, found.scores[k]);
            found.negative |= bft_predictor_chooses(predictor, &found, k);
        }
    }
    found.negativity = (float)(predictor->multi_label ? highest : fmin(sum, 1));
    return found;
}

bft_status bft_predictor_answer(bft_error *err, const bft_predictor *predictor, const bft_prediction *prediction,
                                bft_buffer *out) {
    bft_buffer_clear(out);
    BFT_TRY(bft_buffer_reserve(err, out, 0));
    if (predictor->scoring == BFT_SCORE_NONE) {
        return BFT_OK;
    }
    for (size_t k = 0; k < predictor->classes; k++) {
        if (bft_predictor_chooses(predictor, prediction, k)) {
            const char *label = bft_model_label(predictor->runner.model, k);
            BFT_TRY(bft_buffer_printf(err, out, "%s%s", out->length == 0 ? "" : "+", label));
        }
    }
    if (out->length == 0) {
        const char *nothing = *predictor->empty_label != '\0' ? predictor->empty_label : "-";
        return bft_buffer_append(err, out, nothing, strlen(nothing));
    }
    return BFT_OK;
}
