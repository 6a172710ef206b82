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
    "usage: bertft tokenize -m DIR [--tokens] [--input text|jsonl] < texts\n"
    "\n"
    "Reads a text a line from stdin and writes its ids as a JSON array, special tokens included, however long it is.\n"
    "\n"
    "  -m DIR            a folder with tokenizer.json or vocab.txt\n"
    "  --tokens          the tokens themselves instead of their ids\n"
    "  --input I         text: a line is a text; jsonl: a line is {\"text\": ...}, whose text may hold newlines\n"
    "\n"
    "  echo 'Где мой заказ?' | bertft tokenize -m models/rubert-tiny2 --tokens\n";

static bft_status append_tokens(bft_error *err, bft_buffer *out, const bft_tokenizer *tokenizer,
                                const bft_encoding *encoding, bool tokens) {
    BFT_TRY(bft_buffer_append(err, out, "[", 1));
    for (size_t i = 0; i < encoding->count; i++) {
        BFT_TRY(bft_buffer_append(err, out, ", ", i > 0 ? 2 : 0));
        const char *token = tokens ? bft_tokenizer_token(tokenizer, encoding->ids[i]) : NULL;
        BFT_TRY(token != NULL ? bft_json_quote(err, out, token, strlen(token))
                              : bft_buffer_printf(err, out, "%lu", (unsigned long)encoding->ids[i]));
    }
    return bft_buffer_append(err, out, "]\n", 2);
}

static bft_status read_all(bft_error *err, bft_source *source, bft_output *output, const bft_tokenizer *tokenizer,
                           bft_encoding *encoding, bool tokens) {
    while (!output->closed) {
        if (bft_source_would_block(source)) {
            BFT_TRY(bft_output_flush(err, output));
        }
        char *text;
        size_t length;
        bool more;
        bft_status status = bft_source_next(err, source, &text, &length, &more);
        if (status != BFT_OK) {
            bft_error later; /* what was read before the bad line is still answered */
            bft_output_flush(&later, output);
            return status;
        }
        if (!more) {
            break;
        }
        BFT_TRY(bft_tokenizer_encode(err, tokenizer, text, length, NULL, 0, 0, encoding));
        BFT_TRY(append_tokens(err, &output->text, tokenizer, encoding, tokens));
        BFT_TRY(bft_output_drain(err, output));
    }
    return bft_output_flush(err, output);
}

bft_status bft_command_tokenize(bft_error *err, int argc, char **argv) {
    const char *model = NULL, *input = NULL, *folder;
    bool tokens = false;
    const bft_option options[] = {
        {"-m", NULL, &model, NULL}, {"--tokens", &tokens, NULL, NULL}, {"--input", NULL, &input, bft_source_inputs}};
    const bft_usage usage = {.name = "tokenize", .options = options, .option_count = sizeof options / sizeof *options};
    bft_arguments arguments;
    BFT_TRY(bft_options_parse(err, &usage, argc, argv, &arguments));
    if (arguments.help) {
        return bft_output_print(err, help);
    }
    bft_output output;
    bft_source source = {0};
    bft_tokenizer *tokenizer = NULL;
    bft_encoding encoding = {0};
    BFT_TRY(bft_output_open(err, &output));
    BFT_TRY(bft_folder_find(err, model, &folder));
    bft_status status = bft_tokenizer_open(err, &tokenizer, folder);
    if (status == BFT_OK) {
        status = bft_source_open(err, &source, NULL, input, LONGEST_LINE);
    }
    if (status == BFT_OK) {
        status = read_all(err, &source, &output, tokenizer, &encoding, tokens);
    }
    bft_encoding_free(&encoding);
    bft_tokenizer_destroy(tokenizer);
    bft_source_close(&source);
    bft_output_free(&output);
    return status;
}
