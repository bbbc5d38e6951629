#include "pipe/t2v.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

struct wn_t2v {
    struct wn_parts *parts;
    struct wn_t2v_params p;
    const struct wn_log *log;
    int64_t dim[4]; /* z, F, h, w */
    int64_t n;      /* their product */
    int n_seq;      /* 2 with guidance, 1 where it is exactly 1: then the unconditional pass has no effect */
    float *x;       /* [n] latents */
    float *v[2];    /* [n] velocities: conditional, unconditional */
    struct wn_solver *solver;
    struct wn_dit_text *text;
    struct wn_dit_grid grid;
};

void wn_t2v_latent_dims(const struct wn_parts *parts, int width, int height, int frames, int64_t dim[4])
{
    int stride = wn_vae_stride_of(parts->checkpoint->vae_kind);
    dim[0] = wn_dit_config(parts->dit)->in_dim;
    dim[1] = (frames - 1) / WN_VAE_STRIDE_T + 1;
    dim[2] = height / stride;
    dim[3] = width / stride;
}

enum wan_status wn_t2v_new(struct wn_t2v **out, struct wn_parts *parts, const struct wn_t2v_params *params,
                           const struct wn_log *log, struct wn_err *err)
{
    *out = NULL;
    if (wn_parts_dit(parts, err)) return err->code;
    struct wn_t2v *j = wn_zalloc(sizeof *j);
    if (!j) return wn_fail_nomem(err, "a job", sizeof *j);
    *j = (struct wn_t2v){.parts = parts, .p = *params, .log = log, .n_seq = params->guidance == 1 ? 1 : 2};
    wn_t2v_latent_dims(parts, params->width, params->height, params->frames, j->dim);
    j->n = j->dim[0] * j->dim[1] * j->dim[2] * j->dim[3];
    size_t bytes = (size_t)j->n * sizeof(float);
    j->x = wn_alloc(bytes);
    for (int i = 0; i < j->n_seq; i++) j->v[i] = wn_alloc(bytes);
    if (!j->x || !j->v[0] || (j->n_seq > 1 && !j->v[1])) {
        wn_t2v_free(j);
        return wn_fail_nomem(err, "the latents", bytes);
    }
    memcpy(j->x, params->noise, bytes);
    if (wn_solver_new(&j->solver, params->solver, params->n_steps, params->shift, j->n, err)) {
        wn_t2v_free(j);
        return err->code;
    }
    *out = j;
    return WAN_OK;
}

void wn_t2v_free(struct wn_t2v *j)
{
    if (!j) return;
    wn_dit_text_free(j->text);
    wn_dit_grid_release(&j->grid);
    wn_solver_free(j->solver);
    for (int i = 0; i < 2; i++) wn_free(j->v[i]);
    wn_free(j->x);
    wn_free(j);
}

/* ---- text ---- */

/* Ids of prompt and negative prompt, one after the other, with their offsets. */
struct tokens {
    int32_t *ids;
    int64_t seg[3];
};

static enum wan_status tokenize(struct wn_t2v *j, struct tokens *t, struct wn_err *err)
{
    const char *text[2] = {j->p.prompt, j->p.negative};
    const struct wn_dit_config *cfg = wn_dit_config(j->parts->dit);
    *t = (struct tokens){0};
    for (int i = 0; i < j->n_seq; i++) {
        struct wn_str clean = {0};
        int32_t *ids = NULL, *all = NULL;
        size_t n = 0;
        enum wan_status st = wn_text_clean(text[i], strlen(text[i]), &clean, err);
        if (!st)
            st = wn_tokenizer_encode(j->parts->tokenizer, clean.data ? clean.data : "", clean.n,
                                     (size_t)cfg->text_len, &ids, &n, err);
        wn_str_release(&clean);
        if (!st) {
            all = wn_realloc(t->ids, ((size_t)t->seg[i] + n) * sizeof *all);
            if (!all) st = wn_fail_nomem(err, "the prompt's tokens", n * sizeof *all);
        }
        if (!st) {
            memcpy(all + t->seg[i], ids, n * sizeof *ids);
            t->ids = all;
            t->seg[i + 1] = t->seg[i] + (int64_t)n;
        }
        wn_free(ids);
        if (st) {
            wn_free(t->ids);
            return st;
        }
    }
    return WAN_OK;
}

static struct wn_exec make_exec(const struct wn_t2v *j, enum wn_precision precision)
{
    return (struct wn_exec){.dev = j->parts->dev, .precision = precision, .log = j->log};
}

/* Hand an exec's failure to the caller. */
static enum wan_status take_err(struct wn_exec *ex, struct wn_err *err)
{
    return ex->err.code ? wn_fail(err, ex->err.code, "%s", ex->err.text) : WAN_OK;
}

static enum wan_status keys_from(struct wn_t2v *j, const float *const *context, const int64_t *n,
                                 struct wn_err *err)
{
    struct wn_exec ex = make_exec(j, j->p.dit);
    wn_dit_text_new(&j->text, &ex, j->parts->dit, j->n_seq, context, n);
    return take_err(&ex, err);
}

/* [tokens, width] host memory, freed by the caller */
static enum wan_status encode(struct wn_t2v *j, const struct tokens *t, float **out, struct wn_err *err)
{
    struct wn_exec ex = make_exec(j, j->p.t5);
    struct wn_scope scope;
    wn_scope_begin(&ex, &scope);
    struct wn_tensor c = wn_t5_encode(&ex, j->parts->t5, t->ids, t->seg, j->n_seq);
    *out = wn_ok(&ex) ? wn_alloc(wn_n_bytes(c)) : NULL;
    if (wn_ok(&ex) && !*out) wn_fail_nomem(&ex.err, "the text context", wn_n_bytes(c));
    if (wn_ok(&ex)) wn_download(&ex, c, *out);
    wn_scope_end(&ex, &scope);
    enum wan_status st = take_err(&ex, err);
    if (st) {
        wn_free(*out);
        *out = NULL;
    }
    return st;
}

static enum wan_status context_from_prompts(struct wn_t2v *j, struct wn_err *err)
{
    struct tokens t;
    float *c = NULL;
    if (wn_parts_tokenizer(j->parts, err) || wn_parts_t5(j->parts, err)) return err->code;
    int64_t width = wn_t5_width(j->parts->t5), want = wn_dit_config(j->parts->dit)->text_dim;
    if (width != want)
        return wn_fail(err, WAN_EFORMAT, "%s: the text encoder is %lld wide, the transformer takes %lld",
                       wn_weights_path(j->parts->t5_weights), (long long)width, (long long)want);
    if (tokenize(j, &t, err)) return err->code;
    enum wan_status st = encode(j, &t, &c, err);
    wn_weights_release_pages(j->parts->t5_weights);
    j->parts->dev->table->trim(j->parts->dev);
    if (!st) {
        const float *context[2] = {c, c + t.seg[1] * width};
        const int64_t n[2] = {t.seg[1], t.seg[2] - t.seg[1]};
        st = keys_from(j, context, n, err);
    }
    wn_free(t.ids);
    wn_free(c);
    return st;
}

enum wan_status wn_t2v_encode_text(struct wn_t2v *j, struct wn_err *err)
{
    if (j->text) return WAN_OK;
    return j->p.context[0] ? keys_from(j, j->p.context, j->p.n_context, err) : context_from_prompts(j, err);
}

/* ---- denoising ---- */

int wn_t2v_n_steps(const struct wn_t2v *j)
{
    return j->p.n_steps;
}

int wn_t2v_steps_done(const struct wn_t2v *j)
{
    return wn_solver_next(j->solver);
}

const float *wn_t2v_latents(const struct wn_t2v *j, int64_t dim[4])
{
    memcpy(dim, j->dim, sizeof j->dim);
    return j->x;
}

static enum wan_status prepare(struct wn_t2v *j, struct wn_err *err)
{
    if (wn_t2v_encode_text(j, err)) return err->code;
    if (wn_has(j->grid.rope)) return WAN_OK;
    struct wn_exec ex = make_exec(j, j->p.dit);
    wn_dit_grid_init(&j->grid, &ex, j->parts->dit, j->dim[1], j->dim[2], j->dim[3], 0);
    return take_err(&ex, err);
}

/* v[0] becomes v_u + guidance (v_c - v_u). */
static void guide(const struct wn_t2v *j)
{
    float g = (float)j->p.guidance, *c = j->v[0];
    const float *u = j->v[1];
    for (int64_t i = 0; i < j->n; i++) c[i] = u[i] + g * (c[i] - u[i]);
}

static enum wan_status check_latents(const struct wn_t2v *j, int step, struct wn_err *err)
{
    bool any = false;
    for (int64_t i = 0; i < j->n; i++) {
        if (!isfinite(j->x[i]))
            return wn_fail(err, WAN_ENUMERIC, "step %d of %d gave a latent that is not a finite number",
                           step + 1, j->p.n_steps);
        any |= j->x[i] != 0;
    }
    return any ? WAN_OK
               : wn_fail(err, WAN_ENUMERIC, "step %d of %d gave latents that are all zero", step + 1,
                         j->p.n_steps);
}

enum wan_status wn_t2v_step(struct wn_t2v *j, struct wn_err *err)
{
    int i = wn_t2v_steps_done(j);
    if (i >= j->p.n_steps) return wn_fail(err, WAN_EINVAL, "all %d steps are done", j->p.n_steps);
    if (prepare(j, err)) return err->code;
    struct wn_exec ex = make_exec(j, j->p.dit);
    const struct wn_dit_sequence one = {.x = j->x, .t = wn_solver_timesteps(j->solver) + i, .n_t = 1};
    const struct wn_dit_sequence seq[2] = {one, one};
    wn_dit_forward(&ex, j->parts->dit, &j->grid, j->text, j->dim[2], j->dim[3], seq, j->n_seq, j->v);
    if (take_err(&ex, err)) return err->code;
    if (j->n_seq == 2) guide(j);
    if (wn_solver_step(j->solver, i, j->x, j->v[0], err)) return err->code;
    return check_latents(j, i, err);
}

/* ---- decoding ---- */

/* The frames of one decoded chunk [n, H, W, 3]. */
static enum wan_status hand_over(struct wn_exec *ex, struct wn_tensor t, int *index, wn_frame_fn *frame,
                                 void *ctx)
{
    if (!wn_ok(ex)) return ex->err.code;
    float *rgb = wn_alloc(wn_n_bytes(t));
    if (!rgb) return wn_fail_nomem(&ex->err, "decoded frames", wn_n_bytes(t));
    wn_download(ex, t, rgb);
    int64_t pixels = t.dim[1] * t.dim[2] * t.dim[3];
    for (int64_t i = 0; i < t.dim[0] && wn_ok(ex); i++) frame(ctx, (*index)++, rgb + i * pixels, &ex->err);
    wn_free(rgb);
    return ex->err.code;
}

enum wan_status wn_decode_latents(struct wn_exec *ex, const struct wn_vae *vae, const float *latent,
                                  const int64_t dim[4], wn_frame_fn *frame, void *ctx)
{
    if (dim[0] != wn_vae_z(vae))
        return wn_exec_fail(ex, WAN_EINVAL, "latents of %lld channels for a VAE of %lld", (long long)dim[0],
                            (long long)wn_vae_z(vae));
    struct wn_vae_stream *stream;
    if (wn_vae_stream_new(&stream, vae, &ex->err)) return ex->err.code;
    int64_t hw = dim[2] * dim[3];
    int index = 0;
    for (int64_t f = 0; f < dim[1] && wn_ok(ex); f++) {
        struct wn_scope scope;
        wn_scope_begin(ex, &scope);
        struct wn_tensor t = wn_vae_decode(ex, stream, latent + f * hw, dim[1] * hw, 1, dim[2], dim[3]);
        hand_over(ex, t, &index, frame, ctx);
        wn_scope_end(ex, &scope);
    }
    wn_vae_stream_free(stream);
    return ex->err.code;
}

enum wan_status wn_t2v_decode(struct wn_t2v *j, wn_frame_fn *frame, void *ctx, struct wn_err *err)
{
    if (wn_parts_vae(j->parts, err)) return err->code;
    wn_weights_release_pages(j->parts->dit_weights);
    j->parts->dev->table->trim(j->parts->dev);
    struct wn_exec ex = make_exec(j, j->p.vae);
    wn_decode_latents(&ex, j->parts->vae, j->x, j->dim, frame, ctx);
    j->parts->dev->table->trim(j->parts->dev);
    return take_err(&ex, err);
}
