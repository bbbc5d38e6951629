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
    double flops; /* of the stage in progress */
    size_t other; /* memory of the process that the library does not count */
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
    wn_mem_reset_peak();
}

/* The stage that ended reached this; `extra`: of libraries, while it lasts. */
static void end(struct walk *w, double *flops, size_t extra)
{
    size_t bytes = wn_mem_peak() + w->other + extra;
    *flops += w->flops;
    if (bytes > w->plan->memory_bytes) w->plan->memory_bytes = bytes;
}

static enum wan_status walk_steps(struct walk *w, struct wn_job *job)
{
    struct wan_plan *p = w->plan;
    int n = wn_job_n_steps(job);
    for (int i = 0, first; (first = wn_job_phase(job, i)) < n; i++) {
        double flops = 0;
        begin(w);
        if (wn_job_seek(job, first, w->err) || wn_job_step(job, w->err)) return w->err->code;
        end(w, &flops, 0);
        p->step_flops += flops * (wn_job_phase(job, i + 1) - first) / n;
    }
    return WAN_OK;
}

static enum wan_status drop_rows(void *ctx, int index, int64_t first, int64_t n, const float *rgb,
                                struct wn_err *err)
{
    (void)ctx, (void)index, (void)first, (void)n, (void)rgb, (void)err;
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

static enum wan_status walk_job(struct walk *w, struct wan_session *s)
{
    struct wan_plan *p = w->plan;
    wn_job_on_op(s->job, count_flops, w);
    begin(w);
    if (wn_job_encode_text(s->job, w->err)) return w->err->code;
    end(w, &p->text_flops, 0);
    begin(w);
    if (wn_job_encode_image(s->job, w->err)) return w->err->code;
    end(w, &p->image_flops, 0);
    if (walk_steps(w, s->job)) return w->err->code;
    begin(w);
    if (wn_job_decode(s->job, drop_rows, NULL, w->err)) return w->err->code;
    end(w, &p->decode_flops, encoder_bytes(&s->p));
    return WAN_OK;
}

/* Memory of this process that is neither counted by the library nor a file's: libraries, stacks, its own
 * data. 0: the system does not tell. */
static size_t other_memory(void)
{
    char line[128];
    unsigned long long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "RssAnon: %llu kB", &kib) == 1) break;
    if (f) fclose(f);
    size_t all = (size_t)kib * 1024, counted = wn_mem_used();
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

/* A session of the same model on a device that does not compute. */
static enum wan_status walk_dry(struct wan_model *m, const struct wan_gen_params *params,
                                struct wan_plan *plan, struct precisions *of, struct wn_err *err)
{
    const struct wn_device *real = m->ctx->dev;
    struct wn_device_params dp = {.name = real->table->name,
                                  .isa = real->isa,
                                  .n_threads = real->pool ? wn_pool_n_threads(real->pool) : 1,
                                  .dry = true};
    struct wn_device *dry;
    struct wan_session *s;
    struct walk w = {.plan = plan, .err = err, .other = other_memory()};
    if (wn_device_open(&dry, &dp, err)) return err->code;
    struct wan_model twin = {.ctx = m->ctx, .checkpoint = m->checkpoint, .defaults = m->defaults};
    wn_parts_init(&twin.parts, &twin.checkpoint, dry);
    struct wan_gen_params p = *params;
    if (p.seed == WAN_UNSET_I64) p.seed = 0; /* any noise takes the same */
    if (!wan_session_new(&s, &twin, &p)) {
        walk_job(&w, s);
        fill_sizes(plan, s);
        wn_precision_parse(s->p.precision, 0, "--precision", &of->dit, err);
        wn_precision_parse(s->p.t5_precision, 0, "--t5-precision", &of->t5, err);
        wn_precision_parse(s->p.vae_precision, 0, "--vae-precision", &of->vae, err);
        wan_session_free(s);
    }
    wn_parts_release(&twin.parts);
    wn_device_close(dry);
    return err->code;
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
    if (walk_dry(m, params, plan, &of, err)) return err->code;
    return estimate_time(m->ctx, of, plan, err);
}
