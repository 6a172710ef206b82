/* eval.c: `bertft eval`: how good a run is on its test split, or on a file. */
#include "cli/commands.h"

#include "base/log.h"
#include "base/json.h"
#include "base/progress.h"
#include "cli/folder.h"
#include "cli/output.h"
#include "infer/runner.h"
#include "train/metrics_report.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK = 256 };

static const char help[] =
    "usage: bertft eval [RUN] [--data FILE] [--json] [--threads N] [--device D] [--precision P] [KEY VALUE]...\n"
    "\n"
    "Metrics of a run, or of a Hugging Face folder with a classifier, on DATA.TEST, or DATA.VALID where that is not "
    "set.\n"
    "RUN is checkpoints/latest, the newest run, where it isn't given.\n"
    "\n"
    "  --data FILE       measure on this file, read as the DATA.* settings say\n"
    "  --json            one JSON object instead of the report\n"
    "  --threads N       0: all processors\n"
    "  --device D        what computes; `bertft info` lists them\n"
    "  --precision P     fp32\n"
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
    const char *split; /* "test", "valid", "file" */
    size_t path_count;
    const char **paths;
} command;

/* ---- What is measured ---- */

static bft_status find_files(bft_error *err, command *c, const char *file) {
    static const char *const keys[] = {"DATA.TEST", "DATA.VALID"};
    static const char *const splits[] = {"test", "valid"};
    size_t which = bft_config_list_size(c->config, keys[0]) > 0 ? 0 : 1;
    size_t count = file != NULL ? 1 : bft_config_list_size(c->config, keys[which]);
    if (count == 0) {
        return bft_error_set(err, BFT_BAD, "eval: neither DATA.TEST nor DATA.VALID names a file; --data FILE does");
    }
    c->paths = calloc(count, sizeof *c->paths);
    if (c->paths == NULL) {
        return bft_error_memory(err, count * sizeof *c->paths);
    }
    c->split = file != NULL ? "file" : splits[which];
    c->path_count = count;
    for (size_t i = 0; i < count; i++) {
        c->paths[i] = file != NULL ? file : bft_config_list_at(c->config, keys[which], i);
    }
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
    if (bft_dataset_size(c->data) == 0) {
        return bft_error_set(err, BFT_BAD, "%s: holds no samples", c->paths[0]);
    }
    return bft_metrics_create(err, &c->metrics, problem, &c->labels, (size_t)bft_config_int(c->config, "EVAL.BINS"),
                              bft_config_float(c->config, "EVAL.THRESHOLD"));
}

/* ---- Measuring ---- */

static bft_status measure_chunk(bft_error *err, command *c, size_t first, size_t end) {
    bft_runner_clear(&c->runner);
    for (size_t i = first; i < end; i++) {
        bft_sample sample = bft_dataset_at(c->data, i);
        BFT_TRY(bft_runner_add_ids(err, &c->runner, sample.ids, sample.length));
    }
    BFT_TRY(bft_runner_logits(err, &c->runner));
    for (size_t i = first; i < end; i++) {
        bft_sample sample = bft_dataset_at(c->data, i);
        const float *logits = c->runner.rows + (i - first) * c->labels.count;
        BFT_TRY(bft_metrics_add(err, c->metrics, logits, sample.target, sample.targets));
    }
    return BFT_OK;
}

static bft_status measure(bft_error *err, command *c) {
    size_t count = bft_dataset_size(c->data);
    bft_progress_bar bar = bft_progress_start(0);
    bft_status status = BFT_OK;
    for (size_t first = 0; status == BFT_OK && first < count; first += CHUNK) {
        size_t end = first + CHUNK < count ? first + CHUNK : count;
        status = measure_chunk(err, c, first, end);
        bft_progress_show(&bar, end, count, "samples");
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

static bft_status report(bft_error *err, const command *c, const char *folder, bool json, bft_output *output) {
    if (json) {
        BFT_TRY(json_report(err, c, folder, &output->text));
    } else {
        bft_log_info("%s on %s%s (%s): %zu samples", folder, c->paths[0], c->path_count > 1 ? " and others" : "",
                     c->split, bft_dataset_size(c->data));
        BFT_TRY(bft_metrics_text(err, c->metrics, &output->text));
    }
    return bft_output_flush(err, output);
}

static bft_status run(bft_error *err, command *c, const char *folder, const char *file,
                      const bft_arguments *arguments) {
    BFT_TRY(bft_folder_configure(err, &c->config, folder, arguments));
    BFT_TRY(find_files(err, c, file));
    BFT_TRY(bft_folder_backend(err, &c->backend, c->config));
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
    BFT_TRY(bft_folder_find(err, arguments.word_count > 0 ? arguments.words[0] : NULL, &folder));
    bft_status status = run(err, &c, folder, file, &arguments);
    if (status == BFT_OK) {
        status = report(err, &c, folder, json, &output);
    }
    bft_metrics_destroy(c.metrics);
    bft_dataset_destroy(c.data);
    bft_runner_close(&c.runner);
    bft_backend_close(&c.backend);
    bft_config_destroy(c.config);
    free(c.paths);
    bft_output_free(&output);
    return status;
}
