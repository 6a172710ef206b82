/* pickle_torch.c: the names that a state dict's pickle may use, and what each of them means here. Nothing is imported
 * or called: the four "functions" are done by hand, on values. */
#include "weights/pickle.h"
#include "bertft/weights.h" /* BFT_MAX_DIMENSIONS */

#include <string.h>

typedef enum function { ORDERED_DICT, REBUILD_TENSOR, REBUILD_TENSOR_V2, REBUILD_PARAMETER, FUNCTION_COUNT } function;

static const struct {
    const char *module, *name;
} functions[FUNCTION_COUNT] = {
    [ORDERED_DICT] = {"collections", "OrderedDict"},
    [REBUILD_TENSOR] = {"torch._utils", "_rebuild_tensor"},
    [REBUILD_TENSOR_V2] = {"torch._utils", "_rebuild_tensor_v2"},
    [REBUILD_PARAMETER] = {"torch._utils", "_rebuild_parameter"},
};

static const bft_storage_type storage_types[] = {
    {"FloatStorage", 4, true, BFT_F32},         {"HalfStorage", 2, true, BFT_F16},
    {"BFloat16Storage", 2, true, BFT_BF16},     {.name = "DoubleStorage", .size = 8},
    {.name = "LongStorage", .size = 8},         {.name = "IntStorage", .size = 4},
    {.name = "ShortStorage", .size = 2},        {.name = "CharStorage", .size = 1},
    {.name = "ByteStorage", .size = 1},         {.name = "BoolStorage", .size = 1},
    {.name = "ComplexFloatStorage", .size = 8}, {.name = "ComplexDoubleStorage", .size = 16},
};

/* ---- Strings and values ---- */

bool bft_string_is(bft_string string, const char *text) {
    return string.length == strlen(text) && memcmp(string.bytes, text, string.length) == 0;
}

int bft_string_compare(bft_string a, bft_string b) {
    int order = memcmp(a.bytes, b.bytes, a.length < b.length ? a.length : b.length);
    return order != 0 ? order : (a.length > b.length) - (a.length < b.length);
}

bft_value *bft_value_lookup(const bft_value *dict, const char *key) {
    for (size_t i = 0; i + 1 < dict->items.count; i += 2) {
        const bft_value *found = dict->items.at[i];
        if (found->kind == BFT_VALUE_STRING && bft_string_is(found->string, key)) {
            return dict->items.at[i + 1];
        }
    }
    return NULL;
}

bft_status bft_values_append(bft_error *err, bft_arena *arena, bft_values *values, bft_value *value) {
    if (values->count == values->capacity) {
        size_t capacity = values->capacity == 0 ? 8 : values->capacity * 2;
        bft_value **at = NULL;
        BFT_TRY(BFT_NEW(err, arena, &at, capacity));
        if (values->count > 0) {
            memcpy(at, values->at, values->count * sizeof(bft_value *));
        }
        values->at = at;
        values->capacity = capacity;
    }
    values->at[values->count++] = value;
    return BFT_OK;
}

/* ---- Names ---- */

/* A name that isn't on the list ends the reading: it is not looked up, imported or called. */
bft_status bft_torch_global(bft_error *err, bft_string module, bft_string name, bft_value *out) {
    for (int i = 0; i < FUNCTION_COUNT; i++) {
        if (bft_string_is(module, functions[i].module) && bft_string_is(name, functions[i].name)) {
            *out = (bft_value){.kind = BFT_VALUE_FUNCTION, .function = i};
            return BFT_OK;
        }
    }
    for (size_t i = 0; i < sizeof storage_types / sizeof *storage_types; i++) {
        if (bft_string_is(module, "torch") && bft_string_is(name, storage_types[i].name)) {
            *out = (bft_value){.kind = BFT_VALUE_STORAGE_TYPE, .storage_type = &storage_types[i]};
            return BFT_OK;
        }
    }
    return bft_error_set(err, BFT_BAD, "asks for %.*s.%.*s, which has no place in a state dict; nothing was run",
                         (int)module.length, module.bytes, (int)name.length, name.bytes);
}

/* ---- "Calls": the four that a state dict needs, done by hand ---- */

static bool kind_is(bft_value_kind kind, char letter) {
    switch (letter) {
    case 'i':
        return kind == BFT_VALUE_INT;
    case 's':
        return kind == BFT_VALUE_STRING;
    case 't':
        return kind == BFT_VALUE_TUPLE;
    case 'T':
        return kind == BFT_VALUE_TENSOR;
    case 'S':
        return kind == BFT_VALUE_STORAGE;
    default: /* 'Y' */
        return kind == BFT_VALUE_STORAGE_TYPE;
    }
}

/* True where a tuple begins with these kinds; what follows is of no use here. */
static bool kinds_are(const bft_value *tuple, const char *kinds) {
    size_t count = strlen(kinds);
    if (tuple->kind != BFT_VALUE_TUPLE || tuple->items.count < count) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!kind_is(tuple->items.at[i]->kind, kinds[i])) {
            return false;
        }
    }
    return true;
}

/* OrderedDict() or, as Python 2 wrote it, OrderedDict([[key, value], ...]). */
static bft_status call_ordered_dict(bft_error *err, bft_arena *arena, const bft_values *arguments, bft_value *out) {
    static const bft_values nothing;
    *out = (bft_value){.kind = BFT_VALUE_DICT};
    bool fine = arguments->count == 0 || (arguments->count == 1 && arguments->at[0]->kind == BFT_VALUE_LIST);
    const bft_values *pairs = fine && arguments->count == 1 ? &arguments->at[0]->items : &nothing;
    for (size_t i = 0; fine && i < pairs->count; i++) {
        const bft_value *pair = pairs->at[i];
        fine = (pair->kind == BFT_VALUE_LIST || pair->kind == BFT_VALUE_TUPLE) && pair->items.count == 2;
        for (size_t k = 0; fine && k < 2; k++) {
            BFT_TRY(bft_values_append(err, arena, &out->items, pair->items.at[k]));
        }
    }
    return fine ? BFT_OK : bft_error_set(err, BFT_BAD, "OrderedDict takes nothing, or a list of pairs");
}

/* _rebuild_tensor(storage, offset, sizes, strides); v2 adds requires_grad, hooks and metadata. */
static bft_status call_rebuild_tensor(bft_error *err, const bft_value *arguments, bft_value *out) {
    const bft_value *const *at = (const bft_value *const *)arguments->items.at;
    if (!kinds_are(arguments, "Sitt") || at[2]->items.count != at[3]->items.count) {
        return bft_error_set(err, BFT_BAD, "a tensor needs a storage, an offset, sizes and as many strides");
    }
    const bft_values *sizes = &at[2]->items, *strides = &at[3]->items;
    if (sizes->count > BFT_MAX_DIMENSIONS) {
        return bft_error_set(err, BFT_BAD, "a tensor has more than %d dimensions", BFT_MAX_DIMENSIONS);
    }
    for (size_t i = 0; i < sizes->count; i++) {
        if (sizes->at[i]->kind != BFT_VALUE_INT || strides->at[i]->kind != BFT_VALUE_INT) {
            return bft_error_set(err, BFT_BAD, "a size or stride of a tensor is not an integer");
        }
    }
    *out = (bft_value){.kind = BFT_VALUE_TENSOR, .tensor = {at[0]->storage, at[1]->integer, sizes, strides}};
    return BFT_OK;
}

bft_status bft_torch_call(bft_error *err, bft_arena *arena, const bft_value *callee, const bft_value *arguments,
                          bft_value *out) {
    if (callee->kind == BFT_VALUE_STORAGE_TYPE) {
        return bft_error_set(err, BFT_BAD, "calls torch.%s, which a state dict never does", callee->storage_type->name);
    }
    if (callee->kind != BFT_VALUE_FUNCTION || arguments->kind != BFT_VALUE_TUPLE) {
        return bft_error_set(err, BFT_BAD, "calls something that is not a function");
    }
    switch ((function)callee->function) {
    case ORDERED_DICT:
        return call_ordered_dict(err, arena, &arguments->items, out);
    case REBUILD_TENSOR:
    case REBUILD_TENSOR_V2:
        return call_rebuild_tensor(err, arguments, out);
    case REBUILD_PARAMETER: /* (tensor, requires_grad, hooks) */
    default:
        if (!kinds_are(arguments, "T")) {
            return bft_error_set(err, BFT_BAD, "a parameter needs a tensor");
        }
        *out = *arguments->items.at[0];
        return BFT_OK;
    }
}

/* ---- Storages ---- */

/* The legacy format may add None or (key of the view, its begin, its length), in elements. */
static bool read_view(const bft_value *id, bft_storage *storage) {
    if (id->items.count <= 5 || id->items.at[5]->kind == BFT_VALUE_NONE) {
        storage->view_length = storage->count;
        return true;
    }
    const bft_value *view = id->items.at[5];
    if (!kinds_are(view, "sii") || view->items.at[1]->integer < 0 || view->items.at[2]->integer < 0) {
        return false;
    }
    storage->view_begin = (size_t)view->items.at[1]->integer;
    storage->view_length = (size_t)view->items.at[2]->integer;
    return storage->view_begin <= storage->count && storage->view_length <= storage->count - storage->view_begin;
}

/* ("storage", type, key, location, count): the location, a device, is of no interest. */
bft_status bft_torch_storage(bft_error *err, bft_arena *arena, const bft_value *id, bft_storage **out) {
    bft_value *const *at = id->items.at;
    if (!kinds_are(id, "sYssi") || !bft_string_is(at[0]->string, "storage") || at[4]->integer < 0) {
        return bft_error_set(err, BFT_BAD, "a persistent id is not that of a storage");
    }
    BFT_TRY(BFT_NEW(err, arena, out, 1));
    **out = (bft_storage){.type = at[1]->storage_type, .key = at[2]->string, .count = (size_t)at[4]->integer};
    return read_view(id, *out) ? BFT_OK : bft_error_set(err, BFT_BAD, "a view of a storage lies outside of it");
}
