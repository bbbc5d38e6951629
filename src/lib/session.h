/* A session as the files that implement it see it. */
#ifndef WN_LIB_SESSION_H
#define WN_LIB_SESSION_H

#include "base/digest.h"
#include "lib/model.h"
#include "lib/profile.h"
#include "pipe/image.h"
#include "pipe/job.h"

struct wn_state_writer; /* state.c */
struct wn_preview;      /* preview.c */

struct wan_session {
    struct wan_model *model;
    struct wan_gen_params p;     /* resolved; its strings are ours */
    struct wn_input_image image; /* of the first frame; none: zeroed */
    struct wn_job *job;
    char *origin;                    /* what a file of latents says that they were made by, or NULL */
    struct wn_digest noise, context; /* of what came from a seed or file */
    struct wn_state_writer *state;   /* NULL: no state is kept */
    struct wn_profile *profile;      /* NULL: not measured */
    struct wn_preview *preview;      /* NULL: none */
    void (*progress)(void *user, const struct wan_progress *p);
    void *progress_user;
    double start;       /* of the session */
    double stage_start; /* of the stage in progress */
    int stage_first;    /* what was done of it before: steps of an earlier run */
    bool denoising;
    struct wn_job_strips strips;
};

/* wan_session_new with so many strips, and without a look at what fits. */
enum wan_status wn_session_new(struct wan_session **s, struct wan_model *model,
                               const struct wan_gen_params *params, struct wn_job_strips strips);
/* What decoding holds of finished frames. */
size_t wn_session_frame_bytes(const struct wan_session *s);

/* In how many strips the VAE must work for the run to stay within the context's max_memory. WAN_ENOMEM says
 * what would fit. 1 without a limit. */
enum wan_status wn_plan_strips(struct wan_model *model, const struct wan_gen_params *params,
                               struct wn_job_strips *strips, struct wn_err *err);

/* The parameters as one line, for metadata, in new memory (like.c); NULL after a failure. Maps the weights
 * that the run needs. */
char *wn_session_describe(struct wan_session *s, struct wn_err *err);

/* The seed of the run whose state `path` holds, where there is one; false otherwise. */
bool wn_state_seed(const char *path, int64_t *seed);
/* Go on from the state in s->p.resume_file, if that file exists. WAN_EINVAL names what differs. */
enum wan_status wn_state_resume(struct wan_session *s, struct wn_err *err);
/* Save the state after a step, in the background. A failure is a warning in the log: the run goes on. */
void wn_state_save(struct wan_session *s);
/* Wait for the last save; `remove`: the state is not needed any more. */
void wn_state_end(struct wan_session *s, bool remove);

/* Draw the preview after a step, in the background. A failure is a warning in the log. */
void wn_preview_step(struct wan_session *s);
void wn_preview_end(struct wan_session *s); /* waits for the last one */

#endif
