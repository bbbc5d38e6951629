#include "media/webp.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <webp/encode.h>

#include "base/file.h"
#include "base/mem.h"
#include "media/xmp.h"

/* The container: "RIFF", its size, "WEBP", then chunks of a name, a size and a body padded to an even size.
 */
enum {
    RIFF_HEAD = 12,
    CHUNK_HEAD = 8,
    FRAME_HEAD = 16,
    FLAG_ANIMATION = 0x02,
    FLAG_XMP = 0x04,
    NO_BLENDING = 0x02
};
static const uint64_t max_file = 0xfffffff6; /* by the format */

struct wn_webp {
    struct wn_new_file file;
    int width, height;
    bool animated;
    int64_t fps_num, fps_den;
    WebPConfig config;
    struct wn_str xmp;   /* "" when there are no remarks */
    struct wn_str image; /* what the encoder made of the frame in progress */
    bool nomem;          /* it did not fit */
    uint64_t bytes;      /* written so far */
    int64_t n_frames;
    struct wn_err failure; /* the first one, repeated by later calls */
};

static void put_u24(uint8_t *at, uint32_t v)
{
    for (int i = 0; i < 3; i++) at[i] = (uint8_t)(v >> 8 * i);
}

static void put_u32(uint8_t *at, uint32_t v)
{
    put_u24(at, v);
    at[3] = (uint8_t)(v >> 24);
}

static enum wan_status io_failed(const struct wn_webp *w, struct wn_err *err)
{
    return wn_fail(err, WAN_EIO, "%s: cannot write: %s", w->file.path, strerror(errno ? errno : EIO));
}

static enum wan_status put(struct wn_webp *w, const void *data, size_t n, struct wn_err *err)
{
    if (w->bytes + n > max_file)
        return wn_fail(err, WAN_EINVAL, "%s: a WebP file cannot be larger than 4 GiB; write .webm or .mp4",
                       w->file.path);
    errno = 0;
    if (fwrite(data, 1, n, w->file.f) != n) return io_failed(w, err);
    w->bytes += n;
    return WAN_OK;
}

/* A chunk of two parts, of which the second may be empty. */
static enum wan_status put_chunk(struct wn_webp *w, const char *name, const void *a, size_t n_a,
                                 const void *b, size_t n_b, struct wn_err *err)
{
    uint8_t head[CHUNK_HEAD];
    memcpy(head, name, 4);
    put_u32(head + 4, (uint32_t)(n_a + n_b));
    if (put(w, head, sizeof head, err) || put(w, a, n_a, err) || (n_b && put(w, b, n_b, err)))
        return err->code;
    return (n_a + n_b) % 2 ? put(w, "", 1, err) : WAN_OK;
}

static enum wan_status put_headers(struct wn_webp *w, struct wn_err *err)
{
    uint8_t extended[10] = {0}, animation[6] = {255, 255, 255, 255, 0, 0}; /* loop 0 times: forever */
    extended[0] = (w->animated ? FLAG_ANIMATION : 0) | (w->xmp.n ? FLAG_XMP : 0);
    put_u24(extended + 4, (uint32_t)w->width - 1);
    put_u24(extended + 7, (uint32_t)w->height - 1);
    if (put(w, "RIFF\0\0\0\0WEBP", RIFF_HEAD, err)) return err->code;
    if (put_chunk(w, "VP8X", extended, sizeof extended, NULL, 0, err)) return err->code;
    return w->animated ? put_chunk(w, "ANIM", animation, sizeof animation, NULL, 0, err) : WAN_OK;
}

/* Method 4 is what cwebp and Pillow use too. */
static enum wan_status set_config(struct wn_webp *w, int quality, struct wn_err *err)
{
    bool ok = WebPConfigInit(&w->config);
    w->config.method = 4;
    if (w->animated) {
        w->config.quality = (float)(quality ? quality : WN_WEBP_QUALITY);
    } else {
        w->config.lossless = 1;
        w->config.quality = 75; /* of the search, not of the picture */
    }
    return ok && WebPValidateConfig(&w->config) ? WAN_OK
                                                : wn_fail(err, WAN_EINTERNAL, "libwebp refuses its settings");
}

static enum wan_status check_params(const struct wn_webp_params *p, struct wn_err *err)
{
    int den = p->fps_den ? p->fps_den : 1;
    if (p->width < 1 || p->height < 1 || p->width > WN_WEBP_MAX_SIDE || p->height > WN_WEBP_MAX_SIDE)
        return wn_fail(err, WAN_EINVAL, "%s: a WebP of %d x %d pixels: sides must be 1 to %d", p->path,
                       p->width, p->height, WN_WEBP_MAX_SIDE);
    if (p->animated && (p->fps_num < 1 || den < 1 || p->fps_num > 1000000 || den > 1000000 ||
                        p->fps_num / den > 1000 || den / p->fps_num > 1000))
        return wn_fail(err, WAN_EINVAL, "%s: %d/%d frames a second: must be 1/1000 to 1000", p->path,
                       p->fps_num, den);
    if (p->quality < 0 || p->quality > 100)
        return wn_fail(err, WAN_EINVAL, "%s: WebP quality %d: must be 1 to 100", p->path, p->quality);
    return wn_remarks_check(p->path, p->text, p->n_text, err);
}

enum wan_status wn_webp_open(struct wn_webp **out, const struct wn_webp_params *p, struct wn_err *err)
{
    *out = NULL;
    enum wan_status st = check_params(p, err);
    if (st) return st;
    struct wn_webp *w = wn_zalloc(sizeof *w);
    if (!w) return wn_fail_nomem(err, "a WebP writer", sizeof *w);
    w->width = p->width;
    w->height = p->height;
    w->animated = p->animated;
    w->fps_num = p->fps_num;
    w->fps_den = p->fps_den ? p->fps_den : 1;
    st = set_config(w, p->quality, err);
    if (!st && p->n_text) st = wn_xmp_add(&w->xmp, p->path, p->text, p->n_text, err);
    if (!st) st = wn_new_file_open(&w->file, p->path, err);
    if (!st && put_headers(w, &w->failure)) st = wn_fail(err, w->failure.code, "%s", w->failure.text);
    if (st) {
        wn_webp_abort(w);
        return st;
    }
    *out = w;
    return WAN_OK;
}

static int on_write(const uint8_t *data, size_t n, const WebPPicture *picture)
{
    struct wn_webp *w = picture->custom_ptr;
    if (!wn_str_add(&w->image, data, n)) return 1;
    w->nomem = true;
    return 0;
}

static enum wan_status explain(const struct wn_webp *w, WebPEncodingError code, struct wn_err *err)
{
    if (w->nomem || code == VP8_ENC_ERROR_OUT_OF_MEMORY || code == VP8_ENC_ERROR_BITSTREAM_OUT_OF_MEMORY)
        return wn_fail_nomem(err, w->file.path, 16ull * (unsigned)w->width * (unsigned)w->height);
    return wn_fail(err, WAN_EINTERNAL, "%s: libwebp cannot encode a frame: error %d", w->file.path,
                   (int)code);
}

/* The frame as a file of its own in w->image. */
static enum wan_status encode(struct wn_webp *w, const uint8_t *rgb, struct wn_err *err)
{
    WebPPicture picture;
    if (!WebPPictureInit(&picture)) return wn_fail(err, WAN_EINTERNAL, "libwebp has another version");
    picture.use_argb = 1;
    picture.width = w->width;
    picture.height = w->height;
    picture.writer = on_write;
    picture.custom_ptr = w;
    wn_str_clear(&w->image);
    w->nomem = false;
    bool ok = WebPPictureImportRGB(&picture, rgb, 3 * w->width);
    WebPEncodingError code = ok ? VP8_ENC_OK : VP8_ENC_ERROR_OUT_OF_MEMORY;
    if (ok && !WebPEncode(&w->config, &picture)) code = picture.error_code;
    WebPPictureFree(&picture);
    /* libwebp does not look at what every write returns */
    return code == VP8_ENC_OK && !w->nomem ? WAN_OK : explain(w, code, err);
}

/* When frame `i` begins, in milliseconds. */
static int64_t start_of(const struct wn_webp *w, int64_t i)
{
    return (2 * 1000 * i * w->fps_den + w->fps_num) / (2 * w->fps_num);
}

static enum wan_status add_frame(struct wn_webp *w, const uint8_t *rgb, struct wn_err *err)
{
    if (!w->animated && w->n_frames)
        return wn_fail(err, WAN_EINVAL, "%s: more than one frame for a single picture", w->file.path);
    if (encode(w, rgb, err)) return err->code;
    /* Opaque pictures come as one chunk, which stands in our file as it is. */
    const char *chunk = w->image.data + RIFF_HEAD;
    size_t n = w->image.n - RIFF_HEAD;
    if (w->image.n < RIFF_HEAD + CHUNK_HEAD || memcmp(chunk, w->animated ? "VP8 " : "VP8L", 4))
        return wn_fail(err, WAN_EINTERNAL, "%s: libwebp made another kind of picture", w->file.path);
    if (w->animated) {
        uint8_t head[FRAME_HEAD] = {0};
        put_u24(head + 6, (uint32_t)w->width - 1);
        put_u24(head + 9, (uint32_t)w->height - 1);
        put_u24(head + 12, (uint32_t)(start_of(w, w->n_frames + 1) - start_of(w, w->n_frames)));
        head[15] = NO_BLENDING;
        put_chunk(w, "ANMF", head, sizeof head, chunk, n, err);
    } else
        put(w, chunk, n, err);
    w->n_frames++;
    return err->code;
}

/* Report w's own failure through the caller's `err`. */
static enum wan_status report(const struct wn_webp *w, struct wn_err *err)
{
    return w->failure.code ? wn_fail(err, w->failure.code, "%s", w->failure.text) : WAN_OK;
}

enum wan_status wn_webp_frame(struct wn_webp *w, const uint8_t *rgb, struct wn_err *err)
{
    if (!w->failure.code) add_frame(w, rgb, &w->failure);
    return report(w, err);
}

static enum wan_status finish(struct wn_webp *w, struct wn_err *err)
{
    if (!w->n_frames) return wn_fail(err, WAN_EINVAL, "%s: needs at least one frame", w->file.path);
    if (w->xmp.n && put_chunk(w, "XMP ", w->xmp.data, w->xmp.n, NULL, 0, err)) return err->code;
    uint8_t size[4];
    put_u32(size, (uint32_t)(w->bytes - CHUNK_HEAD));
    errno = 0;
    if (fseek(w->file.f, 4, SEEK_SET) || fwrite(size, 1, 4, w->file.f) != 4) return io_failed(w, err);
    return wn_new_file_commit(&w->file, err);
}

enum wan_status wn_webp_commit(struct wn_webp *w, struct wn_err *err)
{
    if (!w->failure.code) finish(w, &w->failure);
    enum wan_status st = report(w, err);
    wn_webp_abort(w);
    return st;
}

void wn_webp_abort(struct wn_webp *w)
{
    if (!w) return;
    wn_new_file_abort(&w->file);
    wn_str_release(&w->xmp);
    wn_str_release(&w->image);
    wn_free(w);
}
