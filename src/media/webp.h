/* WebP files out: one picture, lossless, or an animation that loops forever.
 *
 *     wn_webp_open(&w, &p, err); for each frame: wn_webp_frame(w, rgb, err); wn_webp_commit(w, err);
 *
 * Frames are encoded and written as they come, each whole and with a duration of its own, so an animation
 * takes no more memory than one frame. (What libwebp's own animation encoder can save between frames is
 * nothing for filmed motion: 469,260 against 469,542 bytes for 33 frames of a noisy zoom, at twice the work;
 * and it joins frames that look alike.) Durations are whole milliseconds and add up to that of the video,
 * rounded. The same frames and parameters give the same bytes. libwebp takes its working memory (some 16
 * bytes a pixel) from malloc; everything else comes from base/mem.h. A writer is used by one thread at a
 * time. */
#ifndef WN_MEDIA_WEBP_H
#define WN_MEDIA_WEBP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "media/remark.h"

struct wn_webp_params {
    const char *path;
    int width, height;                /* in [1, 16383] */
    bool animated;                    /* else exactly one frame, lossless */
    int fps_num, fps_den;             /* of an animation: frames a second; fps_den 0 means 1 */
    int quality;                      /* of an animation: 1..100, lossy; 0 means WN_WEBP_QUALITY */
    const struct wn_media_text *text; /* [n_text]; go into an XMP packet, each key an XML name */
    size_t n_text;
};
enum { WN_WEBP_QUALITY = 90, WN_WEBP_MAX_SIDE = 16383 };

struct wn_webp;

/* Opens a temporary file beside `path`. The strings in `p` are not needed after the call. On failure *w is
 * NULL and nothing is left behind. Errors: WAN_EINVAL, WAN_EIO, WAN_ENOMEM. */
enum wan_status wn_webp_open(struct wn_webp **w, const struct wn_webp_params *p, struct wn_err *err);
/* Append rgb [height, width, 3]. After a failure only abort (or commit, which then fails the same way) is
 * useful. */
enum wan_status wn_webp_frame(struct wn_webp *w, const uint8_t *rgb, struct wn_err *err);
/* Finish the file and rename it to its path; frees w in every case. On failure, and with no frames, a file
 * already there stays and the partial one is removed. */
enum wan_status wn_webp_commit(struct wn_webp *w, struct wn_err *err);
/* Remove the partial file and free w. NULL is fine. */
void wn_webp_abort(struct wn_webp *w);

#endif
