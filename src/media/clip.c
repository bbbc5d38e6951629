#include "media/clip.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/display.h>
#include <libswscale/swscale.h>

#include "base/file.h"
#include "base/mem.h"
#include "media/av.h"

struct wn_clip {
    char *path;
    struct wn_clip_info info;
    int turns; /* quarter turns clockwise */
    int (*cancelled)(void *ctx);
    void *cancel_ctx;
};

/* One way through the file, from its start. */
struct pass {
    struct wn_clip *clip;
    AVFormatContext *file;
    AVStream *stream; /* owned by file */
    AVCodecContext *dec;
    AVPacket *packet;
    AVFrame *frame; /* the last one decoded */
    bool drained;   /* the decoder knows that no packet comes any more */
};

static int is_cancelled(void *ctx)
{
    const struct wn_clip *c = ctx;
    return c->cancelled && c->cancelled(c->cancel_ctx);
}

static enum wan_status pass_fail(const struct pass *p, int ret, enum wan_status code, const char *what,
                                 struct wn_err *err)
{
    if (ret == AVERROR_EXIT) return wn_fail(err, WAN_ECANCELED, "%s: reading was stopped", p->clip->path);
    return wn_av_fail(p->clip->path, ret, code, what, err);
}

static void pass_end(struct pass *p)
{
    av_frame_free(&p->frame);
    av_packet_free(&p->packet);
    avcodec_free_context(&p->dec);
    avformat_close_input(&p->file);
}

/* Only what is a video in itself: demuxers of playlists would open files that the content names. */
static int open_file(struct pass *p)
{
    char *url = wn_sprintf("file:%s", p->clip->path);
    AVDictionary *options = NULL;
    int ret = url ? 0 : AVERROR(ENOMEM);
    if (ret >= 0 && !(p->file = avformat_alloc_context())) ret = AVERROR(ENOMEM);
    if (ret >= 0) {
        p->file->interrupt_callback = (AVIOInterruptCB){is_cancelled, p->clip};
        ret = av_dict_set(&options, "protocol_whitelist", "file", 0);
    }
    if (ret >= 0)
        ret = av_dict_set(
            &options, "format_whitelist",
            "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,ivf,obu,flv,ogg,asf,gif,nut", 0);
    if (ret >= 0) ret = avformat_open_input(&p->file, url, NULL, &options); /* frees p->file when it fails */
    av_dict_free(&options);
    wn_free(url);
    return ret < 0 ? ret : avformat_find_stream_info(p->file, NULL);
}

static enum wan_status open_decoder(struct pass *p, struct wn_err *err)
{
    const char *path = p->clip->path;
    int i = av_find_best_stream(p->file, AVMEDIA_TYPE_VIDEO, -1, -1, NULL, 0);
    if (i < 0 || p->file->streams[i]->disposition & AV_DISPOSITION_ATTACHED_PIC)
        return wn_fail(err, WAN_EFORMAT, "%s: holds no video", path);
    p->stream = p->file->streams[i];
    for (unsigned k = 0; k < p->file->nb_streams; k++)
        if (k != (unsigned)i) p->file->streams[k]->discard = AVDISCARD_ALL;
    const AVCodecParameters *par = p->stream->codecpar;
    const AVCodec *codec = avcodec_find_decoder(par->codec_id);
    if (!codec)
        return wn_fail(err, WAN_EUNSUPPORTED, "%s: this FFmpeg has no decoder for %s", path,
                       avcodec_get_name(par->codec_id));
    if (!(p->dec = avcodec_alloc_context3(codec)))
        return wn_fail_nomem(err, "a video decoder", sizeof *p->dec);
    int ret = avcodec_parameters_to_context(p->dec, par);
    p->dec->pkt_timebase = p->stream->time_base;
    p->dec->max_pixels = WN_CLIP_MAX_PIXELS;
    p->dec->thread_count = 4;
    if (ret >= 0) ret = avcodec_open2(p->dec, codec, NULL);
    return ret < 0 ? pass_fail(p, ret, WAN_EFORMAT, "start the video decoder", err) : WAN_OK;
}

static enum wan_status pass_begin(struct pass *p, struct wn_clip *clip, struct wn_err *err)
{
    *p = (struct pass){.clip = clip};
    int ret = open_file(p);
    enum wan_status st = WAN_OK;
    if (ret == AVERROR(EINVAL) || ret == AVERROR_INVALIDDATA)
        st = wn_fail(err, WAN_EFORMAT, "%s: not a video of a known kind, or damaged", clip->path);
    else if (ret < 0)
        st = pass_fail(p, ret, WAN_EFORMAT, "read it as a video", err);
    if (!st) st = open_decoder(p, err);
    if (!st && (!(p->packet = av_packet_alloc()) || !(p->frame = av_frame_alloc())))
        st = wn_fail_nomem(err, "a video frame", sizeof *p->frame);
    if (st) pass_end(p);
    return st;
}

/* Give the decoder the next packet of the stream, or tell it that there is none. */
static enum wan_status feed(struct pass *p, struct wn_err *err)
{
    int ret = is_cancelled(p->clip) ? AVERROR_EXIT : av_read_frame(p->file, p->packet);
    if (ret == AVERROR_EOF && !p->drained) {
        p->drained = true;
        ret = avcodec_send_packet(p->dec, NULL);
    } else if (ret >= 0) {
        if (p->packet->stream_index == p->stream->index) ret = avcodec_send_packet(p->dec, p->packet);
        av_packet_unref(p->packet);
    }
    return ret < 0 ? pass_fail(p, ret, WAN_EFORMAT, "decode the video", err) : WAN_OK;
}

/* 1: p->frame is the next frame. 0: there is none. -1: failed. */
static int pass_next(struct pass *p, struct wn_err *err)
{
    for (;;) {
        int ret = avcodec_receive_frame(p->dec, p->frame);
        if (ret >= 0) return 1;
        if (ret == AVERROR_EOF) return 0;
        if (ret != AVERROR(EAGAIN)) {
            pass_fail(p, ret, WAN_EFORMAT, "decode the video", err);
            return -1;
        }
        if (feed(p, err)) return -1;
    }
}

/* ---- opening ---- */

static const int32_t *display_matrix(const AVStream *stream)
{
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(60, 31, 0)
    const AVPacketSideData *d = av_packet_side_data_get(
        stream->codecpar->coded_side_data, stream->codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
    return d && d->size >= 9 * sizeof(int32_t) ? (const int32_t *)d->data : NULL;
#else
    size_t n = 0;
    const uint8_t *d = av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, &n);
    return d && n >= 9 * sizeof(int32_t) ? (const int32_t *)d : NULL;
#endif
}

static int quarter_turns(const AVStream *stream)
{
    const int32_t *matrix = display_matrix(stream);
    double angle = matrix ? -av_display_rotation_get(matrix) : 0; /* NaN: a matrix that collapses */
    if (!(fabs(angle) <= 360)) return 0;
    int turns = (int)rint(angle / 90);
    return fabs(angle - 90 * turns) < 1 ? (turns % 4 + 4) % 4 : 0;
}

static double frame_rate(const AVStream *s)
{
    AVRational r =
        s->avg_frame_rate.num > 0 && s->avg_frame_rate.den > 0 ? s->avg_frame_rate : s->r_frame_rate;
    return r.num > 0 && r.den > 0 ? av_q2d(r) : 0;
}

static enum wan_status set_size(struct wn_clip *c, const AVFrame *f, struct wn_err *err)
{
    if (f->width < 1 || f->height < 1 || f->width > WN_CLIP_MAX_SIDE || f->height > WN_CLIP_MAX_SIDE ||
        (int64_t)f->width * f->height > WN_CLIP_MAX_PIXELS)
        return wn_fail(err, WAN_EFORMAT,
                       "%s: frames of %d x %d pixels; sides must be 1 to %d, and the area at most %d",
                       c->path, f->width, f->height, WN_CLIP_MAX_SIDE, WN_CLIP_MAX_PIXELS);
    c->info.width = c->turns % 2 ? f->height : f->width;
    c->info.height = c->turns % 2 ? f->width : f->height;
    return WAN_OK;
}

/* Whole frames are counted, not packets: some packets hold none, and headers can say anything. */
static enum wan_status measure(struct wn_clip *c, struct wn_err *err)
{
    struct pass p;
    struct wn_err own = {0};
    enum wan_status st = pass_begin(&p, c, &own);
    if (!st) {
        c->turns = quarter_turns(p.stream);
        c->info.fps = frame_rate(p.stream);
        while (!own.code && pass_next(&p, &own) > 0) {
            if (c->info.n_frames == WN_CLIP_MAX_FRAMES)
                wn_fail(&own, WAN_EFORMAT, "%s: more than %d frames", c->path, WN_CLIP_MAX_FRAMES);
            else if (!c->info.n_frames++)
                set_size(c, p.frame, &own);
        }
        if (!c->info.n_frames) wn_fail(&own, WAN_EFORMAT, "%s: holds no frame", c->path);
        if (!(c->info.fps > 0)) wn_fail(&own, WAN_EFORMAT, "%s: has no frame rate", c->path);
        pass_end(&p);
    }
    return own.code ? wn_fail(err, own.code, "%s", own.text) : WAN_OK;
}

enum wan_status wn_clip_open(struct wn_clip **out, const char *path, int (*cancelled)(void *ctx), void *ctx,
                             struct wn_err *err)
{
    *out = NULL;
    wn_av_quiet();
    enum wn_file_kind kind = wn_file_kind(path);
    if (kind != WN_FILE_REGULAR)
        return wn_fail(err, WAN_EIO, "%s: %s", path,
                       kind == WN_FILE_NONE ? "no such file" : "not a regular file");
    struct wn_clip *c = wn_zalloc(sizeof *c);
    if (!c) return wn_fail_nomem(err, "a video reader", sizeof *c);
    c->path = wn_strdup(path);
    c->cancelled = cancelled;
    c->cancel_ctx = ctx;
    enum wan_status st = c->path ? measure(c, err) : wn_fail_nomem(err, "a path", strlen(path));
    if (st) {
        wn_clip_close(c);
        return st;
    }
    *out = c;
    return WAN_OK;
}

void wn_clip_close(struct wn_clip *c)
{
    if (!c) return;
    wn_free(c->path);
    wn_free(c);
}

const struct wn_clip_info *wn_clip_info(const struct wn_clip *c)
{
    return &c->info;
}

/* ---- frames ---- */

/* From a decoded frame to packed RGB. */
struct painter {
    struct SwsContext *sws;
    int width, height, format, space, range; /* that sws is set up for */
    AVFrame *rgb;                            /* not turned yet; its rows are padded as swscale likes */
    uint8_t *turned;
};

static void painter_release(struct painter *t)
{
    sws_freeContext(t->sws);
    av_frame_free(&t->rgb);
    wn_free(t->turned);
}

static enum wan_status painter_init(struct painter *t, const struct wn_clip *c, struct wn_err *err)
{
    const struct wn_clip_info *i = &c->info;
    *t = (struct painter){.rgb = av_frame_alloc()};
    t->turned = wn_alloc_n((size_t)i->width * (size_t)i->height, 3);
    if (t->rgb) {
        t->rgb->format = AV_PIX_FMT_RGB24;
        t->rgb->width = c->turns % 2 ? i->height : i->width;
        t->rgb->height = c->turns % 2 ? i->width : i->height;
    }
    if (t->rgb && t->turned && av_frame_get_buffer(t->rgb, 0) >= 0) return WAN_OK;
    painter_release(t);
    return wn_fail_nomem(err, c->path, 3ull * (unsigned)i->width * (unsigned)i->height);
}

static int set_scaler(struct painter *t, const AVFrame *f)
{
    if (t->sws && t->width == f->width && t->height == f->height && t->format == f->format &&
        t->space == (int)f->colorspace && t->range == (int)f->color_range)
        return 0;
    sws_freeContext(t->sws);
    t->sws = sws_getContext(f->width, f->height, f->format, t->rgb->width, t->rgb->height, AV_PIX_FMT_RGB24,
                            SWS_BICUBIC, NULL, NULL, NULL);
    if (!t->sws) return AVERROR(EINVAL);
    t->width = f->width;
    t->height = f->height;
    t->format = f->format;
    t->space = (int)f->colorspace;
    t->range = (int)f->color_range;
    /* Formats of another family than YUV refuse this, and need none of it. */
    const int *table = sws_getCoefficients((int)f->colorspace), one = 1 << 16;
    int *inverse, *forward, in_range, out_range, brightness, contrast, saturation;
    if (sws_getColorspaceDetails(t->sws, &inverse, &in_range, &forward, &out_range, &brightness, &contrast,
                                 &saturation) < 0)
        return 0;
    if (f->color_range != AVCOL_RANGE_UNSPECIFIED) in_range = f->color_range == AVCOL_RANGE_JPEG;
    sws_setColorspaceDetails(t->sws, table, in_range, forward, out_range, 0, one, one);
    return 0;
}

/* Where output pixel (0, 0) comes from, and the way to its neighbours. */
static void turn(const AVFrame *in, int turns, uint8_t *out, int w, int h)
{
    ptrdiff_t row = in->linesize[0], last_x = 3 * (ptrdiff_t)(in->width - 1), last_y = row * (in->height - 1);
    const ptrdiff_t start[4] = {0, last_y, last_y + last_x, last_x};
    const ptrdiff_t right[4] = {3, -row, -3, row}, down[4] = {row, 3, -row, -3};
    const uint8_t *line = in->data[0] + start[turns];
    for (int y = 0; y < h; y++, line += down[turns]) {
        const uint8_t *p = line;
        for (int x = 0; x < w; x++, p += right[turns], out += 3) memcpy(out, p, 3);
    }
}

static enum wan_status paint(struct painter *t, const struct pass *p, struct wn_err *err)
{
    const struct wn_clip *c = p->clip;
    const AVFrame *f = p->frame;
    int ret = set_scaler(t, f);
    if (ret >= 0)
        ret = sws_scale(t->sws, (const uint8_t *const *)f->data, f->linesize, 0, f->height, t->rgb->data,
                        t->rgb->linesize);
    if (ret < 0) return wn_av_fail(c->path, ret, WAN_EFORMAT, "convert a frame to RGB", err);
    turn(t->rgb, c->turns, t->turned, c->info.width, c->info.height);
    return WAN_OK;
}

/* Decode until p->frame is frame `to`; *at is the one it is. */
static enum wan_status go_to(struct pass *p, int64_t *at, int64_t to, struct wn_err *err)
{
    struct wn_err own = {0};
    for (; *at < to; ++*at) {
        int got = pass_next(p, &own);
        if (got > 0) continue;
        if (!got) wn_fail(&own, WAN_EFORMAT, "%s: changed while it was read", p->clip->path);
        return wn_fail(err, own.code, "%s", own.text);
    }
    return WAN_OK;
}

static enum wan_status check_index(const struct wn_clip *c, const int64_t *index, int64_t n,
                                   struct wn_err *err)
{
    for (int64_t k = 0; k < n; k++)
        if (index[k] < (k ? index[k - 1] : 0) || index[k] >= c->info.n_frames)
            return wn_fail(err, WAN_EINVAL, "%s: frame %lld of %lld was asked for after frame %lld", c->path,
                           (long long)index[k], (long long)c->info.n_frames,
                           (long long)(k ? index[k - 1] : 0));
    return WAN_OK;
}

enum wan_status wn_clip_frames(struct wn_clip *c, const int64_t *index, int64_t n,
                               enum wan_status (*fn)(void *ctx, int64_t k, const uint8_t *rgb,
                                                     struct wn_err *err),
                               void *ctx, struct wn_err *err)
{
    struct pass p;
    struct painter t;
    enum wan_status st = check_index(c, index, n, err);
    if (st || n < 1) return st;
    if ((st = painter_init(&t, c, err))) return st;
    if (!(st = pass_begin(&p, c, err))) {
        int64_t at = -1; /* of p.frame */
        for (int64_t k = 0; !st && k < n; k++) {
            st = go_to(&p, &at, index[k], err);
            if (!st && (!k || index[k] > index[k - 1])) st = paint(&t, &p, err);
            if (!st) st = fn(ctx, k, t.turned, err);
        }
        pass_end(&p);
    }
    painter_release(&t);
    return st;
}

enum wan_status wn_clip_sample(const struct wn_clip *c, struct wn_frame_wish wish, int64_t **index,
                               int64_t *n, struct wn_err *err)
{
    *index = NULL;
    enum wan_status st = wn_frames_count(wish, c->info.n_frames, c->info.fps, n, err);
    if (st) return st;
    if (!(*index = wn_alloc_n((size_t)*n, sizeof **index)))
        return wn_fail_nomem(err, "frame numbers", (unsigned long long)*n * sizeof **index);
    wn_frames_spread(c->info.n_frames, *n, *index);
    return WAN_OK;
}
