/* import.c: `bertft import`: any Hugging Face folder into safetensors that map. */
#include "cli/commands.h"

#include "base/log.h"
#include "cli/convert.h"
#include "cli/options.h"
#include "cli/output.h"
#include "infer/sentence.h"

static const char help[] =
    "usage: bertft import SRC DST\n"
    "\n"
    "Reads a Hugging Face folder (BERT or DistilBERT; safetensors or pytorch_model.bin) and writes it to DST as\n"
    "fp32 safetensors, which are mapped instead of read. Training and prediction take SRC as it is, too.\n"
    "\n"
    "  bertft import models/rubert-base-cased-sentence models/sentence\n";

bft_status bft_command_import(bft_error *err, int argc, char **argv) {
    const bft_usage usage = {.name = "import", .least = 2, .most = 2, .expected = "SRC DST"};
    bft_arguments arguments;
    BFT_TRY(bft_options_parse(err, &usage, argc, argv, &arguments));
    if (arguments.help) {
        return bft_output_print(err, help);
    }
    const char *target = arguments.words[1];
    bft_conversion conversion;
    BFT_TRY(bft_conversion_open(err, &conversion, arguments.words[0], target));
    bft_status status = bft_tokenizer_save(err, conversion.tokenizer, target);
    if (status == BFT_OK) {
        status = bft_sentence_copy(err, arguments.words[0], target);
    }
    if (status == BFT_OK) {
        status = bft_model_save(err, conversion.model, BFT_F32, target);
    }
    bft_conversion_close(&conversion);
    BFT_TRY(status);
    bft_log_info("%s: written", target);
    return BFT_OK;
}
