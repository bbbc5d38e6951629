#include "media/image.h"

#include <stdbool.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"

void wn_image_release(struct wn_image *img)
{
    wn_free(img->rgb);
    *img = (struct wn_image){0};
}

enum wan_status wn_image_alloc(struct wn_image *img, const char *name, uint64_t w, uint64_t h,
                               struct wn_err *err)
{
    *img = (struct wn_image){0};
    if (w < 1 || h < 1 || w > WN_IMAGE_MAX_SIDE || h > WN_IMAGE_MAX_SIDE || w * h > WN_IMAGE_MAX_PIXELS)
        return wn_fail(err, WAN_EFORMAT,
                       "%s: an image of %llu x %llu pixels; sides must be 1 to %d, and the area at most %d",
                       name, (unsigned long long)w, (unsigned long long)h, WN_IMAGE_MAX_SIDE,
                       WN_IMAGE_MAX_PIXELS);
    if (!(img->rgb = wn_alloc((size_t)(w * h * 3)))) return wn_fail_nomem(err, name, w * h * 3);
    img->w = (int)w;
    img->h = (int)h;
    return WAN_OK;
}

static bool holds(const uint8_t *data, size_t n, size_t at, const char *magic, size_t length)
{
    return n >= at + length && !memcmp(data + at, magic, length);
}

/* What other kinds of file begin with, so that the message can name them. */
static const char *other_kind(const uint8_t *data, size_t n)
{
    static const struct {
        unsigned at, length;
        const char *magic, *kind;
    } kinds[] = {
        {0, 4, "GIF8", "a GIF image"},
        {0, 2, "BM", "a BMP image"},
        {0, 4, "II*\0", "a TIFF image"},
        {0, 4, "MM\0*", "a TIFF image"},
        {4, 8, "ftypavif", "an AVIF image"},
        {4, 8, "ftypavis", "an AVIF image"},
        {4, 8, "ftypheic", "a HEIC image"},
        {4, 8, "ftypmif1", "a HEIF image"},
        {0, 2, "\xff\x0a", "a JPEG XL image"},
        {4, 8, "JXL \r\n\x87\n", "a JPEG XL image"},
        {4, 8, "jP  \r\n\x87\n", "a JPEG 2000 image"},
        {4, 4, "ftyp", "a video"},
        {0, 4, "\x1a\x45\xdf\xa3", "a video"},
        {0, 4, "%PDF", "a PDF document"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (holds(data, n, kinds[i].at, kinds[i].magic, kinds[i].length)) return kinds[i].kind;
    return "not an image of a known kind";
}

static enum wan_status decode(const char *name, const uint8_t *data, size_t n, struct wn_image *img,
                              struct wn_err *err)
{
    if (!n) return wn_fail(err, WAN_EFORMAT, "%s: the file is empty", name);
    if (holds(data, n, 0, "\x89PNG\r\n\x1a\n", 8)) return wn_png_decode(name, data, n, img, err);
    if (holds(data, n, 0, "\xff\xd8\xff", 3)) return wn_jpeg_decode(name, data, n, img, err);
    if (holds(data, n, 0, "RIFF", 4) && holds(data, n, 8, "WEBP", 4))
        return wn_webp_decode(name, data, n, img, err);
    return wn_fail(err, WAN_EUNSUPPORTED, "%s: this is %s; PNG, JPEG and WebP images can be read", name,
                   other_kind(data, n));
}

enum wan_status wn_image_decode(const char *name, const void *data, size_t n, struct wn_image *img,
                                struct wn_err *err)
{
    *img = (struct wn_image){0};
    enum wan_status st = decode(name, data, n, img, err);
    if (st) wn_image_release(img);
    return st;
}

enum wan_status wn_image_read(const char *path, struct wn_image *img, struct wn_err *err)
{
    *img = (struct wn_image){0};
    char *data;
    size_t n;
    enum wan_status st = wn_file_read(path, WN_IMAGE_MAX_BYTES, &data, &n, err);
    if (!st) st = wn_image_decode(path, data, n, img, err);
    wn_free(data);
    return st;
}
