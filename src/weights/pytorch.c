/* pytorch.c: pytorch_model.bin in both of its formats: where the pickle is, and where the storages that it names are.
 *
 * Zip, since PyTorch 1.6: NAME/data.pkl, and a member NAME/data/KEY for each storage. Legacy: five pickles in a row (a
 * magic number, the version, the system, the state dict, the keys), then for each key a 64-bit length in elements and
 * the data. */
#include "weights/pytorch.h"

#include "weights/little.h"
#include "weights/zip.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Data that can't be mapped is copied: misaligned or strided storages, deflated members. Several tensors may share a
 * storage, and weights don't shrink much when packed, so honest files stay far below this multiple of their own size. */
enum { COPY_FACTOR = 4, COPY_FREE = 16 << 20 };

/* The magic number 0x1950a86a20f9469cfc6c as a pickle of its own. */
static const unsigned char legacy_magic[] = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46,
                                             0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e};
enum { LEGACY_VERSION = 1001 };

static bool starts_with(const bft_map *map, const void *bytes, size_t length) {
    return map->size >= length && memcmp(map->data, bytes, length) == 0;
}

static bool is_zip(const bft_map *map) {
    return starts_with(map, "PK\3\4", 4);
}

bool bft_pytorch_recognize(const bft_map *map) {
    return is_zip(map) || starts_with(map, legacy_magic, sizeof legacy_magic);
}

/* ---- Storages ---- */

bft_status bft_pytorch_charge(bft_error *err, bft_pytorch *file, size_t size) {
    if (size > file->copy_limit - file->copied) {
        return bft_error_set(err, BFT_BAD, "%s: asks for %zu more bytes of memory than a file of %zu bytes may",
                             file->map->path, size, file->map->size);
    }
    file->copied += size;
    return BFT_OK;
}

bft_status bft_pytorch_alloc(bft_error *err, bft_pytorch *file, bft_arena *arena, size_t size, void **out) {
    BFT_TRY(bft_pytorch_charge(err, file, size));
    return bft_arena_alloc(err, arena, size, 1, out);
}

static int compare_keys(const void *a, const void *b) {
    return bft_string_compare((*(bft_storage *const *)a)->key, (*(bft_storage *const *)b)->key);
}

bft_status bft_pytorch_link(bft_error *err, bft_pytorch *file) {
    size_t count = 0;
    for (const bft_storage *s = file->references; s != NULL; s = s->next) {
        count++;
    }
    bft_storage **sorted;
    BFT_TRY(BFT_NEW(err, &file->scratch, &sorted, count));
    count = 0;
    for (bft_storage *s = file->references; s != NULL; s = s->next) {
        sorted[count++] = s;
    }
    if (count > 0) {
        qsort(sorted, count, sizeof *sorted, compare_keys);
    }
    file->roots = sorted; /* the roots move to its front */
    file->root_count = 0;
    for (size_t i = 0; i < count; i++) {
        bft_storage *s = sorted[i];
        if (file->root_count == 0 || compare_keys(&sorted[file->root_count - 1], &s) != 0) {
            sorted[file->root_count++] = s;
        }
        s->root = sorted[file->root_count - 1];
        if (s->type != s->root->type || s->count != s->root->count) {
            return bft_error_set(err, BFT_BAD, "%s: storage \"%.*s\" is named with two types or two lengths",
                                 file->map->path, (int)s->key.length, s->key.bytes);
        }
        size_t size;
        if (__builtin_mul_overflow(s->count, s->type->size, &size)) {
            return bft_error_set(err, BFT_BAD, "%s: storage \"%.*s\": its size overflows", file->map->path,
                                 (int)s->key.length, s->key.bytes);
        }
    }
    return BFT_OK;
}

bft_storage *bft_pytorch_root(const bft_pytorch *file, bft_string key) {
    const bft_storage wanted = {.key = key};
    const bft_storage *pointer = &wanted;
    bft_storage **found = file->root_count == 0
                              ? NULL
                              : bsearch(&pointer, file->roots, file->root_count, sizeof *file->roots, compare_keys);
    return found == NULL ? NULL : *found;
}

bft_status bft_pytorch_place(bft_error *err, bft_pytorch *file, bft_storage *root, const unsigned char *bytes) {
    root->data = bytes;
    root->mapped = true;
    if (root->type->readable && !bft_data_aligned(bytes, root->type->size)) {
        void *copy;
        BFT_TRY(bft_pytorch_alloc(err, file, &file->weights->arena, root->count * root->type->size, &copy));
        memcpy(copy, bytes, root->count * root->type->size);
        root->data = copy;
        root->mapped = false;
    }
    return BFT_OK;
}

/* ---- The zip format ---- */

/* NAME is what stands before "/data.pkl". */
static bft_status find_name(bft_error *err, const bft_pytorch *file, const bft_zip *zip, bft_string *out) {
    static const char end[] = "/data.pkl";
    size_t end_length = sizeof end - 1, found = 0;
    for (size_t i = 0; i < zip->count; i++) {
        bft_string member = {zip->members[i].name, zip->members[i].name_length};
        if (member.length > end_length && memcmp(member.bytes + member.length - end_length, end, end_length) == 0 &&
            memchr(member.bytes, '/', member.length - end_length) == NULL) {
            *out = (bft_string){member.bytes, member.length - end_length};
            found++;
        }
    }
    return found == 1
               ? BFT_OK
               : bft_error_set(err, BFT_BAD, "%s: a zip archive with %zu members NAME/data.pkl; torch.save writes one",
                               file->map->path, found);
}

static const bft_zip_member *find_member(const bft_zip *zip, bft_string name, const char *what, bft_string key) {
    char path[1024];
    int length =
        snprintf(path, sizeof path, "%.*s/%s%.*s", (int)name.length, name.bytes, what, (int)key.length, key.bytes);
    return length < 0 || (size_t)length >= sizeof path ? NULL : bft_zip_find(zip, path, (size_t)length);
}

/* A member's bytes, in the mapping or unpacked into `arena`. */
static bft_status member_bytes(bft_error *err, bft_pytorch *file, const bft_zip *zip, const bft_zip_member *member,
                               bft_arena *arena, const unsigned char **out) {
    *out = member->data;
    if (!member->deflated) {
        return BFT_OK;
    }
    void *unpacked;
    BFT_TRY(bft_pytorch_alloc(err, file, arena, member->size, &unpacked));
    *out = unpacked;
    return bft_zip_inflate(err, zip, member, unpacked);
}

static bft_status check_byte_order(bft_error *err, bft_pytorch *file, const bft_zip *zip, bft_string name) {
    const bft_zip_member *member = find_member(zip, name, "byteorder", (bft_string){"", 0});
    if (member == NULL) { /* before PyTorch 2.1 */
        return BFT_OK;
    }
    const unsigned char *bytes;
    BFT_TRY(member_bytes(err, file, zip, member, &file->scratch, &bytes));
    if (!bft_string_is((bft_string){(const char *)bytes, member->size}, "little")) {
        return bft_error_set(err, BFT_BAD, "%s: its byte order is not little; save it again on a little-endian machine",
                             file->map->path);
    }
    return BFT_OK;
}

static bft_status place_member(bft_error *err, bft_pytorch *file, const bft_zip *zip, bft_string name,
                               bft_storage *root) {
    const bft_zip_member *member = find_member(zip, name, "data/", root->key);
    if (member == NULL || member->size != root->count * root->type->size) {
        return bft_error_set(err, BFT_BAD, "%s: storage \"%.*s\" of %zu elements (torch.%s) %s", file->map->path,
                             (int)root->key.length, root->key.bytes, root->count, root->type->name,
                             member == NULL ? "is not in the archive" : "has another size in the archive");
    }
    if (!root->type->readable) {
        return BFT_OK;
    }
    const unsigned char *bytes;
    BFT_TRY(member_bytes(err, file, zip, member, &file->weights->arena, &bytes));
    BFT_TRY(bft_pytorch_place(err, file, root, bytes));
    root->mapped = root->mapped && !member->deflated;
    return BFT_OK;
}

static bft_status read_zip(bft_error *err, bft_pytorch *file) {
    bft_zip zip;
    bft_string name;
    BFT_TRY(bft_zip_open(err, &zip, file->map, &file->scratch));
    BFT_TRY(find_name(err, file, &zip, &name));
    BFT_TRY(check_byte_order(err, file, &zip, name));
    const bft_zip_member *member = find_member(&zip, name, "data.pkl", (bft_string){"", 0});
    if (member == NULL) {
        return bft_error_set(err, BFT_BAD, "%s: the name of the archive's folder is too long", file->map->path);
    }
    const unsigned char *pickle;
    BFT_TRY(member_bytes(err, file, &zip, member, &file->scratch, &pickle));
    bft_value *state;
    size_t position = 0;
    BFT_TRY(bft_pickle_read(err, &file->scratch, file->map->path, pickle, member->size, &position, &file->references,
                            &state));
    BFT_TRY(bft_pytorch_link(err, file));
    for (size_t i = 0; i < file->root_count; i++) {
        BFT_TRY(place_member(err, file, &zip, name, file->roots[i]));
    }
    return bft_pytorch_add_tensors(err, file, state);
}

/* ---- The legacy format ---- */

static bft_status read_pickle(bft_error *err, bft_pytorch *file, size_t *position, bft_storage **storages,
                              bft_value **out) {
    return bft_pickle_read(err, &file->scratch, file->map->path, file->map->data, file->map->size, position, storages,
                           out);
}

/* The two pickles between the magic number and the state dict: the version, and the system that wrote the file. */
static bft_status check_system(bft_error *err, bft_pytorch *file, size_t *position) {
    bft_value *version, *system;
    bft_storage *none = NULL;
    BFT_TRY(read_pickle(err, file, position, &none, &version));
    if (version->kind != BFT_VALUE_INT || version->integer != LEGACY_VERSION) {
        return bft_error_set(err, BFT_BAD, "%s: a legacy PyTorch file of a version other than %d", file->map->path,
                             LEGACY_VERSION);
    }
    BFT_TRY(read_pickle(err, file, position, &none, &system));
    const bft_value *little = system->kind == BFT_VALUE_DICT ? bft_value_lookup(system, "little_endian") : NULL;
    if (little == NULL || little->kind != BFT_VALUE_BOOL || little->integer != 1) {
        return bft_error_set(err, BFT_BAD, "%s: its byte order is not little; save it again on a little-endian machine",
                             file->map->path);
    }
    return BFT_OK;
}

/* Takes one storage, a length and its data, from the file. */
static bft_status take_storage(bft_error *err, bft_pytorch *file, const bft_value *key, size_t *position) {
    const bft_map *map = file->map;
    bft_storage *root = key->kind == BFT_VALUE_STRING ? bft_pytorch_root(file, key->string) : NULL;
    if (root == NULL || root->data != NULL) {
        return bft_error_set(err, BFT_BAD, "%s: its list of storages has a key that no tensor uses, or one twice",
                             map->path);
    }
    size_t left = map->size - *position;
    if (left < 8 || bft_little(map->data + *position, 8) != root->count || root->count * root->type->size > left - 8) {
        return bft_error_set(err, BFT_BAD, "%s: byte %zu: storage \"%.*s\" of %zu elements is expected here", map->path,
                             *position, (int)root->key.length, root->key.bytes, root->count);
    }
    BFT_TRY(bft_pytorch_place(err, file, root, map->data + *position + 8));
    *position += 8 + root->count * root->type->size;
    return BFT_OK;
}

static bft_status read_legacy(bft_error *err, bft_pytorch *file) {
    size_t position = sizeof legacy_magic;
    bft_value *state, *keys;
    bft_storage *none = NULL;
    BFT_TRY(check_system(err, file, &position));
    BFT_TRY(read_pickle(err, file, &position, &file->references, &state));
    BFT_TRY(bft_pytorch_link(err, file));
    BFT_TRY(read_pickle(err, file, &position, &none, &keys));
    if (keys->kind != BFT_VALUE_LIST || keys->items.count != file->root_count) {
        return bft_error_set(err, BFT_BAD, "%s: its list of storages is not the list of those that the tensors use",
                             file->map->path);
    }
    for (size_t i = 0; i < keys->items.count; i++) {
        BFT_TRY(take_storage(err, file, keys->items.at[i], &position));
    }
    return bft_pytorch_add_tensors(err, file, state);
}

bft_status bft_pytorch_read(bft_error *err, bft_weights *weights, const bft_map *map) {
    bft_pytorch file = {.weights = weights, .map = map};
    file.copy_limit = map->size * COPY_FACTOR + COPY_FREE;
    bft_status status = is_zip(map) ? read_zip(err, &file) : read_legacy(err, &file);
    bft_arena_free(&file.scratch);
    return status;
}
