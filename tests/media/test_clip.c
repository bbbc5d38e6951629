/* Videos read by frame number: written here, with our writer or plainly with FFmpeg, and compared with what
 * went in and with the ffmpeg program. */
#include <math.h>

#include "util.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/display.h>

#include "media/clip.h"
#include "media/video.h"

enum { W = 64, H = 48, N = 33 };

/* Frame t: its number is in the grey of the left half, a picture on the right. */
static void paint(uint8_t *rgb, int t)
{
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++, rgb += 3) {
            rgb[0] = rgb[1] = rgb[2] = (uint8_t)(20 + 6 * t);
            if (x < W / 2) continue;
            rgb[0] = (uint8_t)(x * 255 / W);
            rgb[1] = (uint8_t)(y * 255 / H);
            rgb[2] = (uint8_t)((x + y) / 8 % 2 * 200);
        }
}

static const char *write_clip(const char *name)
{
    static uint8_t rgb[W * H * 3];
    struct wn_video_params p = {.path = in_dir(name), .width = W, .height = H, .fps_num = 24};
    struct wn_video *v;
    assert_int_equal(wn_video_open(&v, &p, NULL), WAN_OK);
    for (int t = 0; t < N; t++) {
        paint(rgb, t);
        assert_int_equal(wn_video_frame(v, rgb, NULL), WAN_OK);
    }
    assert_int_equal(wn_video_commit(v, NULL), WAN_OK);
    return p.path;
}

static struct wn_clip *open_clip(const char *path)
{
    struct wn_clip *c;
    struct wn_err err = {0};
    if (wn_clip_open(&c, path, NULL, NULL, &err)) fail_msg("%s", err.text);
    return c;
}

/* What a reading collects: the frames one after another. */
struct frames {
    uint8_t *rgb;
    size_t frame_bytes;
    int64_t n, stop_at; /* stop_at > 0: fail there */
};

static enum wan_status collect(void *ctx, int64_t k, const uint8_t *rgb, struct wn_err *err)
{
    struct frames *f = ctx;
    assert_int_equal(k, f->n++);
    if (f->rgb) memcpy(f->rgb + (size_t)k * f->frame_bytes, rgb, f->frame_bytes);
    return f->stop_at && k == f->stop_at ? wn_fail(err, WAN_ECANCELED, "enough") : WAN_OK;
}

static struct frames read_frames(struct wn_clip *c, const int64_t *index, int64_t n)
{
    const struct wn_clip_info *i = wn_clip_info(c);
    struct frames f = {.frame_bytes = 3 * (size_t)i->width * (size_t)i->height};
    struct wn_err err = {0};
    f.rgb = malloc((size_t)n * f.frame_bytes);
    if (wn_clip_frames(c, index, n, collect, &f, &err)) fail_msg("%s", err.text);
    assert_int_equal(f.n, n);
    return f;
}

/* The grey that tells the number. */
static double number_of(const uint8_t *rgb)
{
    double sum = 0;
    for (int y = 8; y < H - 8; y++)
        for (int x = 8; x < W / 2 - 8; x++) sum += rgb[3 * (y * W + x)];
    return (sum / ((H - 16) * (W / 2 - 16)) - 20) / 6;
}

static void frames_by_number(void **state)
{
    (void)state;
    static const int64_t index[] = {0, 0, 1, 7, 8, 20, 20, 20, 31, 32, 32};
    enum { K = sizeof index / sizeof *index };
    static const char *const names[] = {"n.mp4", "n.webm"};
    for (int i = 0; i < 2; i++) {
        struct wn_clip *c = open_clip(write_clip(names[i]));
        const struct wn_clip_info *info = wn_clip_info(c);
        assert_true(info->width == W && info->height == H && info->n_frames == N);
        assert_true(fabs(info->fps - 24) < 1e-3);
        for (int again = 0; again < 2; again++) {
            struct frames f = read_frames(c, index, K);
            for (int k = 0; k < K; k++)
                if (fabs(number_of(f.rgb + (size_t)k * f.frame_bytes) - (double)index[k]) > 0.3)
                    fail_msg("%s: at %d frame %g came, not %d", names[i], k,
                             number_of(f.rgb + (size_t)k * f.frame_bytes), (int)index[k]);
            free(f.rgb);
        }
        wn_clip_close(c);
    }
}

static void picture_survives(void **state)
{
    (void)state;
    static uint8_t want[W * H * 3];
    struct wn_clip *c = open_clip(write_clip("p.mp4"));
    struct frames f = read_frames(c, (int64_t[]){N - 1}, 1);
    double sum = 0;
    paint(want, N - 1);
    for (int i = 0; i < W * H; i++) { /* green has most of the luma, which is there at full resolution */
        double d = f.rgb[3 * i + 1] - want[3 * i + 1];
        sum += d * d;
    }
    print_message("rms error of green: %.2f\n", sqrt(sum / (W * H)));
    assert_true(sqrt(sum / (W * H)) < 8);
    free(f.rgb);
    wn_clip_close(c);
}

static void sample_spreads(void **state)
{
    (void)state;
    struct wn_clip *c = open_clip(write_clip("s.mp4"));
    int64_t *index, n;
    struct wn_err err = {0};
    /* 33 frames at 24 a second, looked at twice a second: 2.75, but no fewer than 4 */
    assert_int_equal(wn_clip_sample(c, (struct wn_frame_wish){0}, &index, &n, &err), WAN_OK);
    assert_int_equal(n, 4);
    assert_memory_equal(index, ((int64_t[]){0, 11, 21, 32}), 4 * sizeof *index);
    wn_free(index);
    assert_int_equal(wn_clip_sample(c, (struct wn_frame_wish){.fps = 6}, &index, &n, &err), WAN_OK);
    assert_int_equal(n, 8);
    assert_int_equal(index[7], 32);
    wn_free(index);
    assert_int_equal(wn_clip_sample(c, (struct wn_frame_wish){.n_frames = 50}, &index, &n, &err), WAN_EINVAL);
    assert_null(index);
    assert_non_null(strstr(err.text, "33"));
    wn_clip_close(c);
}

/* ---- colours: a file of raw frames, tagged as one likes ---- */

struct raw {
    enum AVPixelFormat format;
    enum AVColorSpace space;
    enum AVColorRange range;
    int width, height, degrees; /* counter-clockwise, of the display matrix */
    const char *muxer;
};

/* Three frames, their planes (or channels) filled with what fill() says. */
static void write_raw(const char *path, struct raw r, uint8_t (*fill)(int plane, int x, int y, int t))
{
    AVFormatContext *mux;
    const AVCodec *codec =
        avcodec_find_encoder(r.format == AV_PIX_FMT_RGB24 ? AV_CODEC_ID_PNG : AV_CODEC_ID_FFV1);
    AVCodecContext *enc = avcodec_alloc_context3(codec);
    assert_true(avformat_alloc_output_context2(&mux, NULL, r.muxer, path) >= 0);
    AVStream *s = avformat_new_stream(mux, NULL);
    enc->width = r.width;
    enc->height = r.height;
    enc->pix_fmt = r.format;
    enc->colorspace = r.space;
    enc->color_range = r.range;
    enc->time_base = s->time_base = (AVRational){1, 10};
    s->avg_frame_rate = (AVRational){10, 1};
    assert_true(avcodec_open2(enc, codec, NULL) >= 0);
    assert_true(avcodec_parameters_from_context(s->codecpar, enc) >= 0);
    if (r.degrees) {
        int32_t matrix[9];
        av_display_rotation_set(matrix, -r.degrees); /* which turns clockwise */
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(60, 31, 0)
        AVPacketSideData *d =
            av_packet_side_data_new(&s->codecpar->coded_side_data, &s->codecpar->nb_coded_side_data,
                                    AV_PKT_DATA_DISPLAYMATRIX, sizeof matrix, 0);
        memcpy(d->data, matrix, sizeof matrix);
#else
        memcpy(av_stream_new_side_data(s, AV_PKT_DATA_DISPLAYMATRIX, sizeof matrix), matrix, sizeof matrix);
#endif
    }
    assert_true(avio_open(&mux->pb, path, AVIO_FLAG_WRITE) >= 0);
    assert_true(avformat_write_header(mux, NULL) >= 0);
    AVFrame *f = av_frame_alloc();
    AVPacket *packet = av_packet_alloc();
    f->format = r.format;
    f->width = r.width;
    f->height = r.height;
    f->colorspace = r.space;
    f->color_range = r.range;
    assert_true(av_frame_get_buffer(f, 0) >= 0);
    for (int t = 0; t < 3; t++) {
        assert_true(av_frame_make_writable(f) >= 0);
        for (int x = 0; r.format == AV_PIX_FMT_RGB24 && x < 3 * r.width * r.height; x++) {
            int at = x / 3 % r.width, y = x / 3 / r.width;
            f->data[0][y * f->linesize[0] + 3 * at + x % 3] = fill(x % 3, at, y, t);
        }
        for (int plane = 0; r.format != AV_PIX_FMT_RGB24 && plane < 3; plane++) {
            int half = plane && r.format != AV_PIX_FMT_YUV444P;
            for (int y = 0; y < (half ? (r.height + 1) / 2 : r.height); y++)
                for (int x = 0; x < (half ? (r.width + 1) / 2 : r.width); x++)
                    f->data[plane][y * f->linesize[plane] + x] = fill(plane, x, y, t);
        }
        f->pts = t;
        assert_true(avcodec_send_frame(enc, f) >= 0);
        while (avcodec_receive_packet(enc, packet) >= 0) {
            av_packet_rescale_ts(packet, enc->time_base, s->time_base);
            assert_true(av_interleaved_write_frame(mux, packet) >= 0);
        }
    }
    assert_true(av_write_trailer(mux) >= 0);
    avio_closep(&mux->pb);
    av_packet_free(&packet);
    av_frame_free(&f);
    avcodec_free_context(&enc);
    avformat_free_context(mux);
}

static uint8_t flat[3];

static uint8_t fill_flat(int plane, int x, int y, int t)
{
    (void)x;
    (void)y;
    (void)t;
    return flat[plane];
}

/* Y'CbCr of ITU-R BT.601 or BT.709 to R'G'B'. */
static void to_rgb(const uint8_t yuv[3], bool bt709, bool full, double rgb[3])
{
    double kr = bt709 ? 0.2126 : 0.299, kb = bt709 ? 0.0722 : 0.114, kg = 1 - kr - kb;
    double y = full ? yuv[0] : (yuv[0] - 16) * 255.0 / 219, c = full ? 1 : 255.0 / 224;
    double b = (yuv[1] - 128) * c, r = (yuv[2] - 128) * c;
    rgb[0] = y + 2 * (1 - kr) * r;
    rgb[2] = y + 2 * (1 - kb) * b;
    rgb[1] = (y - kr * rgb[0] - kb * rgb[2]) / kg;
}

static void colours_follow_the_tags(void **state)
{
    (void)state;
    static const uint8_t colours[][3] = {{128, 128, 128}, {16, 128, 128},  {235, 128, 128},
                                         {100, 90, 170},  {150, 160, 100}, {81, 110, 180}};
    static const struct {
        struct raw raw;
        bool bt709, full;
    } cases[] = {
        {{AV_PIX_FMT_YUV420P, AVCOL_SPC_BT709, AVCOL_RANGE_MPEG, W, H, 0, "matroska"}, true, false},
        {{AV_PIX_FMT_YUV420P, AVCOL_SPC_BT709, AVCOL_RANGE_JPEG, W, H, 0, "matroska"}, true, true},
        {{AV_PIX_FMT_YUV420P, AVCOL_SPC_SMPTE170M, AVCOL_RANGE_MPEG, W, H, 0, "matroska"}, false, false},
        {{AV_PIX_FMT_YUV420P, AVCOL_SPC_BT470BG, AVCOL_RANGE_JPEG, W, H, 0, "matroska"}, false, true},
        {{AV_PIX_FMT_YUV420P, AVCOL_SPC_UNSPECIFIED, AVCOL_RANGE_UNSPECIFIED, W, H, 0, "avi"}, false, false},
        {{AV_PIX_FMT_YUV444P, AVCOL_SPC_BT709, AVCOL_RANGE_MPEG, 37, 29, 0, "matroska"}, true, false},
        {{AV_PIX_FMT_YUV420P, AVCOL_SPC_BT709, AVCOL_RANGE_MPEG, 37, 29, 0, "matroska"}, true, false},
    };
    const char *path = in_dir("tags.mkv");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t k = 0; k < sizeof colours / sizeof *colours; k++) {
            double want[3];
            memcpy(flat, colours[k], 3);
            write_raw(path, cases[i].raw, fill_flat);
            struct wn_clip *c = open_clip(path);
            assert_int_equal(wn_clip_info(c)->n_frames, 3);
            struct frames f = read_frames(c, (int64_t[]){2}, 1);
            to_rgb(flat, cases[i].bt709, cases[i].full, want);
            for (size_t at = 0; at < f.frame_bytes; at++) {
                double v = want[at % 3] < 0 ? 0 : want[at % 3] > 255 ? 255 : want[at % 3];
                if (fabs(f.rgb[at] - v) > 3) /* the quick conversion has small tables */
                    fail_msg("case %zu colour %zu byte %zu: %d, not %g", i, k, at, f.rgb[at], v);
            }
            free(f.rgb);
            wn_clip_close(c);
        }
}

static uint8_t fill_picture(int plane, int x, int y, int t)
{
    return (uint8_t)(plane == 0 ? 3 * x + 5 * y + t : plane == 1 ? 7 * x + y : x + 2 * y + 100);
}

/* RGB comes out as it is, and turned as the matrix says. */
static void turned_frames(void **state)
{
    (void)state;
    enum { WIDE = 37, HIGH = 22 };
    for (int degrees = 0; degrees < 360; degrees += 90) {
        struct raw r = {AV_PIX_FMT_RGB24, AVCOL_SPC_RGB, AVCOL_RANGE_UNSPECIFIED, WIDE, HIGH,
                        -degrees,         "mov"};
        const char *path = in_dir("turned.mov");
        write_raw(path, r, fill_picture);
        struct wn_clip *c = open_clip(path);
        const struct wn_clip_info *info = wn_clip_info(c);
        int w = degrees % 180 ? HIGH : WIDE, h = degrees % 180 ? WIDE : HIGH;
        assert_true(info->width == w && info->height == h);
        struct frames f = read_frames(c, (int64_t[]){1}, 1);
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++) {
                int sx = degrees == 0 ? x : degrees == 90 ? y : degrees == 180 ? WIDE - 1 - x : WIDE - 1 - y;
                int sy = degrees == 0 ? y : degrees == 90 ? HIGH - 1 - x : degrees == 180 ? HIGH - 1 - y : x;
                for (int ch = 0; ch < 3; ch++)
                    assert_int_equal(f.rgb[3 * (y * w + x) + ch], fill_picture(ch, sx, sy, 1));
            }
        free(f.rgb);
        wn_clip_close(c);
    }
}

/* Every frame equals what the ffmpeg program makes of the file. */
static void ffmpeg_agrees(void **state)
{
    (void)state;
    if (system("ffmpeg -version >/dev/null 2>&1") != 0) {
        print_message("skipped: the ffmpeg program is not installed\n");
        skip();
    }
    static const char *const names[] = {"f.mp4", "f.webm", "f.mkv", "f.mov"};
    for (int i = 0; i < 2; i++) write_clip(names[i]);
    write_raw(in_dir(names[2]),
              (struct raw){AV_PIX_FMT_YUV420P, AVCOL_SPC_SMPTE170M, AVCOL_RANGE_JPEG, 61, 43, 0, "matroska"},
              fill_picture);
    write_raw(in_dir(names[3]),
              (struct raw){AV_PIX_FMT_YUV420P, AVCOL_SPC_BT709, AVCOL_RANGE_MPEG, 60, 44, 90, "mov"},
              fill_picture);
    for (int i = 0; i < 4; i++) {
        char command[600], *data;
        size_t n;
        const char *raw = "frames.raw";
        snprintf(command, sizeof command,
                 "ffmpeg -v error -y -i '%s' -fps_mode passthrough -f rawvideo -pix_fmt rgb24 '%s'",
                 in_dir(names[i]), in_dir(raw));
        if (system(command) != 0) fail_msg("%s", command);
        assert_int_equal(wn_file_read(in_dir(raw), 1 << 26, &data, &n, NULL), 0);
        struct wn_clip *c = open_clip(in_dir(names[i]));
        int64_t index[N], count = wn_clip_info(c)->n_frames;
        for (int t = 0; t < N; t++) index[t] = t;
        struct frames f = read_frames(c, index, count);
        assert_int_equal(n, (size_t)count * f.frame_bytes);
        int worst = 0;
        for (size_t at = 0; at < n; at++) {
            int d = abs(f.rgb[at] - (uint8_t)data[at]);
            if (d > worst) worst = d;
        }
        print_message("%s: largest difference from ffmpeg %d\n", names[i], worst);
        assert_true(worst <= 2);
        free(f.rgb);
        wn_free(data);
        wn_clip_close(c);
    }
}

/* ---- refusals ---- */

static void assert_refused(const char *path, enum wan_status code, const char *part)
{
    struct wn_clip *c;
    struct wn_err err = {0};
    assert_int_equal(wn_clip_open(&c, path, NULL, NULL, &err), code);
    assert_null(c);
    if (!strstr(err.text, part)) fail_msg("\"%s\" lacks \"%s\"", err.text, part);
    assert_int_equal(wn_clip_open(&c, path, NULL, NULL, NULL), code);
}

static void bad_files(void **state)
{
    (void)state;
    assert_refused(in_dir("nothere.mp4"), WAN_EIO, "nothere.mp4: no such file");
    assert_refused(test_dir, WAN_EIO, "not a regular file");
    const char *path = in_dir("bad.mp4");
    put_text(path, "");
    assert_refused(path, WAN_EFORMAT, "bad.mp4");
    put_text(path, "this is no video at all\n");
    assert_refused(path, WAN_EFORMAT, "bad.mp4: not a video");
    /* Playlists lead to other files. */
    const char *other = write_clip("other.mp4");
    char list[400];
    snprintf(list, sizeof list, "ffconcat version 1.0\nfile '%s'\n", other);
    put_text(path, list);
    assert_refused(path, WAN_EFORMAT, "bad.mp4: not a video");
    snprintf(list, sizeof list, "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n%s\n#EXT-X-ENDLIST\n",
             other);
    put_text(path, list);
    assert_refused(path, WAN_EFORMAT, "bad.mp4: not a video");
}

static void bad_numbers(void **state)
{
    (void)state;
    struct wn_clip *c = open_clip(write_clip("i.mp4"));
    struct frames f = {0};
    struct wn_err err = {0};
    assert_int_equal(wn_clip_frames(c, (int64_t[]){-1}, 1, collect, &f, NULL), WAN_EINVAL);
    assert_int_equal(wn_clip_frames(c, (int64_t[]){3, 2}, 2, collect, &f, NULL), WAN_EINVAL);
    assert_int_equal(wn_clip_frames(c, (int64_t[]){0, N}, 2, collect, &f, &err), WAN_EINVAL);
    assert_non_null(strstr(err.text, "frame 33 of 33"));
    assert_int_equal(wn_clip_frames(c, NULL, 0, collect, &f, NULL), WAN_OK);
    assert_int_equal(f.n, 0);
    err = (struct wn_err){0};
    f.stop_at = 1;
    assert_int_equal(wn_clip_frames(c, (int64_t[]){0, 5, 9}, 3, collect, &f, &err), WAN_ECANCELED);
    assert_int_equal(f.n, 2);
    assert_string_equal(err.text, "enough");
    wn_clip_close(c);
    wn_clip_close(NULL);
}

static int countdown(void *ctx)
{
    return --*(int *)ctx < 0;
}

static void stops_when_asked(void **state)
{
    (void)state;
    const char *path = write_clip("c.webm");
    size_t used = wn_mem_used();
    int k = 0, n_stopped = 0;
    for (enum wan_status st = WAN_ECANCELED; st; k += 7) {
        struct wn_clip *c;
        struct wn_err err = {0};
        int left = k;
        st = wn_clip_open(&c, path, countdown, &left, &err);
        if (st) {
            if (st != WAN_ECANCELED) fail_msg("%d: %s", k, err.text);
            n_stopped++;
        } else {
            struct frames f = {0};
            left = 3;
            assert_int_equal(wn_clip_frames(c, (int64_t[]){N - 1}, 1, collect, &f, &err), WAN_ECANCELED);
        }
        wn_clip_close(c);
        assert_int_equal(wn_mem_used(), used);
    }
    assert_true(n_stopped > 3);
}

/* Cut off and overwritten anywhere: read or refused with a sentence, and nothing leaks. */
static void damaged_files(void **state)
{
    (void)state;
    static const char *const names[] = {"d.mp4", "d.webm"};
    for (int i = 0; i < 2; i++) {
        char *data;
        size_t n;
        const char *path = write_clip(names[i]);
        assert_int_equal(wn_file_read(path, 1 << 26, &data, &n, NULL), 0);
        int refused = 0, total = 0;
        for (size_t at = 0; at < n; at += at < 600 ? 23 : n / 40, total++) {
            FILE *f = fopen(path, "wb");
            fwrite(data, 1, total % 2 ? n : at, f);
            if (total % 2) {
                fseek(f, (long)at, SEEK_SET);
                fwrite("\xff\xff\xff\xff\xff", 1, 5, f);
            }
            fclose(f);
            struct wn_clip *c;
            struct wn_err err = {0};
            size_t used = wn_mem_used();
            enum wan_status st = wn_clip_open(&c, path, NULL, NULL, &err);
            if (st) {
                refused++;
                if ((st != WAN_EFORMAT && st != WAN_EUNSUPPORTED) || !strstr(err.text, names[i]))
                    fail_msg("%s at %zu: %d %s", names[i], at, (int)st, err.text);
            } else {
                struct frames none = {0};
                wn_clip_frames(c, (int64_t[]){0}, 1, collect, &none, &err);
            }
            wn_clip_close(c);
            assert_int_equal(wn_mem_used(), used);
        }
        print_message("%s: %d of %d refused\n", names[i], refused, total);
        assert_true(refused > total / 4);
        wn_free(data);
    }
}

static void out_of_memory(void **state)
{
    (void)state;
    const char *path = write_clip("m.mp4");
    size_t used = wn_mem_used();
    int64_t n = 0;
    for (enum wan_status st = WAN_ENOMEM; st; n++) {
        struct wn_err err = {0};
        struct wn_clip *c;
        int64_t *index = NULL, count;
        struct frames f = {0};
        wn_mem_fail_after(n);
        st = wn_clip_open(&c, path, NULL, NULL, &err);
        if (!st) st = wn_clip_sample(c, (struct wn_frame_wish){0}, &index, &count, &err);
        if (!st) st = wn_clip_frames(c, index, count, collect, &f, &err);
        wn_mem_fail_after(-1);
        if (st && st != WAN_ENOMEM) fail_msg("request %d: %s", (int)n, err.text);
        wn_free(index);
        wn_clip_close(c);
        assert_int_equal(wn_mem_used(), used);
    }
    assert_int_equal(n, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_by_number), cmocka_unit_test(picture_survives),
        cmocka_unit_test(sample_spreads),   cmocka_unit_test(colours_follow_the_tags),
        cmocka_unit_test(turned_frames),    cmocka_unit_test(ffmpeg_agrees),
        cmocka_unit_test(bad_files),        cmocka_unit_test(bad_numbers),
        cmocka_unit_test(stops_when_asked), cmocka_unit_test(damaged_files),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
