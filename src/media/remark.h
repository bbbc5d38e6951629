/* Remarks that go along in a media file, such as the parameters it was made with. */
#ifndef WN_MEDIA_REMARK_H
#define WN_MEDIA_REMARK_H

#include <stddef.h>

#include "base/status.h"

/* One "key: value" remark: UTF-8, NUL-terminated. */
struct wn_media_text {
    const char *key, *value;
};

enum { WN_REMARK_MAX_BYTES = 1 << 24 }; /* of a value */

/* May `text` [n] go into a video or WebP file? Keys are 1 to 79 printable ASCII characters without spaces.
 * `path` is for the message. WAN_EINVAL. */
enum wan_status wn_remarks_check(const char *path, const struct wn_media_text *text, size_t n,
                                 struct wn_err *err);

#endif
