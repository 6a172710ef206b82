/* zip_builder.h: zip archives made by hand, right ones and lying ones. */
#ifndef BFT_TESTS_ZIP_BUILDER_H
#define BFT_TESTS_ZIP_BUILDER_H

#include "weights_test.h"

#include <zlib.h>

typedef struct zip_builder {
    bft_buffer file, directory;
    size_t members;
    bool zip64;              /* write every size and offset into the 64-bit extra fields */
    unsigned flags, method;  /* for the next member; method 8 deflates */
    size_t size_lie;         /* declared size of the next member, 0: the true one */
    size_t offset_lie;       /* added to the offset of the next member */
    uint32_t crc_lie;        /* added to its check sum */
    const char *other_local; /* the name in its local header, where not the same */
} zip_builder;

static inline void zip_put(bft_buffer *out, const void *bytes, size_t length) {
    bft_error err;
    assert_int_equal(bft_buffer_append(&err, out, bytes, length), BFT_OK);
}

static inline void zip_little(bft_buffer *out, uint64_t value, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) {
        unsigned char byte = (unsigned char)(i < 8 ? value >> (8 * i) : 0);
        zip_put(out, &byte, 1);
    }
}

static inline void zip_deflate(bft_buffer *out, const void *bytes, size_t length) {
    bft_error err;
    z_stream stream = {0};
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY), Z_OK);
    size_t bound = deflateBound(&stream, length);
    assert_int_equal(bft_buffer_reserve(&err, out, bound), BFT_OK);
    stream.next_in = (Bytef *)(uintptr_t)bytes;
    stream.avail_in = (unsigned)length;
    stream.next_out = (Bytef *)out->data;
    stream.avail_out = (unsigned)bound;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    out->length = stream.total_out;
    deflateEnd(&stream);
}

static inline void zip_add(zip_builder *zip, const char *name, const void *bytes, size_t length) {
    bft_buffer packed = {0};
    if (zip->method == 8) {
        zip_deflate(&packed, bytes, length);
    } else {
        zip_put(&packed, bytes, length);
    }
    uint64_t size = zip->size_lie != 0 ? zip->size_lie : length, offset = zip->file.length + zip->offset_lie;
    uint32_t crc = (uint32_t)crc32(crc32(0, NULL, 0), bytes, (unsigned)length) + zip->crc_lie;
    const char *local = zip->other_local != NULL ? zip->other_local : name;
    zip_put(&zip->file, "PK\3\4", 4);
    zip_little(&zip->file, 0, 22); /* nobody reads the local header's own sizes */
    zip_little(&zip->file, strlen(local), 2);
    zip_little(&zip->file, 0, 2);
    zip_put(&zip->file, local, strlen(local));
    zip_put(&zip->file, packed.data, packed.length);

    bft_buffer *d = &zip->directory;
    zip_put(d, "PK\1\2", 4);
    zip_little(d, 0, 4);
    zip_little(d, zip->flags, 2);
    zip_little(d, zip->method, 2);
    zip_little(d, 0, 4);
    zip_little(d, crc, 4);
    zip_little(d, zip->zip64 ? UINT32_MAX : packed.length, 4);
    zip_little(d, zip->zip64 ? UINT32_MAX : size, 4);
    zip_little(d, strlen(name), 2);
    zip_little(d, zip->zip64 ? 4 + 3 + 4 + 24 : 0, 2);
    zip_little(d, 0, 10);
    zip_little(d, zip->zip64 ? UINT32_MAX : offset, 4);
    zip_put(d, name, strlen(name));
    if (zip->zip64) {
        zip_put(d, "\x99\x99\3\0abc", 7); /* an extra field of somebody else */
        zip_put(d, "\1\0\30\0", 4);
        zip_little(d, size, 8);
        zip_little(d, packed.length, 8);
        zip_little(d, offset, 8);
    }
    bft_buffer_free(&packed);
    zip->members++;
    zip->flags = zip->method = 0;
    zip->size_lie = zip->offset_lie = 0;
    zip->crc_lie = 0;
    zip->other_local = NULL;
}

/* Puts the directory and its end behind the members. */
static inline void zip_finish(zip_builder *zip, const char *comment) {
    size_t start = zip->file.length;
    zip_put(&zip->file, zip->directory.data, zip->directory.length);
    if (zip->zip64) {
        size_t end = zip->file.length;
        zip_put(&zip->file, "PK\6\6", 4);
        zip_little(&zip->file, 44, 8);
        zip_little(&zip->file, 0, 4 + 4 + 4);
        zip_little(&zip->file, zip->members, 8);
        zip_little(&zip->file, zip->members, 8);
        zip_little(&zip->file, zip->directory.length, 8);
        zip_little(&zip->file, start, 8);
        zip_put(&zip->file, "PK\6\7", 4);
        zip_little(&zip->file, 0, 4);
        zip_little(&zip->file, end, 8);
        zip_little(&zip->file, 1, 4);
    }
    zip_put(&zip->file, "PK\5\6", 4);
    zip_little(&zip->file, 0, 4);
    zip_little(&zip->file, zip->zip64 ? UINT16_MAX : zip->members, 2);
    zip_little(&zip->file, zip->zip64 ? UINT16_MAX : zip->members, 2);
    zip_little(&zip->file, zip->zip64 ? UINT32_MAX : zip->directory.length, 4);
    zip_little(&zip->file, zip->zip64 ? UINT32_MAX : start, 4);
    zip_little(&zip->file, strlen(comment), 2);
    zip_put(&zip->file, comment, strlen(comment));
}

static inline void zip_free(zip_builder *zip) {
    bft_buffer_free(&zip->file);
    bft_buffer_free(&zip->directory);
    *zip = (zip_builder){0};
}

/* ---- Pickles: pieces of protocol 2. Numbers below 256 are given as one character. ---- */

#define STRING1(letter) "X\1\0\0\0" letter
#define STORAGE(type, key, count) "(X\7\0\0\0storagectorch\n" type "\n" STRING1(key) STRING1("c") "K" count "tQ"
#define REBUILD(storage, offset, sizes, strides)                                                                       \
    "ctorch._utils\n_rebuild_tensor_v2\n(" storage "K" offset "(" sizes "t(" strides "t\x89}tR"
#define VECTOR4 REBUILD(STORAGE("FloatStorage", "0", "\4"), "\0", "K\4", "K\1") /* the whole of storage "0" */
#define STATE(pairs) "\x80\2}(" pairs "u."
#define ONE(tensor) STATE(STRING1("w") tensor)

#endif
