/* zip.h: the members of a zip archive that we didn't write, read from its mapping. */
#ifndef BFT_WEIGHTS_ZIP_H
#define BFT_WEIGHTS_ZIP_H

#include "base/arena.h"
#include "base/file.h"

typedef struct bft_zip_member {
    const char *name; /* name_length bytes in the mapping, without a NUL */
    size_t name_length;
    bool deflated;
    uint32_t crc;
    size_t packed, size; /* bytes in the archive, bytes when unpacked; equal where not deflated */
    const unsigned char *data;
} bft_zip_member;

typedef struct bft_zip {
    const bft_map *map;
    bft_zip_member *members; /* (count) sorted by name, no name twice */
    size_t count;
} bft_zip;

/* Reads the directory of the archive; every member's place and size is checked against the file. */
bft_status bft_zip_open(bft_error *err, bft_zip *zip, const bft_map *map, bft_arena *arena);

const bft_zip_member *bft_zip_find(const bft_zip *zip, const char *name, size_t length); /* NULL: there is none */

/* Unpacks a deflated member into `out` (member->size bytes); its length and check sum must be the declared ones. */
bft_status bft_zip_inflate(bft_error *err, const bft_zip *zip, const bft_zip_member *member, void *out);

#endif
