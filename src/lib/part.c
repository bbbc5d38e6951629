/* wan_part_run: one part of a model, or one operation, on tensors. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "lib/lib.h"
#include "ops/ops.h"
#include "pipe/frames.h"
#include "pipe/image.h"
#include "pipe/parts.h"
#include "sample/solver.h"
#include "tensor/convert.h"

/* One call of wan_part_run. */
struct run {
    struct wan_context *ctx;
    const struct wan_part_params *p;
    const struct wan_tensors *in;
    struct wan_tensors *out, *dump;
    struct wn_err *err;
    struct wn_exec ex;
    struct wn_checkpoint checkpoint;
    struct wn_parts parts;
};

typedef void part_fn(struct run *r);

/* ---- helpers ---- */

static bool ok(const struct run *r)
{
    return r->err->code == WAN_OK;
}

static void bad(struct run *r, const char *fmt, ...) WN_PRINTF(2, 3);
static void bad(struct run *r, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    wn_vfail(r->err, WAN_EINVAL, fmt, ap);
    va_end(ap);
}

/* The exec's failure becomes the call's. */
static void settle(struct run *r)
{
    if (!wn_ok(&r->ex)) wn_fail(r->err, r->ex.err.code, "%s", r->ex.err.text);
}

static void set_precision(struct run *r, enum wn_precision otherwise)
{
    wn_precision_parse(r->p->precision, otherwise, "--precision", &r->ex.precision, r->err);
}

static float *floats(struct run *r, int64_t n)
{
    float *p = ok(r) ? wn_alloc_n((size_t)n, sizeof *p) : NULL;
    if (ok(r) && !p) wn_fail_nomem(r->err, "a result", (unsigned long long)n * sizeof *p);
    return p;
}

/* A result on the device, as F32, under `name`. */
static void put_device(struct run *r, const char *name, struct wn_tensor t)
{
    settle(r);
    if (!ok(r)) return;
    if (t.type != WN_F32) t = wn_unary(&r->ex, .x = t, .out_type = WN_F32);
    float *host = wn_ok(&r->ex) ? floats(r, wn_n_elems(t)) : NULL;
    if (host && wn_download(&r->ex, t, host) == WAN_OK) wn_tensors_put(r->out, name, t, host, r->err);
    settle(r);
    wn_free(host);
}

/* Append frames to an intermediate that comes in chunks (VAE), else add it. */
static enum wan_status dump_add(struct run *r, const char *name, struct wn_tensor t, const float *data)
{
    for (size_t i = 0; i < r->dump->n; i++) {
        struct wan_array *a = &r->dump->item[i];
        if (strcmp(a->name, name)) continue;
        size_t more = wn_n_bytes(t);
        void *grown = wn_realloc((void *)a->data, a->bytes + more);
        if (!grown) return wn_fail_nomem(r->err, name, a->bytes + more);
        memcpy((char *)grown + a->bytes, data, more);
        a->data = grown;
        a->bytes += more;
        a->dims[0] += t.dim[0];
        return WAN_OK;
    }
    return wn_tensors_put(r->dump, name, t, data, r->err);
}

static void dump_named(void *ctx, struct wn_exec *ex, const char *name, struct wn_tensor t)
{
    struct run *r = ctx;
    float *f32 = floats(r, wn_n_elems(t));
    void *raw = f32 ? wn_alloc(wn_n_bytes(t)) : NULL;
    if (raw && wn_download(ex, t, raw) == WAN_OK) {
        wn_to_f32(raw, t.type, f32, wn_n_elems(t));
        t.type = WN_F32;
        dump_add(r, name, t, f32);
    } else if (f32 && !raw)
        wn_fail_nomem(r->err, name, wn_n_bytes(t));
    if (!ok(r)) wn_exec_fail(ex, r->err->code, "%s", r->err->text);
    wn_free(raw);
    wn_free(f32);
}

static void open_model(struct run *r)
{
    if (!r->p->model) {
        bad(r, "this part needs a model: -m MODEL");
        return;
    }
    if (wn_checkpoint_open(&r->checkpoint, r->p->model, r->err)) return;
    wn_parts_init(&r->parts, &r->checkpoint, r->ctx->dev);
}

/* ---- models ---- */

static void part_t5(struct run *r)
{
    int64_t *ids64 = NULL;
    struct wan_array a;
    set_precision(r, WN_PREC_F32X);
    open_model(r);
    if (!ok(r) || wn_tensors_i64(r->in, "ids", 1, &ids64, &a, r->err) || wn_parts_t5(&r->parts, r->err))
        goto out;
    int64_t n = a.dims[0];
    int32_t *ids = wn_alloc_n((size_t)n, sizeof *ids);
    if (!ids)
        wn_fail_nomem(r->err, "ids", (unsigned long long)n * sizeof *ids);
    else if (n < 1)
        bad(r, "input tensor 'ids' is empty");
    for (int64_t i = 0; ids && i < n; i++)
        ids[i] =
            ids64[i] >= 0 && ids64[i] <= INT32_MAX ? (int32_t)ids64[i] : -1; /* -1: refused by the encoder */
    if (ok(r)) put_device(r, "context", wn_t5_encode(&r->ex, r->parts.t5, ids, n));
    wn_free(ids);
out:
    wn_free(ids64);
}

/* x with y's channels after it, checked against the transformer's input: [C, F, H, W]. */
static float *dit_input(struct run *r, int64_t in_dim, struct wan_array *xa)
{
    float *x = NULL, *y = NULL, *both = NULL;
    struct wan_array ya = {0};
    if (wn_tensors_f32(r->in, "x", 4, &x, xa, r->err)) return NULL;
    struct wan_array probe;
    if (wan_tensors_find(r->in, "y", &probe) && wn_tensors_f32(r->in, "y", 4, &y, &ya, r->err)) goto out;
    int64_t plane = xa->dims[1] * xa->dims[2] * xa->dims[3];
    if (y && memcmp(xa->dims + 1, ya.dims + 1, 3 * sizeof(int64_t)))
        bad(r, "input tensors 'x' and 'y' differ in frames, height or width");
    else if (xa->dims[0] + ya.dims[0] != in_dim)
        bad(r, "input tensor 'x' has %lld channels%s, the transformer takes %lld", (long long)xa->dims[0],
            y ? " with y's" : "", (long long)in_dim);
    else if ((both = floats(r, in_dim * plane))) {
        memcpy(both, x, (size_t)(xa->dims[0] * plane) * sizeof *both);
        if (y) memcpy(both + xa->dims[0] * plane, y, (size_t)(ya.dims[0] * plane) * sizeof *both);
    }
out:
    wn_free(x);
    wn_free(y);
    return both;
}

static void dit_run(struct run *r, const struct wn_dit *dit, const float *x, const struct wan_array *xa,
                    const double *t, int64_t n_t, const float *context, int64_t n_context)
{
    const struct wn_dit_config *cfg = wn_dit_config(dit);
    int64_t F = xa->dims[1], h = xa->dims[2], w = xa->dims[3];
    struct wn_dit_grid grid = {0};
    struct wn_dit_text *text = NULL;
    float *v = NULL;
    wn_dit_grid_init(&grid, &r->ex, dit, F, h, w, 0);
    wn_dit_text_new(&text, &r->ex, dit, 1, &context, &n_context);
    settle(r);
    struct wn_tensor shape = wn_shape_of(WN_F32, cfg->out_dim, F, 2 * grid.H, 2 * grid.W);
    if (ok(r) && (v = floats(r, wn_n_elems(shape)))) {
        const struct wn_dit_sequence seq = {.x = x, .t = t, .n_t = n_t};
        wn_dit_forward(&r->ex, dit, &grid, text, h, w, &seq, 1, &v);
        settle(r);
        if (ok(r)) wn_tensors_put(r->out, "v", shape, v, r->err);
    }
    wn_free(v);
    wn_dit_text_free(text);
    wn_dit_grid_release(&grid);
}

static void part_dit(struct run *r)
{
    float *x = NULL, *t32 = NULL, *context = NULL;
    double *t = NULL;
    struct wan_array xa, ta, ca, probe;
    set_precision(r, WN_PREC_BF16);
    open_model(r);
    enum wn_part which;
    if (!ok(r) || wn_parts_choose(&r->parts, r->p->expert, &which, r->err) ||
        wn_parts_dit(&r->parts, which, r->err))
        return;
    const struct wn_dit *dit = r->parts.dit[which];
    const struct wn_dit_config *cfg = wn_dit_config(dit);
    if (wan_tensors_find(r->in, "clip_fea", &probe))
        wn_fail(r->err, WAN_EUNSUPPORTED, "input tensor 'clip_fea': this transformer has no image branch");
    if (!ok(r) || !(x = dit_input(r, cfg->in_dim, &xa)) || wn_tensors_f32(r->in, "t", 1, &t32, &ta, r->err) ||
        wn_tensors_f32(r->in, "context", 2, &context, &ca, r->err))
        goto out;
    if (ca.dims[1] != cfg->text_dim) {
        bad(r, "input tensor 'context' is %lld wide, the transformer takes %lld", (long long)ca.dims[1],
            (long long)cfg->text_dim);
        goto out;
    }
    if (!(t = wn_alloc_n((size_t)ta.dims[0] + 1, sizeof *t)))
        wn_fail_nomem(r->err, "timesteps", (unsigned long long)ta.dims[0] * sizeof *t);
    for (int64_t i = 0; t && i < ta.dims[0]; i++) t[i] = t32[i];
    if (ok(r)) dit_run(r, dit, x, &xa, t, ta.dims[0], context, ca.dims[0]);
out:
    wn_free(x);
    wn_free(t32);
    wn_free(context);
    wn_free(t);
}

static void part_vae_encode(struct run *r)
{
    float *video = NULL, *latent = NULL;
    struct wan_array a;
    set_precision(r, WN_PREC_F32X);
    open_model(r);
    if (!ok(r) || wn_parts_vae(&r->parts, r->err) || wn_tensors_f32(r->in, "video", 4, &video, &a, r->err))
        return;
    int64_t T = a.dims[1], H = a.dims[2], W = a.dims[3], stride = wn_vae_stride(r->parts.vae);
    struct wn_tensor shape =
        wn_shape_of(WN_F32, wn_vae_z(r->parts.vae), (T - 1) / WN_VAE_STRIDE_T + 1, H / stride, W / stride);
    if (a.dims[0] != 3 || T < 1)
        bad(r, "input tensor 'video' must be [3, T, H, W] with at least one frame");
    else if ((latent = floats(r, wn_n_elems(shape)))) {
        wn_encode_frames(&r->ex, r->parts.vae, video, T, T, H, W, 1, latent);
        settle(r);
        if (ok(r)) wn_tensors_put(r->out, "latent", shape, latent, r->err);
    }
    wn_free(latent);
    wn_free(video);
}

/* Where decoded frames go: video [3, T, H, W]. */
struct video {
    float *data;
    int64_t T, H, W;
};

static enum wan_status take_rows(void *ctx, int index, int64_t first, int64_t n, const float *rgb,
                                 struct wn_err *err)
{
    struct video *v = ctx;
    (void)err;
    for (int64_t c = 0; c < 3; c++)
        for (int64_t i = 0; i < n * v->W; i++)
            v->data[((c * v->T + index) * v->H + first) * v->W + i] = fmaxf(-1, fminf(1, rgb[i * 3 + c]));
    return WAN_OK;
}

static void part_vae_decode(struct run *r)
{
    float *latent = NULL;
    struct wan_array a;
    set_precision(r, WN_PREC_F32X);
    open_model(r);
    if (!ok(r) || wn_parts_vae(&r->parts, r->err) || wn_tensors_f32(r->in, "latent", 4, &latent, &a, r->err))
        return;
    int64_t stride = wn_vae_stride(r->parts.vae);
    struct video v = {.T = 4 * (a.dims[1] - 1) + 1, .H = stride * a.dims[2], .W = stride * a.dims[3]};
    if (a.dims[1] < 1 || v.H < 1 || v.W < 1)
        bad(r, "input tensor 'latent' is empty");
    else if ((v.data = floats(r, 3 * v.T * v.H * v.W))) {
        wn_decode_latents(&r->ex, r->parts.vae, latent, a.dims, 1, take_rows, &v);
        settle(r);
        if (ok(r)) wn_tensors_put(r->out, "video", wn_shape_of(WN_F32, 3, v.T, v.H, v.W), v.data, r->err);
    }
    wn_free(v.data);
    wn_free(latent);
}

/* ---- sampling ---- */

static enum wan_status make_solver(struct wn_solver **s, const char *name, int steps, double shift, int64_t n,
                                   struct wn_err *err)
{
    enum wn_solver_kind kind;
    *s = NULL;
    if (!name || !wn_solver_find(name, &kind))
        return wn_fail(err, WAN_EINVAL, "--solver '%s': must be unipc, dpm++ or euler", name ? name : "");
    if (steps == WAN_UNSET) return wn_fail(err, WAN_EINVAL, "--steps is needed");
    if (shift <= WAN_UNSET_F) return wn_fail(err, WAN_EINVAL, "--shift is needed");
    return wn_solver_new(s, kind, steps, shift, n, err);
}

static void part_solve(struct run *r)
{
    float *x = NULL, *v = NULL, *all = NULL;
    struct wan_array xa, va;
    struct wn_solver *s = NULL;
    if (wn_tensors_f32(r->in, "x", -1, &x, &xa, r->err) || wn_tensors_f32(r->in, "v", -1, &v, &va, r->err))
        goto out;
    int64_t n = wn_array_elems(&xa), N = va.n_dims ? va.dims[0] : 0;
    if (va.n_dims != xa.n_dims + 1 || memcmp(va.dims + 1, xa.dims, (size_t)xa.n_dims * sizeof(int64_t)) ||
        xa.n_dims >= 8) {
        bad(r, "input tensor 'v' must be [steps, shape of x]");
        goto out;
    }
    if (make_solver(&s, r->p->solver, r->p->steps, r->p->shift, n, r->err)) goto out;
    if (N != r->p->steps) {
        bad(r, "input tensor 'v' holds %lld steps, --steps is %d", (long long)N, r->p->steps);
        goto out;
    }
    if (!(all = floats(r, N * n))) goto out;
    for (int i = 0; i < N && ok(r); i++) {
        wn_solver_step(s, i, x, v + i * n, r->err);
        memcpy(all + i * n, x, (size_t)n * sizeof *x);
    }
    if (ok(r)) wn_tensors_put(r->out, "x", wn_shape(WN_F32, va.n_dims, va.dims), all, r->err);
out:
    wn_solver_free(s);
    wn_free(x);
    wn_free(v);
    wn_free(all);
}

static void part_noise(struct run *r)
{
    const struct wan_part_params *p = r->p;
    int64_t n = 1;
    if (p->n_shape < 1 || p->n_shape > 8) bad(r, "--shape is needed: 1 to 8 extents");
    for (int i = 0; ok(r) && i < p->n_shape; i++) {
        if (p->shape[i] < 1 || p->shape[i] > ((int64_t)1 << 31) / n)
            bad(r, "--shape: extents must be positive, 2^31 elements at most");
        else
            n *= p->shape[i];
    }
    if (p->seed == WAN_UNSET_I64) bad(r, "--seed is needed");
    float *x = floats(r, n);
    if (x && !wn_noise_draw(p->rng, p->seed, x, n, r->err))
        wn_tensors_put(r->out, "noise", wn_shape(WN_F32, p->n_shape, p->shape), x, r->err);
    wn_free(x);
}

/* What an image to video pipeline hands to its VAE. */
static void part_image(struct run *r)
{
    static const enum wn_task tasks[] = {WN_TASK_I2V, WN_TASK_TI2V, WN_TASK_FLF2V};
    const struct wan_part_params *p = r->p;
    struct wn_input_image img = {0};
    enum wn_task task = WN_TASK_UNKNOWN;
    for (size_t i = 0; p->task && i < sizeof tasks / sizeof *tasks; i++)
        if (!strcmp(p->task, wn_task_name(tasks[i]))) task = tasks[i];
    if (!p->image) bad(r, "--image is needed");
    if (!task) bad(r, "--task '%s': must be i2v, ti2v or flf2v", p->task ? p->task : "");
    if (p->width < 1 || p->height < 1) bad(r, "--size is needed: WIDTHxHEIGHT");
    if (!ok(r) || wn_input_image_read(&img, p->image, task, (int64_t)p->width * p->height, r->err)) return;
    wn_tensors_put(r->out, "image", wn_shape_of(WN_F32, 3, img.size.h, img.size.w), img.pixels, r->err);
    wn_input_image_release(&img);
}

/* ---- operations ---- */

/* Key counts of each batch entry: k_lens where given, else Lk. seg [B + 1]. */
static bool key_segments(struct run *r, int64_t B, int64_t Lk, int64_t *seg)
{
    struct wan_array probe;
    int64_t *lens = NULL;
    seg[0] = 0;
    if (wan_tensors_find(r->in, "k_lens", &probe)) {
        if (wn_tensors_i64(r->in, "k_lens", 1, &lens, &probe, r->err)) return false;
        if (probe.dims[0] != B) bad(r, "input tensor 'k_lens' must be [%lld]", (long long)B);
    }
    for (int64_t b = 0; ok(r) && b < B; b++) {
        int64_t n = lens ? lens[b] : Lk;
        if (n < 0 || n > Lk)
            bad(r, "input tensor 'k_lens' holds %lld, outside 0 to %lld", (long long)n, (long long)Lk);
        seg[b + 1] = seg[b] + n;
    }
    wn_free(lens);
    return ok(r);
}

/* The rows of each batch entry that count, packed: [keys, N, D]. In place. */
static struct wn_tensor pack_keys(struct run *r, float *k, const struct wan_array *a, const int64_t *seg)
{
    int64_t row = a->dims[2] * a->dims[3];
    for (int64_t b = 0; b < a->dims[0]; b++)
        memmove(k + seg[b] * row, k + b * a->dims[1] * row,
                (size_t)((seg[b + 1] - seg[b]) * row) * sizeof *k);
    return wn_upload(&r->ex, wn_shape_of(WN_F32, seg[a->dims[0]], a->dims[2], a->dims[3]), k);
}

static void part_attention(struct run *r)
{
    const struct wan_part_params *p = r->p;
    float *q = NULL, *k = NULL, *v = NULL;
    int64_t *q_seg = NULL, *k_seg = NULL;
    struct wan_array qa, ka, va;
    set_precision(r, WN_PREC_F32);
    if (!ok(r) || wn_tensors_f32(r->in, "q", 4, &q, &qa, r->err) ||
        wn_tensors_f32(r->in, "k", 4, &k, &ka, r->err) || wn_tensors_f32(r->in, "v", 4, &v, &va, r->err))
        goto out;
    int64_t B = qa.dims[0], Lq = qa.dims[1];
    if (memcmp(ka.dims, va.dims, 4 * sizeof(int64_t)) || ka.dims[0] != B ||
        memcmp(qa.dims + 2, ka.dims + 2, 16)) {
        bad(r, "input tensors must be q [B, Lq, N, D], k and v [B, Lk, N, D]");
        goto out;
    }
    if (B < 1 || B > 65536 || !wn_array_elems(&qa)) {
        bad(r, "input tensor 'q' is empty, or has more than 65536 batch entries");
        goto out;
    }
    q_seg = wn_alloc_n((size_t)B + 1, sizeof *q_seg);
    k_seg = wn_alloc_n((size_t)B + 1, sizeof *k_seg);
    if (!q_seg || !k_seg) wn_fail_nomem(r->err, "segments", (unsigned long long)B * sizeof *q_seg);
    if (!ok(r) || !key_segments(r, B, ka.dims[1], k_seg)) goto out;
    for (int64_t b = 0; b <= B; b++) q_seg[b] = b * Lq;
    struct wn_tensor tq = wn_upload(&r->ex, wn_shape_of(WN_F32, B * Lq, qa.dims[2], qa.dims[3]), q);
    struct wn_tensor tk = pack_keys(r, k, &ka, k_seg), tv = pack_keys(r, v, &va, k_seg);
    settle(r);
    if (!ok(r)) goto out;
    struct wn_tensor o =
        wn_attention(&r->ex, .q = tq, .k = tk, .v = tv, .q_seg = q_seg, .k_seg = k_seg, .n_seg = (int)B,
                     .scale = p->scale <= WAN_UNSET_F ? 0 : (float)p->scale, .causal = p->causal != 0,
                     .windowed = p->window_left >= 0 || p->window_right >= 0, .window_left = p->window_left,
                     .window_right = p->window_right, .out_type = WN_F32);
    settle(r);
    if (ok(r)) put_device(r, "out", wn_reshape(o, 4, qa.dims));
out:
    wn_free(q);
    wn_free(k);
    wn_free(v);
    wn_free(q_seg);
    wn_free(k_seg);
}

/* cos and sin for every row of x [B, L, N, D]; tokens past the grid keep cos 1, sin 0. */
static bool rope_rows(struct run *r, const int64_t *grid, const struct wan_array *a, float *table)
{
    int64_t B = a->dims[0], L = a->dims[1];
    int D = (int)a->dims[3];
    for (int64_t i = 0; i < B * L; i++)
        for (int j = 0; j < D; j++) table[i * D + j] = j % 2 ? 0.0f : 1.0f;
    for (int64_t b = 0; b < B; b++) {
        int64_t F = grid[3 * b], H = grid[3 * b + 1], W = grid[3 * b + 2];
        if (F < 1 || H < 1 || W < 1 || F > L || H > L || W > L || F * H > L || F * H * W > L) {
            bad(r, "input tensor 'grid_sizes': %lld x %lld x %lld does not fit %lld tokens", (long long)F,
                (long long)H, (long long)W, (long long)L);
            return false;
        }
        for (int64_t i = 0; i < F * H * W; i++) {
            const int64_t coord[1][3] = {{r->p->start + i / (H * W), i / W % H, i % W}};
            wn_rope_table(table + (b * L + i) * D, coord, 1, D);
        }
    }
    return true;
}

static void part_rope(struct run *r)
{
    float *x = NULL, *table = NULL;
    int64_t *grid = NULL;
    struct wan_array a, ga;
    r->ex.precision = WN_PREC_F32;
    if (wn_tensors_f32(r->in, "x", 4, &x, &a, r->err) ||
        wn_tensors_i64(r->in, "grid_sizes", 2, &grid, &ga, r->err))
        goto out;
    int64_t rows = a.dims[0] * a.dims[1], N = a.dims[2], D = a.dims[3];
    if (ga.dims[0] != a.dims[0] || ga.dims[1] != 3)
        bad(r, "input tensor 'grid_sizes' must be [%lld, 3]", (long long)a.dims[0]);
    else if (D < 2 || D % 2 || D > 65536 || N < 1 || N > 65536 || rows < 1)
        bad(r, "input tensor 'x' must be [B, L, N, D] with an even D");
    else if ((table = floats(r, rows * D)) && rope_rows(r, grid, &a, table)) {
        struct wn_tensor t = wn_upload(&r->ex, wn_shape_of(WN_F32, rows, N * D), x);
        struct wn_tensor rope = wn_upload(&r->ex, wn_shape_of(WN_F32, rows, D), table);
        settle(r);
        if (ok(r)) t = wn_qk_norm_rope(&r->ex, .x = t, .n_heads = (int)N, .rope = rope, .out_type = WN_F32);
        settle(r);
        if (ok(r)) put_device(r, "x", wn_reshape(t, 4, a.dims));
    }
out:
    wn_free(table);
    wn_free(grid);
    wn_free(x);
}

static void part_rmsnorm(struct run *r)
{
    float *x = NULL, *w = NULL;
    struct wan_array a, wa;
    r->ex.precision = WN_PREC_F32;
    if (wn_tensors_f32(r->in, "x", -1, &x, &a, r->err) || wn_tensors_f32(r->in, "weight", 1, &w, &wa, r->err))
        goto out;
    if (a.n_dims < 1 || a.dims[a.n_dims - 1] != wa.dims[0] || wa.dims[0] < 1)
        bad(r, "input tensor 'weight' must be as long as the last axis of 'x'");
    else {
        struct wn_tensor t = wn_upload(&r->ex, wn_shape(WN_F32, a.n_dims, a.dims), x);
        struct wn_tensor g = wn_upload(&r->ex, wn_shape_of(WN_F32, wa.dims[0]), w);
        settle(r);
        if (ok(r))
            put_device(r, "x",
                       wn_norm(&r->ex, .x = t, .kind = WN_NORM_RMS, .eps = (float)r->p->eps, .weight = g,
                               .out_type = WN_F32));
    }
out:
    wn_free(x);
    wn_free(w);
}

static void part_sinusoid(struct run *r)
{
    float *position = NULL, *emb = NULL;
    double *t = NULL;
    struct wan_array a;
    int64_t dim = r->p->dim;
    if (dim < 2 || dim % 2 || dim > 65536) bad(r, "--dim is needed: an even number from 2 to 65536");
    if (!ok(r) || wn_tensors_f32(r->in, "position", 1, &position, &a, r->err)) return;
    int64_t n = a.dims[0];
    if (!(t = wn_alloc_n((size_t)n, sizeof *t)))
        wn_fail_nomem(r->err, "positions", (unsigned long long)n * sizeof *t);
    else if ((emb = floats(r, n * dim))) {
        for (int64_t i = 0; i < n; i++) t[i] = position[i];
        wn_sinusoid(emb, t, n, (int)dim);
        wn_tensors_put(r->out, "embedding", wn_shape_of(WN_F32, n, dim), emb, r->err);
    }
    wn_free(position);
    wn_free(emb);
    wn_free(t);
}

/* ---- the table ---- */

static const struct {
    const char *name;
    bool model, input;
    part_fn *run;
} parts[] = {
    {"t5", true, true, part_t5},
    {"dit", true, true, part_dit},
    {"vae.encode", true, true, part_vae_encode},
    {"vae.decode", true, true, part_vae_decode},
    {"image", false, false, part_image},
    {"solve", false, true, part_solve},
    {"noise", false, false, part_noise},
    {"attention", false, true, part_attention},
    {"rope", false, true, part_rope},
    {"rmsnorm", false, true, part_rmsnorm},
    {"sinusoid", false, true, part_sinusoid},
};
enum { N_PARTS = sizeof parts / sizeof *parts };

const char *wan_part_name(size_t i, int *needs_model, int *needs_input)
{
    if (i >= N_PARTS) return NULL;
    if (needs_model) *needs_model = parts[i].model;
    if (needs_input) *needs_input = parts[i].input;
    return parts[i].name;
}

enum wan_status wan_part_run(struct wan_context *ctx, const char *part, const struct wan_part_params *params,
                             const struct wan_tensors *in, struct wan_tensors *out, struct wan_tensors *dump)
{
    struct run r = {.ctx = ctx, .p = params, .in = in, .out = out, .dump = dump, .err = wn_enter(ctx)};
    if (params->size != sizeof *params)
        return wn_fail(r.err, WAN_EINVAL, "wan_part_run: params are not of this version of the library");
    r.ex = (struct wn_exec){.dev = ctx->dev, .log = &ctx->log};
    if (dump) {
        r.ex.on_named = dump_named;
        r.ex.on_named_ctx = &r;
    }
    for (size_t i = 0; i < N_PARTS; i++) {
        if (strcmp(part, parts[i].name)) continue;
        struct wn_scope scope;
        wn_scope_begin(&r.ex, &scope);
        parts[i].run(&r);
        wn_scope_end(&r.ex, &scope);
        wn_parts_release(&r.parts);
        wn_checkpoint_release(&r.checkpoint);
        return r.err->code;
    }
    return wn_fail(r.err, WAN_EINVAL, "unknown part '%s'", part);
}

enum wan_status wan_schedule_json(struct wan_context *ctx, const char *solver, int steps, double shift,
                                  char **json)
{
    struct wn_err *err = wn_enter(ctx);
    struct wn_solver *s;
    struct wn_str text = {0};
    *json = NULL;
    if (make_solver(&s, solver, steps, shift, 0, err)) return err->code;
    int bad_text = wn_str_addf(&text, "{\"sigmas\": [");
    for (int i = 0; i <= steps; i++)
        bad_text |= wn_str_addf(&text, "%s%.9g", i ? ", " : "", wn_solver_sigmas(s)[i]);
    bad_text |= wn_str_addf(&text, "], \"timesteps\": [");
    for (int i = 0; i < steps; i++)
        bad_text |= wn_str_addf(&text, "%s%.9g", i ? ", " : "", wn_solver_timesteps(s)[i]);
    bad_text |= wn_str_addf(&text, "]}");
    wn_solver_free(s);
    if (bad_text) {
        wn_str_release(&text);
        return wn_fail_nomem(err, "the schedule", (unsigned)steps * 32u);
    }
    *json = text.data;
    return WAN_OK;
}
