#include "model/vae21.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/load.h"
#include "ops/ops.h"
#include "tensor/convert.h"

/* Latent statistics of the released Wan2.1 VAE. */
static const float official_mean[16] = {-0.7571f, -0.7089f, -0.9113f, 0.1075f,  -0.1745f, 0.9653f,
                                        -0.1517f, 1.5508f,  0.4134f,  -0.0715f, 0.5517f,  -0.3632f,
                                        -0.1922f, -0.9497f, 0.2503f,  -0.2921f};
static const float official_std[16] = {2.8184f, 1.4541f, 2.3275f, 2.6558f, 1.2196f, 1.7708f,
                                       2.6052f, 2.0743f, 3.2687f, 2.1526f, 2.8652f, 1.5579f,
                                       1.6382f, 1.1253f, 2.8251f, 1.9160f};

enum layer_kind { RESIDUAL, ATTENTION, UP_2D, UP_3D, DOWN_2D, DOWN_3D };

/* One entry of `downsamples`, `upsamples` or `middle`. */
struct layer {
    enum layer_kind kind;
    int slot; /* first of its history slots */
    union {
        struct {
            struct wn_tensor norm0, norm3; /* gamma [C] */
            struct wn_lin conv2, conv6, shortcut;
        } res;
        struct {
            struct wn_tensor norm;
            struct wn_lin qkv, proj; /* [3C, C, 1, 1], [C, C, 1, 1] */
        } att;
        struct {
            struct wn_lin conv, time; /* Conv2d 3x3; Conv3d (3,1,1) in the 3d kinds */
        } up;
    } u;
    char name[32]; /* for --dump: "upsamples.3" */
};

enum { N_DECODER = 3 + 15, N_ENCODER = 11 + 3, MAX_SLOTS = 48 };

struct half { /* the encoder or the decoder */
    struct wn_lin conv1, head_conv;
    struct wn_tensor head_norm;
    struct layer layer[N_DECODER > N_ENCODER ? N_DECODER : N_ENCODER];
    int n_layers;
    int n_temporal; /* layers up to and with the last that makes or joins frames */
    int conv1_slot, head_slot;
};

struct wn_vae21 {
    struct wn_loader ld;
    struct half enc, dec;
    struct wn_lin quant, post_quant; /* 1x1x1: [2z, 2z], [z, z] */
    int64_t z;
    float *mean, *inv_std; /* [z] */
};

/* The last frames that a convolution saw, by slot. */
struct wn_vae21_stream {
    const struct wn_vae21 *vae;
    struct wn_tensor history[MAX_SLOTS];
    int64_t n_calls;
};

/* ---- weights ---- */

struct plan { /* one line of the architecture table */
    enum layer_kind kind;
    int in, out; /* channels in units of the base width */
};

/* Upsample convolutions halve the width. */
static const struct plan encoder_plan[11] = {
    {RESIDUAL, 1, 1}, {RESIDUAL, 1, 1}, {DOWN_2D, 1, 1}, {RESIDUAL, 1, 2}, {RESIDUAL, 2, 2}, {DOWN_3D, 2, 2},
    {RESIDUAL, 2, 4}, {RESIDUAL, 4, 4}, {DOWN_3D, 4, 4}, {RESIDUAL, 4, 4}, {RESIDUAL, 4, 4},
};
static const struct plan decoder_plan[15] = {
    {RESIDUAL, 4, 4}, {RESIDUAL, 4, 4}, {RESIDUAL, 4, 4}, {UP_3D, 4, 2},    {RESIDUAL, 2, 4},
    {RESIDUAL, 4, 4}, {RESIDUAL, 4, 4}, {UP_3D, 4, 2},    {RESIDUAL, 2, 2}, {RESIDUAL, 2, 2},
    {RESIDUAL, 2, 2}, {UP_2D, 2, 1},    {RESIDUAL, 1, 1}, {RESIDUAL, 1, 1}, {RESIDUAL, 1, 1},
};

static void load_residual(struct wn_loader *ld, struct layer *l, int64_t in, int64_t out, const char *at)
{
    l->u.res.norm0 = wn_load(ld, WN_DIMS(in, 1, 1, 1), "%s.residual.0.gamma", at);
    l->u.res.conv2 = wn_load_lin(ld, WN_DIMS(out, in, 3, 3, 3), "%s.residual.2", at);
    l->u.res.norm3 = wn_load(ld, WN_DIMS(out, 1, 1, 1), "%s.residual.3.gamma", at);
    l->u.res.conv6 = wn_load_lin(ld, WN_DIMS(out, out, 3, 3, 3), "%s.residual.6", at);
    if (in != out) l->u.res.shortcut = wn_load_lin(ld, WN_DIMS(out, in, 1, 1, 1), "%s.shortcut", at);
}

static void load_layer(struct wn_loader *ld, struct layer *l, int64_t in, int64_t out, const char *at)
{
    switch (l->kind) {
    case RESIDUAL: load_residual(ld, l, in, out, at); break;
    case ATTENTION:
        l->u.att.norm = wn_load(ld, WN_DIMS(in, 1, 1), "%s.norm.gamma", at);
        l->u.att.qkv = wn_load_lin(ld, WN_DIMS(3 * in, in, 1, 1), "%s.to_qkv", at);
        l->u.att.proj = wn_load_lin(ld, WN_DIMS(in, in, 1, 1), "%s.proj", at);
        break;
    case UP_2D:
    case UP_3D:
    case DOWN_2D:
    case DOWN_3D:
        l->u.up.conv = wn_load_lin(ld, WN_DIMS(out, in, 3, 3), "%s.resample.1", at);
        if (l->kind == UP_3D)
            l->u.up.time = wn_load_lin(ld, WN_DIMS(2 * in, in, 3, 1, 1), "%s.time_conv", at);
        if (l->kind == DOWN_3D) l->u.up.time = wn_load_lin(ld, WN_DIMS(in, in, 3, 1, 1), "%s.time_conv", at);
        break;
    }
}

static int slots_of(enum layer_kind kind)
{
    return kind == RESIDUAL ? 2 : kind == UP_3D || kind == DOWN_3D ? 1 : 0;
}

/* `where` is "encoder.downsamples" or alike; name is its part after the first dot. */
static void add_layer(struct wn_loader *ld, struct half *h, int *slot, enum layer_kind kind, int64_t in,
                      int64_t out, const char *where, int i)
{
    struct layer *l = &h->layer[h->n_layers++];
    char at[64];
    snprintf(at, sizeof at, "%s.%d", where, i);
    snprintf(l->name, sizeof l->name, "%s", strchr(at, '.') + 1);
    l->kind = kind;
    l->slot = *slot;
    *slot += slots_of(kind);
    if (kind == UP_3D || kind == DOWN_3D) h->n_temporal = h->n_layers;
    load_layer(ld, l, in, out, at);
}

static void add_middle(struct wn_loader *ld, struct half *h, int *slot, int64_t C, const char *where)
{
    add_layer(ld, h, slot, RESIDUAL, C, C, where, 0);
    add_layer(ld, h, slot, ATTENTION, C, C, where, 1);
    add_layer(ld, h, slot, RESIDUAL, C, C, where, 2);
}

static void add_plan(struct wn_loader *ld, struct half *h, int *slot, const struct plan *plan, int n,
                     int64_t base, const char *where)
{
    for (int i = 0; i < n; i++)
        add_layer(ld, h, slot, plan[i].kind, base * plan[i].in, base * plan[i].out, where, i);
}

static void load_encoder(struct wn_vae21 *m, int64_t base)
{
    struct wn_loader *ld = &m->ld;
    struct half *h = &m->enc;
    int slot = 0;
    h->conv1_slot = slot++;
    h->conv1 = wn_load_lin(ld, WN_DIMS(base, 3, 3, 3, 3), "encoder.conv1");
    add_plan(ld, h, &slot, encoder_plan, 11, base, "encoder.downsamples");
    add_middle(ld, h, &slot, 4 * base, "encoder.middle");
    h->head_norm = wn_load(ld, WN_DIMS(4 * base, 1, 1, 1), "encoder.head.0.gamma");
    h->head_conv = wn_load_lin(ld, WN_DIMS(2 * m->z, 4 * base, 3, 3, 3), "encoder.head.2");
    h->head_slot = slot++;
    m->quant = wn_load_lin(ld, WN_DIMS(2 * m->z, 2 * m->z, 1, 1, 1), "conv1");
}

static void load_decoder(struct wn_vae21 *m, int64_t base)
{
    struct wn_loader *ld = &m->ld;
    struct half *h = &m->dec;
    int slot = 0;
    m->post_quant = wn_load_lin(ld, WN_DIMS(m->z, m->z, 1, 1, 1), "conv2");
    h->conv1_slot = slot++;
    h->conv1 = wn_load_lin(ld, WN_DIMS(4 * base, m->z, 3, 3, 3), "decoder.conv1");
    add_middle(ld, h, &slot, 4 * base, "decoder.middle");
    add_plan(ld, h, &slot, decoder_plan, 15, base, "decoder.upsamples");
    h->head_norm = wn_load(ld, WN_DIMS(base, 1, 1, 1), "decoder.head.0.gamma");
    h->head_conv = wn_load_lin(ld, WN_DIMS(3, base, 3, 3, 3), "decoder.head.2");
    h->head_slot = slot++;
}

/* latents_mean / latents_std of the file, [z] in any shape; false when it has none. */
static bool read_statistic(struct wn_vae21 *m, const char *name, float *out)
{
    if (!wn_load_has(&m->ld, "%s", name)) return false;
    const struct wn_weight *w = wn_load_find(&m->ld, "%s", name);
    int64_t n = 1;
    for (int i = 0; i < w->n_dims; i++) n *= w->dim[i];
    if (n != m->z || !wn_dtype_is_float(w->type)) {
        wn_fail(m->ld.err, WAN_EFORMAT, "%s: tensor '%s' must hold %lld floats", w->file, name,
                (long long)m->z);
        return true;
    }
    wn_to_f32(w->data, w->type, out, n);
    return true;
}

static void load_statistics(struct wn_vae21 *m)
{
    struct wn_err *err = m->ld.err;
    m->mean = wn_zalloc_n((size_t)m->z, sizeof *m->mean);
    m->inv_std = wn_zalloc_n((size_t)m->z, sizeof *m->inv_std);
    if (!m->mean || !m->inv_std) {
        wn_fail_nomem(err, "the latent statistics", (unsigned long long)m->z * 2 * sizeof *m->mean);
        return;
    }
    bool own = read_statistic(m, "latents_mean", m->mean);
    if (read_statistic(m, "latents_std", m->inv_std) != own)
        wn_fail(err, WAN_EFORMAT, "%s: has one of 'latents_mean' and 'latents_std' without the other",
                wn_weights_path(m->ld.weights));
    if (!own && m->z == 16) {
        memcpy(m->mean, official_mean, sizeof official_mean);
        memcpy(m->inv_std, official_std, sizeof official_std);
    } else if (!own)
        wn_fail(err, WAN_EFORMAT, "%s: %lld latent channels need tensors 'latents_mean' and 'latents_std'",
                wn_weights_path(m->ld.weights), (long long)m->z);
    for (int64_t i = 0; i < m->z; i++) {
        if (!err->code && !(m->inv_std[i] > 0))
            wn_fail(err, WAN_EFORMAT, "%s: 'latents_std' must be positive", wn_weights_path(m->ld.weights));
        m->inv_std[i] = 1 / m->inv_std[i];
    }
}

static void load_all(struct wn_vae21 *m)
{
    const struct wn_weight *post = wn_load_find(&m->ld, "conv2.weight");
    const struct wn_weight *out = wn_load_find(&m->ld, "decoder.head.0.gamma");
    const struct wn_weight *in = wn_load_find(&m->ld, "encoder.conv1.weight");
    if (m->ld.err->code) return;
    m->z = post->n_dims ? post->dim[0] : 0;
    load_statistics(m);
    load_encoder(m, in->n_dims ? in->dim[0] : 0);
    load_decoder(m, out->n_dims ? out->dim[0] : 0);
}

enum wan_status wn_vae21_new(struct wn_vae21 **out, struct wn_device *dev, const struct wn_weights *weights,
                             struct wn_err *err)
{
    *out = NULL;
    struct wn_vae21 *m = wn_zalloc(sizeof *m);
    if (!m) return wn_fail_nomem(err, "the VAE", sizeof *m);
    m->ld = (struct wn_loader){.dev = dev, .weights = weights, .err = err};
    load_all(m);
    m->ld.err = NULL;
    if (err->code) {
        wn_vae21_free(m);
        return err->code;
    }
    *out = m;
    return WAN_OK;
}

void wn_vae21_free(struct wn_vae21 *m)
{
    if (!m) return;
    wn_loader_release(&m->ld);
    wn_free(m->mean);
    wn_free(m->inv_std);
    wn_free(m);
}

int64_t wn_vae21_z(const struct wn_vae21 *m)
{
    return m->z;
}

enum wan_status wn_vae21_stream_new(struct wn_vae21_stream **out, const struct wn_vae21 *vae,
                                    struct wn_err *err)
{
    *out = wn_zalloc(sizeof **out);
    if (!*out) return wn_fail_nomem(err, "a VAE stream", sizeof **out);
    (*out)->vae = vae;
    return WAN_OK;
}

void wn_vae21_stream_free(struct wn_vae21_stream *s)
{
    if (!s) return;
    for (int i = 0; i < MAX_SLOTS; i++) wn_release(s->history[i]);
    wn_free(s);
}

/* ---- layers ---- */

static int64_t n_frames(struct wn_tensor t)
{
    return wn_has(t) ? t.dim[0] : 0;
}

/* Make `slot` hold the last `keep` frames of what it held followed by x [T, H, W, C]. */
static void remember(struct wn_exec *ex, struct wn_vae21_stream *s, int slot, struct wn_tensor x,
                     int64_t keep)
{
    if (!wn_ok(ex)) return;
    struct wn_tensor old = s->history[slot], now;
    int64_t T = x.dim[0], held = n_frames(old), from_old = keep - T;
    if (from_old <= 0)
        now = wn_unary(ex, .x = wn_rows(x, T - keep, T)); /* a copy: x itself may be large */
    else if (held == 0)
        now = wn_unary(ex, .x = x);
    else
        now = wn_concat(ex, .a = wn_rows(old, held > from_old ? held - from_old : 0, held), .b = x);
    if (!wn_ok(ex)) return;
    wn_release(old);
    s->history[slot] = wn_retain(ex, now);
}

/* A 3x3x3 or 3x1x1 causal convolution: two frames of history, zeros before the first. `add` may be absent. */
static struct wn_tensor causal_conv(struct wn_exec *ex, struct wn_vae21_stream *s, int slot,
                                    struct wn_tensor x, struct wn_lin conv, struct wn_tensor add)
{
    struct wn_tensor none = {0};
    if (!wn_ok(ex)) return none;
    int pad = conv.w.dim[3] == 3;
    struct wn_tensor cache = s->history[slot];
    struct wn_tensor y =
        wn_conv(ex, .x = x, .cache = cache, .w = conv.w, .b = conv.b, .pad_front = 2 - (int)n_frames(cache),
                .pad_h = {pad, pad}, .pad_w = {pad, pad}, .add = add);
    remember(ex, s, slot, x, 2);
    return y;
}

static struct wn_tensor norm_silu(struct wn_exec *ex, struct wn_tensor x, struct wn_tensor gamma)
{
    return wn_norm(ex, .x = x, .kind = WN_NORM_L2, .eps = 1e-12f, .weight = gamma, .act = WN_ACT_SILU,
                   .out_type = WN_F32);
}

static struct wn_tensor residual(struct wn_exec *ex, struct wn_vae21_stream *s, const struct layer *l,
                                 struct wn_tensor x)
{
    struct wn_tensor none = {0};
    struct wn_tensor a = norm_silu(ex, x, l->u.res.norm0);
    struct wn_tensor y = causal_conv(ex, s, l->slot, a, l->u.res.conv2, none);
    wn_drop(ex, a);
    a = norm_silu(ex, y, l->u.res.norm3);
    wn_drop(ex, y);
    if (wn_has(l->u.res.shortcut.w))
        x = wn_conv(ex, .x = x, .w = l->u.res.shortcut.w, .b = l->u.res.shortcut.b);
    x = causal_conv(ex, s, l->slot + 1, a, l->u.res.conv6, x);
    wn_drop(ex, a);
    return x;
}

/* Each frame by itself: one head as wide as the channels. */
static struct wn_tensor attention(struct wn_exec *ex, const struct layer *l, struct wn_tensor x)
{
    int64_t T = x.dim[0], n = x.dim[1] * x.dim[2], C = x.dim[3];
    int64_t *seg = wn_alloc_n((size_t)T + 1, sizeof *seg);
    if (!seg) {
        wn_fail_nomem(&ex->err, "frame offsets", (unsigned long long)(T + 1) * sizeof *seg);
        return x;
    }
    for (int64_t i = 0; i <= T; i++) seg[i] = i * n;
    struct wn_tensor h = wn_norm(ex, .x = wn_reshape_to(x, T * n, C), .kind = WN_NORM_L2, .eps = 1e-12f,
                                 .weight = l->u.att.norm, .out_type = WN_F32);
    struct wn_tensor part[3];
    for (int i = 0; i < 3; i++)
        part[i] = wn_linear(ex, .x = h, .w = wn_rows(l->u.att.qkv.w, i * C, (i + 1) * C),
                            .b = wn_rows(l->u.att.qkv.b, i * C, (i + 1) * C), .out_type = WN_F32);
    if (wn_ok(ex)) {
        for (int i = 0; i < 3; i++) part[i] = wn_reshape_to(part[i], T * n, 1, C);
        h = wn_attention(ex, .q = part[0], .k = part[1], .v = part[2], .q_seg = seg, .k_seg = seg,
                         .n_seg = (int)T, .out_type = WN_F32);
    }
    wn_free(seg);
    if (!wn_ok(ex)) return x;
    struct wn_tensor y = wn_linear(ex, .x = wn_reshape_to(h, T * n, C), .w = l->u.att.proj.w,
                                   .b = l->u.att.proj.b, .add = wn_reshape_to(x, T * n, C));
    return wn_ok(ex) ? wn_reshape_to(y, x.dim[0], x.dim[1], x.dim[2], C) : x;
}

/* Twice the frames: the first frame of a clip passes, each later one becomes two (channels [0, C) and [C, 2C)
 * of time_conv, which never sees the first). */
static struct wn_tensor upsample_time(struct wn_exec *ex, struct wn_vae21_stream *s, const struct layer *l,
                                      struct wn_tensor x)
{
    struct wn_tensor none = {0};
    if (s->n_calls == 0 || !wn_ok(ex)) return x;
    int64_t T = x.dim[0], H = x.dim[1], W = x.dim[2], C = x.dim[3];
    struct wn_tensor y = causal_conv(ex, s, l->slot, x, l->u.up.time, none);
    if (!wn_ok(ex)) return x;
    y = wn_permute(ex, .x = wn_reshape_to(y, T, H * W, 2, C), .axis = {0, 2, 1, 3});
    return wn_ok(ex) ? wn_reshape_to(y, 2 * T, H, W, C) : x;
}

/* Half the frames: the first frame of a clip passes, then pairs, each with the frame before it. */
static struct wn_tensor downsample_time(struct wn_exec *ex, struct wn_vae21_stream *s, const struct layer *l,
                                        struct wn_tensor x)
{
    struct wn_tensor y = x;
    if (s->n_calls > 0)
        y = wn_conv(ex, .x = x, .cache = s->history[l->slot], .w = l->u.up.time.w, .b = l->u.up.time.b,
                    .stride = {2, 1, 1});
    remember(ex, s, l->slot, x, 1);
    return y;
}

static struct wn_tensor run_layer(struct wn_exec *ex, struct wn_vae21_stream *s, const struct layer *l,
                                  struct wn_tensor x)
{
    switch (l->kind) {
    case RESIDUAL: return residual(ex, s, l, x);
    case ATTENTION: return attention(ex, l, x);
    case UP_3D:
        x = upsample_time(ex, s, l, x);
        /* fall through */
    case UP_2D:
        return wn_conv(ex, .x = x, .w = l->u.up.conv.w, .b = l->u.up.conv.b, .pad_h = {1, 1}, .pad_w = {1, 1},
                       .upsample = 2);
    case DOWN_2D:
    case DOWN_3D:
        x = wn_conv(ex, .x = x, .w = l->u.up.conv.w, .b = l->u.up.conv.b, .pad_h = {0, 1}, .pad_w = {0, 1},
                    .stride = {1, 2, 2});
        return l->kind == DOWN_3D ? downsample_time(ex, s, l, x) : x;
    }
    return x;
}

/* Layers [i, ..) and head of x [T, H, W, C], which is consumed. */
static struct wn_tensor run_layers(struct wn_exec *ex, struct wn_vae21_stream *s, const struct half *h, int i,
                                   struct wn_tensor x);

/* Past the last temporal layer frames meet only in the histories: they go one at a time, so that the largest
 * tensors are those of one frame. */
static struct wn_tensor run_frames(struct wn_exec *ex, struct wn_vae21_stream *s, const struct half *h, int i,
                                   struct wn_tensor x)
{
    struct wn_tensor all = {0};
    for (int64_t f = 0; f < x.dim[0] && wn_ok(ex); f++) {
        struct wn_scope scope;
        wn_scope_begin(ex, &scope);
        struct wn_tensor one =
            wn_unary(ex, .x = wn_rows(x, f, f + 1)); /* a copy: what consumes it may reuse it */
        one = run_layers(ex, s, h, i, one);
        all = wn_keep(ex, f && wn_ok(ex) ? wn_concat(ex, .a = all, .b = one) : one);
        wn_scope_end(ex, &scope);
    }
    return all;
}

static struct wn_tensor run_layers(struct wn_exec *ex, struct wn_vae21_stream *s, const struct half *h, int i,
                                   struct wn_tensor x)
{
    struct wn_tensor none = {0};
    for (; i < h->n_layers && wn_ok(ex); i++) {
        if (i >= h->n_temporal && x.dim[0] > 1) return run_frames(ex, s, h, i, x);
        struct wn_scope scope;
        wn_scope_begin(ex, &scope);
        struct wn_tensor y = wn_keep(ex, run_layer(ex, s, &h->layer[i], x));
        wn_scope_end(ex, &scope);
        if (wn_ok(ex) && y.buf != x.buf) wn_drop(ex, x);
        x = y;
        wn_name(ex, x, "%s", h->layer[i].name);
    }
    struct wn_tensor a = norm_silu(ex, x, h->head_norm);
    wn_drop(ex, x);
    x = causal_conv(ex, s, h->head_slot, a, h->head_conv, none);
    wn_drop(ex, a);
    wn_name(ex, x, "head");
    return x;
}

/* conv1, the layers, head: x [T, H, W, C] in the current scope. */
static struct wn_tensor run_half(struct wn_exec *ex, struct wn_vae21_stream *s, const struct half *h,
                                 struct wn_tensor x)
{
    struct wn_tensor none = {0};
    x = causal_conv(ex, s, h->conv1_slot, x, h->conv1, none);
    wn_name(ex, x, "conv1");
    return run_layers(ex, s, h, 0, x);
}

/* ---- the two directions ---- */

static float *host_floats(struct wn_exec *ex, int64_t n)
{
    float *p = wn_alloc_n((size_t)n, sizeof *p);
    if (!p) wn_fail_nomem(&ex->err, "VAE frames", (unsigned long long)n * sizeof *p);
    return p;
}

struct wn_tensor wn_vae21_decode(struct wn_exec *ex, struct wn_vae21_stream *s, const float *latent,
                                 int64_t plane, int64_t F, int64_t h, int64_t w)
{
    const struct wn_vae21 *m = s->vae;
    struct wn_tensor none = {0};
    if (!wn_ok(ex)) return none;
    if (F < 1 || (s->n_calls == 0 && F != 1)) {
        wn_exec_fail(ex, WAN_EINTERNAL, "a VAE stream starts with one latent frame, got %lld", (long long)F);
        return none;
    }
    int64_t n = F * h * w, Z = m->z;
    float *x = host_floats(ex, n * Z);
    if (!x) return none;
    for (int64_t c = 0; c < Z; c++)
        for (int64_t i = 0; i < n; i++) x[i * Z + c] = latent[c * plane + i] / m->inv_std[c] + m->mean[c];
    struct wn_scope scope;
    wn_scope_begin(ex, &scope);
    struct wn_tensor t = wn_upload(ex, wn_shape_of(WN_F32, F, h, w, Z), x);
    wn_free(x);
    t = wn_conv(ex, .x = t, .w = m->post_quant.w, .b = m->post_quant.b);
    wn_name(ex, t, "conv2");
    t = wn_keep(ex, run_half(ex, s, &m->dec, t));
    wn_scope_end(ex, &scope);
    s->n_calls++;
    return wn_ok(ex) ? t : none;
}

/* The mean half of quant's output [F, h, w, 2z] as a normalised latent. */
static void store_latent(struct wn_exec *ex, const struct wn_vae21 *m, struct wn_tensor t, float *latent,
                         int64_t plane)
{
    int64_t n = t.dim[0] * t.dim[1] * t.dim[2], Z = m->z;
    float *y = host_floats(ex, n * 2 * Z);
    if (y && wn_download(ex, t, y) == WAN_OK)
        for (int64_t c = 0; c < Z; c++)
            for (int64_t i = 0; i < n; i++)
                latent[c * plane + i] = (y[i * 2 * Z + c] - m->mean[c]) * m->inv_std[c];
    wn_free(y);
}

enum wan_status wn_vae21_encode(struct wn_exec *ex, struct wn_vae21_stream *s, const float *video,
                                int64_t plane, int64_t T, int64_t H, int64_t W, float *latent,
                                int64_t latent_plane)
{
    const struct wn_vae21 *m = s->vae;
    if (!wn_ok(ex)) return ex->err.code;
    if (H % WN_VAE21_STRIDE || W % WN_VAE21_STRIDE || H < 1 || W < 1)
        return wn_exec_fail(ex, WAN_EINVAL, "video of %lld x %lld: the VAE takes multiples of %d",
                            (long long)W, (long long)H, WN_VAE21_STRIDE);
    if (s->n_calls == 0 ? T != 1 : T < 4 || T % 4)
        return wn_exec_fail(ex, WAN_EINTERNAL, "%lld frames at call %lld of a VAE stream", (long long)T,
                            (long long)s->n_calls);
    int64_t n = T * H * W;
    float *x = host_floats(ex, n * 3);
    if (!x) return ex->err.code;
    for (int64_t c = 0; c < 3; c++)
        for (int64_t i = 0; i < n; i++) x[i * 3 + c] = video[c * plane + i];
    struct wn_scope scope;
    wn_scope_begin(ex, &scope);
    struct wn_tensor t = wn_upload(ex, wn_shape_of(WN_F32, T, H, W, 3), x);
    wn_free(x);
    t = run_half(ex, s, &m->enc, t);
    t = wn_conv(ex, .x = t, .w = m->quant.w, .b = m->quant.b);
    if (wn_ok(ex)) store_latent(ex, m, t, latent, latent_plane);
    wn_scope_end(ex, &scope);
    s->n_calls++;
    return ex->err.code;
}
