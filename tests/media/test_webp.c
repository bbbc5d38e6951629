/* WebP files: written, then read back with libwebp's own decoders. */
#include <math.h>
#include <signal.h>
#include <sys/resource.h>

#include "util.h"

#include <webp/decode.h>
#include <webp/demux.h>

#include "base/rng.h"
#include "media/image.h"
#include "media/webp.h"

enum { W = 75, H = 50 };

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

static struct wn_webp_params params(const char *path)
{
    return (struct wn_webp_params){.path = path, .width = W, .height = H, .animated = true, .fps_num = 16};
}

static enum wan_status write_webp(const struct wn_webp_params *p, int n_frames, struct wn_err *err)
{
    static uint8_t rgb[W * H * 3];
    struct wn_webp *w;
    enum wan_status st = wn_webp_open(&w, p, err);
    if (st) {
        assert_null(w);
        return st;
    }
    for (int t = 0; t < n_frames; t++) {
        paint(rgb, t);
        if ((st = wn_webp_frame(w, rgb, err))) break;
    }
    enum wan_status end = wn_webp_commit(w, err);
    if (st) assert_int_equal(end, st); /* the same failure again */
    return end;
}

struct file {
    char *data;
    size_t n;
};

static struct file load(const char *path)
{
    struct file f;
    assert_int_equal(wn_file_read(path, 1 << 26, &f.data, &f.n, NULL), 0);
    return f;
}

/* The sizes in the headers are those of the file. */
static void assert_framed(struct file f)
{
    const uint8_t *b = (const uint8_t *)f.data;
    assert_memory_equal(b, "RIFF", 4);
    assert_int_equal(b[4] | b[5] << 8 | b[6] << 16 | b[7] << 24, f.n - 8);
    size_t at = 12;
    while (at < f.n)
        at += 8 + (b[at + 4] | b[at + 5] << 8 | b[at + 6] << 16 | b[at + 7] << 24) + (b[at + 4] & 1);
    assert_int_equal(at, f.n);
}

static void stills_are_exact(void **state)
{
    (void)state;
    static const int sizes[][2] = {{1, 1}, {3, 7}, {257, 130}};
    struct wn_rng r = {9};
    for (int s = 0; s < 3; s++) {
        int w = sizes[s][0], h = sizes[s][1];
        struct wn_webp_params p = {.path = in_dir("still.webp"), .width = w, .height = h};
        uint8_t *rgb = wn_alloc((size_t)(3 * w * h));
        for (int i = 0; i < 3 * w * h; i++) rgb[i] = (uint8_t)wn_rng_u64(&r);
        struct wn_webp *v;
        assert_int_equal(wn_webp_open(&v, &p, NULL), WAN_OK);
        assert_int_equal(wn_webp_frame(v, rgb, NULL), WAN_OK);
        assert_int_equal(wn_webp_commit(v, NULL), WAN_OK);
        struct wn_image img;
        struct wn_err err = {0};
        if (wn_image_read(p.path, &img, &err)) fail_msg("%s", err.text);
        assert_int_equal(img.w, w);
        assert_int_equal(img.h, h);
        assert_memory_equal(img.rgb, rgb, 3 * w * h);
        wn_image_release(&img);
        struct file f = load(p.path);
        assert_framed(f);
        WebPBitstreamFeatures features;
        assert_int_equal(WebPGetFeatures((uint8_t *)f.data, f.n, &features), VP8_STATUS_OK);
        assert_false(features.has_animation || features.has_alpha);
        wn_free(f.data);
        wn_free(rgb);
    }
}

static double luma(const uint8_t *p)
{
    return 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];
}

/* Root mean square of the difference in luma to the picture that was written (colour has half the
 * resolution); `rgba` as the decoder gives it. */
static double rms_of(const uint8_t *rgba, int t)
{
    static uint8_t want[W * H * 3];
    double sum = 0;
    paint(want, t);
    for (int i = 0; i < W * H; i++) {
        double d = luma(rgba + 4 * i) - luma(want + 3 * i);
        sum += d * d;
    }
    return sqrt(sum / (W * H));
}

static void animations_read_back(void **state)
{
    (void)state;
    static const struct {
        int num, den, n, ms; /* the end of the last frame */
    } cases[] = {{16, 0, 1, 63},          {16, 1, 81, 5063}, {24, 1, 5, 208},
                 {30000, 1001, 33, 1101}, {1, 2, 3, 6000},   {1000, 1, 4, 4}};
    double worst = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct wn_webp_params p = params(in_dir("a.webp"));
        p.fps_num = cases[i].num;
        p.fps_den = cases[i].den;
        struct wn_err err = {0};
        if (write_webp(&p, cases[i].n, &err)) fail_msg("%s", err.text);
        struct file f = load(p.path);
        assert_framed(f);
        WebPData data = {(uint8_t *)f.data, f.n};
        WebPAnimDecoder *dec = WebPAnimDecoderNew(&data, NULL);
        WebPAnimInfo info;
        assert_non_null(dec);
        assert_true(WebPAnimDecoderGetInfo(dec, &info));
        assert_int_equal(info.canvas_width, W);
        assert_int_equal(info.canvas_height, H);
        assert_int_equal(info.frame_count, cases[i].n);
        assert_int_equal(info.loop_count, 0); /* forever */
        int n = 0, end = 0;
        for (uint8_t *rgba; WebPAnimDecoderHasMoreFrames(dec); n++) {
            assert_true(WebPAnimDecoderGetNext(dec, &rgba, &end));
            double want = 1000.0 * (n + 1) * (cases[i].den ? cases[i].den : 1) / cases[i].num;
            assert_true(fabs(end - want) <= 0.5);
            double rms = rms_of(rgba, n);
            if (rms > worst) worst = rms;
        }
        assert_int_equal(n, cases[i].n);
        assert_int_equal(end, cases[i].ms);
        WebPAnimDecoderDelete(dec);
        wn_free(f.data);
    }
    print_message("rms luma error at the default quality: %.2f\n", worst);
    assert_true(worst < 2.5);
}

static void frames_alike_stay_frames(void **state)
{
    (void)state;
    static uint8_t rgb[W * H * 3];
    struct wn_webp_params p = params(in_dir("same.webp"));
    struct wn_webp *w;
    assert_int_equal(wn_webp_open(&w, &p, NULL), WAN_OK);
    for (int t = 0; t < 7; t++) assert_int_equal(wn_webp_frame(w, rgb, NULL), WAN_OK);
    assert_int_equal(wn_webp_commit(w, NULL), WAN_OK);
    struct file f = load(p.path);
    WebPData data = {(uint8_t *)f.data, f.n};
    WebPDemuxer *d = WebPDemux(&data);
    assert_int_equal(WebPDemuxGetI(d, WEBP_FF_FRAME_COUNT), 7);
    WebPDemuxDelete(d);
    wn_free(f.data);
}

static void quality_counts(void **state)
{
    (void)state;
    size_t bytes[3];
    for (int i = 0; i < 3; i++) {
        struct wn_webp_params p = params(in_dir("quality.webp"));
        p.quality = ((int[]){50, 0, 100})[i];
        assert_int_equal(write_webp(&p, 3, NULL), WAN_OK);
        struct file f = load(p.path);
        bytes[i] = f.n;
        wn_free(f.data);
    }
    assert_true(bytes[0] < bytes[1] && bytes[1] < bytes[2]);
}

static void same_input_same_bytes(void **state)
{
    (void)state;
    struct wn_webp_params p = params(in_dir("same.webp"));
    assert_int_equal(write_webp(&p, 9, NULL), WAN_OK);
    struct file a = load(p.path);
    assert_int_equal(write_webp(&p, 9, NULL), WAN_OK);
    struct file b = load(p.path);
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.data, b.data, a.n);
    wn_free(a.data);
    wn_free(b.data);
}

static void remarks_are_xmp(void **state)
{
    (void)state;
    const struct wn_media_text text[] = {{"comment", "a=\"b\" & <c>\r\n\x01]]>"},
                                         {"description", "\xe7\x8c\xab caf\xc3\xa9 \xff"},
                                         {"seed", "42"}};
    for (int animated = 0; animated < 2; animated++) {
        struct wn_webp_params p = params(in_dir("text.webp"));
        p.animated = animated;
        p.text = text;
        p.n_text = 3;
        assert_int_equal(write_webp(&p, animated ? 2 : 1, NULL), WAN_OK);
        struct file f = load(p.path);
        assert_framed(f);
        WebPData data = {(uint8_t *)f.data, f.n};
        WebPDemuxer *d = WebPDemux(&data);
        WebPChunkIterator it;
        assert_non_null(d);
        assert_true(WebPDemuxGetI(d, WEBP_FF_FORMAT_FLAGS) & XMP_FLAG);
        assert_true(WebPDemuxGetChunk(d, "XMP ", 1, &it));
        char *xmp = calloc(1, it.chunk.size + 1);
        memcpy(xmp, it.chunk.bytes, it.chunk.size);
        const char *parts[] = {
            "<exif:UserComment><rdf:Alt><rdf:li xml:lang=\"x-default\">a=\"b\" &amp; &lt;c&gt;&#xD;\n"
            "\xef\xbf\xbd]]&gt;</rdf:li></rdf:Alt></exif:UserComment>",
            "<dc:description><rdf:Alt><rdf:li xml:lang=\"x-default\">\xe7\x8c\xab caf\xc3\xa9 "
            "\xef\xbf\xbd</rdf:li></rdf:Alt></dc:description>",
            "<wan:seed>42</wan:seed>", "<?xpacket end=\"r\"?>"};
        for (int i = 0; i < 4; i++)
            if (!strstr(xmp, parts[i])) fail_msg("%s is not in %s", parts[i], xmp);
        free(xmp);
        WebPDemuxReleaseChunkIterator(&it);
        WebPDemuxDelete(d);
        wn_free(f.data);
    }
}

static void assert_refused(struct wn_webp_params p, enum wan_status code, const char *part)
{
    struct wn_webp *w;
    struct wn_err err = {0};
    size_t files = n_files();
    assert_int_equal(wn_webp_open(&w, &p, &err), code);
    assert_null(w);
    if (!strstr(err.text, part)) fail_msg("\"%s\" lacks \"%s\"", err.text, part);
    assert_int_equal(n_files(), files);
}

#define WITH(...)                                                                                         \
    (struct wn_webp_params)                                                                               \
    {                                                                                                     \
        .path = in_dir("bad.webp"), .width = W, .height = H, .animated = true, .fps_num = 16, __VA_ARGS__ \
    }

static void bad_parameters(void **state)
{
    (void)state;
    const struct wn_media_text space = {"a b", "c"}, digit = {"1st", "c"};
    assert_refused(WITH(.width = 0), WAN_EINVAL, "0 x 50");
    assert_refused(WITH(.height = 16384), WAN_EINVAL, "16384");
    assert_refused(WITH(.fps_num = 0), WAN_EINVAL, "0/1 frames");
    assert_refused(WITH(.fps_num = 2000), WAN_EINVAL, "2000/1 frames");
    assert_refused(WITH(.quality = 101), WAN_EINVAL, "101");
    assert_refused(WITH(.text = &space, .n_text = 1), WAN_EINVAL, "\"a b\"");
    assert_refused(WITH(.text = &digit, .n_text = 1), WAN_EINVAL, "\"1st\"");
    struct wn_webp_params nowhere = params(in_dir("no/dir.webp"));
    assert_refused(nowhere, WAN_EIO, "No such file");
}

static void old_file_stays_until_commit(void **state)
{
    (void)state;
    static uint8_t rgb[W * H * 3];
    struct wn_webp_params p = params(in_dir("old.webp"));
    put_text(p.path, "old");
    size_t files = n_files();
    struct wn_webp *w;
    assert_int_equal(wn_webp_open(&w, &p, NULL), WAN_OK);
    assert_int_equal(n_files(), files + 1);
    for (int t = 0; t < 9; t++) assert_int_equal(wn_webp_frame(w, rgb, NULL), WAN_OK);
    assert_text(p.path, "old");
    wn_webp_abort(w);
    assert_text(p.path, "old");
    assert_int_equal(n_files(), files);
    struct wn_err err = {0};
    assert_int_equal(write_webp(&p, 0, &err), WAN_EINVAL);
    assert_non_null(strstr(err.text, "at least one frame"));
    p.animated = false;
    err = (struct wn_err){0};
    assert_int_equal(write_webp(&p, 2, &err), WAN_EINVAL);
    assert_non_null(strstr(err.text, "single picture"));
    assert_text(p.path, "old");
    assert_int_equal(n_files(), files);
    wn_webp_abort(NULL);
}

static void folder_in_the_way(void **state)
{
    (void)state;
    struct wn_webp_params p = params(in_dir("folder.webp"));
    assert_int_equal(mkdir(p.path, 0755), 0);
    size_t files = n_files();
    struct wn_err err = {0};
    assert_int_equal(write_webp(&p, 2, &err), WAN_EIO);
    assert_non_null(strstr(err.text, "folder.webp: cannot write"));
    assert_int_equal(n_files(), files);
    rmdir(p.path);
}

static void full_disk(void **state)
{
    (void)state;
    struct wn_webp_params p = params(in_dir("full.webp"));
    put_text(p.path, "old");
    size_t files = n_files();
    struct rlimit was;
    getrlimit(RLIMIT_FSIZE, &was);
    signal(SIGXFSZ, SIG_IGN);
    int failed = 0;
    enum wan_status st = WAN_EIO;
    for (rlim_t at = 0; st; at += at < 100 ? 20 : at / 2) {
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){at, was.rlim_max});
        struct wn_err err = {0};
        st = write_webp(&p, 9, &err);
        setrlimit(RLIMIT_FSIZE, &was);
        if (st) {
            assert_int_equal(st, WAN_EIO);
            assert_non_null(strstr(err.text, "full.webp: cannot write: File too large"));
            assert_text(p.path, "old");
            failed++;
        }
        assert_int_equal(n_files(), files);
    }
    assert_true(failed > 5);
}

static void out_of_memory(void **state)
{
    (void)state;
    const struct wn_media_text text[] = {{"comment", "c & d"}, {"seed", "42"}};
    for (int animated = 0; animated < 2; animated++) {
        struct wn_webp_params p = params(in_dir("mem.webp"));
        p.animated = animated;
        p.text = text;
        p.n_text = 2;
        put_text(p.path, "old");
        size_t files = n_files(), before = wn_mem_used();
        int64_t n = 0;
        for (enum wan_status st = WAN_ENOMEM; st; n++) {
            struct wn_err err = {0};
            wn_mem_fail_after(n);
            st = write_webp(&p, animated ? 3 : 1, &err);
            wn_mem_fail_after(-1);
            if (st) {
                assert_int_equal(st, WAN_ENOMEM);
                assert_non_null(strstr(err.text, "memory"));
                assert_text(p.path, "old");
            }
            assert_int_equal(wn_mem_used(), before);
            assert_int_equal(n_files(), files);
        }
        assert_true(n > 5); /* writer, packet, two names, picture */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stills_are_exact),
        cmocka_unit_test(animations_read_back),
        cmocka_unit_test(frames_alike_stay_frames),
        cmocka_unit_test(quality_counts),
        cmocka_unit_test(same_input_same_bytes),
        cmocka_unit_test(remarks_are_xmp),
        cmocka_unit_test(bad_parameters),
        cmocka_unit_test(old_file_stays_until_commit),
        cmocka_unit_test(folder_in_the_way),
        cmocka_unit_test(full_disk),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
