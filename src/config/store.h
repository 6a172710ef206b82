/* store.h: what a configuration is inside. */
#ifndef BFT_CONFIG_STORE_H
#define BFT_CONFIG_STORE_H

#include "bertft/config.h"
#include "config/value.h"

struct bft_config {
    bft_arena arena;    /* all texts; what a merge replaces stays in it until the end */
    bft_value *values;  /* (bft_schema_count) */
    bft_value *presets; /* (bft_schema_count) the defaults, for bft_config_reset */
};

/* The value of a KEY VALUE pair: Python if it is a literal, YAML if it opens a bracket, else a YAML scalar. */
bft_status bft_pair_parse(bft_error *err, bft_arena *arena, const char *text, bft_node **out);

/* The value of a key in a YAML file. As in YACS, a plain string that is a Python literal is that literal. */
bft_status bft_plain_parse(bft_error *err, bft_arena *arena, bft_node *node, bft_node **out);

#endif
