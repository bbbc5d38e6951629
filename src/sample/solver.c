#include "sample/solver.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

/* The scalar part is float32 on purpose and keeps the order of operations of the official code: lambda near
 * sigma = 1, and the differences of nearly equal numbers in the corrector, carry rounding errors that double
 * would not have, and the result should be the official one. */
struct wn_solver {
    enum wn_solver_kind kind;
    int n_steps, next;
    int64_t n_elems;
    float *sigma;     /* [N + 1] */
    double *timestep; /* [N] */
    float *x0[2];     /* [n_elems] predictions of x0; step i keeps its own in x0[i % 2] */
    float *last;      /* [n_elems] unipc: the sample of the step before, after its correction */
};

static const char *const names[WN_N_SOLVERS] = {"unipc", "dpm++", "euler"};

const char *wn_solver_name(enum wn_solver_kind kind)
{
    return (unsigned)kind < WN_N_SOLVERS ? names[kind] : "unknown";
}

bool wn_solver_find(const char *name, enum wn_solver_kind *kind)
{
    for (int i = 0; i < WN_N_SOLVERS; i++)
        if (!strcmp(name, names[i])) {
            *kind = (enum wn_solver_kind)i;
            return true;
        }
    return false;
}

/* Sigmas before rounding are shift(u) for u evenly spaced from u0 down to 0, in numpy's float64 order. UniPC
 * starts at the largest sigma of its training table, float32(0.999). Timesteps are cut from the unrounded
 * value. */
static enum wan_status fill_schedule(struct wn_solver *s, double shift, struct wn_err *err)
{
    int n = s->n_steps;
    double u0 = s->kind == WN_SOLVER_UNIPC ? (double)0.999f : 1.0;
    double delta = (0.0 - u0) / n;
    for (int i = 0; i < n; i++) {
        double u = i * delta + u0;
        double sigma = shift * u / (1 + (shift - 1) * u);
        s->sigma[i] = (float)sigma;
        s->timestep[i] = s->kind == WN_SOLVER_EULER ? (double)(s->sigma[i] * 1000.0f) : trunc(sigma * 1000);
        if (!(s->sigma[i] > 0) || (i && !(s->sigma[i] < s->sigma[i - 1])))
            return wn_fail(
                err, WAN_EINVAL,
                "flow shift %g with %d steps: the noise levels of steps %d and %d are not distinct", shift, n,
                i ? i - 1 : i, i ? i : i + 1);
    }
    s->sigma[n] = 0;
    return WAN_OK;
}

static int n_x0(enum wn_solver_kind kind)
{
    return kind == WN_SOLVER_EULER ? 0 : 2;
}

static enum wan_status alloc_solver(struct wn_solver *s, struct wn_err *err)
{
    s->sigma = wn_alloc_n((size_t)s->n_steps + 1, sizeof *s->sigma);
    s->timestep = wn_alloc_n((size_t)s->n_steps, sizeof *s->timestep);
    if (!s->sigma || !s->timestep) return wn_fail_nomem(err, "a schedule", 12ull * (unsigned)s->n_steps);
    size_t bytes = wn_size_mul((size_t)s->n_elems, sizeof(float));
    for (int i = 0; s->n_elems && i < n_x0(s->kind); i++)
        if (!(s->x0[i] = wn_zalloc(bytes))) return wn_fail_nomem(err, "the solver's history", bytes);
    if (s->n_elems && s->kind == WN_SOLVER_UNIPC && !(s->last = wn_zalloc(bytes)))
        return wn_fail_nomem(err, "the solver's history", bytes);
    return WAN_OK;
}

enum wan_status wn_solver_new(struct wn_solver **out, enum wn_solver_kind kind, int n_steps, double shift,
                              int64_t n_elems, struct wn_err *err)
{
    *out = NULL;
    if ((unsigned)kind >= WN_N_SOLVERS)
        return wn_fail(err, WAN_EINVAL, "there is no solver number %d", (int)kind);
    if (n_steps < 1 || n_steps > WN_SOLVER_MAX_STEPS)
        return wn_fail(err, WAN_EINVAL, "%d steps: must be 1 to %d", n_steps, WN_SOLVER_MAX_STEPS);
    if (!(shift > 0) || !isfinite(shift))
        return wn_fail(err, WAN_EINVAL, "flow shift %g: must be a number above 0", shift);
    if (n_elems < 0) return wn_fail(err, WAN_EINVAL, "a sample of %lld elements", (long long)n_elems);
    struct wn_solver *s = wn_zalloc(sizeof *s);
    if (!s) return wn_fail_nomem(err, "a solver", sizeof *s);
    s->kind = kind;
    s->n_steps = n_steps;
    s->n_elems = n_elems;
    enum wan_status st = alloc_solver(s, err);
    if (!st) st = fill_schedule(s, shift, err);
    if (st) {
        wn_solver_free(s);
        return st;
    }
    *out = s;
    return WAN_OK;
}

void wn_solver_free(struct wn_solver *s)
{
    if (!s) return;
    wn_free(s->sigma);
    wn_free(s->timestep);
    wn_free(s->x0[0]);
    wn_free(s->x0[1]);
    wn_free(s->last);
    wn_free(s);
}

int wn_solver_n_steps(const struct wn_solver *s)
{
    return s->n_steps;
}

const float *wn_solver_sigmas(const struct wn_solver *s)
{
    return s->sigma;
}

const double *wn_solver_timesteps(const struct wn_solver *s)
{
    return s->timestep;
}

int wn_solver_next(const struct wn_solver *s)
{
    return s->next;
}

/* lambda = log(alpha) - log(sigma): -inf at sigma 1, +inf at sigma 0. */
static float lambda_of(const struct wn_solver *s, int i)
{
    return logf(1.0f - s->sigma[i]) - logf(s->sigma[i]);
}

/* x_t = ratio x_s - m_scale m0 - d_scale (rho1 D1 + rho2 (m_t - m0)), D1 = (m_before - m0) / rk. The
 * predictor has rho2 = 0, and first order rho1 = 0. */
struct unipc_coef {
    float ratio, m_scale, d_scale, rk, rho1, rho2;
};

/* From step `from` to `from + 1`, everything but the rhos. phi1 = expm1(-h) is both coefficients (bh2). */
static struct unipc_coef unipc_base(const struct wn_solver *s, int from, int order, float *hh)
{
    float h = lambda_of(s, from + 1) - lambda_of(s, from);
    *hh = -h;
    float scale = (1.0f - s->sigma[from + 1]) * expm1f(-h);
    struct unipc_coef c = {
        .ratio = s->sigma[from + 1] / s->sigma[from], .m_scale = scale, .d_scale = scale, .rk = 1};
    if (order == 2) c.rk = (lambda_of(s, from - 1) - lambda_of(s, from)) / h;
    return c;
}

static struct unipc_coef unipc_predictor(const struct wn_solver *s, int i, int order)
{
    float hh;
    struct unipc_coef c = unipc_base(s, i, order, &hh);
    c.rho1 = order == 2 ? 0.5f : 0;
    return c;
}

/* Order 2 solves [[1, 1], [rk, 1]] rho = [b1, b2], by elimination with the larger pivot first. */
static struct unipc_coef unipc_corrector(const struct wn_solver *s, int i, int order)
{
    float hh;
    struct unipc_coef c = unipc_base(s, i - 1, order, &hh);
    if (order == 1) {
        c.rho2 = 0.5f;
        return c;
    }
    float phi1 = expm1f(hh), phi2 = phi1 / hh - 1, phi3 = phi2 / hh - 0.5f;
    float b1 = phi2 / phi1, b2 = phi3 * 2 / phi1;
    if (fabsf(c.rk) > 1) {
        float l = 1 / c.rk;
        c.rho2 = (b1 - l * b2) / (1 - l);
        c.rho1 = (b2 - c.rho2) / c.rk;
    } else {
        c.rho2 = (b2 - c.rk * b1) / (1 - c.rk);
        c.rho1 = b1 - c.rho2;
    }
    return c;
}

/* Order of the predictor at step i, and of the corrector at step i + 1. */
static int unipc_order(const struct wn_solver *s, int i)
{
    return i == 0 || i == s->n_steps - 1 ? 1 : 2;
}

/* x becomes the corrected sample, x0_2 (two steps ago) the prediction of this step. */
static void unipc_correct(const struct unipc_coef *c, float sigma, float *restrict x, const float *restrict v,
                          const float *restrict last, const float *restrict x0_1, float *restrict x0_2,
                          int64_t n)
{
    const struct unipc_coef k = *c;
    for (int64_t j = 0; j < n; j++) {
        float mt = x[j] - sigma * v[j], m0 = x0_1[j];
        float d1 = (x0_2[j] - m0) / k.rk;
        x[j] = (k.ratio * last[j] - k.m_scale * m0) - k.d_scale * (k.rho1 * d1 + k.rho2 * (mt - m0));
        x0_2[j] = mt;
    }
}

static void unipc_predict(const struct unipc_coef *c, float *restrict x, float *restrict last,
                          const float *restrict m0, const float *restrict m1, int64_t n)
{
    const struct unipc_coef k = *c;
    for (int64_t j = 0; j < n; j++) {
        float now = x[j], d1 = (m1[j] - m0[j]) / k.rk;
        last[j] = now;
        x[j] = (k.ratio * now - k.m_scale * m0[j]) - k.d_scale * (k.rho1 * d1);
    }
}

static void predict_x0(float sigma, const float *restrict x, const float *restrict v, float *restrict m,
                       int64_t n)
{
    for (int64_t j = 0; j < n; j++) m[j] = x[j] - sigma * v[j];
}

static void step_unipc(struct wn_solver *s, int i, float *x, const float *v)
{
    float *now = s->x0[i % 2], *before = s->x0[(i + 1) % 2];
    if (i == 0)
        predict_x0(s->sigma[0], x, v, now, s->n_elems);
    else {
        struct unipc_coef c = unipc_corrector(s, i, unipc_order(s, i - 1));
        unipc_correct(&c, s->sigma[i], x, v, s->last, before, now, s->n_elems);
    }
    struct unipc_coef p = unipc_predictor(s, i, unipc_order(s, i));
    unipc_predict(&p, x, s->last, now, before, s->n_elems);
}

/* x = ratio x - scale m0 - half (inv_r0 (m0 - m1)) */
static void step_dpmpp(struct wn_solver *s, int i, float *x, const float *v)
{
    float *restrict m0 = s->x0[i % 2], *restrict m1 = s->x0[(i + 1) % 2], *restrict xr = x;
    predict_x0(s->sigma[i], x, v, m0, s->n_elems);
    float h = lambda_of(s, i + 1) - lambda_of(s, i);
    float ratio = s->sigma[i + 1] / s->sigma[i];
    float scale = (1.0f - s->sigma[i + 1]) * (expf(-h) - 1.0f);
    bool first_order = i == 0 || i == s->n_steps - 1;
    /* At step 1 lambda of sigma 1 is -inf, r0 is inf and the difference drops out. */
    float inv_r0 = first_order ? 0 : 1.0f / ((lambda_of(s, i) - lambda_of(s, i - 1)) / h);
    float half = 0.5f * scale;
    for (int64_t j = 0; j < s->n_elems; j++)
        xr[j] = (ratio * xr[j] - scale * m0[j]) - half * (inv_r0 * (m0[j] - m1[j]));
}

static void step_euler(struct wn_solver *s, int i, float *restrict x, const float *restrict v)
{
    float dt = s->sigma[i + 1] - s->sigma[i];
    for (int64_t j = 0; j < s->n_elems; j++) x[j] += dt * v[j];
}

enum wan_status wn_solver_step(struct wn_solver *s, int i, float *x, const float *v, struct wn_err *err)
{
    if (i != s->next || i >= s->n_steps)
        return wn_fail(err, WAN_EINVAL, "solver step %d of %d asked for when step %d is next", i, s->n_steps,
                       s->next);
    switch (s->kind) {
    case WN_SOLVER_UNIPC: step_unipc(s, i, x, v); break;
    case WN_SOLVER_DPMPP: step_dpmpp(s, i, x, v); break;
    case WN_SOLVER_EULER: step_euler(s, i, x, v); break;
    }
    s->next++;
    return WAN_OK;
}

struct wn_solver_state wn_solver_state(struct wn_solver *s)
{
    struct wn_solver_state st = {.next = s->next};
    if (s->next == 0 || s->next == s->n_steps || !s->n_elems) return st;
    int n = 0;
    if (n_x0(s->kind)) st.buffers[n].name = "x0_1", st.buffers[n++].data = s->x0[(s->next + 1) % 2];
    if (s->kind == WN_SOLVER_UNIPC) {
        st.buffers[n].name = "x_1", st.buffers[n++].data = s->last;
        if (s->next > 1) st.buffers[n].name = "x0_2", st.buffers[n++].data = s->x0[s->next % 2];
    }
    st.n_buffers = n;
    return st;
}

enum wan_status wn_solver_seek(struct wn_solver *s, int next, struct wn_err *err)
{
    if (next < 0 || next > s->n_steps)
        return wn_fail(err, WAN_EINVAL, "cannot continue at step %d of %d", next, s->n_steps);
    s->next = next;
    for (int i = 0; i < 2; i++)
        if (s->x0[i]) memset(s->x0[i], 0, (size_t)s->n_elems * sizeof(float));
    if (s->last) memset(s->last, 0, (size_t)s->n_elems * sizeof(float));
    return WAN_OK;
}
