/* Sessions: one video from parameters to file. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/clock.h"
#include "base/digest.h"
#include "lib/session.h"
#include "media/output.h"
#include "media/pixels.h"
#include "text/utf.h"

/* The string fields of the params, by the option table. */
static const char **string_field(struct wan_gen_params *p, size_t i)
{
    size_t n;
    const struct wan_option *o = wan_gen_options(&n);
    if (i >= n || o[i].type != WAN_OPT_STRING) return NULL;
    return (const char **)((char *)p + o[i].offset);
}

static size_t n_options(void)
{
    size_t n;
    wan_gen_options(&n);
    return n;
}

/* Replace borrowed strings by copies; on failure none is left borrowed. */
static enum wan_status own_strings(struct wan_gen_params *p, struct wn_err *err)
{
    bool failed = false;
    for (size_t i = 0; i < n_options(); i++) {
        const char **s = string_field(p, i);
        if (!s || !*s) continue;
        *s = wn_strdup(*s);
        failed |= !*s;
    }
    return failed ? wn_fail_nomem(err, "parameters", 0) : WAN_OK;
}

void wan_session_free(struct wan_session *s)
{
    if (!s) return;
    wn_state_end(s, false);
    wn_preview_end(s);
    wn_job_free(s->job);
    wn_profile_free(s->profile);
    wn_input_image_release(&s->image);
    wn_free(s->origin);
    for (size_t i = 0; i < n_options(); i++) {
        const char **text = string_field(&s->p, i);
        if (text) wn_free((void *)*text);
    }
    wn_free(s);
}

/* ---- start ---- */

enum { MAX_LATENT_FRAMES = 1024, MAX_SIDE = 16384 }; /* of a video to decode; MAX_SIDE in pixels */

static int64_t random_seed(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    struct wn_rng r = {(uint64_t)t.tv_sec * 1000000007u ^ (uint64_t)t.tv_nsec};
    return (int64_t)(wn_rng_u64(&r) >> 32); /* torch's CPU generator uses 32 bits */
}

/* Noise [z, F, h, w] from the file or the seed, in new memory; NULL after a failure. */
static float *read_noise(struct wan_session *s, const int64_t dim[4], struct wn_err *err)
{
    struct wan_tensors t = {0};
    struct wan_array a;
    float *noise = NULL;
    if (wn_weights_open(&t.file, s->p.noise_file, err)) return NULL;
    if (!wn_tensors_f32(&t, "noise", 4, &noise, &a, err) && memcmp(a.dims, dim, 4 * sizeof *dim)) {
        wn_fail(err, WAN_EINVAL,
                "%s: 'noise' is [%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 "], this size needs "
                "[%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 "]",
                s->p.noise_file, a.dims[0], a.dims[1], a.dims[2], a.dims[3], dim[0], dim[1], dim[2], dim[3]);
        wn_free(noise);
        noise = NULL;
    }
    wn_weights_close(t.file);
    return noise;
}

static float *draw_noise(struct wan_session *s, const int64_t dim[4], struct wn_err *err)
{
    int64_t n = dim[0] * dim[1] * dim[2] * dim[3];
    if (s->p.seed == WAN_UNSET_I64 && !(s->p.resume_file && wn_state_seed(s->p.resume_file, &s->p.seed))) {
        s->p.seed = random_seed();
        wn_logf(&s->model->ctx->log, WN_LOG_NOTICE, "seed %" PRId64, s->p.seed);
    }
    float *noise = wn_alloc_n((size_t)n, sizeof *noise);
    if (!noise) {
        wn_fail_nomem(err, "the noise", (unsigned long long)n * sizeof *noise);
    } else if (wn_noise_draw(s->p.rng, s->p.seed, noise, n, err)) {
        wn_free(noise);
        return NULL;
    }
    return noise;
}

static enum wan_status read_contexts(struct wan_session *s, struct wn_contexts *c, int64_t width,
                                     struct wn_err *err)
{
    static const char *const names[2] = {"context", "context_null"};
    struct wan_tensors t = {0};
    struct wan_array a;
    if (wn_weights_open(&t.file, s->p.context_file, err)) return err->code;
    int n = s->p.guidance_low == 1 && s->p.guidance_high == 1 ? 1 : 2;
    c->width = width;
    for (int i = 0; i < n && !wn_tensors_f32(&t, names[i], 2, &c->rows[i], &a, err); i++) {
        c->n[i] = a.dims[0];
        if (a.dims[1] != width)
            wn_fail(err, WAN_EINVAL, "%s: '%s' is %" PRId64 " wide, the transformer takes %" PRId64,
                    s->p.context_file, names[i], a.dims[1], width);
        else
            wn_digest_add(&s->context, c->rows[i], sizeof(float) * (size_t)(c->n[i] * width));
    }
    if (err->code == WAN_EINVAL) wn_err_prefix(err, "%s", s->p.context_file);
    wn_weights_close(t.file);
    return err->code;
}

static enum wan_status check_model(const struct wan_model *m, const struct wan_gen_params *p,
                                   struct wn_err *err)
{
    const struct wn_checkpoint *ck = &m->checkpoint;
    const char *what = ck->name;
    switch (ck->task) {
    case WN_TASK_T2V:
    case WN_TASK_UNKNOWN:
        if (p->image)
            return wn_fail(err, WAN_EINVAL, "--image %s: %s (%s) makes videos from text alone", p->image,
                           ck->path, what);
        break;
    case WN_TASK_I2V:
        if (!p->image)
            return wn_fail(err, WAN_EINVAL, "%s (%s) needs the first frame: --image FILE", ck->path, what);
        break;
    case WN_TASK_TI2V: break;
    default:
        return wn_fail(err, WAN_EUNSUPPORTED, "%s (%s): this kind of model cannot be run yet", ck->path,
                       what);
    }
    if (ck->guessed)
        wn_logf(&m->ctx->log, WN_LOG_NOTICE,
                "taken for %s; if it is an expert of Wan2.2 T2V-A14B, say --model-type t2v-a14b", what);
    return WAN_OK;
}

static enum wan_status check_params(const struct wan_gen_params *p, struct wn_err *err)
{
    if (p->latents_file && wn_place_check(p->latents_file, err)) return err->code;
    if (!p->context_file && (!p->prompt || !p->prompt[strspn(p->prompt, " \t\r\n")]))
        return wn_fail(err, WAN_EINVAL, "--prompt is empty: say what the video should show");
    return WAN_OK;
}

/* Read the first frame and take the size that its aspect gives. */
static enum wan_status read_image(struct wan_session *s, struct wn_err *err)
{
    struct wan_gen_params *p = &s->p;
    if (!p->image) return WAN_OK;
    int64_t area = (int64_t)p->width * p->height;
    if (wn_input_image_read(&s->image, p->image, s->model->checkpoint.task, area, err)) return err->code;
    if (s->image.size.w != p->width || s->image.size.h != p->height)
        wn_logf(&s->model->ctx->log, WN_LOG_NOTICE, "size %dx%d: the area of %dx%d in the aspect of %s",
                s->image.size.w, s->image.size.h, p->width, p->height, wn_path_base(p->image));
    p->width = s->image.size.w;
    p->height = s->image.size.h;
    return WAN_OK;
}

/* The job's parameters as far as they come from the session's. */
static enum wan_status job_params(struct wan_session *s, struct wn_job_params *jp, struct wn_err *err)
{
    const struct wan_gen_params *p = &s->p;
    *jp = (struct wn_job_params){.prompt = p->prompt,
                                 .negative = p->negative,
                                 .width = p->width,
                                 .height = p->height,
                                 .frames = p->frames,
                                 .n_steps = p->steps,
                                 .shift = p->shift,
                                 .guidance_low = p->guidance_low,
                                 .guidance_high = p->guidance_high,
                                 .boundary = s->model->defaults.boundary,
                                 .image = s->image.pixels,
                                 .known = &s->model->texts,
                                 .text_cache = p->cache_dir,
                                 .maker = s->model->ctx->maker};
    wn_solver_find(p->solver, &jp->solver); /* names were checked when the parameters were resolved */
    if (!wn_precision_parse(p->precision, 0, "--precision", &jp->dit, err) &&
        !wn_precision_parse(p->t5_precision, 0, "--t5-precision", &jp->t5, err))
        wn_precision_parse(p->vae_precision, 0, "--vae-precision", &jp->vae, err);
    return err->code;
}

static enum wan_status make_job(struct wan_session *s, struct wn_err *err)
{
    struct wn_parts *parts = &s->model->parts;
    struct wn_job_params jp;
    struct wn_contexts contexts = {0};
    enum wn_part dit = wn_checkpoint_dit(parts->checkpoint);
    int64_t dim[4];
    float *noise = NULL;
    if (dit == WN_PART_COUNT) dit = WN_PART_DIT; /* whose lack is then told */
    if (read_image(s, err) || job_params(s, &jp, err) || wn_parts_dit(parts, dit, err)) return err->code;
    wn_latent_dims(parts, dit, s->p.width, s->p.height, s->p.frames, dim);
    jp.noise = noise = (s->p.noise_file ? read_noise : draw_noise)(s, dim, err);
    if (noise) wn_digest_add(&s->noise, noise, sizeof *noise * (size_t)(dim[0] * dim[1] * dim[2] * dim[3]));
    if (noise && s->p.context_file) {
        read_contexts(s, &contexts, wn_dit_config(parts->dit[dit])->text_dim, err);
        jp.contexts = &contexts;
    }
    if (!err->code && !wn_job_new(&s->job, parts, &jp, &s->model->ctx->log, err)) wn_state_resume(s, err);
    wn_contexts_release(&contexts);
    wn_free(noise);
    return err->code;
}

/* ---- from latents ---- */

static enum wan_status check_latents(const struct wan_session *s, const struct wan_array *a, const float *x,
                                     struct wn_err *err)
{
    const struct wn_parts *parts = &s->model->parts;
    const char *file = s->p.from_latents_file;
    int64_t z = wn_vae_z(parts->vae), stride = wn_vae_stride(parts->vae);
    const int64_t *d = a->dims;
    if (d[0] != z)
        return wn_fail(err, WAN_EINVAL, "%s: 'latent' has %" PRId64 " channels, the VAE (%s) takes %" PRId64,
                       file, d[0], wn_weights_path(parts->weights[WN_PART_VAE]), z);
    if (d[1] < 1 || d[1] > MAX_LATENT_FRAMES || d[2] < 1 || d[2] > MAX_SIDE / stride || d[3] < 1 ||
        d[3] > MAX_SIDE / stride)
        return wn_fail(err, WAN_EINVAL,
                       "%s: 'latent' is [%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64
                       "]: no video that can be made (C, F, h, w: 1 to %d frames, sides of 1 to %" PRId64 ")",
                       file, d[0], d[1], d[2], d[3], MAX_LATENT_FRAMES, MAX_SIDE / stride);
    for (int64_t i = 0, n = wn_array_elems(a); i < n; i++)
        if (!isfinite(x[i]))
            return wn_fail(err, WAN_ENUMERIC,
                           "%s: 'latent' holds a value that is not a finite number, element %" PRId64, file,
                           i);
    return WAN_OK;
}

/* Size and frames are the tensor's; what was asked for must agree. */
static enum wan_status take_size(struct wan_session *s, const int64_t d[4], struct wn_err *err)
{
    struct wan_gen_params *p = &s->p;
    int stride = wn_vae_stride(s->model->parts.vae), w = (int)d[3] * stride, h = (int)d[2] * stride,
        frames = (int)(d[1] - 1) * WN_VAE_STRIDE_T + 1;
    if ((p->width != WAN_UNSET && p->width != w) || (p->height != WAN_UNSET && p->height != h))
        return wn_fail(err, WAN_EINVAL, "--size %dx%d: the latents in %s are those of %dx%d", p->width,
                       p->height, p->from_latents_file, w, h);
    if (p->frames != WAN_UNSET && p->frames != frames)
        return wn_fail(err, WAN_EINVAL, "--frames %d: the latents in %s are those of %d frames", p->frames,
                       p->from_latents_file, frames);
    p->width = w;
    p->height = h;
    p->frames = frames;
    p->steps = 0;
    return WAN_OK;
}

/* What wan_session_save_latents wrote beside the tensor, where it did. */
static enum wan_status take_remarks(struct wan_session *s, const struct wn_weights *w, struct wn_err *err)
{
    struct wan_gen_params *p = &s->p;
    const char *fps = wn_weights_metadata(w, "fps"), *comment = wn_weights_metadata(w, "comment"),
               *prompt = wn_weights_metadata(w, "description");
    if (p->fps == WAN_UNSET_F) {
        char *end = NULL;
        double v = fps ? strtod(fps, &end) : s->model->defaults.fps;
        if (fps && (end == fps || *end || !(v >= 1 && v <= 240)))
            return wn_fail(err, WAN_EFORMAT, "%s: metadata 'fps' is '%s', expected a number from 1 to 240",
                           p->from_latents_file, fps);
        p->fps = v;
    }
    if (!p->prompt && prompt && !(p->prompt = wn_strdup(prompt)))
        return wn_fail_nomem(err, "metadata", strlen(prompt));
    if (comment && !(s->origin = wn_strdup(comment))) return wn_fail_nomem(err, "metadata", strlen(comment));
    return WAN_OK;
}

static enum wan_status make_decoder(struct wan_session *s, struct wn_err *err)
{
    struct wn_parts *parts = &s->model->parts;
    struct wan_tensors t = {0};
    struct wan_array a;
    enum wn_precision precision;
    float *x = NULL;
    if (wn_weights_open(&t.file, s->p.from_latents_file, err)) return err->code;
    if (wn_tensors_f32(&t, "latent", 4, &x, &a, err)) {
        if (err->code == WAN_EINVAL) wn_err_prefix(err, "%s", s->p.from_latents_file);
    } else if (!wn_parts_vae(parts, err) && !check_latents(s, &a, x, err) && !take_size(s, a.dims, err) &&
               !take_remarks(s, t.file, err) &&
               !wn_precision_parse(s->p.vae_precision, 0, "--vae-precision", &precision, err)) {
        wn_job_new_decoder(&s->job, parts, x, a.dims, precision, &s->model->ctx->log, err);
        x = NULL;
    }
    wn_free(x);
    wn_weights_close(t.file);
    return err->code;
}

enum wan_status wn_session_new(struct wan_session **out, struct wan_model *model,
                               const struct wan_gen_params *params, struct wn_job_strips strips)
{
    struct wan_gen_params p;
    *out = NULL;
    if (wan_gen_resolve(model, params, &p)) return model->ctx->err.code;
    struct wn_err *err = &model->ctx->err;
    bool decoder = p.from_latents_file != NULL;
    if (!decoder && (check_model(model, &p, err) || check_params(&p, err))) return err->code;
    struct wan_session *s = wn_zalloc(sizeof *s);
    if (!s) return wn_fail_nomem(err, "a session", sizeof *s);
    s->model = model;
    s->p = p;
    s->strips = strips;
    s->start = s->stage_start = wn_now();
    if (own_strings(&s->p, err) || (decoder ? make_decoder : make_job)(s, err)) {
        wan_session_free(s);
        return err->code;
    }
    wn_job_set_strips(s->job, strips);
    *out = s;
    return WAN_OK;
}

enum wan_status wan_session_new(struct wan_session **out, struct wan_model *model,
                                const struct wan_gen_params *params)
{
    struct wn_err *err = wn_enter(model->ctx);
    struct wn_job_strips strips;
    *out = NULL;
    if (wn_plan_strips(model, params, &strips, err) || wn_session_new(out, model, params, strips))
        return err->code;
    if (strips.image > 1)
        wn_logf(&model->ctx->log, WN_LOG_NOTICE,
                "the image is encoded in %d strips, to stay within --max-memory", strips.image);
    if (strips.video > 1)
        wn_logf(&model->ctx->log, WN_LOG_NOTICE,
                "the video is decoded in %d strips, to stay within --max-memory", strips.video);
    return WAN_OK;
}

const struct wan_gen_params *wan_session_params(const struct wan_session *s)
{
    return &s->p;
}

/* ---- steps ---- */

void wan_session_on_progress(struct wan_session *s, void (*fn)(void *user, const struct wan_progress *p),
                             void *user)
{
    s->progress = fn;
    s->progress_user = user;
}

static void report(struct wan_session *s, const char *stage, int step, int n_steps)
{
    if (!s->progress) return;
    double t = wn_now(), spent = t - s->stage_start;
    int first = s->stage_first;
    struct wan_progress p = {.stage = stage,
                             .step = step,
                             .n_steps = n_steps,
                             .seconds = t - s->start,
                             .seconds_left = step > first ? spent / (step - first) * (n_steps - step) : -1,
                             .memory = wn_device_memory(s->model->ctx->dev).used};
    s->progress(s->progress_user, &p);
}

static void begin_stage(struct wan_session *s, const char *stage, int first, int n_steps)
{
    s->stage_start = wn_now();
    s->stage_first = first;
    wn_profile_stage(s->profile, stage);
    report(s, stage, first, n_steps);
}

enum wan_status wan_session_encode_text(struct wan_session *s)
{
    struct wn_err *err = wn_enter(s->model->ctx);
    if (s->p.from_latents_file) return WAN_OK;
    begin_stage(s, "text", 0, 1);
    if (!wn_job_encode_text(s->job, err)) report(s, "text", 1, 1);
    return err->code;
}

enum wan_status wan_session_encode_image(struct wan_session *s)
{
    struct wn_err *err = wn_enter(s->model->ctx);
    if (!s->image.pixels) return WAN_OK;
    begin_stage(s, "image", 0, 1);
    if (!wn_job_encode_image(s->job, err)) report(s, "image", 1, 1);
    return err->code;
}

int wan_session_n_steps(const struct wan_session *s)
{
    return wn_job_n_steps(s->job);
}

int wan_session_steps_done(const struct wan_session *s)
{
    return wn_job_steps_done(s->job);
}

enum wan_status wan_session_step(struct wan_session *s)
{
    struct wn_err *err = wn_enter(s->model->ctx);
    int n = wn_job_n_steps(s->job), i = wn_job_steps_done(s->job);
    if (!s->denoising && i < n) {
        if (wan_session_encode_text(s) || wan_session_encode_image(s)) return err->code;
        s->denoising = true;
        begin_stage(s, "denoise", i, n);
    }
    if (!wn_job_step(s->job, err)) {
        wn_state_save(s);
        wn_preview_step(s);
        report(s, "denoise", i + 1, n);
    }
    return err->code;
}

const float *wan_session_latents(const struct wan_session *s, int64_t dims[4])
{
    return wn_job_latents(s->job, dims);
}

/* ---- what files say of themselves ---- */

enum wan_status wan_session_save_latents(struct wan_session *s, const char *path)
{
    struct wn_err *err = wn_enter(s->model->ctx);
    int64_t dim[4];
    const float *x = wn_job_latents(s->job, dim);
    struct wn_weight w = {.name = "latent", .type = WN_F32, .n_dims = 4, .data = x};
    memcpy(w.dim, dim, sizeof dim);
    w.bytes = (size_t)(dim[0] * dim[1] * dim[2] * dim[3]) * sizeof *x;
    char fps[32], *params = wn_session_describe(s, err),
                  *prompt = params ? wn_strdup(s->p.prompt ? s->p.prompt : "") : NULL;
    snprintf(fps, sizeof fps, "%.17g", s->p.fps);
    if (params && prompt) {
        wn_utf8_repair(prompt);
        const char *const metadata[] = {"comment", params, "fps", fps, *prompt ? "description" : NULL,
                                        prompt,    NULL};
        wn_safetensors_write(path, &w, 1, metadata, err);
    } else
        wn_fail_nomem(err, "metadata", 512); /* where nothing else failed */
    wn_free(params);
    wn_free(prompt);
    return err->code;
}

/* ---- profile ---- */

enum wan_status wan_session_profile(struct wan_session *s)
{
    struct wn_err *err = wn_enter(s->model->ctx);
    if (!s->profile && !(s->profile = wn_profile_new())) return wn_fail_nomem(err, "a profile", 0);
    wn_job_on_op(s->job, wn_profile_op, s->profile);
    return WAN_OK;
}

static enum wan_status need_profile(const struct wan_session *s, struct wn_err *err)
{
    if (s->profile) return WAN_OK;
    return wn_fail(err, WAN_EINVAL, "this session was not measured: call wan_session_profile first");
}

enum wan_status wan_session_profile_table(struct wan_session *s, char **text)
{
    struct wn_device *dev = s->model->ctx->dev;
    struct wn_err *err = wn_enter(s->model->ctx);
    struct wn_str t = {0};
    struct wn_peak peak = {0};
    *text = NULL;
    if (need_profile(s, err)) return err->code;
    wn_profile_stage(s->profile, NULL);
    if (dev->table->peak && dev->table->peak(dev, &peak, err)) return err->code;
    if (wn_profile_table(s->profile, &peak, &t)) {
        wn_str_release(&t);
        return wn_fail_nomem(err, "a profile", 0);
    }
    *text = t.data;
    return WAN_OK;
}

enum wan_status wan_session_profile_trace(struct wan_session *s, const char *path)
{
    struct wn_err *err = wn_enter(s->model->ctx);
    struct wn_new_file nf = {0};
    struct wn_str t = {0};
    if (need_profile(s, err)) return err->code;
    if (wn_profile_trace(s->profile, &t)) {
        wn_fail_nomem(err, "a profile", 0);
    } else if (!wn_new_file_open(&nf, path, err)) {
        fwrite(t.data, 1, t.n, nf.f); /* commit looks whether all was written */
        wn_new_file_commit(&nf, err);
    }
    wn_new_file_abort(&nf);
    wn_str_release(&t);
    return err->code;
}

/* ---- output ---- */

/* Where frames go, and what they become on the way. */
struct sink {
    struct wan_session *s;
    uint8_t *rgb;      /* one frame, or with strips all of them, which are not whole before the last strip */
    bool still;        /* a single image: values are rounded, not truncated */
    int n_done, n_all; /* latent frames, of each strip */
    struct wn_output *output; /* or NULL, and then this: */
    int (*fn)(void *user, int index, const uint8_t *rgb);
    void *user;
};

static enum wan_status whole_frame(struct sink *k, int index, const uint8_t *rgb, struct wn_err *err)
{
    if (k->output) return wn_output_frame(k->output, rgb, err);
    return k->fn(k->user, index, rgb) ? wn_fail(err, WAN_ECANCELED, "stopped by the frame callback") : WAN_OK;
}

static enum wan_status on_rows(void *ctx, int index, int64_t first, int64_t n, const float *data,
                               struct wn_err *err)
{
    struct sink *k = ctx;
    const struct wan_gen_params *p = &k->s->p;
    size_t row = (size_t)p->width * 3;
    uint8_t *rgb = k->rgb + (k->s->strips.video > 1 ? (size_t)index * (size_t)p->height * row : 0);
    (k->still ? wn_pixels_round : wn_pixels_truncate)(wn_frame_packed(data, (int)n, p->width, 0),
                                                      rgb + (size_t)first * row);
    if (first + n == p->height && whole_frame(k, index, rgb, err)) return err->code;
    if (index % WN_VAE_STRIDE_T == 0) {
        k->n_done++;
        report(k->s, "decode", k->n_done, k->n_all);
    }
    return WAN_OK;
}

size_t wn_session_frame_bytes(const struct wan_session *s)
{
    size_t frame = (size_t)s->p.width * (size_t)s->p.height * 3;
    return s->strips.video > 1 ? frame * (size_t)s->p.frames : frame;
}

static enum wan_status run_sink(struct sink *k, struct wn_err *err)
{
    struct wan_session *s = k->s;
    int64_t dim[4];
    wn_job_latents(s->job, dim);
    wn_preview_end(s); /* its memory is of use here */
    k->n_all = (int)dim[1] * s->strips.video;
    size_t bytes = wn_session_frame_bytes(s);
    k->rgb = wn_alloc(bytes);
    if (!k->rgb) return wn_fail_nomem(err, "decoded frames", bytes);
    begin_stage(s, "decode", 0, k->n_all);
    wn_job_decode(s->job, on_rows, k, err);
    wn_free(k->rgb);
    k->rgb = NULL;
    return err->code;
}

enum wan_status wan_session_decode(struct wan_session *s,
                                   int (*frame)(void *user, int index, const uint8_t *rgb), void *user)
{
    struct sink k = {.s = s, .fn = frame, .user = user, .still = s->p.frames == 1};
    return run_sink(&k, wn_enter(s->model->ctx));
}

enum wan_status wan_output_check(struct wan_context *ctx, const char *path, int frames)
{
    return wn_output_check(path, frames == WAN_UNSET ? 0 : frames, wn_enter(ctx));
}

int wan_output_exists(const char *path, int frames)
{
    return wn_output_exists(path, frames);
}

enum wan_status wan_session_write(struct wan_session *s, const char *path)
{
    struct wn_err *err = wn_enter(s->model->ctx);
    const struct wan_gen_params *p = &s->p;
    char *params = wn_session_describe(s, err);
    if (!params) return err->code;
    const struct wn_media_text text[] = {{"comment", params}, {"description", p->prompt}};
    struct sink k = {.s = s, .still = p->frames == 1};
    const struct wn_output_params op = {.path = path,
                                        .width = p->width,
                                        .height = p->height,
                                        .n_frames = p->frames,
                                        .fps = p->fps,
                                        .crf = p->crf,
                                        .text = text,
                                        .n_text = p->prompt ? 2 : 1};
    if (!wn_output_open(&k.output, &op, err)) {
        if (run_sink(&k, err))
            wn_output_abort(k.output);
        else
            wn_output_commit(k.output, err);
    }
    wn_free(params);
    return err->code;
}

enum wan_status wan_generate(struct wan_model *model, const struct wan_gen_params *params, const char *path)
{
    struct wan_session *s;
    if (wan_session_new(&s, model, params)) return model->ctx->err.code;
    enum wan_status st = path ? wan_output_check(model->ctx, path, s->p.frames) : WAN_OK;
    while (!st && wan_session_steps_done(s) < wan_session_n_steps(s)) st = wan_session_step(s);
    if (!st && s->p.latents_file) st = wan_session_save_latents(s, s->p.latents_file);
    if (!st && path) st = wan_session_write(s, path);
    wan_session_free(s);
    return st;
}
