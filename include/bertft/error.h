/* error.h: how every fallible function of bertft reports failure.
 *
 * A function that can fail returns a bft_status and takes a bft_error * first. On failure the error holds one line
 * that names the file and the place, says what is wrong and what would be right; on success it is left untouched.
 * The library never prints, exits or aborts on bad input. */
#ifndef BERTFT_ERROR_H
#define BERTFT_ERROR_H

#include <stdarg.h>

/* The values are the exit codes of the command line. */
typedef enum bft_status {
    BFT_OK = 0,
    BFT_FAILED = 1, /* the machine failed: memory, disk, permissions while writing */
    BFT_BAD = 2     /* the caller's usage, configuration or input is wrong */
} bft_status;

enum { BFT_ERROR_SIZE = 1024 };

typedef struct bft_error {
    bft_status status;
    char message[BFT_ERROR_SIZE]; /* one line without a newline; valid UTF-8 if the arguments were */
} bft_error;

/* Formats the message, replacing control characters so that it stays one line, and returns `status`:
 * `return bft_error_set(err, BFT_BAD, "%s:%zu: ...", path, line);` */
bft_status bft_error_set(bft_error *err, bft_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same for the failure of a system call: appends ": " and the text of errno. A missing or unreadable input is
 * BFT_BAD; everything else that the system refuses is BFT_FAILED; the caller says which. */
bft_status bft_error_errno(bft_error *err, bft_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the message of an error that a lower layer set, and returns its status. */
bft_status bft_error_prefix(bft_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Out of memory, with the size that was asked for. */
bft_status bft_error_memory(bft_error *err, unsigned long long bytes);

/* Passes a failure up, keeping the happy path flat. */
#define BFT_TRY(expression)                                                                                            \
    do {                                                                                                               \
        bft_status try_status_ = (expression);                                                                         \
        if (try_status_ != BFT_OK) {                                                                                   \
            return try_status_;                                                                                        \
        }                                                                                                              \
    } while (0)

#endif
