/* Video files in: frames by their number, as RGB.
 *
 * Any file that FFmpeg's own demuxers for video files and its decoders know; never one that leads to other
 * files (playlists). Colours are converted by the tags of the stream: its matrix (BT.601 where none is named)
 * and its range; chroma as FFmpeg's scaler does by default, which is what the readers of the official code
 * use. Turned by the file's display matrix where that is a multiple of 90 degrees. The shape of pixels is not
 * applied. FFmpeg's libraries take their memory from malloc, bounded by the frame size; everything else comes
 * from base/mem.h. A clip is used by one thread at a time. */
#ifndef WN_MEDIA_CLIP_H
#define WN_MEDIA_CLIP_H

#include <stdint.h>

#include "base/status.h"
#include "media/resample.h"

enum {
    WN_CLIP_MAX_SIDE = 16384,
    WN_CLIP_MAX_PIXELS = 1 << 26, /* of a frame */
    WN_CLIP_MAX_FRAMES = 1 << 20
};

struct wn_clip_info {
    int width, height; /* of the first frame, turned; later ones of another size are scaled to it */
    double fps;        /* average */
    int64_t n_frames;  /* that can be decoded, at least 1 */
};

struct wn_clip;

/* Decodes the whole file once, to count. `cancelled` (may be NULL) is asked between packets; non-zero from it
 * stops with WAN_ECANCELED, now and in later calls. On failure *clip is NULL. Errors: WAN_EIO, WAN_EFORMAT
 * (no video, damaged, out of bounds), WAN_EUNSUPPORTED (no decoder), WAN_ENOMEM, WAN_ECANCELED. */
enum wan_status wn_clip_open(struct wn_clip **clip, const char *path, int (*cancelled)(void *ctx), void *ctx,
                             struct wn_err *err);
void wn_clip_close(struct wn_clip *clip); /* NULL is fine */
const struct wn_clip_info *wn_clip_info(const struct wn_clip *clip);

/* Call fn(ctx, k, rgb, err) for each k of [0, n) in order, rgb [height, width, 3] being frame index[k], valid
 * during the call. Indices never go down, and lie in [0, n_frames). Anything but WAN_OK from fn stops, and is
 * returned. Decodes from the start to the last index. Errors: WAN_EINVAL, those of fn and of opening. */
enum wan_status wn_clip_frames(struct wn_clip *clip, const int64_t *index, int64_t n,
                               enum wan_status (*fn)(void *ctx, int64_t k, const uint8_t *rgb,
                                                     struct wn_err *err),
                               void *ctx, struct wn_err *err);

/* Which frames to look at: wn_frames_count and wn_frames_spread of this clip. *index [*n] is freed with
 * wn_free. */
enum wan_status wn_clip_sample(const struct wn_clip *clip, struct wn_frame_wish wish, int64_t **index,
                               int64_t *n, struct wn_err *err);

#endif
