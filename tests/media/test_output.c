/* Outputs of every kind, by name: what is checked, what appears and when, what a failure leaves. */
#include "util.h"

#include "media/image.h"
#include "media/output.h"

enum { W = 48, H = 32 };

static const struct wn_media_text text[] = {{"comment", "seed 42"}, {"description", "a kite"}};

static struct wn_output_params params(const char *path, int n_frames)
{
    return (struct wn_output_params){
        .path = path, .width = W, .height = H, .n_frames = n_frames, .fps = 16, .text = text, .n_text = 2};
}

static void paint(uint8_t *rgb, int t)
{
    for (int i = 0; i < W * H * 3; i++) rgb[i] = (uint8_t)(i * 7 + t * 31);
}

static enum wan_status write_all(const struct wn_output_params *p, int n_frames, struct wn_err *err)
{
    static uint8_t rgb[W * H * 3];
    struct wn_output *o;
    if (wn_output_open(&o, p, err)) {
        assert_null(o);
        return err->code;
    }
    for (int t = 0; t < n_frames; t++) {
        paint(rgb, t);
        if (!wn_output_frame(o, rgb, err)) continue;
        wn_output_abort(o);
        return err->code;
    }
    return wn_output_commit(o, err);
}

static const struct {
    const char *name, *magic;
    size_t at; /* of the magic bytes */
    int n_frames;
} files[] = {
    {"v.mp4", "ftyp", 4, 5},
    {"v.webm", "\x1a\x45\xdf\xa3", 0, 5},
    {"v.webp", "ANIM", 30, 5},
    {"v.PNG", "\x89PNG", 0, 1},
    {"one.WebP", "VP8L", 30, 1},
    {"one.mp4", "ftyp", 4, 1},
    {"one.webm", "\x1a\x45\xdf\xa3", 0, 1},
};
enum { N_FILES = sizeof files / sizeof *files };

static void name_tells_the_kind(void **state)
{
    (void)state;
    for (int i = 0; i < N_FILES; i++) {
        struct wn_err err = {0};
        struct wn_output_params p = params(in_dir(files[i].name), files[i].n_frames);
        if (wn_output_check(p.path, 0, &err) || wn_output_check(p.path, p.n_frames, &err) ||
            write_all(&p, p.n_frames, &err))
            fail_msg("%s: %s", files[i].name, err.text);
        char *data;
        size_t n;
        assert_int_equal(wn_file_read(p.path, 1 << 26, &data, &n, NULL), 0);
        assert_true(n > 40);
        assert_memory_equal(data + files[i].at, files[i].magic, 4);
        wn_free(data);
    }
    assert_int_equal(n_files(), N_FILES); /* and nothing else */
}

static void sequences_are_exact(void **state)
{
    (void)state;
    static uint8_t rgb[W * H * 3];
    for (int k = 0; k < 2; k++) {
        struct wn_err err = {0};
        size_t before = n_files();
        struct wn_output_params p = params(in_dir(k ? "f%%_%03d.webp" : "f%%_%03d.png"), 3);
        if (write_all(&p, 3, &err)) fail_msg("%s", err.text);
        assert_int_equal(n_files(), before + 3);
        for (int t = 0; t < 3; t++) {
            char name[32];
            struct wn_image img;
            snprintf(name, sizeof name, "f%%_%03d.%s", t, k ? "webp" : "png");
            assert_int_equal(wn_image_read(in_dir(name), &img, NULL), WAN_OK);
            assert_true(img.w == W && img.h == H);
            paint(rgb, t);
            assert_memory_equal(img.rgb, rgb, sizeof rgb);
            wn_image_release(&img);
        }
    }
}

static void assert_refused(const char *path, int n_frames, enum wan_status code, const char *part)
{
    struct wn_err err = {0};
    struct wn_output *o;
    struct wn_output_params p = params(path, n_frames);
    assert_int_equal(wn_output_open(&o, &p, &err), code);
    assert_null(o);
    if (!strstr(err.text, part)) fail_msg("\"%s\" lacks \"%s\"", err.text, part);
    if (n_frames < 1) return;
    err = (struct wn_err){0};
    assert_int_equal(wn_output_check(path, n_frames, &err), code);
    assert_int_equal(wn_output_check(path, n_frames, NULL), code);
}

static void bad_names(void **state)
{
    (void)state;
    size_t before = n_files();
    assert_refused(in_dir("a.avi"), 5, WAN_EINVAL, ".mp4, .webm, .webp and .png");
    assert_refused(in_dir("a"), 5, WAN_EINVAL, "the kind of file");
    assert_refused(in_dir(".png"), 1, WAN_EINVAL, "the kind of file");
    assert_refused(in_dir("a.png"), 5, WAN_EINVAL, "there are 5 frames");
    assert_refused(in_dir("a.png"), 0, WAN_EINVAL, "at least one frame");
    assert_refused(in_dir("a_%s.png"), 5, WAN_EINVAL, "a_%s.png: not a pattern");
    assert_refused(in_dir("a_%d_%d.webp"), 5, WAN_EINVAL, "only once");
    assert_refused(in_dir("no/such.webm"), 5, WAN_EIO, "No such file");
    assert_refused(test_dir, 5, WAN_EINVAL, "is a folder");
    assert_int_equal(wn_output_check(in_dir("a.png"), 0, NULL), WAN_OK);
    assert_int_equal(n_files(), before);
}

static void bad_parameters(void **state)
{
    (void)state;
    static const double rates[] = {0, -1, 1e9, 0.0001};
    for (int k = 0; k < 3; k++)
        for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
            struct wn_err err = {0};
            struct wn_output *o;
            struct wn_output_params p = params(in_dir(files[k].name), 5);
            p.fps = rates[i];
            assert_int_equal(wn_output_open(&o, &p, &err), WAN_EINVAL);
            assert_non_null(strstr(err.text, "frames a second"));
        }
}

static void only_the_commit_replaces(void **state)
{
    (void)state;
    static uint8_t rgb[W * H * 3];
    for (int i = 0; i < N_FILES; i++) {
        struct wn_output_params p = params(in_dir(files[i].name), files[i].n_frames);
        struct wn_output *o;
        struct wn_err err = {0};
        put_text(p.path, "old");
        size_t before = n_files();
        assert_int_equal(wn_output_open(&o, &p, NULL), WAN_OK);
        for (int t = 0; t < p.n_frames; t++) assert_int_equal(wn_output_frame(o, rgb, NULL), WAN_OK);
        assert_text(p.path, "old");
        assert_int_equal(wn_output_frame(o, rgb, &err), WAN_EINVAL); /* one too many */
        assert_non_null(strstr(err.text, "more than"));
        wn_output_abort(o);
        assert_text(p.path, "old");
        err = (struct wn_err){0};
        assert_int_equal(write_all(&p, p.n_frames - 1, &err), WAN_EINVAL);
        assert_non_null(strstr(err.text, "frames came"));
        assert_text(p.path, "old");
        assert_int_equal(n_files(), before);
    }
    wn_output_abort(NULL);
}

static void out_of_memory(void **state)
{
    (void)state;
    for (int i = 0; i < N_FILES + 2; i++) {
        bool sequence = i >= N_FILES;
        const char *name = !sequence ? files[i].name : i == N_FILES ? "m%d.png" : "m%d.webp";
        struct wn_output_params p = params(in_dir(name), sequence ? 2 : files[i].n_frames);
        if (!sequence) put_text(p.path, "old");
        size_t before = n_files(), used = wn_mem_used();
        int64_t n = 0;
        for (enum wan_status st = WAN_ENOMEM; st; n++) {
            struct wn_err err = {0};
            wn_mem_fail_after(n);
            st = write_all(&p, p.n_frames, &err);
            wn_mem_fail_after(-1);
            if (st && st != WAN_ENOMEM) fail_msg("%s, request %d: %s", name, (int)n, err.text);
            if (st && !sequence) assert_text(p.path, "old");
            assert_int_equal(wn_mem_used(), used);
            if (!sequence) assert_int_equal(n_files(), before);
        }
        assert_true(n > 4);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(name_tells_the_kind),
        cmocka_unit_test(sequences_are_exact),
        cmocka_unit_test(bad_names),
        cmocka_unit_test(bad_parameters),
        cmocka_unit_test(only_the_commit_replaces),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
