/* log.c: lines on stderr. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

static bft_log_level level = BFT_LOG_INFO;

void bft_log_set_level(bft_log_level wanted) {
    level = wanted;
}

static void line(const char *prefix, const char *format, va_list arguments) {
    flockfile(stderr);
    fputs(prefix, stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    funlockfile(stderr);
}

void bft_log_info(const char *format, ...) {
    if (level >= BFT_LOG_INFO) {
        va_list arguments;
        va_start(arguments, format);
        line("", format, arguments);
        va_end(arguments);
    }
}

void bft_log_warning(const char *format, ...) {
    if (level >= BFT_LOG_WARNINGS) {
        va_list arguments;
        va_start(arguments, format);
        line("bertft: warning: ", format, arguments);
        va_end(arguments);
    }
}
