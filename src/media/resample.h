/* Sizes and resizing of input images, as the official code and the libraries it calls compute them. */
#ifndef WN_MEDIA_RESAMPLE_H
#define WN_MEDIA_RESAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "media/image.h"

/* ---- sizes ---- */

struct wn_size {
    int w, h;
};

/* Image to video (spec/pipelines.md 4): the aspect of an image of `image` pixels in about max_area pixels,
 * sides a multiple of 16 (the stride 8 of the VAE times the patch of 2), float64. WAN_EINVAL: so narrow that
 * a side would be 0, or a size below 1. */
enum wan_status wn_size_i2v(struct wn_size image, int64_t max_area, struct wn_size *out, struct wn_err *err);

/* TI2V-5B (spec/pipelines.md 6, best_output_size): sides are multiples of `step` (32), at most max_area
 * pixels. */
enum wan_status wn_size_ti2v(struct wn_size image, int step, int64_t max_area, struct wn_size *out,
                             struct wn_err *err);
/* What an image is resized to before `out` is cut from its middle: it covers `out` and keeps the aspect. */
enum wan_status wn_size_cover(struct wn_size image, struct wn_size out, struct wn_size *resized,
                              struct wn_err *err);

/* smart_resize of the official qwen_vl_utils.py: sides are multiples of `factor`, the area lies in
 * [min_pixels, max_pixels] and the aspect changes little. WAN_EINVAL: a side is 200 times the other or more,
 * or a size would be 0. max_pixels need not be whole (videos share a budget). */
enum wan_status wn_size_smart(struct wn_size image, int factor, double min_pixels, double max_pixels,
                              struct wn_size *out, struct wn_err *err);

/* fetch_video there: the frames of a video of which n_frames are looked at. The more, the smaller: all
 * together may have 24576 times 28 x 28 pixels. WAN_EINVAL likewise. */
enum wan_status wn_size_smart_video(struct wn_size frame, int64_t n_frames, struct wn_size *out,
                                    struct wn_err *err);

/* ---- frames of an input video ---- */

/* smart_nframes: how many of total_frames to look at. WAN_EINVAL: the answer is not in [2, total_frames]. */
struct wn_frame_wish {
    double n_frames;               /* this many, rounded to an even number; 0: by the rate below */
    double fps;                    /* 0: 2 */
    double min_frames, max_frames; /* 0: 4, and the smaller of 768 and total_frames */
};
enum wan_status wn_frames_count(struct wn_frame_wish wish, int64_t total_frames, double video_fps, int64_t *n,
                                struct wn_err *err);
/* index[n] = torch.linspace(0, total_frames - 1, n).round(): n frames spread over the video, ends included.
 * In float32; torch rounds differently from CPU to CPU, so past some 16000 frames an index may be one off. */
void wn_frames_spread(int64_t total_frames, int64_t n, int64_t *index);

/* What a video shows at times 0, 1 / fps, 2 / fps, ...: get_frame_indices of the official Animate code. Past
 * the end the last frame is repeated. index [n]. total_frames, video_fps, fps > 0. */
void wn_frames_at_rate(int64_t total_frames, double video_fps, double fps, int64_t n, int64_t *index);

/* The last n frames at about `fps` (every k-th of the video), or from its start on: read_last_n_frames of the
 * official speech-to-video code. index [n]; returns how many there are. Likewise. */
int64_t wn_frames_at_end(int64_t total_frames, double video_fps, double fps, int64_t n, bool from_start,
                         int64_t *index);

/* ---- 8-bit pixels ---- */

enum wn_filter { WN_FILTER_LANCZOS, WN_FILTER_BICUBIC };

/* Pillow's Image.resize, to the bit: separable, across first, 8-bit between the passes, weights in 22-bit
 * fixed point; a pass that changes no size is skipped. (Pillow 13 goes down first when the height loses more
 * than twice the pixels the width does; values then differ by a rounding. The order here is that of all
 * versions before.) `out` is allocated (on failure zeroed) and may not be `in`. `name` is for messages.
 * Errors: WAN_EINVAL, WAN_EFORMAT (size out of bounds), WAN_ENOMEM. */
enum wan_status wn_image_resize(const char *name, const struct wn_image *in, struct wn_size size,
                                enum wn_filter filter, struct wn_image *out, struct wn_err *err);

/* The middle of `in` (left and top halves rounded down). WAN_EINVAL: `size` is larger than the image. */
enum wan_status wn_image_crop(const char *name, const struct wn_image *in, struct wn_size size,
                              struct wn_image *out, struct wn_err *err);

/* ---- floats ---- */

/* out [3, h, w]: pixel / 255, minus 0.5, divided by 0.5, in float32. */
void wn_image_to_f32(const struct wn_image *in, float *out);

/* in [n, ih, iw] to out [n, oh, ow]: torch's interpolate(mode="bicubic"): a = -0.75, align_corners False, no
 * antialias, edge pixels repeated, no clamp; positions in float32, as there. Errors: WAN_EINVAL, WAN_ENOMEM.
 */
enum wan_status wn_bicubic_f32(const float *in, int n, struct wn_size from, float *out, struct wn_size to,
                               struct wn_err *err);

#endif
