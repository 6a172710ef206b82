/* config_probe.c: a line in is a JSON string, a configuration value as it is written; a line out says what it
 * means to us: as the value of a key in a YAML file, as the value of a KEY VALUE pair, and whether keys of each
 * type take it, in either place.
 *
 * A value is null, {"b": bool}, {"i": "12"}, {"f": "0x1p-1"}, {"s": "text"}, {"l": [...]}, {"m": [key, value,
 * ...]}, {"big": true} (an int beyond 64 bits) or {"error": "..."}. */
#include "base/lines.h"
#include "config/store.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const keys[] = {"DATA.MULTI_LABEL", "SEED", "OPTIM.WEIGHT_DECAY", "OUTPUT_DIR", "DIALOG.NEGATIVE"};

static json_t *show(const bft_node *node) {
    char text[64];
    switch (node->type) {
    case BFT_TYPE_NULL:
        return json_null();
    case BFT_TYPE_BOOL:
        return json_pack("{s:b}", "b", node->boolean);
    case BFT_TYPE_INT:
        snprintf(text, sizeof text, "%lld", (long long)node->integer);
        return node->huge ? json_pack("{s:b}", "big", 1) : json_pack("{s:s}", "i", text);
    case BFT_TYPE_FLOAT:
        snprintf(text, sizeof text, "%a", node->number);
        return json_pack("{s:s}", "f", text);
    case BFT_TYPE_STRING:
        return json_pack("{s:s}", "s", node->text);
    default:
        break;
    }
    json_t *items = json_array();
    for (const bft_node *item = node->first; item != NULL; item = item->next) {
        json_array_append_new(items, show(item));
    }
    return json_pack("{s:o}", node->type == BFT_TYPE_LIST ? "l" : "m", items);
}

static json_t *in_yaml(const char *text) {
    bft_error err = {0};
    bft_arena arena = {0};
    bft_buffer file = {0};
    bft_node *root = NULL, *value = NULL;
    bft_status status = bft_buffer_printf(&err, &file, "K: %s\n", text);
    status = status != BFT_OK ? status : bft_yaml_parse(&err, &arena, "file", file.data, file.length, &root);
    if (status == BFT_OK && (root->type != BFT_TYPE_MAP || root->count != 1 || strcmp(root->first->text, "K") != 0)) {
        status = bft_error_set(&err, BFT_BAD, "not one key");
    }
    status = status != BFT_OK ? status : bft_plain_parse(&err, &arena, root->first->next, &value);
    json_t *shown = status == BFT_OK ? show(value) : json_pack("{s:s}", "error", err.message);
    bft_buffer_free(&file);
    bft_arena_free(&arena);
    return shown;
}

static json_t *in_pair(const char *text) {
    bft_error err = {0};
    bft_arena arena = {0};
    bft_node *value = NULL;
    bft_status status = bft_pair_parse(&err, &arena, text, &value);
    json_t *shown = status == BFT_OK ? show(value) : json_pack("{s:s}", "error", err.message);
    bft_arena_free(&arena);
    return shown;
}

/* Whether each of `keys` takes the value of a pair. */
static json_t *taken(char *text) {
    json_t *list = json_array();
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        bft_error err = {0};
        bft_config *config;
        char name[BFT_SCHEMA_LONGEST];
        snprintf(name, sizeof name, "%s", keys[i]);
        if (bft_config_create(&err, &config) == BFT_OK) {
            json_array_append_new(
                list, json_boolean(bft_config_merge_pairs(&err, config, 2, (char *[]){name, text}) == BFT_OK));
            bft_config_destroy(config);
        }
    }
    return list;
}

int main(void) {
    bft_error err = {0};
    bft_lines *lines;
    char *line;
    size_t length;
    bool cut, more = true;
    bft_status status = bft_lines_open(&err, &lines, "-", 0);
    while (status == BFT_OK && more) {
        status = bft_lines_next(&err, lines, &line, &length, &cut, &more);
        json_t *text = status == BFT_OK && more ? json_loads(line, JSON_DECODE_ANY, NULL) : NULL;
        if (text != NULL) {
            char *copy = strdup(json_string_value(text));
            json_t *out =
                json_pack("{s:o, s:o, s:o}", "yaml", in_yaml(copy), "pair", in_pair(copy), "taken", taken(copy));
            char *shown = json_dumps(out, JSON_COMPACT);
            puts(shown);
            free(shown);
            free(copy);
            json_decref(out);
            json_decref(text);
        }
    }
    bft_lines_close(lines);
    if (status != BFT_OK) {
        fprintf(stderr, "%s\n", err.message);
    }
    return status;
}
