/* merge.c: YAML files and KEY VALUE pairs over a configuration. A merge works on a copy of the values and
 * replaces them only when all of it has succeeded. */
#include "base/file.h"
#include "base/utf8.h"
#include "config/store.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    FILE_LIMIT = 1 << 20, /* bytes of a configuration file */
    BASE_DEPTH = 8,       /* files on one chain of _BASE_ */
    BASE_FILES = 64       /* files read by one merge */
};

#define PAIR "KEY VALUE pair"

bft_status bft_pair_parse(bft_error *err, bft_arena *arena, const char *text, bft_node **out) {
    BFT_TRY(bft_python_parse(err, arena, text, 0, out));
    if (*out != NULL) {
        return BFT_OK;
    }
    if (text[0] == '[' || text[0] == '{') {
        bft_status status = bft_yaml_parse(err, arena, PAIR, text, strlen(text), out);
        return status != BFT_BAD
                   ? status
                   : bft_error_set(err, BFT_BAD,
                                   PAIR ": %.60s is neither a Python nor a YAML literal; a string that begins "
                                        "like this needs quotes, inside the shell's own",
                                   text);
    }
    BFT_TRY(bft_node_create(err, arena, BFT_TYPE_STRING, 0, out));
    (*out)->text = text;
    if (text[0] != '\0') {
        bft_node_resolve(*out);
    }
    return BFT_OK;
}

/* A merge in progress. */
typedef struct merge {
    bft_error *err;
    bft_arena *arena;  /* the configuration's */
    bft_arena scratch; /* nodes and file names */
    bft_value *values; /* (bft_schema_count) becomes the configuration's at the end */
    size_t files;
} merge;

/* The files that lead to the one being read, the nearest first. */
typedef struct chain {
    const struct chain *parent;
    struct stat identity; /* device and inode: the same file by any path */
    size_t depth;
} chain;

static bft_status start_merge(merge *m, bft_error *err, bft_config *config) {
    *m = (merge){.err = err, .arena = &config->arena};
    BFT_TRY(BFT_NEW(err, &m->scratch, &m->values, bft_schema_count));
    memcpy(m->values, config->values, bft_schema_count * sizeof *m->values);
    return BFT_OK;
}

static bft_status finish_merge(merge *m, bft_config *config, bft_status status) {
    if (status == BFT_OK) {
        memcpy(config->values, m->values, bft_schema_count * sizeof *m->values);
    }
    bft_arena_free(&m->scratch);
    return status;
}

static bft_status unknown_key(bft_error *err, const char *origin, const char *name) {
    char nearest[BFT_SCHEMA_LONGEST];
    bft_schema_nearest(name, nearest);
    if (strcmp(name, nearest) == 0) { /* "OPTIM.LR: 1" in YAML, where keys nest */
        const char *dot = strchr(name, '.');
        return bft_error_set(err, BFT_BAD, "%s: keys nest in YAML: write %s below %.*s:", origin, dot + 1,
                             (int)(dot - name), name);
    }
    return bft_error_set(err, BFT_BAD, "%s: unknown key %s; the nearest known key is %s", origin, name, nearest);
}

static bft_status make_origin(merge *m, const char *file, size_t line, const char **out) {
    bft_buffer text = {0};
    char *copy = NULL;
    bft_status status = bft_buffer_printf(m->err, &text, "%s:%zu", file, line);
    if (status == BFT_OK) {
        status = bft_arena_string(m->err, m->arena, text.data, text.length, &copy);
    }
    bft_buffer_free(&text);
    *out = copy;
    return status;
}

bft_status bft_plain_parse(bft_error *err, bft_arena *arena, bft_node *node, bft_node **out) {
    *out = NULL;
    if (node->type == BFT_TYPE_STRING && !node->quoted) {
        BFT_TRY(bft_python_parse(err, arena, node->text, node->line, out));
    }
    *out = *out == NULL ? node : *out;
    return BFT_OK;
}

/* One value of a YAML file. */
static bft_status merge_value(merge *m, size_t index, bft_node *node, const char *origin) {
    bft_node *value;
    BFT_TRY(bft_plain_parse(m->err, &m->scratch, node, &value));
    return bft_value_create(m->err, m->arena, &bft_schema[index], value, origin, &m->values[index]);
}

/* The entries of the file's top level (group ""), or of a group. */
static bft_status merge_entries(merge *m, const char *file, const char *group, const bft_node *map) {
    for (const bft_node *key = map->first; key != NULL; key = key->next->next) {
        bft_node *value = key->next;
        bft_buffer name = {0};
        const char *origin;
        if (group[0] == '\0' && strcmp(key->text, "_BASE_") == 0) {
            continue;
        }
        BFT_TRY(make_origin(m, file, key->line, &origin));
        if (group[0] == '\0' && bft_schema_is_group(key->text)) {
            if (value->type != BFT_TYPE_MAP) {
                return bft_error_set(m->err, BFT_BAD, "%s: %s is a group; its keys go below it, indented", origin,
                                     key->text);
            }
            BFT_TRY(merge_entries(m, file, key->text, value));
            continue;
        }
        BFT_TRY(bft_buffer_printf(m->err, &name, "%s%s%s", group, group[0] == '\0' ? "" : ".", key->text));
        bool dotted_at_top = group[0] == '\0' && strchr(key->text, '.') != NULL;
        size_t index = dotted_at_top ? bft_schema_count : bft_schema_find(name.data);
        bft_status status =
            index < bft_schema_count ? merge_value(m, index, value, origin) : unknown_key(m->err, origin, name.data);
        bft_buffer_free(&name);
        BFT_TRY(status);
    }
    return BFT_OK;
}

static bft_status merge_path(merge *m, const char *path, const chain *parent);

/* A _BASE_ path: absolute, in the home folder, or relative to the file that names it. */
static bft_status merge_base(merge *m, const char *file, const bft_node *node, const chain *files) {
    if ((node->type != BFT_TYPE_STRING) || node->text[0] == '\0') {
        return bft_error_set(m->err, BFT_BAD, "%s:%zu: _BASE_ must be a path or a list of paths", file, node->line);
    }
    const char *home = node->text[0] == '~' && node->text[1] == '/' ? getenv("HOME") : NULL;
    const char *slash = strrchr(file, '/');
    bft_buffer path = {0};
    bft_status status;
    if (home != NULL) {
        status = bft_buffer_printf(m->err, &path, "%s%s", home, node->text + 1);
    } else if (node->text[0] == '/' || slash == NULL) {
        status = bft_buffer_printf(m->err, &path, "%s", node->text);
    } else {
        status = bft_buffer_printf(m->err, &path, "%.*s%s", (int)(slash + 1 - file), file, node->text);
    }
    if (status == BFT_OK && !bft_file_exists(path.data)) {
        status = bft_error_set(m->err, BFT_BAD, "%s:%zu: _BASE_ %s does not exist; its path is relative to this file",
                               file, node->line, path.data);
    }
    char *copy = NULL;
    if (status == BFT_OK) {
        status = bft_arena_string(m->err, &m->scratch, path.data, path.length, &copy);
    }
    bft_buffer_free(&path);
    BFT_TRY(status);
    struct stat info = {0};
    bool found = stat(copy, &info) == 0;
    for (const chain *link = files; found && link != NULL; link = link->parent) {
        if (info.st_dev == link->identity.st_dev && info.st_ino == link->identity.st_ino) {
            return bft_error_set(m->err, BFT_BAD, "%s:%zu: _BASE_ %s leads back to itself", file, node->line, copy);
        }
    }
    if (files->depth == BASE_DEPTH || m->files == BASE_FILES) {
        return bft_error_set(m->err, BFT_BAD, "%s:%zu: too many _BASE_ files: at most %d deep and %d in all", file,
                             node->line, BASE_DEPTH, BASE_FILES);
    }
    return merge_path(m, copy, files);
}

static bft_status merge_bases(merge *m, const char *file, const bft_node *root, const chain *files) {
    for (const bft_node *key = root->first; key != NULL; key = key->next->next) {
        if (strcmp(key->text, "_BASE_") != 0) {
            continue;
        }
        if (key->next->type != BFT_TYPE_LIST) {
            return merge_base(m, file, key->next, files);
        }
        for (const bft_node *item = key->next->first; item != NULL; item = item->next) {
            BFT_TRY(merge_base(m, file, item, files));
        }
    }
    return BFT_OK;
}

static bft_status check_extension(bft_error *err, const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash == NULL ? path : slash + 1;
    const char *dot = strrchr(name, '.');
    if (dot == NULL || dot == name || strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0) {
        return BFT_OK;
    }
    return bft_error_set(err, BFT_BAD, "%s: %s", path,
                         strcmp(dot, ".py") == 0 ? "Python configurations are not run; write it as YAML"
                                                 : "a configuration's name ends in .yaml or .yml");
}

/* Reads a file and merges its bases, then itself. */
static bft_status merge_path(merge *m, const char *path, const chain *parent) {
    bft_buffer text = {0};
    bft_node *root = NULL;
    m->files++;
    BFT_TRY(check_extension(m->err, path));
    bft_status status = bft_file_read(m->err, path, FILE_LIMIT, &text);
    if (status == BFT_OK) {
        status = bft_yaml_parse(m->err, &m->scratch, path, text.data, text.length, &root);
    }
    bft_buffer_free(&text);
    BFT_TRY(status);
    if (root == NULL || root->type == BFT_TYPE_NULL) {
        return BFT_OK;
    }
    if (root->type != BFT_TYPE_MAP) {
        return bft_error_set(m->err, BFT_BAD, "%s:%zu: a configuration is a map of keys, like SEED: 42", path,
                             root->line);
    }
    chain files = {.parent = parent, .depth = parent == NULL ? 1 : parent->depth + 1};
    if (stat(path, &files.identity) != 0) {
        return bft_error_errno(m->err, BFT_BAD, "%s: cannot be found any more", path);
    }
    BFT_TRY(merge_bases(m, path, root, &files));
    return merge_entries(m, path, "", root);
}

bft_status bft_config_merge_file(bft_error *err, bft_config *config, const char *path) {
    merge m;
    bft_status status = start_merge(&m, err, config);
    if (status == BFT_OK) {
        status = merge_path(&m, path, NULL);
    }
    return finish_merge(&m, config, status);
}

static bft_status merge_pair(merge *m, size_t count, char *const *words, size_t at) {
    const char *name = words[at], *text = words[at + 1];
    size_t index = bft_schema_find(name);
    bft_node *node = NULL;
    if (bft_schema_is_group(name)) {
        return bft_error_set(m->err, BFT_BAD, PAIR ": %s is a group; give one of its keys, as GROUP.KEY VALUE", name);
    }
    if (index == bft_schema_count) {
        return unknown_key(m->err, PAIR, name);
    }
    for (size_t other = at + 2; other < count; other += 2) {
        if (strcmp(words[other], name) == 0) {
            return bft_error_set(m->err, BFT_BAD, PAIR ": %s is given twice; give it once", name);
        }
    }
    if (!bft_utf8_valid(text, strlen(text))) {
        return bft_error_set(m->err, BFT_BAD, PAIR ": the value of %s is not UTF-8", name);
    }
    BFT_TRY(bft_pair_parse(m->err, &m->scratch, text, &node));
    return bft_value_create(m->err, m->arena, &bft_schema[index], node, PAIR, &m->values[index]);
}

bft_status bft_config_merge_pairs(bft_error *err, bft_config *config, size_t count, char *const *words) {
    if (count % 2 != 0) {
        return bft_error_set(err, BFT_BAD, PAIR ": %s has no value; words after the options come in pairs, KEY VALUE",
                             words[count - 1]);
    }
    merge m;
    bft_status status = start_merge(&m, err, config);
    for (size_t at = 0; at < count && status == BFT_OK; at += 2) {
        status = merge_pair(&m, count, words, at);
    }
    return finish_merge(&m, config, status);
}
