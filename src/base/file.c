/* file.c: mappings, whole small files, paths, and the writer that renames into place. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Mappings. The guard needs to find, inside a signal handler, which file an address belongs to. ---- */

enum { GUARD_SLOTS = 256 };

static struct {
    _Atomic(const unsigned char *) start;
    size_t size;
    const char *path;
} guarded[GUARD_SLOTS];

static void guard_add(const bft_map *map) {
    for (size_t i = 0; i < GUARD_SLOTS; i++) {
        const unsigned char *nothing = NULL;
        static const unsigned char taken;
        if (atomic_compare_exchange_strong(&guarded[i].start, &nothing, &taken)) {
            guarded[i].size = map->size;
            guarded[i].path = map->path;
            atomic_store(&guarded[i].start, map->data);
            return;
        }
    }
}

static void guard_remove(const bft_map *map) {
    for (size_t i = 0; i < GUARD_SLOTS; i++) {
        if (map->data != NULL && atomic_load(&guarded[i].start) == map->data) {
            atomic_store(&guarded[i].start, NULL);
            return;
        }
    }
}

static void say(const char *text) {
    ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
    (void)ignored;
}

static void on_bus_error(int signal_number, siginfo_t *info, void *context) {
    (void)context;
    for (size_t i = 0; i < GUARD_SLOTS; i++) {
        const unsigned char *start = atomic_load(&guarded[i].start);
        const unsigned char *address = info->si_addr;
        if (start != NULL && address >= start && address < start + guarded[i].size) {
            say("bertft: error: ");
            say(guarded[i].path);
            say(": the file shrank while it was being read; restore it and run again\n");
            _exit(BFT_BAD);
        }
    }
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

void bft_map_guard_install(void) {
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}

/* Opens a regular file for reading; never blocks on a FIFO. */
static bft_status open_regular(bft_error *err, const char *path, int *fd, size_t *size) {
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) {
        return bft_error_errno(err, BFT_BAD, "%s: cannot open", path);
    }
    struct stat info;
    bft_status status = BFT_OK;
    if (fstat(*fd, &info) != 0) {
        status = bft_error_errno(err, BFT_BAD, "%s: cannot read its size", path);
    } else if (!S_ISREG(info.st_mode)) {
        status = bft_error_set(err, BFT_BAD, "%s: is not a regular file", path);
    } else if ((uintmax_t)info.st_size > SIZE_MAX / 2) {
        status = bft_error_set(err, BFT_BAD, "%s: is too large for this machine", path);
    }
    if (status != BFT_OK) {
        close(*fd);
        *fd = -1;
        return status;
    }
    *size = (size_t)info.st_size;
    return BFT_OK;
}

bft_status bft_map_open(bft_error *err, bft_map *map, const char *path) {
    *map = (bft_map){.fd = -1};
    BFT_TRY(open_regular(err, path, &map->fd, &map->size));
    map->path = strdup(path);
    if (map->path == NULL) {
        bft_map_close(map);
        return bft_error_memory(err, strlen(path) + 1);
    }
    if (map->size == 0) {
        return BFT_OK;
    }
    void *data = mmap(NULL, map->size, PROT_READ, MAP_SHARED, map->fd, 0);
    if (data == MAP_FAILED) {
        bft_status status = bft_error_errno(err, BFT_FAILED, "%s: cannot map %zu bytes", path, map->size);
        bft_map_close(map);
        return status;
    }
    map->data = data;
    guard_add(map);
    return BFT_OK;
}

void bft_map_close(bft_map *map) {
    if (map->data != NULL) {
        guard_remove(map);
        munmap((void *)(uintptr_t)map->data, map->size);
    }
    if (map->path != NULL) { /* {0} has no path, and fd 0 is not ours to close */
        close(map->fd);
        free(map->path);
    }
    *map = (bft_map){.fd = -1};
}

bft_status bft_map_check(bft_error *err, const bft_map *map) {
    struct stat info;
    if (map->path == NULL) {
        return BFT_OK;
    }
    if (fstat(map->fd, &info) != 0) {
        return bft_error_errno(err, BFT_BAD, "%s: cannot read its size", map->path);
    }
    if ((uintmax_t)info.st_size < map->size) {
        return bft_error_set(err, BFT_BAD, "%s: the file shrank from %zu to %jd bytes while in use", map->path,
                             map->size, (intmax_t)info.st_size);
    }
    return BFT_OK;
}

/* ---- Whole files ---- */

static bft_status read_all(bft_error *err, const char *path, int fd, size_t size, bft_buffer *out) {
    bft_buffer_clear(out);
    BFT_TRY(bft_buffer_reserve(err, out, size));
    while (out->length < size) {
        ssize_t got = read(fd, out->data + out->length, size - out->length);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return bft_error_errno(err, BFT_BAD, "%s: cannot read", path);
        }
        if (got == 0) {
            break;
        }
        out->length += (size_t)got;
    }
    out->data[out->length] = '\0';
    return BFT_OK;
}

bft_status bft_file_read(bft_error *err, const char *path, size_t limit, bft_buffer *out) {
    int fd;
    size_t size;
    BFT_TRY(open_regular(err, path, &fd, &size));
    bft_status status;
    if (size > limit) {
        status = bft_error_set(err, BFT_BAD, "%s: holds %zu bytes, at most %zu are expected", path, size, limit);
    } else {
        status = read_all(err, path, fd, size, out);
    }
    close(fd);
    return status;
}

bool bft_file_exists(const char *path) {
    struct stat info;
    return lstat(path, &info) == 0;
}

bool bft_directory_exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool bft_same_file(const char *a, const char *b) {
    struct stat one, other;
    return stat(a, &one) == 0 && stat(b, &other) == 0 && one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

bft_status bft_path_join(bft_error *err, bft_buffer *out, const char *folder, const char *name) {
    bft_buffer_clear(out);
    if (name[0] == '/' || folder[0] == '\0') {
        return bft_buffer_printf(err, out, "%s", name);
    }
    return bft_buffer_printf(err, out, "%s%s%s", folder, folder[strlen(folder) - 1] == '/' ? "" : "/", name);
}

bft_status bft_directory_create(bft_error *err, const char *path) {
    char *copy = strdup(path);
    if (copy == NULL) {
        return bft_error_memory(err, strlen(path) + 1);
    }
    bft_status status = BFT_OK;
    for (char *at = copy + 1; status == BFT_OK && at[-1] != '\0'; at++) {
        if (*at != '/' && *at != '\0') {
            continue;
        }
        char kept = *at;
        *at = '\0';
        if (mkdir(copy, 0777) != 0 && !(errno == EEXIST && bft_directory_exists(copy))) {
            status = bft_error_errno(err, BFT_FAILED, "%s: cannot create the folder", copy);
        }
        *at = kept;
    }
    free(copy);
    return status;
}

/* ---- The writer ---- */

enum { WRITER_BUFFER = 1 << 16 };

struct bft_writer {
    int fd;
    size_t filled;
    uint64_t offset; /* of the buffer's first byte in the file */
    char *path, *temporary;
    unsigned char buffer[WRITER_BUFFER];
};

bft_status bft_writer_open(bft_error *err, bft_writer **out, const char *path) {
    bft_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL) {
        return bft_error_memory(err, sizeof *writer);
    }
    writer->fd = -1;
    writer->path = strdup(path);
    size_t room = strlen(path) + 32;
    writer->temporary = malloc(room);
    if (writer->path == NULL || writer->temporary == NULL) {
        bft_writer_discard(writer);
        return bft_error_memory(err, room);
    }
    snprintf(writer->temporary, room, "%s.tmp.%ld", path, (long)getpid());
    writer->fd = open(writer->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (writer->fd < 0) {
        bft_status status = bft_error_errno(err, BFT_FAILED, "%s: cannot create", path);
        bft_writer_discard(writer);
        return status;
    }
    *out = writer;
    return BFT_OK;
}

static bft_status write_at(bft_error *err, bft_writer *writer, uint64_t offset, const unsigned char *bytes,
                           size_t length) {
    while (length > 0) {
        ssize_t put = pwrite(writer->fd, bytes, length, (off_t)offset);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put < 0) {
            return bft_error_errno(err, BFT_FAILED, "%s: cannot write", writer->path);
        }
        bytes += put;
        offset += (uint64_t)put;
        length -= (size_t)put;
    }
    return BFT_OK;
}

static bft_status flush(bft_error *err, bft_writer *writer) {
    BFT_TRY(write_at(err, writer, writer->offset, writer->buffer, writer->filled));
    writer->offset += writer->filled;
    writer->filled = 0;
    return BFT_OK;
}

bft_status bft_writer_write(bft_error *err, bft_writer *writer, const void *bytes, size_t length) {
    if (length > WRITER_BUFFER - writer->filled) {
        BFT_TRY(flush(err, writer));
    }
    if (length > WRITER_BUFFER) {
        BFT_TRY(write_at(err, writer, writer->offset, bytes, length));
        writer->offset += length;
        return BFT_OK;
    }
    if (length > 0) {
        memcpy(writer->buffer + writer->filled, bytes, length);
    }
    writer->filled += length;
    return BFT_OK;
}

static void sync_folder_of(const char *path) {
    char *copy = strdup(path);
    if (copy == NULL) {
        return;
    }
    char *slash = strrchr(copy, '/');
    if (slash != NULL) {
        slash[slash == copy] = '\0';
    }
    int fd = open(slash != NULL ? copy : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd); /* some file systems refuse this; the rename is still atomic */
        close(fd);
    }
    free(copy);
}

bft_status bft_writer_commit(bft_error *err, bft_writer *writer) {
    bft_status status = flush(err, writer);
    if (status == BFT_OK && fsync(writer->fd) != 0) {
        status = bft_error_errno(err, BFT_FAILED, "%s: cannot sync", writer->path);
    }
    if (status == BFT_OK && rename(writer->temporary, writer->path) != 0) {
        status = bft_error_errno(err, BFT_FAILED, "%s: cannot rename the finished file into place", writer->path);
    }
    if (status == BFT_OK) {
        sync_folder_of(writer->path);
        writer->temporary[0] = '\0';
    }
    bft_writer_discard(writer);
    return status;
}

void bft_writer_discard(bft_writer *writer) {
    if (writer == NULL) {
        return;
    }
    if (writer->fd >= 0) {
        close(writer->fd);
        if (writer->temporary[0] != '\0') {
            unlink(writer->temporary);
        }
    }
    free(writer->path);
    free(writer->temporary);
    free(writer);
}

bft_status bft_file_write(bft_error *err, const char *path, const void *bytes, size_t length) {
    bft_writer *writer = NULL;
    BFT_TRY(bft_writer_open(err, &writer, path));
    bft_status status = bft_writer_write(err, writer, bytes, length);
    if (status != BFT_OK) {
        bft_writer_discard(writer);
        return status;
    }
    return bft_writer_commit(err, writer);
}

bft_status bft_file_copy(bft_error *err, const char *from, const char *to) {
    bft_map map;
    bft_writer *writer = NULL;
    BFT_TRY(bft_map_open(err, &map, from));
    bft_status status = bft_writer_open(err, &writer, to);
    if (status == BFT_OK) {
        status = bft_writer_write(err, writer, map.data, map.size);
        if (status == BFT_OK) {
            status = bft_writer_commit(err, writer);
        } else {
            bft_writer_discard(writer);
        }
    }
    bft_map_close(&map);
    return status;
}
