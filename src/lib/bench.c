/* wan_bench: whole parts of a model, as time, rate and share of what this machine can do at most. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "lib/model.h"
#include "ops/ops.h"
#include "pipe/job.h"

struct row {
    char what[80];
    double seconds, flops, bytes; /* bytes: weights read, where that is the bound; 0: not told */
    double peak;                  /* FLOP/s that the share is of */
};

enum { MAX_ROWS = 8 };

struct bench {
    struct wan_context *ctx;
    struct wan_model *model;
    const struct wan_bench_params *p;
    struct wn_err *err;
    struct wn_peak peak;
    struct row row[MAX_ROWS];
    int n;
};

static void count_flops(void *ctx, int op, const void *args, struct wn_tensor out, double seconds)
{
    (void)out;
    (void)seconds;
    *(double *)ctx += wn_op_flops((enum wn_op)op, args);
}

static struct wn_exec make_exec(const struct bench *b, enum wn_precision precision, double *flops)
{
    *flops = 0;
    return (struct wn_exec){.dev = b->ctx->dev,
                            .precision = precision,
                            .log = &b->ctx->log,
                            .on_op = count_flops,
                            .on_op_ctx = flops};
}

static void add(struct bench *b, const struct wn_exec *ex, const char *what, double seconds, double flops,
                double bytes)
{
    if (ex->err.code) wn_fail(b->err, ex->err.code, "%s", ex->err.text);
    if (b->err->code || b->n == MAX_ROWS) return;
    struct row *r = &b->row[b->n++];
    *r = (struct row){.seconds = seconds, .flops = flops, .bytes = bytes, .peak = wn_peak_flops(&b->peak, ex->precision)};
    snprintf(r->what, sizeof r->what, "%s", what);
}

static void bench_t5(struct bench *b, int64_t tokens)
{
    double flops, start = 0, seconds = 0;
    struct wn_parts *parts = &b->model->parts;
    if (wn_parts_t5(parts, b->err)) return;
    struct wn_exec ex = make_exec(b, WN_PREC_F32X, &flops);
    int32_t ids[512];
    for (int64_t i = 0; i < tokens; i++) ids[i] = (int32_t)((i * 7919 + 5) % wn_t5_vocab(parts->t5));
    for (int run = 0; run < 2; run++) { /* the first brings the weights into memory */
        struct wn_scope scope;
        flops = 0;
        start = wn_now();
        wn_scope_begin(&ex, &scope);
        wn_t5_encode(&ex, parts->t5, ids, tokens);
        wn_scope_end(&ex, &scope);
        seconds = wn_now() - start;
    }
    char what[80];
    snprintf(what, sizeof what, "text encoder, %lld tokens", (long long)tokens);
    double table = (double)wn_t5_vocab(parts->t5) * (double)wn_t5_width(parts->t5);
    double all = (double)wn_weights_n_bytes(parts->weights[WN_PART_T5]);
    add(b, &ex, what, seconds, flops,
        all * (1 - table / (double)wn_weights_n_elems(parts->weights[WN_PART_T5])));
    wn_parts_rest(parts, WN_PART_T5);
}

/* One guided step: two sequences in one forward. */
static void bench_dit(struct bench *b, const struct wan_gen_params *g, enum wn_precision precision)
{
    double flops, seconds = 0;
    struct wn_parts *parts = &b->model->parts;
    enum wn_part which = wn_checkpoint_dit(parts->checkpoint);
    if (wn_parts_dit(parts, which, b->err)) return;
    const struct wn_dit *dit = parts->dit[which];
    const struct wn_dit_config *c = wn_dit_config(dit);
    struct wn_exec ex = make_exec(b, precision, &flops);
    struct wn_dit_text *text = NULL;
    struct wn_dit_grid grid = {0};
    int64_t dim[4], rows = c->text_len < 32 ? c->text_len : 32;
    wn_latent_dims(parts, which, g->width, g->height, g->frames, dim);
    int64_t plane = dim[1] * dim[2] * dim[3], n_in = c->in_dim * plane, n_out = c->out_dim * plane;
    float *x = wn_alloc_n((size_t)(n_in + 2 * n_out), sizeof *x),
          *context = wn_alloc_n((size_t)(rows * c->text_dim), sizeof *context);
    if (x && context) {
        const double t = 500;
        const float *contexts[2] = {context, context};
        const int64_t n_context[2] = {rows, rows};
        const struct wn_dit_sequence seq[2] = {{x, &t, 1}, {x, &t, 1}};
        float *v[2] = {x + n_in, x + n_in + n_out};
        wn_torch_randn(0, x, n_in);
        wn_torch_randn(1, context, rows * c->text_dim);
        wn_dit_grid_init(&grid, &ex, dit, dim[1], dim[2], dim[3], 0);
        wn_dit_text_new(&text, &ex, dit, 2, contexts, n_context); /* also brings in a part of the weights */
        for (int run = 0; run < 2 && wn_ok(&ex); run++) {
            flops = 0;
            double start = wn_now();
            wn_dit_forward(&ex, dit, &grid, text, dim[2], dim[3], seq, 2, v);
            seconds = wn_now() - start;
        }
    } else
        wn_exec_fail(&ex, WAN_ENOMEM, "out of memory: the bench of the transformer");
    char what[80];
    snprintf(what, sizeof what, "transformer step with guidance, %lld tokens",
             (long long)(grid.F * grid.H * grid.W));
    add(b, &ex, what, seconds, flops, 0);
    wn_dit_text_free(text);
    wn_dit_grid_release(&grid);
    wn_free(x);
    wn_free(context);
    wn_parts_rest(parts, which);
}

static void bench_vae(struct bench *b, const struct wan_gen_params *g)
{
    double flops;
    struct wn_parts *parts = &b->model->parts;
    if (wn_parts_vae(parts, b->err)) return;
    struct wn_exec ex = make_exec(b, WN_PREC_F32X, &flops);
    int stride = wn_vae_stride(parts->vae);
    int64_t dim[4] = {wn_vae_z(parts->vae), (g->frames - 1) / WN_VAE_STRIDE_T + 1, g->height / stride,
                      g->width / stride};
    int64_t n = dim[0] * dim[1] * dim[2] * dim[3];
    float *latent = wn_alloc_n((size_t)n, sizeof *latent);
    double start = wn_now();
    if (latent) {
        wn_torch_randn(0, latent, n);
        wn_decode_latents(&ex, parts->vae, latent, dim, 1, NULL, NULL);
    } else
        wn_exec_fail(&ex, WAN_ENOMEM, "out of memory: the bench of the VAE");
    char what[80];
    snprintf(what, sizeof what, "VAE decode, %d frames of %dx%d", g->frames, g->width, g->height);
    add(b, &ex, what, wn_now() - start, flops, 0);
    wn_free(latent);
}

static void bench_model(struct bench *b)
{
    struct wan_gen_params g;
    enum wn_precision precision;
    if (wan_model_open(&b->model, b->ctx, b->p->model)) return;
    struct wan_gen_params in = {WAN_GEN_PARAMS_INIT};
    if (b->p->width > 0) in.width = b->p->width;
    if (b->p->height > 0) in.height = b->p->height;
    if (b->p->frames > 0) in.frames = b->p->frames;
    if (wan_gen_resolve(b->model, &in, &g) ||
        wn_precision_parse(b->p->precision, WN_PREC_BF16, "--precision", &precision, b->err))
        return;
    const struct wn_checkpoint *ck = &b->model->checkpoint;
    if (wn_checkpoint_has(ck, WN_PART_T5)) {
        bench_t5(b, 30);
        if (!b->err->code) bench_t5(b, 512);
    }
    if (!b->err->code && wn_checkpoint_dit(ck) != WN_PART_COUNT) bench_dit(b, &g, precision);
    if (!b->err->code && wn_checkpoint_has(ck, WN_PART_VAE)) bench_vae(b, &g);
}

static int write_text(const struct bench *b, struct wn_str *t)
{
    int bad = wn_str_addf(t, "%s\nmost this machine can do: float32 %.1f GFLOP/s", b->ctx->device_text,
                          b->peak.f32_flops * 1e-9);
    if (b->peak.bf16_flops > 0) bad |= wn_str_addf(t, ", bf16 %.1f GFLOP/s", b->peak.bf16_flops * 1e-9);
    bad |= wn_str_addf(t, ", memory %.1f GB/s\n\n", b->peak.read_bytes * 1e-9);
    if (b->n) bad |= wn_str_addf(t, "%-50s %10s %10s %6s %8s\n", "", "seconds", "GFLOP/s", "peak", "memory");
    for (int i = 0; i < b->n; i++) {
        const struct row *r = &b->row[i];
        double rate = r->flops / r->seconds;
        bad |= wn_str_addf(t, "%-50s %10.3f %10.1f %5.0f%%", r->what, r->seconds, rate * 1e-9,
                           100 * rate / r->peak);
        bad |= r->bytes > 0 ? wn_str_addf(t, " %7.0f%%\n", 100 * r->bytes / r->seconds / b->peak.read_bytes)
                            : wn_str_addf(t, "\n");
    }
    return bad;
}

static int write_json(const struct bench *b, struct wn_str *t)
{
    int bad = wn_str_addf(
        t,
        "{\"device\": \"%s\", \"peak\": {\"f32_flops\": %.4g, \"bf16_flops\": %.4g, \"read_bytes\": "
        "%.4g}, \"parts\": [",
        b->ctx->device_text, b->peak.f32_flops, b->peak.bf16_flops, b->peak.read_bytes);
    for (int i = 0; i < b->n; i++) {
        const struct row *r = &b->row[i];
        double rate = r->flops / r->seconds;
        bad |=
            wn_str_addf(t, "%s{\"what\": \"%s\", \"seconds\": %.6g, \"flops\": %.6g, \"share_of_peak\": %.4g",
                        i ? ", " : "", r->what, r->seconds, r->flops, rate / r->peak);
        if (r->bytes > 0)
            bad |=
                wn_str_addf(t, ", \"share_of_bandwidth\": %.4g", r->bytes / r->seconds / b->peak.read_bytes);
        bad |= wn_str_addf(t, "}");
    }
    return bad | wn_str_addf(t, "]}\n");
}

enum wan_status wan_bench(struct wan_context *ctx, const struct wan_bench_params *params, char **text)
{
    struct bench b = {.ctx = ctx, .p = params, .err = wn_enter(ctx)};
    struct wn_str t = {0};
    *text = NULL;
    if (params->size != sizeof *params)
        return wn_fail(b.err, WAN_EINVAL, "wan_bench: params are not of this version of the library");
    if (!ctx->dev->table->peak)
        return wn_fail(b.err, WAN_EUNSUPPORTED, "device %s cannot be measured", ctx->dev->table->name);
    if (ctx->dev->table->peak(ctx->dev, &b.peak, b.err)) return b.err->code;
    if (params->model) bench_model(&b);
    if (!b.err->code && (params->json ? write_json(&b, &t) : write_text(&b, &t)))
        wn_fail_nomem(b.err, "a report", t.n);
    if (b.err->code)
        wn_str_release(&t);
    else
        *text = t.data;
    wan_model_free(b.model);
    return b.err->code;
}
