/* Errors: a code and one sentence. The first failure wins; later ones do not overwrite it. */
#ifndef WN_BASE_STATUS_H
#define WN_BASE_STATUS_H

#include <stdarg.h>
#include "wan/status.h"

#if defined(__GNUC__)
#define WN_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define WN_PRINTF(fmt, args)
#endif

enum { WN_ERR_TEXT_BYTES = 768 };

/* Zero-initialise (`struct wn_err err = {0}`) and pass down. Not thread-safe: one per job. */
struct wn_err {
    enum wan_status code;
    char text[WN_ERR_TEXT_BYTES]; /* one sentence, no trailing newline */
};

/* Record a failure and return its code; `err` may be NULL. If `err` already holds a failure, that one is kept
 * and returned. Text is cut to fit, at a UTF-8 boundary; control characters become '?', since names come from
 * files. */
enum wan_status wn_fail(struct wn_err *err, enum wan_status code, const char *fmt, ...) WN_PRINTF(3, 4);
enum wan_status wn_vfail(struct wn_err *err, enum wan_status code, const char *fmt, va_list ap);

/* Put "context: " in front of a failure already recorded. */
void wn_err_prefix(struct wn_err *err, const char *fmt, ...) WN_PRINTF(2, 3);

/* Out of memory while making `what`. */
enum wan_status wn_fail_nomem(struct wn_err *err, const char *what, unsigned long long bytes);

#endif
