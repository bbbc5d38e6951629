#include "lib/model.h"

#include <string.h>

#include "base/mem.h"
#include "sample/solver.h"

void wan_model_free(struct wan_model *m)
{
    if (!m) return;
    wn_texts_release(&m->texts);
    wn_parts_release(&m->parts);
    wn_checkpoint_release(&m->checkpoint);
    wn_free(m);
}

/* What a model of no official size says of itself. Official defaults are known without opening anything. */
static enum wan_status load_defaults(struct wan_model *m, struct wn_err *err)
{
    if (m->has_defaults) return WAN_OK;
    enum wn_part dit = wn_checkpoint_dit(&m->checkpoint);
    if (dit != WN_PART_COUNT && (wn_parts_weights(&m->parts, dit, err) ||
                                 wn_defaults_from_metadata(&m->defaults, m->parts.weights[dit], err)))
        return err->code;
    m->has_defaults = true;
    return WAN_OK;
}

enum wan_status wan_model_open_parts(struct wan_model **out, struct wan_context *ctx,
                                     const struct wan_model_params *p)
{
    struct wn_err *err = wn_enter(ctx);
    *out = NULL;
    if (p->size != sizeof *p)
        return wn_fail(err, WAN_EINVAL, "model params are not of this version of the library");
    const struct wn_checkpoint_files files = {.path = p->path,
                                              .part = {[WN_PART_DIT_HIGH] = p->high,
                                                       [WN_PART_DIT_LOW] = p->low,
                                                       [WN_PART_T5] = p->t5,
                                                       [WN_PART_VAE] = p->vae,
                                                       [WN_PART_TOKENIZER] = p->tokenizer},
                                              .model_type = p->model_type};
    struct wan_model *m = wn_zalloc(sizeof *m);
    if (!m) return wn_fail_nomem(err, "a model", sizeof *m);
    m->ctx = ctx;
    if (!wn_checkpoint_open_files(&m->checkpoint, &files, err)) {
        wn_parts_init(&m->parts, &m->checkpoint, ctx->dev);
        wn_defaults_for(&m->defaults, &m->checkpoint);
        *out = m;
    } else
        wan_model_free(m);
    return err->code;
}

enum wan_status wan_model_open(struct wan_model **out, struct wan_context *ctx, const char *path)
{
    return wan_model_open_parts(out, ctx, wan_model_params(.path = path));
}

const char *wan_model_name(const struct wan_model *m)
{
    return m->checkpoint.name;
}

static int or_int(int value, int otherwise)
{
    return value == WAN_UNSET ? otherwise : value;
}

static double or_double(double value, double otherwise)
{
    return value == WAN_UNSET_F ? otherwise : value;
}

/* `value` moved to the nearest multiple of `unit` (at least one) plus `rest`. */
static int move_to(int value, int unit, int rest)
{
    int n = (value - rest + unit / 2) / unit;
    return (n < 1 - (rest > 0) ? 1 - (rest > 0) : n) * unit + rest;
}

/* With an image the size is an area, which the session turns into a size when it has read the image. */
static enum wan_status fit_size(struct wan_model *m, struct wan_gen_params *p, struct wn_err *err)
{
    int unit = p->image ? 1 : m->defaults.size_multiple;
    int w = move_to(p->width, unit, 0), h = move_to(p->height, unit, 0), f = move_to(p->frames, 4, 1);
    if (p->strict && (w != p->width || h != p->height))
        return wn_fail(err, WAN_EINVAL,
                       "--size %dx%d: width and height must be multiples of %d; the nearest is %dx%d",
                       p->width, p->height, unit, w, h);
    if (p->strict && f != p->frames)
        return wn_fail(err, WAN_EINVAL, "--frames %d: must be 1 + 4 n; the nearest is %d", p->frames, f);
    if (w != p->width || h != p->height)
        wn_logf(&m->ctx->log, WN_LOG_NOTICE, "size %dx%d moved to %dx%d: multiples of %d", p->width,
                p->height, w, h, unit);
    if (f != p->frames) wn_logf(&m->ctx->log, WN_LOG_NOTICE, "%d frames moved to %d: 1 + 4 n", p->frames, f);
    p->width = w;
    p->height = h;
    p->frames = f;
    return WAN_OK;
}

static void resolve_precisions(struct wan_gen_params *p)
{
    if (!p->precision) p->precision = "bf16";
    const char *rest = strcmp(p->precision, "f32") ? "f32x" : "f32";
    if (!p->t5_precision) p->t5_precision = rest;
    if (!p->vae_precision) p->vae_precision = rest;
}

static void resolve_output(struct wan_gen_params *p)
{
    p->strict = or_int(p->strict, 0);
    p->crf = or_int(p->crf, 10);
}

/* Options whose value is one of a few names. */
static enum wan_status check_names(const struct wan_gen_params *p, struct wn_err *err)
{
    enum wn_solver_kind solver;
    enum wn_precision precision;
    if (p->solver && !wn_solver_find(p->solver, &solver))
        return wn_fail(err, WAN_EINVAL, "--solver '%s': must be unipc, dpm++ or euler", p->solver);
    if (!wn_precision_parse(p->precision, 0, "--precision", &precision, err) &&
        !wn_precision_parse(p->t5_precision, 0, "--t5-precision", &precision, err))
        wn_precision_parse(p->vae_precision, 0, "--vae-precision", &precision, err);
    return err->code;
}

/* Size, frames and rate come from the file, which the session reads; the rest has no part in it. */
static enum wan_status resolve_decode(struct wan_gen_params *p, struct wn_err *err)
{
    if (wn_gen_check_decode(p, err)) return err->code;
    if (!p->vae_precision) p->vae_precision = p->precision && !strcmp(p->precision, "f32") ? "f32" : "f32x";
    resolve_output(p);
    return check_names(p, err);
}

enum wan_status wan_gen_resolve(struct wan_model *m, const struct wan_gen_params *in,
                                struct wan_gen_params *out)
{
    struct wn_err *err = wn_enter(m->ctx);
    const struct wn_defaults *d = &m->defaults;
    if (in->size != sizeof *in)
        return wn_fail(err, WAN_EINVAL, "generation params are not of this version of the library");
    if (wn_gen_check(in, err)) return err->code;
    *out = *in;
    if (in->from_latents_file) return resolve_decode(out, err);
    if (load_defaults(m, err)) return err->code;
    if (!out->negative || !*out->negative) out->negative = d->negative;
    out->width = or_int(in->width, d->width);
    out->height = or_int(in->height, d->height);
    out->frames = or_int(in->frames, d->frames);
    out->fps = or_double(in->fps, d->fps);
    out->steps = or_int(in->steps, d->steps);
    out->shift = or_double(in->shift, d->shift);
    out->guidance_low = or_double(in->guidance_low, d->guidance_low);
    out->guidance_high =
        or_double(in->guidance_high, in->guidance_low == WAN_UNSET_F ? d->guidance_high : in->guidance_low);
    if (!in->solver) out->solver = "unipc";
    if (!in->rng) out->rng = "torch-cpu";
    resolve_precisions(out);
    if (check_names(out, err)) return err->code;
    resolve_output(out);
    return fit_size(m, out, err);
}
