/* The kinds of video file that are written, and the encoders for each. */
#ifndef WN_MEDIA_VIDEO_ENCODER_H
#define WN_MEDIA_VIDEO_ENCODER_H

#include <libavcodec/avcodec.h>
#include <libavutil/dict.h>

#include "base/status.h"

struct wn_video_kind {
    const char *ext, *muxer, *name; /* ".webm", "webm", "WebM" */
    enum AVCodecID codecs[4];       /* what may be in it, AV_CODEC_ID_NONE at the end */
    const char *codec_names;        /* the same for people */
    const char *encoders[4];        /* the best first, NULL at the end */
    const char *index_first[2];     /* muxer option and value that put the index in front */
};

/* The kind that the name tells, or NULL. */
const struct wn_video_kind *wn_video_kind(const char *path);

/* The encoder called `name`, or (NULL) the best of this FFmpeg for this kind. WAN_EUNSUPPORTED. */
enum wan_status wn_video_encoder(const AVCodec **codec, const struct wn_video_kind *kind, const char *name,
                                 const char *path, struct wn_err *err);

/* `crf` is H.264's, 1 to 51; the other codecs count to 63, and get the same share. Returns what av_dict_set
 * does; `options` are for avcodec_open2. */
int wn_video_set_quality(AVCodecContext *enc, const AVCodec *codec, int crf, AVDictionary **options);

#endif
