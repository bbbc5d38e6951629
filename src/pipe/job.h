/* One video from a prompt, and from an image where the model takes one: contexts -> denoised latents ->
 * frames. Serves Wan2.1 T2V and Wan2.2 T2V-A14B, I2V-A14B and TI2V-5B. */
#ifndef WN_PIPE_JOB_H
#define WN_PIPE_JOB_H

#include "pipe/frames.h"
#include "pipe/parts.h"
#include "pipe/prompt.h"
#include "sample/solver.h"

/* Everything resolved: no defaults here. Pointers are borrowed until the job is made, texts and image for its
 * life. */
struct wn_job_params {
    const char *prompt, *negative; /* UTF-8; not needed with `contexts` */
    int width, height, frames;     /* multiples of the model's size step and 1 + 4 n */
    int n_steps;
    enum wn_solver_kind solver;
    double shift;
    double guidance_low, guidance_high; /* one transformer: low */
    double boundary;    /* noise level from which the high-noise expert is used; not looked at with one
                           transformer */
    const float *noise; /* [z, F, h, w] to start from */
    const float *image; /* [3, height, width] in [-1, 1]: the first frame, or NULL */
    const struct wn_contexts *contexts; /* instead of the text encoder, or NULL */
    const struct wn_texts *known;       /* for the life of the job, as in wn_text_encoder; NULL: none */
    const char *text_cache, *maker;     /* likewise */
    enum wn_precision dit, t5, vae;
};

struct wn_job;

/* Latent extents [z, F, h, w] for a size: z comes from the transformer `which`, which must be open, the
 * stride from the kind of VAE that goes with it. */
void wn_latent_dims(const struct wn_parts *parts, enum wn_part which, int width, int height, int frames,
                    int64_t dim[4]);

/* Opens the transformers that the steps will need, so that a missing or misshapen one shows now. */
enum wan_status wn_job_new(struct wn_job **job, struct wn_parts *parts, const struct wn_job_params *params,
                           const struct wn_log *log, struct wn_err *err);
/* A job of no steps that decodes latents [z, F, h, w], which it takes (memory of wn_alloc) in any case. Opens
 * no transformer. */
enum wan_status wn_job_new_decoder(struct wn_job **job, struct wn_parts *parts, float *latents,
                                   const int64_t dim[4], enum wn_precision vae, const struct wn_log *log,
                                   struct wn_err *err);
void wn_job_free(struct wn_job *job); /* NULL is fine */

/* Called after every operation, as wn_exec's on_op. */
void wn_job_on_op(struct wn_job *job,
                  void (*fn)(void *ctx, int op, const void *args, struct wn_tensor out, double seconds),
                  void *ctx);
/* In how many strips the VAE encodes the image and decodes the video from now on (frames.h); 0 is 1. The
 * image has to be encoded again. */
struct wn_job_strips {
    int image, video;
};
void wn_job_set_strips(struct wn_job *job, struct wn_job_strips strips);
int64_t wn_job_max_strips(const struct wn_job *job);
/* Steps are done in phases, one for each transformer: the first step of phase i, n_steps for i past the last.
 */
int wn_job_phase(const struct wn_job *job, int i);
/* Make `step` the next one without doing those before it: for plans. */
enum wan_status wn_job_seek(struct wn_job *job, int step, struct wn_err *err);

/* Contexts of prompt and negative prompt. Opens tokenizer and text encoder as needed. Once is enough; nothing
 * to do without steps. */
enum wan_status wn_job_encode_text(struct wn_job *job, struct wn_err *err);
/* Latents of the first frame; nothing to do without an image. Opens the VAE. Once is enough. */
enum wan_status wn_job_encode_image(struct wn_job *job, struct wn_err *err);
/* The next denoising step (after text and image, where that has not been done). NaN, infinities or all zeros
 * in the result are WAN_ENUMERIC. Where the experts change, the pages of the one that is done are given back.
 */
enum wan_status wn_job_step(struct wn_job *job, struct wn_err *err);
int wn_job_n_steps(const struct wn_job *job);
int wn_job_steps_done(const struct wn_job *job);
const float *wn_job_latents(const struct wn_job *job, int64_t dim[4]); /* normalised */
/* What the latents are on their way to, as the last step's velocity has it: [z, F, h, w]. Before the first
 * step of this job the latents themselves. */
void wn_job_estimate(const struct wn_job *job, float *x0);

/* What the steps to come depend on beside the parameters, as named tensors [z, F, h, w] f32 that point into
 * the job until its next step: the latents and what the solver remembers. Returns how many. */
enum { WN_JOB_STATE_TENSORS = 4 };
int wn_job_state(struct wn_job *job, struct wn_weight tensor[WN_JOB_STATE_TENSORS]);
/* Go on from such a state, after `done` steps, in a job of the same parameters. WAN_EFORMAT: tensors missing
 * or of another shape. */
enum wan_status wn_job_restore(struct wn_job *job, const struct wn_weights *state, int done,
                               struct wn_err *err);

/* As wn_try_decode: for plans. */
enum wan_status wn_job_try_decode(struct wn_job *job, struct wn_err *err);
/* Frames of the latents as they are now, as wn_decode_latents gives them. A status from the callback ends the
 * decode. */
enum wan_status wn_job_decode(struct wn_job *job, wn_rows_fn *rows, void *ctx, struct wn_err *err);

#endif
