/* safetensors_writer.c: model.safetensors from announced tensors and a stream of values; equal input, equal bytes. */
#include "weights/store.h"
#include "base/json.h"
#include "kernels/quantize.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 4096 }; /* values that are rounded at a time */

struct bft_safetensors_writer {
    bft_writer *file;
    bft_dtype dtype;
    bft_buffer header; /* the JSON so far, behind 8 bytes for its length */
    size_t declared;   /* values announced */
    size_t written;
    bool sealed; /* the header is in the file */
    char *path;
};

bft_status bft_safetensors_create(bft_error *err, bft_safetensors_writer **out, const char *path, bft_dtype dtype) {
    assert(dtype == BFT_F32 || dtype == BFT_BF16);
    bft_safetensors_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL) {
        return bft_error_memory(err, sizeof *writer);
    }
    writer->dtype = dtype;
    static const char start[] = "\0\0\0\0\0\0\0\0{\"__metadata__\":{\"format\":\"pt\"}"; /* transformers asks for it */
    bft_status status = bft_writer_open(err, &writer->file, path);
    if (status == BFT_OK) {
        status = bft_buffer_append(err, &writer->header, start, sizeof start - 1);
    }
    if (status == BFT_OK && (writer->path = strdup(path)) == NULL) {
        status = bft_error_memory(err, strlen(path) + 1);
    }
    if (status != BFT_OK) {
        bft_safetensors_discard(writer);
        return status;
    }
    *out = writer;
    return BFT_OK;
}

bft_status bft_safetensors_declare(bft_error *err, bft_safetensors_writer *writer, const char *name, size_t dimensions,
                                   const size_t *shape) {
    assert(!writer->sealed && dimensions <= BFT_MAX_DIMENSIONS);
    bft_buffer *header = &writer->header;
    bft_tensor tensor = {.dimensions = dimensions};
    BFT_TRY(bft_buffer_append(err, header, ",", 1));
    BFT_TRY(bft_json_quote(err, header, name, strlen(name)));
    BFT_TRY(
        bft_buffer_printf(err, header, ":{\"dtype\":\"%s\",\"shape\":[", writer->dtype == BFT_F32 ? "F32" : "BF16"));
    for (size_t i = 0; i < dimensions; i++) {
        tensor.shape[i] = shape[i];
        BFT_TRY(bft_buffer_printf(err, header, "%s%zu", i == 0 ? "" : ",", shape[i]));
    }
    size_t size = bft_dtype_size(writer->dtype), begin = writer->declared * size, bytes;
    if (!bft_tensor_measure(&tensor) || __builtin_add_overflow(writer->declared, tensor.count, &writer->declared) ||
        __builtin_mul_overflow(writer->declared, size, &bytes)) {
        return bft_error_set(err, BFT_BAD, "%s: tensor \"%s\": is too large for a file", writer->path, name);
    }
    return bft_buffer_printf(err, header, "],\"data_offsets\":[%zu,%zu]}", begin, bytes);
}

/* Closes the header, padded with blanks so that the data starts at a multiple of 8, and writes it. */
static bft_status seal(bft_error *err, bft_safetensors_writer *writer) {
    bft_buffer *header = &writer->header;
    BFT_TRY(bft_buffer_append(err, header, "}", 1));
    while (header->length % 8 != 0) {
        BFT_TRY(bft_buffer_append(err, header, " ", 1));
    }
    uint64_t length = header->length - 8;
    for (size_t i = 0; i < 8; i++) {
        header->data[i] = (char)(unsigned char)(length >> (8 * i));
    }
    writer->sealed = true;
    return bft_writer_write(err, writer->file, header->data, header->length);
}

static bft_status write_rounded(bft_error *err, bft_safetensors_writer *writer, const float *values, size_t count) {
    uint16_t rounded[PIECE];
    for (size_t at = 0, part; at < count; at += part) {
        part = count - at < PIECE ? count - at : PIECE;
        for (size_t i = 0; i < part; i++) {
            rounded[i] = bft_to_bf16(values[at + i]);
        }
        BFT_TRY(bft_writer_write(err, writer->file, rounded, part * sizeof *rounded));
    }
    return BFT_OK;
}

bft_status bft_safetensors_write(bft_error *err, bft_safetensors_writer *writer, const float *values, size_t count) {
    if (!writer->sealed) {
        BFT_TRY(seal(err, writer));
    }
    assert(count <= writer->declared - writer->written);
    writer->written += count;
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "safetensors are little-endian, and values are written as they lie in memory"
#endif
    return writer->dtype == BFT_F32 ? bft_writer_write(err, writer->file, values, count * sizeof *values)
                                    : write_rounded(err, writer, values, count);
}

bft_status bft_safetensors_commit(bft_error *err, bft_safetensors_writer *writer) {
    bft_status status = writer->sealed ? BFT_OK : seal(err, writer);
    assert(writer->written == writer->declared);
    if (status == BFT_OK) {
        status = bft_writer_commit(err, writer->file);
        writer->file = NULL;
    }
    bft_safetensors_discard(writer);
    return status;
}

void bft_safetensors_discard(bft_safetensors_writer *writer) {
    if (writer == NULL) {
        return;
    }
    bft_writer_discard(writer->file);
    bft_buffer_free(&writer->header);
    free(writer->path);
    free(writer);
}
