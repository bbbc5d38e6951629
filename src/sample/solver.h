/* Flow-matching schedules and solvers (spec/schedulers.md): FlowUniPC, FlowDPM++ 2M and Euler, as the
 * official wan/utils/fm_solvers_unipc.py and fm_solvers.py compute them.
 *
 * A sample at noise level sigma is x = (1 - sigma) x0 + sigma noise; the model returns the velocity v = noise
 * - x0. A solver of N steps holds sigmas S[0..N] (S[N] = 0) and the timesteps T[0..N-1] the model is called
 * with:
 *
 *     for (int i = 0; i < N; i++) { v = model(x, T[i]); wn_solver_step(s, i, x, v, err); }
 *
 * Samples are host float32 of any shape, n_elems values. A solver belongs to one sample at a time and is not
 * thread-safe; different solvers are independent. */
#ifndef WN_SAMPLE_SOLVER_H
#define WN_SAMPLE_SOLVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

enum wn_solver_kind {
    WN_SOLVER_UNIPC, /* the official default: order 2, bh2, corrector always on */
    WN_SOLVER_DPMPP, /* dpmsolver++ multistep, order 2, midpoint */
    WN_SOLVER_EULER, /* not in the official program: the DPM++ sigmas, real timesteps */
};
enum { WN_N_SOLVERS = 3, WN_SOLVER_MAX_STEPS = 10000 };

/* "unipc", "dpm++", "euler". */
const char *wn_solver_name(enum wn_solver_kind kind);
bool wn_solver_find(const char *name, enum wn_solver_kind *kind); /* false: no such solver */

struct wn_solver;

/* n_steps in [1, WN_SOLVER_MAX_STEPS]; shift finite and > 0; n_elems >= 0 (0: a schedule alone, without
 * memory for steps). Errors: WAN_EINVAL, WAN_ENOMEM. */
enum wan_status wn_solver_new(struct wn_solver **s, enum wn_solver_kind kind, int n_steps, double shift,
                              int64_t n_elems, struct wn_err *err);
void wn_solver_free(struct wn_solver *s); /* NULL is fine */

int wn_solver_n_steps(const struct wn_solver *s);
/* [N + 1], falling, the last one 0. Owned by the solver. */
const float *wn_solver_sigmas(const struct wn_solver *s);
/* [N]: what the model is given. Whole numbers for unipc and dpm++ (trunc(1000 sigma), which is also what is
 * compared with an expert boundary), 1000 sigma for euler. Owned by the solver. */
const double *wn_solver_timesteps(const struct wn_solver *s);

/* One step: x [n_elems], the sample at S[i], becomes the sample at S[i + 1]; v [n_elems] is the model's
 * output for x at T[i]. Steps must come in order: i = wn_solver_next(s), else WAN_EINVAL and nothing changes.
 * The last step leaves exactly the prediction of x0. */
enum wan_status wn_solver_step(struct wn_solver *s, int i, float *x, const float *v, struct wn_err *err);
int wn_solver_next(const struct wn_solver *s); /* N when all are done */

/* What a step depends on beside x, v and the constructor's arguments: the number of the next step and these
 * buffers of n_elems floats. To save: write next and every buffer under its name. To resume: make a solver
 * with the same arguments, call wn_solver_seek(next), fill the buffers. Steps after that give the same bits.
 */
struct wn_solver_state {
    int next;
    int n_buffers; /* 0 before the first step and after the last: nothing is remembered */
    struct {
        const char
            *name;   /* "x0_1", "x0_2" (x0 predicted one and two steps ago), "x_1" (the corrected sample) */
        float *data; /* [n_elems], valid until the next step, seek or free */
    } buffers[3];
};
struct wn_solver_state wn_solver_state(struct wn_solver *s);
/* Make `next` in [0, N] the next step; buffers become zero. 0 starts anew. */
enum wan_status wn_solver_seek(struct wn_solver *s, int next, struct wn_err *err);

#endif
