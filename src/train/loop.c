/* loop.c: training. A step is one page: samples, forward and backward of each micro-batch, update. */
#include "train/trainer.h"

#include "base/file.h"
#include "train/evaluate.h"

#include <string.h>
#include <time.h>

/* ---- One step ---- */

static bft_status train_step(bft_error *err, bft_trainer *t, bft_train_step *report, size_t *tokens) {
    bft_step_samples samples = bft_sampler_step(&t->sampler, t->progress.step);
    bft_loss loss = bft_sampler_loss(&t->sampler, &t->loss, samples);
    if (loss.normalizer == 0) {
        return bft_error_set(
            err, BFT_BAD,
            "step %llu: all its samples have class weight 0: LOSS.CLASS_WEIGHTS leaves nothing to learn from",
            (unsigned long long)t->progress.step + 1);
    }
    bft_pass pass = {.training = true, .seed = t->seed, .step = (uint32_t)t->progress.step};
    bft_optimizer_begin(&t->optimizer);
    bft_session_clear_loss(t->session);
    for (size_t offset = 0; offset < samples.count;) {
        offset += bft_sampler_fill(&t->sampler, samples, offset, &t->batch);
        *tokens += t->batch.tokens;
        BFT_TRY(bft_optimizer_prepare(err, &t->optimizer, &t->batch));
        BFT_TRY(bft_session_step(err, t->session, &t->batch, pass, loss, bft_optimizer_gradients(&t->optimizer)));
        bft_optimizer_collect(&t->optimizer, &t->batch);
    }
    report->lr = bft_schedule_lr(&t->schedule, t->progress.step);
    BFT_TRY(bft_optimizer_finish(err, &t->optimizer, report->lr));
    t->progress.step++;
    report->step = t->progress.step;
    report->total = t->total;
    report->epoch = (double)t->progress.step / (double)t->per_epoch;
    return BFT_OK;
}

/* ---- Between steps: log, evaluate, save. Only here does the host wait for the device. ---- */

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* True at every `every`-th step (0: at each epoch's end), and at the last. */
static bool is_due(const bft_trainer *t, const char *key) {
    uint64_t every = (uint64_t)bft_config_int(t->config, key);
    return t->progress.step % (every > 0 ? every : t->per_epoch) == 0 || t->progress.step == t->total;
}

static bft_status save_model(bft_error *err, bft_trainer *t) {
    return bft_model_save_weights(err, t->model, bft_optimizer_reader(&t->optimizer), BFT_F32, t->run.model);
}

static bft_status save_checkpoint(bft_error *err, bft_trainer *t) {
    t->progress.plateau = t->schedule.plateau;
    BFT_TRY(bft_optimizer_check(err, &t->optimizer, NULL));
    return bft_checkpoint_write(err, t->run.checkpoint, &t->progress, &t->optimizer, t->fingerprint);
}

/* Measures the validation set; a new best is saved at once. */
static bft_status evaluate(bft_error *err, bft_trainer *t) {
    bft_progress *progress = &t->progress;
    BFT_TRY(bft_optimizer_check(err, &t->optimizer, NULL));
    BFT_TRY(t->task == BFT_PRETRAIN ? bft_evaluate_masked(err, t->session, &t->batch, t->valid, t->masker, t->metrics)
                                    : bft_evaluate(err, t->session, &t->batch, t->valid, t->metrics));
    bft_schedule_observe(&t->schedule, bft_metrics_value(t->metrics, bft_schedule_metric(t->config)));
    double value = bft_metrics_value(t->metrics, t->metric);
    bool better = bft_metric_maximizes(t->metric) ? value > progress->best : value < progress->best;
    bool best = progress->best_step == 0 || better;
    progress->bad = best ? 0 : progress->bad + 1;
    if (best) {
        progress->best = value;
        progress->best_step = progress->step;
        BFT_TRY(save_model(err, t));
    }
    BFT_TRY(bft_run_log_evaluation(err, &t->run, progress->step, t->metrics));
    if (t->events->on_evaluation != NULL) {
        t->events->on_evaluation(t->events->context, progress->step, t->metrics, best);
    }
    return BFT_OK;
}

static bool out_of_patience(const bft_trainer *t) {
    uint64_t patience = (uint64_t)bft_config_int(t->config, "TRAIN.PATIENCE");
    return t->valid != NULL && patience > 0 && t->progress.bad >= patience;
}

static bool asked_to_stop(const bft_trainer *t) {
    return t->events->stop != NULL && *t->events->stop;
}

static bft_status log_step(bft_error *err, bft_trainer *t, bft_train_step *report, size_t samples, size_t tokens,
                           double since) {
    BFT_TRY(bft_optimizer_check(err, &t->optimizer, NULL));
    report->loss = bft_session_loss(t->session);
    double elapsed = seconds() - since;
    report->samples_per_second = (double)samples / elapsed;
    report->tokens_per_second = (double)tokens / elapsed;
    return bft_run_log_step(err, &t->run, report);
}

static bft_status run_steps(bft_error *err, bft_trainer *t) {
    size_t samples = 0, tokens = 0;
    double since = seconds();
    uint64_t log_every = (uint64_t)bft_config_int(t->config, "TRAIN.LOG_EVERY");
    bool saved = true; /* the checkpoint on disk is of this step */
    bft_train_step report = {0};
    while (t->progress.step < t->total && !out_of_patience(t) && !asked_to_stop(t)) {
        samples += bft_sampler_step(&t->sampler, t->progress.step).count;
        BFT_TRY(train_step(err, t, &report, &tokens));
        saved = false;
        if (t->progress.step % log_every == 0 || t->progress.step == t->total) {
            BFT_TRY(log_step(err, t, &report, samples, tokens, since));
            samples = tokens = 0;
            since = seconds();
        }
        if (t->events->on_step != NULL) {
            t->events->on_step(t->events->context, &report);
        }
        if (t->valid != NULL && is_due(t, "TRAIN.EVAL_EVERY")) {
            BFT_TRY(evaluate(err, t));
        }
        if (is_due(t, "TRAIN.SAVE_EVERY")) {
            BFT_TRY(save_checkpoint(err, t));
            saved = true;
        }
    }
    return saved ? BFT_OK : save_checkpoint(err, t);
}

/* ---- The whole run ---- */

static bft_status save_start(bft_error *err, const bft_trainer *t) {
    BFT_TRY(bft_model_config_write(err, &t->model->config, t->run.folder));
    return bft_tokenizer_save(err, t->tokenizer, t->run.folder);
}

static bft_status run(bft_error *err, bft_trainer *t, bft_train_result *result) {
    if (t->events->on_start != NULL) {
        t->events->on_start(t->events->context, t->model, t->total, t->progress.step);
    }
    BFT_TRY(run_steps(err, t));
    bool early = out_of_patience(t), done = early || t->progress.step == t->total;
    if (done && t->valid == NULL) {
        BFT_TRY(save_model(err, t));
    }
    *result = (bft_train_result){.steps = t->progress.step,
                                 .best_step = t->progress.best_step,
                                 .best = t->progress.best,
                                 .stopped = !done,
                                 .early = early};
    return BFT_OK;
}

static bft_status train(bft_error *err, bft_trainer *t, bool overwrite, bft_train_result *result) {
    const char *folder = bft_config_string(t->config, "OUTPUT_DIR");
    BFT_TRY(bft_run_check(err, folder, bft_trainer_source(t->config, t->task), overwrite));
    BFT_TRY(bft_trainer_open(err, t));
    BFT_TRY(bft_run_create(err, &t->run, folder, t->config));
    BFT_TRY(save_start(err, t));
    return run(err, t, result);
}

/* A run says in its config.json what it is; one that was stopped before that was written has nothing to lose. */
static bft_status check_task(bft_error *err, const bft_trainer *t, const char *folder) {
    bft_model_config model;
    bft_error ignored;
    if (bft_model_config_read(&ignored, &model, folder) != BFT_OK) {
        return BFT_OK;
    }
    bool same = model.masked == (t->task == BFT_PRETRAIN);
    bft_model_config_free(&model);
    const char *other = t->task == BFT_PRETRAIN ? "train" : "pretrain";
    return same ? BFT_OK
                : bft_error_set(err, BFT_BAD, "%s: is a run of `bertft %s`; `bertft %s --resume %s` goes on with it",
                                folder, other, other, folder);
}

static bft_status resume(bft_error *err, bft_trainer *t, const char *folder, bft_train_result *result) {
    BFT_TRY(check_task(err, t, folder));
    BFT_TRY(bft_run_open(err, &t->run, folder));
    BFT_TRY(bft_trainer_open(err, t));
    if (bft_file_exists(t->run.checkpoint)) {
        BFT_TRY(bft_checkpoint_read(err, t->run.checkpoint, &t->progress, &t->optimizer, t->fingerprint));
        t->schedule.plateau = t->progress.plateau;
    }
    BFT_TRY(bft_run_cut(err, &t->run, t->progress.step));
    BFT_TRY(save_start(err, t));
    return run(err, t, result);
}

static const bft_train_events no_events;

bft_status bft_train(bft_error *err, const bft_config *config, bft_task task, bft_backend backend, bool overwrite,
                     const bft_train_events *events, bft_train_result *result) {
    bft_trainer trainer = {
        .config = config, .task = task, .backend = backend, .events = events != NULL ? events : &no_events};
    bft_status status = train(err, &trainer, overwrite, result);
    bft_trainer_close(&trainer);
    return status;
}

bft_status bft_train_resume(bft_error *err, const bft_config *config, bft_task task, const char *run_folder,
                            bft_backend backend, const bft_train_events *events, bft_train_result *result) {
    bft_trainer trainer = {
        .config = config, .task = task, .backend = backend, .events = events != NULL ? events : &no_events};
    bft_status status = resume(err, &trainer, run_folder, result);
    bft_trainer_close(&trainer);
    return status;
}
