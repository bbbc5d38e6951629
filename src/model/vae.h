/* The causal video VAEs: of Wan2.1 (stride 4 x 8 x 8, 16 latent channels officially) and of Wan2.2 (4 x 16 x
 * 16, 48 channels). Encoding and decoding run in chunks of frames with a history of each convolution's last
 * inputs, so that memory does not grow with the clip; the result is that of the whole clip at once. */
#ifndef WN_MODEL_VAE_H
#define WN_MODEL_VAE_H

#include "io/checkpoint.h"
#include "io/weights.h"
#include "ops/exec.h"

struct wn_vae; /* the weights, mapped; immutable and shareable */

enum { WN_VAE_STRIDE_T = 4 };           /* of both */
int wn_vae_stride_of(enum wn_vae_kind); /* pixels a latent position stands for, each way; 8 when unknown */

/* Which of the two, and widths, come from tensor names and shapes; latent statistics are the official ones at
 * the official number of channels, or the file's own `latents_mean` and `latents_std`. `weights` must outlive
 * the model. */
enum wan_status wn_vae_new(struct wn_vae **vae, struct wn_device *dev, const struct wn_weights *weights,
                           struct wn_err *err);
void wn_vae_free(struct wn_vae *vae); /* NULL is fine */
void wn_vae_rest(struct wn_vae *vae); /* not needed for a while: what the device made of the weights may go */
int64_t wn_vae_z(const struct wn_vae *vae); /* latent channels */
int wn_vae_stride(const struct wn_vae *vae);

/* A stream of frames through the decoder or encoder. */
struct wn_vae_stream;
enum wan_status wn_vae_stream_new(struct wn_vae_stream **stream, const struct wn_vae *vae,
                                  struct wn_err *err);
void wn_vae_stream_free(struct wn_vae_stream *stream); /* NULL is fine */

/* Let the stream make only latent rows [first, end) of each frame: a strip, with the very values that the
 * whole frame has there. History and intermediates are those of the strip and the few rows around it that its
 * pixels depend on; what is at latent resolution stays whole. Before the first frame. */
void wn_vae_stream_rows(struct wn_vae_stream *stream, int64_t first, int64_t end);

/* Decode F latent frames, normalised, [z, F, h, w] host memory (`plane` floats from one channel to the next).
 * The first call of a stream must have F = 1 and gives 1 frame, later calls give 4F: returns [frames, H, W,
 * 3] f32 in the current scope, not clamped; H and W are h and w times the stride; of a strip,
 * H is that of its rows. */
struct wn_tensor wn_vae_decode(struct wn_exec *ex, struct wn_vae_stream *stream, const float *latent,
                               int64_t plane, int64_t F, int64_t h, int64_t w);
/* Encode T frames [3, T, H, W] in [-1, 1] (`plane` floats between channels): the first call must have T = 1
 * and gives 1 latent frame, later calls a multiple of 4 and give T / 4: latent [z, F, h, w], normalised, host
 * memory. H and W are multiples of the stride. */
enum wan_status wn_vae_encode(struct wn_exec *ex, struct wn_vae_stream *stream, const float *video,
                              int64_t plane, int64_t T, int64_t H, int64_t W, float *latent,
                              int64_t latent_plane);
/* The same in two parts, the first of which may be done strip by strip, each with a stream of its own. It
 * gives [T / 4 or 1, rows of the strip, w, C] f32 in the current scope; the second takes the same of whole
 * frames, which it consumes. */
struct wn_tensor wn_vae_encode_strip(struct wn_exec *ex, struct wn_vae_stream *stream, const float *video,
                                     int64_t plane, int64_t T, int64_t H, int64_t W);
enum wan_status wn_vae_encode_rest(struct wn_exec *ex, struct wn_vae_stream *stream, struct wn_tensor x,
                                   float *latent, int64_t latent_plane);

#endif
