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

/* What this program writes into every file, and reads again. */
enum { WN_REMARK_COMMENT, WN_REMARK_DESCRIPTION, WN_REMARK_COUNT };
struct wn_remarks {
    char *value[WN_REMARK_COUNT]; /* NULL: the file has none */
};
/* From a PNG, WebP, MP4 or WebM file, known by its content. Release in any case. WAN_EIO, WAN_EFORMAT,
 * WAN_ENOMEM. */
enum wan_status wn_remarks_read(struct wn_remarks *remarks, const char *path, struct wn_err *err);
void wn_remarks_release(struct wn_remarks *remarks);

#endif
