/* yaml.c: libyaml's events to a tree of nodes, within limits. Anchors, aliases, merge keys, foreign tags and
 * several documents are refused: a configuration needs none of them, and a bomb is built of them. */
#include "config/node.h"
#include "config/schema.h"

#include <string.h>
#include <yaml.h>

enum { NODES_MAX = 65536, ENTRIES_MAX = 4096 };

typedef struct reader {
    yaml_parser_t parser;
    bft_error *err;
    bft_arena *arena;
    const char *name, *text;
    size_t length, nodes;
} reader;

/* The line of a byte: libyaml's decoder counts only bytes. */
static size_t line_of(const reader *r, size_t offset) {
    size_t line = 1;
    for (size_t i = 0; i < offset && i < r->length; i++) {
        line += r->text[i] == '\n';
    }
    return line;
}

static bft_status next_event(reader *r, yaml_event_t *event) {
    const yaml_parser_t *p = &r->parser;
    if (yaml_parser_parse(&r->parser, event)) {
        return BFT_OK;
    }
    if (p->error == YAML_MEMORY_ERROR) {
        return bft_error_memory(r->err, r->length);
    }
    if (p->error == YAML_READER_ERROR) {
        return bft_error_set(r->err, BFT_BAD, "%s:%zu: %s; a configuration is UTF-8 text", r->name,
                             line_of(r, p->problem_offset), p->problem);
    }
    return bft_error_set(r->err, BFT_BAD, "%s:%zu: %s%s%s", r->name, p->problem_mark.line + 1, p->problem,
                         p->context == NULL ? "" : " ", p->context == NULL ? "" : p->context);
}

static bft_status refuse(reader *r, const yaml_event_t *event, const char *message) {
    return bft_error_set(r->err, BFT_BAD, "%s:%zu: %s", r->name, event->start_mark.line + 1, message);
}

/* Brings a scalar to the type that its tag names; only YAML's core tags are known. */
static bft_status apply_tag(reader *r, const yaml_event_t *event, bft_node *node) {
    static const struct {
        const char *tag;
        unsigned types;
    } core[] = {{YAML_STR_TAG, BFT_TYPE_STRING},
                {YAML_NULL_TAG, BFT_TYPE_NULL},
                {YAML_BOOL_TAG, BFT_TYPE_BOOL},
                {YAML_INT_TAG, BFT_TYPE_INT},
                {YAML_FLOAT_TAG, BFT_TYPE_FLOAT | BFT_TYPE_INT}};
    const char *tag = (const char *)event->data.scalar.tag;
    for (size_t i = 0; i < sizeof core / sizeof core[0]; i++) {
        if (strcmp(tag, core[i].tag) != 0) {
            continue;
        }
        node->quoted = core[i].types == BFT_TYPE_STRING;
        if (node->quoted) {
            node->type = BFT_TYPE_STRING;
        } else {
            bft_node_resolve(node);
        }
        if ((node->type & core[i].types) == 0) {
            return refuse(r, event, "the value doesn't fit its tag; leave the tag out");
        }
        if (core[i].types & BFT_TYPE_FLOAT) {
            node->type = BFT_TYPE_FLOAT;
        }
        return BFT_OK;
    }
    return refuse(r, event, "only the tags !!str !!int !!float !!bool !!null are known; leave the tag out");
}

static bft_status read_scalar(reader *r, const yaml_event_t *event, bft_node *node) {
    const char *text = (const char *)event->data.scalar.value;
    size_t length = event->data.scalar.length;
    if (memchr(text, '\0', length) != NULL) {
        return refuse(r, event, "a string must not hold NUL characters");
    }
    char *copy;
    BFT_TRY(bft_arena_string(r->err, r->arena, text, length, &copy));
    node->text = copy;
    if (event->data.scalar.tag != NULL) {
        return apply_tag(r, event, node);
    }
    node->type = BFT_TYPE_STRING;
    node->quoted = !event->data.scalar.plain_implicit;
    if (!node->quoted) {
        bft_node_resolve(node);
    }
    return BFT_OK;
}

static bft_status read_node(reader *r, const yaml_event_t *event, size_t depth, bft_node **out);

static bft_status check_key(reader *r, const yaml_event_t *event, const bft_node *map, const bft_node *key) {
    if ((key->type & (BFT_TYPE_LIST | BFT_TYPE_MAP)) != 0) {
        return refuse(r, event, "a key must be a plain name");
    }
    if (strcmp(key->text, "<<") == 0 && !key->quoted) {
        return refuse(r, event, "merge keys (<<) are not supported; use _BASE_ files");
    }
    if (map->count == ENTRIES_MAX) {
        return refuse(r, event, "too many keys in one map");
    }
    for (const bft_node *other = map->first; other != NULL; other = other->next->next) {
        if (strcmp(other->text, key->text) == 0) {
            return bft_error_set(r->err, BFT_BAD, "%s:%zu: duplicate key %s; it stands in line %zu already", r->name,
                                 key->line, key->text, other->line);
        }
    }
    return BFT_OK;
}

/* The children of a list or map up to its end event. A map's children are keys and values by turns. */
static bft_status read_children(reader *r, bft_node *parent, yaml_event_type_t end, size_t depth) {
    bft_node *key = NULL;
    for (;;) {
        yaml_event_t event;
        BFT_TRY(next_event(r, &event));
        if (event.type == end) {
            yaml_event_delete(&event);
            return BFT_OK;
        }
        bft_node *child = NULL;
        bft_status status = read_node(r, &event, depth, &child);
        if (status == BFT_OK && parent->type == BFT_TYPE_MAP && key == NULL) {
            status = check_key(r, &event, parent, child);
        }
        yaml_event_delete(&event);
        BFT_TRY(status);
        if (parent->type == BFT_TYPE_MAP && key == NULL) {
            key = child; /* joins the map with its value: check_key walks whole entries */
            continue;
        }
        if (key != NULL) {
            bft_node_append(parent, key);
            key = NULL;
        }
        bft_node_append(parent, child);
        parent->count++;
    }
}

static bft_status read_collection(reader *r, const yaml_event_t *event, size_t depth, bft_node *node) {
    bool is_map = event->type == YAML_MAPPING_START_EVENT;
    const yaml_char_t *tag = is_map ? event->data.mapping_start.tag : event->data.sequence_start.tag;
    if (tag != NULL && strcmp((const char *)tag, is_map ? YAML_MAP_TAG : YAML_SEQ_TAG) != 0) {
        return refuse(r, event, "only the tags !!map and !!seq are known here; leave the tag out");
    }
    if (depth == BFT_NODE_DEPTH) {
        return refuse(r, event, "the nesting is too deep");
    }
    node->type = is_map ? BFT_TYPE_MAP : BFT_TYPE_LIST;
    return read_children(r, node, is_map ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT, depth + 1);
}

static bft_status read_node(reader *r, const yaml_event_t *event, size_t depth, bft_node **out) {
    const yaml_char_t *anchor = event->type == YAML_SCALAR_EVENT           ? event->data.scalar.anchor
                                : event->type == YAML_SEQUENCE_START_EVENT ? event->data.sequence_start.anchor
                                : event->type == YAML_MAPPING_START_EVENT  ? event->data.mapping_start.anchor
                                                                           : NULL;
    if (event->type == YAML_ALIAS_EVENT || anchor != NULL) {
        return refuse(r, event, "anchors and aliases (& and *) are not supported; use _BASE_ files, or quote the text");
    }
    if (++r->nodes > NODES_MAX) {
        return refuse(r, event, "more values than a configuration can need");
    }
    BFT_TRY(bft_node_create(r->err, r->arena, BFT_TYPE_NULL, event->start_mark.line + 1, out));
    return event->type == YAML_SCALAR_EVENT ? read_scalar(r, event, *out) : read_collection(r, event, depth, *out);
}

/* The stream: its start, at most one document, its end. */
static bft_status read_stream(reader *r, bft_node **out) {
    bool more = true;
    while (more) {
        yaml_event_t event;
        BFT_TRY(next_event(r, &event));
        bft_status status = BFT_OK;
        switch (event.type) {
        case YAML_STREAM_END_EVENT:
            more = false;
            break;
        case YAML_STREAM_START_EVENT:
        case YAML_DOCUMENT_END_EVENT:
            break;
        case YAML_DOCUMENT_START_EVENT:
            if (*out != NULL) {
                status = refuse(r, &event, "a second document begins here; a configuration is one document");
            }
            break;
        default:
            status = read_node(r, &event, 0, out);
        }
        yaml_event_delete(&event);
        BFT_TRY(status);
    }
    return BFT_OK;
}

bft_status bft_yaml_parse(bft_error *err, bft_arena *arena, const char *name, const char *text, size_t length,
                          bft_node **out) {
    reader r = {.err = err, .arena = arena, .name = name, .text = text, .length = length};
    *out = NULL;
    if (!yaml_parser_initialize(&r.parser)) {
        return bft_error_memory(err, sizeof r.parser);
    }
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, length);
    bft_status status = read_stream(&r, out);
    yaml_parser_delete(&r.parser);
    return status;
}
