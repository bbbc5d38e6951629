/* Still images in: values against Pillow, torch and the official size rules (tools/oracle/images.py), then
 * damaged files and failing allocations. */
#include <math.h>
#include <stdbool.h>

#include "util.h"

#include "media/image.h"
#include "media/png.h"
#include "media/resample.h"

#define MEDIA GOLDEN_DIR "/media/"

struct blob {
    char *data;
    size_t n;
};

static struct blob load(const char *path)
{
    struct blob b;
    struct wn_err err = {0};
    if (wn_file_read(path, 1 << 26, &b.data, &b.n, &err)) fail_msg("%s", err.text);
    return b;
}

static const char *image_path(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, MEDIA "images/%s", name);
    return path;
}

/* Fails with the first pixel that differs. */
static void assert_pixels(const char *what, const struct wn_image *img, const uint8_t *want)
{
    size_t n = 3 * (size_t)img->w * (size_t)img->h;
    for (size_t i = 0; i < n; i++)
        if (img->rgb[i] != want[i])
            fail_msg("%s: channel %zu of pixel (%zu, %zu) is %d, not %d", what, i % 3, i / 3 % (size_t)img->w,
                     i / 3 / (size_t)img->w, img->rgb[i], want[i]);
}

static struct wn_image read_image(const char *name)
{
    struct wn_image img;
    struct wn_err err = {0};
    if (wn_image_read(image_path(name), &img, &err)) fail_msg("%s", err.text);
    return img;
}

/* Calls `each` with every line of a golden text file and what is beside it; returns the number of lines. */
static int for_each(const char *list, void (*each)(const char *line, struct blob beside), struct blob beside)
{
    struct blob text = load(list);
    int n = 0;
    for (char *line = strtok(text.data, "\n"); line; line = strtok(NULL, "\n"), n++) {
        char copy[256];
        snprintf(copy, sizeof copy, "%s", line);
        each(copy, beside);
    }
    wn_free(text.data);
    return n;
}

/* ---- values ---- */

static void check_image(const char *line, struct blob rgb)
{
    char name[64];
    int w, h;
    size_t at;
    assert_int_equal(sscanf(line, "%63s %d %d %zu", name, &w, &h, &at), 4);
    struct wn_image img = read_image(name);
    if (img.w != w || img.h != h) fail_msg("%s: %d x %d, not %d x %d", name, img.w, img.h, w, h);
    assert_true(at + 3 * (size_t)w * (size_t)h <= rgb.n);
    assert_pixels(name, &img, (const uint8_t *)rgb.data + at);
    wn_image_release(&img);
}

static void images_equal_pillow(void **state)
{
    (void)state;
    struct blob rgb = load(MEDIA "images.rgb");
    assert_true(for_each(MEDIA "images.txt", check_image, rgb) >= 90);
    wn_free(rgb.data);
}

static void own_png_reads_back(void **state)
{
    (void)state;
    struct wn_image img = read_image("pillow.png"), back;
    assert_int_equal(wn_png_write(in_dir("a.jpg"), img.rgb, img.w, img.h, NULL, 0, NULL), WAN_OK);
    assert_int_equal(wn_image_read(in_dir("a.jpg"), &back, NULL), WAN_OK); /* kind by content */
    assert_int_equal(back.w, img.w);
    assert_int_equal(back.h, img.h);
    assert_pixels("a.jpg", &back, img.rgb);
    wn_image_release(&img);
    wn_image_release(&back);
    unlink(in_dir("a.jpg"));
}

static void check_resize(const char *line, struct blob rgb)
{
    char name[64];
    struct wn_size size;
    int filter;
    size_t at;
    assert_int_equal(sscanf(line, "%63s %d %d %d %zu", name, &size.w, &size.h, &filter, &at), 5);
    struct wn_image img = read_image(name), out;
    assert_int_equal(wn_image_resize(name, &img, size, (enum wn_filter)filter, &out, NULL), WAN_OK);
    assert_int_equal(out.w, size.w);
    assert_int_equal(out.h, size.h);
    assert_true(at + 3 * (size_t)out.w * (size_t)out.h <= rgb.n);
    assert_pixels(line, &out, (const uint8_t *)rgb.data + at);
    wn_image_release(&img);
    wn_image_release(&out);
}

static void resize_equals_pillow(void **state)
{
    (void)state;
    struct blob rgb = load(MEDIA "resize.rgb");
    assert_int_equal(for_each(MEDIA "resize.txt", check_resize, rgb), 42);
    wn_free(rgb.data);
}

static void resize_refuses(void **state)
{
    (void)state;
    struct wn_image img = read_image("pillow.png"), out;
    const struct wn_size bad[] = {{0, 5}, {5, 0}, {-3, 5}, {5, WN_IMAGE_MAX_SIDE + 1}};
    for (int i = 0; i < 4; i++) {
        struct wn_err err = {0};
        assert_int_equal(wn_image_resize("x.png", &img, bad[i], WN_FILTER_LANCZOS, &out, &err), WAN_EINVAL);
        assert_non_null(strstr(err.text, "x.png"));
        assert_null(out.rgb);
    }
    const struct wn_size huge = {WN_IMAGE_MAX_SIDE, WN_IMAGE_MAX_SIDE};
    assert_int_equal(wn_image_resize("x.png", &img, huge, WN_FILTER_LANCZOS, &out, NULL), WAN_EFORMAT);
    wn_image_release(&img);
}

static float worst(const float *a, const float *b, size_t n)
{
    float most = 0;
    for (size_t i = 0; i < n; i++) most = fmaxf(most, fabsf(a[i] - b[i]));
    return most;
}

/* A sine of period 7 along a long row; the golden holds the 256 outputs around position 1024. */
static void check_wave(int iw, struct wn_size to, const float *want)
{
    float *in = malloc(4 * (size_t)iw * sizeof *in), *out = malloc(4 * (size_t)to.w * sizeof *out);
    for (int i = 0; i < 4 * iw; i++) in[i] = (float)sin((i % iw) * (2 * 3.14159265358979323846 / 7));
    assert_int_equal(wn_bicubic_f32(in, 1, (struct wn_size){iw, 4}, out, to, NULL), WAN_OK);
    float d = worst(out + 1024 * to.w / iw - 128, want, 256);
    if (!(d <= 4e-6f)) fail_msg("a wave of %d to %d: off by %g", iw, to.w, (double)d);
    free(in);
    free(out);
}

static void check_bicubic(const char *line, struct blob f32)
{
    char name[64];
    struct wn_size to;
    size_t at;
    int iw;
    assert_int_equal(sscanf(line, "%63s %d %d %zu", name, &to.w, &to.h, &at), 4);
    if (sscanf(name, "wave%d", &iw) == 1) {
        assert_true(at + 256 * sizeof(float) <= f32.n);
        check_wave(iw, to, (const float *)(f32.data + at));
        return;
    }
    struct wn_image img = read_image(name);
    size_t n = 3 * (size_t)to.w * (size_t)to.h;
    assert_true(at + n * sizeof(float) <= f32.n);
    float *in = malloc(3 * (size_t)img.w * (size_t)img.h * sizeof *in), *out = malloc(n * sizeof *out);
    wn_image_to_f32(&img, in);
    assert_int_equal(wn_bicubic_f32(in, 3, (struct wn_size){img.w, img.h}, out, to, NULL), WAN_OK);
    float d = worst(out, (const float *)(f32.data + at), n);
    if (!(d <= 4e-6f)) fail_msg("%s: off by %g", line, (double)d);
    free(in);
    free(out);
    wn_image_release(&img);
}

static void bicubic_equals_torch(void **state)
{
    (void)state;
    struct blob f32 = load(MEDIA "bicubic.f32");
    assert_int_equal(for_each(MEDIA "bicubic.txt", check_bicubic, f32), 9);
    wn_free(f32.data);
}

static void floats_known_values(void **state)
{
    (void)state;
    uint8_t rgb[] = {0, 255, 128, 127, 1, 254};
    struct wn_image img = {rgb, 2, 1};
    float out[6];
    wn_image_to_f32(&img, out);
    const float want[] = {-1,
                          (127 / 255.0f - 0.5f) * 2,
                          1,
                          (1 / 255.0f - 0.5f) * 2,
                          (128 / 255.0f - 0.5f) * 2,
                          (254 / 255.0f - 0.5f) * 2};
    assert_memory_equal(out, want, sizeof want);
}

static void crop_takes_the_middle(void **state)
{
    (void)state;
    uint8_t rgb[5 * 4 * 3];
    for (int i = 0; i < 5 * 4 * 3; i++) rgb[i] = (uint8_t)i;
    struct wn_image img = {rgb, 5, 4}, out;
    assert_int_equal(wn_image_crop("a", &img, (struct wn_size){2, 1}, &out, NULL), WAN_OK);
    assert_memory_equal(out.rgb, rgb + (1 * 5 + 1) * 3, 6); /* (5 - 2) / 2 = 1, (4 - 1) / 2 = 1 */
    wn_image_release(&out);
    assert_int_equal(wn_image_crop("a", &img, (struct wn_size){5, 4}, &out, NULL), WAN_OK);
    assert_memory_equal(out.rgb, rgb, sizeof rgb);
    wn_image_release(&out);
    assert_int_equal(wn_image_crop("a", &img, (struct wn_size){6, 4}, &out, NULL), WAN_EINVAL);
    assert_int_equal(wn_image_crop("a", &img, (struct wn_size){5, 5}, &out, NULL), WAN_EINVAL);
    assert_int_equal(wn_image_crop("a", &img, (struct wn_size){0, 1}, &out, NULL), WAN_EINVAL);
}

/* ---- size rules ---- */

/* What the specification quotes. */
static void sizes_known(void **state)
{
    (void)state;
    static const struct {
        struct wn_size in, i2v_480, i2v_720, ti2v;
    } known[] = {
        {{1920, 1080}, {832, 464}, {1280, 720}, {1248, 704}},
        {{832, 480}, {832, 464}, {0, 0}, {1248, 704}},
        {{480, 832}, {480, 832}, {0, 0}, {0, 0}},
        {{1024, 1024}, {624, 624}, {960, 960}, {960, 928}},
        {{4000, 3000}, {720, 544}, {1104, 816}, {1088, 800}},
        {{640, 480}, {0, 0}, {0, 0}, {1088, 800}},
        {{1080, 1920}, {0, 0}, {0, 0}, {704, 1248}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const struct wn_size *want = &known[i].i2v_480;
        for (int k = 0; k < 3; k++) {
            struct wn_size got;
            enum wan_status st = k == 2 ? wn_size_ti2v(known[i].in, 32, 704 * 1280, &got, NULL)
                                        : wn_size_i2v(known[i].in, k ? 720 * 1280 : 480 * 832, &got, NULL);
            assert_int_equal(st, WAN_OK);
            if (!want[k].w) continue;
            assert_int_equal(got.w, want[k].w);
            assert_int_equal(got.h, want[k].h);
        }
    }
}

static uint32_t crc32_of(const void *data, size_t n)
{
    uint32_t crc = 0xffffffff;
    for (const uint8_t *p = data; n--; p++) {
        crc ^= *p;
        for (int k = 0; k < 8; k++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}

static void check_count(const char *line)
{
    struct wn_frame_wish wish;
    long long total, n;
    double fps;
    char want[32], got[32] = "error";
    assert_int_equal(sscanf(line, "count %lf %lf %lf %lf %lld %lf %31s", &wish.n_frames, &wish.fps,
                            &wish.min_frames, &wish.max_frames, &total, &fps, want),
                     7);
    int64_t count;
    struct wn_err err = {0};
    enum wan_status st = wn_frames_count(wish, total, fps, &count, &err);
    n = count;
    if (!st) snprintf(got, sizeof got, "%lld", n);
    if (strcmp(got, want)) fail_msg("%s: got %s (%s)", line, got, err.text);
}

static void check_spread(const char *line)
{
    long long total, n;
    unsigned want;
    assert_int_equal(sscanf(line, "spread %lld %lld %u", &total, &n, &want), 3);
    int64_t *index = malloc((size_t)n * sizeof *index);
    wn_frames_spread(total, n, index);
    assert_int_equal(index[0], 0);
    if (crc32_of(index, (size_t)n * sizeof *index) != want) fail_msg("%s: other frames", line);
    free(index);
}

static void check_rate(const char *line)
{
    long long total, n, n_want;
    double fps, rate;
    int first;
    unsigned want;
    int64_t index[4096], got;
    if (sscanf(line, "rate %lld %lf %lld %lf %u", &total, &fps, &n, &rate, &want) == 5) {
        n_want = got = n;
        assert_in_range(n, 0, 4096);
        wn_frames_at_rate(total, fps, rate, n, index);
    } else {
        assert_int_equal(sscanf(line, "tail %lld %lf %lld %lf %d %lld %u", &total, &fps, &n, &rate, &first,
                                &n_want, &want),
                         7);
        assert_in_range(n, 0, 4096);
        got = wn_frames_at_end(total, fps, rate, n, first, index);
    }
    if (got != n_want || crc32_of(index, (size_t)got * sizeof *index) != want)
        fail_msg("%s: other frames (%lld)", line, (long long)got);
}

static void check_size(const char *line)
{
    struct wn_size in = {0}, got = {0};
    struct wn_err err = {0};
    enum wan_status st = WAN_EINTERNAL;
    char want[64] = "", text[64] = "error";
    long long area;
    double low, high;
    int a, b;
    if (sscanf(line, "i2v %d %d %lld %63[^\n]", &in.w, &in.h, &area, want) == 4)
        st = wn_size_i2v(in, area, &got, &err);
    else if (sscanf(line, "ti2v %d %d %d %lld %63[^\n]", &in.w, &in.h, &a, &area, want) == 5)
        st = wn_size_ti2v(in, a, area, &got, &err);
    else if (sscanf(line, "cover %d %d %d %d %63[^\n]", &in.w, &in.h, &a, &b, want) == 5)
        st = wn_size_cover(in, (struct wn_size){a, b}, &got, &err);
    else if (sscanf(line, "smart %d %d %d %lf %lf %63[^\n]", &in.w, &in.h, &a, &low, &high, want) == 6)
        st = wn_size_smart(in, a, low, high, &got, &err);
    else if (sscanf(line, "video %d %d %d %63[^\n]", &in.w, &in.h, &a, want) == 4)
        st = wn_size_smart_video(in, a, &got, &err);
    else
        fail_msg("%s: not a rule", line);
    if (!st) snprintf(text, sizeof text, "%d %d", got.w, got.h);
    if (st && st != WAN_EINVAL) fail_msg("%s: status %d", line, st);
    if (strcmp(text, want)) fail_msg("%s: got %s (%s)", line, text, err.text);
}

static void check_rule(const char *line, struct blob unused)
{
    (void)unused;
    if (!strncmp(line, "count", 5))
        check_count(line);
    else if (!strncmp(line, "spread", 6))
        check_spread(line);
    else if (!strncmp(line, "rate", 4) || !strncmp(line, "tail", 4))
        check_rate(line);
    else
        check_size(line);
}

static void rules_equal_official(void **state)
{
    (void)state;
    assert_true(for_each(MEDIA "sizes.txt", check_rule, (struct blob){0}) > 1000);
}

static void rules_refuse(void **state)
{
    (void)state;
    struct wn_size out;
    int64_t n;
    assert_int_equal(wn_size_i2v((struct wn_size){0, 5}, 99999, &out, NULL), WAN_EINVAL);
    assert_int_equal(wn_size_i2v((struct wn_size){5, 5}, 0, &out, NULL), WAN_EINVAL);
    assert_int_equal(wn_size_ti2v((struct wn_size){5, 5}, 0, 99999, &out, NULL), WAN_EINVAL);
    assert_int_equal(wn_size_ti2v((struct wn_size){5, 5}, 32, 1000, &out, NULL), WAN_EINVAL);
    assert_int_equal(wn_size_cover((struct wn_size){5, 0}, (struct wn_size){5, 5}, &out, NULL), WAN_EINVAL);
    assert_int_equal(wn_size_smart((struct wn_size){5, 5}, 28, NAN, 1e6, &out, NULL), WAN_EINVAL);
    assert_int_equal(wn_size_smart_video((struct wn_size){5, 5}, 0, &out, NULL), WAN_EINVAL);
    assert_int_equal(wn_frames_count((struct wn_frame_wish){0}, 100, 0, &n, NULL), WAN_EINVAL);
    assert_int_equal(wn_frames_count((struct wn_frame_wish){.n_frames = NAN}, 100, 24, &n, NULL), WAN_EINVAL);
    int64_t one = -1;
    wn_frames_spread(50, 1, &one);
    assert_int_equal(one, 0);
}

/* ---- damage ---- */

/* Decodes a copy that ends where the block ends, so that a sanitizer sees a read past it. The message names
 * the file and is one line. */
static enum wan_status try_decode(const char *name, const void *data, size_t n, struct wn_image *img)
{
    struct wn_err err = {0};
    uint8_t *copy = malloc(n ? n : 1);
    if (n) memcpy(copy, data, n);
    enum wan_status st = wn_image_decode(name, copy, n, img, &err);
    free(copy);
    if (st) {
        assert_null(img->rgb);
        assert_non_null(strstr(err.text, name));
        assert_null(strchr(err.text, '\n'));
        if (st != WAN_EFORMAT && st != WAN_EUNSUPPORTED) fail_msg("%s: status %d: %s", name, st, err.text);
    } else {
        assert_true(img->w >= 1 && img->h >= 1);
    }
    return st;
}

/* Up to where a file may be cut without harm: what stands after the end of its image. */
static size_t needed_bytes(const char *name, size_t n)
{
    return strcmp(name, "trailing.jpg") ? n : n - strlen("and more");
}

static void check_cut(const char *line, struct blob unused)
{
    (void)unused;
    char name[64];
    assert_int_equal(sscanf(line, "%63s", name), 1);
    struct blob b = load(image_path(name));
    size_t needed = needed_bytes(name, b.n);
    for (size_t n = 0; n < b.n; n++) {
        struct wn_image img;
        enum wan_status st = try_decode(name, b.data, n, &img);
        bool whole = n >= needed;
        if (whole != (st == WAN_OK)) fail_msg("%s: %zu of %zu bytes: status %d", name, n, b.n, st);
        wn_image_release(&img);
    }
    wn_free(b.data);
}

static void every_cut_is_told(void **state)
{
    (void)state;
    for_each(MEDIA "images.txt", check_cut, (struct blob){0});
}

static void check_flips(const char *line, struct blob unused)
{
    (void)unused;
    static const uint8_t flips[] = {0x01, 0x80, 0xff};
    char name[64];
    assert_int_equal(sscanf(line, "%63s", name), 1);
    struct blob b = load(image_path(name));
    for (size_t i = 0; i < b.n; i++) {
        struct wn_image img;
        char old = b.data[i];
        b.data[i] = (char)(old ^ flips[i % 3]);
        try_decode(name, b.data, b.n, &img);
        wn_image_release(&img);
        b.data[i] = old;
    }
    wn_free(b.data);
}

static void every_flip_is_survived(void **state)
{
    (void)state;
    for_each(MEDIA "images.txt", check_flips, (struct blob){0});
}

/* A PNG says 60000 x 60000 in its first bytes, a JPEG 65500 x 65500, a WebP canvas 2^24 wide. */
static void large_claims_are_refused(void **state)
{
    (void)state;
    struct wn_image img;
    struct wn_err err = {0};
    struct blob b = load(image_path("rgb8.png"));
    const uint8_t side[8] = {0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60};
    memcpy(b.data + 16, side, 8);
    uint32_t crc = crc32_of(b.data + 12, 17);
    for (int i = 0; i < 4; i++) b.data[29 + i] = (char)(crc >> (24 - 8 * i));
    assert_int_equal(wn_image_decode("big.png", b.data, b.n, &img, &err), WAN_EFORMAT);
    assert_non_null(strstr(err.text, "60000 x 60000"));
    wn_free(b.data);

    b = load(image_path("s2x2.jpg"));
    for (size_t i = 2; i + 9 < b.n; i++)
        if (b.data[i] == '\xff' && b.data[i + 1] == '\xc0') {
            memcpy(b.data + i + 5, "\xff\xdc\xff\xdc", 4);
            break;
        }
    err = (struct wn_err){0};
    assert_int_equal(wn_image_decode("big.jpg", b.data, b.n, &img, &err), WAN_EFORMAT);
    assert_non_null(strstr(err.text, "65500 x 65500"));
    wn_free(b.data);

    b = load(image_path("offset-blend.webp"));
    memset(b.data + 24, 0xff, 3);
    err = (struct wn_err){0};
    assert_int_equal(wn_image_decode("big.webp", b.data, b.n, &img, &err), WAN_EFORMAT);
    assert_non_null(strstr(err.text, "big.webp"));
    wn_free(b.data);
}

/* 12 bits a sample; two colour components, of which the scan has one. */
static void odd_jpegs_are_refused(void **state)
{
    (void)state;
    struct blob b = load(image_path("grey.jpg"));
    size_t at = 2;
    while (memcmp(b.data + at, "\xff\xc0\0\x0b\x08", 5)) at++;
    struct wn_image img;
    struct wn_err err = {0};
    b.data[at + 4] = 12;
    assert_int_equal(wn_image_decode("deep.jpg", b.data, b.n, &img, &err), WAN_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "deep.jpg"));
    assert_int_equal(wn_image_decode("deep.jpg", b.data, b.n, &img, NULL), WAN_EUNSUPPORTED);

    char *two = malloc(b.n + 3);
    memcpy(two, b.data, at + 13);
    memcpy(two + at + 13, "\2\x11\0", 3);
    memcpy(two + at + 16, b.data + at + 13, b.n - at - 13);
    two[at + 3] = 14;
    two[at + 4] = 8;
    two[at + 9] = 2;
    err = (struct wn_err){0};
    assert_int_equal(wn_image_decode("two.jpg", two, b.n + 3, &img, &err), WAN_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "2 colour components"));
    free(two);
    wn_free(b.data);
}

/* A progressive JPEG that repeats one scan. */
static void many_scans_are_refused(void **state)
{
    (void)state;
    struct blob b = load(image_path("dc-only.jpg"));
    size_t start = 2;
    while (memcmp(b.data + start, "\xff\xda", 2)) start++;
    size_t scan = b.n - 2 - start, n = start + 300 * scan + 2;
    char *many = malloc(n);
    memcpy(many, b.data, start);
    for (size_t i = 0; i < 300; i++) memcpy(many + start + i * scan, b.data + start, scan);
    memcpy(many + n - 2, "\xff\xd9", 2);
    struct wn_image img;
    struct wn_err err = {0};
    assert_int_equal(wn_image_decode("many.jpg", many, n, &img, &err), WAN_EFORMAT);
    assert_non_null(strstr(err.text, "scans"));
    free(many);
    wn_free(b.data);
}

static void other_files_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *data, *says;
        size_t n;
        enum wan_status st;
    } files[] = {{"", "empty", 0, WAN_EFORMAT},
                 {"GIF89a....", "GIF", 10, WAN_EUNSUPPORTED},
                 {"BM......", "BMP", 8, WAN_EUNSUPPORTED},
                 {"\0\0\0\x20"
                  "ftypavif",
                  "AVIF", 12, WAN_EUNSUPPORTED},
                 {"RIFF....WAVE", "known", 12, WAN_EUNSUPPORTED},
                 {"hello", "PNG, JPEG and WebP", 5, WAN_EUNSUPPORTED},
                 {"\x89PNG\r\n\x1a\n", "cut off", 8, WAN_EFORMAT},
                 {"\xff\xd8\xff\xd9", "b.bin", 4, WAN_EFORMAT},
                 {"RIFF\4\0\0\0WEBP", "b.bin", 12, WAN_EFORMAT}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct wn_image img;
        struct wn_err err = {0};
        assert_int_equal(wn_image_decode("b.bin", files[i].data, files[i].n, &img, &err), files[i].st);
        if (!strstr(err.text, files[i].says)) fail_msg("%zu: %s", i, err.text);
    }
    struct wn_image img;
    struct wn_err err = {0};
    assert_int_equal(wn_image_read(in_dir("none.png"), &img, &err), WAN_EIO);
    assert_non_null(strstr(err.text, "none.png"));
    assert_int_equal(wn_image_read(in_dir(""), &img, NULL), WAN_EIO); /* a folder */
}

/* ---- memory ---- */

static enum wan_status whole_job(const char *path, struct wn_err *err)
{
    struct wn_image img, resized = {0}, cut = {0};
    float f[3 * 8 * 8], g[3 * 4 * 4];
    enum wan_status st = wn_image_read(path, &img, err);
    if (!st) st = wn_image_resize(path, &img, (struct wn_size){9, 11}, WN_FILTER_LANCZOS, &resized, err);
    if (!st) st = wn_image_crop(path, &resized, (struct wn_size){8, 8}, &cut, err);
    if (!st) wn_image_to_f32(&cut, f);
    if (!st) st = wn_bicubic_f32(f, 3, (struct wn_size){8, 8}, g, (struct wn_size){4, 4}, err);
    wn_image_release(&img);
    wn_image_release(&resized);
    wn_image_release(&cut);
    return st;
}

static void no_memory_at_any_point(void **state)
{
    (void)state;
    const char *names[] = {"pal4i.png", "grey16.png",       "s2x2.jpg",
                           "ycck.jpg",  "lossy-alpha.webp", "offset-blend.webp"};
    for (int i = 0; i < 6; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s", image_path(names[i]));
        size_t before = wn_mem_used();
        int64_t requests = wn_mem_n_requests();
        assert_int_equal(whole_job(path, NULL), WAN_OK);
        requests = wn_mem_n_requests() - requests;
        assert_true(requests > 10);
        for (int64_t n = 0; n < requests; n++) {
            struct wn_err err = {0};
            wn_mem_fail_after(n);
            enum wan_status st = whole_job(path, &err);
            wn_mem_fail_after(-1);
            if (st != WAN_ENOMEM) fail_msg("%s: request %d: status %d: %s", names[i], (int)n, st, err.text);
            assert_true(err.text[0]);
            assert_int_equal(wn_mem_used(), before);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_equal_pillow),      cmocka_unit_test(own_png_reads_back),
        cmocka_unit_test(resize_equals_pillow),     cmocka_unit_test(resize_refuses),
        cmocka_unit_test(bicubic_equals_torch),     cmocka_unit_test(floats_known_values),
        cmocka_unit_test(crop_takes_the_middle),    cmocka_unit_test(sizes_known),
        cmocka_unit_test(rules_equal_official),     cmocka_unit_test(rules_refuse),
        cmocka_unit_test(every_cut_is_told),        cmocka_unit_test(every_flip_is_survived),
        cmocka_unit_test(large_claims_are_refused), cmocka_unit_test(odd_jpegs_are_refused),
        cmocka_unit_test(many_scans_are_refused),   cmocka_unit_test(other_files_are_named),
        cmocka_unit_test(no_memory_at_any_point),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
