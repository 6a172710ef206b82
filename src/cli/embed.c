/* embed.c: `bertft embed`: a line in, a JSON array of floats out. */
#include "cli/commands.h"

#include "base/file.h"
#include "bertft/predict.h"
#include "cli/folder.h"
#include "cli/output.h"
#include "cli/profile.h"
#include "cli/source.h"

#include <string.h>

enum { MOST_TEXTS = 64, LONGEST_LINE = 1 << 20 };

static const char help[] =
    "usage: bertft embed [-m DIR] [--pooling cls|mean|pooler|sentence] [--input text|jsonl]\n"
    "                    [--threads N] [--device D] [--precision P] [--profile] [KEY VALUE]... < texts\n"
    "\n"
    "Reads a text a line from stdin and writes its vector as a JSON array, nine significant digits a number.\n"
    "\n"
    "  -m DIR            a run of bertft or a Hugging Face folder of a BERT or DistilBERT; checkpoints/latest, the\n"
    "                    newest run, where it isn't given\n"
    "  --pooling P       cls: the first token's vector; mean: the mean of all tokens'; pooler: BERT's pooler (tanh);\n"
    "                    sentence: what the folder's modules.json says (pooling, Dense, Normalize), and its "
    "max_seq_length.\n"
    "                    Not given: sentence where there is a modules.json, else cls\n"
    "  --input I         text: a line is a text; jsonl: a line is {\"text\": ...}, whose text may hold newlines\n"
    "  --threads N       0: all processors\n"
    "  --device D        auto, cpu, cuda, cuda:1; `bertft info` lists what is here\n"
    "  --precision P     fp32 (the default, however the run was trained), bf16; on a CPU int8, on a card fp16; auto: "
    "the\n"
    "                    fastest\n"
    "  --profile         at the end, on stderr: the time of each op, and its share of the machine's peak\n"
    "  KEY VALUE         over the run's configuration, such as DATA.MAX_LENGTH 64\n"
    "\n"
    "  echo 'Где мой заказ?' | bertft embed -m models/rubert-tiny2\n"
    "  bertft embed -m models/LaBSE --pooling sentence --input jsonl < texts.jsonl > vectors.jsonl\n";

static const char *const poolings[] = {"cls", "mean", "pooler", "sentence", NULL}; /* in the order of bft_embedding */

typedef struct command {
    bft_config *config;
    bft_backend backend;
    bft_embedder *embedder;
    bft_source source;
    bft_output output;
    size_t waiting, computing; /* texts added; started and not yet answered */
} command;

static bft_status print(bft_error *err, command *c, size_t count) {
    bft_buffer *out = &c->output.text;
    for (size_t i = 0; i < count; i++) {
        const float *vector = bft_embedder_at(c->embedder, i);
        for (size_t k = 0; k < bft_embedder_width(c->embedder); k++) {
            BFT_TRY(bft_buffer_printf(err, out, "%s%.9g", k == 0 ? "[" : ", ", vector[k]));
        }
        BFT_TRY(bft_buffer_append(err, out, "]\n", 2));
        BFT_TRY(bft_output_drain(err, &c->output));
    }
    return BFT_OK;
}

/* Finishes what was started, starts what waits, and prints the former while the device computes. Where the start fails, what came
 * before is still answered. */
static bft_status turn_over(bft_error *err, command *c) {
    size_t answered = c->computing;
    BFT_TRY(bft_embedder_finish(err, c->embedder));
    bft_status status = bft_embedder_start(err, c->embedder);
    bft_error later;
    bft_status printed = print(status == BFT_OK ? err : &later, c, answered);
    c->computing = c->waiting;
    c->waiting = 0;
    return status == BFT_OK ? printed : status;
}

static bft_status settle(bft_error *err, void *context) {
    BFT_TRY(turn_over(err, context));
    return turn_over(err, context);
}

static bft_status take(bft_error *err, void *context, char *text, size_t length) {
    command *c = context;
    bool cut;
    BFT_TRY(bft_embedder_add(err, c->embedder, text, length, &cut));
    if (cut) {
        bft_source_warn_cut(&c->source, bft_embedder_max_length(c->embedder));
    }
    return ++c->waiting == MOST_TEXTS ? turn_over(err, c) : BFT_OK;
}

static bft_status find_embedding(bft_error *err, const char *folder, const char *pooling, bft_embedding *out) {
    if (pooling != NULL) {
        *out = (bft_embedding)bft_options_choice(poolings, pooling);
        return BFT_OK;
    }
    bft_buffer path = {0};
    bft_status status = bft_path_join(err, &path, folder, "modules.json");
    *out = status == BFT_OK && bft_file_exists(path.data) ? BFT_EMBED_SENTENCE : BFT_EMBED_CLS;
    bft_buffer_free(&path);
    return status;
}

static bft_status open_command(bft_error *err, command *c, const char *folder, const char *pooling, const char *input,
                               const bft_arguments *arguments) {
    bft_embedding embedding;
    BFT_TRY(find_embedding(err, folder, pooling, &embedding));
    BFT_TRY(bft_folder_configure(err, &c->config, folder, arguments));
    BFT_TRY(bft_source_open(err, &c->source, NULL, input, LONGEST_LINE));
    BFT_TRY(bft_folder_backend(err, &c->backend, c->config, arguments->precision, arguments->profile, true));
    return bft_embedder_create(err, &c->embedder, folder, embedding, c->config, c->backend);
}

bft_status bft_command_embed(bft_error *err, int argc, char **argv) {
    const char *model = NULL, *pooling = NULL, *input = NULL, *folder;
    const bft_option options[] = {{"-m", NULL, &model, NULL},
                                  {"--pooling", NULL, &pooling, poolings},
                                  {"--input", NULL, &input, bft_source_inputs}};
    const bft_usage usage = {.name = "embed",
                             .options = options,
                             .option_count = sizeof options / sizeof *options,
                             .runs_model = true,
                             .pairs = true};
    bft_arguments arguments;
    BFT_TRY(bft_options_parse(err, &usage, argc, argv, &arguments));
    if (arguments.help) {
        return bft_output_print(err, help);
    }
    command c = {0};
    BFT_TRY(bft_output_open(err, &c.output));
    BFT_TRY(bft_folder_find(err, model, &folder));
    bft_status status = open_command(err, &c, folder, pooling, input, &arguments);
    if (status == BFT_OK) {
        status = bft_source_read(err, &c.source, &c.output, &(bft_reader){&c, take, settle});
    }
    bft_embedder_destroy(c.embedder);
    bft_profile_print(&c.backend);
    bft_backend_close(&c.backend);
    bft_source_close(&c.source);
    bft_config_destroy(c.config);
    bft_output_free(&c.output);
    return status;
}
