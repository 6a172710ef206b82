/* predict.c: `bertft predict`: the tone of dialogues, or of lines, as they arrive.
 *
 * Turns gather until there are enough for a batch; while they are computed, those before are printed, in order, and the next ones
 * gather. Before the input makes us wait, all are answered and flushed. Nothing grows with the input. */
#include "cli/commands.h"

#include "base/file.h"
#include "base/log.h"
#include "bertft/predict.h"
#include "cli/folder.h"
#include "cli/printer.h"
#include "cli/profile.h"
#include "cli/source.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_EVENTS = 64, MOST_BYTES = 1 << 20 };

static const char help[] =
    "usage: bertft predict [-m RUN] [--format table|tsv|csv|jsonl] [--scores all|top|raw] [--lines] [--input "
    "text|jsonl]\n"
    "                      [--threads N] [--device D] [--precision P] [--profile] [FILE] [KEY VALUE]...\n"
    "\n"
    "Reads dialogues from FILE or stdin and writes the tone of every turn, and after each dialogue its summary.\n"
    "A line is a turn (\"Клиент: ...\", \"[12:03] Operator 2: ...\"), a blank line ends a dialogue. Only the names in\n"
    "DIALOG.CLIENT_NAMES and DIALOG.OPERATOR_NAMES are speakers; a line without one is the previous speaker's, at "
    "first "
    "the\n"
    "client's. Answers come while the input still runs: predict may sit at the end of a pipe.\n"
    "\n"
    "  -m RUN            a run of bertft, or a Hugging Face folder with a BERT or DistilBERT classifier;\n"
    "                    checkpoints/latest, the newest run, where it isn't given, and before there is one\n"
    "                    checkpoints/mini-ru-tone, which ships\n"
    "  --format F        table for people (the default on a terminal), tsv (the default elsewhere), csv, jsonl.\n"
    "                    In tsv and csv a summary is a row with the speaker \"summary\" and words in the text column;\n"
    "                    tsv writes tab, line end and backslash as \\t \\n \\\\\n"
    "  --scores S        top: the answer's score; all: every label's probability; raw: every label's logit\n"
    "  --lines           independent lines: one answer for each line, blank ones too, no speakers, no summaries\n"
    "  --input I         text: a line is a turn; jsonl: a line is {\"text\": ...}, whose text may hold newlines;\n"
    "                    an empty text ends a dialogue\n"
    "  --threads N       0: all processors\n"
    "  --device D        auto, cpu, cuda, cuda:1; `bertft info` lists what is here\n"
    "  --precision P     fp32 (the default, however the run was trained), bf16; on a CPU int8, on a card fp16;\n"
    "                    auto: the fastest\n"
    "  --profile         at the end, on stderr: the time of each op, and its share of the machine's peak\n"
    "  KEY VALUE         over the run's configuration, such as DIALOG.NEGATIVE \"['anger']\" or EVAL.THRESHOLD 0.3\n"
    "\n"
    "A multi-label model's answer is all labels with EVAL.THRESHOLD or more, joined with \"+\", or DATA.EMPTY_LABEL, "
    "or \"-\";\n"
    "its score is the highest one. A turn is negative when its answer holds a label of DIALOG.NEGATIVE; its negativity "
    "is the\n"
    "sum of these labels' probabilities (multi-label: the highest of them). The trend says how far negativity rises "
    "from the\n"
    "first client turn to the last along the least-squares line.\n"
    "\n"
    "  bertft predict < dialogs.txt\n"
    "  bertft predict chats.txt DIALOG.CLIENT_NAMES \"['Покупатель']\" DIALOG.OPERATOR_NAMES \"['Анна', 'Иван "
    "Петров']\"\n"
    "  bertft predict -m runs/support --format jsonl dialogs.txt > tones.jsonl\n"
    "  tail -f chat.log | bertft predict --lines --format tsv\n";

/* A turn that waits, or the end of a dialogue. Names and texts lie in `bytes`, by offset: it moves as it grows. */
typedef struct event {
    bool ends_dialog;
    size_t dialog, turn;
    bft_speaker speaker;
    bool named;
    size_t name, text, length;
} event;

typedef struct stretch {
    bft_buffer bytes;
    size_t count;
    event events[MOST_EVENTS];
} stretch;

typedef struct command {
    bft_config *config;
    bft_backend backend;
    bft_predictor *predictor;
    bft_dialog_format *dialogs;
    bft_source source;
    bft_output output;
    bft_printer printer;
    bft_summary summary;
    bft_buffer answer;
    stretch stretches[2], *gathering, *computing;
    size_t dialog, turn; /* the next turn's place; with --lines turn is the line */
    bft_speaker previous;
} command;

/* ---- Reading ---- */

static bft_status add_turn(bft_error *err, command *c, const bft_turn *turn) {
    stretch *s = c->gathering;
    event *e = &s->events[s->count];
    *e = (event){.dialog = c->dialog, .turn = c->turn++, .speaker = turn->speaker, .named = turn->name != NULL};
    if (e->named) {
        e->name = s->bytes.length;
        BFT_TRY(bft_buffer_append(err, &s->bytes, turn->name, strlen(turn->name) + 1));
    }
    e->text = s->bytes.length;
    e->length = turn->length;
    BFT_TRY(bft_buffer_append(err, &s->bytes, turn->text, turn->length));
    bool cut;
    BFT_TRY(bft_predictor_add(err, c->predictor, turn->text, turn->length, &cut));
    if (cut) {
        bft_source_warn_cut(&c->source, bft_predictor_max_length(c->predictor));
    }
    s->count++;
    c->previous = turn->speaker;
    return BFT_OK;
}

/* The dialogue ends where one has begun: blank lines in a row end one dialogue. */
static void end_dialog(command *c) {
    if (c->turn > 0 && !c->printer.lines) {
        c->gathering->events[c->gathering->count++] = (event){.ends_dialog = true, .dialog = c->dialog++};
        c->turn = 0;
        c->previous = BFT_CLIENT;
    }
}

static bft_status take_line(bft_error *err, command *c, char *line, size_t length) {
    if (c->printer.lines) {
        return add_turn(err, c, &(bft_turn){.text = line, .length = length});
    }
    bft_turn turn;
    if (bft_dialog_line(c->dialogs, line, length, c->previous, &turn)) {
        return add_turn(err, c, &turn);
    }
    end_dialog(c);
    return BFT_OK;
}

/* ---- Answering ---- */

static bft_status print_turn(bft_error *err, command *c, const char *bytes, const event *e, size_t index) {
    bft_prediction prediction = bft_predictor_at(c->predictor, index);
    BFT_TRY(bft_predictor_answer(err, c->predictor, &prediction, &c->answer));
    bft_record record = {.dialog = e->dialog,
                         .turn = e->turn,
                         .speaker = e->speaker,
                         .name = e->named ? bytes + e->name : NULL,
                         .text = bytes + e->text,
                         .length = e->length,
                         .prediction = &prediction,
                         .answer = c->answer.data};
    BFT_TRY(bft_printer_turn(err, &c->printer, &record));
    return bft_summary_add(err, &c->summary, e->speaker, c->answer.data, &prediction);
}

static bft_status print(bft_error *err, command *c, const stretch *s) {
    size_t turns = 0;
    for (size_t i = 0; i < s->count; i++) {
        const event *e = &s->events[i];
        if (e->ends_dialog) {
            BFT_TRY(bft_printer_summary(err, &c->printer, e->dialog, &c->summary));
            bft_summary_clear(&c->summary);
        } else {
            BFT_TRY(print_turn(err, c, s->bytes.data, e, turns++));
        }
        BFT_TRY(bft_output_drain(err, &c->output));
    }
    return BFT_OK;
}

/* Finishes what was started, starts what has gathered, and prints the former while the device computes. Where the start fails, what
 * came before is still answered. */
static bft_status turn_over(bft_error *err, command *c) {
    stretch *answered = c->computing;
    BFT_TRY(bft_predictor_finish(err, c->predictor));
    bft_status status = bft_predictor_start(err, c->predictor);
    bft_error later;
    bft_status printed = print(status == BFT_OK ? err : &later, c, answered);
    bft_buffer_clear(&answered->bytes);
    answered->count = 0;
    c->computing = c->gathering;
    c->gathering = answered;
    return status == BFT_OK ? printed : status;
}

/* Answers all that waits. */
static bft_status settle(bft_error *err, void *context) {
    BFT_TRY(turn_over(err, context));
    return turn_over(err, context);
}

static bft_status take(bft_error *err, void *context, char *line, size_t length) {
    command *c = context;
    BFT_TRY(take_line(err, c, line, length));
    const stretch *s = c->gathering;
    return s->count == MOST_EVENTS || s->bytes.length >= MOST_BYTES ? turn_over(err, c) : BFT_OK;
}

static bft_status read_all(bft_error *err, command *c) {
    BFT_TRY(bft_source_read(err, &c->source, &c->output, &(bft_reader){c, take, settle}));
    end_dialog(c);
    BFT_TRY(settle(err, c));
    return bft_output_flush(err, &c->output);
}

/* ---- The command ---- */

static bft_status warn_of_labels(bft_error *err, const command *c, const char *folder) {
    bool labels = bft_predictor_scoring(c->predictor) != BFT_SCORE_NONE;
    if (c->printer.lines || !labels || bft_predictor_knows_negative(c->predictor)) {
        return BFT_OK;
    }
    bft_buffer known = {0};
    bft_status status = bft_predictor_list_labels(err, c->predictor, &known);
    if (status == BFT_OK) {
        bft_log_warning(
            "%s: DIALOG.NEGATIVE names none of this model's labels (%s): summaries are without negative turns", folder,
            known.data);
    }
    bft_buffer_free(&known);
    return status;
}

static bft_status open_command(bft_error *err, command *c, const char *folder, const char *file, const char *input,
                               const bft_arguments *arguments) {
    BFT_TRY(bft_folder_configure(err, &c->config, folder, arguments));
    size_t longest = (size_t)bft_config_int(c->config, "DIALOG.MAX_LINE");
    BFT_TRY(bft_source_open(err, &c->source, file, input, longest));
    BFT_TRY(bft_dialog_format_create(err, &c->dialogs, c->config));
    BFT_TRY(bft_summary_create(err, &c->summary, (size_t)bft_config_int(c->config, "DIALOG.MAX_STRETCHES")));
    BFT_TRY(bft_folder_backend(err, &c->backend, c->config, arguments, false));
    BFT_TRY(bft_predictor_create(err, &c->predictor, folder, c->config, c->backend));
    c->printer.predictor = c->predictor;
    BFT_TRY(warn_of_labels(err, c, folder));
    return bft_printer_begin(err, &c->printer);
}

static void close_command(command *c) {
    bft_predictor_destroy(c->predictor);
    bft_profile_print(&c->backend);
    bft_backend_close(&c->backend);
    bft_summary_free(&c->summary);
    bft_dialog_format_destroy(c->dialogs);
    bft_source_close(&c->source);
    bft_config_destroy(c->config);
    bft_buffer_free(&c->stretches[0].bytes);
    bft_buffer_free(&c->stretches[1].bytes);
    bft_buffer_free(&c->answer);
    bft_output_free(&c->output);
}

bft_status bft_command_predict(bft_error *err, int argc, char **argv) {
    const char *model = NULL, *format = NULL, *scores = NULL, *input = NULL, *folder;
    bool lines = false;
    const bft_option options[] = {{"-m", NULL, &model, NULL},
                                  {"--format", NULL, &format, bft_format_names},
                                  {"--scores", NULL, &scores, bft_detail_names},
                                  {"--lines", &lines, NULL, NULL},
                                  {"--input", NULL, &input, bft_source_inputs}};
    const bft_usage usage = {.name = "predict",
                             .options = options,
                             .option_count = sizeof options / sizeof *options,
                             .runs_model = true,
                             .pairs = true,
                             .most = 1,
                             .expected = "FILE"};
    bft_arguments arguments;
    BFT_TRY(bft_options_parse(err, &usage, argc, argv, &arguments));
    if (arguments.help) {
        return bft_output_print(err, help);
    }
    const char *file = arguments.word_count > 0 ? arguments.words[0] : NULL;
    if (file != NULL && bft_directory_exists(file)) {
        return bft_error_set(
            err, BFT_BAD, "%s: is a folder, a file of dialogues is expected; -m names a model: `bertft predict -m %s`",
            file, file);
    }
    command c = {.gathering = &c.stretches[0], .computing = &c.stretches[1]};
    BFT_TRY(bft_output_open(err, &c.output));
    BFT_TRY(bft_folder_find(err, model, &folder));
    bft_format fallback = c.output.terminal ? BFT_FORMAT_TABLE : BFT_FORMAT_TSV;
    c.printer = (bft_printer){
        .output = &c.output,
        .format = format != NULL ? (bft_format)bft_options_choice(bft_format_names, format) : fallback,
        .detail = scores != NULL ? (bft_detail)bft_options_choice(bft_detail_names, scores) : BFT_DETAIL_TOP,
        .lines = lines};
    bft_status status = open_command(err, &c, folder, file, input, &arguments);
    if (status == BFT_OK) {
        status = read_all(err, &c);
    }
    close_command(&c);
    return status;
}
