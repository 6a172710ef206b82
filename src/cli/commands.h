/* commands.h: the commands of bertft, one file each. argv[0] is the command's own name. What a command has to say
 * goes to stdout; a failure is returned, and main.c prints its one line and exits with its status. */
#ifndef BFT_CLI_COMMANDS_H
#define BFT_CLI_COMMANDS_H

#include "bertft/error.h"

bft_status bft_command_train(bft_error *err, int argc, char **argv);
bft_status bft_command_pretrain(bft_error *err, int argc, char **argv);
bft_status bft_command_eval(bft_error *err, int argc, char **argv);
bft_status bft_command_predict(bft_error *err, int argc, char **argv);
bft_status bft_command_embed(bft_error *err, int argc, char **argv);
bft_status bft_command_tokenize(bft_error *err, int argc, char **argv);
bft_status bft_command_vocab(bft_error *err, int argc, char **argv);
bft_status bft_command_import(bft_error *err, int argc, char **argv);
bft_status bft_command_export(bft_error *err, int argc, char **argv);
bft_status bft_command_info(bft_error *err, int argc, char **argv);
bft_status bft_command_config(bft_error *err, int argc, char **argv);

#endif
