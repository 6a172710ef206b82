/* info.c: `bertft info`: what is in a folder, or what this machine can do. */
#include "cli/commands.h"

#include "base/file.h"
#include "cli/options.h"
#include "cli/output.h"
#include "nn/network.h"
#include "train/checkpoint.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <utf8proc.h>
#include <zlib.h>

enum { CARD_ROOM = BFT_ERROR_SIZE + 8 };

static const char help[] =
    "usage: bertft info [PATH]\n"
    "\n"
    "Tells what the folder of a model or run holds, or a checkpoint; without PATH, what this machine can compute\n"
    "with.\n"
    "\n"
    "  bertft info\n"
    "  bertft info checkpoints/latest\n";

/* The card in one precision: what it is, or why it can't be used. Some precisions need newer cards than others. */
static bool describe_card(const char *precision, char card[CARD_ROOM]) {
    bft_backend backend;
    bft_error reason;
    if (bft_backend_open(&reason, &backend, &(bft_backend_setup){.name = "cuda", .precision = precision}) != BFT_OK) {
        snprintf(card, CARD_ROOM, "no: %s", reason.message);
        return false;
    }
    backend.ops->describe(backend.device, card);
    bft_backend_close(&backend);
    return true;
}

static bft_status describe_cuda(bft_error *err, bft_buffer *out) {
    static const char *const precisions[] = {"fp32", "bf16", "fp16"};
    char card[CARD_ROOM];
    bool there = describe_card(precisions[0], card);
    BFT_TRY(bft_buffer_printf(err, out, there ? "CUDA, fp32     %s\n" : "CUDA           %s\n", card));
    for (size_t i = 1; there && i < sizeof precisions / sizeof *precisions; i++) {
        describe_card(precisions[i], card);
        BFT_TRY(bft_buffer_printf(err, out, "CUDA, %s     %s\n", precisions[i], card));
    }
    return BFT_OK;
}

static bft_status describe_machine(bft_error *err, bft_buffer *out) {
    bft_backend backend;
    BFT_TRY(bft_backend_open(err, &backend, &(bft_backend_setup){.name = "cpu"}));
    const bft_ops *best = backend.ops;
    char text[BFT_DESCRIPTION_SIZE];
    best->describe(backend.device, text);
    bft_backend_close(&backend);
    BFT_TRY(bft_buffer_printf(err, out, "CPU            %s, %s\ncan also use   ", best->name, text));
    for (const bft_ops *const *ops = bft_ops_all(); *ops != NULL; ops++) {
        if (*ops != best) {
            BFT_TRY(bft_buffer_printf(err, out, "%s ", (*ops)->name));
        }
    }
    BFT_TRY(bft_buffer_printf(err, out, "\n"));
    BFT_TRY(describe_cuda(err, out));
    return bft_buffer_printf(err, out, "libraries      jansson %s, zlib %s, utf8proc %s\n", JANSSON_VERSION,
                             zlibVersion(), utf8proc_version());
}

static bft_status describe_labels(bft_error *err, const bft_model *model, bft_buffer *out) {
    BFT_TRY(bft_buffer_printf(err, out, "labels         "));
    for (size_t id = 0; id < bft_model_classes(model); id++) {
        BFT_TRY(bft_buffer_printf(err, out, "%s%s", id == 0 ? "" : ", ", bft_model_label(model, id)));
    }
    return bft_buffer_printf(err, out, "\n");
}

static bft_status describe_model(bft_error *err, const bft_model *model, bft_buffer *out) {
    static const char *const heads[] = {"none: embeddings only", "linear", "pooler", "mean",
                                        "of a masked language model"};
    bool masked = bft_model_head(model) == BFT_HEAD_NONE && model->file_config.masked;
    static const char *const problems[] = {"not said", "single label", "multi-label", "regression"};
    const bft_model_config *config = bft_model_configuration(model);
    size_t reals = model->params.size + config->vocabulary * config->channels;
    BFT_TRY(bft_buffer_printf(err, out,
                              "architecture   %s\nlayers         %zu of %zu channels, %zu heads, feed-forward %zu\n"
                              "vocabulary     %zu tokens, %s\npositions      %zu\nparameters     %.1f million\n"
                              "head           %s\n",
                              config->architecture == BFT_BERT ? "BERT" : "DistilBERT", config->layers,
                              config->channels, config->heads, config->feed_forward, config->vocabulary,
                              model->table.base->mapped ? "mapped from the file" : "read into memory",
                              config->positions, (double)reals / 1e6,
                              heads[masked ? BFT_HEAD_MASKED : bft_model_head(model)]));
    if (bft_model_classes(model) == 0) {
        return BFT_OK;
    }
    BFT_TRY(bft_buffer_printf(err, out, "problem        %s\n", problems[config->problem]));
    return describe_labels(err, model, out);
}

static bft_status describe_checkpoint(bft_error *err, const char *path, bft_buffer *out) {
    bft_checkpoint_summary summary;
    BFT_TRY(bft_checkpoint_summarize(err, path, &summary));
    const bft_progress *progress = &summary.progress;
    BFT_TRY(bft_buffer_printf(err, out, "checkpoint     step %" PRIu64 "; %zu dense parameters, %zu trained rows\n",
                              progress->step, summary.parameters, summary.live_rows));
    return progress->best_step == 0 ? BFT_OK
                                    : bft_buffer_printf(err, out, "best so far    %.4f at step %" PRIu64 "\n",
                                                        progress->best, progress->best_step);
}

/* A run's folder has a checkpoint beside the model. */
static bft_status describe_run(bft_error *err, const char *folder, bft_buffer *out) {
    bft_buffer path = {0};
    bft_status status = bft_path_join(err, &path, folder, "checkpoint/last");
    if (status == BFT_OK && bft_file_exists(path.data)) {
        status = describe_checkpoint(err, path.data, out);
    }
    bft_buffer_free(&path);
    return status;
}

static bft_status describe_folder(bft_error *err, const char *folder, bft_buffer *out) {
    bft_backend backend;
    bft_model *model = NULL;
    BFT_TRY(bft_backend_open(err, &backend, &(bft_backend_setup){.name = "cpu", .threads = 1}));
    bft_status status = bft_model_open(err, &model, folder, backend);
    if (status == BFT_OK) {
        status = describe_model(err, model, out);
    }
    if (status == BFT_OK) {
        status = describe_run(err, folder, out);
    }
    bft_model_destroy(model);
    bft_backend_close(&backend);
    return status;
}

bft_status bft_command_info(bft_error *err, int argc, char **argv) {
    const bft_usage usage = {.name = "info", .most = 1, .expected = "PATH"};
    bft_arguments arguments;
    BFT_TRY(bft_options_parse(err, &usage, argc, argv, &arguments));
    if (arguments.help) {
        return bft_output_print(err, help);
    }
    bft_buffer out = {0};
    const char *path = arguments.word_count > 0 ? arguments.words[0] : NULL;
    bft_status status = path == NULL                 ? describe_machine(err, &out)
                        : bft_directory_exists(path) ? describe_folder(err, path, &out)
                                                     : describe_checkpoint(err, path, &out);
    if (status == BFT_OK) {
        status = bft_output_print(err, out.data);
    }
    bft_buffer_free(&out);
    return status;
}
