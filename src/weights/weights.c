/* weights.c: which file of a folder is read, and the set of tensors that comes out of it. */
#include "weights/store.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- Filling the set ---- */

bft_status bft_weights_map(bft_error *err, bft_weights *weights, const char *path, const bft_map **out) {
    bft_weight_file *file;
    BFT_TRY(BFT_NEW(err, &weights->arena, &file, 1));
    BFT_TRY(bft_map_open(err, &file->map, path));
    file->next = weights->files;
    weights->files = file;
    *out = &file->map;
    return BFT_OK;
}

bft_status bft_weights_add(bft_error *err, bft_weights *weights, const bft_tensor *tensor, const char *name,
                           size_t name_length) {
    size_t visible = strnlen(name, name_length);
    if (visible < name_length) {
        return bft_error_set(err, BFT_BAD, "%s: the tensor name \"%.*s\" goes on after a NUL byte", tensor->file,
                             (int)visible, name);
    }
    if (weights->count == weights->capacity) {
        size_t capacity = weights->capacity == 0 ? 64 : weights->capacity * 2;
        bft_tensor *tensors = realloc(weights->tensors, capacity * sizeof *tensors);
        if (tensors == NULL) {
            return bft_error_memory(err, capacity * sizeof *tensors);
        }
        weights->tensors = tensors;
        weights->capacity = capacity;
    }
    char *copy;
    BFT_TRY(bft_arena_string(err, &weights->arena, name, name_length, &copy));
    bft_tensor *added = &weights->tensors[weights->count++];
    *added = *tensor;
    added->name = copy;
    return BFT_OK;
}

bool bft_tensor_measure(bft_tensor *tensor) {
    tensor->count = 1;
    for (size_t i = 0; i < tensor->dimensions; i++) {
        if (__builtin_mul_overflow(tensor->count, tensor->shape[i], &tensor->count)) {
            return false;
        }
    }
    return true;
}

bool bft_data_aligned(const void *data, size_t size) {
    return (uintptr_t)data % size == 0;
}

static int compare_names(const void *a, const void *b, void *context) {
    const bft_tensor *tensors = context;
    return strcmp(tensors[*(const size_t *)a].name, tensors[*(const size_t *)b].name);
}

/* Sorts the names for bft_weights_find; the same name twice is an error whatever the format. */
static bft_status index_names(bft_error *err, bft_weights *weights) {
    BFT_TRY(BFT_NEW(err, &weights->arena, &weights->by_name, weights->count));
    for (size_t i = 0; i < weights->count; i++) {
        weights->by_name[i] = i;
    }
    if (weights->count > 0) {
        qsort_r(weights->by_name, weights->count, sizeof *weights->by_name, compare_names, weights->tensors);
    }
    for (size_t i = 1; i < weights->count; i++) {
        const bft_tensor *a = &weights->tensors[weights->by_name[i - 1]], *b = &weights->tensors[weights->by_name[i]];
        if (strcmp(a->name, b->name) == 0) {
            return bft_error_set(err, BFT_BAD, "%s: tensor \"%s\" is also in %s; one is expected", b->file, b->name,
                                 a->file == b->file ? "the same file" : a->file);
        }
    }
    return BFT_OK;
}

/* ---- Opening ---- */

static bool ends_with(const char *text, const char *end) {
    size_t length = strlen(text), wanted = strlen(end);
    return length >= wanted && strcmp(text + length - wanted, end) == 0;
}

/* The content says what a file is, whatever its name; only an index is known by its name. */
static bft_status read_file(bft_error *err, bft_weights *weights, const char *path) {
    if (ends_with(path, ".bin.index.json")) {
        return bft_error_set(err, BFT_BAD, "%s: sharded PyTorch files are not supported; save the model as safetensors",
                             path);
    }
    if (ends_with(path, ".index.json")) {
        return bft_shards_read(err, weights, path);
    }
    const bft_map *map;
    BFT_TRY(bft_weights_map(err, weights, path, &map));
    if (bft_pytorch_recognize(map)) {
        return bft_pytorch_read(err, weights, map);
    }
    return bft_safetensors_read(err, weights, map);
}

static bft_status read_folder(bft_error *err, bft_weights *weights, const char *folder) {
    static const char *const names[] = {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                                        "pytorch_model.bin.index.json"};
    bft_buffer path = {0};
    bft_status status = BFT_OK;
    bool found = false;
    for (size_t i = 0; status == BFT_OK && !found && i < sizeof names / sizeof *names; i++) {
        status = bft_path_join(err, &path, folder, names[i]);
        found = status == BFT_OK && bft_file_exists(path.data);
    }
    if (found) {
        status = read_file(err, weights, path.data);
    } else if (status == BFT_OK) {
        status = bft_error_set(err, BFT_BAD,
                               "%s: no weights here; model.safetensors, model.safetensors.index.json or "
                               "pytorch_model.bin is expected",
                               folder);
    }
    bft_buffer_free(&path);
    return status;
}

bft_status bft_weights_open(bft_error *err, bft_weights **out, const char *path) {
    bft_weights *weights = calloc(1, sizeof *weights);
    if (weights == NULL) {
        return bft_error_memory(err, sizeof *weights);
    }
    bft_status status = bft_directory_exists(path) ? read_folder(err, weights, path) : read_file(err, weights, path);
    if (status == BFT_OK) {
        status = index_names(err, weights);
    }
    if (status != BFT_OK) {
        bft_weights_close(weights);
        return status;
    }
    *out = weights;
    return BFT_OK;
}

void bft_weights_close(bft_weights *weights) {
    if (weights == NULL) {
        return;
    }
    for (bft_weight_file *file = weights->files; file != NULL; file = file->next) {
        bft_map_close(&file->map);
    }
    bft_arena_free(&weights->arena);
    free(weights->tensors);
    free(weights);
}

bft_status bft_weights_check(bft_error *err, const bft_weights *weights) {
    for (const bft_weight_file *file = weights->files; file != NULL; file = file->next) {
        BFT_TRY(bft_map_check(err, &file->map));
    }
    return BFT_OK;
}

/* ---- Looking at the set ---- */

size_t bft_weights_count(const bft_weights *weights) {
    return weights->count;
}

const bft_tensor *bft_weights_at(const bft_weights *weights, size_t index) {
    return &weights->tensors[index];
}

const bft_tensor *bft_weights_find(const bft_weights *weights, const char *name) {
    size_t low = 0, high = weights->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const bft_tensor *tensor = &weights->tensors[weights->by_name[middle]];
        int order = strcmp(name, tensor->name);
        if (order == 0) {
            return tensor;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

/* Every half is a float: normal ones get another exponent, subnormal ones are multiples of 2^-24. */
static float float_of_half(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 0x1f, fraction = half & 0x3ff, bits;
    float value;
    if (exponent == 0) {
        value = (float)fraction * 0x1p-24f;
        return sign != 0 ? -value : value;
    }
    bits = sign | (exponent == 0x1f ? 0xffu : exponent + (127 - 15)) << 23 | fraction << 13;
    memcpy(&value, &bits, sizeof value);
    return value;
}

void bft_tensor_to_float(const bft_tensor *tensor, float *out) {
    const uint16_t *shorts = tensor->data;
    for (size_t i = 0; tensor->dtype == BFT_F16 && i < tensor->count; i++) {
        out[i] = float_of_half(shorts[i]);
    }
    for (size_t i = 0; tensor->dtype == BFT_BF16 && i < tensor->count; i++) {
        uint32_t bits = (uint32_t)shorts[i] << 16;
        memcpy(&out[i], &bits, sizeof *out);
    }
    if (tensor->dtype == BFT_F32 && tensor->count > 0) {
        memcpy(out, tensor->data, tensor->count * sizeof *out);
    }
}

void bft_tensor_release(const bft_tensor *tensor, size_t first, size_t count) {
    if (!tensor->mapped || count == 0) {
        return;
    }
    size_t size = bft_dtype_size(tensor->dtype);
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = (uintptr_t)tensor->data + first * size;
    uintptr_t from = start / page * page,
              to = (start + count * size) / page * page; /* the last page may be half read */
    if (to > from) {
        madvise((void *)from, to - from, MADV_DONTNEED); /* read-only and shared: nothing can be lost */
    }
}
