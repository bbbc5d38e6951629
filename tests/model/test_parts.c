/* Whole parts against the official PyTorch code (tests/golden/model, written by tools/oracle): every device
 * and instruction-set level, float32 within 1e-5, float32-grade products within 1e-4, and bf16 no further
 * from the float32 truth than 1.2 times the official bf16 run.
 *
 *     test_parts [PATTERN]      PATTERN such as 'cpu amx*'; none: all
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/device.h"
#include "wan/parts.h"

#define MODEL(name) GOLDEN_DIR "/model/" name
#define TINY MODEL("tiny-t2v")
#define TINY32 MODEL("tiny-t2v-text32")
#define T2V_A14B MODEL("tiny-t2v-a14b")
#define I2V_A14B MODEL("tiny-i2v-a14b")
#define VAE22 MODEL("vae22_tiny.pth")

/* One golden file and how to run it. */
struct golden {
    const char *file, *part, *model,
        *want; /* want: the golden's tensor, where it is not the part's output name */
    const char *got;
    struct wan_part_params p;
};

#define P(...)                            \
    {                                     \
        WAN_PART_PARAMS_INIT, __VA_ARGS__ \
    }
#define PLAIN                \
    {                        \
        WAN_PART_PARAMS_INIT \
    }

static const struct golden goldens[] = {
    {"t5_1", "t5", TINY, "context", "context", PLAIN},
    {"t5_7", "t5", TINY, "context", "context", PLAIN},
    {"t5_40", "t5", TINY, "context", "context", PLAIN},
    {"t5_200", "t5", TINY, "context", "context", PLAIN},
    {"dit_main", "dit", TINY, "v", "v", PLAIN},
    {"dit_odd", "dit", TINY, "v", "v", PLAIN},
    {"dit_image", "dit", TINY, "v", "v", PLAIN},
    {"dit_long", "dit", TINY, "v", "v", PLAIN},
    {"dit_text32_1", "dit", TINY32, "v", "v", PLAIN},
    {"dit_text32_13", "dit", TINY32, "v", "v", PLAIN},
    {"dit_text32_32", "dit", TINY32, "v", "v", PLAIN},
    {"dit_tokens2", "dit", TINY, "v", "v", PLAIN},
    {"dit_tokens", "dit", TINY, "v", "v", PLAIN},
    {"dit_fraction", "dit", TINY, "v", "v", PLAIN},
    {"dit_t2v_high", "dit", T2V_A14B, "v", "v", P(.expert = "high")},
    {"dit_t2v_low", "dit", T2V_A14B, "v", "v", P(.expert = "low")},
    {"dit_i2v_high", "dit", I2V_A14B, "v", "v", P(.expert = "high")},
    {"dit_i2v_low", "dit", I2V_A14B, "v", "v", P(.expert = "low")},
    {"dit_ti2v", "dit", MODEL("tiny-ti2v"), "v", "v", PLAIN},
    {"vae21_encode_1_24x16", "vae.encode", TINY, "latent", "latent", PLAIN},
    {"vae21_encode_5_8x16", "vae.encode", TINY, "latent", "latent", PLAIN},
    {"vae21_encode_7_8x8", "vae.encode", TINY, "latent", "latent", PLAIN},
    {"vae21_encode_9_16x24", "vae.encode", TINY, "latent", "latent", PLAIN},
    {"vae21_encode_13_16x8", "vae.encode", TINY, "latent", "latent", PLAIN},
    {"vae21_decode_1_3x2", "vae.decode", TINY, "video", "video", PLAIN},
    {"vae21_decode_2_1x2", "vae.decode", TINY, "video", "video", PLAIN},
    {"vae21_decode_3_2x1", "vae.decode", TINY, "video", "video", PLAIN},
    {"vae21_decode_4_2x3", "vae.decode", TINY, "video", "video", PLAIN},
    {"vae22_encode_1_48x32", "vae.encode", VAE22, "latent", "latent", PLAIN},
    {"vae22_encode_5_16x32", "vae.encode", VAE22, "latent", "latent", PLAIN},
    {"vae22_encode_7_16x16", "vae.encode", VAE22, "latent", "latent", PLAIN},
    {"vae22_encode_9_16x48", "vae.encode", VAE22, "latent", "latent", PLAIN},
    {"vae22_encode_13_32x16", "vae.encode", VAE22, "latent", "latent", PLAIN},
    {"vae22_decode_1_3x2", "vae.decode", VAE22, "video", "video", PLAIN},
    {"vae22_decode_2_1x2", "vae.decode", VAE22, "video", "video", PLAIN},
    {"vae22_decode_3_2x1", "vae.decode", VAE22, "video", "video", PLAIN},
    {"vae22_decode_4_2x1", "vae.decode", VAE22, "video", "video", PLAIN},
    {"attention_plain", "attention", NULL, "out", "out", PLAIN},
    {"attention_lens", "attention", NULL, "out", "out", P(.scale = 0.25)},
    {"attention_causal", "attention", NULL, "out", "out", P(.causal = 1)},
    {"attention_causal_more_keys", "attention", NULL, "out", "out", P(.causal = 1)},
    {"attention_causal_no_key", "attention", NULL, "out", "out", P(.causal = 1)},
    {"attention_window", "attention", NULL, "out", "out", P(.window_left = 4, .window_right = 2)},
    {"attention_window_left", "attention", NULL, "out", "out", P(.window_left = 6)},
    {"attention_window_lens", "attention", NULL, "out", "out", P(.window_left = 3, .window_right = 3)},
    {"rope_128", "rope", NULL, "out", "x", PLAIN},
    {"rope_64", "rope", NULL, "out", "x", PLAIN},
    {"rope_far", "rope", NULL, "out", "x", PLAIN},
    {"rope_start", "rope", NULL, "out", "x", P(.start = 20)},
    {"rope_frames", "rope", NULL, "out", "x", P(.start = 3)},
    {"rmsnorm", "rmsnorm", NULL, "out", "x", PLAIN},
    {"rmsnorm_small", "rmsnorm", NULL, "out", "x", P(.eps = 1e-5)},
    {"sinusoid", "sinusoid", NULL, "embedding", "embedding", P(.dim = 256)},
    {"sinusoid_32", "sinusoid", NULL, "embedding", "embedding", P(.dim = 32)},
};
enum { N_GOLDENS = sizeof goldens / sizeof *goldens };

/* A device at one level. */
struct place {
    const char *device, *isa;
    struct wan_context *ctx;
};

struct run {
    const struct golden *g;
    const struct place *at;
    const char *precision;
};

static void check(struct wan_context *ctx, enum wan_status st)
{
    if (st) fail_msg("%s: %s", wan_status_name(st), wan_error(ctx));
}

static struct wan_array need(const struct wan_tensors *t, const char *name)
{
    struct wan_array a;
    if (!wan_tensors_find(t, name, &a)) fail_msg("no tensor '%s'", name);
    assert_string_equal(a.dtype, "F32");
    return a;
}

/* The same shape, but for leading axes of 1. */
static void assert_same_shape(const struct wan_array *a, const struct wan_array *b)
{
    int longer = a->n_dims > b->n_dims ? a->n_dims : b->n_dims;
    for (int i = 1; i <= longer; i++)
        assert_int_equal(i <= a->n_dims ? a->dims[a->n_dims - i] : 1,
                         i <= b->n_dims ? b->dims[b->n_dims - i] : 1);
}

static float at(const struct wan_array *a, size_t i)
{
    float f;
    memcpy(&f, (const char *)a->data + 4 * i, 4);
    return f;
}

/* max |a - b| / max |b| */
static double max_error(const struct wan_array *a, const struct wan_array *b)
{
    double worst = 0, top = 0;
    assert_same_shape(a, b);
    for (size_t i = 0; i < a->bytes / 4; i++) {
        double d = fabs((double)at(a, i) - at(b, i));
        if (!(d <= worst)) worst = d; /* NaN sticks */
        top = fmax(top, fabs(at(b, i)));
    }
    return worst / (top > 0 ? top : 1);
}

/* |a - b| / |b| */
static double l2_error(const struct wan_array *a, const struct wan_array *b)
{
    double d2 = 0, b2 = 0;
    assert_same_shape(a, b);
    for (size_t i = 0; i < a->bytes / 4; i++) {
        double d = (double)at(a, i) - at(b, i);
        d2 += d * d;
        b2 += (double)at(b, i) * at(b, i);
    }
    return sqrt(d2 / b2);
}

/* Where there is an official bf16 result: our distance from the truth against its distance. */
static void assert_like_bf16(const struct wan_tensors *in, const struct golden *g,
                             const struct wan_array *got, const struct wan_array *want)
{
    char name[64];
    snprintf(name, sizeof name, "%s_bf16", g->want);
    struct wan_array official = need(in, name);
    double theirs = l2_error(&official, want), ours = l2_error(got, want);
    if (!(ours <= 1.2 * theirs))
        fail_msg("%s: error %.3g, the official bf16 run has %.3g", g->file, ours, theirs);
}

static void part_matches(void **state)
{
    const struct run *r = *state;
    const struct golden *g = r->g;
    struct wan_context *ctx = r->at->ctx;
    struct wan_tensors *in, *out;
    char path[512];
    snprintf(path, sizeof path, MODEL("%s.safetensors"), g->file);
    check(ctx, wan_tensors_read(ctx, &in, path));
    check(ctx, wan_tensors_new(ctx, &out));
    struct wan_part_params p = g->p;
    p.model = g->model;
    p.precision = r->precision;
    check(ctx, wan_part_run(ctx, g->part, &p, in, out, NULL));
    struct wan_array want = need(in, g->want), got = need(out, g->got);
    if (!strcmp(r->precision, "bf16"))
        assert_like_bf16(in, g, &got, &want);
    else {
        double tolerance = strcmp(r->precision, "f32") ? 1e-4 : 1e-5, e = max_error(&got, &want);
        if (!(e <= tolerance))
            fail_msg("%s in %s: error %.3g, allowed %.0e", g->file, r->precision, e, tolerance);
    }
    wan_tensors_free(in);
    wan_tensors_free(out);
}

/* ---- intermediates: where a part first differs ---- */

static const struct {
    const char *file, *part;
    const char *names[12][2]; /* golden's name, ours */
} dumps[] = {
    {"t5_40",
     "t5",
     {{"embed", "embedding"}, {"block.0", "block.0"}, {"block.1", "block.1"}, {"block.2", "block.2"}}},
    {"dit_main",
     "dit",
     {{"patch", "patch"},
      {"text", "text"},
      {"time", "time"},
      {"time_proj", "time_proj"},
      {"block.0", "block.0"},
      {"block.1", "block.1"},
      {"block.2", "block.2"},
      {"head", "head"}}},
};

static void intermediates_match(void **state)
{
    const struct place *pl = *state;
    for (size_t k = 0; k < sizeof dumps / sizeof *dumps; k++) {
        struct wan_tensors *in, *out, *dump;
        char path[512];
        snprintf(path, sizeof path, MODEL("%s.safetensors"), dumps[k].file);
        check(pl->ctx, wan_tensors_read(pl->ctx, &in, path));
        check(pl->ctx, wan_tensors_new(pl->ctx, &out));
        check(pl->ctx, wan_tensors_new(pl->ctx, &dump));
        check(pl->ctx, wan_part_run(pl->ctx, dumps[k].part,
                                    wan_part_params(.model = TINY, .precision = "f32"), in, out, dump));
        for (int i = 0; i < 12 && dumps[k].names[i][0]; i++) {
            struct wan_array want = need(in, dumps[k].names[i][0]), got = need(dump, dumps[k].names[i][1]);
            double e = max_error(&got, &want);
            if (!(e <= 1e-5)) fail_msg("%s, %s: error %.3g", dumps[k].file, dumps[k].names[i][1], e);
        }
        wan_tensors_free(in);
        wan_tensors_free(out);
        wan_tensors_free(dump);
    }
}

/* ---- whole runs ---- */

static const char *const pipelines[][2] = {{"pipeline_unipc", "unipc"}, {"pipeline_dpm", "dpm++"}};

/* Sample after each step of a session started from the golden's noise and contexts; compares every one. */
static void run_matches(const struct place *pl, const char *file, const char *solver, const char *precision)
{
    struct wan_context *ctx = pl->ctx;
    struct wan_tensors *in;
    struct wan_model *model;
    struct wan_session *s;
    char path[512];
    snprintf(path, sizeof path, MODEL("%s.safetensors"), file);
    check(ctx, wan_tensors_read(ctx, &in, path));
    check(ctx, wan_model_open(&model, ctx, TINY));
    check(ctx, wan_session_new(&s, model,
                               wan_gen_params(.width = 48, .height = 32, .frames = 5, .steps = 4, .shift = 5,
                                              .guidance_low = 5, .solver = solver, .noise_file = path,
                                              .context_file = path, .precision = precision)));
    struct wan_array want = need(in, "x"), official = need(in, "x_bf16");
    size_t n = want.bytes / 4 / 4;
    double d2 = 0, o2 = 0, w2 = 0;
    for (size_t step = 0; step < 4; step++) {
        int64_t dims[4];
        check(ctx, wan_session_step(s));
        const float *x = wan_session_latents(s, dims);
        double worst = 0, top = 0;
        d2 = o2 = w2 = 0;
        for (size_t i = 0; i < n; i++) {
            double w = at(&want, step * n + i), d = x[i] - w, o = at(&official, step * n + i) - w;
            worst = fmax(worst, fabs(d));
            top = fmax(top, fabs(w));
            d2 += d * d;
            o2 += o * o;
            w2 += w * w;
        }
        if (!strcmp(precision, "f32") && !(worst <= 1e-4 * top))
            fail_msg("%s, step %zu: error %.3g, allowed 1e-4", file, step + 1, worst / top);
    }
    if (!strcmp(precision, "bf16") && !(sqrt(d2) <= 1.2 * sqrt(o2)))
        fail_msg("%s: bf16 error %.3g, the official bf16 run has %.3g", file, sqrt(d2 / w2), sqrt(o2 / w2));
    wan_session_free(s);
    wan_model_free(model);
    wan_tensors_free(in);
}

static void runs_match(void **state)
{
    for (size_t i = 0; i < sizeof pipelines / sizeof *pipelines; i++) {
        run_matches(*state, pipelines[i][0], pipelines[i][1], "f32");
        run_matches(*state, pipelines[i][0], pipelines[i][1], "bf16");
    }
}

/* Frames decoded by a session against the golden's video: after truncation to bytes, at most one step apart,
 * and nearly all equal. */
struct frames {
    struct wan_array want;
    size_t n, differ;
};

static int compare_frame(void *user, int index, const uint8_t *rgb)
{
    struct frames *f = user;
    size_t T = (size_t)f->want.dims[1], hw = (size_t)(f->want.dims[2] * f->want.dims[3]);
    for (size_t c = 0; c < 3; c++)
        for (size_t i = 0; i < hw; i++) {
            int v = (int)((at(&f->want, (c * T + (size_t)index) * hw + i) + 1) / 2 * 255);
            int d = abs(v - rgb[i * 3 + c]);
            assert_true(d <= 1);
            f->differ += d != 0;
            f->n++;
        }
    return 0;
}

static void frames_match(void **state)
{
    const struct place *pl = *state;
    struct wan_tensors *in;
    struct wan_model *model;
    struct wan_session *s;
    const char *path = MODEL("pipeline_unipc.safetensors");
    check(pl->ctx, wan_tensors_read(pl->ctx, &in, path));
    check(pl->ctx, wan_model_open(&model, pl->ctx, TINY));
    check(pl->ctx, wan_session_new(&s, model,
                                   wan_gen_params(.width = 48, .height = 32, .frames = 5, .steps = 4,
                                                  .shift = 5, .guidance_low = 5, .noise_file = path,
                                                  .context_file = path, .precision = "f32")));
    for (int i = 0; i < 4; i++) check(pl->ctx, wan_session_step(s));
    struct frames f = {.want = need(in, "video")};
    check(pl->ctx, wan_session_decode(s, compare_frame, &f));
    assert_int_equal(f.n, f.want.bytes / 4);
    assert_true(f.differ * 1000 <= f.n);
    wan_session_free(s);
    wan_model_free(model);
    wan_tensors_free(in);
}

/* ---- the list of tests ---- */

enum { MAX_PLACES = 16, MAX_TESTS = MAX_PLACES * (3 * N_GOLDENS + 3) };
static struct place places[MAX_PLACES];
static struct run runs[MAX_TESTS];
static struct CMUnitTest tests[MAX_TESTS];
static size_t n_tests;

static void add(const struct place *pl, const char *what, const char *precision, CMUnitTestFunction fn,
                void *state)
{
    char *name = malloc(128);
    snprintf(name, 128, "%s%s%s, %s, %s", pl->device, pl->isa ? " " : "", pl->isa ? pl->isa : "", precision,
             what);
    tests[n_tests++] = (struct CMUnitTest){.name = name, .test_func = fn, .initial_state = state};
}

static int has_bf16(const struct golden *g)
{
    return !strcmp(g->part, "t5") || !strcmp(g->part, "dit") || !strcmp(g->part, "attention");
}

static void add_place(struct place *pl)
{
    static const char *const precisions[] = {"f32", "f32x", "bf16"};
    for (size_t i = 0; i < N_GOLDENS; i++)
        for (int k = 0; k < 3; k++) {
            if (k == 2 && !has_bf16(&goldens[i])) continue;
            struct run *r = &runs[n_tests];
            *r = (struct run){&goldens[i], pl, precisions[k]};
            add(pl, goldens[i].file, precisions[k], part_matches, r);
        }
    add(pl, "intermediates", "f32", intermediates_match, pl);
    add(pl, "whole runs", "f32 and bf16", runs_match, pl);
    add(pl, "frames of a run", "f32", frames_match, pl);
}

int main(int argc, char **argv)
{
    int n_isa, n = 0;
    const char *const *isa = wn_cpu_isa_list(&n_isa);
    places[n++] = (struct place){.device = "ref"};
    for (int i = 0; i < n_isa && n < MAX_PLACES; i++)
        places[n++] = (struct place){.device = "cpu", .isa = isa[i]};
    if (wn_device_built("mlx") && n + 2 <= MAX_PLACES) {
        places[n++] = (struct place){.device = "mlx", .isa = "cpu"};
        places[n++] = (struct place){.device = "mlx", .isa = "cpu-as-gpu"};
    }
    for (int i = 0; i < n; i++) {
        struct wan_context_params p = {
            .size = sizeof p, .device = places[i].device, .isa = places[i].isa, .threads = 2};
        if (wan_context_new(&places[i].ctx, &p)) {
            fprintf(stderr, "%s %s: %s\n", p.device, p.isa ? p.isa : "", wan_error(places[i].ctx));
            return 1;
        }
        add_place(&places[i]);
    }
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    int failed = _cmocka_run_group_tests("parts", tests, n_tests, NULL, NULL);
    for (int i = 0; i < n; i++) wan_context_free(places[i].ctx);
    for (size_t i = 0; i < n_tests; i++) free((void *)tests[i].name);
    return failed;
}
