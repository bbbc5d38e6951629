/* Frames of floats in [-1, 1] to 8-bit RGB, by the two rules of the official code (spec/pipelines.md 9). */
#ifndef WN_MEDIA_PIXELS_H
#define WN_MEDIA_PIXELS_H

#include <stdint.h>

/* Channel c of pixel (x, y) is data[c * c_stride + y * y_stride + x * x_stride]; c = 0, 1, 2: red, green,
 * blue. */
struct wn_frame_f32 {
    const float *data;
    int width, height;
    int64_t c_stride, y_stride, x_stride; /* in elements */
};
/* Frame t of a video [3, T, H, W], and of one [T, H, W, 3]. */
struct wn_frame_f32 wn_frame_planar(const float *video, int n_frames, int height, int width, int t);
struct wn_frame_f32 wn_frame_packed(const float *video, int height, int width, int t);

/* rgb [H, W, 3]. Values are clamped first; NaN becomes 0. */
void wn_pixels_truncate(struct wn_frame_f32 f, uint8_t *rgb); /* videos: (x + 1) / 2 * 255, truncated */
void wn_pixels_round(struct wn_frame_f32 f, uint8_t *rgb);    /* still images: the same, rounded */

#endif
