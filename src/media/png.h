/* PNG files out. */
#ifndef WN_MEDIA_PNG_H
#define WN_MEDIA_PNG_H

#include <stddef.h>
#include <stdint.h>

#include "base/file.h"
#include "base/status.h"
#include "media/remark.h"

/* Write rgb [h, w, 3] as an 8-bit RGB file at `path`, whole or not at all (a file already there stays until
 * then). Keys are 1 to 79 printable ASCII characters. w, h in [1, 65535]. Errors: WAN_EINVAL, WAN_EIO,
 * WAN_ENOMEM. */
enum wan_status wn_png_write(const char *path, const uint8_t *rgb, int w, int h,
                             const struct wn_media_text *text, size_t n_text, struct wn_err *err);

/* The same, but the file waits under its temporary name for the caller to commit or abort it. On failure
 * *file is aborted. */
enum wan_status wn_png_begin(struct wn_new_file *file, const char *path, const uint8_t *rgb, int w, int h,
                             const struct wn_media_text *text, size_t n_text, struct wn_err *err);

#endif
