/* tokenize.c: `bertft tokenize`: a line in, a JSON array of ids or tokens out. */
#include "cli/commands.h"

#include "base/json.h"
#include "bertft/tokenizer.h"
#include "cli/folder.h"
#include "cli/output.h"
#include "cli/source.h"

#include <string.h>

enum { LONGEST_LINE = 1 << 20 };

static const char help[] =
    "usage: bertft tokenize [-m DIR] [--tokens] [--input text|jsonl] < texts\n"
    "\n"
    "Reads a text a line from stdin and writes its ids as a JSON array, special tokens included, however long it is.\n"
    "\n"
    "  -m DIR            a folder with tokenizer.json or vocab.txt; checkpoints/latest where it isn't given\n"
    "  --tokens          the tokens themselves instead of their ids\n"
    "  --input I         text: a line is a text; jsonl: a line is {\"text\": ...}, whose text may hold newlines\n"
    "\n"
    "  echo 'Где мой заказ?' | bertft tokenize -m models/rubert-tiny2 --tokens\n";

typedef struct command {
    bft_tokenizer *tokenizer;
    bft_encoding encoding;
    bft_source source;
    bft_output output;
    bool tokens; /* not ids */
} command;

static bft_status take(bft_error *err, void *context, char *text, size_t length) {
    command *c = context;
    bft_buffer *out = &c->output.text;
    BFT_TRY(bft_tokenizer_encode(err, c->tokenizer, text, length, NULL, 0, 0, &c->encoding));
    BFT_TRY(bft_buffer_append(err, out, "[", 1));
    for (size_t i = 0; i < c->encoding.count; i++) {
        BFT_TRY(bft_buffer_append(err, out, ", ", i > 0 ? 2 : 0));
        const char *token = c->tokens ? bft_tokenizer_token(c->tokenizer, c->encoding.ids[i]) : NULL;
        BFT_TRY(token != NULL ? bft_json_quote(err, out, token, strlen(token))
                              : bft_buffer_printf(err, out, "%lu", (unsigned long)c->encoding.ids[i]));
    }
    BFT_TRY(bft_buffer_append(err, out, "]\n", 2));
    return bft_output_drain(err, &c->output);
}

/* Every text is answered when it is taken. */
static bft_status settle(bft_error *err, void *context) {
    (void)err;
    (void)context;
    return BFT_OK;
}

bft_status bft_command_tokenize(bft_error *err, int argc, char **argv) {
    const char *model = NULL, *input = NULL, *folder;
    command c = {0};
    const bft_option options[] = {
        {"-m", NULL, &model, NULL}, {"--tokens", &c.tokens, NULL, NULL}, {"--input", NULL, &input, bft_source_inputs}};
    const bft_usage usage = {.name = "tokenize", .options = options, .option_count = sizeof options / sizeof *options};
    bft_arguments arguments;
    BFT_TRY(bft_options_parse(err, &usage, argc, argv, &arguments));
    if (arguments.help) {
        return bft_output_print(err, help);
    }
    BFT_TRY(bft_output_open(err, &c.output));
    BFT_TRY(bft_folder_find(err, model, &folder));
    bft_status status = bft_tokenizer_open(err, &c.tokenizer, folder);
    if (status == BFT_OK) {
        status = bft_source_open(err, &c.source, NULL, input, LONGEST_LINE);
    }
    if (status == BFT_OK) {
        status = bft_source_read(err, &c.source, &c.output, &(bft_reader){&c, take, settle});
    }
    bft_encoding_free(&c.encoding);
    bft_tokenizer_destroy(c.tokenizer);
    bft_source_close(&c.source);
    bft_output_free(&c.output);
    return status;
}
