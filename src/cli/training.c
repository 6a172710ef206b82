/* training.c: reads the configuration, shows the progress, and says how it ended. */
#include "cli/training.h"

#include "base/file.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/folder.h"
#include "cli/output.h"
#include "cli/profile.h"
#include "train/metrics.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted; /* set by Ctrl-C; a second one ends the process */

static void on_interrupt(int signal_number) {
    static const char said[] = "\nstopping after this step and saving; once more ends at once, unsaved\n";
    (void)signal_number;
    interrupted = 1;
    ssize_t ignored = write(STDERR_FILENO, said, sizeof said - 1);
    (void)ignored;
}

/* A signal that our parent ignores (a background job's Ctrl-C) stays ignored. */
static void catch_interrupts(void) {
    static const int signals[] = {SIGINT, SIGTERM};
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)(SA_RESETHAND | SA_RESTART)}, before;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < 2; i++) {
        if (sigaction(signals[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN) {
            sigaction(signals[i], &action, NULL);
        }
    }
}

/* ---- What is shown while training ---- */

typedef struct view {
    bft_progress_bar bar;
    bft_task task;
    const char *metric;
} view;

static void show_start(void *context, const bft_model *model, uint64_t total, uint64_t first) {
    view *v = context;
    v->bar = bft_progress_start((size_t)first);
    if (first == total) {
        bft_log_info("all %llu steps are done already", (unsigned long long)total);
        return;
    }
    const bft_model_config *config = bft_model_configuration(model);
    bool pretrains = v->task == BFT_PRETRAIN;
    bft_log_info("%zu layers of %zu, %zu %s; steps %llu to %llu", config->layers, config->channels,
                 pretrains ? config->vocabulary : config->classes, pretrains ? "tokens" : "classes",
                 (unsigned long long)first + 1, (unsigned long long)total);
}

static void show_step(void *context, const bft_train_step *step) {
    view *v = context;
    char text[160];
    snprintf(text, sizeof text, "epoch %.2f  loss %.4f  lr %.2e  %.0f samples/s", step->epoch, step->loss, step->lr,
             step->samples_per_second);
    bft_progress_show(&v->bar, (size_t)step->step, (size_t)step->total, text);
}

static void show_evaluation(void *context, uint64_t step, const bft_metrics *metrics, bool best) {
    view *v = context;
    const char *shown = v->task == BFT_PRETRAIN ? "accuracy" : v->metric;
    bft_progress_clear(&v->bar);
    bft_log_info("step %llu: validation loss %.4f, %s %.4f%s", (unsigned long long)step,
                 bft_metrics_value(metrics, "loss"), shown, bft_metrics_value(metrics, shown),
                 best ? ", the best so far" : "");
}

/* ---- The command ---- */

static bft_status say_end(bft_error *err, const bft_training *training, const char *run, const bft_train_result *result,
                          const char *metric) {
    if (result->stopped && result->steps == 0) {
        return bft_error_set(err, BFT_FAILED, "stopped before the first step; `bertft %s --resume %s` begins again",
                             training->name, run);
    }
    if (result->stopped) {
        return bft_error_set(err, BFT_FAILED, "stopped at step %llu and saved; `bertft %s --resume %s` goes on",
                             (unsigned long long)result->steps, training->name, run);
    }
    if (result->best_step > 0) {
        bft_log_info("%s after %llu steps; best %s %.4f at step %llu", result->early ? "stopped early" : "done",
                     (unsigned long long)result->steps, metric, result->best, (unsigned long long)result->best_step);
    } else {
        bft_log_info("done after %llu steps", (unsigned long long)result->steps);
    }
    bft_log_info("the model is in %s; %s", run, training->next);
    return BFT_OK;
}

/* The folder that a link such as checkpoints/latest leads to, as it is seen from here; *out NULL: no link. */
static bft_status resolve_link(bft_error *err, const char *link, char **out) {
    struct stat info;
    *out = NULL;
    if (lstat(link, &info) != 0 || !S_ISLNK(info.st_mode)) {
        return BFT_OK;
    }
    char *real = realpath(link, NULL), *here = realpath(".", NULL);
    size_t length = here != NULL ? strlen(here) : 0;
    bool inside = real != NULL && here != NULL && strncmp(real, here, length) == 0 && real[length] == '/';
    const char *shown = inside ? real + length + 1 : real;
    *out = shown != NULL ? strdup(shown) : NULL;
    bft_status status = shown != NULL && *out == NULL ? bft_error_memory(err, strlen(shown)) : BFT_OK;
    free(real);
    free(here);
    return status;
}

/* A link may point elsewhere tomorrow: what is frozen is the folder behind it. */
static bft_status resolve_weights(bft_error *err, bft_config *config) {
    char *name = strdup(bft_config_string(config, "MODEL.WEIGHTS")), *folder = NULL;
    if (name == NULL) {
        return bft_error_memory(err, 1);
    }
    for (size_t length = strlen(name); length > 1 && name[length - 1] == '/'; length--) {
        name[length - 1] = '\0'; /* a slash behind the link's name would hide the link */
    }
    bft_status status = resolve_link(err, name, &folder);
    if (status == BFT_OK && folder != NULL) {
        char *pair[] = {"MODEL.WEIGHTS", folder};
        status = bft_config_merge_pairs(err, config, 2, pair);
    }
    free(name);
    free(folder);
    return status;
}

static bft_status run(bft_error *err, const bft_training *training, const bft_config *config, bft_backend backend,
                      const char *resume, bool overwrite) {
    view v = {.task = training->task, .metric = bft_train_metric(config, training->task)};
    bft_train_events events = {.context = &v,
                               .on_start = show_start,
                               .on_step = show_step,
                               .on_evaluation = show_evaluation,
                               .stop = &interrupted};
    const char *folder = resume != NULL ? resume : bft_config_string(config, "OUTPUT_DIR");
    bft_train_result result = {0};
    catch_interrupts();
    bft_status status = resume != NULL
                            ? bft_train_resume(err, config, training->task, resume, backend, &events, &result)
                            : bft_train(err, config, training->task, backend, overwrite, &events, &result);
    bft_progress_clear(&v.bar);
    BFT_TRY(status);
    if (!result.stopped && training->done != NULL) {
        BFT_TRY(training->done(err, folder));
    }
    return say_end(err, training, folder, &result, v.metric);
}

static bft_status set_precision(bft_error *err, const char *name, bft_config *config, const char *precision) {
    bool fp16 = strcmp(precision, "fp16") == 0;
    if (fp16 || strcmp(precision, "int8") == 0 || strcmp(precision, "auto") == 0) {
        return bft_error_set(err, BFT_BAD, "%s: --precision %s is for inference%s; bf16 or fp32 train", name, precision,
                             fp16 ? ", gradients don't fit its range" : "");
    }
    char *pair[] = {"TRAIN.PRECISION", (char *)precision};
    return bft_config_merge_pairs(err, config, 2, pair);
}

static bft_status configure_new(bft_error *err, const char *name, bft_config **out, const bft_arguments *arguments) {
    bft_config *config = NULL;
    BFT_TRY(bft_config_create(err, &config));
    bft_status status = bft_config_merge_file(err, config, arguments->words[0]);
    if (status == BFT_OK) {
        status = bft_folder_merge(err, config, arguments);
    }
    if (status == BFT_OK && arguments->precision != NULL) {
        status = set_precision(err, name, config, arguments->precision);
    }
    if (status == BFT_OK) {
        status = resolve_weights(err, config);
    }
    if (status != BFT_OK) {
        bft_config_destroy(config);
        return status;
    }
    *out = config;
    return BFT_OK;
}

static bft_status configure_resumed(bft_error *err, bft_config **out, const bft_arguments *arguments,
                                    const char *folder) {
    bft_buffer path = {0};
    bft_status status = bft_path_join(err, &path, folder, "config.yaml");
    if (status == BFT_OK && !bft_file_exists(path.data)) {
        status = bft_error_set(err, BFT_BAD, "%s: holds no run to go on with: there is no config.yaml in it", folder);
    }
    bft_buffer_free(&path);
    BFT_TRY(status);
    bft_config *config = NULL;
    BFT_TRY(bft_folder_configure(err, &config, folder, arguments));
    const char *begun = bft_config_string(config, "TRAIN.PRECISION"), *asked = arguments->precision;
    if (asked != NULL && strcmp(asked, begun) != 0) {
        status =
            bft_error_set(err, BFT_BAD, "%s: the run was begun in %s and goes on in it; --precision %s needs a new run",
                          folder, begun, asked);
        bft_config_destroy(config);
        return status;
    }
    *out = config;
    return BFT_OK;
}

bft_status bft_training_command(bft_error *err, const bft_training *training, int argc, char **argv) {
    bool overwrite = false;
    const char *resume = NULL;
    const bft_option options[] = {{.name = "--overwrite", .flag = &overwrite}, {.name = "--resume", .value = &resume}};
    const bft_usage usage = {.name = training->name,
                             .options = options,
                             .option_count = 2,
                             .runs_model = true,
                             .pairs = true,
                             .most = 1,
                             .expected = "CONFIG"};
    bft_arguments arguments;
    BFT_TRY(bft_options_parse(err, &usage, argc, argv, &arguments));
    if (arguments.help) {
        return bft_output_print(err, training->help);
    }
    if ((resume != NULL) != (arguments.word_count == 0) ||
        (resume != NULL && (overwrite || arguments.pair_words > 0))) {
        return bft_error_set(err, BFT_BAD, "%s takes a configuration file, or --resume RUN alone: `bertft %s %s`",
                             training->name, training->name, training->example);
    }
    bft_config *config = NULL;
    bft_backend backend;
    BFT_TRY(resume != NULL ? configure_resumed(err, &config, &arguments, resume)
                           : configure_new(err, training->name, &config, &arguments));
    bft_status status = bft_folder_backend(err, &backend, config, &arguments, true);
    if (status == BFT_OK) {
        status = run(err, training, config, backend, resume, overwrite);
        bft_profile_print(&backend);
        bft_backend_close(&backend);
    }
    bft_config_destroy(config);
    return status;
}
