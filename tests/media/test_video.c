/* Video files: written, then read back with libavformat and, where it is installed, the ffprobe program. */
#include <math.h>
#include <signal.h>
#include <sys/resource.h>

#include "util.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswscale/swscale.h>

#include "base/rng.h"
#include "media/video.h"

enum { W = 96, H = 64 };

/* What a test runs with: the kind of file. */
struct kind {
    const char *ext;
    enum AVCodecID codec;
    const char *codec_name, *encoder; /* encoder NULL: the first choice */
    double rms, colour;               /* errors at the default quality: of luma, of a flat colour */
};
static struct kind mp4 = {".mp4", AV_CODEC_ID_H264, "h264", NULL, 1.0, 3};
static struct kind webm = {".webm", AV_CODEC_ID_VP9, "vp9", NULL, 1.0, 3};
static struct kind webm_av1 = {".webm", AV_CODEC_ID_AV1, "av1", "libaom-av1", 1.0, 3};
static struct kind webm_vp8 = {".webm", AV_CODEC_ID_VP8, "vp8", "libvpx", 1.0, 4};

/* The kind of this test, which is skipped where FFmpeg lacks the encoder. */
static const struct kind *kind_of(void **state)
{
    const struct kind *k = *state;
    if (k->encoder && !avcodec_find_encoder_by_name(k->encoder)) {
        print_message("skipped: this FFmpeg has no %s\n", k->encoder);
        skip();
    }
    return k;
}

static const char *named(const char *base, const struct kind *k)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s", base, k->ext);
    return in_dir(name);
}

static struct wn_video_params params(const char *path)
{
    return (struct wn_video_params){.path = path, .width = W, .height = H, .fps_num = 16};
}

/* Frame t of a moving test picture with detail, colour and an edge. */
static void paint(uint8_t *rgb, int t)
{
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++, rgb += 3) {
            rgb[0] = (uint8_t)(x * 255 / W);
            rgb[1] = (uint8_t)(y * 255 / H);
            rgb[2] = (uint8_t)((x + 3 * t) / 8 % 2 * 200);
        }
}

static enum wan_status write_video(const struct wn_video_params *p, int n_frames, struct wn_err *err)
{
    static uint8_t rgb[W * H * 3];
    struct wn_video *v;
    enum wan_status st = wn_video_open(&v, p, err);
    if (st) {
        assert_null(v);
        return st;
    }
    for (int t = 0; t < n_frames; t++) {
        paint(rgb, t);
        if ((st = wn_video_frame(v, rgb, err))) break;
    }
    enum wan_status end = wn_video_commit(v, err);
    if (st) assert_int_equal(end, st); /* the same failure again */
    return end;
}

struct clip {
    AVFormatContext *f;
    AVCodecContext *dec;
    AVStream *stream;
    int n_frames;
    int64_t last_pts;
    AVFrame *frame; /* the last one */
    double mean[3]; /* of the last frame, as RGB */
};

/* RGB means of a BT.709 limited-range frame, from its mean Y, Cb, Cr. */
static void mean_rgb(const AVFrame *f, double rgb[3])
{
    double m[3];
    for (int c = 0; c < 3; c++) {
        int w = c ? f->width / 2 : f->width, h = c ? f->height / 2 : f->height;
        double sum = 0;
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++) sum += f->data[c][y * f->linesize[c] + x];
        m[c] = sum / (w * h);
    }
    double y = (m[0] - 16) * 255 / 219, b = (m[1] - 128) * 255 / 224, r = (m[2] - 128) * 255 / 224;
    rgb[0] = y + 1.5748 * r; /* ITU-R BT.709: Kr 0.2126, Kb 0.0722 */
    rgb[1] = y - 0.187324 * b - 0.468124 * r;
    rgb[2] = y + 1.8556 * b;
}

static void take_frames(struct clip *c, AVFrame *frame)
{
    while (avcodec_receive_frame(c->dec, frame) == 0) {
        if (c->n_frames) assert_true(frame->pts > c->last_pts);
        c->last_pts = frame->pts;
        c->n_frames++;
        av_frame_unref(c->frame);
        av_frame_move_ref(c->frame, frame);
    }
}

static void open_clip(struct clip *c, const char *path)
{
    *c = (struct clip){0};
    assert_int_equal(avformat_open_input(&c->f, path, NULL, NULL), 0);
    assert_true(avformat_find_stream_info(c->f, NULL) >= 0);
    assert_int_equal(c->f->nb_streams, 1);
    c->stream = c->f->streams[0];
    c->dec = avcodec_alloc_context3(avcodec_find_decoder(c->stream->codecpar->codec_id));
    avcodec_parameters_to_context(c->dec, c->stream->codecpar);
    assert_int_equal(avcodec_open2(c->dec, NULL, NULL), 0);
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();
    c->frame = av_frame_alloc();
    while (av_read_frame(c->f, packet) >= 0) {
        assert_int_equal(avcodec_send_packet(c->dec, packet), 0);
        av_packet_unref(packet);
        take_frames(c, frame);
    }
    avcodec_send_packet(c->dec, NULL);
    take_frames(c, frame);
    if (c->n_frames) mean_rgb(c->frame, c->mean);
    av_frame_free(&frame);
    av_packet_free(&packet);
}

static void close_clip(struct clip *c)
{
    av_frame_free(&c->frame);
    avcodec_free_context(&c->dec);
    avformat_close_input(&c->f);
}

static void assert_709(const AVCodecParameters *p)
{
    assert_int_equal(p->format, AV_PIX_FMT_YUV420P);
    assert_int_equal(p->color_primaries, AVCOL_PRI_BT709);
    assert_int_equal(p->color_trc, AVCOL_TRC_BT709);
    assert_int_equal(p->color_space, AVCOL_SPC_BT709);
    assert_int_equal(p->color_range, AVCOL_RANGE_MPEG);
}

static void reads_back(void **state)
{
    const struct kind *k = kind_of(state);
    static const struct {
        int num, den, n;
    } cases[] = {{16, 0, 1}, {24, 1, 5}, {30000, 1001, 81}, {16, 1, 33}};
    size_t files = n_files();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct wn_video_params p = params(named("a", k));
        p.encoder = k->encoder;
        p.fps_num = cases[i].num;
        p.fps_den = cases[i].den;
        struct wn_err err = {0};
        if (write_video(&p, cases[i].n, &err)) fail_msg("%s", err.text);
        struct clip c;
        open_clip(&c, p.path);
        AVRational fps = {cases[i].num, cases[i].den ? cases[i].den : 1};
        assert_int_equal(c.n_frames, cases[i].n);
        if (k == &mp4) assert_int_equal(c.stream->nb_frames, cases[i].n);
        double rate = av_q2d(c.stream->avg_frame_rate) / av_q2d(fps);
        assert_true(rate > 0.99999 && rate < 1.00001);
        assert_int_equal(c.stream->codecpar->width, W);
        assert_int_equal(c.stream->codecpar->height, H);
        assert_int_equal(c.stream->codecpar->codec_id, k->codec);
        assert_709(c.stream->codecpar);
        double seconds = (double)c.f->duration / AV_TIME_BASE, want = cases[i].n / av_q2d(fps);
        assert_true(seconds > want - 0.001 && seconds < want + 0.001);
        close_clip(&c);
        assert_int_equal(n_files(), files + 1); /* no temporary file is left */
    }
}

static void colours_survive(void **state)
{
    const struct kind *k = kind_of(state);
    static const uint8_t colours[][3] = {{255, 0, 0}, {0, 255, 0},     {0, 0, 255},   {128, 128, 128},
                                         {0, 0, 0},   {255, 255, 255}, {20, 90, 200}, {250, 200, 40}};
    static uint8_t rgb[W * H * 3];
    for (size_t i = 0; i < sizeof colours / sizeof *colours; i++) {
        for (int j = 0; j < W * H * 3; j++) rgb[j] = colours[i][j % 3];
        struct wn_video_params p = params(named("colour", k));
        p.encoder = k->encoder;
        struct wn_video *v;
        assert_int_equal(wn_video_open(&v, &p, NULL), WAN_OK);
        for (int t = 0; t < 3; t++) assert_int_equal(wn_video_frame(v, rgb, NULL), WAN_OK);
        assert_int_equal(wn_video_commit(v, NULL), WAN_OK);
        struct clip c;
        open_clip(&c, p.path);
        for (int ch = 0; ch < 3; ch++) {
            double d = c.mean[ch] - colours[i][ch];
            if (!(fabs(d) < k->colour))
                fail_msg("colour %zu channel %d: %g, not %d", i, ch, c.mean[ch], colours[i][ch]);
        }
        close_clip(&c);
    }
}

/* Luma of the decoded picture against BT.709's formula, pixel by pixel: catches flips, shifts and poor
 * quality. */
static void picture_survives(void **state)
{
    const struct kind *k = kind_of(state);
    static uint8_t rgb[W * H * 3];
    struct wn_video_params p = params(named("picture", k));
    p.encoder = k->encoder;
    assert_int_equal(write_video(&p, 9, NULL), WAN_OK);
    struct clip c;
    open_clip(&c, p.path);
    paint(rgb, 8);
    double sum = 0;
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) {
            const uint8_t *q = rgb + 3 * (y * W + x);
            double want = 16 + (0.2126 * q[0] + 0.7152 * q[1] + 0.0722 * q[2]) * 219 / 255;
            double d = c.frame->data[0][y * c.frame->linesize[0] + x] - want;
            sum += d * d;
        }
    double rms = sqrt(sum / (W * H));
    print_message("%s: rms luma error at the default quality: %.2f\n", k->codec_name, rms);
    assert_true(rms < k->rms);
    close_clip(&c);
}

static void assert_tag(const struct clip *c, const char *key, const char *want)
{
    AVDictionaryEntry *e = av_dict_get(c->f->metadata, key, NULL, 0); /* WebM writes them large */
    assert_non_null(e);
    assert_string_equal(e->value, want);
}

static void remarks_read_back(void **state)
{
    const struct kind *k = kind_of(state);
    const char *story = "{\"prompt\": \"\xe7\x8c\xab; a=b\\\n#x\", \"seed\": 42}";
    const struct wn_media_text text[] = {
        {"comment", story}, {"description", "caf\xc3\xa9"}, {"title", "t"}, {"seed", "42"}};
    for (size_t n = 2; n <= 4; n++) { /* 4: a key that MP4 has no box for */
        struct wn_video_params p = params(named("text", k));
        p.text = text;
        p.n_text = n;
        assert_int_equal(write_video(&p, 2, NULL), WAN_OK);
        struct clip c;
        open_clip(&c, p.path);
        for (size_t i = 0; i < n; i++) assert_tag(&c, text[i].key, text[i].value);
        close_clip(&c);
    }
}

/* Where the index stands among the parts of the file: 1 before the frames, -1 behind. */
static int mp4_index(const uint8_t *data, size_t n)
{
    size_t at = 0;
    int moov = 0, order = 0;
    while (at + 8 <= n) {
        const uint8_t *b = data + at;
        size_t bytes = (size_t)b[0] << 24 | (size_t)b[1] << 16 | (size_t)b[2] << 8 | b[3];
        assert_true(bytes >= 8 && bytes <= n - at);
        if (!memcmp(b + 4, "moov", 4)) moov = 1;
        if (!memcmp(b + 4, "mdat", 4)) order = moov ? 1 : -1;
        at += bytes;
    }
    assert_int_equal(at, n);
    return order;
}

/* The names of Cues and Cluster; the table of contents at the start has names too, each after 53ab84. */
static int webm_index(const uint8_t *data, size_t n)
{
    for (size_t at = 3; at + 4 <= n; at++) {
        if (!memcmp(data + at, "\x1f\x43\xb6\x75", 4)) return -1;
        if (!memcmp(data + at, "\x1c\x53\xbb\x6b", 4) && memcmp(data + at - 3, "\x53\xab\x84", 3)) return 1;
    }
    return 0;
}

static void index_comes_first(void **state)
{
    const struct kind *k = kind_of(state);
    struct wn_video_params p = params(named("fast", k));
    assert_int_equal(write_video(&p, 5, NULL), WAN_OK);
    char *data;
    size_t n;
    assert_int_equal(wn_file_read(p.path, 1 << 26, &data, &n, NULL), 0);
    int order = (k == &mp4 ? mp4_index : webm_index)((uint8_t *)data, n);
    wn_free(data);
    assert_int_equal(order, 1);
}

static void same_input_same_bytes(void **state)
{
    const struct kind *k = kind_of(state);
    char *a[2];
    size_t n[2];
    for (int i = 0; i < 2; i++) {
        struct wn_video_params p = params(named("same", k));
        assert_int_equal(write_video(&p, 60, NULL), WAN_OK);
        assert_int_equal(wn_file_read(p.path, 1 << 26, &a[i], &n[i], NULL), 0);
    }
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(a[0], a[1], n[0]);
    /* Nor the FFmpeg version that wrote it (WebM must name a program). */
    for (size_t i = 0; i + 5 <= n[0]; i++)
        assert_true(memcmp(a[0] + i, "Lavf5", 5) && memcmp(a[0] + i, "Lavf6", 5) &&
                    memcmp(a[0] + i, "Lavc", 4));
    wn_free(a[0]);
    wn_free(a[1]);
}

/* Wide enough for tiles, which several threads encode. */
static void wide_webm_is_repeatable(void **state)
{
    (void)state;
    enum { WIDE = 640, HIGH = 64, N = 12 };
    static uint8_t rgb[WIDE * HIGH * 3];
    char *a[2];
    size_t n[2];
    for (int i = 0; i < 2; i++) {
        struct wn_video_params p = {
            .path = in_dir("wide.webm"), .width = WIDE, .height = HIGH, .fps_num = 16};
        struct wn_video *v;
        struct wn_rng r = {1};
        assert_int_equal(wn_video_open(&v, &p, NULL), WAN_OK);
        for (int t = 0; t < N; t++) {
            for (int k = 0; k < WIDE * HIGH * 3; k++)
                rgb[k] = (uint8_t)(128 + 100 * wn_rng_uniform(&r) * sin(0.01 * k + t));
            assert_int_equal(wn_video_frame(v, rgb, NULL), WAN_OK);
        }
        assert_int_equal(wn_video_commit(v, NULL), WAN_OK);
        assert_int_equal(wn_file_read(p.path, 1 << 26, &a[i], &n[i], NULL), 0);
    }
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(a[0], a[1], n[0]);
    wn_free(a[0]);
    wn_free(a[1]);
}

static void assert_refused(struct wn_video_params p, enum wan_status code, const char *part)
{
    struct wn_video *v;
    struct wn_err err = {0};
    size_t files = n_files();
    assert_int_equal(wn_video_open(&v, &p, &err), code);
    assert_null(v);
    if (!strstr(err.text, part)) fail_msg("\"%s\" lacks \"%s\"", err.text, part);
    assert_int_equal(n_files(), files);
}

#define WITH(...)                                           \
    (struct wn_video_params)                                \
    {                                                       \
        .width = W, .height = H, .fps_num = 16, __VA_ARGS__ \
    }

static void bad_parameters(void **state)
{
    (void)state;
    const char *name = in_dir("bad.mp4");
    const struct wn_media_text key = {"a b", "c"};
    assert_refused(WITH(.path = "x.webp"), WAN_EINVAL, ".webm");
    assert_refused(WITH(.path = "x.webm", .encoder = "libx264"), WAN_EUNSUPPORTED, "VP9, AV1 or VP8");
    assert_refused(WITH(.path = "x.avi"), WAN_EINVAL, "x.avi");
    assert_refused(WITH(.path = "x"), WAN_EINVAL, ".mp4");
    assert_refused((struct wn_video_params){.path = name, .width = 95, .height = 64, .fps_num = 16},
                   WAN_EINVAL, "95 x 64");
    assert_refused((struct wn_video_params){.path = name, .width = 96, .height = 63, .fps_num = 16},
                   WAN_EINVAL, "even");
    assert_refused((struct wn_video_params){.path = name, .width = 14, .height = 64, .fps_num = 16},
                   WAN_EINVAL, "14 x 64");
    assert_refused((struct wn_video_params){.path = name, .width = 64, .height = 16386, .fps_num = 1},
                   WAN_EINVAL, "16386");
    assert_refused((struct wn_video_params){.path = name, .width = W, .height = H}, WAN_EINVAL, "0/1 frames");
    assert_refused(WITH(.path = name, .fps_den = -1), WAN_EINVAL, "frames a second");
    assert_refused(WITH(.path = name, .fps_den = 100000), WAN_EINVAL, "frames a second");
    assert_refused(WITH(.path = name, .crf = 52), WAN_EINVAL, "52");
    assert_refused(WITH(.path = name, .n_threads = 65), WAN_EINVAL, "65");
    assert_refused(WITH(.path = name, .encoder = "nonesuch"), WAN_EUNSUPPORTED, "\"nonesuch\"");
    assert_refused(WITH(.path = name, .encoder = "png"), WAN_EUNSUPPORTED, "\"png\"");
    assert_refused(WITH(.path = name, .text = &key, .n_text = 1), WAN_EINVAL, "\"a b\"");
    assert_refused(WITH(.path = in_dir("no/dir.mp4")), WAN_EIO, "No such file");
}

static void old_file_stays_until_commit(void **state)
{
    const struct kind *k = kind_of(state);
    static uint8_t rgb[W * H * 3];
    struct wn_video_params p = params(named("old", k));
    put_text(p.path, "old");
    size_t files = n_files();
    struct wn_video *v;
    assert_int_equal(wn_video_open(&v, &p, NULL), WAN_OK);
    assert_int_equal(n_files(), files + 1);
    for (int t = 0; t < 60; t++) assert_int_equal(wn_video_frame(v, rgb, NULL), WAN_OK);
    assert_text(p.path, "old");
    wn_video_abort(v);
    assert_text(p.path, "old");
    assert_int_equal(n_files(), files);
    struct wn_err err = {0};
    assert_int_equal(write_video(&p, 0, &err), WAN_EINVAL);
    assert_non_null(strstr(err.text, "at least one frame"));
    assert_text(p.path, "old");
    assert_int_equal(n_files(), files);
    wn_video_abort(NULL);
}

static void folder_in_the_way(void **state)
{
    const struct kind *k = kind_of(state);
    struct wn_video_params p = params(named("folder", k));
    assert_int_equal(mkdir(p.path, 0755), 0);
    size_t files = n_files();
    struct wn_err err = {0};
    assert_int_equal(write_video(&p, 2, &err), WAN_EIO);
    assert_non_null(strstr(err.text, "cannot write"));
    assert_int_equal(n_files(), files);
    rmdir(p.path);
}

/* The disk fills up in the header, in a frame, or while the index is moved to the front. */
static void full_disk(void **state)
{
    const struct kind *k = kind_of(state);
    struct wn_video_params p = params(named("full", k));
    put_text(p.path, "old");
    size_t files = n_files();
    struct rlimit was;
    getrlimit(RLIMIT_FSIZE, &was);
    signal(SIGXFSZ, SIG_IGN);
    int failed = 0;
    enum wan_status st = WAN_EIO;
    int n = k == &mp4 ? 70 : 30; /* more than the encoder keeps back */
    for (rlim_t at = 0; st; at += at < 100 ? 20 : at / 2) {
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){at, was.rlim_max});
        struct wn_err err = {0};
        st = write_video(&p, n, &err);
        setrlimit(RLIMIT_FSIZE, &was);
        if (st) {
            assert_int_equal(st, WAN_EIO);
            assert_non_null(strstr(err.text, ": cannot write: File too large"));
            assert_text(p.path, "old");
            failed++;
        }
        assert_int_equal(n_files(), files);
    }
    assert_true(failed > 8);
    struct clip c;
    open_clip(&c, p.path);
    assert_int_equal(c.n_frames, n);
    close_clip(&c);
}

static void out_of_memory(void **state)
{
    const struct kind *k = kind_of(state);
    struct wn_video_params p = params(named("mem", k));
    put_text(p.path, "old");
    size_t files = n_files(), before = wn_mem_used();
    int64_t n = 0;
    for (enum wan_status st = WAN_ENOMEM; st; n++) {
        wn_mem_fail_after(n);
        st = write_video(&p, 2, NULL);
        wn_mem_fail_after(-1);
        if (st) {
            assert_int_equal(st, WAN_ENOMEM);
            assert_text(p.path, "old");
        }
        assert_int_equal(wn_mem_used(), before);
        assert_int_equal(n_files(), files);
    }
    assert_int_equal(n, 5);
    /* FFmpeg's own: each block above this size is refused. */
    put_text(p.path, "old");
    static const size_t limits[] = {64, 200, 1000, 4000, 10000};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        av_max_alloc(limits[i]);
        struct wn_err err = {0};
        enum wan_status st = write_video(&p, 2, &err);
        av_max_alloc(INT32_MAX);
        if (st != WAN_ENOMEM) fail_msg("limit %zu: %d %s", limits[i], (int)st, err.text);
        assert_text(p.path, "old");
        assert_int_equal(n_files(), files);
    }
}

static void ffprobe_agrees(void **state)
{
    const struct kind *k = kind_of(state);
    if (system("ffprobe -version >/dev/null 2>&1") != 0) {
        print_message("skipped: the ffprobe program is not installed\n");
        skip();
    }
    const struct wn_media_text text[] = {{"comment", "hello there"}, {"seed", "7"}};
    struct wn_video_params p = params(named("probe", k));
    p.encoder = k->encoder;
    p.text = text;
    p.n_text = 2;
    assert_int_equal(write_video(&p, 17, NULL), WAN_OK);
    char command[600], out[4096] = "";
    snprintf(
        command, sizeof command,
        "ffprobe -v error -count_frames -show_entries stream=codec_name,width,height,pix_fmt,color_range,"
        "color_space,color_transfer,color_primaries,chroma_location,r_frame_rate,nb_read_frames:format_tags "
        "-of default=nw=1 '%s' 2>&1",
        p.path);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    size_t n = fread(out, 1, sizeof out - 1, f);
    out[n] = 0;
    assert_int_equal(pclose(f), 0);
    char codec[40];
    snprintf(codec, sizeof codec, "codec_name=%s", k->codec_name);
    const char *lines[] = {codec,
                           "width=96",
                           "height=64",
                           "pix_fmt=yuv420p",
                           "color_range=tv",
                           "color_space=bt709",
                           "color_transfer=bt709",
                           "color_primaries=bt709",
                           "chroma_location=left",
                           "r_frame_rate=16/1",
                           "nb_read_frames=17",
                           k == &mp4 ? "TAG:comment=hello there" : "TAG:COMMENT=hello there",
                           k == &mp4 ? "TAG:seed=7" : "TAG:SEED=7"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (!strstr(out, lines[i])) fail_msg("ffprobe does not say %s:\n%s", lines[i], out);
}

#define EACH(test)                              \
    {#test " .mp4", test, NULL, NULL, &mp4},    \
    {                                           \
#test " .webm", test, NULL, NULL, &webm \
    }
#define OTHER(test)                               \
    {#test " av1", test, NULL, NULL, &webm_av1},  \
    {                                             \
#test " vp8", test, NULL, NULL, &webm_vp8 \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(reads_back),
        EACH(colours_survive),
        EACH(picture_survives),
        EACH(remarks_read_back),
        EACH(index_comes_first),
        EACH(same_input_same_bytes),
        cmocka_unit_test(bad_parameters),
        EACH(old_file_stays_until_commit),
        EACH(folder_in_the_way),
        EACH(full_disk),
        EACH(out_of_memory),
        EACH(ffprobe_agrees),
        OTHER(colours_survive),
        OTHER(picture_survives),
        OTHER(ffprobe_agrees),
        cmocka_unit_test(wide_webm_is_repeatable),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
