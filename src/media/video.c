#include "media/video.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>

#include "base/file.h"
#include "base/mem.h"
#include "media/av.h"
#include "media/video_encoder.h"

enum { MIN_SIDE = 16, MAX_SIDE = 16384, MAX_THREADS = 64 };

struct wn_video {
    const struct wn_video_kind *kind;
    char *path, *url; /* url: "file:" and the temporary name */
    AVFormatContext *mux;
    AVCodecContext *enc;
    AVStream *stream; /* owned by mux */
    AVFrame *frame;   /* yuv420p */
    AVPacket *packet;
    struct SwsContext *sws;
    int64_t n_frames;
    bool made_file;
    struct wn_err failure; /* the first one, repeated by later calls */
};

static const char *tmp_name(const struct wn_video *v)
{
    return v->url + strlen("file:");
}

static enum wan_status av_fail(const struct wn_video *v, int ret, enum wan_status code, const char *what,
                               struct wn_err *err)
{
    return wn_av_fail(v->path, ret, code, what, err);
}

enum wan_status wn_video_check(const char *path, struct wn_err *err)
{
    const struct wn_video_kind *kind = wn_video_kind(path);
    const AVCodec *codec;
    if (!kind) return wn_fail(err, WAN_EINVAL, "%s: the name of a video must end in .mp4 or .webm", path);
    return wn_video_encoder(&codec, kind, NULL, path, err);
}

static enum wan_status check_params(const struct wn_video_params *p, struct wn_err *err)
{
    if (!wn_video_kind(p->path)) return wn_video_check(p->path, err);
    int den = p->fps_den ? p->fps_den : 1;
    if (p->width < MIN_SIDE || p->height < MIN_SIDE || p->width > MAX_SIDE || p->height > MAX_SIDE)
        return wn_fail(err, WAN_EINVAL, "%s: a video of %d x %d pixels: sides must be %d to %d", p->path,
                       p->width, p->height, MIN_SIDE, MAX_SIDE);
    if (p->width % 2 || p->height % 2)
        return wn_fail(err, WAN_EINVAL, "%s: a video of %d x %d pixels: 4:2:0 colour needs even sides",
                       p->path, p->width, p->height);
    if (p->fps_num < 1 || den < 1 || p->fps_num > 1000000 || den > 1000000 || p->fps_num / den > 1000 ||
        den / p->fps_num > 1000)
        return wn_fail(err, WAN_EINVAL, "%s: %d/%d frames a second: must be 1/1000 to 1000", p->path,
                       p->fps_num, den);
    if (p->crf < 0 || p->crf > 51)
        return wn_fail(err, WAN_EINVAL, "%s: constant rate factor %d: must be 0 to 51", p->path, p->crf);
    if (p->n_threads < 0 || p->n_threads > MAX_THREADS)
        return wn_fail(err, WAN_EINVAL, "%s: %d encoder threads: must be 0 to %d", p->path, p->n_threads,
                       MAX_THREADS);
    return wn_remarks_check(p->path, p->text, p->n_text, err);
}

/* BT.709 in every tag that a player may look at. */
static void set_colours(AVCodecContext *enc)
{
    enc->color_primaries = AVCOL_PRI_BT709;
    enc->color_trc = AVCOL_TRC_BT709;
    enc->colorspace = AVCOL_SPC_BT709;
    enc->color_range = AVCOL_RANGE_MPEG;
    enc->chroma_sample_location = AVCHROMA_LOC_LEFT;
}

static enum wan_status open_encoder(struct wn_video *v, const struct wn_video_params *p, struct wn_err *err)
{
    const AVCodec *codec;
    enum wan_status st = wn_video_encoder(&codec, v->kind, p->encoder, p->path, err);
    if (st) return st;
    AVCodecContext *enc = v->enc = avcodec_alloc_context3(codec);
    if (!enc) return wn_fail_nomem(err, "a video encoder", sizeof *enc);
    enc->width = p->width;
    enc->height = p->height;
    enc->pix_fmt = AV_PIX_FMT_YUV420P;
    enc->sample_aspect_ratio = (AVRational){1, 1};
    enc->framerate = (AVRational){p->fps_num, p->fps_den ? p->fps_den : 1};
    enc->time_base = av_inv_q(enc->framerate);
    enc->thread_count = p->n_threads ? p->n_threads : WN_VIDEO_THREADS;
    enc->flags |= AV_CODEC_FLAG_BITEXACT | AV_CODEC_FLAG_GLOBAL_HEADER;
    set_colours(enc);
    AVDictionary *options = NULL;
    int ret = wn_video_set_quality(enc, codec, p->crf ? p->crf : WN_VIDEO_CRF, &options);
    if (ret >= 0) ret = avcodec_open2(enc, codec, &options);
    av_dict_free(&options);
    return ret < 0 ? av_fail(v, ret, WAN_EUNSUPPORTED, "start the video encoder", err) : WAN_OK;
}

/* Keys that MP4 has a box of its own for, which file managers show. Any other key needs the newer "mdta"
 * list, and then all go there. */
static bool is_mp4_key(const char *key)
{
    static const char *const keys[] = {"title",       "artist",    "date", "comment",
                                       "description", "copyright", "genre"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!strcmp(key, keys[i])) return true;
    return false;
}

/* Options of the muxer. Some versions of FFmpeg have none for the index of WebM, and then it comes last. */
static int set_index_and_tags(const struct wn_video *v, const struct wn_video_params *p,
                              AVDictionary **options)
{
    const char *const *first = v->kind->index_first;
    int ret = av_dict_set(options, first[0], first[1], 0);
    for (size_t i = 0; ret >= 0 && !strcmp(v->kind->muxer, "mp4") && i < p->n_text; i++)
        if (!is_mp4_key(p->text[i].key))
            return av_dict_set(options, first[0], "+use_metadata_tags", AV_DICT_APPEND);
    return ret;
}

static enum wan_status open_muxer(struct wn_video *v, const struct wn_video_params *p, struct wn_err *err)
{
    int ret = avformat_alloc_output_context2(&v->mux, NULL, v->kind->muxer, v->url);
    if (ret < 0) return av_fail(v, ret, WAN_EUNSUPPORTED, "make a file of this kind", err);
    v->mux->flags |= AVFMT_FLAG_BITEXACT;
    if (!(v->stream = avformat_new_stream(v->mux, NULL))) return wn_fail_nomem(err, "a video stream", 1);
    v->stream->time_base = v->enc->time_base;
    v->stream->avg_frame_rate = v->stream->r_frame_rate = v->enc->framerate;
    v->stream->sample_aspect_ratio = v->enc->sample_aspect_ratio;
    ret = avcodec_parameters_from_context(v->stream->codecpar, v->enc);
    for (size_t i = 0; ret >= 0 && i < p->n_text; i++)
        ret = av_dict_set(&v->mux->metadata, p->text[i].key, p->text[i].value, 0);
    if (ret < 0) return av_fail(v, ret, WAN_EINTERNAL, "set up the file", err);
    if ((ret = avio_open(&v->mux->pb, v->url, AVIO_FLAG_WRITE)) < 0)
        return av_fail(v, ret, WAN_EIO, "write", err);
    v->made_file = true;
    AVDictionary *options = NULL;
    ret = set_index_and_tags(v, p, &options);
    if (ret >= 0) ret = avformat_write_header(v->mux, &options);
    av_dict_free(&options);
    return ret < 0 ? av_fail(v, ret, WAN_EIO, "write", err) : WAN_OK;
}

/* RGB to limited-range BT.709, chroma sited at the left as H.264 assumes, exact rounding. */
static int open_scaler(struct wn_video *v)
{
    struct SwsContext *sws = v->sws = sws_alloc_context();
    if (!sws) return AVERROR(ENOMEM);
    const struct {
        const char *name;
        int64_t value;
    } options[] = {
        {"srcw", v->enc->width},
        {"srch", v->enc->height},
        {"src_format", AV_PIX_FMT_RGB24},
        {"dstw", v->enc->width},
        {"dsth", v->enc->height},
        {"dst_format", AV_PIX_FMT_YUV420P},
        {"dst_h_chr_pos", 0},
        {"dst_v_chr_pos", 128},
        {"sws_flags",
         SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP | SWS_BITEXACT},
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        int ret = av_opt_set_int(sws, options[i].name, options[i].value, 0);
        if (ret < 0) return ret;
    }
    const int *bt709 = sws_getCoefficients(SWS_CS_ITU709), one = 1 << 16;
    int ret = sws_init_context(sws, NULL, NULL);
    return ret < 0 ? ret : sws_setColorspaceDetails(sws, bt709, 1, bt709, 0, 0, one, one);
}

static enum wan_status open_frame(struct wn_video *v, struct wn_err *err)
{
    v->packet = av_packet_alloc();
    v->frame = av_frame_alloc();
    if (!v->packet || !v->frame) return wn_fail_nomem(err, "a video frame", sizeof *v->frame);
    v->frame->format = AV_PIX_FMT_YUV420P;
    v->frame->width = v->enc->width;
    v->frame->height = v->enc->height;
    v->frame->color_primaries = AVCOL_PRI_BT709;
    v->frame->color_trc = AVCOL_TRC_BT709;
    v->frame->colorspace = AVCOL_SPC_BT709;
    v->frame->color_range = AVCOL_RANGE_MPEG;
    v->frame->chroma_location = AVCHROMA_LOC_LEFT;
    int ret = av_frame_get_buffer(v->frame, 0);
    if (ret >= 0) ret = open_scaler(v);
    return ret < 0 ? av_fail(v, ret, WAN_EINTERNAL, "set up colour conversion", err) : WAN_OK;
}

static enum wan_status set_names(struct wn_video *v, const char *path, struct wn_err *err)
{
    char *tmp = wn_tmp_name(path);
    v->path = wn_strdup(path);
    v->url = tmp ? wn_sprintf("file:%s", tmp) : NULL;
    wn_free(tmp);
    return v->path && v->url ? WAN_OK : wn_fail_nomem(err, "a path", strlen(path));
}

enum wan_status wn_video_open(struct wn_video **out, const struct wn_video_params *p, struct wn_err *err)
{
    *out = NULL;
    enum wan_status st = check_params(p, err);
    if (st) return st;
    wn_av_quiet();
    struct wn_video *v = wn_zalloc(sizeof *v);
    if (!v) return wn_fail_nomem(err, "a video writer", sizeof *v);
    v->kind = wn_video_kind(p->path);
    st = set_names(v, p->path, err);
    if (!st) st = open_encoder(v, p, err);
    if (!st) st = open_frame(v, err);
    if (!st) st = open_muxer(v, p, err);
    if (st) {
        wn_video_abort(v);
        return st;
    }
    *out = v;
    return WAN_OK;
}

/* Give `frame` to the encoder (NULL: the end) and write what it has ready. */
static enum wan_status encode(struct wn_video *v, const AVFrame *frame, struct wn_err *err)
{
    int ret = avcodec_send_frame(v->enc, frame);
    if (ret < 0) return av_fail(v, ret, WAN_EINTERNAL, "encode a frame", err);
    for (;;) {
        ret = avcodec_receive_packet(v->enc, v->packet);
        if (ret == AVERROR(EAGAIN) || ret == AVERROR_EOF) return WAN_OK;
        if (ret < 0) return av_fail(v, ret, WAN_EINTERNAL, "encode a frame", err);
        v->packet->duration = 1; /* encoders differ in whether they set it */
        av_packet_rescale_ts(v->packet, v->enc->time_base, v->stream->time_base);
        v->packet->stream_index = v->stream->index;
        ret = av_interleaved_write_frame(v->mux, v->packet);
        if (ret < 0) return av_fail(v, ret, WAN_EIO, "write", err);
    }
}

static enum wan_status add_frame(struct wn_video *v, const uint8_t *rgb, struct wn_err *err)
{
    int ret = av_frame_make_writable(v->frame);
    if (ret < 0) return av_fail(v, ret, WAN_EINTERNAL, "reuse a frame", err);
    const uint8_t *const src[4] = {rgb};
    const int stride[4] = {3 * v->enc->width};
    ret = sws_scale(v->sws, src, stride, 0, v->enc->height, v->frame->data, v->frame->linesize);
    if (ret < 0) return av_fail(v, ret, WAN_EINTERNAL, "convert a frame to 4:2:0", err);
    v->frame->pts = v->n_frames++;
    return encode(v, v->frame, err);
}

/* Report v's own failure through the caller's `err`. */
static enum wan_status report(const struct wn_video *v, struct wn_err *err)
{
    return v->failure.code ? wn_fail(err, v->failure.code, "%s", v->failure.text) : WAN_OK;
}

enum wan_status wn_video_frame(struct wn_video *v, const uint8_t *rgb, struct wn_err *err)
{
    if (!v->failure.code) add_frame(v, rgb, &v->failure);
    return report(v, err);
}

static enum wan_status sync_and_rename(struct wn_video *v, struct wn_err *err)
{
    int fd = open(tmp_name(v), O_RDONLY | O_CLOEXEC);
    int bad = fd < 0 || fsync(fd), why = errno;
    if (fd >= 0) close(fd);
    if (!bad && rename(tmp_name(v), v->path)) {
        bad = 1;
        why = errno;
    }
    if (bad) return wn_fail(err, WAN_EIO, "%s: cannot write: %s", v->path, strerror(why));
    v->made_file = false;
    return WAN_OK;
}

static enum wan_status finish(struct wn_video *v, struct wn_err *err)
{
    if (!v->n_frames) return wn_fail(err, WAN_EINVAL, "%s: a video needs at least one frame", v->path);
    enum wan_status st = encode(v, NULL, err);
    if (st) return st;
    int ret = av_write_trailer(v->mux); /* moves the index to the front */
    int closed = avio_closep(&v->mux->pb);
    if (ret >= 0) ret = closed;
    if (ret < 0) return av_fail(v, ret, WAN_EIO, "write", err);
    return sync_and_rename(v, err);
}

enum wan_status wn_video_commit(struct wn_video *v, struct wn_err *err)
{
    if (!v->failure.code) finish(v, &v->failure);
    enum wan_status st = report(v, err);
    wn_video_abort(v);
    return st;
}

void wn_video_abort(struct wn_video *v)
{
    if (!v) return;
    sws_freeContext(v->sws);
    av_frame_free(&v->frame);
    av_packet_free(&v->packet);
    avcodec_free_context(&v->enc);
    if (v->mux && v->mux->pb) avio_closep(&v->mux->pb);
    avformat_free_context(v->mux);
    if (v->made_file) unlink(tmp_name(v));
    wn_free(v->path);
    wn_free(v->url);
    wn_free(v);
}
