#include "pipe/defaults.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The official default negative prompt, and what the Wan2.1 image models put in front of it. */
#define NEGATIVE                                                                                                                                              \
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，"  \
    "JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢" \
    "体，"                                                                                                                                                  \
    "手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"

static bool is_small(const struct wn_dit_config *c)
{
    return c->dim <= 1536;
}

void wn_defaults_for(struct wn_defaults *d, const struct wn_checkpoint *ck)
{
    *d = (struct wn_defaults){.width = 1280,
                              .height = 720,
                              .frames = 81,
                              .steps = 50,
                              .fps = 16,
                              .shift = 5,
                              .guidance_low = 5,
                              .guidance_high = 5,
                              .negative = NEGATIVE,
                              .size_multiple = 16};
    switch (ck->task) {
    case WN_TASK_T2V:
    case WN_TASK_UNKNOWN:
        if (ck->has_config && is_small(&ck->config)) {
            d->width = 832;
            d->height = 480;
        }
        if (!ck->a14b) break;
        d->steps = 40;
        d->shift = 12;
        d->guidance_low = 3;
        d->guidance_high = 4;
        d->boundary = 0.875;
        break;
    case WN_TASK_I2V:
        d->steps = 40;
        if (!ck->a14b) {
            d->negative = "镜头晃动，" NEGATIVE;
            break;
        }
        d->guidance_low = d->guidance_high = 3.5;
        d->boundary = 0.9;
        break;
    case WN_TASK_TI2V:
        d->height = 704;
        d->frames = 121;
        d->fps = 24;
        d->size_multiple = 32;
        break;
    case WN_TASK_FLF2V:
        d->shift = 16;
        d->negative = "镜头切换，镜头晃动，" NEGATIVE;
        break;
    case WN_TASK_VACE: d->shift = 16; break;
    case WN_TASK_S2V:
    case WN_TASK_ANIMATE: break;
    }
}

static enum wan_status read_number(const struct wn_weights *w, const char *key, double min, double max,
                                   double *out, struct wn_err *err)
{
    const char *text = wn_weights_metadata(w, key);
    if (!text) return WAN_OK;
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end || !(v >= min && v <= max))
        return wn_fail(err, WAN_EFORMAT, "%s: metadata '%s' is '%s', expected a number from %g to %g",
                       wn_weights_path(w), key, text, min, max);
    *out = v;
    return WAN_OK;
}

enum wan_status wn_defaults_from_metadata(struct wn_defaults *d, const struct wn_weights *w,
                                          struct wn_err *err)
{
    const char *size = wn_weights_metadata(w, "wan.size");
    int width, height, end = 0;
    if (size) {
        if (sscanf(size, "%5dx%5d%n", &width, &height, &end) != 2 || size[end] || width < 16 || height < 16 ||
            width > 16384 || height > 16384)
            return wn_fail(err, WAN_EFORMAT, "%s: metadata 'wan.size' is '%s', expected WxH",
                           wn_weights_path(w), size);
        d->width = width;
        d->height = height;
    }
    double frames = d->frames, steps = d->steps, guidance = d->guidance_low;
    if (read_number(w, "wan.frames", 1, 4096, &frames, err) ||
        read_number(w, "wan.steps", 1, 1000, &steps, err) ||
        read_number(w, "wan.fps", 1, 240, &d->fps, err) ||
        read_number(w, "wan.shift", 0.01, 1000, &d->shift, err) ||
        read_number(w, "wan.guidance", 0, 1000, &guidance, err))
        return err->code;
    d->frames = (int)frames;
    d->steps = (int)steps;
    if (guidance != d->guidance_low) d->guidance_low = d->guidance_high = guidance;
    return WAN_OK;
}
