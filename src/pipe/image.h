/* Input images, as each official pipeline prepares them for the VAE (spec/pipelines.md 4 to 6). */
#ifndef WN_PIPE_IMAGE_H
#define WN_PIPE_IMAGE_H

#include <stdint.h>

#include "io/checkpoint.h"
#include "media/resample.h"

/* What an image to video task takes as its input. */
struct wn_input_image {
    float *pixels; /* [3, h, w] in [-1, 1], bicubic values may overshoot */
    struct wn_size size;
};
void wn_input_image_release(struct wn_input_image *img); /* fine on a zeroed struct */

/* Read a still image and bring it to the size that the task gives a video of about `area` pixels: WN_TASK_I2V
 * and WN_TASK_FLF2V squash it by torch's bicubic to sides that are multiples of 16, WN_TASK_TI2V scales by
 * Pillow's LANCZOS and cuts the middle, sides multiples of 32. On failure *out is zeroed. */
enum wan_status wn_input_image_read(struct wn_input_image *out, const char *path, enum wn_task task,
                                    int64_t area, struct wn_err *err);

#endif
