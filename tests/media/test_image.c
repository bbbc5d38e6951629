/* Pixels and PNG files. */
#include <math.h>
#include <png.h>
#include <signal.h>
#include <sys/resource.h>

#include "util.h"

#include "base/rng.h"
#include "media/frame_name.h"
#include "media/pixels.h"
#include "media/png.h"

/* The official rules, one value at a time. */
static uint8_t plain(float x, int rounded)
{
    if (isnan(x) || x < -1) x = -1;
    if (x > 1) x = 1;
    float y = (x - -1.0f) / 2.0f;
    return (uint8_t)(rounded ? floorf(y * 255.0f + 0.5f) : floorf(y * 255.0f));
}

static void pixels_known_values(void **state)
{
    (void)state;
    const float x[] = {-1, 1, 0, -0.0f, 0.5f, -1.5f, 7, INFINITY, -INFINITY, NAN, 0.9999f, -0.9999f};
    const uint8_t cut[] = {0, 255, 127, 127, 191, 0, 255, 255, 0, 0, 254, 0};
    const uint8_t round[] = {0, 255, 128, 128, 191, 0, 255, 255, 0, 0, 255, 0};
    uint8_t out[12];
    wn_pixels_truncate(wn_frame_packed(x, 2, 2, 0), out);
    assert_memory_equal(out, cut, 12);
    wn_pixels_round(wn_frame_packed(x, 2, 2, 0), out);
    assert_memory_equal(out, round, 12);
}

static void pixels_every_layout(void **state)
{
    (void)state;
    enum { T = 3, H = 5, W = 37 };
    static float planar[3 * T * H * W], packed[T * H * W * 3];
    static uint8_t a[H * W * 3 + 8], b[H * W * 3], c[H * W * 3];
    struct wn_rng r = {1};
    for (int ch = 0; ch < 3; ch++)
        for (int p = 0; p < T * H * W; p++)
            packed[3 * p + ch] = planar[ch * T * H * W + p] = wn_rng_normal(&r);
    for (int t = 0; t < T; t++)
        for (int rounded = 0; rounded < 2; rounded++) {
            void (*convert)(struct wn_frame_f32, uint8_t *) = rounded ? wn_pixels_round : wn_pixels_truncate;
            memset(a, 0xAA, sizeof a);
            convert(wn_frame_planar(planar, T, H, W, t), a);
            for (int i = 0; i < 8; i++) assert_int_equal(a[H * W * 3 + i], 0xAA);
            convert(wn_frame_packed(packed, H, W, t), b);
            assert_memory_equal(a, b, sizeof b);
            for (int i = 0; i < H * W * 3; i++)
                assert_int_equal(b[i], plain(packed[t * H * W * 3 + i], rounded));
            /* Mirrored: a stride of -3. */
            struct wn_frame_f32 f = {packed + (t * H * W + W - 1) * 3, W, H, 1, 3 * W, -3};
            convert(f, c);
            for (int y = 0; y < H; y++)
                for (int x = 0; x < W; x++)
                    assert_memory_equal(c + 3 * (y * W + x), b + 3 * (y * W + W - 1 - x), 3);
        }
}

struct picture {
    int w, h;
    uint8_t *rgb;
    char *text; /* "key=value;" for each remark */
};

static void png_load(const char *path, struct picture *p)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    assert_false(setjmp(png_jmpbuf(png)));
    png_init_io(png, f);
    png_read_png(png, info, PNG_TRANSFORM_IDENTITY, NULL);
    p->w = (int)png_get_image_width(png, info);
    p->h = (int)png_get_image_height(png, info);
    assert_int_equal(png_get_color_type(png, info), PNG_COLOR_TYPE_RGB);
    assert_int_equal(png_get_bit_depth(png, info), 8);
    p->rgb = malloc((size_t)p->w * (size_t)p->h * 3);
    for (int y = 0; y < p->h; y++)
        memcpy(p->rgb + y * p->w * 3, png_get_rows(png, info)[y], (size_t)p->w * 3);
    png_textp text;
    int n = 0;
    png_get_text(png, info, &text, &n);
    p->text = calloc(1, 8192);
    for (int i = 0; i < n; i++) sprintf(p->text + strlen(p->text), "%s=%s;", text[i].key, text[i].text);
    png_destroy_read_struct(&png, &info, NULL);
    fclose(f);
}

static uint8_t *random_rgb(int n)
{
    uint8_t *rgb = wn_alloc((size_t)n);
    assert_non_null(rgb);
    struct wn_rng r = {9};
    for (int i = 0; i < n; i++) rgb[i] = (uint8_t)wn_rng_u64(&r);
    return rgb;
}

static void png_reads_back(void **state)
{
    (void)state;
    const struct wn_media_text text[] = {{"Prompt", "a cat, \"quoted\"\nsecond line"},
                                         {"Seed", "42"},
                                         {"Description", "\xe7\x8c\xab caf\xc3\xa9"}};
    static const int sizes[][2] = {{1, 1}, {3, 7}, {257, 130}};
    for (int s = 0; s < 3; s++) {
        int w = sizes[s][0], h = sizes[s][1];
        uint8_t *rgb = random_rgb(3 * w * h);
        struct wn_err err = {0};
        put_text(in_dir("a.png"), "old");
        assert_int_equal(wn_png_write(in_dir("a.png"), rgb, w, h, text, 3, &err), WAN_OK);
        struct picture p;
        png_load(in_dir("a.png"), &p);
        assert_int_equal(p.w, w);
        assert_int_equal(p.h, h);
        assert_memory_equal(p.rgb, rgb, 3 * w * h);
        assert_string_equal(
            p.text, "Prompt=a cat, \"quoted\"\nsecond line;Seed=42;Description=\xe7\x8c\xab caf\xc3\xa9;");
        free(p.rgb);
        free(p.text);
        wn_free(rgb);
    }
    assert_int_equal(n_files(), 1);
}

static void png_refuses(void **state)
{
    (void)state;
    uint8_t rgb[12] = {0};
    struct wn_err err = {0};
    assert_int_equal(wn_png_write(in_dir("no/such/a.png"), rgb, 2, 2, NULL, 0, &err), WAN_EIO);
    assert_non_null(strstr(err.text, "no/such/a.png"));
    assert_non_null(strstr(err.text, "No such file"));
    assert_int_equal(wn_png_write(in_dir("b.png"), rgb, 0, 2, NULL, 0, NULL), WAN_EINVAL);
    assert_int_equal(wn_png_write(in_dir("b.png"), rgb, 2, 65536, NULL, 0, NULL), WAN_EINVAL);
    const char *keys[] = {"",
                          " a",
                          "a ",
                          "a  b",
                          "caf\xc3\xa9",
                          "a\nb",
                          "0123456789012345678901234567890123456789012345678901234567890123456789012345678x"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        struct wn_media_text t = {keys[i], "v"};
        assert_int_equal(wn_png_write(in_dir("b.png"), rgb, 2, 2, &t, 1, NULL), WAN_EINVAL);
    }
    assert_int_equal(wn_file_kind(in_dir("b.png")), WN_FILE_NONE);
}

/* A disk that fills up: the old file stays and the part written goes. */
static void png_full_disk(void **state)
{
    (void)state;
    uint8_t *rgb = random_rgb(3 * 200 * 200);
    put_text(in_dir("c.png"), "old");
    size_t files = n_files();
    struct rlimit was, small;
    getrlimit(RLIMIT_FSIZE, &was);
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t at = 0; at < 100000; at += 9999) {
        small = (struct rlimit){at, was.rlim_max};
        setrlimit(RLIMIT_FSIZE, &small);
        struct wn_err err = {0};
        enum wan_status st = wn_png_write(in_dir("c.png"), rgb, 200, 200, NULL, 0, &err);
        setrlimit(RLIMIT_FSIZE, &was);
        assert_int_equal(st, WAN_EIO);
        assert_non_null(strstr(err.text, "c.png: cannot write: File too large"));
        assert_text(in_dir("c.png"), "old");
        assert_int_equal(n_files(), files);
    }
    wn_free(rgb);
}

static void png_out_of_memory(void **state)
{
    (void)state;
    uint8_t *rgb = random_rgb(3 * 16 * 16);
    put_text(in_dir("d.png"), "old");
    size_t files = n_files(), before = wn_mem_used();
    const struct wn_media_text text[] = {{"a", "b"}, {"c", "\xc3\xa9"}};
    int64_t n = 0;
    for (enum wan_status st = WAN_ENOMEM; st; n++) {
        struct wn_err err = {0};
        wn_mem_fail_after(n);
        st = wn_png_write(in_dir("d.png"), rgb, 16, 16, text, 2, &err);
        wn_mem_fail_after(-1);
        if (st) {
            assert_int_equal(st, WAN_ENOMEM);
            assert_text(in_dir("d.png"), "old");
        }
        assert_int_equal(wn_mem_used(), before);
        assert_int_equal(n_files(), files);
    }
    assert_true(n > 8);
    wn_free(rgb);
}

static void expand(const char *pattern, int64_t index, const char *want)
{
    char *name = wn_frame_pattern_expand(pattern, index);
    if (!want)
        assert_null(name);
    else {
        assert_non_null(name);
        assert_string_equal(name, want);
    }
    wn_free(name);
}

static void frame_patterns(void **state)
{
    (void)state;
    expand("dir/frame_%04d.png", 7, "dir/frame_0007.png");
    expand("dir/frame_%04d.png", 123456, "dir/frame_123456.png");
    expand("%d.png", 0, "0.png");
    expand("%3d.png", 5, "  5.png");
    expand("%09d", INT64_MAX, "9223372036854775807");
    expand("50%s%n/100%%_%d%%.png", 3, "50%s%n/100%_3%.png"); /* folders are no patterns */
    expand("%%%02d%%", 4, "%04%");
    const char *bad[] = {"a.png",    "%",      "%s.png",  "%n",   "%d%d.png", "%04d_%d",     "%0d", "%00d",
                         "%12d.png", "%-4d",   "%+d",     "%ld",  "%*d",      "%1$d",        "%%d", "%4",
                         "%d%",      "%i.png", "% d.png", "x%04", "%.3d",     "dir%d/a.png", "%%",  "%0"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct wn_err err = {0};
        assert_int_equal(wn_frame_pattern_check(bad[i], &err), WAN_EINVAL);
        assert_non_null(strstr(err.text, bad[i]));
        expand(bad[i], 1, NULL);
    }
    expand("%d.png", -1, NULL);
    assert_true(wn_frame_pattern_has("d/%04d.png"));
    assert_false(wn_frame_pattern_has("50%/a.png"));
    size_t before = wn_mem_used();
    for (int n = 0; n < 2; n++) {
        wn_mem_fail_after(n);
        assert_null(wn_frame_pattern_expand("d/%04d.png", 1));
        wn_mem_fail_after(-1);
        assert_int_equal(wn_mem_used(), before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pixels_known_values), cmocka_unit_test(pixels_every_layout),
        cmocka_unit_test(png_reads_back),      cmocka_unit_test(png_refuses),
        cmocka_unit_test(png_full_disk),       cmocka_unit_test(png_out_of_memory),
        cmocka_unit_test(frame_patterns),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
