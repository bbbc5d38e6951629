/* Whole clips through a VAE, chunk by chunk. */
#ifndef WN_PIPE_FRAMES_H
#define WN_PIPE_FRAMES_H

#include "model/vae.h"

/* Rows [first, first + n) of decoded frame `index`, float [n, width, 3], not clamped. A status other than
 * WAN_OK ends the decode. */
typedef enum wan_status wn_rows_fn(void *ctx, int index, int64_t first, int64_t n, const float *rgb,
                                   struct wn_err *err);

/* Memory of a decode or encode: with n strips, of height 1 / n, each strip goes through all frames before the
 * next, so that the history held is that of one. The result is the same to the last bit; what is computed
 * grows, by the rows around a strip that its pixels depend on. At most one strip a latent row, 0 is 1. */

/* Latents [z, F, h, w], normalised, to 1 + 4 (F - 1) frames: strip by strip from the top, of each the frames
 * in order. */
enum wan_status wn_decode_latents(struct wn_exec *ex, const struct wn_vae *vae, const float *latent,
                                  const int64_t dim[4], int n_strips, wn_rows_fn *rows, void *ctx);

/* As much of it as takes all the memory that it takes: three latent frames of a strip that is as high as any,
 * and far from the edges. */
enum wan_status wn_try_decode(struct wn_exec *ex, const struct wn_vae *vae, const float *latent,
                              const int64_t dim[4], int n_strips);

/* Frames [3, n, H, W] in [-1, 1], then grey ones (0) up to `frames` in all, to latents [z, F, h, w],
 * normalised; F is (frames - 1) / 4 + 1, and frames past 1 + 4 (F - 1) are dropped. H and W are multiples of
 * the stride. */
enum wan_status wn_encode_frames(struct wn_exec *ex, const struct wn_vae *vae, const float *video, int64_t n,
                                 int64_t frames, int64_t H, int64_t W, int n_strips, float *latent);

#endif
