/* What reading and writing video files share about FFmpeg's libraries. */
#ifndef WN_MEDIA_AV_H
#define WN_MEDIA_AV_H

#include "base/status.h"

/* FFmpeg prints nothing from now on, in the whole process. Thread-safe. */
void wn_av_quiet(void);

/* `ret` of an av_ call that failed while doing `what`, as a sentence: "PATH: cannot WHAT: why". The code is
 * WAN_ENOMEM where that is what `ret` says, else `code`. */
enum wan_status wn_av_fail(const char *path, int ret, enum wan_status code, const char *what,
                           struct wn_err *err);

#endif
