/* Whole clips through a VAE, chunk by chunk. */
#ifndef WN_PIPE_FRAMES_H
#define WN_PIPE_FRAMES_H

#include "model/vae.h"

/* One decoded frame: rgb float [height, width, 3], not clamped. A status other than WAN_OK ends the decode.
 */
typedef enum wan_status wn_frame_fn(void *ctx, int index, const float *frame, struct wn_err *err);

/* Latents [z, F, h, w], normalised, to 1 + 4 (F - 1) frames, handed over in order. */
enum wan_status wn_decode_latents(struct wn_exec *ex, const struct wn_vae *vae, const float *latent,
                                  const int64_t dim[4], wn_frame_fn *frame, void *ctx);

/* Frames [3, n, H, W] in [-1, 1], then grey ones (0) up to `frames` in all, to latents [z, F, h, w],
 * normalised; F is (frames - 1) / 4 + 1, and frames past 1 + 4 (F - 1) are dropped. H and W are multiples of
 * the stride. */
enum wan_status wn_encode_frames(struct wn_exec *ex, const struct wn_vae *vae, const float *video, int64_t n,
                                 int64_t frames, int64_t H, int64_t W, float *latent);

#endif
