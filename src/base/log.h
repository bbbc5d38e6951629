/* Log lines go to a callback, or nowhere. */
#ifndef WN_BASE_LOG_H
#define WN_BASE_LOG_H

#include "base/status.h"

enum wn_log_level { WN_LOG_ERROR, WN_LOG_WARN, WN_LOG_NOTICE, WN_LOG_INFO, WN_LOG_DEBUG };

struct wn_log {
    void (*line)(void *ctx, enum wn_log_level level, const char *text); /* one line, no newline */
    void *ctx;
};

/* `log` may be NULL. Thread-safe if the callback is. */
void wn_logf(const struct wn_log *log, enum wn_log_level level, const char *fmt, ...) WN_PRINTF(3, 4);

#endif
