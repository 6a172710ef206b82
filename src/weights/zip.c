/* zip.c: the zip format, as far as torch.save and ordinary zip tools write it: stored and deflated members, zip64. */
#include "weights/zip.h"

#include "weights/little.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    LOCAL_HEADER = 30, /* bytes of each record without its variable part */
    CENTRAL_HEADER = 46,
    END_RECORD = 22,
    END64_RECORD = 56,
    END64_LOCATOR = 20,
    COMMENT_LIMIT = 65535,
    FLAG_ENCRYPTED = 1,
    STORED = 0,
    DEFLATED = 8,
    EXTRA_ZIP64 = 1
};

static bft_status broken(bft_error *err, const bft_map *map, const char *what) {
    return bft_error_set(err, BFT_BAD, "%s: broken zip archive: %s", map->path, what);
}

static bool inside(const bft_map *map, uint64_t offset, uint64_t length) {
    return offset <= map->size && length <= map->size - offset;
}

/* ---- Where the directory is ---- */

typedef struct directory {
    uint64_t offset, size, count;
} directory;

/* The end record is the last thing in the file but a comment, whose length it holds. */
static bft_status find_end(bft_error *err, const bft_map *map, size_t *out) {
    if (map->size >= END_RECORD) {
        size_t last = map->size - END_RECORD, first = last > COMMENT_LIMIT ? last - COMMENT_LIMIT : 0;
        for (size_t at = last + 1; at-- > first;) {
            const unsigned char *end = map->data + at;
            if (memcmp(end, "PK\5\6", 4) == 0 && bft_little(end + 20, 2) == last - at) {
                *out = at;
                return BFT_OK;
            }
        }
    }
    return broken(err, map, "no end of the directory; the file may be cut short");
}

static bft_status find_directory(bft_error *err, const bft_map *map, directory *out) {
    size_t at = 0;
    BFT_TRY(find_end(err, map, &at));
    const unsigned char *end = map->data + at;
    *out = (directory){
        .count = bft_little(end + 10, 2), .size = bft_little(end + 12, 4), .offset = bft_little(end + 16, 4)};
    uint64_t disk = bft_little(end + 4, 2), directory_disk = bft_little(end + 6, 2);
    const unsigned char *locator = at < END64_LOCATOR ? NULL : end - END64_LOCATOR;
    if (locator != NULL && memcmp(locator, "PK\6\7", 4) == 0) {
        uint64_t offset64 = bft_little(locator + 8, 8);
        if (!inside(map, offset64, END64_RECORD) || memcmp(map->data + offset64, "PK\6\6", 4) != 0) {
            return broken(err, map, "the zip64 locator points to something else");
        }
        const unsigned char *end64 = map->data + offset64;
        *out = (directory){
            .count = bft_little(end64 + 32, 8), .size = bft_little(end64 + 40, 8), .offset = bft_little(end64 + 48, 8)};
        disk = bft_little(end64 + 16, 4);
        directory_disk = bft_little(end64 + 20, 4);
    }
    if (disk != 0 || directory_disk != 0) {
        return broken(err, map, "it is split over several files");
    }
    if (!inside(map, out->offset, out->size) || out->count > out->size / CENTRAL_HEADER) {
        return broken(err, map, "the directory lies outside of the file");
    }
    return BFT_OK;
}

/* ---- One member ---- */

/* Where a 32-bit field is all ones, the true value is in the zip64 extra field, in the order of the fields. */
static bool take64(const unsigned char **at, const unsigned char *end, uint64_t *field) {
    if (*field != UINT32_MAX) {
        return true;
    }
    if (end - *at < 8) {
        return false;
    }
    *field = bft_little(*at, 8);
    *at += 8;
    return true;
}

static bool read_zip64(const unsigned char *extra, size_t length, uint64_t *size, uint64_t *packed, uint64_t *offset) {
    while (length >= 4) {
        size_t id = (size_t)bft_little(extra, 2), field = (size_t)bft_little(extra + 2, 2);
        if (field > length - 4) {
            return false;
        }
        if (id == EXTRA_ZIP64) {
            const unsigned char *at = extra + 4, *end = at + field;
            return take64(&at, end, size) && take64(&at, end, packed) && take64(&at, end, offset);
        }
        extra += 4 + field;
        length -= 4 + field;
    }
    return *size != UINT32_MAX && *packed != UINT32_MAX && *offset != UINT32_MAX;
}

/* The data lies behind the local header, which repeats the name and has an extra field of its own. */
static bft_status locate(bft_error *err, const bft_map *map, uint64_t offset, bft_zip_member *member) {
    if (!inside(map, offset, LOCAL_HEADER)) {
        return broken(err, map, "a member lies outside of the file");
    }
    const unsigned char *local = map->data + offset;
    size_t name_length = (size_t)bft_little(local + 26, 2), extra_length = (size_t)bft_little(local + 28, 2);
    uint64_t start = offset + LOCAL_HEADER + name_length + extra_length;
    if (memcmp(local, "PK\3\4", 4) != 0 || !inside(map, start, member->packed)) {
        return broken(err, map, "a member lies outside of the file");
    }
    if (name_length != member->name_length || memcmp(local + LOCAL_HEADER, member->name, name_length) != 0) {
        return broken(err, map, "a member has another name than the directory says");
    }
    member->data = map->data + start;
    return BFT_OK;
}

/* Reads the directory record at *at and moves behind it. */
static bft_status read_member(bft_error *err, const bft_map *map, const unsigned char **at, const unsigned char *end,
                              bft_zip_member *member) {
    const unsigned char *record = *at;
    if (end - record < CENTRAL_HEADER || memcmp(record, "PK\1\2", 4) != 0) {
        return broken(err, map, "the directory is cut short");
    }
    size_t name_length = (size_t)bft_little(record + 28, 2), extra_length = (size_t)bft_little(record + 30, 2);
    size_t length = CENTRAL_HEADER + name_length + extra_length + (size_t)bft_little(record + 32, 2);
    if (length > (size_t)(end - record)) {
        return broken(err, map, "the directory is cut short");
    }
    *at = record + length;
    uint64_t flags = bft_little(record + 8, 2), method = bft_little(record + 10, 2);
    uint64_t packed = bft_little(record + 20, 4), size = bft_little(record + 24, 4),
             offset = bft_little(record + 42, 4);
    if (!read_zip64(record + CENTRAL_HEADER + name_length, extra_length, &size, &packed, &offset)) {
        return broken(err, map, "a member's zip64 sizes are missing");
    }
    *member = (bft_zip_member){.name = (const char *)record + CENTRAL_HEADER,
                               .name_length = name_length,
                               .deflated = method == DEFLATED,
                               .crc = (uint32_t)bft_little(record + 16, 4),
                               .packed = packed,
                               .size = size};
    if ((flags & FLAG_ENCRYPTED) != 0 || (method != STORED && method != DEFLATED)) {
        return broken(err, map, "a member is encrypted, or packed in another way than deflate");
    }
    if (method == STORED && packed != size) {
        return broken(err, map, "a stored member has two sizes");
    }
    if (memchr(member->name, '\0', name_length) != NULL) {
        return broken(err, map, "a member's name holds a NUL byte");
    }
    return locate(err, map, offset, member);
}

/* ---- The archive ---- */

static int compare_strings(const char *a, size_t a_length, const char *b, size_t b_length) {
    int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
    return order != 0 ? order : (a_length > b_length) - (a_length < b_length);
}

static int compare_members(const void *a, const void *b) {
    const bft_zip_member *x = a, *y = b;
    return compare_strings(x->name, x->name_length, y->name, y->name_length);
}

bft_status bft_zip_open(bft_error *err, bft_zip *zip, const bft_map *map, bft_arena *arena) {
    directory found;
    BFT_TRY(find_directory(err, map, &found));
    *zip = (bft_zip){.map = map, .count = (size_t)found.count};
    BFT_TRY(BFT_NEW(err, arena, &zip->members, zip->count));
    const unsigned char *at = map->data + found.offset, *end = at + found.size;
    for (size_t i = 0; i < zip->count; i++) {
        BFT_TRY(read_member(err, map, &at, end, &zip->members[i]));
    }
    if (at != end) {
        return broken(err, map, "the directory holds more members than it says");
    }
    if (zip->count > 0) {
        qsort(zip->members, zip->count, sizeof *zip->members, compare_members);
    }
    for (size_t i = 1; i < zip->count; i++) {
        if (compare_members(&zip->members[i - 1], &zip->members[i]) == 0) {
            return broken(err, map, "two members have the same name");
        }
    }
    return BFT_OK;
}

const bft_zip_member *bft_zip_find(const bft_zip *zip, const char *name, size_t length) {
    const bft_zip_member wanted = {.name = name, .name_length = length};
    return zip->count == 0 ? NULL : bsearch(&wanted, zip->members, zip->count, sizeof *zip->members, compare_members);
}

bft_status bft_zip_inflate(bft_error *err, const bft_zip *zip, const bft_zip_member *member, void *out) {
    z_stream stream = {0};
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) { /* negative: no zlib header around the data */
        return bft_error_memory(err, sizeof stream);
    }
    const unsigned char *from = member->data;
    unsigned char *to = out;
    size_t packed = member->packed, room = member->size;
    uLong sum = crc32(0, NULL, 0);
    int code = Z_OK;
    while (code == Z_OK) { /* zlib counts in unsigned int */
        enum { PIECE = 1 << 30 };
        unsigned given = (unsigned)(packed < PIECE ? packed : PIECE), wanted = (unsigned)(room < PIECE ? room : PIECE);
        stream.next_in = (Bytef *)(uintptr_t)from;
        stream.avail_in = given;
        stream.next_out = to;
        stream.avail_out = wanted;
        code = inflate(&stream, Z_NO_FLUSH);
        sum = crc32(sum, to, wanted - stream.avail_out);
        from += given - stream.avail_in;
        packed -= given - stream.avail_in;
        to += wanted - stream.avail_out;
        room -= wanted - stream.avail_out;
    }
    inflateEnd(&stream);
    if (code != Z_STREAM_END || room != 0 || sum != member->crc) {
        return bft_error_set(err, BFT_BAD, "%s: broken zip archive: member %.*s does not unpack to what it says",
                             zip->map->path, (int)member->name_length, member->name);
    }
    return BFT_OK;
}
