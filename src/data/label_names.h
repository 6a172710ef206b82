/* label_names.h: names of numeric labels (DATA.LABEL_NAMES): a list, or a file. */
#ifndef BFT_DATA_LABEL_NAMES_H
#define BFT_DATA_LABEL_NAMES_H

#include "bertft/config.h"
#include "data/names.h"

/* Names by id. A string is the path of a file: a name a line, the line number from 0 being the id, or lines `ID:
 * name` with ids from 0 on. `names` stays empty where the key is null. */
bft_status bft_label_names_read(bft_error *err, bft_names *names, const bft_config *config);

#endif
