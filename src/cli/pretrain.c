/* pretrain.c: `bertft pretrain`. */
#include "cli/commands.h"

#include "cli/training.h"

static const char help[] =
    "usage: bertft pretrain CONFIG [--overwrite] [KEY VALUE]...\n"
    "       bertft pretrain --resume RUN\n"
    "\n"
    "Trains a masked language model on texts without labels, into the folder OUTPUT_DIR: a new one with the "
    "vocabulary\n"
    "PRETRAIN.VOCABULARY and random weights, or MODEL.WEIGHTS on the language of your own texts. DATA.TRAIN are "
    "dialogues or\n"
    "plain lines, or files with a column of text (.csv, .tsv, .jsonl), each perhaps gzipped. `train` then starts from\n"
    "OUTPUT_DIR. Ctrl-C finishes the step and saves; --resume goes on to the same bits.\n"
    "\n"
    "  --overwrite     replace the run that OUTPUT_DIR holds\n"
    "  --resume RUN    go on with a run from its last checkpoint\n"
    "  --threads N     0: all processors\n"
    "  --device D      auto, cpu, cuda, cuda:1; `bertft info` lists what is here\n"
    "  --precision P   fp32 or bf16: TRAIN.PRECISION\n"
    "  --profile       at the end, on stderr: the time of each op, and its share of the machine's peak\n"
    "\n"
    "  bertft pretrain configs/pretrain.yaml DATA.TRAIN chats.txt.gz MODEL.WEIGHTS models/rubert-tiny2\n"
    "  bertft vocab -o words --size 8000 chats.txt.gz\n"
    "  bertft pretrain configs/pretrain.yaml DATA.TRAIN chats.txt.gz PRETRAIN.VOCABULARY words PRETRAIN.LAYERS 3\n"
    "  bertft pretrain --resume runs/pretrain\n"
    "  bertft train configs/params.yaml MODEL.WEIGHTS runs/pretrain\n";

bft_status bft_command_pretrain(bft_error *err, int argc, char **argv) {
    const bft_training training = {.name = "pretrain",
                                   .help = help,
                                   .task = BFT_PRETRAIN,
                                   .next = "`bertft train` fine-tunes it where MODEL.WEIGHTS names this folder",
                                   .example = "configs/pretrain.yaml"};
    return bft_training_command(err, &training, argc, argv);
}
