/* main.c: finds the command, prints the one line of a failure, and makes the exit code of it. */
#include "cli/commands.h"

#include "base/distance.h"
#include "base/file.h"

#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct command {
    const char *name;
    bft_status (*run)(bft_error *err, int argc, char **argv);
    const char *does;
} command;

static const command commands[] = {
    {"train", bft_command_train, "fine-tune a model as a configuration says; --resume goes on"},
    {"pretrain", bft_command_pretrain, "train a language model on texts alone; --resume goes on"},
    {"eval", bft_command_eval, "measure a run on its test split or a file"},
    {"predict", bft_command_predict, "read the tone of dialogues or lines"},
    {"embed", bft_command_embed, "vectors of lines"},
    {"tokenize", bft_command_tokenize, "token ids of lines"},
    {"vocab", bft_command_vocab, "learn a vocabulary from text"},
    {"import", bft_command_import, "any Hugging Face folder into our form"},
    {"export", bft_command_export, "a run into a folder that transformers opens"},
    {"info", bft_command_info, "about a model, a run, or this machine"},
    {"config", bft_command_config, "the default configuration, with documentation"},
};

enum { COMMANDS = sizeof commands / sizeof *commands };

static void print_help(void) {
    puts("bertft: trains BERT encoders and reads the tone of support dialogues\n\nusage: bertft COMMAND "
         "[ARGUMENTS]\n");
    for (size_t i = 0; i < COMMANDS; i++) {
        printf("  %-10s %s\n", commands[i].name, commands[i].does);
    }
    puts("\n`bertft COMMAND --help` tells more.\n\n"
         "  bertft train configs/params.yaml\n"
         "  bertft eval\n"
         "  bertft predict < data/dialogs.txt");
}

static bft_status unknown(bft_error *err, const char *word) {
    const char *nearest = NULL;
    size_t smallest = 3; /* farther apart than two letters is another word */
    for (size_t i = 0; i < COMMANDS; i++) {
        size_t distance = bft_edit_distance(word, strlen(word), commands[i].name, strlen(commands[i].name));
        if (distance < smallest) {
            smallest = distance;
            nearest = commands[i].name;
        }
    }
    if (nearest != NULL) {
        return bft_error_set(err, BFT_BAD, "there is no command \"%s\"; did you mean \"%s\"?", word, nearest);
    }
    return bft_error_set(err, BFT_BAD, "there is no command \"%s\"; `bertft --help` lists them", word);
}

static bft_status dispatch(bft_error *err, int argc, char **argv) {
    if (argc < 2) {
        return bft_error_set(err, BFT_BAD, "a command is missing; `bertft --help` lists them");
    }
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        print_help();
        return BFT_OK;
    }
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(word, commands[i].name) == 0) {
            return commands[i].run(err, argc - 1, argv + 1);
        }
    }
    return unknown(err, word);
}

int main(int argc, char **argv) {
    setlocale(LC_CTYPE, "C.UTF-8");
    signal(SIGPIPE, SIG_IGN); /* a reader that goes away shows as a failed write: EPIPE */
    signal(SIGXFSZ, SIG_IGN); /* a file over the limit likewise: EFBIG */
    bft_map_guard_install();
    bft_error err = {0};
    bft_status status = dispatch(&err, argc, argv);
    if (status == BFT_OK && (fflush(stdout) != 0 || ferror(stdout))) {
        status = bft_error_errno(&err, BFT_FAILED, "cannot write the output");
    }
    if (status != BFT_OK) {
        fprintf(stderr, "bertft: error: %s\n", err.message);
    }
    return (int)status;
}
