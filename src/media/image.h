/* Still images in: PNG, JPEG and WebP, with the values that Pillow's Image.open(path).convert("RGB") gives,
 * which is what the official code does with an input image.
 *
 * As there: the alpha channel and colours marked transparent are dropped, not blended; EXIF orientation,
 * colour profiles and gamma are not applied; 16-bit grey is clipped at 255, 16-bit colour keeps its high
 * byte; of an animation the first frame is taken. Stricter than Pillow in one thing: a PNG that is cut off or
 * fails a checksum after its last pixel is refused too. */
#ifndef WN_MEDIA_IMAGE_H
#define WN_MEDIA_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct wn_image {
    uint8_t *rgb; /* [h, w, 3] */
    int w, h;
};
/* Frees the pixels; fine on a zeroed or released image. */
void wn_image_release(struct wn_image *img);
/* Pixels for w x h, not initialised. `name` is the file, for the message. Errors: WAN_EFORMAT (size out of
 * bounds), WAN_ENOMEM. */
enum wan_status wn_image_alloc(struct wn_image *img, const char *name, uint64_t w, uint64_t h,
                               struct wn_err *err);

enum {
    WN_IMAGE_MAX_SIDE = 1000000,
    WN_IMAGE_MAX_PIXELS = 178956970, /* what Pillow refuses more than */
    WN_IMAGE_MAX_BYTES = 1 << 30     /* of a file */
};

/* The kind is told by the content, not by the name. On failure *img is zeroed. Errors: WAN_EIO, WAN_EFORMAT
 * (damaged, truncated, too large), WAN_EUNSUPPORTED (another format, or a variant the decoders do not know),
 * WAN_ENOMEM. Thread-safe. libjpeg and libwebp take their working memory from malloc (at most some 10 bytes a
 * pixel); everything else comes from base/mem.h. */
enum wan_status wn_image_read(const char *path, struct wn_image *img, struct wn_err *err);
/* The same from memory; `name` stands for the file in messages. */
enum wan_status wn_image_decode(const char *name, const void *data, size_t n, struct wn_image *img,
                                struct wn_err *err);

/* The decoders behind wn_image_decode; `data` is known to begin like a file of that kind. On failure the
 * caller releases *img. */
enum wan_status wn_png_decode(const char *name, const uint8_t *data, size_t n, struct wn_image *img,
                              struct wn_err *err);
enum wan_status wn_jpeg_decode(const char *name, const uint8_t *data, size_t n, struct wn_image *img,
                               struct wn_err *err);
enum wan_status wn_webp_decode(const char *name, const uint8_t *data, size_t n, struct wn_image *img,
                               struct wn_err *err);

#endif
