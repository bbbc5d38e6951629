/* What a run is written to, of whatever kind: the name tells.
 *
 *     wn_output_open(&o, &p, err); for each frame: wn_output_frame(o, rgb, err); wn_output_commit(o, err);
 *
 * .mp4, .webm: a video. .webp: an animation, lossy, or of one frame a picture, lossless. .png: a picture of
 * one frame. A name with a frame number, as f_%04d.png or f_%04d.webp: a picture for each frame, lossless,
 * which is there as soon as its frame is written.
 *
 * Every file appears whole or not at all, and a single one at the commit only: until then a file of that name
 * stays as it was. An output is used by one thread at a time. */
#ifndef WN_MEDIA_OUTPUT_H
#define WN_MEDIA_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "media/remark.h"

struct wn_output_params {
    const char *path;
    int width, height;
    int n_frames; /* that will come: at least 1 */
    double fps;
    int crf; /* H.264's constant rate factor, 1..51; 0: the default. WebP animations get quality 100 - crf */
    const struct wn_media_text *text; /* [n_text]; stay the caller's and valid until commit or abort */
    size_t n_text;
};

/* Could `n_frames` frames (0: not known yet) be written to `path`? Looks at the name, its folder and the
 * encoders there are; writes nothing. WAN_EINVAL, WAN_EUNSUPPORTED, WAN_EIO. */
enum wan_status wn_output_check(const char *path, int n_frames, struct wn_err *err);

/* Is it there, every frame of it? A damaged file is there too. */
bool wn_output_exists(const char *path, int n_frames);

struct wn_output;

/* On failure *out is NULL and nothing is left behind. Errors: those of the check, WAN_ENOMEM. */
enum wan_status wn_output_open(struct wn_output **out, const struct wn_output_params *p, struct wn_err *err);
/* The next frame, rgb [height, width, 3]. After a failure only abort is useful. */
enum wan_status wn_output_frame(struct wn_output *o, const uint8_t *rgb, struct wn_err *err);
/* Frees o in every case. WAN_EINVAL when frames are missing; then, and on any failure, the partial file is
 * removed. */
enum wan_status wn_output_commit(struct wn_output *o, struct wn_err *err);
/* Remove the partial file and free o. NULL is fine. */
void wn_output_abort(struct wn_output *o);

#endif
