/* safetensors.c: reading safetensors, one file or several with an index.
 *
 * A file is 8 bytes of header length (little endian), the header (a JSON object: name -> dtype, shape, data_offsets),
 * and the data. What the reference implementation refuses is refused here: the tensors must cover the data exactly,
 * without overlaps or holes, each as long as its shape and type say. */
#include "weights/store.h"
#include "base/json.h"
#include "weights/little.h"

#include <stdlib.h>
#include <string.h>

/* A tensor takes some 130 bytes of a header or an index, and the deepest model that config.json may describe (255
 * layers) has 4,100 tensors: 0.5 MB. Parsed JSON takes up to 100 times its size. */
enum { HEADER_LIMIT = 4 << 20, INDEX_LIMIT = 4 << 20, SHARD_LIMIT = 256 };

typedef struct element_type {
    const char *name;
    unsigned bits;
    bool readable; /* as `dtype`; the others are listed without data */
    bft_dtype dtype;
} element_type;

static const element_type element_types[] = {
    {"F32", 32, true, BFT_F32},         {"F16", 16, true, BFT_F16},     {"BF16", 16, true, BFT_BF16},
    {.name = "BOOL", .bits = 8},        {.name = "U8", .bits = 8},      {.name = "I8", .bits = 8},
    {.name = "I16", .bits = 16},        {.name = "U16", .bits = 16},    {.name = "I32", .bits = 32},
    {.name = "U32", .bits = 32},        {.name = "I64", .bits = 64},    {.name = "U64", .bits = 64},
    {.name = "F64", .bits = 64},        {.name = "C64", .bits = 64},    {.name = "F8_E4M3", .bits = 8},
    {.name = "F8_E5M2", .bits = 8},     {.name = "F8_E8M0", .bits = 8}, {.name = "F8_E4M3FNUZ", .bits = 8},
    {.name = "F8_E5M2FNUZ", .bits = 8}, {.name = "F6_E2M3", .bits = 6}, {.name = "F6_E3M2", .bits = 6},
    {.name = "F4", .bits = 4},
};

/* One tensor of the header, before its place is known to be right. */
typedef struct entry {
    const char *name;
    size_t name_length;
    const element_type *type;
    bft_tensor tensor;
    size_t begin, end; /* in the data */
} entry;

/* ---- One entry of the header ---- */

static bool json_size(const json_t *value, size_t *out) {
    if (!json_is_integer(value) || json_integer_value(value) < 0) {
        return false;
    }
    *out = (size_t)json_integer_value(value);
    return true;
}

static const element_type *find_type(const json_t *value) {
    const char *name = json_string_value(value);
    for (size_t i = 0; name != NULL && i < sizeof element_types / sizeof *element_types; i++) {
        if (strcmp(name, element_types[i].name) == 0) {
            return &element_types[i];
        }
    }
    return NULL;
}

static bft_status parse_shape(bft_error *err, const json_t *shape, entry *e) {
    const char *file = e->tensor.file;
    if (!json_is_array(shape) || json_array_size(shape) > BFT_MAX_DIMENSIONS) {
        return bft_error_set(err, BFT_BAD, "%s: tensor \"%s\": \"shape\" must be a list of at most %d sizes", file,
                             e->name, BFT_MAX_DIMENSIONS);
    }
    e->tensor.dimensions = json_array_size(shape);
    for (size_t i = 0; i < e->tensor.dimensions; i++) {
        if (!json_size(json_array_get(shape, i), &e->tensor.shape[i])) {
            return bft_error_set(err, BFT_BAD, "%s: tensor \"%s\": a size in \"shape\" is not a whole number", file,
                                 e->name);
        }
    }
    if (!bft_tensor_measure(&e->tensor)) {
        return bft_error_set(err, BFT_BAD, "%s: tensor \"%s\": the product of its shape overflows", file, e->name);
    }
    return BFT_OK;
}

static bft_status parse_entry(bft_error *err, const json_t *json, entry *e) {
    const char *file = e->tensor.file;
    if (!json_is_object(json)) {
        return bft_error_set(
            err, BFT_BAD, "%s: tensor \"%s\": an object with dtype, shape and data_offsets is expected", file, e->name);
    }
    e->type = find_type(json_object_get(json, "dtype"));
    if (e->type == NULL) {
        const char *name = json_string_value(json_object_get(json, "dtype"));
        return bft_error_set(err, BFT_BAD, "%s: tensor \"%s\": \"dtype\" %s is not a type of safetensors", file,
                             e->name, name == NULL ? "" : name);
    }
    e->tensor.dtype = e->type->dtype;
    BFT_TRY(parse_shape(err, json_object_get(json, "shape"), e));
    const json_t *offsets = json_object_get(json, "data_offsets");
    if (!json_is_array(offsets) || json_array_size(offsets) != 2 || !json_size(json_array_get(offsets, 0), &e->begin) ||
        !json_size(json_array_get(offsets, 1), &e->end) || e->begin > e->end) {
        return bft_error_set(err, BFT_BAD, "%s: tensor \"%s\": \"data_offsets\" must be [begin, end], begin <= end",
                             file, e->name);
    }
    size_t bits;
    if (__builtin_mul_overflow(e->tensor.count, e->type->bits, &bits) || bits % 8 != 0 ||
        bits / 8 != e->end - e->begin) {
        return bft_error_set(
            err, BFT_BAD, "%s: tensor \"%s\": takes %zu bytes of the file, which is not what %zu elements of %s take",
            file, e->name, e->end - e->begin, e->tensor.count, e->type->name);
    }
    return BFT_OK;
}

/* __metadata__ maps strings to strings and is of no use to us. */
static bft_status check_metadata(bft_error *err, const char *file, json_t *metadata) {
    const char *key;
    json_t *value;
    bool fine = json_is_object(metadata);
    json_object_foreach(metadata, key, value) {
        fine = fine && json_is_string(value);
    }
    return fine ? BFT_OK : bft_error_set(err, BFT_BAD, "%s: __metadata__ must map strings to strings", file);
}

/* ---- One file ---- */

static int compare_places(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->begin != y->begin) {
        return x->begin < y->begin ? -1 : 1;
    }
    return (x->end > y->end) - (x->end < y->end);
}

static bft_status add_entry(bft_error *err, bft_weights *weights, entry *e, const unsigned char *data) {
    if (e->type->readable) {
        size_t element = bft_dtype_size(e->tensor.dtype);
        e->tensor.data = data + e->begin;
        e->tensor.mapped = bft_data_aligned(e->tensor.data, element);
        if (!e->tensor.mapped) {
            void *copy;
            BFT_TRY(bft_arena_alloc(err, &weights->arena, e->tensor.count, element, &copy));
            memcpy(copy, e->tensor.data, e->end - e->begin);
            e->tensor.data = copy;
        }
    }
    return bft_weights_add(err, weights, &e->tensor, e->name, e->name_length);
}

/* The tensors, in the order of their places, must follow each other from the first byte of the data to the last. */
static bft_status add_entries(bft_error *err, bft_weights *weights, entry *entries, size_t count,
                              const unsigned char *data, size_t size, const char *file) {
    if (count > 0) {
        qsort(entries, count, sizeof *entries, compare_places);
    }
    size_t reached = 0;
    for (size_t i = 0; i < count; i++) {
        if (entries[i].begin != reached) {
            return bft_error_set(err, BFT_BAD,
                                 "%s: tensor \"%s\": begins at byte %zu of the data, where %zu is expected: "
                                 "tensors may neither overlap nor leave holes",
                                 file, entries[i].name, entries[i].begin, reached);
        }
        reached = entries[i].end;
    }
    if (reached != size) {
        return bft_error_set(err, BFT_BAD, "%s: the tensors take %zu bytes, but the file has %zu bytes of data", file,
                             reached, size);
    }
    for (size_t i = 0; i < count; i++) {
        BFT_TRY(add_entry(err, weights, &entries[i], data));
    }
    return BFT_OK;
}

static bft_status read_header(bft_error *err, bft_weights *weights, const bft_map *map, json_t *header,
                              const unsigned char *data, size_t size, bft_arena *scratch) {
    entry *entries;
    size_t count = 0;
    BFT_TRY(BFT_NEW(err, scratch, &entries, json_object_size(header)));
    const char *name;
    size_t length;
    json_t *value;
    json_object_keylen_foreach(header, name, length, value) {
        if (strcmp(name, "__metadata__") == 0) {
            BFT_TRY(check_metadata(err, map->path, value));
            continue;
        }
        entry *e = &entries[count++];
        *e = (entry){.name = name, .name_length = length, .tensor.file = map->path};
        BFT_TRY(parse_entry(err, value, e));
    }
    return add_entries(err, weights, entries, count, data, size, map->path);
}

bft_status bft_safetensors_read(bft_error *err, bft_weights *weights, const bft_map *map) {
    if (map->size < 8) {
        return bft_error_set(err, BFT_BAD, "%s: holds %zu bytes; a safetensors or PyTorch file is expected", map->path,
                             map->size);
    }
    uint64_t length = bft_little(map->data, 8);
    if (length > map->size - 8 || length == 0 || map->data[8] != '{') {
        return bft_error_set(err, BFT_BAD, "%s: is neither a safetensors nor a PyTorch file, or it is cut short",
                             map->path);
    }
    if (length > HEADER_LIMIT) {
        return bft_error_set(err, BFT_BAD, "%s: has a header of %llu bytes, at most %d are expected", map->path,
                             (unsigned long long)length, HEADER_LIMIT);
    }
    json_t *header;
    const unsigned char *data = map->data + 8 + length;
    BFT_TRY(bft_json_parse(err, map->path, 1, (const char *)map->data + 8, (size_t)length, &header));
    bft_arena scratch = {0};
    bft_status status = read_header(err, weights, map, header, data, map->size - 8 - (size_t)length, &scratch);
    bft_arena_free(&scratch);
    json_decref(header);
    return status;
}

/* ---- Several files with an index ---- */

/* The names of the files in the index, each once, sorted. They may not lead out of the folder. */
static bft_status list_shards(bft_error *err, const char *path, json_t *map, const char **shards, size_t *count) {
    json_t *value;
    const char *name;
    *count = 0;
    json_object_foreach(map, name, value) {
        const char *shard = json_string_value(value);
        if (shard == NULL || strlen(shard) != json_string_length(value) || strchr(shard, '/') != NULL ||
            shard[0] == '\0' || shard[0] == '.') {
            return bft_error_set(err, BFT_BAD, "%s: tensor \"%s\": the name of a file in the same folder is expected",
                                 path, name);
        }
        size_t at = 0;
        while (at < *count && strcmp(shards[at], shard) < 0) {
            at++;
        }
        if (at < *count && strcmp(shards[at], shard) == 0) {
            continue;
        }
        if (*count == SHARD_LIMIT) {
            return bft_error_set(err, BFT_BAD, "%s: names more than %d files", path, SHARD_LIMIT);
        }
        memmove(&shards[at + 1], &shards[at], (*count - at) * sizeof *shards);
        shards[at] = shard;
        ++*count;
    }
    return BFT_OK;
}

/* Reads one file of the index; each tensor in it must be one that the index places there. */
static bft_status read_shard(bft_error *err, bft_weights *weights, const char *index, const json_t *placed,
                             const char *shard, bft_buffer *path) {
    const char *slash = strrchr(index, '/');
    bft_buffer_clear(path);
    BFT_TRY(bft_buffer_append(err, path, index, slash == NULL ? 0 : (size_t)(slash - index) + 1));
    BFT_TRY(bft_buffer_printf(err, path, "%s", shard));
    const bft_map *map;
    size_t first = weights->count;
    BFT_TRY(bft_weights_map(err, weights, path->data, &map));
    BFT_TRY(bft_safetensors_read(err, weights, map));
    for (size_t i = first; i < weights->count; i++) {
        const char *where = json_string_value(json_object_get(placed, weights->tensors[i].name));
        if (where == NULL || strcmp(where, shard) != 0) {
            return bft_error_set(err, BFT_BAD, "%s: tensor \"%s\": %s says that it is %s%s", path->data,
                                 weights->tensors[i].name, index, where == NULL ? "nowhere" : "in ",
                                 where == NULL ? "" : where);
        }
    }
    return BFT_OK;
}

static bft_status read_shards(bft_error *err, bft_weights *weights, const char *path, json_t *placed) {
    const char *shards[SHARD_LIMIT];
    size_t count;
    BFT_TRY(list_shards(err, path, placed, shards, &count));
    bft_buffer shard_path = {0};
    bft_status status = BFT_OK;
    for (size_t i = 0; status == BFT_OK && i < count; i++) {
        status = read_shard(err, weights, path, placed, shards[i], &shard_path);
    }
    bft_buffer_free(&shard_path);
    if (status == BFT_OK && weights->count != json_object_size(placed)) {
        status = bft_error_set(err, BFT_BAD, "%s: names %zu tensors, but its files hold %zu of them", path,
                               json_object_size(placed), weights->count);
    }
    return status;
}

bft_status bft_shards_read(bft_error *err, bft_weights *weights, const char *path) {
    json_t *index;
    BFT_TRY(bft_json_read(err, path, INDEX_LIMIT, &index));
    json_t *placed = json_object_get(index, "weight_map");
    bft_status status = json_is_object(placed)
                            ? read_shards(err, weights, path, placed)
                            : bft_error_set(err, BFT_BAD, "%s: \"weight_map\" must map tensors to files", path);
    json_decref(index);
    return status;
}
