/* config.c: the command `config`: shows the configuration that `train` would freeze. */
#include "bertft/config.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/output.h"

static const char help[] =
    "usage: bertft config [--doc] [CONFIG] [KEY VALUE]...\n"
    "\n"
    "Prints the configuration as YAML: the defaults, with CONFIG (a YAML file) merged over them, with the pairs\n"
    "merged over that. Checks all of it on the way, so it also tells whether a file is right.\n"
    "\n"
    "  --doc    with each key's documentation and types\n"
    "  --help   this text\n"
    "\n"
    "  bertft config --doc configs/params.yaml OPTIM.LR 3e-5 DATA.TRAIN \"['a.tsv', 'b.tsv']\"\n";

static bft_status print_config(bft_error *err, bft_config *config, const bft_arguments *arguments, bool doc,
                               bft_buffer *text) {
    if (arguments->word_count > 0) {
        BFT_TRY(bft_config_merge_file(err, config, arguments->words[0]));
    }
    BFT_TRY(bft_config_merge_pairs(err, config, arguments->pair_words, arguments->pairs));
    BFT_TRY(bft_config_dump(err, config, doc, text));
    return bft_output_print(err, text->data);
}

bft_status bft_command_config(bft_error *err, int argc, char **argv) {
    bool doc = false;
    const bft_option options[] = {{"--doc", &doc, NULL, NULL}};
    const bft_usage usage = {
        .name = "config", .options = options, .option_count = 1, .pairs = true, .most = 1, .expected = "CONFIG"};
    bft_arguments arguments;
    BFT_TRY(bft_options_parse(err, &usage, argc, argv, &arguments));
    if (arguments.help) {
        return bft_output_print(err, help);
    }
    bft_config *config;
    bft_buffer text = {0};
    BFT_TRY(bft_config_create(err, &config));
    bft_status status = print_config(err, config, &arguments, doc, &text);
    bft_buffer_free(&text);
    bft_config_destroy(config);
    return status;
}
