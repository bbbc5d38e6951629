/* Which part of a model a set of tensors is, and whether it is whole. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/checkpoint.h"
#include "io/keys.h"

/* ---- sentences ---- */

bool wn_problems_add(struct wn_problems *p, const char *fmt, ...)
{
    if (p->n == WN_MAX_PROBLEMS) {
        p->n_more++;
        return true;
    }
    struct wn_err text = {0}; /* its rules: bounded, no control characters */
    va_list ap;
    va_start(ap, fmt);
    wn_vfail(&text, WAN_EFORMAT, fmt, ap);
    va_end(ap);
    char *copy = wn_strdup(text.text);
    if (!copy) return false;
    p->text[p->n++] = copy;
    return true;
}

void wn_problems_release(struct wn_problems *p)
{
    for (int i = 0; i < p->n; i++) wn_free(p->text[i]);
    *p = (struct wn_problems){0};
}

/* ---- recognition ---- */

static bool has(const struct wn_weights *w, const char *name)
{
    return wn_weights_find(w, name) != NULL;
}

enum wn_part wn_part_of_weights(const struct wn_weights *w)
{
    if (has(w, "patch_embedding.weight") && has(w, "blocks.0.modulation")) return WN_PART_DIT;
    if (has(w, "token_embedding.weight") && has(w, "blocks.0.pos_embedding.embedding.weight"))
        return WN_PART_T5;
    if (has(w, "visual.cls_embedding")) return WN_PART_CLIP;
    return wn_vae_kind_of(w) ? WN_PART_VAE : WN_PART_COUNT;
}

enum wn_vae_kind wn_vae_kind_of(const struct wn_weights *w)
{
    if (!has(w, "encoder.conv1.weight") && !has(w, "decoder.conv1.weight")) return WN_VAE_UNKNOWN;
    if (has(w, "decoder.upsamples.0.upsamples.0.residual.2.weight")) return WN_VAE_22;
    return has(w, "decoder.upsamples.0.residual.2.weight") ? WN_VAE_21 : WN_VAE_UNKNOWN;
}

/* ---- comparison with the official tables ---- */

enum { MAX_MISSING = 16 }; /* named one by one */

struct check {
    const struct wn_weights *w;
    const char *file; /* what the sentences call it */
    struct wn_problems *out;
    bool *seen;    /* for each tensor of w */
    int n_missing; /* tensors, told together past a few */
    bool nomem;
};

static void note(struct check *c, bool added)
{
    if (!added) c->nomem = true;
}

static bool same_dims(const struct wn_weight *t, int n_dims, const int64_t *dim)
{
    if (t->n_dims != n_dims) return false;
    for (int i = 0; i < n_dims; i++)
        if (t->dim[i] != dim[i]) return false;
    return true;
}

static void compare_shape(struct check *c, const struct wn_weight *t, int n_dims, const int64_t *dim)
{
    if (same_dims(t, n_dims, dim)) return;
    char is[WN_SHAPE_TEXT], must[WN_SHAPE_TEXT];
    wn_shape_text(wn_shape(t->type, t->n_dims, t->dim), is);
    wn_shape_text(wn_shape(t->type, n_dims, dim), must);
    note(c, wn_problems_add(c->out, "%s: tensor '%s' is %s where this model has %s", c->file, t->name, is,
                            must));
}

static void check_key(void *ctx, const char *name, int n_dims, const int64_t *dim)
{
    struct check *c = ctx;
    const struct wn_weight *t = wn_weights_find(c->w, name);
    if (!t) {
        if (n_dims >= 0 && c->n_missing++ < MAX_MISSING)
            note(c, wn_problems_add(c->out, "%s: tensor '%s' is missing", c->file, name));
        return;
    }
    c->seen[t - wn_weights_at(c->w, 0)] = true;
    if (n_dims < 0) return;
    compare_shape(c, t, n_dims, dim);
    if (!wn_dtype_is_float(t->type))
        note(c, wn_problems_add(c->out, "%s: tensor '%s' is of type %s, which is not floating point", c->file,
                                name, wn_dtype_name(t->type)));
}

/* `ignored`: prefix of tensors that may be there and are not used; NULL: none. */
static void report_unexpected(struct check *c, const char *ignored)
{
    for (size_t i = 0; i < wn_weights_count(c->w); i++) {
        const char *name = wn_weights_at(c->w, i)->name;
        if (c->seen[i] || (ignored && !strncmp(name, ignored, strlen(ignored)))) continue;
        note(c, wn_problems_add(c->out, "%s: tensor '%s' is not part of this model", c->file, name));
    }
}

static int64_t extent(const struct wn_weights *w, const char *name, int axis)
{
    const struct wn_weight *t = wn_weights_find(w, name);
    return t && axis < t->n_dims ? t->dim[axis] : 0;
}

/* Consecutive numbers i from 0 for which FORMAT with i names a tensor. */
static int count(const struct wn_weights *w, const char *before, const char *after)
{
    char name[128];
    int n = 0;
    for (; n < WN_MAX_LAYERS; n++) {
        snprintf(name, sizeof name, "%s%d%s", before, n, after);
        if (!has(w, name)) break;
    }
    return n;
}

static void check_dit(struct check *c, const struct wn_dit_config *given)
{
    struct wn_dit_config config;
    struct wn_err why = {0};
    if (!given && wn_dit_config_derive(&config, c->w, &why)) {
        note(c, wn_problems_add(c->out, "%s", why.text));
        return;
    }
    if (!given) given = &config;
    wn_dit_keys(given, (struct wn_key_visitor){check_key, c});
    if (!strcmp(given->model_type, "s2v") || !strcmp(given->model_type, "animate"))
        note(c, wn_problems_add(c->out,
                                "%s: the tensors that '%s' models add to the transformer are not checked",
                                c->file, given->model_type));
    else
        report_unexpected(c, NULL);
}

static void check_t5(struct check *c)
{
    const struct wn_weights *w = c->w;
    struct wn_t5_dims d = {
        .vocab = extent(w, "token_embedding.weight", 0),
        .dim = extent(w, "token_embedding.weight", 1),
        .attn_dim = extent(w, "blocks.0.attn.q.weight", 0),
        .ffn_dim = extent(w, "blocks.0.ffn.fc1.weight", 0),
        .n_buckets = extent(w, "blocks.0.pos_embedding.embedding.weight", 0),
        .n_heads = extent(w, "blocks.0.pos_embedding.embedding.weight", 1),
        .n_layers = count(w, "blocks.", ".attn.q.weight"),
    };
    wn_t5_keys(&d, (struct wn_key_visitor){check_key, c});
    if (!d.n_heads || d.attn_dim % d.n_heads)
        note(c, wn_problems_add(c->out, "%s: attention width %lld does not split into %lld heads", c->file,
                                (long long)d.attn_dim, (long long)d.n_heads));
    report_unexpected(c, "spiece_model"); /* some files carry the tokenizer */
}

static void check_vae(struct check *c)
{
    const struct wn_vae_dims d = {
        .encoder = extent(c->w, "encoder.conv1.weight", 0),
        .decoder = extent(c->w, "decoder.head.0.gamma", 0),
        .z = extent(c->w, "conv2.weight", 0),
    };
    const struct wn_key_visitor v = {check_key, c};
    if (wn_vae_kind_of(c->w) == WN_VAE_22)
        wn_vae22_keys(&d, v);
    else
        wn_vae21_keys(&d, v);
    report_unexpected(c, NULL);
}

static void check_clip(struct check *c)
{
    const struct wn_clip_dims d = {
        .dim = extent(c->w, "visual.cls_embedding", 2),
        .ffn_dim = extent(c->w, "visual.transformer.0.mlp.0.weight", 0),
        .patch = extent(c->w, "visual.patch_embedding.weight", 2),
        .n_tokens = extent(c->w, "visual.pos_embedding", 1),
        .n_layers = count(c->w, "visual.transformer.", ".norm1.weight"),
    };
    wn_clip_keys(&d, (struct wn_key_visitor){check_key, c});
    report_unexpected(c, "textual.");
}

enum wan_status wn_part_check(enum wn_part part, const struct wn_weights *w,
                              const struct wn_dit_config *config, struct wn_problems *out, struct wn_err *err)
{
    const size_t n = wn_weights_count(w);
    struct check c = {.w = w, .file = wn_path_base(wn_weights_path(w)), .out = out};
    if (!(c.seen = wn_zalloc_n(n, sizeof *c.seen))) return wn_fail_nomem(err, "a check of tensors", n);
    switch (part) {
    case WN_PART_DIT:
    case WN_PART_DIT_HIGH:
    case WN_PART_DIT_LOW: check_dit(&c, config); break;
    case WN_PART_T5: check_t5(&c); break;
    case WN_PART_VAE: check_vae(&c); break;
    case WN_PART_CLIP: check_clip(&c); break;
    case WN_PART_TOKENIZER:
    case WN_PART_COUNT: break;
    }
    if (c.n_missing > MAX_MISSING)
        note(&c, wn_problems_add(out, "%s: %d more tensors are missing", c.file, c.n_missing - MAX_MISSING));
    wn_free(c.seen);
    return c.nomem ? wn_fail_nomem(err, "a check of tensors", 0) : WAN_OK;
}
