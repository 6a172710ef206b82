/* eval.c: `bertft eval`: how good a run is on its test split, or on a file. */
#include "cli/commands.h"

#include "base/file.h"
#include "base/log.h"
#include "base/json.h"
#include "base/progress.h"
#include "cli/folder.h"
#include "cli/output.h"
#include "cli/profile.h"
#include "infer/runner.h"
#include "train/metrics_report.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK = 256 };

static const char help[] =
    "usage: bertft eval [RUN] [--data FILE] [--json] [--threads N] [--device D] [--precision P]\n"
    "                         [--profile] [KEY VALUE]...\n"
    "\n"
    "Metrics of a run, or of a Hugging Face folder with a classifier, on DATA.TEST; where that is not set on "
    "DATA.VALID;\n"
    "where neither is, on the share of DATA.TRAIN that training held back (DATA.VALID_FRACTION, by SEED).\n"
    "RUN is checkpoints/latest, the newest run, where it isn't given; before there is one, checkpoints/mini-ru-tone.\n"
    "\n"
    "  --data FILE       measure on this file, read as the DATA.* settings say\n"
    "  --json            one JSON object instead of the report\n"
    "  --threads N       0: all processors\n"
    "  --device D        auto, cpu, cuda, cuda:1; `bertft info` lists what is here\n"
    "  --precision P     fp32 (the default, however the run was trained), bf16; on a CPU int8, on a card fp16;\n"
    "                    auto: the fastest\n"
    "  --profile         at the end, on stderr: the time of each op, and its share of the machine's peak\n"
    "  KEY VALUE         over the run's configuration, such as EVAL.THRESHOLD 0.3\n"
    "\n"
    "  bertft eval\n"
    "  bertft eval runs/support --data more.tsv --json DATA.ON_BAD_ROW skip\n";

typedef struct command {
    bft_config *config;
    bft_backend backend;
    bft_runner runner;
    bft_labels labels; /* the model's */
    bft_dataset *data;
    bft_metrics *metrics;
    const char *split; /* "test", "valid", "held out", "file" */
    double fraction;   /* of the files' samples that are measured, the rest having been trained on; 0: all */
    size_t path_count;
    const char **paths;
} command;

/* ---- What is measured ---- */

/* The split of DATA.TRAIN that `train` made is made again by the run's own settings: with others, texts that were
 * trained on would be measured. */
static bft_status check_pairs(bft_error *err, const bft_arguments *arguments) {
    for (size_t i = 0; i < arguments->pair_words; i += 2) {
        const char *key = arguments->pairs[i];
        if (strcmp(key, "SEED") == 0 || strncmp(key, "DATA.", strlen("DATA.")) == 0) {
            return bft_error_set(err, BFT_BAD,
                                 "eval: %s would change which texts training held back; leave it out, or name other "
                                 "texts: --data FILE",
                                 key);
        }
    }
    return BFT_OK;
}

/* The key whose files are measured, and what they are to the run. */
static bft_status find_split(bft_error *err, command *c, const bft_arguments *arguments, const char **key) {
    static const char *const keys[] = {"DATA.TEST", "DATA.VALID", "DATA.TRAIN"};
    static const char *const splits[] = {"test", "valid", "held out"};
    size_t which = 0;
    while (which < 3 && bft_config_list_size(c->config, keys[which]) == 0) {
        which++;
    }
    double fraction = bft_config_float(c->config, "DATA.VALID_FRACTION");
    if (which == 3 || (which == 2 && fraction == 0)) {
        return bft_error_set(err, BFT_BAD, "eval: neither DATA.TEST nor DATA.VALID names a file%s; --data FILE does",
                             which == 2 ? ", and training held nothing back (DATA.VALID_FRACTION 0)" : "");
    }
    *key = keys[which];
    c->split = splits[which];
    c->fraction = which == 2 ? fraction : 0;
    return which == 2 ? check_pairs(err, arguments) : BFT_OK;
}

static bft_status find_files(bft_error *err, command *c, const char *file, const bft_arguments *arguments) {
    const char *key = NULL;
    c->split = "file";
    if (file == NULL) {
        BFT_TRY(find_split(err, c, arguments, &key));
    }
    c->path_count = file != NULL ? 1 : bft_config_list_size(c->config, key);
    c->paths = calloc(c->path_count, sizeof *c->paths);
    if (c->paths == NULL) {
        return bft_error_memory(err, c->path_count * sizeof *c->paths);
    }
    for (size_t i = 0; i < c->path_count; i++) {
        c->paths[i] = file != NULL ? file : bft_config_list_at(c->config, key, i);
    }
    return BFT_OK;
}

/* Leaves of the training set what training held back. */
static bft_status keep_held_out(bft_error *err, command *c) {
    bft_dataset *kept = NULL;
    uint64_t seed = (uint64_t)bft_config_int(c->config, "SEED");
    BFT_TRY(bft_dataset_split(err, c->data, c->fraction, seed, &kept));
    bft_dataset_destroy(c->data);
    c->data = kept;
    return BFT_OK;
}

/* A model that doesn't say is read as transformers trains it: one value is regression, several are classes. */
static bft_problem problem_of(const bft_model *model) {
    bft_problem problem = bft_model_configuration(model)->problem;
    if (problem != BFT_PROBLEM_NONE) {
        return problem;
    }
    return bft_model_classes(model) == 1 ? BFT_REGRESSION : BFT_SINGLE_LABEL;
}

/* The data is read as what the model predicts, whatever a folder without a configuration leaves at the defaults. */
static bft_status read_data(bft_error *err, command *c) {
    const bft_model *model = c->runner.model;
    bft_problem problem = problem_of(model);
    char *words[] = {"DATA.MULTI_LABEL", problem == BFT_MULTI_LABEL ? "True" : "False", "DATA.REGRESSION",
                     problem == BFT_REGRESSION ? "True" : "False"};
    BFT_TRY(bft_config_merge_pairs(err, c->config, sizeof words / sizeof *words, words));
    c->labels = (bft_labels){.count = bft_model_classes(model), .names = bft_model_configuration(model)->labels};
    BFT_TRY(bft_dataset_read(err, &c->data, c->config, c->path_count, c->paths, c->runner.tokenizer,
                             c->runner.max_length, &c->labels));
    if (c->fraction > 0) {
        BFT_TRY(keep_held_out(err, c));
    }
    return bft_metrics_create(err, &c->metrics, problem, &c->labels, (size_t)bft_config_int(c->config, "EVAL.BINS"),
                              bft_config_float(c->config, "EVAL.THRESHOLD"));
}

/* ---- Measuring ---- */

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

static bft_status start(bft_error *err, command *c, size_t first, size_t end) {
    for (size_t i = first; i < end; i++) {
        bft_sample sample = bft_dataset_at(c->data, i);
        BFT_TRY(bft_runner_add_ids(err, &c->runner, sample.ids, sample.length));
    }
    return bft_runner_start_logits(err, &c->runner);
}

/* Counts the samples from `first` on that were finished last. */
static bft_status count(bft_error *err, command *c, size_t first) {
    for (size_t i = 0; i < c->runner.finished; i++) {
        bft_sample sample = bft_dataset_at(c->data, first + i);
        const float *logits = c->runner.rows + i * c->labels.count;
        BFT_TRY(bft_metrics_add(err, c->metrics, logits, sample.target, sample.targets));
    }
    return BFT_OK;
}

/* A chunk is counted while the next one is computed. */
static bft_status measure(bft_error *err, command *c) {
    size_t samples = bft_dataset_size(c->data);
    bft_progress_bar bar = bft_progress_start(0);
    bft_status status = samples > 0 ? start(err, c, 0, smaller(CHUNK, samples)) : BFT_OK;
    for (size_t first = 0; status == BFT_OK && first < samples; first += CHUNK) {
        size_t next = smaller(first + CHUNK, samples);
        status = bft_runner_finish(err, &c->runner);
        if (status == BFT_OK && next < samples) {
            status = start(err, c, next, smaller(next + CHUNK, samples));
        }
        if (status == BFT_OK) {
            status = count(err, c, first);
        }
        bft_progress_show(&bar, next, samples, "samples");
    }
    bft_progress_clear(&bar);
    return status;
}

/* ---- Reporting ---- */

/* The metrics' JSON object, with what was measured before its own members. */
static bft_status json_report(bft_error *err, const command *c, const char *folder, bft_buffer *out) {
    BFT_TRY(bft_buffer_printf(err, out, "{\"run\": "));
    BFT_TRY(bft_json_quote(err, out, folder, strlen(folder)));
    BFT_TRY(bft_buffer_printf(err, out, ", \"split\": \"%s\", \"files\": [", c->split));
    for (size_t i = 0; i < c->path_count; i++) {
        BFT_TRY(bft_buffer_append(err, out, ", ", i > 0 ? 2 : 0));
        BFT_TRY(bft_json_quote(err, out, c->paths[i], strlen(c->paths[i])));
    }
    BFT_TRY(bft_buffer_printf(err, out, "], "));
    bft_buffer object = {0};
    bft_status status = bft_metrics_json(err, c->metrics, &object);
    if (status == BFT_OK) { /* without its opening brace: ours stands already */
        status = bft_buffer_printf(err, out, "%s\n", object.data + 1);
    }
    bft_buffer_free(&object);
    return status;
}

/* The first line: which model was measured on which texts. */
static void say_what(const command *c, const char *folder) {
    const char *others = c->path_count > 1 ? " and others" : "";
    size_t samples = bft_dataset_size(c->data);
    if (c->fraction > 0) {
        bft_log_info("%s on what training held back of %s%s (DATA.VALID_FRACTION %g, SEED %lld): %zu samples", folder,
                     c->paths[0], others, c->fraction, (long long)bft_config_int(c->config, "SEED"), samples);
    } else {
        bft_log_info("%s on %s%s (%s): %zu samples", folder, c->paths[0], others, c->split, samples);
    }
}

static bft_status report(bft_error *err, const command *c, const char *folder, bool json, bft_output *output) {
    if (json) {
        BFT_TRY(json_report(err, c, folder, &output->text));
    } else {
        say_what(c, folder);
        BFT_TRY(bft_metrics_text(err, c->metrics, &output->text));
    }
    return bft_output_flush(err, output);
}

static bft_status run(bft_error *err, command *c, const char *folder, const char *file,
                      const bft_arguments *arguments) {
    BFT_TRY(bft_folder_configure(err, &c->config, folder, arguments));
    BFT_TRY(find_files(err, c, file, arguments));
    BFT_TRY(bft_folder_backend(err, &c->backend, c->config, arguments, false));
    BFT_TRY(bft_runner_open(err, &c->runner, folder, c->config, c->backend));
    if (bft_model_classes(c->runner.model) == 0) {
        return bft_error_set(err, BFT_BAD, "%s: the model has no classifier; `bertft train` gives it one", folder);
    }
    BFT_TRY(read_data(err, c));
    return measure(err, c);
}

bft_status bft_command_eval(bft_error *err, int argc, char **argv) {
    const char *file = NULL, *folder;
    bool json = false;
    const bft_option options[] = {{"--data", NULL, &file, NULL}, {"--json", &json, NULL, NULL}};
    const bft_usage usage = {.name = "eval",
                             .options = options,
                             .option_count = sizeof options / sizeof *options,
                             .runs_model = true,
                             .pairs = true,
                             .most = 1,
                             .expected = "RUN"};
    bft_arguments arguments;
    BFT_TRY(bft_options_parse(err, &usage, argc, argv, &arguments));
    if (arguments.help) {
        return bft_output_print(err, help);
    }
    command c = {0};
    bft_output output;
    BFT_TRY(bft_output_open(err, &output));
    const char *given = arguments.word_count > 0 ? arguments.words[0] : NULL;
    if (given != NULL && bft_file_exists(given) && !bft_directory_exists(given)) {
        return bft_error_set(err, BFT_BAD,
                             "%s: is a file, the folder of a run is expected; --data names texts to measure "
                             "on: `bertft eval --data %s`",
                             given, given);
    }
    BFT_TRY(bft_folder_find(err, given, &folder));
    bft_status status = run(err, &c, folder, file, &arguments);
    if (status == BFT_OK) {
        status = report(err, &c, folder, json, &output);
    }
    bft_metrics_destroy(c.metrics);
    bft_dataset_destroy(c.data);
    bft_runner_close(&c.runner);
    bft_profile_print(&c.backend);
    bft_backend_close(&c.backend);
    bft_config_destroy(c.config);
    free(c.paths);
    bft_output_free(&output);
    return status;
}
