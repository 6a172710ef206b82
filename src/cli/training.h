/* training.h: what `train` and `pretrain` share: all but their names. */
#ifndef BFT_CLI_TRAINING_H
#define BFT_CLI_TRAINING_H

#include "bertft/train.h"

typedef struct bft_training {
    const char *name, *help;
    bft_task task;
    const char *next;                                    /* what the user may do with the model then */
    const char *example;                                 /* a configuration file */
    bft_status (*done)(bft_error *err, const char *run); /* after a run that has come to its end; NULL: nothing */
} bft_training;

bft_status bft_training_command(bft_error *err, const bft_training *training, int argc, char **argv);

#endif
