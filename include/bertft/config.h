/* config.h: YACS-style configuration: typed defaults in one schema, YAML merged over them, then KEY VALUE pairs,
 * then frozen. */
#ifndef BERTFT_CONFIG_H
#define BERTFT_CONFIG_H

#include "bertft/error.h"
#include "base/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bft_config bft_config;

bft_status bft_config_create(bft_error *err, bft_config **out); /* the defaults of the schema */
void bft_config_destroy(bft_config *config);                    /* NULL is fine */

/* Merges a YAML file over the configuration, its _BASE_ files first (paths relative to the file; fvcore's rule).
 * The merge is atomic: on failure nothing has changed. Unknown keys, wrong types, duplicates and values out of
 * range are errors with file, line and the nearest known key. */
bft_status bft_config_merge_file(bft_error *err, bft_config *config, const char *path);

/* Merges KEY VALUE pairs as YACS's merge_from_list does: a value is a Python or YAML literal, else a string. Atomic. */
bft_status bft_config_merge_pairs(bft_error *err, bft_config *config, size_t count, char *const *words);

/* Values, by their dotted key. Asking for a key that the schema lacks, or with the wrong type, is our own bug:
 * asserts. */
bool bft_config_bool(const bft_config *config, const char *key);
int64_t bft_config_int(const bft_config *config, const char *key);
double bft_config_float(const bft_config *config, const char *key);
/* Of a key that also takes a bool or an int, those as text: DATA.HEADER gives "auto", "true" or "false",
 * DATA.TEXT "text" or "0". "" when unset or a list, so that it tells a path from a list with one path. */
const char *bft_config_string(const bft_config *config, const char *key);

/* List keys, and keys that take a string or a list (a single string is a list of one); empty where the key holds
 * null, and where LOSS.CLASS_WEIGHTS is auto. Items are strings as written. */
size_t bft_config_list_size(const bft_config *config, const char *key);
const char *bft_config_list_at(const bft_config *config, const char *key, size_t index);
/* A numeric list item; the schema has checked that it is a number. */
double bft_config_list_number(const bft_config *config, const char *key, size_t index);

/* Map keys (a taxonomy's label map): pairs in the order of the file; *to is NULL for null. */
size_t bft_config_map_size(const bft_config *config, const char *key);
void bft_config_map_at(const bft_config *config, const char *key, size_t index, const char **from, const char **to);

/* True where the key holds null ("auto" values are plain strings). */
bool bft_config_is_null(const bft_config *config, const char *key);

/* Where the key's value came from, "configs/params.yaml:12" or "KEY VALUE pair" or "default", for error lines. */
const char *bft_config_origin(const bft_config *config, const char *key);

/* The whole configuration as YAML, in the schema's order: reads back to the same values. `doc` adds types and
 * documentation as comments. */
bft_status bft_config_dump(bft_error *err, const bft_config *config, bool doc, bft_buffer *out);

/* Sets the groups and keys whose dotted name starts with `prefix` back to their defaults (DEVICE. is never
 * inherited from a run). */
void bft_config_reset(bft_config *config, const char *prefix);

#endif
