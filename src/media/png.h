/* PNG files, and the names of a sequence of them. */
#ifndef WN_MEDIA_PNG_H
#define WN_MEDIA_PNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* One "key: value" remark in a media file: UTF-8, NUL-terminated. */
struct wn_media_text {
    const char *key, *value;
};

/* Write rgb [h, w, 3] as an 8-bit RGB file at `path`, whole or not at all (a file already there stays until
 * then). Keys are 1 to 79 printable ASCII characters. w, h in [1, 65535]. Errors: WAN_EINVAL, WAN_EIO,
 * WAN_ENOMEM. */
enum wan_status wn_png_write(const char *path, const uint8_t *rgb, int w, int h,
                             const struct wn_media_text *text, size_t n_text, struct wn_err *err);

/* Names such as "dir/frame_%04d.png". The file name (never the folder part) holds exactly one %d, %Nd or %0Nd
 * with N in 1..9; "%%" is a percent sign. No part of the name ever reaches printf as a format. */
bool wn_frame_pattern_has(const char *path); /* is there any '%' in the file name? */
enum wan_status wn_frame_pattern_check(const char *pattern, struct wn_err *err);
/* The name of frame `index` >= 0; free with wn_free. NULL: out of memory, or the pattern is not valid. */
char *wn_frame_pattern_expand(const char *pattern, int64_t index);

#endif
