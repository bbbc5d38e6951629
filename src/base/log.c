#include "base/log.h"

#include <stdio.h>

void wn_logf(const struct wn_log *log, enum wn_log_level level, const char *fmt, ...)
{
    if (!log || !log->line) return;
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    log->line(log->ctx, level, text);
}
