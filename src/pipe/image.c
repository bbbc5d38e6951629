#include "pipe/image.h"

#include "base/mem.h"

enum { TI2V_STEP = 32 }; /* pixels: stride 16 of the VAE times the patch of 2 */

void wn_input_image_release(struct wn_input_image *img)
{
    wn_free(img->pixels);
    *img = (struct wn_input_image){0};
}

static float *alloc_pixels(struct wn_size size, struct wn_err *err)
{
    size_t n = 3 * (size_t)size.w * (size_t)size.h;
    float *pixels = wn_alloc_n(n, sizeof *pixels);
    if (!pixels) wn_fail_nomem(err, "the image", n * sizeof *pixels);
    return pixels;
}

/* All of the image, squashed to the size. */
static enum wan_status squash(struct wn_input_image *out, const struct wn_image *in, struct wn_err *err)
{
    struct wn_size from = {in->w, in->h};
    float *full = alloc_pixels(from, err);
    if (full && (out->pixels = alloc_pixels(out->size, err))) {
        wn_image_to_f32(in, full);
        wn_bicubic_f32(full, 3, from, out->pixels, out->size, err);
    }
    wn_free(full);
    return err->code;
}

/* The middle of the image, scaled to cover the size. */
static enum wan_status cover(struct wn_input_image *out, const char *path, const struct wn_image *in,
                             struct wn_err *err)
{
    struct wn_image scaled = {0}, cut = {0};
    struct wn_size resized;
    if (!wn_size_cover((struct wn_size){in->w, in->h}, out->size, &resized, err) &&
        !wn_image_resize(path, in, resized, WN_FILTER_LANCZOS, &scaled, err) &&
        !wn_image_crop(path, &scaled, out->size, &cut, err) && (out->pixels = alloc_pixels(out->size, err)))
        wn_image_to_f32(&cut, out->pixels);
    wn_image_release(&scaled);
    wn_image_release(&cut);
    return err->code;
}

enum wan_status wn_input_image_read(struct wn_input_image *out, const char *path, enum wn_task task,
                                    int64_t area, struct wn_err *err)
{
    struct wn_image in = {0};
    *out = (struct wn_input_image){0};
    if (wn_image_read(path, &in, err)) return err->code;
    struct wn_size size = {in.w, in.h};
    struct wn_err why = {0};
    bool fits = !(task == WN_TASK_TI2V ? wn_size_ti2v(size, TI2V_STEP, area, &out->size, &why)
                                       : wn_size_i2v(size, area, &out->size, &why));
    if (!fits)
        wn_fail(err, WAN_EFORMAT, "%s: %s in an area of %lld pixels", path, why.text, (long long)area);
    else if (task == WN_TASK_TI2V)
        cover(out, path, &in, err);
    else
        squash(out, &in, err);
    wn_image_release(&in);
    if (err->code) wn_input_image_release(out);
    return err->code;
}
