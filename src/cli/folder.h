/* folder.h: what the commands that run a finished model begin with: its folder, its configuration, the backend. */
#ifndef BFT_CLI_FOLDER_H
#define BFT_CLI_FOLDER_H

#include "bertft/config.h"
#include "bertft/error.h"
#include "bertft/model.h"
#include "cli/options.h"

/* The folder of a run or a Hugging Face model; NULL: checkpoints/latest, the newest run, or, before there is one,
 * checkpoints/mini-ru-tone, which ships. The path lives as long as `given`. */
bft_status bft_folder_find(bft_error *err, const char *given, const char **folder);

/* The run's frozen config.yaml where the folder has one, DEVICE.* set back, then the command line's pairs and
 * options. `folder` NULL: the defaults. */
bft_status bft_folder_configure(bft_error *err, bft_config **config, const char *folder,
                                const bft_arguments *arguments);

/* The command line's pairs, and its options for DEVICE.*, over a configuration. */
bft_status bft_folder_merge(bft_error *err, bft_config *config, const bft_arguments *arguments);

/* The backend that the configuration and the options ask for; with --profile its ops are timed. Precision: TRAIN.PRECISION for
 * `training`, else --precision, or fp32, whatever the run was trained in: those who read it afterwards may have no such card. */
bft_status bft_folder_backend(bft_error *err, bft_backend *backend, const bft_config *config,
                              const bft_arguments *arguments, bool training);

#endif
