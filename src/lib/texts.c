/* Prompts encoded before the sessions that want them. */
#include "base/clock.h"
#include "base/mem.h"
#include "lib/model.h"

/* The texts, the negative prompt last; NULL: no memory. */
static const char **all_texts(const struct wan_gen_params *p, const char *const *prompts, size_t *n)
{
    bool guided = p->guidance_low != 1 || p->guidance_high != 1;
    const char **text = wn_alloc_n(*n + 1, sizeof *text);
    for (size_t i = 0; text && i < *n; i++) text[i] = prompts[i];
    if (text && guided) text[(*n)++] = p->negative;
    return text;
}

struct listener {
    void (*progress)(void *user, const struct wan_progress *p);
    void *user;
    double start;
    struct wn_device *dev;
};

static void on_layer(void *ctx, int done, int n_layers)
{
    const struct listener *l = ctx;
    double spent = wn_now() - l->start;
    const struct wan_progress p = {.stage = "text",
                                   .step = done,
                                   .n_steps = n_layers,
                                   .seconds = spent,
                                   .seconds_left = spent / done * (n_layers - done),
                                   .memory = wn_device_memory(l->dev).used};
    l->progress(l->user, &p);
}

static enum wan_status encode(struct wan_model *m, const struct wan_gen_params *p, const char *const *text,
                              size_t n, struct listener *l, struct wn_err *err)
{
    enum wn_part dit = wn_checkpoint_dit(&m->checkpoint);
    enum wn_precision precision;
    if (dit == WN_PART_COUNT) dit = WN_PART_DIT; /* whose lack is then told */
    if (wn_parts_dit(&m->parts, dit, err) ||
        wn_precision_parse(p->t5_precision, 0, "--t5-precision", &precision, err))
        return err->code;
    const struct wn_dit_config *c = wn_dit_config(m->parts.dit[dit]);
    const struct wn_text_encoder e = {.parts = &m->parts,
                                      .text_len = c->text_len,
                                      .width = c->text_dim,
                                      .cache_folder = p->cache_dir,
                                      .maker = m->ctx->maker,
                                      .listener = {l->progress ? on_layer : NULL, l}};
    struct wn_exec ex = {.dev = m->ctx->dev, .precision = precision, .log = &m->ctx->log};
    size_t *index = wn_alloc_n(n, sizeof *index);
    if (!index) return wn_fail_nomem(err, "the prompts", n * sizeof *index);
    wn_encode_texts(&ex, &e, text, n, &m->texts, index);
    if (ex.err.code) wn_fail(err, ex.err.code, "%s", ex.err.text);
    wn_free(index);
    return err->code;
}

enum wan_status wan_model_encode_texts(struct wan_model *m, const struct wan_gen_params *params,
                                       const char *const *prompts, size_t n,
                                       void (*progress)(void *user, const struct wan_progress *p), void *user)
{
    struct wan_gen_params p;
    struct listener l = {progress, user, wn_now(), m->ctx->dev};
    if (wan_gen_resolve(m, params, &p)) return m->ctx->err.code;
    struct wn_err *err = &m->ctx->err;
    if (p.from_latents_file || p.context_file) return WAN_OK; /* which need no text */
    const char **text = all_texts(&p, prompts, &n);
    if (!text) return wn_fail_nomem(err, "the prompts", n * sizeof *text);
    encode(m, &p, text, n, &l, err);
    wn_free(text);
    return err->code;
}
