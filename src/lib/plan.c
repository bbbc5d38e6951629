/* wan_plan: what a run will take, found by going through it on a device that allocates and does not compute.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/thread.h"
#include "lib/session.h"
#include "ops/ops.h"

/* ---- rates ---- */

static struct wn_tensor random_tensor(struct wn_exec *ex, enum wn_dtype type, struct wn_tensor shape)
{
    struct wn_tensor none = {0};
    float *x = wn_alloc(wn_n_bytes(shape));
    if (!x) {
        wn_fail_nomem(&ex->err, "a measurement", wn_n_bytes(shape));
        return none;
    }
    struct wn_rng r = {1};
    for (int64_t i = 0; i < wn_n_elems(shape); i++) x[i] = (float)(wn_rng_u64(&r) >> 40) * 0x1p-24f - 0.5f;
    struct wn_tensor t = wn_upload(ex, shape, x);
    wn_free(x);
    return type == WN_F32 ? t : wn_unary(ex, .x = t, .out_type = type);
}

/* FLOP/s of a product of the shape that fills most of a transformer's time, or of a convolution of the VAE's.
 */
static double measure(struct wan_context *ctx, enum wn_precision precision, bool conv, struct wn_err *err)
{
    enum { ROWS = 384, WIDTH = 1536, HIDDEN = 1536, SIDE = 48, CHANNELS = 96 };
    struct wn_exec ex = {.dev = ctx->dev, .precision = precision, .log = &ctx->log};
    struct wn_scope scope;
    double flops = conv ? 2.0 * SIDE * SIDE * CHANNELS * CHANNELS * 27 : 2.0 * ROWS * WIDTH * HIDDEN,
           best = 0;
    wn_scope_begin(&ex, &scope);
    struct wn_tensor x = random_tensor(
        &ex, WN_F32, conv ? wn_shape_of(WN_F32, 3, SIDE, SIDE, CHANNELS) : wn_shape_of(WN_F32, ROWS, WIDTH));
    struct wn_tensor w = random_tensor(&ex, conv ? WN_F32 : WN_BF16,
                                       conv ? wn_shape_of(WN_F32, CHANNELS, CHANNELS, 3, 3, 3)
                                            : wn_shape_of(WN_F32, HIDDEN, WIDTH));
    for (int i = 0; i < 4 && wn_ok(&ex); i++) { /* the first warms up */
        double start = wn_now();
        struct wn_tensor y = conv ? wn_conv(&ex, .x = x, .w = w, .pad_h = {1, 1}, .pad_w = {1, 1})
                                  : wn_linear(&ex, .x = x, .w = w);
        if (wn_ok(&ex)) ex.dev->table->sync(ex.dev, &ex.err);
        double rate = flops / (wn_now() - start);
        if (i > 0 && rate > best) best = rate;
        wn_drop(&ex, y);
    }
    wn_scope_end(&ex, &scope);
    ctx->dev->table->trim(ctx->dev);
    if (!wn_ok(&ex)) wn_fail(err, ex.err.code, "%s", ex.err.text);
    return best;
}

/* ---- the run ---- */

struct walk {
    struct wan_plan *plan;
    struct wn_err *err;
    struct wan_session *s;
    double flops; /* of the stage in progress */
    size_t other; /* memory of the process that the library does not count */
    size_t limit; /* choose strips for this; SIZE_MAX: none */
    bool brief;   /* only memory is asked for */
};

static void count_flops(void *ctx, int op, const void *args, struct wn_tensor out, double seconds)
{
    struct walk *w = ctx;
    (void)out, (void)seconds;
    w->flops += wn_op_flops((enum wn_op)op, args);
}

static void begin(struct walk *w)
{
    w->flops = 0;
    wn_device_reset_peak(w->s->model->parts.dev);
}

/* What the process holds at most since `begin`, `extra` of libraries included. A device that can do with
 * less, and waits rather than exceed the limit, comes to the limit. */
static size_t held(const struct walk *w, size_t extra)
{
    struct wn_memory m = wn_device_memory(w->s->model->parts.dev);
    size_t all = m.peak + w->other + extra, least = m.least + w->other + extra;
    return all <= w->limit ? all : least > w->limit ? least : w->limit;
}

static void reach(struct wan_plan *p, size_t bytes)
{
    if (bytes > p->memory_bytes) p->memory_bytes = bytes;
}

static enum wan_status walk_steps(struct walk *w)
{
    struct wan_plan *p = w->plan;
    struct wn_job *job = w->s->job;
    int n = wn_job_n_steps(job);
    for (int i = 0, first; (first = wn_job_phase(job, i)) < n; i++) {
        begin(w);
        if (wn_job_seek(job, first, w->err) || wn_job_step(job, w->err)) return w->err->code;
        reach(p, held(w, 0));
        p->step_flops += w->flops * (wn_job_phase(job, i + 1) - first) / n;
    }
    return WAN_OK;
}

/* What the encoder of a video file takes: frames that wait and references, at most those of its look-ahead.
 * Measured with libx264 at its preset medium, 1 to 81 frames of 64x64 to 1280x720: within 20 % from 256x256
 * upwards. */
static size_t encoder_bytes(const struct wan_gen_params *p)
{
    double per_pixel = p->frames <= 40 ? 12 + 3.6 * p->frames : 250;
    return ((size_t)2 << 20) + (size_t)(per_pixel * p->width * p->height);
}

static void set_strips(struct walk *w, struct wn_job_strips strips)
{
    w->s->strips = strips;
    wn_job_set_strips(w->s->job, strips);
}

/* More strips than n, as few as make them lower; 0: they are of one row. */
static int more_strips(const struct walk *w, int n)
{
    int rows = (int)wn_job_max_strips(w->s->job), height = (rows + n - 1) / n;
    return height > 1 ? (rows + height - 2) / (height - 1) : 0;
}

/* The fewest strips in which a part is within the limit, or those in which it takes least. */
static enum wan_status choose(struct walk *w, int *n, enum wan_status (*walk_part)(struct walk *, size_t *))
{
    size_t least = SIZE_MAX, bytes = 0;
    int best = 1;
    for (*n = 1; *n && (least > w->limit || *n == 1); *n = more_strips(w, *n)) {
        set_strips(w, w->s->strips);
        if (walk_part(w, &bytes)) return w->err->code;
        if (bytes < least) least = bytes, best = *n;
    }
    *n = best;
    set_strips(w, w->s->strips);
    return WAN_OK;
}

static enum wan_status walk_text(struct walk *w, size_t *bytes)
{
    begin(w);
    wn_job_encode_text(w->s->job, w->err);
    *bytes = held(w, 0);
    return w->err->code;
}

static enum wan_status walk_image(struct walk *w, size_t *bytes)
{
    begin(w);
    wn_job_encode_image(w->s->job, w->err);
    *bytes = held(w, 0);
    return w->err->code;
}

/* Frames as the session holds them, and the encoder of the file. */
static enum wan_status walk_decode(struct walk *w, bool all, size_t *bytes)
{
    begin(w);
    size_t n = wn_session_frame_bytes(w->s);
    void *frames = wn_alloc(n);
    if (!frames) return wn_fail_nomem(w->err, "decoded frames", n);
    if (all)
        wn_job_decode(w->s->job, NULL, NULL, w->err);
    else
        wn_job_try_decode(w->s->job, w->err);
    wn_free(frames);
    *bytes = held(w, encoder_bytes(&w->s->p));
    return w->err->code;
}

static enum wan_status try_decode(struct walk *w, size_t *bytes)
{
    return walk_decode(w, false, bytes);
}

static enum wan_status walk_job(struct walk *w)
{
    struct wan_plan *p = w->plan;
    struct wn_job_strips *strips = &w->s->strips;
    size_t text = 0, image = 0, decode = 0;
    wn_job_on_op(w->s->job, count_flops, w);
    if (walk_text(w, &text)) return w->err->code;
    p->text_flops = w->flops;
    if (w->s->p.image && choose(w, &strips->image, walk_image)) return w->err->code;
    if (walk_image(w, &image)) return w->err->code;
    p->image_flops = w->flops;
    if (walk_steps(w) || choose(w, &strips->video, try_decode) || walk_decode(w, !w->brief, &decode))
        return w->err->code;
    p->decode_flops = w->flops;
    reach(p, text);
    reach(p, image);
    reach(p, decode);
    p->image_strips = strips->image;
    p->decode_strips = strips->video;
    return WAN_OK;
}

/* Memory of this process that is neither counted by the library nor a file's: libraries, stacks, its own
 * data. 0: the system does not tell. */
static size_t other_memory(struct wn_device *dev)
{
    struct wn_memory device = wn_device_memory(dev);
    if (device.limit) dev->table->trim(dev); /* idle memory of MLX is not its used */

    char line[128];
    unsigned long long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "RssAnon: %llu kB", &kib) == 1) break;
    if (f) fclose(f);
    size_t all = (size_t)kib * 1024, counted = device.used;
    return all > counted ? all - counted : 0;
}

static void fill_sizes(struct wan_plan *p, const struct wan_session *s)
{
    int64_t dim[4];
    wn_job_latents(s->job, dim);
    p->width = s->p.width;
    p->height = s->p.height;
    p->frames = s->p.frames;
    p->steps = s->p.steps;
    p->tokens = dim[1] * (dim[2] / 2) * (dim[3] / 2);
    const struct wn_parts *parts = &s->model->parts;
    for (int i = 0; i < WN_PART_COUNT; i++)
        if (parts->weights[i]) p->mapped_bytes += wn_weights_n_bytes(parts->weights[i]);
}

struct precisions {
    enum wn_precision dit, t5, vae;
};

/* What the run may hold: as asked for, or what a device can hold that tells; SIZE_MAX: there is no limit. */
static size_t limit_of(const struct wan_context *ctx)
{
    size_t limit = wn_device_memory(ctx->dev).limit;
    if (!limit) limit = ctx->params.max_memory;
    return limit ? limit : SIZE_MAX;
}

/* A session of the same model on a device that does not compute, gone through. Logs nothing. `of` NULL:
 * only its memory and sizes are wanted. */
static enum wan_status walk_dry(struct wan_model *m, const struct wan_gen_params *params,
                                struct wan_plan *plan, struct precisions *of, struct wn_err *err)
{
    struct wn_device *real = m->ctx->dev;
    struct wn_device_params dp = {.name = real->table->name,
                                  .isa = real->isa,
                                  .n_threads = real->pool ? wn_pool_n_threads(real->pool) : 1,
                                  .dry = true};
    struct wan_context quiet = {.dev = m->ctx->dev, .params = m->ctx->params};
    struct wn_device *dry;
    struct walk w = {
        .plan = plan, .err = err, .other = other_memory(real), .limit = limit_of(m->ctx), .brief = !of};
    *plan = (struct wan_plan){0};
    if (wn_device_open(&dry, &dp, err)) return err->code;
    struct wan_model twin = {.ctx = &quiet, .checkpoint = m->checkpoint, .defaults = m->defaults};
    wn_parts_init(&twin.parts, &twin.checkpoint, dry);
    struct wan_gen_params p = *params;
    if (p.seed == WAN_UNSET_I64 && !p.from_latents_file) p.seed = 0; /* any noise takes the same */
    p.cache_dir = NULL; /* nothing is encoded that could be kept */
    p.resume_file = NULL;
    if (wn_session_new(&w.s, &twin, &p, (struct wn_job_strips){1, 1})) {
        wn_fail(err, quiet.err.code, "%s", quiet.err.text);
    } else {
        walk_job(&w);
        fill_sizes(plan, w.s);
        if (of) {
            wn_precision_parse(w.s->p.precision, 0, "--precision", &of->dit, err);
            wn_precision_parse(w.s->p.t5_precision, 0, "--t5-precision", &of->t5, err);
            wn_precision_parse(w.s->p.vae_precision, 0, "--vae-precision", &of->vae, err);
        }
        wan_session_free(w.s);
    }
    wn_parts_release(&twin.parts);
    wn_device_close(dry);
    wn_device_reset_peak(real);
    return err->code;
}

/* ---- what fits ---- */

static bool fits(struct wan_model *m, const struct wan_gen_params *params, struct wan_plan *plan)
{
    struct wn_err err = {0};
    return !walk_dry(m, params, plan, NULL, &err) && plan->memory_bytes <= limit_of(m->ctx);
}

/* The largest video of this aspect and length within the limit, in sixteenths of each side; false: none. */
static bool smaller_size(struct wan_model *m, const struct wan_gen_params *params, struct wan_plan *found)
{
    int low = 0, high = 16; /* sixteenths that fit, and that do not */
    while (high - low > 1) {
        struct wan_gen_params p = *params;
        struct wan_plan plan;
        int k = (low + high) / 2;
        p.width = params->width * k / 16;
        p.height = params->height * k / 16;
        if (fits(m, &p, &plan))
            low = k, *found = plan;
        else
            high = k;
    }
    return low > 0;
}

/* The longest video of this size. */
static bool fewer_frames(struct wan_model *m, const struct wan_gen_params *params, struct wan_plan *found)
{
    int low = -1, high = (params->frames - 1) / WN_VAE_STRIDE_T; /* latent frames beside the first */
    while (high - low > 1) {
        struct wan_gen_params p = *params;
        struct wan_plan plan;
        int k = (low + high) / 2;
        p.frames = 1 + WN_VAE_STRIDE_T * k;
        if (fits(m, &p, &plan))
            low = k, *found = plan;
        else
            high = k;
    }
    return low >= 0;
}

/* "1.31 GiB": to tell a need from a limit near it. */
struct bytes_text {
    char s[32];
};

static struct bytes_text bytes_text(size_t bytes)
{
    struct bytes_text t;
    double mib = (double)bytes / (1 << 20);
    snprintf(t.s, sizeof t.s, mib < 1000 ? "%.1f MiB" : "%.2f GiB", mib < 1000 ? mib : mib / 1024);
    return t;
}

/* The sentence for a run that needs `plan`. */
static enum wan_status refuse(struct wan_model *m, const struct wan_gen_params *params,
                              const struct wan_plan *plan, struct wn_err *err)
{
    struct wan_gen_params p = *params;
    struct wan_plan size, frames;
    char advice[128];
    p.width = plan->width;
    p.height = plan->height;
    p.frames = plan->frames;
    p.strict = 0;
    bool has_size = smaller_size(m, &p, &size), has_frames = fewer_frames(m, &p, &frames);
    int n = 0;
    if (has_size) n = snprintf(advice, sizeof advice, "%dx%d", size.width, size.height);
    if (has_size && plan->frames > 1)
        n += snprintf(advice + n, sizeof advice - (size_t)n, " with %d frames", plan->frames);
    if (has_frames)
        snprintf(advice + n, sizeof advice - (size_t)n, "%s%dx%d with %d frame%s", has_size ? ", or " : "",
                 plan->width, plan->height, frames.frames, frames.frames == 1 ? "" : "s");
    char limit[80];
    if (m->ctx->params.max_memory)
        snprintf(limit, sizeof limit, "--max-memory %s", bytes_text(limit_of(m->ctx)).s);
    else
        snprintf(limit, sizeof limit, "device %s can hold %s", m->ctx->dev->table->name,
                 bytes_text(limit_of(m->ctx)).s);
    return wn_fail(err, WAN_ENOMEM, "%s: this run needs at least %s (%dx%d, %d frame%s); %s%s", limit,
                   bytes_text(plan->memory_bytes).s, plan->width, plan->height, plan->frames,
                   plan->frames == 1 ? "" : "s",
                   has_size || has_frames ? advice : "no size of video would fit",
                   has_size || has_frames ? " would fit" : "");
}

static enum wan_status plan_to_fit(struct wan_model *m, const struct wan_gen_params *params,
                                   struct wan_plan *plan, struct precisions *of, struct wn_err *err)
{
    if (walk_dry(m, params, plan, of, err) || plan->memory_bytes <= limit_of(m->ctx)) return err->code;
    return refuse(m, params, plan, err);
}

enum wan_status wn_plan_strips(struct wan_model *m, const struct wan_gen_params *params,
                               struct wn_job_strips *strips, struct wn_err *err)
{
    const char *device = m->ctx->dev->table->name;
    struct wan_plan plan;
    *strips = (struct wn_job_strips){1, 1};
    if (limit_of(m->ctx) == SIZE_MAX) return WAN_OK;
    if (strcmp(device, "cpu") && strcmp(device, "mlx"))
        return wn_fail(err, WAN_EUNSUPPORTED, "--max-memory: what a run on device '%s' takes is not known",
                       device);
    if (plan_to_fit(m, params, &plan, NULL, err)) return err->code;
    *strips = (struct wn_job_strips){plan.image_strips, plan.decode_strips};
    return WAN_OK;
}

static enum wan_status estimate_time(struct wan_context *ctx, struct precisions of, struct wan_plan *p,
                                     struct wn_err *err)
{
    double of_dit = measure(ctx, of.dit, false, err), of_t5 = measure(ctx, of.t5, false, err),
           of_vae = measure(ctx, of.vae, true, err);
    if (err->code) return err->code;
    p->text_seconds = p->text_flops / of_t5;
    p->image_seconds = p->image_flops / of_vae;
    p->step_seconds = p->step_flops / of_dit;
    p->decode_seconds = p->decode_flops / of_vae;
    p->seconds = p->text_seconds + p->image_seconds + p->step_seconds * p->steps + p->decode_seconds;
    return WAN_OK;
}

enum wan_status wan_plan(struct wan_model *m, const struct wan_gen_params *params, struct wan_plan *plan)
{
    struct wn_err *err = wn_enter(m->ctx);
    *plan = (struct wan_plan){0};
    struct precisions of = {0};
    struct wan_gen_params resolved; /* tells what is moved */
    if (wan_gen_resolve(m, params, &resolved) || plan_to_fit(m, params, plan, &of, err)) return err->code;
    return estimate_time(m->ctx, of, plan, err);
}
