/* The VAEs strip by strip give the bits that they give whole, for every number of strips, instruction set and
 * precision; and they hold less the more strips there are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "pipe/frames.h"
#include "pipe/parts.h"

#define TINY GOLDEN_DIR "/model/tiny-t2v"
#define VAE22 GOLDEN_DIR "/model/vae22_tiny.pth"

/* Latent extents. The rows on which one row of the result depends reach 13 up and down, so that in a frame of
 * 32 a strip has no edge of the frame in sight. */
enum { F = 3, HIGH = 32, LOW = 5, W = 2, T = 4 * (F - 1) + 1 };

struct vae {
    struct wn_device *dev;
    struct wn_checkpoint ck;
    struct wn_parts parts;
    struct wn_vae *vae;
    enum wn_precision precision;
    int64_t H, W;  /* of frames */
    float *latent; /* noise [z, F, h, W] */
    float *video;  /* noise [3, T, H, W] */
    int64_t dim[4];
};

static void ok(const struct wn_err *err)
{
    if (err->code) fail_msg("%s", err->text);
}

static float *noise(int seed, int64_t n)
{
    float *p = wn_alloc_n((size_t)n, sizeof *p);
    assert_non_null(p);
    wn_torch_randn((uint64_t)seed, p, n);
    return p;
}

static void open_vae(struct vae *v, const char *path, const char *isa, int64_t rows)
{
    struct wn_err err = {0};
    *v = (struct vae){.precision = WN_PREC_F32};
    wn_device_open(&v->dev, &(struct wn_device_params){.name = "cpu", .isa = isa, .n_threads = 2}, &err);
    ok(&err);
    wn_checkpoint_open(&v->ck, path, &err);
    ok(&err);
    wn_parts_init(&v->parts, &v->ck, v->dev);
    wn_parts_vae(&v->parts, &err);
    ok(&err);
    v->vae = v->parts.vae;
    int64_t z = wn_vae_z(v->vae), stride = wn_vae_stride(v->vae);
    v->dim[0] = z, v->dim[1] = F, v->dim[2] = rows, v->dim[3] = W;
    v->H = rows * stride;
    v->W = W * stride;
    v->latent = noise(1, z * F * rows * W);
    v->video = noise(2, 3 * T * v->H * v->W);
}

static void close_vae(struct vae *v)
{
    wn_free(v->latent);
    wn_free(v->video);
    wn_parts_release(&v->parts);
    wn_checkpoint_release(&v->ck);
    wn_device_close(v->dev);
}

struct frames {
    float *rgb; /* [T, H, W, 3] */
    int64_t H, W;
};

static enum wan_status take(void *ctx, int index, int64_t first, int64_t n, const float *rgb,
                            struct wn_err *err)
{
    struct frames *f = ctx;
    (void)err;
    assert_true(index < T && first >= 0 && first + n <= f->H);
    memcpy(f->rgb + (index * f->H + first) * f->W * 3, rgb, (size_t)(n * f->W * 3) * sizeof *rgb);
    return WAN_OK;
}

/* [T, H, W, 3] in new memory; *peak: the most that was held beyond what is held before. */
static float *decode(const struct vae *v, int n_strips, size_t *peak)
{
    struct wn_exec ex = {.dev = v->dev, .precision = v->precision};
    int64_t n = T * v->H * v->W * 3;
    struct frames f = {wn_alloc_n((size_t)n, sizeof *f.rgb), v->H, v->W};
    assert_non_null(f.rgb);
    memset(f.rgb, 0x7f, (size_t)n * sizeof *f.rgb);
    v->dev->table->trim(v->dev);
    size_t before = wn_mem_used();
    wn_mem_reset_peak();
    wn_decode_latents(&ex, v->vae, v->latent, v->dim, n_strips, take, &f);
    ok(&ex.err);
    *peak = wn_mem_peak() - before;
    return f.rgb;
}

static float *encode(const struct vae *v, int n_strips, size_t *peak)
{
    struct wn_exec ex = {.dev = v->dev, .precision = v->precision};
    int64_t n = v->dim[0] * F * v->dim[2] * W;
    float *latent = wn_alloc_n((size_t)n, sizeof *latent);
    assert_non_null(latent);
    memset(latent, 0x7f, (size_t)n * sizeof *latent);
    v->dev->table->trim(v->dev);
    size_t before = wn_mem_used();
    wn_mem_reset_peak();
    wn_encode_frames(&ex, v->vae, v->video, T, T, v->H, v->W, n_strips, latent);
    ok(&ex.err);
    *peak = wn_mem_peak() - before;
    return latent;
}

typedef float *direction(const struct vae *v, int n_strips, size_t *peak);

static void equals_whole(const struct vae *v, direction *run, int64_t n, int first, int last,
                         const char *what)
{
    size_t whole_peak, peak;
    float *whole = run(v, 1, &whole_peak);
    for (int k = first; k <= last; k++) {
        float *strips = run(v, k, &peak);
        if (memcmp(strips, whole, (size_t)n * sizeof *whole)) fail_msg("%s in %d strips differs", what, k);
        wn_free(strips);
    }
    wn_free(whole);
}

static void all_counts(struct vae *v, int first, int last)
{
    equals_whole(v, decode, T * v->H * v->W * 3, first, last, "decode");
    equals_whole(v, encode, v->dim[0] * F * v->dim[2] * W, first, last, "encode");
}

static void bits_of_the_whole(void **state)
{
    struct vae v;
    open_vae(&v, *state, NULL, HIGH);
    static const int some[] = {3, HIGH + 1};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) all_counts(&v, some[i], some[i]);
    close_vae(&v);
}

static void every_isa_and_precision(void **state)
{
    int n;
    const char *const *isa = wn_cpu_isa_list(&n);
    for (int i = 0; i < n; i++)
        for (int p = WN_PREC_F32; p <= WN_PREC_BF16; p++) {
            struct vae v;
            open_vae(&v, *state, isa[i], LOW);
            v.precision = (enum wn_precision)p;
            all_counts(&v, 2, 2);
            close_vae(&v);
        }
}

/* A clip of one frame, and a first frame followed by grey ones. */
static void short_clips(void **state)
{
    struct vae v;
    size_t n;
    open_vae(&v, *state, NULL, LOW);
    n = (size_t)(v.dim[0] * F * LOW * W);
    float *a = noise(3, (int64_t)n), *b = noise(4, (int64_t)n);
    for (int frames = 1; frames <= T; frames += T - 1)
        for (int k = 2; k <= LOW; k++) {
            struct wn_exec ex = {.dev = v.dev, .precision = WN_PREC_F32};
            size_t used = n / F * (frames == 1 ? 1 : F);
            wn_encode_frames(&ex, v.vae, v.video, 1, frames, v.H, v.W, 1, a);
            wn_encode_frames(&ex, v.vae, v.video, 1, frames, v.H, v.W, k, b);
            ok(&ex.err);
            assert_memory_equal(a, b, used * sizeof *a);
        }
    wn_free(a);
    wn_free(b);
    close_vae(&v);
}

static void strips_hold_less(void **state)
{
    struct vae v;
    direction *run[2] = {decode, encode};
    open_vae(&v, *state, NULL, HIGH);
    for (int i = 0; i < 2; i++) {
        size_t peak[3];
        static const int n[3] = {1, 4, HIGH};
        for (int k = 0; k < 3; k++) wn_free(run[i](&v, n[k], &peak[k]));
        if (peak[1] > peak[0] * 7 / 8 || peak[2] > peak[1])
            fail_msg("%s: %zu, %zu and %zu bytes", i ? "encode" : "decode", peak[0], peak[1], peak[2]);
    }
    close_vae(&v);
}

static enum wan_status drop(void *ctx, int index, int64_t first, int64_t n, const float *rgb,
                            struct wn_err *err)
{
    (void)ctx, (void)index, (void)first, (void)n, (void)rgb, (void)err;
    return WAN_OK;
}

/* Request n of those that a run in two strips makes fails; how many were made. */
static int64_t fail_at(const struct vae *v, bool encoding, int64_t n)
{
    struct wn_exec ex = {.dev = v->dev, .precision = WN_PREC_F32};
    int64_t dim[4] = {v->dim[0], 2, 2, 1};
    float out[2 * 2 * 64];
    assert_true(v->dim[0] <= 64);
    v->dev->table->trim(v->dev);
    size_t before = wn_mem_used();
    int64_t start = wn_mem_n_requests();
    wn_mem_fail_after(n);
    if (encoding)
        wn_encode_frames(&ex, v->vae, v->video, 1, 5, 2 * wn_vae_stride(v->vae), wn_vae_stride(v->vae), 2,
                         out);
    else
        wn_decode_latents(&ex, v->vae, v->latent, dim, 2, drop, NULL);
    wn_mem_fail_after(-1);
    int64_t asked = wn_mem_n_requests() - start;
    assert_int_equal(ex.err.code, asked > n ? WAN_ENOMEM : WAN_OK);
    v->dev->table->trim(v->dev);
    assert_int_equal(wn_mem_used(), before);
    return asked;
}

static void memory_fails(void **state)
{
    struct vae v;
    open_vae(&v, *state, NULL, LOW);
    for (int encoding = 0; encoding < 2; encoding++) {
        int64_t all = fail_at(&v, encoding, INT64_MAX);
        assert_true(all > 100);
        for (int64_t n = 0; n <= all; n += 3) fail_at(&v, encoding, n);
    }
    close_vae(&v);
}

int main(void)
{
#define BOTH(test)                                 \
    {"VAE 2.1: " #test, test, NULL, NULL, TINY},   \
    {                                              \
        "VAE 2.2: " #test, test, NULL, NULL, VAE22 \
    }
    const struct CMUnitTest tests[] = {BOTH(bits_of_the_whole), BOTH(every_isa_and_precision),
                                       BOTH(short_clips), BOTH(strips_hold_less), BOTH(memory_fails)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
