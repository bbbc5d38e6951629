/* XMP packets: remarks in the form that picture programs read and show. */
#ifndef WN_MEDIA_XMP_H
#define WN_MEDIA_XMP_H

#include "base/mem.h"
#include "base/status.h"
#include "media/remark.h"

/* Append a packet with `text` [n]: "title" and "description" as those of Dublin Core, "comment" as Exif's
 * user comment, any other key as a property of this program's own namespace. What XML cannot hold (control
 * characters, broken UTF-8) becomes U+FFFD. `path` is for messages. Errors: WAN_EINVAL (a key that is no XML
 * name), WAN_ENOMEM. */
enum wan_status wn_xmp_add(struct wn_str *out, const char *path, const struct wn_media_text *text, size_t n,
                           struct wn_err *err);

#endif
