#include "base/status.h"

#include <stdio.h>
#include <string.h>

const char *wan_status_name(enum wan_status status)
{
    switch (status) {
    case WAN_OK: return "WAN_OK";
    case WAN_EINVAL: return "WAN_EINVAL";
    case WAN_ENOMEM: return "WAN_ENOMEM";
    case WAN_EIO: return "WAN_EIO";
    case WAN_EFORMAT: return "WAN_EFORMAT";
    case WAN_EUNSUPPORTED: return "WAN_EUNSUPPORTED";
    case WAN_ECANCELED: return "WAN_ECANCELED";
    case WAN_ENUMERIC: return "WAN_ENUMERIC";
    case WAN_EINTERNAL: return "WAN_EINTERNAL";
    }
    return "WAN_(unknown)";
}

/* vsnprintf may have cut a UTF-8 sequence; drop an incomplete tail and neutralise control characters. */
static void tidy(char *text)
{
    size_t n = strlen(text);
    if (n + 1 == WN_ERR_TEXT_BYTES) {
        while (n > 0 && ((unsigned char)text[n - 1] & 0xC0) == 0x80) n--;
        if (n > 0 && (unsigned char)text[n - 1] >= 0xC0) n--;
        text[n] = 0;
    }
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f) *p = '?';
}

enum wan_status wn_vfail(struct wn_err *err, enum wan_status code, const char *fmt, va_list ap)
{
    if (!err) return code;
    if (err->code != WAN_OK) return err->code;
    err->code = code;
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    tidy(err->text);
    return code;
}

enum wan_status wn_fail(struct wn_err *err, enum wan_status code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    code = wn_vfail(err, code, fmt, ap);
    va_end(ap);
    return code;
}

void wn_err_prefix(struct wn_err *err, const char *fmt, ...)
{
    if (!err || err->code == WAN_OK) return;
    char old[WN_ERR_TEXT_BYTES];
    memcpy(old, err->text, sizeof old);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    size_t n = strlen(err->text);
    snprintf(err->text + n, sizeof err->text - n, ": %s", old);
    tidy(err->text);
}

enum wan_status wn_fail_nomem(struct wn_err *err, const char *what, unsigned long long bytes)
{
    return wn_fail(err, WAN_ENOMEM, "out of memory: %s needs %llu bytes", what, bytes);
}
