#include "media/video_encoder.h"

#include <string.h>
#include <strings.h>

#include "base/file.h"

static const struct wn_video_kind kinds[] = {
    {".mp4",
     "mp4",
     "MP4",
     {AV_CODEC_ID_H264, AV_CODEC_ID_NONE},
     "H.264",
     {"libx264", "libopenh264", NULL},
     {"movflags", "+faststart"}},
    {".webm",
     "webm",
     "WebM",
     {AV_CODEC_ID_VP9, AV_CODEC_ID_AV1, AV_CODEC_ID_VP8, AV_CODEC_ID_NONE},
     "VP9, AV1 or VP8",
     {"libvpx-vp9", "libaom-av1", "libvpx", NULL},
     {"cues_to_front", "1"}},
};

const struct wn_video_kind *wn_video_kind(const char *path)
{
    const char *ext = wn_path_ext(path);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcasecmp(ext, kinds[i].ext)) return &kinds[i];
    return NULL;
}

static const AVCodec *find_named(const struct wn_video_kind *kind, const char *name)
{
    const AVCodec *codec = avcodec_find_encoder_by_name(name);
    for (int i = 0; codec && kind->codecs[i] != AV_CODEC_ID_NONE; i++)
        if (codec->id == kind->codecs[i]) return codec;
    return NULL;
}

enum wan_status wn_video_encoder(const AVCodec **codec, const struct wn_video_kind *kind, const char *name,
                                 const char *path, struct wn_err *err)
{
    *codec = name ? find_named(kind, name) : NULL;
    for (int i = 0; !name && !*codec && kind->encoders[i]; i++) *codec = find_named(kind, kind->encoders[i]);
    if (*codec) return WAN_OK;
    if (name)
        return wn_fail(err, WAN_EUNSUPPORTED, "%s: this FFmpeg has no %s encoder called \"%s\"", path,
                       kind->codec_names, name);
    return wn_fail(
        err, WAN_EUNSUPPORTED,
        "%s: this FFmpeg has no encoder for %s files (%s%s%s%s%s); write PNG frames (a name such as "
        "frame_%%04d.png) instead",
        path, kind->name, kind->encoders[0], kind->encoders[1] ? ", " : "",
        kind->encoders[1] ? kind->encoders[1] : "", kind->encoders[2] ? ", " : "",
        kind->encoders[2] ? kind->encoders[2] : "");
}

/* The quantiser scales of VP8, VP9 and AV1 end at 63. */
static int of_63(int crf)
{
    return (crf * 63 + 25) / 51;
}

static int set_x264(AVCodecContext *enc, int crf, AVDictionary **options)
{
    (void)enc;
    int ret = av_dict_set_int(options, "crf", crf, 0);
    return ret < 0 ? ret : av_dict_set(options, "x264-params", "cpu-independent=1", 0);
}

/* A fixed quantiser is the nearest thing to a constant rate factor. */
static int set_openh264(AVCodecContext *enc, int crf, AVDictionary **options)
{
    enc->flags |= AV_CODEC_FLAG_QSCALE;
    enc->global_quality = FF_QP2LAMBDA * crf;
    return av_dict_set(options, "rc_mode", "off", 0);
}

/* Tiles are how several threads share a frame; there are at most as many as the width allows. */
static int set_vp9(AVCodecContext *enc, int crf, AVDictionary **options)
{
    enc->bit_rate = 0; /* else the rate factor is a bound and not the aim */
    int ret = av_dict_set_int(options, "crf", of_63(crf), 0);
    if (ret >= 0) ret = av_dict_set(options, "deadline", "good", 0);
    if (ret >= 0) ret = av_dict_set(options, "cpu-used", "2", 0);
    return ret < 0 ? ret : av_dict_set(options, "tile-columns", "2", 0);
}

static int set_av1(AVCodecContext *enc, int crf, AVDictionary **options)
{
    enc->bit_rate = 0;
    int ret = av_dict_set_int(options, "crf", of_63(crf), 0);
    if (ret >= 0) ret = av_dict_set(options, "cpu-used", "6", 0);
    return ret < 0 ? ret : av_dict_set(options, "tiles", "2x1", 0);
}

/* VP8 has no constant quality without a target rate. */
static int set_vp8(AVCodecContext *enc, int crf, AVDictionary **options)
{
    enc->qmin = enc->qmax = of_63(crf);
    enc->bit_rate = (int64_t)enc->width * enc->height * 100;
    return av_dict_set(options, "deadline", "good", 0);
}

static int set_other(AVCodecContext *enc, int crf, AVDictionary **options)
{
    (void)options;
    enc->flags |= AV_CODEC_FLAG_QSCALE;
    enc->global_quality = FF_QP2LAMBDA * crf;
    return 0;
}

int wn_video_set_quality(AVCodecContext *enc, const AVCodec *codec, int crf, AVDictionary **options)
{
    static const struct {
        const char *name;
        int (*set)(AVCodecContext *enc, int crf, AVDictionary **options);
    } rules[] = {{"libx264", set_x264},
                 {"libopenh264", set_openh264},
                 {"libvpx-vp9", set_vp9},
                 {"libaom-av1", set_av1},
                 {"libvpx", set_vp8}};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (!strcmp(codec->name, rules[i].name)) return rules[i].set(enc, crf, options);
    return set_other(enc, crf, options);
}
