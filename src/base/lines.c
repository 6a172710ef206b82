/* lines.c: one window over the input, plain or through zlib. */
#include "base/lines.h"

#include "base/buffer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { WINDOW = 1 << 16 };

struct bft_lines {
    int fd;
    bool gzip, member_open, ended,
        started; /* ended: no byte will follow the window; started: a byte order mark was looked for */
    z_stream stream;
    size_t longest, number;
    size_t raw_start, raw_end; /* unread bytes in raw: compressed, or the window itself */
    size_t start, end;         /* unread bytes in text */
    bft_buffer line;
    const char *ending; /* of the line given last */
    char *name;
    unsigned char raw[WINDOW], text[WINDOW];
};

static bft_status read_raw(bft_error *err, bft_lines *lines, bool *end) {
    for (;;) {
        ssize_t got = read(lines->fd, lines->raw, WINDOW);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return bft_error_errno(err, BFT_BAD, "%s: cannot read", lines->name);
        }
        lines->raw_start = 0;
        lines->raw_end = (size_t)got;
        *end = got == 0;
        return BFT_OK;
    }
}

/* Fills the text window from gzip members laid end to end, as gzip -c a b writes them. */
static bft_status fill_inflated(bft_error *err, bft_lines *lines) {
    z_stream *z = &lines->stream;
    z->next_out = lines->text;
    z->avail_out = WINDOW;
    while (z->avail_out == WINDOW) {
        if (lines->raw_start == lines->raw_end) {
            bool end;
            BFT_TRY(read_raw(err, lines, &end));
            if (end && lines->member_open) {
                return bft_error_set(err, BFT_BAD, "%s:%zu: the gzip data is cut short", lines->name,
                                     lines->number + 1);
            }
            if (end) {
                lines->ended = true;
                return BFT_OK;
            }
        }
        if (!lines->member_open) {
            inflateReset(z);
            lines->member_open = true;
        }
        z->next_in = lines->raw + lines->raw_start;
        z->avail_in = (uInt)(lines->raw_end - lines->raw_start);
        int code = inflate(z, Z_NO_FLUSH);
        lines->raw_start = lines->raw_end - z->avail_in;
        if (code == Z_STREAM_END) {
            lines->member_open = false;
        } else if (code != Z_OK && code != Z_BUF_ERROR) {
            return bft_error_set(err, BFT_BAD, "%s:%zu: the gzip data is damaged: %s", lines->name, lines->number + 1,
                                 z->msg != NULL ? z->msg : "unknown reason");
        }
        lines->end = WINDOW - z->avail_out;
    }
    return BFT_OK;
}

/* Makes at least one byte available in the text window unless the input has ended. */
static bft_status fill(bft_error *err, bft_lines *lines) {
    lines->start = lines->end = 0;
    if (lines->gzip) {
        return fill_inflated(err, lines);
    }
    if (lines->raw_start == lines->raw_end) {
        bool end;
        BFT_TRY(read_raw(err, lines, &end));
        lines->ended = end;
    }
    lines->end = lines->raw_end - lines->raw_start;
    memcpy(lines->text, lines->raw + lines->raw_start, lines->end);
    lines->raw_start = lines->raw_end = 0;
    return BFT_OK;
}

static bft_status open_input(bft_error *err, bft_lines *lines, const char *path) {
    bool is_stdin = strcmp(path, "-") == 0;
    lines->name = strdup(is_stdin ? "<stdin>" : path);
    if (lines->name == NULL) {
        return bft_error_memory(err, strlen(path) + 1);
    }
    lines->fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (lines->fd < 0) {
        return bft_error_errno(err, BFT_BAD, "%s: cannot open", path);
    }
    struct stat info;
    if (fstat(lines->fd, &info) != 0) { /* stdin may be closed */
        return bft_error_errno(err, BFT_BAD, "%s: cannot read", lines->name);
    }
    if (S_ISDIR(info.st_mode)) {
        return bft_error_set(err, BFT_BAD, "%s: is a folder, a file is expected", path);
    }
    return BFT_OK;
}

/* Tells gzip by its first two bytes. A pipe that has given one byte only, another than 0x1f, is plain: no waiting for the second. */
static bft_status detect_gzip(bft_error *err, bft_lines *lines) {
    bool end;
    BFT_TRY(read_raw(err, lines, &end));
    lines->ended = end;
    while (lines->raw_end == 1 && lines->raw[0] == 0x1f && !end) {
        ssize_t got = read(lines->fd, lines->raw + 1, 1);
        if (got < 0 && errno != EINTR) {
            return bft_error_errno(err, BFT_BAD, "%s: cannot read", lines->name);
        }
        end = got == 0;
        lines->raw_end += got > 0;
    }
    if (lines->raw_end >= 2 && lines->raw[0] == 0x1f && lines->raw[1] == 0x8b) {
        if (inflateInit2(&lines->stream, 15 + 16) != Z_OK) {
            return bft_error_memory(err, 1 << 16);
        }
        lines->gzip = true;
    }
    return BFT_OK;
}

bft_status bft_lines_open(bft_error *err, bft_lines **out, const char *path, size_t longest) {
    bft_lines *lines = calloc(1, sizeof *lines);
    if (lines == NULL) {
        return bft_error_memory(err, sizeof *lines);
    }
    lines->fd = -1;
    lines->longest = longest;
    bft_status status = open_input(err, lines, path);
    if (status != BFT_OK) {
        bft_lines_close(lines);
        return status;
    }
    *out = lines;
    return BFT_OK;
}

void bft_lines_close(bft_lines *lines) {
    if (lines == NULL) {
        return;
    }
    if (lines->gzip) {
        inflateEnd(&lines->stream);
    }
    if (lines->fd > STDIN_FILENO) {
        close(lines->fd);
    }
    bft_buffer_free(&lines->line);
    free(lines->name);
    free(lines);
}

/* The first look at the input: gzip or not, and a byte order mark to drop. */
static bft_status start(bft_error *err, bft_lines *lines) {
    lines->started = true;
    BFT_TRY(detect_gzip(err, lines));
    if (!lines->ended) {
        BFT_TRY(fill(err, lines));
    }
    while (lines->end < 3 && !lines->ended && memcmp(lines->text, "\xEF\xBB\xBF", lines->end) == 0 && !lines->gzip) {
        size_t have = lines->end;
        bool end;
        BFT_TRY(read_raw(err, lines, &end)); /* at most a window: it fits behind `have` minus its last bytes */
        size_t take = lines->raw_end < WINDOW - have ? lines->raw_end : WINDOW - have;
        memcpy(lines->text + have, lines->raw, take);
        lines->raw_start = take;
        lines->end = have + take;
        lines->ended = end;
    }
    if (lines->end >= 3 && memcmp(lines->text, "\xEF\xBB\xBF", 3) == 0) {
        lines->start = 3;
    }
    return BFT_OK;
}

/* Keeps one byte more than a line may have: it can be the CR of a line that is just as long as it may be. */
static bft_status keep(bft_error *err, bft_lines *lines, const unsigned char *bytes, size_t count, bool *cut) {
    size_t room = lines->longest == 0 ? count : lines->longest + 1 - lines->line.length;
    if (count > room) {
        *cut = true;
        count = room;
    }
    return bft_buffer_append(err, &lines->line, bytes, count);
}

bft_status bft_lines_next(bft_error *err, bft_lines *lines, char **line, size_t *length, bool *cut, bool *more) {
    *line = NULL;
    *length = 0;
    *cut = false;
    *more = false;
    if (!lines->started) {
        BFT_TRY(start(err, lines));
    }
    bft_buffer_clear(&lines->line);
    bool any = false, found = false;
    while (!found) {
        if (lines->start == lines->end) {
            if (!lines->ended) {
                BFT_TRY(fill(err, lines));
            }
            if (lines->start == lines->end) {
                break;
            }
        }
        any = true;
        const unsigned char *from = lines->text + lines->start;
        const unsigned char *newline = memchr(from, '\n', lines->end - lines->start);
        size_t count = newline != NULL ? (size_t)(newline - from) : lines->end - lines->start;
        found = newline != NULL;
        BFT_TRY(keep(err, lines, from, count, cut));
        lines->start += count + found;
    }
    if (!any) {
        return BFT_OK;
    }
    BFT_TRY(bft_buffer_reserve(err, &lines->line, 0));
    lines->ending = found ? "\n" : "";
    if (!*cut && lines->line.length > 0 && lines->line.data[lines->line.length - 1] == '\r') {
        lines->line.data[--lines->line.length] = '\0';
        lines->ending = found ? "\r\n" : "\r";
    }
    if (lines->longest > 0 && lines->line.length > lines->longest) {
        *cut = true;
        lines->line.length = lines->longest;
        lines->line.data[lines->line.length] = '\0';
    }
    lines->number++;
    *line = lines->line.data;
    *length = lines->line.length;
    *more = true;
    return BFT_OK;
}

size_t bft_lines_number(const bft_lines *lines) {
    return lines->number;
}

const char *bft_lines_ending(const bft_lines *lines) {
    return lines->ending;
}

const char *bft_lines_name(const bft_lines *lines) {
    return lines->name;
}

/* Adds what has arrived to the window without waiting; false where nothing has. */
static bool top_up(bft_lines *lines) {
    struct pollfd ready = {.fd = lines->fd, .events = POLLIN};
    if (poll(&ready, 1, 0) == 0) {
        return false;
    }
    size_t have = lines->end - lines->start;
    memmove(lines->text, lines->text + lines->start, have);
    ssize_t got = read(lines->fd, lines->text + have, WINDOW - have);
    lines->start = 0;
    lines->end = have + (got > 0 ? (size_t)got : 0);
    lines->ended = got == 0; /* a failure will come again, where it can be told */
    return got >= 0 || errno == EINTR;
}

bool bft_lines_would_block(bft_lines *lines) {
    while (!lines->ended && memchr(lines->text + lines->start, '\n', lines->end - lines->start) == NULL) {
        bool whole_window = lines->end - lines->start == WINDOW;
        if (!lines->started || lines->gzip || lines->raw_start < lines->raw_end || whole_window) {
            struct pollfd ready = {.fd = lines->fd, .events = POLLIN};
            return lines->raw_start == lines->raw_end && poll(&ready, 1, 0) == 0;
        }
        if (!top_up(lines)) {
            return true;
        }
    }
    return false;
}
