/* profile.h: the table of --profile. */
#ifndef BFT_CLI_PROFILE_H
#define BFT_CLI_PROFILE_H

#include "bertft/model.h"

/* Prints on stderr where the time went since the backend was opened; nothing where its ops weren't timed. */
void bft_profile_print(const bft_backend *backend);

#endif
