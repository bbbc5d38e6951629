#include <stdbool.h>
#include <string.h>

#include <webp/decode.h>
#include <webp/demux.h>

#include "base/mem.h"
#include "media/image.h"

static enum wan_status explain(const char *name, VP8StatusCode code, struct wn_err *err)
{
    switch (code) {
    case VP8_STATUS_OUT_OF_MEMORY: return wn_fail_nomem(err, name, 0);
    case VP8_STATUS_UNSUPPORTED_FEATURE:
        return wn_fail(err, WAN_EUNSUPPORTED, "%s: this kind of WebP cannot be read", name);
    case VP8_STATUS_SUSPENDED:
    case VP8_STATUS_NOT_ENOUGH_DATA: return wn_fail(err, WAN_EFORMAT, "%s: the WebP image is cut off", name);
    default: return wn_fail(err, WAN_EFORMAT, "%s: the WebP image is damaged", name);
    }
}

/* Decode the frame to its place on a canvas that is black elsewhere. */
static enum wan_status decode_frame(const char *name, const WebPIterator *frame, struct wn_image *img,
                                    struct wn_err *err)
{
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        return wn_fail(err, WAN_EINTERNAL, "%s: libwebp has another version than its header", name);
    VP8StatusCode code = WebPGetFeatures(frame->fragment.bytes, frame->fragment.size, &config.input);
    if (code != VP8_STATUS_OK) return explain(name, code, err);
    int x = frame->x_offset, y = frame->y_offset, w = config.input.width, h = config.input.height;
    if (x < 0 || y < 0 || w < 1 || h < 1 || w > img->w - x || h > img->h - y)
        return wn_fail(err, WAN_EFORMAT,
                       "%s: a frame of %d x %d at (%d, %d) does not fit the image of %d x %d", name, w, h, x,
                       y, img->w, img->h);
    size_t stride = 3 * (size_t)img->w, start = (size_t)y * stride + 3 * (size_t)x;
    if (w < img->w || h < img->h) memset(img->rgb, 0, stride * (size_t)img->h);
    config.output.colorspace = MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = img->rgb + start;
    config.output.u.RGBA.stride = (int)stride;
    config.output.u.RGBA.size = stride * (size_t)img->h - start;
    code = WebPDecode(frame->fragment.bytes, frame->fragment.size, &config);
    WebPFreeDecBuffer(&config.output);
    return code == VP8_STATUS_OK ? WAN_OK : explain(name, code, err);
}

/* The demuxer takes only a file that is all there and well-formed; why not, its lenient form tells. */
static enum wan_status refuse(const char *name, const WebPData *file, struct wn_err *err)
{
    WebPDemuxState state = WEBP_DEMUX_PARSE_ERROR;
    WebPDemuxDelete(WebPDemuxPartial(file, &state));
    bool cut = state == WEBP_DEMUX_PARSING_HEADER || state == WEBP_DEMUX_PARSED_HEADER;
    return explain(name, cut ? VP8_STATUS_NOT_ENOUGH_DATA : VP8_STATUS_BITSTREAM_ERROR, err);
}

enum wan_status wn_webp_decode(const char *name, const uint8_t *data, size_t n, struct wn_image *img,
                               struct wn_err *err)
{
    const WebPData file = {data, n};
    WebPDemuxer *demux = WebPDemux(&file);
    if (!demux) return refuse(name, &file, err);
    WebPIterator frame = {0};
    enum wan_status st = wn_image_alloc(img, name, WebPDemuxGetI(demux, WEBP_FF_CANVAS_WIDTH),
                                        WebPDemuxGetI(demux, WEBP_FF_CANVAS_HEIGHT), err);
    if (!st && !WebPDemuxGetFrame(demux, 1, &frame))
        st = wn_fail(err, WAN_EFORMAT, "%s: the WebP file holds no image", name);
    if (!st) st = decode_frame(name, &frame, img, err);
    WebPDemuxReleaseIterator(&frame);
    WebPDemuxDelete(demux);
    return st;
}
