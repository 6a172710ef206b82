/* log.h: what bertft says to people while it works, on stderr. The level is the one global of the library. */
#ifndef BFT_BASE_LOG_H
#define BFT_BASE_LOG_H

typedef enum bft_log_level { BFT_LOG_QUIET, BFT_LOG_WARNINGS, BFT_LOG_INFO } bft_log_level;

void bft_log_set_level(bft_log_level level); /* BFT_LOG_INFO at start */
void bft_log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void bft_log_warning(const char *format, ...) __attribute__((format(printf, 1, 2))); /* "bertft: warning: ..." */

#endif
