/* Text to video (Wan2.1 T2V): prompt -> context -> denoised latents -> frames. */
#ifndef WN_PIPE_T2V_H
#define WN_PIPE_T2V_H

#include "pipe/parts.h"
#include "sample/solver.h"

/* Everything resolved: no defaults here. Pointers are borrowed for the life of the job. */
struct wn_t2v_params {
    const char *prompt, *negative; /* UTF-8; not needed with `context` */
    int width, height, frames;     /* multiples of 16 and 1 + 4 n */
    int n_steps;
    enum wn_solver_kind solver;
    double shift, guidance;
    const float *noise; /* [z, F, h, w] to start from */
    const float
        *context[2]; /* conditional, unconditional: [n, text_dim] instead of the text encoder; or NULL */
    int64_t n_context[2];
    enum wn_precision dit, t5, vae;
};

struct wn_t2v;

/* Latent extents [z, F, h, w] for a size: z comes from the transformer, which must be open, the stride from
 * the kind of VAE that goes with it. */
void wn_t2v_latent_dims(const struct wn_parts *parts, int width, int height, int frames, int64_t dim[4]);

enum wan_status wn_t2v_new(struct wn_t2v **job, struct wn_parts *parts, const struct wn_t2v_params *params,
                           const struct wn_log *log, struct wn_err *err);
void wn_t2v_free(struct wn_t2v *job); /* NULL is fine */

/* Contexts and their keys and values; opens tokenizer, text encoder and transformer as needed. Once is
 * enough. */
enum wan_status wn_t2v_encode_text(struct wn_t2v *job, struct wn_err *err);
/* The next denoising step (encodes the text first where that has not been done). NaN, infinities or all zeros
 * in the result are WAN_ENUMERIC. */
enum wan_status wn_t2v_step(struct wn_t2v *job, struct wn_err *err);
int wn_t2v_n_steps(const struct wn_t2v *job);
int wn_t2v_steps_done(const struct wn_t2v *job);
const float *wn_t2v_latents(const struct wn_t2v *job, int64_t dim[4]); /* normalised */

/* Frames of the latents as they are now: rgb float [height, width, 3], not clamped, in order. A status from
 * the callback ends the decode. */
typedef enum wan_status wn_frame_fn(void *ctx, int index, const float *frame, struct wn_err *err);
enum wan_status wn_t2v_decode(struct wn_t2v *job, wn_frame_fn *frame, void *ctx, struct wn_err *err);

/* Latents [z, F, h, w], normalised, to frames, with any VAE; also what wn_t2v_decode does. */
enum wan_status wn_decode_latents(struct wn_exec *ex, const struct wn_vae *vae, const float *latent,
                                  const int64_t dim[4], wn_frame_fn *frame, void *ctx);

#endif
