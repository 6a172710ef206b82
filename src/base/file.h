/* file.h: reading files that may be hostile, and writing files that appear whole or not at all. */
#ifndef BFT_BASE_FILE_H
#define BFT_BASE_FILE_H

#include "bertft/error.h"
#include "base/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- A read-only mapping of a whole regular file. data is NULL for an empty file. ---- */
typedef struct bft_map {
    const unsigned char *data;
    size_t size;
    int fd;
    char *path;
} bft_map;

bft_status bft_map_open(bft_error *err, bft_map *map, const char *path);
void bft_map_close(bft_map *map); /* also fine on {0} */

/* Fails if the file is now shorter than it was when it was mapped. Called before a bulk read of mapped bytes. */
bft_status bft_map_check(bft_error *err, const bft_map *map);

/* A file that shrinks while its pages are read raises SIGBUS. This installs a handler that ends the process with one
 * line (`bertft: error: PATH: the file shrank while it was being read`) and exit code 2. Called once by the command
 * line; mappings register themselves. */
void bft_map_guard_install(void);

/* ---- Small files, whole. Refuses what is larger than `limit` bytes, and what isn't a regular file. ---- */
bft_status bft_file_read(bft_error *err, const char *path, size_t limit, bft_buffer *out);
bool bft_file_exists(const char *path); /* anything at all by that name */
bool bft_directory_exists(const char *path);
bool bft_same_file(const char *a, const char *b); /* both exist and are one file or folder, links followed */

/* folder + "/" + name into `out` (cleared first); an absolute name stands alone. */
bft_status bft_path_join(bft_error *err, bft_buffer *out, const char *folder, const char *name);

/* mkdir -p. */
bft_status bft_directory_create(bft_error *err, const char *path);

/* ---- A file written beside its place (PATH.tmp.PID), synced, then renamed over PATH. ---- */
typedef struct bft_writer bft_writer;

bft_status bft_writer_open(bft_error *err, bft_writer **out, const char *path);
bft_status bft_writer_write(bft_error *err, bft_writer *writer, const void *bytes, size_t length);
/* Flush, fsync, rename, sync the folder. On failure nothing appears under PATH. Frees the writer either way. */
bft_status bft_writer_commit(bft_error *err, bft_writer *writer);
void bft_writer_discard(bft_writer *writer); /* removes the temporary; NULL is fine */

/* Copies a regular file, of any size, in the same way. */
bft_status bft_file_copy(bft_error *err, const char *from, const char *to);

/* A whole small file in one call. */
bft_status bft_file_write(bft_error *err, const char *path, const void *bytes, size_t length);

#endif
