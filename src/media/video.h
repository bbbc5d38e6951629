/* Video files, written frame by frame.
 *
 *     wn_video_open(&v, &p, err); for each frame: wn_video_frame(v, rgb, err); wn_video_commit(v, err);
 *
 * .mp4 is H.264, .webm is VP9 (where FFmpeg lacks that, AV1 or VP8); 4:2:0, converted with and tagged as
 * BT.709 limited range, index in front. The same frames and parameters give the same bytes. A writer is used
 * by one thread at a time; different writers are independent. */
#ifndef WN_MEDIA_VIDEO_H
#define WN_MEDIA_VIDEO_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "media/remark.h"

struct wn_video_params {
    const char *path;     /* .mp4 or .webm */
    int width, height;    /* even, in [16, 16384] */
    int fps_num, fps_den; /* frames a second; fps_den 0 means 1 */
    int crf;              /* H.264's constant rate factor 1..51, lower is better; 0 means WN_VIDEO_CRF. Other
                             codecs get the same share of their own scale */
    int n_threads; /* of the encoder; 0 means WN_VIDEO_THREADS. The bytes depend on it, so the default is a
                      constant and not the number of cores */
    const char *encoder;              /* NULL: the best there is for this kind of file */
    const struct wn_media_text *text; /* [n_text]: "comment", "description", "title", or any other key */
    size_t n_text;
};
enum {
    WN_VIDEO_CRF = 10, /* what the official quality 8 becomes in imageio */
    WN_VIDEO_THREADS = 4
};

struct wn_video;

/* Is `path` the name of a kind of video that can be written, and is there an encoder? WAN_EINVAL,
 * WAN_EUNSUPPORTED. */
enum wan_status wn_video_check(const char *path, struct wn_err *err);

/* Opens a temporary file beside `path`. The strings in `p` are not needed after the call. On failure *v is
 * NULL and nothing is left behind. Errors: WAN_EINVAL, WAN_EUNSUPPORTED (no encoder for this kind of file),
 * WAN_EIO, WAN_ENOMEM. */
enum wan_status wn_video_open(struct wn_video **v, const struct wn_video_params *p, struct wn_err *err);
/* Append rgb [height, width, 3]. After a failure only abort (or commit, which then fails the same way) is
 * useful. */
enum wan_status wn_video_frame(struct wn_video *v, const uint8_t *rgb, struct wn_err *err);
/* Finish the file and rename it to `path`; frees v in every case. On failure, and with no frames, a file
 * already at `path` stays and the partial one is removed. */
enum wan_status wn_video_commit(struct wn_video *v, struct wn_err *err);
/* Remove the partial file and free v. NULL is fine. */
void wn_video_abort(struct wn_video *v);

#endif
