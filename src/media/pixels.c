#include "media/pixels.h"

#include <math.h>

struct wn_frame_f32 wn_frame_planar(const float *video, int n_frames, int height, int width, int t)
{
    int64_t plane = (int64_t)height * width;
    return (struct wn_frame_f32){video + t * plane, width, height, n_frames * plane, width, 1};
}

struct wn_frame_f32 wn_frame_packed(const float *video, int height, int width, int t)
{
    int64_t row = (int64_t)width * 3;
    return (struct wn_frame_f32){video + t * height * row, width, height, 1, row, 3};
}

/* In float32 and in this order, as torchvision computes it: (x + 1) / 2, times 255, plus `bias`, cut. The
 * comparisons are written so that NaN fails the first and becomes -1. */
static inline uint8_t quantise(float x, float bias)
{
    x = isgreater(x, -1.0f) ? x : -1.0f;
    x = isless(x, 1.0f) ? x : 1.0f;
    return (uint8_t)(int)((x + 1.0f) * 0.5f * 255.0f + bias);
}

static void convert(const struct wn_frame_f32 *f, float bias, uint8_t *restrict rgb)
{
    const int64_t w = f->width, xs = f->x_stride;
    for (int64_t y = 0; y < f->height; y++, rgb += 3 * w) {
        const float *r = f->data + y * f->y_stride, *g = r + f->c_stride, *b = g + f->c_stride;
        if (xs == 3 && f->c_stride == 1) {
            for (int64_t i = 0; i < 3 * w; i++) rgb[i] = quantise(r[i], bias);
        } else if (xs == 1) {
            for (int64_t i = 0; i < w; i++) {
                rgb[3 * i] = quantise(r[i], bias);
                rgb[3 * i + 1] = quantise(g[i], bias);
                rgb[3 * i + 2] = quantise(b[i], bias);
            }
        } else {
            for (int64_t i = 0; i < w; i++) {
                rgb[3 * i] = quantise(r[i * xs], bias);
                rgb[3 * i + 1] = quantise(g[i * xs], bias);
                rgb[3 * i + 2] = quantise(b[i * xs], bias);
            }
        }
    }
}

void wn_pixels_truncate(struct wn_frame_f32 f, uint8_t *rgb)
{
    convert(&f, 0, rgb);
}

void wn_pixels_round(struct wn_frame_f32 f, uint8_t *rgb)
{
    convert(&f, 0.5f, rgb);
}
