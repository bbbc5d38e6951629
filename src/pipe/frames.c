#include "pipe/frames.h"

#include <string.h>

#include "base/mem.h"

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

/* Frames first .. first + n - 1 of a clip of which n_video are given, as [3, n, H, W]. */
static void fill_chunk(float *chunk, const float *video, int64_t n_video, int64_t first, int64_t n,
                       int64_t pixels)
{
    memset(chunk, 0, (size_t)(3 * n * pixels) * sizeof *chunk);
    for (int64_t c = 0; c < 3; c++)
        for (int64_t i = 0; i < n && first + i < n_video; i++)
            memcpy(chunk + (c * n + i) * pixels, video + (c * n_video + first + i) * pixels,
                   (size_t)pixels * sizeof *chunk);
}

enum wan_status wn_encode_frames(struct wn_exec *ex, const struct wn_vae *vae, const float *video, int64_t n,
                                 int64_t frames, int64_t H, int64_t W, float *latent)
{
    struct wn_vae_stream *stream;
    if (!wn_ok(ex) || wn_vae_stream_new(&stream, vae, &ex->err)) return ex->err.code;
    int64_t F = (frames - 1) / WN_VAE_STRIDE_T + 1, stride = wn_vae_stride(vae);
    int64_t hw = H / stride * (W / stride), pixels = H * W;
    float *chunk = wn_alloc_n((size_t)(3 * WN_VAE_STRIDE_T * pixels), sizeof *chunk);
    if (!chunk)
        wn_fail_nomem(&ex->err, "frames to encode", (unsigned long long)(12 * pixels) * sizeof *chunk);
    for (int64_t f = 0; f < F && wn_ok(ex); f++) {
        struct wn_scope scope;
        int64_t T = f ? WN_VAE_STRIDE_T : 1;
        fill_chunk(chunk, video, n, f ? WN_VAE_STRIDE_T * (f - 1) + 1 : 0, T, pixels);
        wn_scope_begin(ex, &scope);
        wn_vae_encode(ex, stream, chunk, T * pixels, T, H, W, latent + f * hw, F * hw);
        wn_scope_end(ex, &scope);
    }
    wn_free(chunk);
    wn_vae_stream_free(stream);
    return ex->err.code;
}
