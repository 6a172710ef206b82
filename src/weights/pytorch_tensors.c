/* pytorch_tensors.c: the tensors of a PyTorch state dict: views of storages, by an offset and strides that nobody has
 * checked. Contiguous ones are used where they lie; the others are gathered into a copy. */
#include "weights/pytorch.h"

#include <string.h>

/* A view whose elements are known to lie in its storage. */
typedef struct view {
    bft_tensor tensor;
    size_t offset; /* in elements, from the root's start */
    size_t stride[BFT_MAX_DIMENSIONS];
} view;

/* Fills the shape and the strides; false where a number is negative. */
static bool read_numbers(const bft_value *value, view *v) {
    size_t dimensions = value->tensor.sizes->count;
    v->tensor.dimensions = dimensions;
    for (size_t i = 0; i < dimensions; i++) {
        int64_t size = value->tensor.sizes->at[i]->integer, stride = value->tensor.strides->at[i]->integer;
        if (size < 0 || stride < 0) {
            return false;
        }
        v->tensor.shape[i] = (size_t)size;
        v->stride[i] = (size_t)stride;
    }
    return value->tensor.offset >= 0;
}

/* The last element of a view lies `offset + sum of (size - 1) * stride` behind the start: it must be inside. */
static bool stays_inside(const view *v, size_t offset, size_t length) {
    size_t last = offset;
    for (size_t i = 0; i < v->tensor.dimensions; i++) {
        size_t step;
        if (__builtin_mul_overflow(v->tensor.shape[i] - 1, v->stride[i], &step) ||
            __builtin_add_overflow(last, step, &last)) {
            return false;
        }
    }
    return last < length;
}

static bool is_contiguous(const view *v) {
    size_t expected = 1;
    for (size_t i = v->tensor.dimensions; i-- > 0;) {
        if (v->tensor.shape[i] != 1 && v->stride[i] != expected) {
            return false;
        }
        expected *= v->tensor.shape[i];
    }
    return true;
}

/* Copies the elements of a view, in row-major order. */
static void gather(const view *v, const unsigned char *from, size_t element, unsigned char *to) {
    size_t at[BFT_MAX_DIMENSIONS] = {0}, place = v->offset;
    for (size_t n = 0; n < v->tensor.count; n++) {
        memcpy(to + n * element, from + place * element, element);
        for (size_t i = v->tensor.dimensions; i-- > 0;) {
            place += v->stride[i];
            if (++at[i] < v->tensor.shape[i]) {
                break;
            }
            place -= v->stride[i] * v->tensor.shape[i];
            at[i] = 0;
        }
    }
}

static bft_status add_data(bft_error *err, bft_pytorch *file, const bft_storage *root, view *v) {
    size_t element = root->type->size, bytes;
    v->tensor.dtype = root->type->dtype;
    if (v->tensor.count == 0 || is_contiguous(v)) {
        v->tensor.data = root->data + (v->tensor.count == 0 ? 0 : v->offset * element);
        v->tensor.mapped = root->mapped;
        return BFT_OK;
    }
    void *copy;
    if (__builtin_mul_overflow(v->tensor.count, element, &bytes)) {
        return bft_error_memory(err, SIZE_MAX);
    }
    BFT_TRY(bft_pytorch_alloc(err, file, &file->weights->arena, bytes, &copy));
    gather(v, root->data, element, copy);
    v->tensor.data = copy;
    return BFT_OK;
}

static bft_status add_tensor(bft_error *err, bft_pytorch *file, bft_string name, const bft_value *value) {
    const bft_storage *storage = value->tensor.storage;
    const char *path = file->map->path;
    view v = {.tensor.file = path};
    if (!read_numbers(value, &v)) {
        return bft_error_set(err, BFT_BAD, "%s: tensor \"%.*s\": a size, stride or offset is negative", path,
                             (int)name.length, name.bytes);
    }
    if (!bft_tensor_measure(&v.tensor)) {
        return bft_error_set(err, BFT_BAD, "%s: tensor \"%.*s\": the product of its shape overflows", path,
                             (int)name.length, name.bytes);
    }
    size_t offset = (size_t)value->tensor.offset;
    if (v.tensor.count > 0 && !stays_inside(&v, offset, storage->view_length)) {
        return bft_error_set(err, BFT_BAD, "%s: tensor \"%.*s\": reaches beyond its storage of %zu elements", path,
                             (int)name.length, name.bytes, storage->view_length);
    }
    v.offset = storage->view_begin + offset;
    if (storage->type->readable) {
        BFT_TRY(add_data(err, file, storage->root, &v));
    }
    BFT_TRY(bft_pytorch_charge(err, file, name.length)); /* one long string may name many tensors */
    return bft_weights_add(err, file->weights, &v.tensor, name.bytes, name.length);
}

bft_status bft_pytorch_add_tensors(bft_error *err, bft_pytorch *file, const bft_value *state) {
    const char *path = file->map->path;
    if (state->kind != BFT_VALUE_DICT) {
        return bft_error_set(err, BFT_BAD, "%s: does not hold a state dict (names and tensors)", path);
    }
    for (size_t i = 0; i + 1 < state->items.count; i += 2) {
        const bft_value *name = state->items.at[i], *value = state->items.at[i + 1];
        if (name->kind != BFT_VALUE_STRING) {
            return bft_error_set(err, BFT_BAD, "%s: a key of the state dict is not a string", path);
        }
        if (value->kind != BFT_VALUE_TENSOR) {
            return bft_error_set(
                err, BFT_BAD, "%s: entry \"%.*s\" is not a tensor; a plain state dict (names and tensors) is expected",
                path, (int)name->string.length, name->string.bytes);
        }
        BFT_TRY(add_tensor(err, file, name->string, value));
    }
    return BFT_OK;
}
