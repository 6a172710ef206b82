/* plugin.h: backends that live in a library of their own, opened at run time, so that one bertft works with and without them. */
#ifndef BFT_KERNELS_PLUGIN_H
#define BFT_KERNELS_PLUGIN_H

#include "kernels/ops.h"

/* The one symbol of such a library: its table of that name, or NULL where there is none, or it was built for another bft_ops
 * (told by its size). */
typedef const bft_ops *bft_plugin_door(const char *name, size_t size_of_ops);
#define BFT_PLUGIN_DOOR "bft_plugin"

/* Opens libbertft_NAME.so, beside the program or in the folder above; "NAME-bf16" is a table of the same library. It stays
 * open. */
bft_status bft_plugin_open(bft_error *err, const char *name, const bft_ops **out);

#endif
