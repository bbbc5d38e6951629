/* The repository's small model, from prompt to 8-bit frames, gives the video that the official code gives for
 * the same prompt, seed and weights: PSNR of 45 dB at least. Golden: tools/small_model/same_video.py. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io/weights.h"
#include "wan/wan.h"

struct frames {
    const struct wn_weight *want; /* uint8 [T, H, W, 3] */
    double square_error;
    int n;
};

static int compare(void *user, int index, const uint8_t *rgb)
{
    struct frames *f = user;
    size_t n = f->want->bytes / (size_t)f->want->dim[0];
    const uint8_t *want = (const uint8_t *)f->want->data + (size_t)index * n;
    for (size_t i = 0; i < n; i++) {
        double d = (double)rgb[i] - want[i];
        f->square_error += d * d;
    }
    f->n++;
    return 0;
}

static void check(struct wan_context *ctx, enum wan_status st)
{
    if (st) fail_msg("%s", wan_error(ctx));
}

/* Peak signal to noise ratio in dB of the whole video. */
static double psnr_of(const struct wn_weights *golden, const char *precision)
{
    struct wan_context *ctx;
    struct wan_model *model;
    struct wan_session *s;
    struct frames f = {.want = wn_weights_find(golden, "frames")};
    assert_non_null(f.want);
    assert_int_equal(wan_context_new(&ctx, wan_context_params(.threads = 2)), WAN_OK);
    check(ctx, wan_model_open(&model, ctx, SOURCE_DIR "/models/shapes-t2v"));
    check(ctx, wan_session_new(&s, model,
                               wan_gen_params(.prompt = wn_weights_metadata(golden, "prompt"),
                                              .seed = atoi(wn_weights_metadata(golden, "seed")),
                                              .steps = atoi(wn_weights_metadata(golden, "steps")), .shift = 5,
                                              .guidance_low = 5, .width = (int)f.want->dim[2],
                                              .height = (int)f.want->dim[1], .frames = (int)f.want->dim[0],
                                              .precision = precision)));
    while (wan_session_steps_done(s) < wan_session_n_steps(s)) check(ctx, wan_session_step(s));
    check(ctx, wan_session_decode(s, compare, &f));
    assert_int_equal(f.n, f.want->dim[0]);
    wan_session_free(s);
    wan_model_free(model);
    wan_context_free(ctx);
    double mean = f.square_error / (double)f.want->bytes;
    return mean > 0 ? 10 * log10(255 * 255 / mean) : INFINITY;
}

static void same_video_as_the_official_code(void **state)
{
    struct wn_err err = {0};
    struct wn_weights *golden;
    (void)state;
    wn_weights_open(&golden, GOLDEN_DIR "/model/small_video.safetensors", &err);
    if (err.code) fail_msg("%s", err.text);
    double psnr = psnr_of(golden, "f32");
    print_message("f32: %.1f dB\n", psnr);
    assert_true(psnr >= 45);
    wn_weights_close(golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_video_as_the_official_code)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
