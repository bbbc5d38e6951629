#include "pipe/job.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "pipe/tripwire.h"

enum { MASK_CHANNELS = 4 }; /* one for each pixel frame of a latent frame */

/* Steps that one transformer does. */
struct phase {
    enum wn_part dit;
    double guidance;
    int end; /* first step after it */
};

struct wn_job {
    struct wn_parts *parts;
    struct wn_job_params p;
    const struct wn_log *log;
    int64_t dim[4]; /* z, F, h, w */
    int64_t n;      /* their product */
    float *input;   /* [in_dim, F, h, w]: the latents, then what the transformer is shown beside them */
    float *x;       /* [n] the latents: the first channels of `input` */
    float *v[2];    /* [n] velocities: conditional, unconditional */
    struct wn_solver *solver;
    struct phase phase[2];
    int n_phases, current; /* current: the phase whose keys `text` holds */
    struct wn_contexts contexts;
    struct wn_dit_text *text;
    struct wn_dit_grid grid;
    struct wn_job_strips strips;
    bool has_condition; /* the image went into `input` */
    float *first;       /* [z, h, w] what latent frame 0 is held to (TI2V), or NULL */
    double *t;          /* [tokens] timesteps, with `first` */
    bool has_velocity;  /* v[0] is that of the last step */
    void (*on_op)(void *ctx, int op, const void *args, struct wn_tensor out, double seconds);
    void *on_op_ctx;
};

void wn_latent_dims(const struct wn_parts *parts, enum wn_part which, int width, int height, int frames,
                    int64_t dim[4])
{
    int stride = wn_vae_stride_of(parts->checkpoint->vae_kind);
    dim[0] = wn_dit_config(parts->dit[which])->out_dim;
    dim[1] = (frames - 1) / WN_VAE_STRIDE_T + 1;
    dim[2] = height / stride;
    dim[3] = width / stride;
}

static struct wn_exec make_exec(const struct wn_job *j, enum wn_precision precision)
{
    return (struct wn_exec){.dev = j->parts->dev,
                            .precision = precision,
                            .log = j->log,
                            .on_op = j->on_op,
                            .on_op_ctx = j->on_op_ctx};
}

/* Hand an exec's failure to the caller. */
static enum wan_status take_err(struct wn_exec *ex, struct wn_err *err)
{
    return ex->err.code ? wn_fail(err, ex->err.code, "%s", ex->err.text) : WAN_OK;
}

static const struct wn_dit_config *config_of(const struct wn_job *j, int phase)
{
    return wn_dit_config(j->parts->dit[j->phase[phase].dit]);
}

static int64_t plane(const struct wn_job *j)
{
    return j->dim[2] * j->dim[3];
}

/* ---- start ---- */

/* Which transformer does which steps: the high-noise expert those whose timestep has not fallen below the
 * boundary. */
static void plan_phases(struct wn_job *j)
{
    const double *t = wn_solver_timesteps(j->solver);
    int n = j->p.n_steps, switch_at = 0;
    if (!wn_checkpoint_has_experts(j->parts->checkpoint)) {
        j->phase[j->n_phases++] = (struct phase){WN_PART_DIT, j->p.guidance_low, n};
        return;
    }
    while (switch_at < n && t[switch_at] >= j->p.boundary * 1000) switch_at++;
    if (switch_at > 0)
        j->phase[j->n_phases++] = (struct phase){WN_PART_DIT_HIGH, j->p.guidance_high, switch_at};
    if (switch_at < n) j->phase[j->n_phases++] = (struct phase){WN_PART_DIT_LOW, j->p.guidance_low, n};
}

/* Two experts must be able to take turns. */
static enum wan_status open_dits(struct wn_job *j, struct wn_err *err)
{
    for (int i = 0; i < j->n_phases; i++)
        if (wn_parts_dit(j->parts, j->phase[i].dit, err)) return err->code;
    const struct wn_dit_config *a = config_of(j, 0), *b = config_of(j, j->n_phases - 1);
    if (a->in_dim != b->in_dim || a->out_dim != b->out_dim || a->text_len != b->text_len ||
        a->text_dim != b->text_dim || a->dim / a->n_heads != b->dim / b->n_heads)
        return wn_fail(err, WAN_EFORMAT,
                       "%s: the two experts do not fit each other: channels, text or head width differ",
                       j->parts->checkpoint->path);
    return WAN_OK;
}

/* Does the transformer want mask and latents of the image as further channels? */
static bool concatenates(const struct wn_job *j)
{
    return config_of(j, 0)->in_dim == 2 * j->dim[0] + MASK_CHANNELS;
}

static enum wan_status check_condition(const struct wn_job *j, struct wn_err *err)
{
    const struct wn_dit_config *c = config_of(j, 0);
    const char *path = j->parts->checkpoint->path;
    if (c->in_dim != c->out_dim && !concatenates(j))
        return wn_fail(err, WAN_EUNSUPPORTED,
                       "%s: a transformer of %lld channels in and %lld out is of no kind that is known", path,
                       (long long)c->in_dim, (long long)c->out_dim);
    if (concatenates(j) && !j->p.image) return wn_fail(err, WAN_EINVAL, "%s needs a first image", path);
    if (j->p.image && !concatenates(j) && j->parts->checkpoint->task != WN_TASK_TI2V)
        return wn_fail(err, WAN_EINVAL, "%s takes no image", path);
    return WAN_OK;
}

static enum wan_status alloc_latents(struct wn_job *j, struct wn_err *err)
{
    wn_latent_dims(j->parts, j->phase[0].dit, j->p.width, j->p.height, j->p.frames, j->dim);
    int64_t F_plane = j->dim[1] * plane(j), n_in = config_of(j, 0)->in_dim * F_plane;
    j->n = j->dim[0] * F_plane;
    bool guided = false;
    for (int i = 0; i < j->n_phases; i++) guided |= j->phase[i].guidance != 1;
    j->input = j->x = wn_alloc_n((size_t)n_in, sizeof *j->x);
    j->v[0] = wn_alloc_n((size_t)j->n, sizeof *j->x);
    if (guided) j->v[1] = wn_alloc_n((size_t)j->n, sizeof *j->x);
    if (!j->x || !j->v[0] || (guided && !j->v[1]))
        return wn_fail_nomem(err, "the latents", (unsigned long long)(n_in + 2 * j->n) * sizeof *j->x);
    memcpy(j->x, j->p.noise, (size_t)j->n * sizeof *j->x);
    return WAN_OK;
}

static enum wan_status take_contexts(struct wn_job *j, struct wn_err *err)
{
    const struct wn_contexts *c = j->p.contexts;
    j->p.contexts = NULL;
    return c ? wn_contexts_copy(&j->contexts, c, err) : WAN_OK;
}

enum wan_status wn_job_new(struct wn_job **out, struct wn_parts *parts, const struct wn_job_params *params,
                           const struct wn_log *log, struct wn_err *err)
{
    *out = NULL;
    struct wn_job *j = wn_zalloc(sizeof *j);
    if (!j) return wn_fail_nomem(err, "a job", sizeof *j);
    *j = (struct wn_job){.parts = parts, .p = *params, .log = log};
    struct wn_solver *schedule;
    if (!wn_solver_new(&schedule, params->solver, params->n_steps, params->shift, 0, err)) {
        j->solver = schedule;
        plan_phases(j);
        wn_solver_free(schedule);
        j->solver = NULL;
        if (!open_dits(j, err) && !alloc_latents(j, err) && !check_condition(j, err) &&
            !take_contexts(j, err))
            wn_solver_new(&j->solver, params->solver, params->n_steps, params->shift, j->n, err);
    }
    if (err->code)
        wn_job_free(j);
    else
        *out = j;
    return err->code;
}

enum wan_status wn_job_new_decoder(struct wn_job **out, struct wn_parts *parts, float *latents,
                                   const int64_t dim[4], enum wn_precision vae, const struct wn_log *log,
                                   struct wn_err *err)
{
    struct wn_job *j = *out = wn_zalloc(sizeof *j);
    if (!j) {
        wn_free(latents);
        return wn_fail_nomem(err, "a job", sizeof *j);
    }
    *j = (struct wn_job){.parts = parts, .p = {.vae = vae}, .log = log, .input = latents, .x = latents};
    memcpy(j->dim, dim, sizeof j->dim);
    j->n = dim[0] * dim[1] * dim[2] * dim[3];
    return WAN_OK;
}

void wn_job_free(struct wn_job *j)
{
    if (!j) return;
    wn_dit_text_free(j->text);
    wn_dit_grid_release(&j->grid);
    wn_contexts_release(&j->contexts);
    wn_solver_free(j->solver);
    for (int i = 0; i < 2; i++) wn_free(j->v[i]);
    wn_free(j->input);
    wn_free(j->first);
    wn_free(j->t);
    wn_free(j);
}

void wn_job_on_op(struct wn_job *j,
                  void (*fn)(void *ctx, int op, const void *args, struct wn_tensor out, double seconds),
                  void *ctx)
{
    j->on_op = fn;
    j->on_op_ctx = ctx;
}

static void drop_image(struct wn_job *j)
{
    j->has_condition = false;
    wn_free(j->first);
    wn_free(j->t);
    j->first = NULL;
    j->t = NULL;
}

void wn_job_set_strips(struct wn_job *j, struct wn_job_strips strips)
{
    j->strips = strips;
    drop_image(j);
}

int64_t wn_job_max_strips(const struct wn_job *j)
{
    return j->dim[2];
}

int wn_job_phase(const struct wn_job *j, int i)
{
    return i == 0 || !j->n_phases ? 0 : j->phase[i <= j->n_phases ? i - 1 : j->n_phases - 1].end;
}

enum wan_status wn_job_seek(struct wn_job *j, int step, struct wn_err *err)
{
    return wn_solver_seek(j->solver, step, err);
}

/* ---- text ---- */

static struct wn_text_encoder text_encoder(const struct wn_job *j)
{
    const struct wn_dit_config *c = config_of(j, 0);
    return (struct wn_text_encoder){.parts = j->parts, .text_len = c->text_len, .width = c->text_dim};
}

/* The rows of both prompts into `out`. */
static void encode_prompts(const struct wn_job *j, struct wn_exec *ex, const struct wn_text_encoder *e,
                           struct wn_contexts *out)
{
    const char *prompt[2] = {j->p.prompt, j->p.negative};
    struct wn_texts texts = {0};
    struct wn_contexts all = {.width = e->width};
    size_t n = j->v[1] ? 2 : 1, index[2];
    wn_encode_texts(ex, e, prompt, n, &texts, index);
    for (size_t i = 0; i < n && wn_ok(ex); i++) {
        all.rows[i] = texts.item[index[i]].rows;
        all.n[i] = texts.item[index[i]].n;
    }
    if (wn_ok(ex)) wn_contexts_copy(out, &all, &ex->err);
    wn_texts_release(&texts);
}

/* The prompts once more, and not from where they are kept, for where a number that is not finite comes from.
 */
static enum wan_status explain_text(struct wn_job *j, struct wn_err *err)
{
    struct wn_text_encoder e = text_encoder(j);
    wn_contexts_release(&j->contexts);
    if (wn_parts_t5(j->parts, err)) return err->code;
    struct wn_tripwire t = {.part = wn_part_name(WN_PART_T5), .n_blocks = wn_t5_n_layers(j->parts->t5)};
    struct wn_exec ex = make_exec(j, j->p.t5);
    wn_tripwire_set(&ex, &t);
    encode_prompts(j, &ex, &e, &j->contexts);
    wn_contexts_release(&j->contexts);
    return wn_tripwire_fail(&t, err, "the prompt's context holds a number that is");
}

enum wan_status wn_job_encode_text(struct wn_job *j, struct wn_err *err)
{
    if (j->contexts.rows[0] || !j->n_phases) return WAN_OK;
    struct wn_text_encoder e = text_encoder(j);
    e.known = j->p.known;
    e.cache_folder = j->p.text_cache;
    e.maker = j->p.maker;
    struct wn_exec ex = make_exec(j, j->p.t5);
    encode_prompts(j, &ex, &e, &j->contexts);
    if (take_err(&ex, err)) return err->code;
    for (int i = 0; i < (j->v[1] ? 2 : 1); i++)
        if (!wn_all_finite(j->contexts.rows[i], j->contexts.n[i] * e.width)) return explain_text(j, err);
    return WAN_OK;
}

/* ---- image ---- */

/* Channels after the latents: a mask that is 1 on the first frame, then the latents of that frame and grey.
 */
static void encode_beside(struct wn_job *j, struct wn_exec *ex)
{
    int64_t F_plane = j->dim[1] * plane(j);
    float *mask = j->input + j->n;
    memset(mask, 0, (size_t)(MASK_CHANNELS * F_plane) * sizeof *mask);
    for (int c = 0; c < MASK_CHANNELS; c++)
        for (int64_t i = 0; i < plane(j); i++) mask[c * F_plane + i] = 1;
    wn_encode_frames(ex, j->parts->vae, j->p.image, 1, j->p.frames, j->p.height, j->p.width, j->strips.image,
                     mask + MASK_CHANNELS * F_plane);
}

/* Latent frame 0 becomes, and after every step is again, that of the image. */
static void hold_first(struct wn_job *j)
{
    if (!j->first) return;
    for (int64_t c = 0; c < j->dim[0]; c++)
        memcpy(j->x + c * j->dim[1] * plane(j), j->first + c * plane(j), (size_t)plane(j) * sizeof *j->x);
}

static void encode_first(struct wn_job *j, struct wn_exec *ex)
{
    int64_t tokens = j->dim[1] * (j->dim[2] / 2) * (j->dim[3] / 2);
    float *first = wn_alloc_n((size_t)(j->dim[0] * plane(j)), sizeof *first);
    j->t = wn_alloc_n((size_t)tokens, sizeof *j->t);
    if (!first || !j->t)
        wn_fail_nomem(&ex->err, "the first frame",
                      (unsigned long long)(j->dim[0] * plane(j)) * sizeof *first);
    wn_encode_frames(ex, j->parts->vae, j->p.image, 1, 1, j->p.height, j->p.width, j->strips.image, first);
    if (wn_ok(ex))
        j->first = first;
    else
        wn_free(first);
    hold_first(j);
}

/* The latents that the image became. */
static bool image_is_finite(const struct wn_job *j)
{
    int64_t n = config_of(j, 0)->in_dim * j->dim[1] * plane(j);
    return j->first ? wn_all_finite(j->first, j->dim[0] * plane(j))
                    : wn_all_finite(j->input + j->n, n - j->n);
}

static void encode_image(struct wn_job *j, struct wn_tripwire *t, struct wn_err *err)
{
    struct wn_exec ex = make_exec(j, j->p.vae);
    drop_image(j);
    if (t) wn_tripwire_set(&ex, t);
    (concatenates(j) ? encode_beside : encode_first)(j, &ex);
    take_err(&ex, err);
}

enum wan_status wn_job_encode_image(struct wn_job *j, struct wn_err *err)
{
    if (!j->p.image || j->has_condition) return WAN_OK;
    if (wn_parts_vae(j->parts, err)) return err->code;
    if (wn_vae_z(j->parts->vae) != j->dim[0])
        return wn_fail(err, WAN_EFORMAT, "%s: a VAE of %lld channels, the transformer takes %lld",
                       wn_weights_path(j->parts->weights[WN_PART_VAE]), (long long)wn_vae_z(j->parts->vae),
                       (long long)j->dim[0]);
    encode_image(j, NULL, err);
    if (!err->code && !image_is_finite(j)) {
        struct wn_tripwire t = {.part = "VAE's encoder"};
        struct wn_err found = {0};
        encode_image(j, &t, &found);
        wn_tripwire_fail(&t, err, "the image's latents hold a number that is");
    }
    wn_parts_rest(j->parts, WN_PART_VAE);
    j->has_condition = !err->code;
    return err->code;
}

/* ---- denoising ---- */

int wn_job_n_steps(const struct wn_job *j)
{
    return j->p.n_steps;
}

int wn_job_steps_done(const struct wn_job *j)
{
    return j->solver ? wn_solver_next(j->solver) : 0;
}

const float *wn_job_latents(const struct wn_job *j, int64_t dim[4])
{
    memcpy(dim, j->dim, sizeof j->dim);
    return j->x;
}

/* Sequences of a forward: without guidance the unconditional pass would have no effect. */
static int n_sequences(const struct wn_job *j)
{
    return j->phase[j->current].guidance == 1 ? 1 : 2;
}

/* Keys and values of the text for the transformer of step i; those of the one before it go. */
static enum wan_status enter_phase(struct wn_job *j, int i, struct wn_err *err)
{
    int phase = 0;
    while (i >= j->phase[phase].end) phase++;
    if (phase != j->current) {
        wn_dit_text_free(j->text);
        j->text = NULL;
        wn_parts_rest(j->parts, j->phase[j->current].dit);
        j->current = phase;
    }
    if (j->text) return WAN_OK;
    struct wn_exec ex = make_exec(j, j->p.dit);
    wn_dit_text_new(&j->text, &ex, j->parts->dit[j->phase[phase].dit], n_sequences(j),
                    (const float *const *)j->contexts.rows, j->contexts.n);
    return take_err(&ex, err);
}

static enum wan_status prepare(struct wn_job *j, int i, struct wn_err *err)
{
    if (wn_job_encode_text(j, err) || wn_job_encode_image(j, err) || enter_phase(j, i, err)) return err->code;
    if (wn_has(j->grid.rope)) return WAN_OK;
    struct wn_exec ex = make_exec(j, j->p.dit);
    wn_dit_grid_init(&j->grid, &ex, j->parts->dit[j->phase[j->current].dit], j->dim[1], j->dim[2], j->dim[3],
                     0);
    return take_err(&ex, err);
}

/* Timesteps of step i: one, or one for each token where the first frame is clean already. */
static struct wn_dit_sequence sequence(const struct wn_job *j, int i)
{
    const double *t = wn_solver_timesteps(j->solver) + i;
    struct wn_dit_sequence seq = {.x = j->input, .t = t, .n_t = 1};
    if (!j->first) return seq;
    int64_t of_frame = j->grid.H * j->grid.W, tokens = j->grid.F * of_frame;
    for (int64_t k = 0; k < tokens; k++) j->t[k] = k < of_frame ? 0 : *t;
    seq.t = j->t;
    seq.n_t = tokens;
    return seq;
}

/* v[0] becomes v_u + guidance (v_c - v_u). */
static void guide(const struct wn_job *j)
{
    float g = (float)j->phase[j->current].guidance, *c = j->v[0];
    const float *u = j->v[1];
    for (int64_t i = 0; i < j->n; i++) c[i] = u[i] + g * (c[i] - u[i]);
}

/* The velocities of step i. */
static enum wan_status forward(struct wn_job *j, int i, struct wn_tripwire *t, struct wn_err *err)
{
    struct wn_exec ex = make_exec(j, j->p.dit);
    const struct wn_dit_sequence one = sequence(j, i), seq[2] = {one, one};
    if (t) wn_tripwire_set(&ex, t);
    wn_dit_forward(&ex, j->parts->dit[j->phase[j->current].dit], &j->grid, j->text, j->dim[2], j->dim[3], seq,
                   n_sequences(j), j->v);
    return take_err(&ex, err);
}

/* The forward of step i once more, from the contexts on, for where the bad number comes from. */
static enum wan_status explain_step(struct wn_job *j, int i, enum wn_bad what, struct wn_err *err)
{
    struct wn_tripwire t = {.what = what,
                            .part = wn_part_name(j->phase[j->current].dit),
                            .n_blocks = config_of(j, j->current)->n_layers};
    struct wn_exec ex = make_exec(j, j->p.dit);
    struct wn_err found = {0};
    wn_tripwire_set(&ex, &t);
    wn_dit_text_free(j->text);
    j->text = NULL;
    wn_dit_text_new(&j->text, &ex, j->parts->dit[j->phase[j->current].dit], n_sequences(j),
                    (const float *const *)j->contexts.rows, j->contexts.n);
    if (wn_ok(&ex)) forward(j, i, &t, &found);
    return wn_tripwire_fail(&t, err, "step %d of %d gave %s", i + 1, j->p.n_steps,
                            what == WN_BAD_ALL_ZERO ? "latents that are" : "a latent that is");
}

static bool velocities_are_finite(const struct wn_job *j)
{
    for (int k = 0; k < n_sequences(j); k++)
        if (!wn_all_finite(j->v[k], j->n)) return false;
    return true;
}

static enum wan_status check_latents(struct wn_job *j, int i, struct wn_err *err)
{
    bool any = false;
    if (!wn_all_finite(j->x, j->n))
        return wn_fail(err, WAN_ENUMERIC,
                       "step %d of %d gave a latent that is not a finite number; it begins in the solver",
                       i + 1, j->p.n_steps);
    for (int64_t k = 0; k < j->n && !any; k++) any = j->x[k] != 0;
    return any ? WAN_OK : explain_step(j, i, WN_BAD_ALL_ZERO, err);
}

enum wan_status wn_job_step(struct wn_job *j, struct wn_err *err)
{
    int i = wn_job_steps_done(j);
    if (i >= j->p.n_steps) return wn_fail(err, WAN_EINVAL, "all %d steps are done", j->p.n_steps);
    if (prepare(j, i, err) || forward(j, i, NULL, err)) return err->code;
    if (!velocities_are_finite(j)) return explain_step(j, i, WN_BAD_NOT_FINITE, err);
    if (n_sequences(j) == 2) guide(j);
    if (wn_solver_step(j->solver, i, j->x, j->v[0], err)) return err->code;
    j->has_velocity = true;
    hold_first(j);
    return check_latents(j, i, err);
}

/* x at noise level s is (1 - s) x0 + s noise, and v = noise - x0. A first frame that is held is clean
 * already. */
void wn_job_estimate(const struct wn_job *j, float *x0)
{
    float sigma = j->has_velocity ? wn_solver_sigmas(j->solver)[wn_solver_next(j->solver)] : 0;
    for (int64_t k = 0; k < j->n; k++) x0[k] = j->x[k] - sigma * j->v[0][k];
    for (int64_t c = 0; j->first && c < j->dim[0]; c++)
        memcpy(x0 + c * j->dim[1] * plane(j), j->first + c * plane(j), (size_t)plane(j) * sizeof *x0);
}

/* ---- state ---- */

static struct wn_weight state_tensor(const struct wn_job *j, const char *name, const float *data)
{
    struct wn_weight w = {.name = name, .type = WN_F32, .n_dims = 4, .data = data};
    memcpy(w.dim, j->dim, sizeof j->dim);
    w.bytes = (size_t)j->n * sizeof *data;
    return w;
}

int wn_job_state(struct wn_job *j, struct wn_weight tensor[WN_JOB_STATE_TENSORS])
{
    struct wn_solver_state s = wn_solver_state(j->solver);
    int n = 0;
    tensor[n++] = state_tensor(j, "latent", j->x);
    for (int i = 0; i < s.n_buffers; i++) tensor[n++] = state_tensor(j, s.buffers[i].name, s.buffers[i].data);
    return n;
}

enum wan_status wn_job_restore(struct wn_job *j, const struct wn_weights *state, int done, struct wn_err *err)
{
    struct wn_weight tensor[WN_JOB_STATE_TENSORS];
    if (wn_solver_seek(j->solver, done, err)) return err->code;
    int n = wn_job_state(j, tensor);
    for (int i = 0; i < n; i++) {
        const struct wn_weight *t = wn_weights_find(state, tensor[i].name);
        if (!t || t->type != WN_F32 || t->n_dims != 4 || memcmp(t->dim, j->dim, sizeof j->dim))
            return wn_fail(err, WAN_EFORMAT, "%s: no tensor '%s' of this video's shape",
                           wn_weights_path(state), tensor[i].name);
        memcpy((float *)tensor[i].data, t->data, tensor[i].bytes);
    }
    return WAN_OK;
}

/* ---- decoding ---- */

/* Keys and values of the text and places of tokens, which another step would make again. */
static void drop_step_memory(struct wn_job *j)
{
    wn_dit_text_free(j->text);
    j->text = NULL;
    wn_dit_grid_release(&j->grid);
}

static enum wan_status begin_decode(struct wn_job *j, struct wn_err *err)
{
    if (wn_parts_vae(j->parts, err)) return err->code;
    drop_step_memory(j);
    for (int i = 0; i < j->n_phases; i++) wn_parts_rest(j->parts, j->phase[i].dit);
    return WAN_OK;
}

static enum wan_status end_decode(struct wn_job *j, struct wn_exec *ex, struct wn_err *err)
{
    wn_parts_rest(j->parts, WN_PART_VAE);
    return take_err(ex, err);
}

/* Rows on their way to the caller. */
struct watched {
    wn_rows_fn *rows;
    void *ctx;
    int64_t width;
    int bad; /* the frame that holds a number that is not finite; -1: none */
};

static enum wan_status watch(void *ctx, int index, int64_t first, int64_t n, const float *rgb,
                             struct wn_err *err)
{
    struct watched *w = ctx;
    if (wn_all_finite(rgb, n * w->width * 3)) return w->rows(w->ctx, index, first, n, rgb, err);
    w->bad = index;
    return wn_fail(err, WAN_ENUMERIC, "frame %d", index);
}

enum wan_status wn_job_decode(struct wn_job *j, wn_rows_fn *rows, void *ctx, struct wn_err *err)
{
    struct watched w = {rows, ctx, j->p.width, -1};
    if (begin_decode(j, err)) return err->code;
    struct wn_exec ex = make_exec(j, j->p.vae);
    wn_decode_latents(&ex, j->parts->vae, j->x, j->dim, j->strips.video, rows ? watch : NULL, &w);
    if (w.bad >= 0) {
        struct wn_tripwire t = {.part = "VAE's decoder"};
        ex = make_exec(j, j->p.vae);
        wn_tripwire_set(&ex, &t);
        wn_decode_latents(&ex, j->parts->vae, j->x, j->dim, j->strips.video, NULL, NULL);
        ex.err = (struct wn_err){0};
        wn_tripwire_fail(&t, &ex.err, "frame %d holds a number that is", w.bad + 1);
    }
    return end_decode(j, &ex, err);
}

enum wan_status wn_job_try_decode(struct wn_job *j, struct wn_err *err)
{
    if (begin_decode(j, err)) return err->code;
    struct wn_exec ex = make_exec(j, j->p.vae);
    wn_try_decode(&ex, j->parts->vae, j->x, j->dim, j->strips.video);
    return end_decode(j, &ex, err);
}
