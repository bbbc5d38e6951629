#include "io/config.h"

#include <stdio.h>
#include <string.h>

#include "io/json.h"

enum { MAX_CONFIG = 1 << 20, DEFAULT_TEXT_LEN = 512, DEFAULT_FREQ_DIM = 256, OFFICIAL_TEXT_DIM = 4096 };
static const float default_eps = 1e-6f;

/* ---- config.json ---- */

struct source {
    const json_t *root;
    const char *path;
    struct wn_err *err; /* the first failure; later reads do nothing */
};

/* A whole number in [min, max]. `fallback` < 0: the key must be there. */
static int64_t read_int(struct source *s, const char *key, int64_t min, int64_t max, int64_t fallback)
{
    const json_t *v = json_object_get(s->root, key);
    if (s->err->code) return min;
    if ((!v || json_is_null(v)) && fallback >= 0) return fallback;
    if (!v) {
        wn_fail(s->err, WAN_EFORMAT, "%s: '%s' is missing", s->path, key);
        return min;
    }
    int64_t i = json_integer_value(v);
    if (json_is_integer(v) && i >= min && i <= max) return i;
    wn_fail(s->err, WAN_EFORMAT, "%s: '%s' must be a whole number from %lld to %lld", s->path, key,
            (long long)min, (long long)max);
    return min;
}

static float read_eps(struct source *s)
{
    const json_t *v = json_object_get(s->root, "eps");
    if (!v || s->err->code) return default_eps;
    double d = json_number_value(v);
    if (json_is_number(v) && d > 0 && d < 1) return (float)d;
    wn_fail(s->err, WAN_EFORMAT, "%s: 'eps' must be a number between 0 and 1", s->path);
    return default_eps;
}

/* A short word into out [size]; "" when absent. */
static void read_word(struct source *s, const char *key, char *out, size_t size)
{
    const json_t *v = json_object_get(s->root, key);
    out[0] = 0;
    if (!v || json_is_null(v) || s->err->code) return;
    const char *text = json_string_value(v);
    size_t n = text ? strlen(text) : 0;
    if (!n || n >= size ||
        strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.") != n) {
        wn_fail(s->err, WAN_EFORMAT, "%s: '%s' must be a word of at most %zu characters", s->path, key,
                size - 1);
        return;
    }
    memcpy(out, text, n + 1);
}

/* "vace_layers": the blocks that are fed, in order; null: every second one. */
static void read_vace(struct source *s, struct wn_dit_config *c)
{
    const json_t *list = json_object_get(s->root, "vace_layers");
    bool is_vace = !strcmp(c->model_type, "vace") || !strcmp(c->class_name, "VaceWanModel");
    if (s->err->code || (!is_vace && !json_is_array(list))) return;
    c->vace_in_dim = read_int(s, "vace_in_dim", 1, 4096, 96);
    if (!list || json_is_null(list)) {
        for (int i = 0; i < c->n_layers; i += 2) c->vace_layer[c->n_vace_layers++] = (int16_t)i;
        return;
    }
    size_t n = json_array_size(list);
    int64_t last = -1;
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        int64_t layer = json_integer_value(v);
        if (!json_is_integer(v) || layer <= last || layer >= c->n_layers || (!i && layer)) {
            wn_fail(s->err, WAN_EFORMAT, "%s: 'vace_layers' must count up from 0 and stay below num_layers",
                    s->path);
            return;
        }
        c->vace_layer[c->n_vace_layers++] = (int16_t)(last = layer);
    }
    if (!n) wn_fail(s->err, WAN_EFORMAT, "%s: 'vace_layers' must list at least block 0", s->path);
}

static void set_type(struct wn_dit_config *c, const char *type)
{
    snprintf(c->model_type, sizeof c->model_type, "%s", type);
}

/* By class, which is more exact than model_type; where the file does not say: by branches and channels. */
static void tell_type(struct wn_dit_config *c)
{
    if (!strcmp(c->class_name, "WanAnimateModel"))
        set_type(c, "animate");
    else if (!strcmp(c->class_name, "WanModel_S2V"))
        set_type(c, "s2v");
    else if (!strcmp(c->class_name, "VaceWanModel"))
        set_type(c, "vace");
    if (c->model_type[0]) return;
    if (c->n_vace_layers)
        set_type(c, "vace");
    else if (c->image_rows)
        set_type(c, "flf2v");
    else if (c->image_dim || c->in_dim != c->out_dim)
        set_type(c, "i2v");
    else
        set_type(c, c->in_dim == 48 ? "ti2v" : "t2v");
}

static void check_heads(const struct source *s, const struct wn_dit_config *c)
{
    if (s->err->code) return;
    if (c->dim % c->n_heads || c->dim / c->n_heads % 2)
        wn_fail(s->err, WAN_EFORMAT, "%s: 'dim' %lld does not split into 'num_heads' %d heads of even width",
                s->path, (long long)c->dim, c->n_heads);
    else if (c->freq_dim % 2)
        wn_fail(s->err, WAN_EFORMAT, "%s: 'freq_dim' must be even", s->path);
}

static void read_all(struct source *s, struct wn_dit_config *c)
{
    read_word(s, "_class_name", c->class_name, sizeof c->class_name);
    read_word(s, "model_type", c->model_type, sizeof c->model_type);
    if (!strcmp(c->class_name, "WanTransformer3DModel")) {
        wn_fail(s->err, WAN_EUNSUPPORTED, "%s: a transformer in diffusers' layout, which cannot be read yet",
                s->path);
        return;
    }
    c->dim = read_int(s, "dim", 2, 1 << 16, -1);
    c->ffn_dim = read_int(s, "ffn_dim", 1, 1 << 20, -1);
    c->n_heads = (int)read_int(s, "num_heads", 1, 1 << 12, -1);
    c->n_layers = (int)read_int(s, "num_layers", 1, WN_MAX_LAYERS, -1);
    c->in_dim = read_int(s, "in_dim", 1, 1 << 12, -1);
    c->out_dim = read_int(s, "out_dim", 1, 1 << 12, -1);
    c->freq_dim = read_int(s, "freq_dim", 2, 1 << 16, DEFAULT_FREQ_DIM);
    c->text_len = read_int(s, "text_len", 1, 1 << 16, DEFAULT_TEXT_LEN);
    c->eps = read_eps(s);
    check_heads(s, c);
    read_vace(s, c);
    tell_type(c);
}

enum wan_status wn_dit_config_read(struct wn_dit_config *c, const char *path, struct wn_err *err)
{
    *c = (struct wn_dit_config){0};
    struct wn_err local = {0};
    json_t *root;
    if (wn_json_read(&root, path, MAX_CONFIG, 0, &local)) return wn_fail(err, local.code, "%s", local.text);
    struct source s = {root, path, &local};
    if (!json_is_object(root))
        wn_fail(&local, WAN_EFORMAT, "%s: not a JSON object", path);
    else
        read_all(&s, c);
    json_decref(root);
    return local.code ? wn_fail(err, local.code, "%s", local.text) : WAN_OK;
}

/* ---- tensors ---- */

/* What the tensors that carry dimensions say. */
static enum wan_status find_shape(const struct wn_weights *w, const char *name, int n_dims,
                                  const struct wn_weight **t, struct wn_err *err)
{
    *t = wn_weights_find(w, name);
    if (!*t)
        return wn_fail(err, WAN_EFORMAT, "%s: tensor '%s' is missing: not a transformer with official names",
                       wn_weights_path(w), name);
    bool good = (*t)->n_dims == n_dims;
    for (int i = 0; i < n_dims && good; i++) good = (*t)->dim[i] > 0 && (*t)->dim[i] <= 1 << 22;
    if (good) return WAN_OK;
    return wn_fail(err, WAN_EFORMAT, "%s: tensor '%s' does not have %d sensible extents", (*t)->file, name,
                   n_dims);
}

/* Indices for which PREFIX.{i}.modulation is there, counted from 0. */
static int count_blocks(const struct wn_weights *w, const char *prefix)
{
    char name[64];
    int n = 0;
    for (; n < WN_MAX_LAYERS; n++) {
        snprintf(name, sizeof name, "%s.%d.modulation", prefix, n);
        if (!wn_weights_find(w, name)) break;
    }
    return n;
}

static enum wan_status read_image_branch(struct wn_dit_config *c, const struct wn_weights *w,
                                         struct wn_err *err)
{
    const struct wn_weight *t;
    enum wan_status st = WAN_OK;
    if (wn_weights_find(w, "img_emb.proj.1.weight")) {
        st = find_shape(w, "img_emb.proj.1.weight", 2, &t, err);
        if (!st) c->image_dim = t->dim[1];
    }
    if (!st && wn_weights_find(w, "img_emb.emb_pos")) {
        st = find_shape(w, "img_emb.emb_pos", 3, &t, err);
        if (!st) c->image_rows = t->dim[1];
    }
    return st;
}

static enum wan_status read_vace_blocks(struct wn_dit_config *c, const struct wn_weights *w,
                                        struct wn_err *err)
{
    const struct wn_weight *t;
    if (!wn_weights_find(w, "vace_patch_embedding.weight")) return WAN_OK;
    enum wan_status st = find_shape(w, "vace_patch_embedding.weight", 5, &t, err);
    if (st) return st;
    c->vace_in_dim = t->dim[1];
    c->n_vace_layers = count_blocks(w, "vace_blocks");
    if (!c->n_vace_layers || c->n_vace_layers > c->n_layers)
        return wn_fail(err, WAN_EFORMAT, "%s: %d VACE blocks for %d blocks", wn_weights_path(w),
                       c->n_vace_layers, c->n_layers);
    for (int j = 0; j < c->n_vace_layers; j++)
        c->vace_layer[j] = (int16_t)(j * (c->n_layers / c->n_vace_layers));
    return WAN_OK;
}

/* Everything but heads, text_len, eps and type. */
static enum wan_status read_shapes(struct wn_dit_config *c, const struct wn_weights *w, struct wn_err *err)
{
    const struct wn_weight *patch, *text, *time, *ffn, *head;
    enum wan_status st = find_shape(w, "patch_embedding.weight", 5, &patch, err);
    if (!st) st = find_shape(w, "text_embedding.0.weight", 2, &text, err);
    if (!st) st = find_shape(w, "time_embedding.0.weight", 2, &time, err);
    if (!st) st = find_shape(w, "blocks.0.ffn.0.weight", 2, &ffn, err);
    if (!st) st = find_shape(w, "head.head.weight", 2, &head, err);
    if (st) return st;
    c->dim = patch->dim[0];
    c->in_dim = patch->dim[1];
    c->text_dim = text->dim[1];
    c->freq_dim = time->dim[1];
    c->ffn_dim = ffn->dim[0];
    c->out_dim = head->dim[0] / 4; /* a patch is 1 x 2 x 2 */
    c->n_layers = count_blocks(w, "blocks");
    if (head->dim[0] % 4 || !c->n_layers || c->freq_dim % 2)
        return wn_fail(err, WAN_EFORMAT,
                       "%s: the shapes of head.head.weight, time_embedding.0.weight or the blocks make no "
                       "transformer",
                       wn_weights_path(w));
    st = read_image_branch(c, w, err);
    return st ? st : read_vace_blocks(c, w, err);
}

enum wan_status wn_dit_config_derive(struct wn_dit_config *c, const struct wn_weights *w, struct wn_err *err)
{
    *c = (struct wn_dit_config){.text_len = DEFAULT_TEXT_LEN, .eps = default_eps};
    enum wan_status st = read_shapes(c, w, err);
    if (st) return st;
    if (c->dim % WN_HEAD_DIM)
        return wn_fail(err, WAN_EFORMAT,
                       "%s: no config.json, and its width %lld is not a multiple of %d, so the number of "
                       "heads is unknown",
                       wn_weights_path(w), (long long)c->dim, WN_HEAD_DIM);
    c->n_heads = (int)(c->dim / WN_HEAD_DIM);
    if (wn_weights_find(w, "pose_patch_embedding.weight")) set_type(c, "animate");
    if (wn_weights_find(w, "casual_audio_encoder.encoder.conv1_local.conv.weight")) set_type(c, "s2v");
    tell_type(c);
    return WAN_OK;
}

static enum wan_status compare(const char *key, int64_t said, int64_t found, const char *tensor,
                               const struct wn_weights *w, struct wn_err *err)
{
    if (said == found) return WAN_OK;
    return wn_fail(err, WAN_EFORMAT, "%s: config.json says '%s' is %lld, the shape of %s says %lld",
                   wn_weights_path(w), key, (long long)said, tensor, (long long)found);
}

enum wan_status wn_dit_config_match(struct wn_dit_config *c, const struct wn_weights *w, struct wn_err *err)
{
    struct wn_dit_config f = {0};
    enum wan_status st = read_shapes(&f, w, err);
    if (!st) st = compare("dim", c->dim, f.dim, "patch_embedding.weight", w, err);
    if (!st) st = compare("in_dim", c->in_dim, f.in_dim, "patch_embedding.weight", w, err);
    if (!st) st = compare("freq_dim", c->freq_dim, f.freq_dim, "time_embedding.0.weight", w, err);
    if (!st) st = compare("ffn_dim", c->ffn_dim, f.ffn_dim, "blocks.0.ffn.0.weight", w, err);
    if (!st) st = compare("out_dim", c->out_dim, f.out_dim, "head.head.weight", w, err);
    if (!st) st = compare("num_layers", c->n_layers, f.n_layers, "the blocks", w, err);
    if (!st && c->n_vace_layers)
        st = compare("vace_layers", c->n_vace_layers, f.n_vace_layers, "the VACE blocks", w, err);
    if (!st && c->n_vace_layers)
        st = compare("vace_in_dim", c->vace_in_dim, f.vace_in_dim, "vace_patch_embedding.weight", w, err);
    if (st) return st;
    if (!c->n_vace_layers) {
        c->n_vace_layers = f.n_vace_layers;
        c->vace_in_dim = f.vace_in_dim;
        memcpy(c->vace_layer, f.vace_layer, sizeof c->vace_layer);
    }
    c->text_dim = f.text_dim;
    c->image_dim = f.image_dim;
    c->image_rows = f.image_rows;
    return WAN_OK;
}

enum wan_status wn_dit_config_load(struct wn_dit_config *c, const char *path, const struct wn_weights *w,
                                   struct wn_err *err)
{
    if (!path) return wn_dit_config_derive(c, w, err);
    enum wan_status st = wn_dit_config_read(c, path, err);
    return st ? st : wn_dit_config_match(c, w, err);
}

/* ---- parameters ---- */

static int64_t linear(int64_t in, int64_t out)
{
    return in * out + out;
}

int64_t wn_dit_n_params(const struct wn_dit_config *c)
{
    const int64_t D = c->dim, text = c->text_dim ? c->text_dim : OFFICIAL_TEXT_DIM;
    const int64_t attention = 4 * linear(D, D) + 2 * D;
    int64_t block = 6 * D + 2 * attention + 2 * D + linear(D, c->ffn_dim) + linear(c->ffn_dim, D);
    const int64_t image_block = c->image_dim ? 2 * linear(D, D) + D : 0;
    int64_t n = linear(4 * c->in_dim, D) + linear(text, D) + linear(D, D) + linear(c->freq_dim, D) +
                linear(D, D) + linear(D, 6 * D) + 2 * D + linear(D, 4 * c->out_dim) +
                c->n_layers * (block + image_block);
    if (c->image_dim)
        n += 2 * c->image_dim + linear(c->image_dim, c->image_dim) + linear(c->image_dim, D) + 2 * D +
             c->image_rows * c->image_dim;
    if (c->n_vace_layers)
        n += c->n_vace_layers * (block + linear(D, D)) + linear(D, D) + linear(4 * c->vace_in_dim, D);
    return n;
}
