/* Whole runs of Wan2.2 against the official pipelines with the same small random weights (tests/golden/model,
 * written by tools/oracle/pipeline22.py): two experts, a first image beside the latents (I2V) and in their
 * place (TI2V). Every device and instruction-set level: float32 within 1e-4 of the official float32 run after
 * each step, bf16 no further from it than 1.2 times the official bf16 run, frames as bytes. And what the
 * pipelines hand to the VAE (tests/golden/media/prepared.txt, tools/oracle/prepared.py).
 *
 *     test_pipelines [PATTERN]      PATTERN such as 'mlx cpu,*'; none: all
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/device.h"
#include "gen.h"
#include "io/weights.h"
#include "wan/parts.h"

#define MODEL GOLDEN_DIR "/model/"
#define MEDIA GOLDEN_DIR "/media/"

static const char *const goldens[] = {
    "pipeline_t2v_a14b",     "pipeline_t2v_a14b_dpm",   "pipeline_i2v_a14b",
    "pipeline_i2v_a14b_dpm", "pipeline_i2v_a14b_long",  "pipeline_ti2v_text",
    "pipeline_ti2v_image",   "pipeline_ti2v_image_dpm", "pipeline_ti2v_image_long",
};
enum { N_GOLDENS = sizeof goldens / sizeof *goldens };

/* A device at one level. */
struct place {
    const char *device, *isa;
    struct wan_context *ctx;
};

/* One golden and how to run it. */
struct run {
    const char *golden;
    const struct place *at;
};

/* A golden opened, a model, and a session as the golden's metadata says. */
struct fixture {
    struct wan_context *ctx;
    struct wn_weights *golden;
    struct wan_model *model;
    struct wan_session *session;
    char path[512], folder[512], picture[512], solver[16];
    struct wan_gen_params params;
};

static void check(struct wan_context *ctx, enum wan_status st)
{
    if (st) fail_msg("%s: %s", wan_status_name(st), wan_error(ctx));
}

/* ---- goldens ---- */

static const struct wn_weight *need(const struct fixture *f, const char *name)
{
    const struct wn_weight *w = wn_weights_find(f->golden, name);
    if (!w) fail_msg("%s: no tensor '%s'", f->path, name);
    return w;
}

static float at(const struct wn_weight *w, size_t i)
{
    float v;
    memcpy(&v, (const char *)w->data + 4 * i, 4);
    return v;
}

static size_t n_elems(const struct wn_weight *w)
{
    size_t n = 1;
    for (int i = 0; i < w->n_dims; i++) n *= (size_t)w->dim[i];
    return n;
}

/* max |a - b| / max |b|, b from element `first` on */
static double max_error(const float *a, const struct wn_weight *b, size_t first, size_t n)
{
    double worst = 0, top = 0;
    for (size_t i = 0; i < n; i++) {
        double want = at(b, first + i), d = fabs(a[i] - want);
        if (!(d <= worst)) worst = d; /* NaN sticks */
        top = fmax(top, fabs(want));
    }
    return worst / top;
}

/* |a - b| / |b| */
static double l2_error(const float *a, const struct wn_weight *b)
{
    double d2 = 0, b2 = 0;
    for (size_t i = 0; i < n_elems(b); i++) {
        double d = a[i] - (double)at(b, i);
        d2 += d * d;
        b2 += (double)at(b, i) * at(b, i);
    }
    return sqrt(d2 / b2);
}

/* ---- sessions ---- */

static void read_args(struct fixture *f)
{
    const char *args = wn_weights_metadata(f->golden, "args"),
               *picture = wn_weights_metadata(f->golden, "picture");
    struct wan_gen_params *p = &f->params;
    double g[2];
    assert_non_null(args);
    *p = *wan_gen_params(.precision = "f32");
    int n = sscanf(args, "--solver %15s --steps %d --shift %lf --guidance %lf,%lf", f->solver, &p->steps,
                   &p->shift, &g[0], &g[1]);
    assert_in_range(n, 4, 5);
    p->guidance_low = g[0];
    if (n == 5) p->guidance_high = g[1];
    assert_int_equal(
        sscanf(strstr(args, "--size"), "--size %dx%d --frames %d", &p->width, &p->height, &p->frames), 3);
    p->solver = f->solver;
    if (!picture) return;
    snprintf(f->picture, sizeof f->picture, MODEL "%s", picture);
    p->image = f->picture;
}

/* `from_prompt`: from text and seed, else from the golden's noise and encoded text. */
static void start(struct fixture *f, const struct run *r, const char *precision, int from_prompt)
{
    struct wn_err err = {0};
    *f = (struct fixture){.ctx = r->at->ctx};
    snprintf(f->path, sizeof f->path, MODEL "%s.safetensors", r->golden);
    if (wn_weights_open(&f->golden, f->path, &err)) fail_msg("%s", err.text);
    read_args(f);
    f->params.precision = precision;
    if (from_prompt) {
        f->params.prompt = wn_weights_metadata(f->golden, "prompt");
        f->params.negative = wn_weights_metadata(f->golden, "negative");
        f->params.seed = atoi(wn_weights_metadata(f->golden, "seed"));
    } else {
        f->params.noise_file = f->params.context_file = f->path;
    }
    snprintf(f->folder, sizeof f->folder, MODEL "%s", wn_weights_metadata(f->golden, "model"));
    check(f->ctx, wan_model_open(&f->model, f->ctx, f->folder));
    check(f->ctx, wan_session_new(&f->session, f->model, &f->params));
}

static void end(struct fixture *f)
{
    wan_session_free(f->session);
    wan_model_free(f->model);
    wn_weights_close(f->golden);
}

static const float *latents(const struct fixture *f)
{
    int64_t dims[4];
    const float *x = wan_session_latents(f->session, dims);
    assert_memory_equal(dims, need(f, "latent")->dim, sizeof dims);
    return x;
}

static void all_steps(struct fixture *f)
{
    while (wan_session_steps_done(f->session) < wan_session_n_steps(f->session))
        check(f->ctx, wan_session_step(f->session));
}

/* ---- frames ---- */

/* Decoded frames against the golden's, which are bytes [T, H, W, 3] or floats [3, T, H, W]. */
struct frames {
    const struct wn_weight *bytes, *floats;
    int64_t T, H, W;
    int n, most;     /* frames seen, largest difference */
    size_t differ;   /* values */
    double psnr[64]; /* dB of each frame */
};

static int wanted(const struct frames *f, int index, size_t pixel, size_t c)
{
    size_t pixels = (size_t)(f->H * f->W);
    if (f->bytes) return ((const uint8_t *)f->bytes->data)[((size_t)index * pixels + pixel) * 3 + c];
    return (int)((at(f->floats, (c * (size_t)f->T + (size_t)index) * pixels + pixel) + 1) / 2 * 255);
}

static int compare_frame(void *user, int index, const uint8_t *rgb)
{
    struct frames *f = user;
    size_t pixels = (size_t)(f->H * f->W);
    double square = 0;
    assert_int_equal(index, f->n);
    assert_true(index < f->T && index < 64);
    for (size_t i = 0; i < 3 * pixels; i++) {
        int d = abs(wanted(f, index, i / 3, i % 3) - rgb[i]);
        if (d > f->most) f->most = d;
        f->differ += d != 0;
        square += d * d;
    }
    f->psnr[f->n++] = square > 0 ? 10 * log10(255 * 255 * 3 * (double)pixels / square) : INFINITY;
    return 0;
}

static struct frames decode(struct fixture *f)
{
    struct frames out = {.bytes = wn_weights_find(f->golden, "frames"),
                         .floats = wn_weights_find(f->golden, "video")};
    const int64_t *dim = out.bytes ? out.bytes->dim : need(f, "video")->dim + 1;
    out.T = dim[0];
    out.H = dim[1];
    out.W = dim[2];
    const struct wan_gen_params *p = wan_session_params(f->session);
    assert_int_equal(p->width, out.W); /* with an image: of its aspect */
    assert_int_equal(p->height, out.H);
    check(f->ctx, wan_session_decode(f->session, compare_frame, &out));
    assert_int_equal(out.n, out.T);
    return out;
}

/* ---- runs ---- */

/* TI2V from an image: latent frame 0 is that of the image, to the bit the same after each step. */
static void check_first_frame(const struct fixture *f, const float *x, float **first)
{
    const struct wn_weight *z = wn_weights_find(f->golden, "z");
    if (!z) return;
    size_t plane = (size_t)(z->dim[2] * z->dim[3]), F = (size_t)need(f, "latent")->dim[1],
           C = (size_t)z->dim[0];
    float *now = malloc(C * plane * sizeof *now);
    assert_non_null(now);
    for (size_t c = 0; c < C; c++) memcpy(now + c * plane, x + c * F * plane, plane * sizeof *now);
    if (*first)
        assert_memory_equal(now, *first, C * plane * sizeof *now);
    else
        assert_true(max_error(now, z, 0, C * plane) <= 1e-5);
    free(*first);
    *first = now;
}

static void f32_matches(void **state)
{
    const struct run *r = *state;
    struct fixture f;
    float *first = NULL;
    start(&f, r, "f32", 0);
    const struct wn_weight *steps = wn_weights_find(f.golden, "x"), *last = need(&f, "latent");
    size_t n = n_elems(last);
    for (size_t i = 0; wan_session_steps_done(f.session) < wan_session_n_steps(f.session); i++) {
        check(f.ctx, wan_session_step(f.session));
        const float *x = latents(&f);
        check_first_frame(&f, x, &first);
        double e = steps ? max_error(x, steps, i * n, n) : 0;
        if (!(e <= 1e-4)) fail_msg("%s, step %zu: error %.3g, allowed 1e-4", r->golden, i + 1, e);
    }
    free(first);
    double e = max_error(latents(&f), last, 0, n);
    if (!(e <= 1e-4)) fail_msg("%s: error %.3g, allowed 1e-4", r->golden, e);
    struct frames got = decode(&f);
    if (got.most > 1) fail_msg("%s: bytes of a frame differ by %d", r->golden, got.most);
    assert_true(got.differ * 1000 <= (size_t)(3 * got.T * got.H * got.W));
    end(&f);
}

/* MLX's own products of BF16 round their sums to it once more on the CPU, which costs up to twice the error in
 * a frame; the official run's sums are float32. */
static bool sums_in_bf16(const struct place *at)
{
    return at->isa && !strcmp(at->isa, "cpu-as-gpu");
}

static void bf16_matches(void **state)
{
    const struct run *r = *state;
    struct fixture f;
    start(&f, r, "bf16", 0);
    all_steps(&f);
    const struct wn_weight *truth = need(&f, "latent"), *official = need(&f, "latent_bf16");
    float *copy = malloc(official->bytes);
    assert_non_null(copy);
    memcpy(copy, official->data, official->bytes);
    double theirs = l2_error(copy, truth), ours = l2_error(latents(&f), truth);
    free(copy);
    if (!(ours <= 1.2 * theirs))
        fail_msg("%s: bf16 error %.3g, the official bf16 run has %.3g", r->golden, ours, theirs);
    const struct wn_weight *psnr = wn_weights_find(f.golden, "psnr_bf16");
    struct frames got = decode(&f);
    for (int i = 0; psnr && i < got.n; i++) {
        /* frame 0 of TI2V is the image: exact there */
        double least = fmin(at(psnr, (size_t)i) - (sums_in_bf16(r->at) ? 6 : 3), 60);
        if (!(got.psnr[i] >= least))
            fail_msg("%s, frame %d: %.1f dB in bf16, the official bf16 run has %.1f", r->golden, i,
                     got.psnr[i], at(psnr, (size_t)i));
    }
    end(&f);
}

/* Tokenizer, text encoder and noise included. */
static void prompt_matches(void **state)
{
    const struct run *r = *state;
    struct fixture f;
    start(&f, r, "f32", 1);
    all_steps(&f);
    double e = max_error(latents(&f), need(&f, "latent"), 0, n_elems(need(&f, "latent")));
    if (!(e <= 1e-4)) fail_msg("%s from the prompt: error %.3g, allowed 1e-4", r->golden, e);
    end(&f);
}

/* ---- beside the runs ---- */

/* wan_generate with a latents file and no video. */
static void latents_are_written(void **state)
{
    const struct run *r = *state;
    struct fixture f;
    struct wn_weights *written;
    struct wn_err err = {0};
    char name[] = "pipelines_latent.XXXXXX";
    start(&f, r, "f32", 0);
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    close(fd);
    f.params.latents_file = name;
    check(f.ctx, wan_generate(f.model, &f.params, NULL));
    wn_weights_open(&written, name, &err); /* mapped: the name can go */
    unlink(name);
    if (err.code) fail_msg("%s", err.text);
    const struct wn_weight *got = wn_weights_find(written, "latent"), *want = need(&f, "latent");
    assert_non_null(got);
    assert_int_equal(got->type, WN_F32);
    assert_memory_equal(got->dim, want->dim, sizeof *want->dim * 4);
    float *copy = malloc(got->bytes);
    assert_non_null(copy);
    memcpy(copy, got->data, got->bytes);
    assert_true(max_error(copy, want, 0, n_elems(want)) <= 1e-4);
    free(copy);
    wn_weights_close(written);
    end(&f);
}

/* What a model is given when nothing is said: the official numbers. */
static void defaults_are_official(void **state)
{
    static const struct {
        const char *folder;
        int frames, steps;
        double fps, shift, low, high;
    } models[] = {{"tiny-t2v-a14b", 81, 40, 16, 12, 3, 4},
                  {"tiny-i2v-a14b", 81, 40, 16, 5, 3.5, 3.5},
                  {"tiny-ti2v", 121, 50, 24, 5, 5, 5}};
    const struct place *pl = *state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        struct wan_model *model;
        struct wan_gen_params p;
        char folder[512];
        snprintf(folder, sizeof folder, MODEL "%s", models[i].folder);
        check(pl->ctx, wan_model_open(&model, pl->ctx, folder));
        check(pl->ctx, wan_gen_resolve(model, wan_gen_params(.prompt = "x"), &p));
        assert_int_equal(p.frames, models[i].frames);
        assert_int_equal(p.steps, models[i].steps);
        assert_true(p.fps == models[i].fps && p.shift == models[i].shift);
        assert_true(p.guidance_low == models[i].low && p.guidance_high == models[i].high);
        assert_string_equal(p.solver, "unipc");
        wan_model_free(model);
    }
}

static void refuses(const struct place *pl, const char *name, const char *image, const char *mention)
{
    struct wan_model *model;
    struct wan_session *s;
    char folder[512];
    snprintf(folder, sizeof folder, MODEL "%s", name);
    check(pl->ctx, wan_model_open(&model, pl->ctx, folder));
    assert_int_equal(wan_session_new(&s, model,
                                     wan_gen_params(.prompt = "x", .image = image, .width = 64, .height = 64,
                                                    .frames = 5, .seed = 1)),
                     WAN_EINVAL);
    assert_null(s);
    if (!strstr(wan_error(pl->ctx), mention))
        fail_msg("'%s' does not mention %s", wan_error(pl->ctx), mention);
    wan_model_free(model);
}

static void images_where_they_belong(void **state)
{
    refuses(*state, "tiny-t2v-a14b", MODEL "picture_rgb.png", "image");
    refuses(*state, "tiny-t2v", MODEL "picture_rgb.png", "image");
    refuses(*state, "tiny-i2v-a14b", NULL, "image");
}

static enum wan_status run_dit(const struct place *pl, const char *folder, const char *expert)
{
    struct wan_tensors *in, *out;
    check(pl->ctx, wan_tensors_read(pl->ctx, &in, MODEL "dit_t2v_high.safetensors"));
    check(pl->ctx, wan_tensors_new(pl->ctx, &out));
    enum wan_status st =
        wan_part_run(pl->ctx, "dit", wan_part_params(.model = folder, .expert = expert), in, out, NULL);
    wan_tensors_free(in);
    wan_tensors_free(out);
    return st;
}

/* An expert is named where there are two, and only there; its own folder is a model of one. */
static void experts_are_named(void **state)
{
    assert_int_equal(run_dit(*state, MODEL "tiny-t2v-a14b", "high"), WAN_OK);
    assert_int_equal(run_dit(*state, MODEL "tiny-t2v-a14b/low_noise_model", NULL), WAN_OK);
    assert_int_equal(run_dit(*state, MODEL "tiny-t2v-a14b", NULL), WAN_EINVAL);
    assert_int_equal(run_dit(*state, MODEL "tiny-t2v-a14b", "middle"), WAN_EINVAL);
    assert_int_equal(run_dit(*state, MODEL "tiny-t2v", "high"), WAN_EINVAL);
}

/* The first latent frame that a TI2V session holds is what the VAE makes of the prepared image. */
static void image_is_encoded_as_by_the_parts(void **state)
{
    const struct place *pl = *state;
    const struct run r = {"pipeline_ti2v_image", pl};
    struct fixture f;
    struct wan_tensors *none, *image, *video, *latent;
    struct wan_array a;
    start(&f, &r, "f32", 0);
    check(f.ctx, wan_tensors_new(f.ctx, &none));
    check(f.ctx, wan_tensors_new(f.ctx, &image));
    check(f.ctx, wan_tensors_new(f.ctx, &video));
    check(f.ctx, wan_tensors_new(f.ctx, &latent));
    check(f.ctx, wan_part_run(f.ctx, "image",
                              wan_part_params(.image = f.picture, .task = "ti2v", .width = f.params.width,
                                              .height = f.params.height),
                              none, image, NULL));
    assert_true(wan_tensors_find(image, "image", &a));
    a = (struct wan_array){"video", a.dtype, 4, {3, 1, a.dims[1], a.dims[2]}, a.data, a.bytes};
    check(f.ctx, wan_tensors_add(f.ctx, video, &a));
    check(f.ctx, wan_part_run(f.ctx, "vae.encode", wan_part_params(.model = f.folder, .precision = "f32"),
                              video, latent, NULL));
    assert_true(wan_tensors_find(latent, "latent", &a));
    check(f.ctx, wan_session_step(f.session));
    size_t plane = (size_t)(a.dims[2] * a.dims[3]), F = (size_t)need(&f, "latent")->dim[1];
    for (size_t c = 0; c < (size_t)a.dims[0]; c++)
        assert_memory_equal(latents(&f) + c * F * plane, (const float *)a.data + c * plane,
                            plane * sizeof(float));
    wan_tensors_free(none);
    wan_tensors_free(image);
    wan_tensors_free(video);
    wan_tensors_free(latent);
    end(&f);
}

/* ---- images as the pipelines prepare them ---- */

enum { SAMPLES = 192 };

static void check_prepared(const struct place *pl, const char *line, const float *samples)
{
    char task[8], name[64], path[512];
    int width, height, w, h, at = 0;
    struct wan_tensors *none, *out;
    struct wan_array a;
    assert_int_equal(sscanf(line, "%7s %63s %d %d%n", task, name, &width, &height, &at), 4);
    snprintf(path, sizeof path, MEDIA "%s", name);
    check(pl->ctx, wan_tensors_new(pl->ctx, &none));
    check(pl->ctx, wan_tensors_new(pl->ctx, &out));
    enum wan_status st = wan_part_run(
        pl->ctx, "image", wan_part_params(.image = path, .task = task, .width = width, .height = height),
        none, out, NULL);
    size_t offset;
    if (sscanf(line + at, "%d %d %zu", &w, &h, &offset) != 3) {
        if (!st) fail_msg("%s: the official code fails here", line);
    } else {
        check(pl->ctx, st);
        assert_true(wan_tensors_find(out, "image", &a));
        assert_string_equal(a.dtype, "F32");
        if (a.n_dims != 3 || a.dims[0] != 3 || a.dims[1] != h || a.dims[2] != w)
            fail_msg("%s: [%d, %d, %d]", line, (int)a.dims[0], (int)a.dims[1], (int)a.dims[2]);
        for (size_t i = 0; i < SAMPLES; i++) {
            float got = ((const float *)a.data)[gen_sample(i, (size_t)(3 * w * h))],
                  want = samples[offset / 4 + i];
            /* LANCZOS is exact; bicubic is a few roundings of numbers up to 1.4 away from torch's */
            if (!(fabsf(got - want) <= (strcmp(task, "ti2v") ? 2e-6f : 0)))
                fail_msg("%s: sample %zu is %.9g, should be %.9g", line, i, got, want);
        }
    }
    wan_tensors_free(none);
    wan_tensors_free(out);
}

static float *read_floats(const char *path)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    rewind(f);
    float *data = malloc((size_t)n);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, (size_t)n, f), n);
    fclose(f);
    return data;
}

static void images_are_prepared(void **state)
{
    float *samples = read_floats(MEDIA "prepared.f32");
    FILE *f = fopen(MEDIA "prepared.txt", "r");
    char line[256];
    int n = 0;
    assert_non_null(f);
    for (; fgets(line, sizeof line, f); n++) {
        line[strcspn(line, "\n")] = 0;
        check_prepared(*state, line, samples);
    }
    fclose(f);
    free(samples);
    assert_true(n > 100);
}

/* ---- the list of tests ---- */

enum { MAX_PLACES = 16, MAX_TESTS = MAX_PLACES * (3 * N_GOLDENS + 1) + 16 };
static struct place places[MAX_PLACES];
static struct run runs[MAX_TESTS];
static struct CMUnitTest tests[MAX_TESTS];
static size_t n_tests;

static void add(const struct place *pl, const char *what, const char *how, CMUnitTestFunction fn, void *state)
{
    char *name = malloc(128);
    snprintf(name, 128, "%s%s%s, %s%s", pl->device, pl->isa ? " " : "", pl->isa ? pl->isa : "", what, how);
    tests[n_tests++] = (struct CMUnitTest){.name = name, .test_func = fn, .initial_state = state};
}

static void add_run(const struct place *pl, const char *golden, const char *how, CMUnitTestFunction fn)
{
    struct run *r = &runs[n_tests];
    *r = (struct run){golden, pl};
    add(pl, golden, how, fn, r);
}

static void add_place(struct place *pl)
{
    for (size_t i = 0; i < N_GOLDENS; i++) {
        add_run(pl, goldens[i], ", f32", f32_matches);
        add_run(pl, goldens[i], ", bf16", bf16_matches);
        add_run(pl, goldens[i], ", from the prompt", prompt_matches);
    }
    add(pl, "image and vae.encode", "", image_is_encoded_as_by_the_parts, pl);
}

/* Once, at the best level. */
static void add_others(struct place *pl)
{
    add_run(pl, "pipeline_i2v_a14b", ", latents file", latents_are_written);
    add(pl, "defaults", "", defaults_are_official, pl);
    add(pl, "images where they belong", "", images_where_they_belong, pl);
    add(pl, "experts are named", "", experts_are_named, pl);
    add(pl, "prepared images", "", images_are_prepared, pl);
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
    add_others(&places[n_isa]);
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    int failed = _cmocka_run_group_tests("pipelines", tests, n_tests, NULL, NULL);
    for (int i = 0; i < n; i++) wan_context_free(places[i].ctx);
    for (size_t i = 0; i < n_tests; i++) free((void *)tests[i].name);
    return failed;
}
