/* tokenize.c: `bertft tokenize`: a line in, a JSON array of ids or tokens out. */
#include "cli/commands.h"

#include "base/json.h"
#include "base/thread.h"
#include "bertft/tokenizer.h"
#include "cli/folder.h"
#include "cli/output.h"
#include "cli/source.h"

#include <string.h>

enum { LONGEST_LINE = 1 << 20, MOST_WAITING = 1 << 20 /* bytes */ };

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
    bft_pool *pool;
    bft_buffer texts, waiting; /* what isn't answered yet: bytes, and a bft_string each */
    bft_encodings encodings;
    bft_source source;
    bft_output output;
    bool tokens; /* not ids */
} command;

static bft_status print_number(bft_error *err, bft_buffer *out, uint32_t number) {
    char digits[10], *at = digits + sizeof digits;
    do {
        *--at = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return bft_buffer_append(err, out, at, (size_t)(digits + sizeof digits - at));
}

static bft_status print(bft_error *err, command *c, struct bft_encoded text) {
    bft_buffer *out = &c->output.text;
    BFT_TRY(bft_buffer_append(err, out, "[", 1));
    for (size_t i = 0; i < text.count; i++) {
        BFT_TRY(bft_buffer_append(err, out, ", ", i > 0 ? 2 : 0));
        const char *token = c->tokens ? bft_tokenizer_token(c->tokenizer, text.ids[i]) : NULL;
        BFT_TRY(token != NULL ? bft_json_quote(err, out, token, strlen(token)) : print_number(err, out, text.ids[i]));
    }
    BFT_TRY(bft_buffer_append(err, out, "]\n", 2));
    return bft_output_drain(err, &c->output);
}

static bft_status settle(bft_error *err, void *context) {
    command *c = context;
    bft_string *texts = (bft_string *)(void *)c->waiting.data;
    size_t count = c->waiting.length / sizeof *texts;
    for (size_t i = 0, at = 0; i < count; at += texts[i++].length) {
        texts[i].data = c->texts.data + at;
    }
    BFT_TRY(bft_tokenizer_encode_all(err, c->tokenizer, c->pool, texts, count, 0, &c->encodings));
    bft_buffer_clear(&c->texts);
    bft_buffer_clear(&c->waiting);
    for (size_t i = 0; i < count; i++) {
        BFT_TRY(print(err, c, c->encodings.texts[i]));
    }
    return BFT_OK;
}

static bft_status take(bft_error *err, void *context, char *text, size_t length) {
    command *c = context;
    bft_string waiting = {.length = length};
    BFT_TRY(bft_buffer_append(err, &c->texts, text, length));
    BFT_TRY(bft_buffer_append(err, &c->waiting, &waiting, sizeof waiting));
    return c->texts.length >= MOST_WAITING || c->waiting.length >= MOST_WAITING ? settle(err, c) : BFT_OK;
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
        status = bft_pool_create(err, &c.pool, 0);
    }
    if (status == BFT_OK) {
        status = bft_source_open(err, &c.source, NULL, input, LONGEST_LINE);
    }
    if (status == BFT_OK) {
        status = bft_source_read(err, &c.source, &c.output, &(bft_reader){&c, take, settle});
    }
    bft_encodings_free(&c.encodings);
    bft_buffer_free(&c.texts);
    bft_buffer_free(&c.waiting);
    bft_pool_destroy(c.pool);
    bft_tokenizer_destroy(c.tokenizer);
    bft_source_close(&c.source);
    bft_output_free(&c.output);
    return status;
}
