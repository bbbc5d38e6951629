#include "model/vae.h"

#include "base/mem.h"
#include "model/vae_layers.h"
#include "ops/ops.h"

/* Rows [first, end) of the `of` rows that a frame has at some resolution. */
struct span {
    int64_t first, end, of;
};

struct wn_vae_stream {
    const struct wn_vae *vae;
    struct wn_tensor history[WN_VAE_MAX_SLOTS]; /* the last frames that a convolution saw, by slot */
    int64_t n_calls;
    int64_t first, end; /* latent rows of the strip; end 0: all */
    /* While a call runs: */
    struct span at;   /* the rows that the tensor going through the layers holds */
    struct span want; /* those of the strip, where layers [.., last) and with the last the head have been */
    int last;
};

enum wan_status wn_vae_stream_new(struct wn_vae_stream **out, const struct wn_vae *vae, struct wn_err *err)
{
    *out = NULL;
    if (wn_loader_wake(&vae->ld, err)) return err->code;
    *out = wn_zalloc(sizeof **out);
    if (!*out) return wn_fail_nomem(err, "a VAE stream", sizeof **out);
    (*out)->vae = vae;
    return WAN_OK;
}

void wn_vae_stream_free(struct wn_vae_stream *s)
{
    if (!s) return;
    for (int i = 0; i < WN_VAE_MAX_SLOTS; i++) wn_release(s->history[i]);
    wn_free(s);
}

void wn_vae_stream_rows(struct wn_vae_stream *s, int64_t first, int64_t end)
{
    s->first = first;
    s->end = end;
}

/* ---- strips ----
 *
 * Norms are of pixels, and only the middle's attention lets all of a frame meet; it works at the resolution
 * of the latents. Everything else is convolutions of 3x3, so that a strip of the result needs a few rows more
 * above and below at each layer, and those are all that is computed: the same sums as for the whole frame. A
 * tensor that lacks a frame's first or last row is not padded with zeros there and loses a row instead. */

static struct span whole(int64_t rows)
{
    return (struct span){0, rows, rows};
}

/* The rows of which k convolutions of 3x3 make those of r. */
static struct span grown(struct span r, int k)
{
    return (struct span){r.first > k ? r.first - k : 0, r.end + k < r.of ? r.end + k : r.of, r.of};
}

/* What k convolutions of 3x3 make of r. */
static struct span shrunk(struct span r, int k)
{
    return (struct span){r.first ? r.first + k : 0, r.end < r.of ? r.end - k : r.of, r.of};
}

/* What a layer makes of r. */
static struct span rows_after(const struct wn_vae_layer *l, struct span r)
{
    switch (l->kind) {
    case WN_VAE_RESIDUAL: return shrunk(r, 2);
    case WN_VAE_UP_2D:
    case WN_VAE_UP_3D: return shrunk((struct span){2 * r.first, 2 * r.end, 2 * r.of}, 1);
    case WN_VAE_DOWN_2D: /* row j is made of 2j, 2j + 1 and 2j + 2 */
    case WN_VAE_DOWN_3D:
        return (struct span){r.first / 2, r.end < r.of ? (r.end - 1) / 2 : r.of / 2, r.of / 2};
    case WN_VAE_ATTENTION: break;
    }
    return r;
}

/* The rows of which a layer makes those of r. */
static struct span rows_before(const struct wn_vae_layer *l, struct span r)
{
    switch (l->kind) {
    case WN_VAE_RESIDUAL: return grown(r, 2);
    case WN_VAE_UP_2D:
    case WN_VAE_UP_3D: r = grown(r, 1); return (struct span){r.first / 2, (r.end + 1) / 2, r.of / 2};
    case WN_VAE_DOWN_2D:
    case WN_VAE_DOWN_3D: return (struct span){2 * r.first, r.end < r.of ? 2 * r.end + 1 : 2 * r.of, 2 * r.of};
    case WN_VAE_ATTENTION: break;
    }
    return r;
}

/* The rows that layer i must be given for the stream's strip. */
static struct span rows_needed(const struct wn_vae_stream *s, const struct wn_vae_half *h, int i)
{
    struct span r = s->last == h->n_layers ? grown(s->want, 1) : s->want; /* by the head */
    for (int k = s->last - 1; k >= i; k--) r = rows_before(&h->layer[k], r);
    return r;
}

static bool same_rows(struct span a, struct span b)
{
    return a.first == b.first && a.end == b.end;
}

/* Rows `to` of x, which holds rows `from`: x itself, or a copy. */
static struct wn_tensor crop(struct wn_exec *ex, struct wn_tensor x, struct span from, struct span to)
{
    if (!wn_ok(ex) || same_rows(from, to)) return x;
    int64_t T = x.dim[0], H = x.dim[1], W = x.dim[2], C = x.dim[3], rows = to.end - to.first;
    int32_t *index = wn_alloc_n((size_t)(T * rows), sizeof *index);
    if (!index) {
        wn_fail_nomem(&ex->err, "rows of a strip", (unsigned long long)(T * rows) * sizeof *index);
        return x;
    }
    for (int64_t i = 0; i < T * rows; i++)
        index[i] = (int32_t)(i / rows * H + i % rows + to.first - from.first);
    struct wn_tensor places = wn_upload(ex, wn_shape_of(WN_I32, T * rows), index);
    wn_free(index);
    x = wn_gather(ex, .table = wn_reshape_to(x, T * H, W * C), .index = places);
    return wn_ok(ex) ? wn_reshape_to(x, T, rows, W, C) : x;
}

/* x less the rows beyond `to`; x may be dropped. */
static struct wn_tensor crop_to(struct wn_exec *ex, struct wn_vae_stream *s, struct wn_tensor x,
                                struct span to)
{
    struct wn_tensor y = crop(ex, x, s->at, to);
    if (wn_ok(ex) && y.buf != x.buf) wn_drop(ex, x);
    s->at = to;
    return y;
}

/* ---- layers ---- */

static int64_t n_frames(struct wn_tensor t)
{
    return wn_has(t) ? t.dim[0] : 0;
}

/* Make `slot` hold the last `keep` frames of what it held followed by x [T, H, W, C]. */
static void remember(struct wn_exec *ex, struct wn_vae_stream *s, int slot, struct wn_tensor x, int64_t keep)
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
static struct wn_tensor causal_conv(struct wn_exec *ex, struct wn_vae_stream *s, int slot, struct wn_tensor x,
                                    struct wn_lin conv, struct wn_tensor add)
{
    struct wn_tensor none = {0};
    if (!wn_ok(ex)) return none;
    int pad = conv.w.dim[3] == 3;
    struct wn_tensor cache = s->history[slot];
    struct wn_tensor y = wn_conv(
        ex, .x = x, .cache = cache, .w = conv.w, .b = conv.b, .pad_front = 2 - (int)n_frames(cache),
        .pad_h = {pad && s->at.first == 0, pad && s->at.end == s->at.of}, .pad_w = {pad, pad}, .add = add);
    remember(ex, s, slot, x, 2);
    if (pad) s->at = shrunk(s->at, 1);
    return y;
}

static struct wn_tensor norm_silu(struct wn_exec *ex, struct wn_tensor x, struct wn_tensor gamma)
{
    return wn_norm(ex, .x = x, .kind = WN_NORM_L2, .eps = 1e-12f, .weight = gamma, .act = WN_ACT_SILU,
                   .out_type = WN_F32);
}

static struct wn_tensor residual(struct wn_exec *ex, struct wn_vae_stream *s, const struct wn_vae_layer *l,
                                 struct wn_tensor x)
{
    struct wn_tensor none = {0};
    struct span in = s->at;
    struct wn_tensor a = norm_silu(ex, x, l->u.res.norm0);
    struct wn_tensor y = causal_conv(ex, s, l->slot, a, l->u.res.conv2, none);
    wn_drop(ex, a);
    a = norm_silu(ex, y, l->u.res.norm3);
    wn_drop(ex, y);
    x = crop(ex, x, in, shrunk(in, 2));
    if (wn_has(l->u.res.shortcut.w))
        x = wn_conv(ex, .x = x, .w = l->u.res.shortcut.w, .b = l->u.res.shortcut.b);
    x = causal_conv(ex, s, l->slot + 1, a, l->u.res.conv6, x);
    wn_drop(ex, a);
    return x;
}

/* Each frame by itself: one head as wide as the channels. */
static struct wn_tensor attention(struct wn_exec *ex, const struct wn_vae_layer *l, struct wn_tensor x)
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
static struct wn_tensor upsample_time(struct wn_exec *ex, struct wn_vae_stream *s,
                                      const struct wn_vae_layer *l, struct wn_tensor x)
{
    struct wn_tensor none = {0};
    if (s->n_calls == 0 || !wn_ok(ex)) return x;
    int64_t T = x.dim[0], H = x.dim[1], W = x.dim[2], C = x.dim[3];
    struct wn_tensor y = causal_conv(ex, s, l->slot, x, l->u.up.time, none);
    if (!wn_ok(ex)) return x;
    y = wn_permute(ex, .x = wn_reshape_to(y, T, H * W, 2, C), .axis = {0, 2, 1, 3});
    return wn_ok(ex) ? wn_reshape_to(y, 2 * T, H, W, C) : x;
}

static struct wn_tensor plus(struct wn_exec *ex, struct wn_tensor x, struct wn_tensor add)
{
    return wn_has(add) ? wn_binary(ex, .kind = WN_ADD, .a = x, .b = add) : x;
}

/* Half the frames: the first frame of a clip passes, then pairs, each with the frame before it. */
static struct wn_tensor downsample_time(struct wn_exec *ex, struct wn_vae_stream *s,
                                        const struct wn_vae_layer *l, struct wn_tensor x,
                                        struct wn_tensor add)
{
    struct wn_tensor y;
    if (s->n_calls > 0)
        y = wn_conv(ex, .x = x, .cache = s->history[l->slot], .w = l->u.up.time.w, .b = l->u.up.time.b,
                    .stride = {2, 1, 1}, .add = add);
    else
        y = plus(ex, x, add);
    remember(ex, s, l->slot, x, 1);
    return y;
}

/* ---- shortcuts over a stage (VAE 2.2) ---- */

struct held {
    struct wn_tensor x;
    struct span rows;
};

/* Means of 2 x 2 pixels: [T, H, W, C] -> [T, H/2, W/2, C]. */
static struct wn_tensor average(struct wn_exec *ex, struct wn_tensor x)
{
    static const float quarter = 0.25f;
    if (!wn_ok(ex)) return x;
    int64_t T = x.dim[0], H = x.dim[1] / 2, W = x.dim[2] / 2, C = x.dim[3];
    x = wn_permute(ex, .x = wn_reshape_to(x, T * H, 2, W, 2, C), .axis = {1, 3, 0, 2, 4});
    if (!wn_ok(ex)) return x;
    x = wn_reshape_to(x, 4, T * H * W * C);
    x = wn_binary(ex, .kind = WN_ADD, .a = wn_rows(x, 0, 2), .b = wn_rows(x, 2, 4));
    if (!wn_ok(ex)) return x;
    x = wn_binary(ex, .kind = WN_ADD, .a = wn_rows(x, 0, 1), .b = wn_rows(x, 1, 2));
    x = wn_binary(ex, .kind = WN_MUL, .a = x, .b = wn_upload(ex, wn_shape_of(WN_F32, 1), &quarter));
    return wn_ok(ex) ? wn_reshape_to(x, T, H, W, C) : x;
}

/* A frame of zeros before those of x. */
static struct wn_tensor after_zeros(struct wn_exec *ex, struct wn_tensor x)
{
    if (!wn_ok(ex)) return x;
    struct wn_tensor shape = x, zeros;
    shape.dim[0] = 1;
    void *host = wn_zalloc(wn_n_bytes(shape));
    if (!host) {
        wn_fail_nomem(&ex->err, "a frame of zeros", wn_n_bytes(shape));
        return x;
    }
    zeros = wn_upload(ex, shape, host);
    wn_free(host);
    return wn_concat(ex, .a = zeros, .b = x);
}

/* The frames of a pair as neighbouring channels, [T, H, W, C] -> [T/2, H, W, 2C]. The clip's first frame is
 * the later one of its pair. */
static struct wn_tensor pair_frames(struct wn_exec *ex, const struct wn_vae_stream *s, struct wn_tensor x)
{
    if (s->n_calls == 0) x = after_zeros(ex, x);
    if (!wn_ok(ex)) return x;
    int64_t T = x.dim[0] / 2, H = x.dim[1], W = x.dim[2], C = x.dim[3];
    x = wn_permute(ex, .x = wn_reshape_to(x, T, 2, H * W, C), .axis = {0, 2, 3, 1});
    return wn_ok(ex) ? wn_reshape_to(x, T, H, W, 2 * C) : x;
}

/* For each pixel of the result, in order, the row that it repeats: of [T * H * W], or with parity of
 * [T * H * 2 * W]. x holds the rows of frames from first_row on. */
static void fill_repeats(int32_t *index, const struct wn_tensor *x, int64_t first_row, struct span to,
                         int64_t times, bool parity)
{
    int64_t T = x->dim[0], H = x->dim[1], W = x->dim[2];
    for (int64_t t = 0; t < T * times; t++)
        for (int64_t h = to.first; h < to.end; h++) {
            int64_t row = t / times * H + h / 2 - first_row, first = (parity ? 2 * row + h % 2 : row) * W;
            for (int64_t w = 0; w < 2 * W; w++) *index++ = (int32_t)(first + w / 2);
        }
}

/* A stage's input in the size of its result, with the rows `to`: [T, H, W, C] -> [T or 2T, 2H, 2W, C or C/2].
 */
static struct wn_tensor repeat(struct wn_exec *ex, const struct wn_vae_stream *s, enum wn_vae_shortcut kind,
                               const struct held *held, struct span to)
{
    struct wn_tensor x = held->x;
    if (!wn_ok(ex)) return x;
    bool parity = kind == WN_VAE_DUP_2D;
    int64_t T = x.dim[0], H = x.dim[1], W = x.dim[2], C = parity ? x.dim[3] / 2 : x.dim[3];
    int64_t times = kind == WN_VAE_DUP_3D && s->n_calls > 0 ? 2 : 1;
    int64_t rows = to.end - to.first, n = T * times * rows * 2 * W;
    int64_t n_rows = T * H * W * (parity ? 2 : 1);
    if (n > INT32_MAX) {
        wn_exec_fail(ex, WAN_EUNSUPPORTED, "frames of %lld x %lld are too large for the VAE", (long long)W,
                     (long long)H);
        return x;
    }
    int32_t *index = wn_alloc_n((size_t)n, sizeof *index);
    if (!index) {
        wn_fail_nomem(&ex->err, "pixel places", (unsigned long long)n * sizeof *index);
        return x;
    }
    fill_repeats(index, &x, held->rows.first, to, times, parity);
    struct wn_tensor places = wn_upload(ex, wn_shape_of(WN_I32, n), index);
    wn_free(index);
    if (parity) x = wn_permute(ex, .x = wn_reshape_to(x, T * H, W, C, 2), .axis = {0, 3, 1, 2});
    if (!wn_ok(ex)) return x;
    x = wn_gather(ex, .table = wn_reshape_to(x, n_rows, C), .index = places);
    return wn_ok(ex) ? wn_reshape_to(x, T * times, rows, 2 * W, C) : x;
}

/* What is held while a stage runs: in the encoder the shortcut itself, which is smaller than the stage's
 * input; in the decoder a copy of that input (the stage consumes it), which is smaller than the shortcut. */
static struct held open_shortcut(struct wn_exec *ex, const struct wn_vae_stream *s, enum wn_vae_shortcut kind,
                                 struct wn_tensor x)
{
    struct held held = {.rows = s->at};
    struct wn_scope scope;
    if (kind == WN_VAE_NO_SHORTCUT) return held;
    wn_scope_begin(ex, &scope);
    if (kind == WN_VAE_AVG_2D || kind == WN_VAE_AVG_3D) {
        struct span even = {s->at.first, s->at.end & ~(int64_t)1, s->at.of};
        held.x = average(ex, crop(ex, x, s->at, even));
        if (kind == WN_VAE_AVG_3D) held.x = pair_frames(ex, s, held.x);
        held.rows = (struct span){even.first / 2, even.end / 2, even.of / 2};
    } else {
        held.x = wn_unary(ex, .x = x);
    }
    held.x = wn_keep(ex, held.x);
    wn_scope_end(ex, &scope);
    return held;
}

/* What is added to rows `to` of a stage's result; absent where no stage with a shortcut ends. */
static struct wn_tensor close_shortcut(struct wn_exec *ex, const struct wn_vae_stream *s,
                                       enum wn_vae_shortcut kind, const struct held *held, struct span to)
{
    if (kind == WN_VAE_NO_SHORTCUT) return (struct wn_tensor){0};
    return kind == WN_VAE_DUP_2D || kind == WN_VAE_DUP_3D ? repeat(ex, s, kind, held, to)
                                                          : crop(ex, held->x, held->rows, to);
}

/* ---- layers in order ---- */

/* At the end of a stage with a shortcut, `add` is added to the result and may be consumed; else it is absent.
 */
static struct wn_tensor run_layer(struct wn_exec *ex, struct wn_vae_stream *s, const struct wn_vae_layer *l,
                                  struct wn_tensor x, struct wn_tensor add)
{
    struct wn_tensor none = {0};
    const int top = s->at.first == 0, bottom = s->at.end == s->at.of;
    switch (l->kind) {
    case WN_VAE_RESIDUAL: return plus(ex, residual(ex, s, l, x), add);
    case WN_VAE_ATTENTION: return attention(ex, l, x);
    case WN_VAE_UP_3D:
        x = upsample_time(ex, s, l, x);
        /* fall through */
    case WN_VAE_UP_2D:
        return wn_conv(ex, .x = x, .w = l->u.up.conv.w, .b = l->u.up.conv.b, .pad_h = {top, bottom},
                       .pad_w = {1, 1}, .upsample = 2, .add = add);
    case WN_VAE_DOWN_2D:
    case WN_VAE_DOWN_3D:
        x = wn_conv(ex, .x = x, .w = l->u.up.conv.w, .b = l->u.up.conv.b, .pad_h = {0, bottom},
                    .pad_w = {0, 1}, .stride = {1, 2, 2}, .add = l->kind == WN_VAE_DOWN_2D ? add : none);
        return l->kind == WN_VAE_DOWN_3D ? downsample_time(ex, s, l, x, add) : x;
    }
    return x;
}

/* Layers [i, end) of x [T, H, W, C], which is consumed. */
static struct wn_tensor run_layers(struct wn_exec *ex, struct wn_vae_stream *s, const struct wn_vae_half *h,
                                   int i, int end, struct wn_tensor x)
{
    struct held held = {.rows = s->at}; /* for the shortcut over the stage that layer i is in */
    for (; i < end && wn_ok(ex); i++) {
        const struct wn_vae_layer *l = &h->layer[i];
        bool middle = i >= h->middle && i < h->middle + WN_VAE_N_MIDDLE;
        if (!middle) x = crop_to(ex, s, x, rows_needed(s, h, i));
        if (l->opens) held = open_shortcut(ex, s, l->opens, x);
        struct span out = rows_after(l, s->at);
        struct wn_scope scope;
        wn_scope_begin(ex, &scope);
        struct wn_tensor add = close_shortcut(ex, s, l->closes, &held, out);
        struct wn_tensor y = wn_keep(ex, run_layer(ex, s, l, x, add));
        wn_scope_end(ex, &scope);
        if (wn_ok(ex) && y.buf != x.buf) wn_drop(ex, x);
        if (l->closes && wn_ok(ex) && y.buf != held.x.buf) wn_drop(ex, held.x);
        if (l->closes) held = (struct held){0};
        s->at = out;
        x = y;
        wn_name(ex, x, "%s", l->name);
    }
    return x;
}

static struct wn_tensor run_head(struct wn_exec *ex, struct wn_vae_stream *s, const struct wn_vae_half *h,
                                 struct wn_tensor x)
{
    struct wn_tensor none = {0}, a = norm_silu(ex, x, h->head_norm);
    wn_drop(ex, x);
    x = causal_conv(ex, s, h->head_slot, a, h->head_conv, none);
    wn_drop(ex, a);
    wn_name(ex, x, "head");
    return x;
}

/* Past the last temporal layer, which ends a stage, frames meet only in the histories: they go one at a time,
 * so that the largest tensors are those of one frame. Layers up to s->last, and head when that is all. */
static struct wn_tensor run_frames(struct wn_exec *ex, struct wn_vae_stream *s, const struct wn_vae_half *h,
                                   struct wn_tensor x)
{
    struct wn_tensor all = {0};
    struct span at = s->at;
    int64_t n = n_frames(x);
    for (int64_t f = 0; f < n && wn_ok(ex); f++) {
        struct wn_scope scope;
        struct wn_tensor one = x;
        wn_scope_begin(ex, &scope);
        s->at = at;
        if (n > 1) one = wn_unary(ex, .x = wn_rows(x, f, f + 1)); /* a copy: what consumes it may reuse it */
        one = run_layers(ex, s, h, h->n_temporal, s->last, one);
        if (s->last == h->n_layers) one = run_head(ex, s, h, one);
        one = crop_to(ex, s, one, s->want); /* near an edge of the frame there may be more */
        all = wn_keep(ex, f && wn_ok(ex) ? wn_concat(ex, .a = all, .b = one) : one);
        wn_scope_end(ex, &scope);
    }
    return all;
}

/* conv1 and the layers: x [T, H, W, C] in the current scope, whose rows s->at says. */
static struct wn_tensor run_half(struct wn_exec *ex, struct wn_vae_stream *s, const struct wn_vae_half *h,
                                 struct wn_tensor x)
{
    struct wn_tensor none = {0};
    x = causal_conv(ex, s, h->conv1_slot, x, h->conv1, none);
    wn_name(ex, x, "conv1");
    return run_frames(ex, s, h, run_layers(ex, s, h, 0, h->n_temporal, x));
}

/* ---- the two directions ---- */

/* [T, H, W, 3] -> [T, H/2, W/2, 12]: channel (c * 2 + column) * 2 + row of the 2 x 2 pixels. */
static struct wn_tensor patchify(struct wn_exec *ex, const struct wn_vae *m, struct wn_tensor x)
{
    if (m->patch == 1 || !wn_ok(ex)) return x;
    int64_t T = x.dim[0], H = x.dim[1] / 2, W = x.dim[2] / 2;
    x = wn_permute(ex, .x = wn_reshape_to(x, T, H, 2, W, 2, 3), .axis = {0, 1, 3, 5, 4, 2});
    return wn_ok(ex) ? wn_reshape_to(x, T, H, W, 12) : x;
}

static struct wn_tensor unpatchify(struct wn_exec *ex, const struct wn_vae *m, struct wn_tensor x)
{
    if (m->patch == 1 || !wn_ok(ex)) return x;
    int64_t T = x.dim[0], H = x.dim[1], W = x.dim[2];
    x = wn_permute(ex, .x = wn_reshape_to(x, T, H, W, 3, 2, 2), .axis = {0, 1, 5, 2, 4, 3});
    return wn_ok(ex) ? wn_reshape_to(x, T, 2 * H, 2 * W, 3) : x;
}

static float *host_floats(struct wn_exec *ex, int64_t n)
{
    float *p = wn_alloc_n((size_t)n, sizeof *p);
    if (!p) wn_fail_nomem(&ex->err, "VAE frames", (unsigned long long)n * sizeof *p);
    return p;
}

/* The strip of the stream in a frame of `rows` latent rows, each of which is `times` rows at some resolution.
 */
static struct span strip(const struct wn_vae_stream *s, int64_t rows, int64_t times)
{
    return (struct span){times * s->first, times * (s->end ? s->end : rows), times * rows};
}

struct wn_tensor wn_vae_decode(struct wn_exec *ex, struct wn_vae_stream *s, const float *latent,
                               int64_t plane, int64_t F, int64_t h, int64_t w)
{
    const struct wn_vae *m = s->vae;
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
    s->at = whole(h);
    s->last = m->dec.n_layers;
    s->want = strip(s, h, m->stride / m->patch);
    t = wn_keep(ex, unpatchify(ex, m, run_half(ex, s, &m->dec, t)));
    wn_scope_end(ex, &scope);
    s->n_calls++;
    return wn_ok(ex) ? t : none;
}

static bool can_encode(struct wn_exec *ex, const struct wn_vae_stream *s, int64_t T, int64_t H, int64_t W)
{
    int stride = s->vae->stride;
    if (!wn_ok(ex)) return false;
    if (H % stride || W % stride || H < 1 || W < 1)
        wn_exec_fail(ex, WAN_EINVAL, "video of %lld x %lld: the VAE takes multiples of %d", (long long)W,
                     (long long)H, stride);
    else if (s->n_calls == 0 ? T != 1 : T < 4 || T % 4)
        wn_exec_fail(ex, WAN_EINTERNAL, "%lld frames at call %lld of a VAE stream", (long long)T,
                     (long long)s->n_calls);
    return wn_ok(ex);
}

struct wn_tensor wn_vae_encode_strip(struct wn_exec *ex, struct wn_vae_stream *s, const float *video,
                                     int64_t plane, int64_t T, int64_t H, int64_t W)
{
    const struct wn_vae *m = s->vae;
    struct wn_tensor none = {0};
    if (!can_encode(ex, s, T, H, W)) return none;
    s->last = m->enc.middle;
    s->want = strip(s, H / m->stride, 1);
    s->at = grown(rows_needed(s, &m->enc, 0), 1); /* by conv1 */
    int64_t rows = (s->at.end - s->at.first) * m->patch, n = rows * W, first = s->at.first * m->patch * W;
    float *x = host_floats(ex, T * n * 3);
    if (!x) return none;
    for (int64_t c = 0; c < 3; c++)
        for (int64_t f = 0; f < T; f++)
            for (int64_t i = 0; i < n; i++) x[(f * n + i) * 3 + c] = video[c * plane + f * H * W + first + i];
    struct wn_scope scope;
    wn_scope_begin(ex, &scope);
    struct wn_tensor t = wn_upload(ex, wn_shape_of(WN_F32, T, rows, W, 3), x);
    wn_free(x);
    t = wn_keep(ex, run_half(ex, s, &m->enc, patchify(ex, m, t)));
    wn_scope_end(ex, &scope);
    s->n_calls++;
    return wn_ok(ex) ? t : none;
}

/* The mean half of quant's output [F, h, w, 2z] as a normalised latent. */
static void store_latent(struct wn_exec *ex, const struct wn_vae *m, struct wn_tensor t, float *latent,
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

enum wan_status wn_vae_encode_rest(struct wn_exec *ex, struct wn_vae_stream *s, struct wn_tensor x,
                                   float *latent, int64_t latent_plane)
{
    const struct wn_vae *m = s->vae;
    struct wn_scope scope;
    if (!wn_ok(ex)) return ex->err.code;
    wn_scope_begin(ex, &scope);
    s->at = whole(x.dim[1]);
    x = run_layers(ex, s, &m->enc, m->enc.middle, m->enc.n_layers, x);
    x = run_head(ex, s, &m->enc, x);
    x = wn_conv(ex, .x = x, .w = m->quant.w, .b = m->quant.b);
    if (wn_ok(ex)) store_latent(ex, m, x, latent, latent_plane);
    wn_scope_end(ex, &scope);
    return ex->err.code;
}

enum wan_status wn_vae_encode(struct wn_exec *ex, struct wn_vae_stream *s, const float *video, int64_t plane,
                              int64_t T, int64_t H, int64_t W, float *latent, int64_t latent_plane)
{
    struct wn_scope scope;
    wn_scope_begin(ex, &scope);
    struct wn_tensor x = wn_vae_encode_strip(ex, s, video, plane, T, H, W);
    wn_vae_encode_rest(ex, s, x, latent, latent_plane);
    wn_scope_end(ex, &scope);
    return ex->err.code;
}
