/* Previews: the published maps, what is drawn after a step, and files that cannot be written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "media/image.h"
#include "media/pixels.h"
#include "pipe/preview.h"
#include "sample/solver.h"
#include "wan/wan.h"

#define SHAPES SOURCE_DIR "/models/shapes-t2v"

/* Two positions: zeros, and one channel that is not. */
static void known_pixels(void **state)
{
    (void)state;
    static const struct {
        int64_t z, channel;
        float value;
        uint8_t zero[3], other[3];
    } cases[] = {{16, 6, 2, {104, 116, 84}, {15, 12, 10}}, {48, 39, -1, {131, 116, 109}, {175, 161, 135}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float x[48][2] = {{0}}, rgb[6];
        uint8_t pixel[6];
        x[cases[i].channel][1] = cases[i].value;
        assert_true(wn_preview_knows(cases[i].z));
        wn_preview_rgb(x[0], 2, cases[i].z, 2, rgb);
        wn_pixels_truncate(wn_frame_packed(rgb, 1, 2, 0), pixel);
        assert_memory_equal(pixel, cases[i].zero, 3);
        assert_memory_equal(pixel + 3, cases[i].other, 3);
    }
    assert_false(wn_preview_knows(12));
}

static char dir[] = "/tmp/wan-preview-XXXXXX";

static const char *in_dir(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

struct setup {
    struct wan_context *ctx;
    struct wan_model *m;
    struct wan_session *s;
    int64_t dim[4], n;
};

static int warnings;

static void log_line(void *user, enum wan_log_level level, const char *line)
{
    (void)user;
    warnings += level <= WAN_LOG_WARN && strstr(line, "preview") != NULL;
}

static void set_up(struct setup *t)
{
    struct wan_context_params p = *wan_context_params(.device = "cpu", .threads = 2);
    p.log = log_line;
    assert_int_equal(wan_context_new(&t->ctx, &p), WAN_OK);
    assert_int_equal(wan_model_open(&t->m, t->ctx, SHAPES), WAN_OK);
    assert_int_equal(wan_session_new(&t->s, t->m,
                                     wan_gen_params(.prompt = "a kite", .width = 48, .height = 32,
                                                    .frames = 9, .steps = 2, .seed = 5, .solver = "euler")),
                     WAN_OK);
    wan_session_latents(t->s, t->dim);
    t->n = t->dim[0] * t->dim[1] * t->dim[2] * t->dim[3];
}

static void tear_down(struct setup *t)
{
    wan_session_free(t->s);
    wan_model_free(t->m);
    wan_context_free(t->ctx);
}

/* The middle frame of these latents, and each pixel of the file in its block of 42 x 42. */
static void is_drawn(const struct setup *t, const float *latent, const char *path)
{
    enum { SCALE = 256 / 6 };
    struct wn_image img = {0};
    struct wn_err err = {0};
    int64_t h = t->dim[2], w = t->dim[3], F = t->dim[1];
    float rgb[4 * 6 * 3];
    uint8_t pixels[4 * 6 * 3];
    if (wn_image_read(path, &img, &err)) fail_msg("%s", err.text);
    assert_true(h == 4 && w == 6 && img.w == w * SCALE && img.h == h * SCALE);
    wn_preview_rgb(latent + F / 2 * h * w, F * h * w, t->dim[0], h * w, rgb);
    wn_pixels_truncate(wn_frame_packed(rgb, (int)h, (int)w, 0), pixels);
    for (int64_t y = 0; y < img.h; y++)
        for (int64_t x = 0; x < img.w; x++)
            for (int k = 0; k < 3; k++) { /* sums may be rounded in another order */
                int got = img.rgb[(y * img.w + x) * 3 + k],
                    want = pixels[(y / SCALE * w + x / SCALE) * 3 + k];
                assert_in_range(got - want + 1, 0, 2);
            }
    wn_image_release(&img);
}

/* After step 1 of Euler's two what x0 then is: x + sigma (noise - x) / (sigma - 1), as v is (x - noise) /
 * (sigma - 1); after the last the latents. The second picture is whole when the session is gone. */
static void estimate(void **state)
{
    (void)state;
    struct setup t;
    struct wn_solver *solver;
    set_up(&t);
    float *noise = wn_alloc_n((size_t)t.n, sizeof *noise), *x0 = wn_alloc_n((size_t)t.n, sizeof *x0);
    assert_true(noise && x0);
    wn_torch_randn(5, noise, t.n);
    assert_int_equal(wn_solver_new(&solver, WN_SOLVER_EULER, 2, wan_session_params(t.s)->shift, 0, NULL),
                     WAN_OK);
    float s0 = wn_solver_sigmas(solver)[0], s1 = wn_solver_sigmas(solver)[1];
    wn_solver_free(solver);
    assert_int_equal(wan_session_preview(t.s, in_dir("a.png")), WAN_OK);
    assert_int_equal(wan_session_preview(t.s, in_dir("a.png")), WAN_EINVAL); /* one is enough */
    assert_int_equal(wan_session_step(t.s), WAN_OK);
    const float *x = wan_session_latents(t.s, t.dim);
    for (int64_t i = 0; i < t.n; i++) x0[i] = x[i] - s1 * (x[i] - noise[i]) / (s1 - s0);
    for (int i = 0; i < 500 && access(in_dir("a.png"), F_OK); i++)
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    is_drawn(&t, x0, in_dir("a.png"));
    assert_int_equal(wan_session_step(t.s), WAN_OK);
    memcpy(x0, wan_session_latents(t.s, t.dim), (size_t)t.n * sizeof *x0);
    wan_session_free(t.s);
    t.s = NULL;
    is_drawn(&t, x0, in_dir("a.png"));
    wn_free(noise);
    wn_free(x0);
    tear_down(&t);
    unlink(in_dir("a.png"));
}

static void files(void **state)
{
    (void)state;
    static const char *const bad[] = {"a.mp4", "a", "%04d.png", "missing/a.png"};
    struct setup t;
    set_up(&t);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        enum wan_status st = wan_session_preview(t.s, in_dir(bad[i]));
        assert_int_equal(st, i < 3 ? WAN_EINVAL : WAN_EIO);
        assert_non_null(strstr(wan_error(t.ctx), i < 3 ? bad[i] : "missing"));
    }
    assert_int_equal(wan_session_preview(t.s, in_dir("a.webp")), WAN_OK);
    assert_int_equal(wan_session_step(t.s), WAN_OK);
    wan_session_free(t.s);
    t.s = NULL;
    FILE *f = fopen(in_dir("a.webp"), "rb");
    char data[40] = {0};
    assert_non_null(f);
    assert_int_equal(fread(data, 1, sizeof data, f), sizeof data);
    fclose(f);
    assert_memory_equal(data + 8, "WEBPVP8X", 8);
    assert_true(data[20] & 2); /* an animation */
    tear_down(&t);
    unlink(in_dir("a.webp"));
}

/* The folder goes away: a warning, and the run goes on. */
static void lost(void **state)
{
    (void)state;
    struct setup t;
    char sub[128], file[140];
    set_up(&t);
    snprintf(sub, sizeof sub, "%s", in_dir("XXXXXX"));
    assert_non_null(mkdtemp(sub));
    snprintf(file, sizeof file, "%s/a.png", sub);
    assert_int_equal(wan_session_preview(t.s, file), WAN_OK);
    rmdir(sub);
    warnings = 0;
    assert_int_equal(wan_session_step(t.s), WAN_OK);
    assert_int_equal(wan_session_step(t.s), WAN_OK);
    tear_down(&t);
    assert_int_equal(warnings, 1);
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    return rmdir(dir); /* everything was cleaned away */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(known_pixels), cmocka_unit_test(estimate),
                                       cmocka_unit_test(files), cmocka_unit_test(lost)};
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
