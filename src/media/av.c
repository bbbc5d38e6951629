#include "media/av.h"

#include <pthread.h>
#include <stdarg.h>

#include <libavutil/error.h>
#include <libavutil/log.h>

static void log_nothing(void *ctx, int level, const char *fmt, va_list ap)
{
    (void)ctx;
    (void)level;
    (void)fmt;
    (void)ap;
}

static void silence(void)
{
    av_log_set_callback(log_nothing);
}

void wn_av_quiet(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, silence);
}

enum wan_status wn_av_fail(const char *path, int ret, enum wan_status code, const char *what,
                           struct wn_err *err)
{
    char why[AV_ERROR_MAX_STRING_SIZE] = "unknown error";
    if (ret == AVERROR(ENOMEM)) code = WAN_ENOMEM;
    av_strerror(ret, why, sizeof why);
    return wn_fail(err, code, "%s: cannot %s: %s", path, what, why);
}
