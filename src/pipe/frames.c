#include "pipe/frames.h"

#include <string.h>

#include "base/mem.h"

static int strips_of(int n, int64_t rows)
{
    return n < 1 ? 1 : n > rows ? (int)rows : n;
}

/* First latent row of strip i of n. */
static int64_t strip_start(int i, int n, int64_t rows)
{
    return i * rows / n;
}

/* A stream for strip i of n; NULL after a failure. */
static struct wn_vae_stream *open_strip(struct wn_exec *ex, const struct wn_vae *vae, int i, int n,
                                        int64_t rows)
{
    struct wn_vae_stream *s;
    if (!wn_ok(ex) || wn_vae_stream_new(&s, vae, &ex->err)) return NULL;
    wn_vae_stream_rows(s, strip_start(i, n, rows), strip_start(i + 1, n, rows));
    return s;
}

/* Blocks kept for the next tensors of a strip do not fit those of another one. */
static void close_strip(struct wn_exec *ex, struct wn_vae_stream *s)
{
    wn_vae_stream_free(s);
    ex->dev->table->trim(ex->dev);
}

/* ---- decoding ---- */

/* One decoded chunk [n, rows, W, 3], whose first row is that of a frame; `rows` NULL: it is dropped. */
static enum wan_status hand_over(struct wn_exec *ex, struct wn_tensor t, int *index, int64_t first,
                                 wn_rows_fn *rows, void *ctx)
{
    if (!wn_ok(ex)) return ex->err.code;
    float *rgb = wn_alloc(wn_n_bytes(t));
    if (!rgb) return wn_fail_nomem(&ex->err, "decoded frames", wn_n_bytes(t));
    int64_t n = t.dim[1] * t.dim[2] * t.dim[3];
    if (rows) wn_download(ex, t, rgb);
    for (int64_t i = 0; rows && i < t.dim[0] && wn_ok(ex); i++)
        rows(ctx, (*index)++, first, t.dim[1], rgb + i * n, &ex->err);
    wn_free(rgb);
    return ex->err.code;
}

static void decode_strip(struct wn_exec *ex, struct wn_vae_stream *stream, const float *latent,
                         const int64_t dim[4], int64_t first, wn_rows_fn *rows, void *ctx)
{
    int64_t hw = dim[2] * dim[3];
    int index = 0;
    for (int64_t f = 0; f < dim[1] && wn_ok(ex); f++) {
        struct wn_scope scope;
        wn_scope_begin(ex, &scope);
        struct wn_tensor t = wn_vae_decode(ex, stream, latent + f * hw, dim[1] * hw, 1, dim[2], dim[3]);
        hand_over(ex, t, &index, first, rows, ctx);
        wn_scope_end(ex, &scope);
    }
}

static void decode_strip_of(struct wn_exec *ex, const struct wn_vae *vae, const float *latent,
                            const int64_t dim[4], int i, int n, wn_rows_fn *rows, void *ctx)
{
    struct wn_vae_stream *stream = open_strip(ex, vae, i, n, dim[2]);
    decode_strip(ex, stream, latent, dim, wn_vae_stride(vae) * strip_start(i, n, dim[2]), rows, ctx);
    close_strip(ex, stream);
}

static enum wan_status check_channels(struct wn_exec *ex, const struct wn_vae *vae, const int64_t dim[4])
{
    if (dim[0] == wn_vae_z(vae)) return WAN_OK;
    return wn_exec_fail(ex, WAN_EINVAL, "latents of %lld channels for a VAE of %lld", (long long)dim[0],
                        (long long)wn_vae_z(vae));
}

enum wan_status wn_decode_latents(struct wn_exec *ex, const struct wn_vae *vae, const float *latent,
                                  const int64_t dim[4], int n_strips, wn_rows_fn *rows, void *ctx)
{
    int n = strips_of(n_strips, dim[2]);
    if (check_channels(ex, vae, dim)) return ex->err.code;
    for (int i = 0; i < n && wn_ok(ex); i++) decode_strip_of(ex, vae, latent, dim, i, n, rows, ctx);
    return ex->err.code;
}

enum wan_status wn_try_decode(struct wn_exec *ex, const struct wn_vae *vae, const float *latent,
                              const int64_t dim[4], int n_strips)
{
    int n = strips_of(n_strips, dim[2]), i = n / 2;
    int64_t some[4] = {dim[0], dim[1] < 3 ? dim[1] : 3, dim[2], dim[3]};
    if (check_channels(ex, vae, dim)) return ex->err.code;
    while (i > 0 && strip_start(i + 1, n, dim[2]) - strip_start(i, n, dim[2]) < (dim[2] + n - 1) / n) i--;
    decode_strip_of(ex, vae, latent, some, i, n, NULL, NULL);
    return ex->err.code;
}

/* ---- encoding ---- */

/* A clip of which n frames are given; a latent frame's worth at a time in `chunk`. */
struct clip {
    const float *video; /* [3, n, H, W] */
    int64_t n, F, H, W;
    float *chunk; /* [3, 1 or 4, H, W] */
    int64_t T;    /* frames in it */
};

/* The frames of latent frame f. */
static void fill_chunk(struct clip *c, int64_t f)
{
    int64_t first = f ? WN_VAE_STRIDE_T * (f - 1) + 1 : 0, pixels = c->H * c->W;
    c->T = f ? WN_VAE_STRIDE_T : 1;
    memset(c->chunk, 0, (size_t)(3 * c->T * pixels) * sizeof *c->chunk);
    for (int64_t k = 0; k < 3; k++)
        for (int64_t i = 0; i < c->T && first + i < c->n; i++)
            memcpy(c->chunk + (k * c->T + i) * pixels, c->video + (k * c->n + first + i) * pixels,
                   (size_t)pixels * sizeof *c->chunk);
}

static void encode_whole(struct wn_exec *ex, const struct wn_vae *vae, struct clip *c, float *latent)
{
    int64_t stride = wn_vae_stride(vae), hw = c->H / stride * (c->W / stride);
    struct wn_vae_stream *stream = open_strip(ex, vae, 0, 1, c->H / stride);
    for (int64_t f = 0; f < c->F && wn_ok(ex); f++) {
        struct wn_scope scope;
        wn_scope_begin(ex, &scope);
        fill_chunk(c, f);
        wn_vae_encode(ex, stream, c->chunk, c->T * c->H * c->W, c->T, c->H, c->W, latent + f * hw, c->F * hw);
        wn_scope_end(ex, &scope);
    }
    close_strip(ex, stream);
}

/* What the second half of the encoder takes, of all frames: [F, h, w, C], made when the first strip tells C.
 */
struct features {
    float *data;
    int64_t F, h, w, C;
};

/* A strip's [1, rows, w, C] of frame f. */
static void put_features(struct wn_exec *ex, struct features *all, int64_t f, int64_t first,
                         struct wn_tensor x)
{
    if (!wn_ok(ex)) return;
    all->C = x.dim[3];
    size_t bytes = (size_t)(all->F * all->h * all->w * all->C) * sizeof(float);
    if (!all->data && !(all->data = wn_alloc(bytes))) {
        wn_fail_nomem(&ex->err, "a clip half encoded", bytes);
        return;
    }
    wn_download(ex, x, all->data + (f * all->h + first) * all->w * all->C);
}

static void encode_strip(struct wn_exec *ex, struct wn_vae_stream *stream, struct clip *c, int64_t first,
                         struct features *all)
{
    for (int64_t f = 0; f < c->F && wn_ok(ex); f++) {
        struct wn_scope scope;
        wn_scope_begin(ex, &scope);
        fill_chunk(c, f);
        struct wn_tensor x = wn_vae_encode_strip(ex, stream, c->chunk, c->T * c->H * c->W, c->T, c->H, c->W);
        put_features(ex, all, f, first, x);
        wn_scope_end(ex, &scope);
    }
}

static void encode_rest(struct wn_exec *ex, const struct wn_vae *vae, const struct features *all,
                        float *latent)
{
    struct wn_vae_stream *stream = open_strip(ex, vae, 0, 1, all->h);
    int64_t hw = all->h * all->w;
    for (int64_t f = 0; f < all->F && wn_ok(ex); f++) {
        struct wn_scope scope;
        wn_scope_begin(ex, &scope);
        struct wn_tensor x =
            wn_upload(ex, wn_shape_of(WN_F32, 1, all->h, all->w, all->C), all->data + f * hw * all->C);
        wn_vae_encode_rest(ex, stream, x, latent + f * hw, all->F * hw);
        wn_scope_end(ex, &scope);
    }
    close_strip(ex, stream);
}

static void encode_in_strips(struct wn_exec *ex, const struct wn_vae *vae, struct clip *c, int n,
                             float *latent)
{
    int64_t stride = wn_vae_stride(vae);
    struct features all = {.F = c->F, .h = c->H / stride, .w = c->W / stride};
    for (int i = 0; i < n && wn_ok(ex); i++) {
        struct wn_vae_stream *stream = open_strip(ex, vae, i, n, all.h);
        encode_strip(ex, stream, c, strip_start(i, n, all.h), &all);
        close_strip(ex, stream);
    }
    encode_rest(ex, vae, &all, latent);
    wn_free(all.data);
}

enum wan_status wn_encode_frames(struct wn_exec *ex, const struct wn_vae *vae, const float *video, int64_t n,
                                 int64_t frames, int64_t H, int64_t W, int n_strips, float *latent)
{
    if (!wn_ok(ex)) return ex->err.code;
    struct clip c = {.video = video, .n = n, .F = (frames - 1) / WN_VAE_STRIDE_T + 1, .H = H, .W = W};
    int strips = strips_of(n_strips, H / wn_vae_stride(vae));
    size_t bytes = (size_t)(3 * WN_VAE_STRIDE_T * H * W) * sizeof *c.chunk;
    if (!(c.chunk = wn_alloc(bytes))) return wn_fail_nomem(&ex->err, "frames to encode", bytes);
    if (strips > 1)
        encode_in_strips(ex, vae, &c, strips, latent);
    else
        encode_whole(ex, vae, &c, latent);
    wn_free(c.chunk);
    return ex->err.code;
}
