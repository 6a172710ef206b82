/* config.c: a configuration's life and its getters. */
#include "config/store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static bft_status set_defaults(bft_error *err, bft_config *config) {
    bft_arena scratch = {0};
    bft_status status = BFT_NEW(err, &config->arena, &config->presets, bft_schema_count);
    if (status == BFT_OK) {
        status = BFT_NEW(err, &config->arena, &config->values, bft_schema_count);
    }
    for (size_t i = 0; i < bft_schema_count && status == BFT_OK; i++) {
        bft_node *node;
        status = bft_pair_parse(err, &scratch, bft_schema[i].preset, &node);
        if (status == BFT_OK) {
            status = bft_value_create(err, &config->arena, &bft_schema[i], node, "default", &config->presets[i]);
            config->values[i] = config->presets[i];
        }
    }
    bft_arena_free(&scratch);
    return status;
}

bft_status bft_config_create(bft_error *err, bft_config **out) {
    bft_config *config = calloc(1, sizeof *config);
    if (config == NULL) {
        return bft_error_memory(err, sizeof *config);
    }
    bft_status status = set_defaults(err, config);
    if (status != BFT_OK) {
        bft_config_destroy(config);
        return status;
    }
    *out = config;
    return BFT_OK;
}

void bft_config_destroy(bft_config *config) {
    if (config != NULL) {
        bft_arena_free(&config->arena);
        free(config);
    }
}

void bft_config_reset(bft_config *config, const char *prefix) {
    for (size_t i = 0; i < bft_schema_count; i++) {
        if (strncmp(bft_schema[i].name, prefix, strlen(prefix)) == 0) {
            config->values[i] = config->presets[i];
        }
    }
}

/* ---- Getters ---- */

/* The key's value; `types`: what the caller can deal with, which the schema must agree with. */
static const bft_value *get(const bft_config *config, const char *key, unsigned types) {
    size_t index = bft_schema_find(key);
    assert(index < bft_schema_count && "no such key in the schema");
    assert((bft_schema[index].types & types) != 0 && "the schema gives this key another type");
    return &config->values[index];
}

bool bft_config_bool(const bft_config *config, const char *key) {
    const bft_value *value = get(config, key, BFT_TYPE_BOOL);
    assert(value->type == BFT_TYPE_BOOL);
    return value->boolean;
}

int64_t bft_config_int(const bft_config *config, const char *key) {
    const bft_value *value = get(config, key, BFT_TYPE_INT);
    assert(value->type == BFT_TYPE_INT);
    return value->integer;
}

double bft_config_float(const bft_config *config, const char *key) {
    const bft_value *value = get(config, key, BFT_TYPE_FLOAT);
    assert(value->type == BFT_TYPE_FLOAT);
    return value->number;
}

const char *bft_config_string(const bft_config *config, const char *key) {
    return get(config, key, BFT_TYPE_STRING)->text;
}

size_t bft_config_list_size(const bft_config *config, const char *key) {
    return get(config, key, BFT_TYPE_LIST | BFT_TYPE_NUMBERS)->count;
}

const char *bft_config_list_at(const bft_config *config, const char *key, size_t index) {
    const bft_value *value = get(config, key, BFT_TYPE_LIST | BFT_TYPE_NUMBERS);
    assert(index < value->count);
    return value->items[index];
}

double bft_config_list_number(const bft_config *config, const char *key, size_t index) {
    const bft_value *value = get(config, key, BFT_TYPE_NUMBERS);
    assert(index < value->count);
    return value->numbers[index];
}

size_t bft_config_map_size(const bft_config *config, const char *key) {
    return get(config, key, BFT_TYPE_MAP)->count;
}

void bft_config_map_at(const bft_config *config, const char *key, size_t index, const char **from, const char **to) {
    const bft_value *value = get(config, key, BFT_TYPE_MAP);
    assert(index < value->count);
    *from = value->items[2 * index];
    *to = value->items[2 * index + 1];
}

bool bft_config_is_null(const bft_config *config, const char *key) {
    return get(config, key, ~0u)->type == BFT_TYPE_NULL;
}

const char *bft_config_origin(const bft_config *config, const char *key) {
    return get(config, key, ~0u)->origin;
}
