#include "io/dialect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "io/json.h"
#include "io/packed.h"
#include "io/set.h"

enum { MAX_SEGMENTS = 16, MAX_GROUP = 4096, MAX_CONFIG = 1 << 20 };

/* ---- names: a path of segments ---- */

struct path {
    char text[WN_DIALECT_NAME_BYTES];
    const char *seg[MAX_SEGMENTS];
    int n;
};

/* false: too long to be a name of a model's. */
static bool split(struct path *p, const char *name)
{
    size_t len = strlen(name);
    p->n = 0;
    if (len >= sizeof p->text) return false;
    memcpy(p->text, name, len + 1);
    for (char *s = p->text; s; p->n++) {
        if (p->n == MAX_SEGMENTS) return false;
        p->seg[p->n] = s;
        if ((s = strchr(s, '.'))) *s++ = 0;
    }
    return true;
}

static bool is_number(const char *s)
{
    return *s && strspn(s, "0123456789") == strlen(s);
}

static bool is(const struct path *p, int i, const char *text)
{
    return i >= 0 && i < p->n && !strcmp(p->seg[i], text);
}

static bool number_at(const struct path *p, int i)
{
    return i >= 0 && i < p->n && is_number(p->seg[i]);
}

struct rename {
    const char *from, *to;
};

/* Segments that stand for others wherever they are. */
static const struct rename dit_segments[] = {
    {"patch_embedding_proj", "patch_embedding"}, {"text_embedding_0", "text_embedding.0"},
    {"text_embedding_1", "text_embedding.2"},    {"time_embedding_0", "time_embedding.0"},
    {"time_embedding_1", "time_embedding.2"},    {"head_modulation", "head.modulation"},
};
static const struct rename t5_segments[] = {{"gate_proj", "gate.0"}};
static const struct rename vae_segments[] = {
    {"resample_weight", "resample.1.weight"}, {"resample_bias", "resample.1.bias"},
    {"to_qkv_weight", "to_qkv.weight"},       {"to_qkv_bias", "to_qkv.bias"},
    {"proj_weight", "proj.weight"},           {"proj_bias", "proj.bias"},
};

struct dialect_names {
    const struct rename *rename;
    size_t n;
};
#define NAMES(list)                       \
    {                                     \
        list, sizeof list / sizeof *list, \
    }

static struct dialect_names names_of(enum wn_part part)
{
    static const struct dialect_names dit = NAMES(dit_segments), t5 = NAMES(t5_segments),
                                      vae = NAMES(vae_segments), none = {NULL, 0};
    return part == WN_PART_DIT ? dit : part == WN_PART_T5 ? t5 : part == WN_PART_VAE ? vae : none;
}

/* Segment i of a foreign name, as official: "" where it goes. */
static const char *official_segment(enum wn_part part, const struct path *p, int i)
{
    const struct dialect_names names = names_of(part);
    const char *s = p->seg[i];
    if (!strcmp(s, "layers") && number_at(p, i + 1)) return "";
    if (!strncmp(s, "layer_", 6) && is_number(s + 6)) return s + 6;
    for (size_t k = 0; k < names.n; k++)
        if (!strcmp(s, names.rename[k].from)) return names.rename[k].to;
    if (part == WN_PART_DIT) {
        if (is(p, i - 1, "ffn") && !strcmp(s, "fc1")) return "0";
        if (is(p, i - 1, "ffn") && !strcmp(s, "fc2")) return "2";
        if (is(p, i - 1, "head") && !strcmp(s, "1")) return "head";
        if (!strcmp(s, "time_projection") && i + 2 == p->n) return "time_projection.1";
    }
    /* a convolution inside a module that pads */
    if (part == WN_PART_VAE && !strcmp(s, "conv") && i > 0 && i + 2 == p->n) return "";
    return s;
}

/* The official name for `name` into out; false: it does not fit. */
static bool official_name(enum wn_part part, const char *name, char out[WN_DIALECT_NAME_BYTES])
{
    struct path p;
    size_t n = 0;
    out[0] = 0;
    if (!split(&p, name)) return false;
    for (int i = 0; i < p.n; i++) {
        const char *s = official_segment(part, &p, i);
        if (!*s && *p.seg[i]) continue;
        n += (size_t)snprintf(out + n, WN_DIALECT_NAME_BYTES - n, "%s%s", i && n ? "." : "", s);
        if (n >= WN_DIALECT_NAME_BYTES) return false;
    }
    return true;
}

/* Which part's names these are, whoever gave them. */
static enum wn_part tell_part(const struct wn_weights *w)
{
    bool codes = false;
    for (size_t i = 0; i < w->n; i++) {
        const char *name = w->item[i].name;
        if (strstr(name, "patch_embedding") && !strstr(name, "visual.")) return WN_PART_DIT;
        if (strstr(name, "token_embedding")) return WN_PART_T5;
        codes |= !strncmp(name, "decoder.", 8) || !strncmp(name, "encoder.", 8);
    }
    return codes ? WN_PART_VAE : WN_PART_COUNT;
}

/* Tables that a program saves with its weights and that are computed here. */
static bool is_computed(enum wn_part part, const char *name)
{
    return part == WN_PART_DIT && !strcmp(name, "freqs");
}

enum wan_status wn_dialect_names(struct wn_weights *w, struct wn_err *err)
{
    const enum wn_part part = tell_part(w);
    char name[WN_DIALECT_NAME_BYTES];
    size_t kept = 0;
    bool changed = false;
    if (part == WN_PART_COUNT) return WAN_OK;
    for (size_t i = 0; i < w->n; i++) {
        struct wn_weight *t = &w->item[i];
        if (is_computed(part, t->name)) continue;
        if (official_name(part, t->name, name) && strcmp(name, t->name)) {
            if (!(t->name = wn_set_name(w, name, strlen(name), err))) return WAN_ENOMEM;
            changed = true;
        }
        w->item[kept++] = *t;
    }
    w->n = kept;
    return changed ? wn_set_sort(w, err) : WAN_OK;
}

/* ---- quantised groups ---- */

/* bits and group size of a tensor; 0: not told. */
struct grouping {
    int64_t bits, group;
};

struct quantised {
    struct wn_weights *w;
    enum wn_part part;
    json_t *config;        /* the config.json beside the file; NULL: none */
    const json_t *section; /* its "quantization"; borrowed */
    struct grouping all;   /* of every tensor that has no own entry */
    struct wn_err *err;
};

static struct grouping read_grouping(const json_t *object)
{
    return (struct grouping){json_integer_value(json_object_get(object, "bits")),
                             json_integer_value(json_object_get(object, "group_size"))};
}

/* The config.json in the folder of `file`; none is fine, a damaged one is not. */
static enum wan_status open_config(struct quantised *q, const char *file)
{
    char *path = wn_sprintf("%.*sconfig.json", (int)(wn_path_base(file) - file), file);
    if (!path) return wn_fail_nomem(q->err, file, 0);
    if (wn_file_kind(path) == WN_FILE_REGULAR) wn_json_read(&q->config, path, MAX_CONFIG, 0, q->err);
    wn_free(path);
    q->section = json_object_get(q->config, "quantization");
    if (!q->section) q->section = json_object_get(q->config, "quantization_config");
    return q->err->code;
}

/* Where no config says it: from a matrix whose width other tensors tell. */
static void infer_grouping(struct quantised *q)
{
    static const char *const matrix[] = {"blocks.0.self_attn.q.weight", "blocks.0.attn.q.weight"};
    static const char *const width[] = {"blocks.0.self_attn.norm_q.weight", "blocks.0.norm1.weight"};
    for (int i = 0; i < 2; i++) {
        const struct wn_weight *m = wn_weights_find(q->w, matrix[i]), *v = wn_weights_find(q->w, width[i]);
        if (!m || !v || m->type != WN_U32 || m->n_dims != 2 || v->n_dims != 1 || v->dim[0] < 1) continue;
        const int64_t words = m->dim[1];
        if (words <= INT32_MAX && words * 32 % v->dim[0] == 0) q->all.bits = words * 32 / v->dim[0];
    }
}

/* Tensor `stem`'s own entry in the section: an object under its module's name. */
static struct grouping own_grouping(const struct quantised *q, const char *stem)
{
    const char *key;
    json_t *value;
    char name[WN_DIALECT_NAME_BYTES];
    json_object_foreach((json_t *)q->section, key, value)
    {
        if (json_is_object(value) && official_name(q->part, key, name) && !strcmp(name, stem))
            return read_grouping(value);
    }
    return (struct grouping){0};
}

static const struct wn_weight *companion(const struct quantised *q, const char *stem, const char *what)
{
    char name[WN_DIALECT_NAME_BYTES + 16];
    snprintf(name, sizeof name, "%s.%s", stem, what);
    return wn_weights_find(q->w, name);
}

static enum wan_status bad(const struct quantised *q, const struct wn_weight *t, const char *what)
{
    return wn_fail(q->err, WAN_EFORMAT, "%s: tensor '%s': %s", t->file, t->name, what);
}

/* Are scales and biases what the integers t [rows, words] need? */
static enum wan_status check_companions(const struct quantised *q, const struct wn_weight *t,
                                        const struct wn_weight *s, const struct wn_weight *b)
{
    if (!s) return bad(q, t, "it is quantised, and its scales are missing");
    if (!b) return bad(q, t, "it is quantised, and its biases are missing: only MLX's affine mode is read");
    if (t->n_dims != 2 || !t->dim[0] || !t->dim[1]) return bad(q, t, "it is quantised and not a matrix");
    if (s->type != WN_F32 && s->type != WN_BF16 && s->type != WN_F16)
        return bad(q, t, "its scales are not F32, BF16 or F16");
    if (b->type != s->type) return bad(q, t, "its scales and biases differ in type");
    if (s->n_dims != 2 || s->dim[0] != t->dim[0] || !s->dim[1])
        return bad(q, t, "its scales are not a matrix of as many rows");
    if (b->n_dims != 2 || b->dim[0] != s->dim[0] || b->dim[1] != s->dim[1])
        return bad(q, t, "its biases have not the shape of its scales");
    return WAN_OK;
}

/* *g becomes what t is grouped by: words * 32 bits for n groups a row say bits times group size. */
static enum wan_status find_grouping(const struct quantised *q, const struct wn_weight *t, const char *stem,
                                     int64_t n, struct grouping *g)
{
    const int64_t words = t->dim[1];
    const struct grouping own = own_grouping(q, stem);
    *g = own.bits ? own : q->all;
    if (!g->bits)
        return bad(
            q, t,
            "it is quantised, and there is no config.json that says \"quantization\" with \"bits\" and "
            "\"group_size\"");
    if (g->bits != 4 && g->bits != 8)
        return wn_fail(q->err, WAN_EUNSUPPORTED,
                       "%s: tensor '%s' is quantised to %lld bits; 4 and 8 can be read", t->file, t->name,
                       (long long)g->bits);
    if (words > INT32_MAX || words * 32 % (n * g->bits)) return bad(q, t, "its scales do not fit its width");
    const int64_t group = words * 32 / g->bits / n;
    if (g->group && g->group != group)
        return wn_fail(
            q->err, WAN_EFORMAT,
            "%s: tensor '%s': its shape and its scales make groups of %lld at %lld bits, config.json "
            "says %lld",
            t->file, t->name, (long long)group, (long long)g->bits, (long long)g->group);
    g->group = group;
    if (group % 8 || group > MAX_GROUP)
        return wn_fail(q->err, WAN_EFORMAT, "%s: tensor '%s': groups of %lld elements", t->file, t->name,
                       (long long)group);
    return WAN_OK;
}

/* The matrix that t [rows, words] U32 stands for, instead of it. */
static enum wan_status pack_groups(struct quantised *q, struct wn_weight *t)
{
    char stem[WN_DIALECT_NAME_BYTES];
    const size_t n_stem = strlen(t->name) - strlen(".weight");
    if (n_stem >= sizeof stem) return bad(q, t, "it is quantised, and its name is too long");
    memcpy(stem, t->name, n_stem);
    stem[n_stem] = 0;
    const struct wn_weight *s = companion(q, stem, "scales"), *b = companion(q, stem, "biases");
    struct grouping g;
    if (check_companions(q, t, s, b) || find_grouping(q, t, stem, s->dim[1], &g)) return q->err->code;
    struct wn_packed *p = wn_zalloc(sizeof *p);
    if (!p) return wn_fail_nomem(q->err, t->name, sizeof *p);
    *p = (struct wn_packed){.kind = WN_PACKED_GROUPS,
                            .data = t->data,
                            .bytes = t->bytes,
                            .bits = (int)g.bits,
                            .group = g.group,
                            .n_groups = s->dim[1],
                            .scales = s->data,
                            .biases = b->data,
                            .group_bytes = s->bytes};
    if (wn_set_own(q->w, p, q->err)) return q->err->code;
    t->type = s->type;
    t->dim[1] = g.group * s->dim[1];
    q->w->item[s - q->w->item].type = q->w->item[b - q->w->item].type = WN_NONE;
    t->packed = p;
    t->data = NULL;
    if (!wn_shape_bytes(t->type, 2, t->dim, &t->bytes)) return bad(q, t, "its shape is too large");
    return WAN_OK;
}

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), k = strlen(tail);
    return n >= k && !strcmp(s + n - k, tail);
}

static bool is_groups(const struct wn_weight *t)
{
    return t->type == WN_U32 && ends_with(t->name, ".weight");
}

/* What was marked as a part of another tensor leaves the list. */
static void drop_companions(struct wn_weights *w)
{
    size_t kept = 0;
    for (size_t i = 0; i < w->n; i++)
        if (w->item[i].type != WN_NONE) w->item[kept++] = w->item[i];
    w->n = kept;
}

static enum wan_status pack_all_groups(struct wn_weights *w, enum wn_part part, struct wn_err *err)
{
    struct quantised q = {.w = w, .part = part, .err = err};
    size_t first = 0;
    while (first < w->n && !is_groups(&w->item[first])) first++;
    if (first == w->n) return WAN_OK;
    if (!open_config(&q, w->item[first].file)) {
        if (q.section)
            q.all = read_grouping(q.section);
        else
            infer_grouping(&q);
        for (size_t i = first; i < w->n && !err->code; i++)
            if (is_groups(&w->item[i])) pack_groups(&q, &w->item[i]);
        if (!err->code) drop_companions(w);
    }
    json_decref(q.config);
    return err->code;
}

/* ---- convolutions ---- */

/* Is [d0, d1, d2] (or [d1, d2] of an image's) the kernel of any convolution of these models? */
static bool is_kernel(const int64_t *d, int n)
{
    static const int64_t kernels[][3] = {{1, 1, 1}, {3, 3, 3}, {3, 1, 1}, {1, 2, 2}, {1, 3, 3}};
    for (size_t k = 0; k < sizeof kernels / sizeof *kernels; k++) {
        const int64_t *want = kernels[k] + 3 - n;
        if ((n == 3 || kernels[k][0] == 1) && !memcmp(d, want, (size_t)n * sizeof *d)) return true;
    }
    return false;
}

/* The name of a tensor that proves an order, for each. */
struct order {
    const char *first, *last; /* channels after `out`, or at the end */
};

static bool is_conv(const struct wn_weight *t, int n_dims)
{
    return t->n_dims == n_dims && !t->packed && ends_with(t->name, ".weight");
}

/* What the weights of n_dims axes prove: where both readings give a kernel there is no telling. */
static struct order tell_order(const struct wn_weights *w, int n_dims)
{
    struct order o = {0};
    for (size_t i = 0; i < w->n; i++) {
        const struct wn_weight *t = &w->item[i];
        if (!is_conv(t, n_dims)) continue;
        const bool first = is_kernel(t->dim + 2, n_dims - 2), last = is_kernel(t->dim + 1, n_dims - 2);
        if (first && !last) o.first = t->name;
        if (last && !first) o.last = t->name;
    }
    return o;
}

/* t [out, kernel, in] becomes [out, in, kernel]. */
static enum wan_status move_channels(struct wn_weights *w, struct wn_weight *t, struct wn_err *err)
{
    const int n = t->n_dims;
    const int64_t n_in = t->dim[n - 1];
    int64_t n_taps = 1;
    for (int i = n - 1; i > 1; i--) {
        t->dim[i] = t->dim[i - 1];
        n_taps *= t->dim[i];
    }
    t->dim[1] = n_in;
    if (n_taps == 1 || n_in == 1 || !t->bytes) return WAN_OK; /* the elements are in order */
    struct wn_packed *p = wn_zalloc(sizeof *p);
    if (!p) return wn_fail_nomem(err, t->name, sizeof *p);
    *p = (struct wn_packed){
        .kind = WN_PACKED_CHANNELS_LAST, .data = t->data, .bytes = t->bytes, .n_in = n_in, .n_taps = n_taps};
    t->packed = p;
    t->data = NULL;
    return wn_set_own(w, p, err);
}

static enum wan_status order_convolutions(struct wn_weights *w, int n_dims, struct wn_err *err)
{
    const struct order o = tell_order(w, n_dims);
    if (o.first && o.last)
        return wn_fail(err, WAN_EFORMAT,
                       "%s: the convolution '%s' has its input channels last, and '%s' has not",
                       wn_weights_path(w), o.last, o.first);
    for (size_t i = 0; o.last && i < w->n; i++)
        if (is_conv(&w->item[i], n_dims) && is_kernel(w->item[i].dim + 1, n_dims - 2) &&
            move_channels(w, &w->item[i], err))
            return err->code;
    return WAN_OK;
}

/* ---- shapes ---- */

/* t becomes [dim[0], …] with the extents given, of as many elements. */
static void reshape(struct wn_weight *t, int n_dims, const int64_t *dim)
{
    t->n_dims = n_dims;
    memcpy(t->dim, dim, (size_t)n_dims * sizeof *dim);
}

/* The patch embedding as a matrix, and norms without their axes of one. */
static void restore_shapes(struct wn_weights *w, enum wn_part part)
{
    for (size_t i = 0; i < w->n; i++) {
        struct wn_weight *t = &w->item[i];
        if (part == WN_PART_DIT && t->n_dims == 2 && ends_with(t->name, "patch_embedding.weight") &&
            t->dim[1] % 4 == 0)
            reshape(t, 5, (const int64_t[]){t->dim[0], t->dim[1] / 4, 1, 2, 2});
        if (part == WN_PART_VAE && t->n_dims == 1 && ends_with(t->name, ".gamma"))
            reshape(t, ends_with(t->name, ".norm.gamma") ? 3 : 4, (const int64_t[]){t->dim[0], 1, 1, 1});
    }
}

enum wan_status wn_dialect_layout(struct wn_weights *w, struct wn_err *err)
{
    const enum wn_part part = tell_part(w);
    if (part == WN_PART_COUNT) return WAN_OK;
    if (pack_all_groups(w, part, err)) return err->code;
    restore_shapes(w, part);
    if (part == WN_PART_T5) return WAN_OK;
    if (order_convolutions(w, 5, err)) return err->code;
    return part == WN_PART_VAE ? order_convolutions(w, 4, err) : WAN_OK;
}

/* ---- from official names ---- */

static const struct rename mlx_video_dit[] = {
    {"patch_embedding", "patch_embedding_proj"},
    {"text_embedding.0", "text_embedding_0"},
    {"text_embedding.2", "text_embedding_1"},
    {"time_embedding.0", "time_embedding_0"},
    {"time_embedding.2", "time_embedding_1"},
    {"time_projection.1", "time_projection"},
    {"ffn.0", "ffn.fc1"},
    {"ffn.2", "ffn.fc2"},
};
static const struct rename mlx_video_t5[] = {{"ffn.gate.0", "ffn.gate_proj"}};
/* Of the VAE of Wan2.2 only. */
static const struct rename mlx_video_vae[] = {
    {"residual.0", "residual.layer_0"},
    {"residual.2", "residual.layer_2"},
    {"residual.3", "residual.layer_3"},
    {"residual.6", "residual.layer_6"},
    {"head.0", "head.layer_0"},
    {"head.2", "head.layer_2"},
    {"resample.1.weight", "resample_weight"},
    {"resample.1.bias", "resample_bias"},
    {"to_qkv.weight", "to_qkv_weight"},
    {"to_qkv.bias", "to_qkv_bias"},
    {"proj.weight", "proj_weight"},
    {"proj.bias", "proj_bias"},
};

/* Does `s` have whole segments `want` in front? Their length, else 0. */
static size_t begins(const char *s, const char *want)
{
    const size_t n = strlen(want);
    return !strncmp(s, want, n) && (!s[n] || s[n] == '.') ? n : 0;
}

/* `from` with every run of segments that a rename names replaced. */
static void rename_runs(struct dialect_names names, const char *from, char out[WN_DIALECT_NAME_BYTES])
{
    size_t n = 0;
    out[0] = 0;
    for (const char *s = from; *s && n < WN_DIALECT_NAME_BYTES;) {
        size_t used = strcspn(s, ".");
        const char *text = s;
        size_t len = used;
        for (size_t k = 0; k < names.n; k++)
            if (begins(s, names.rename[k].from)) {
                used = begins(s, names.rename[k].from);
                text = names.rename[k].to;
                len = strlen(text);
                break;
            }
        n += (size_t)snprintf(out + n, WN_DIALECT_NAME_BYTES - n, "%s%.*s", n ? "." : "", (int)len, text);
        s += used + (s[used] == '.');
    }
}

/* `from` with `.layers` before the number of each member of what PyTorch calls a Sequential. */
static void name_layers(const char *from, char out[WN_DIALECT_NAME_BYTES])
{
    static const char *const sequential[] = {
        "text_embedding", "time_embedding", "time_projection", "ffn",       "proj",       "gate", "residual",
        "resample",       "head",           "middle",          "upsamples", "downsamples"};
    struct path p;
    size_t n = 0;
    snprintf(out, WN_DIALECT_NAME_BYTES, "%s", from);
    if (!split(&p, from)) return;
    for (int i = 0; i < p.n && n < WN_DIALECT_NAME_BYTES; i++) {
        bool member = false;
        for (size_t k = 0; k < sizeof sequential / sizeof *sequential; k++)
            member |= is_number(p.seg[i]) && is(&p, i - 1, sequential[k]);
        n += (size_t)snprintf(out + n, WN_DIALECT_NAME_BYTES - n, "%s%s%s", i ? "." : "",
                              member ? "layers." : "", p.seg[i]);
    }
}

void wn_dialect_tensor(enum wn_dialect dialect, enum wn_part part, enum wn_vae_kind vae,
                       const struct wn_weight *t, char name[WN_DIALECT_NAME_BYTES], struct wn_weight *out,
                       bool *channels_last)
{
    static const struct dialect_names dit = NAMES(mlx_video_dit), t5 = NAMES(mlx_video_t5),
                                      vae22 = NAMES(mlx_video_vae), none = {NULL, 0};
    const bool video = dialect == WN_DIALECT_MLX_VIDEO, is_dit = part < WN_N_DITS;
    const int n = t->n_dims;
    reshape(out, n, t->dim);
    if (video)
        rename_runs(is_dit ? dit : part == WN_PART_T5 ? t5 : vae == WN_VAE_22 ? vae22 : none, t->name, name);
    else
        name_layers(t->name, name);
    const bool patch = is_dit && n == 5 && !strcmp(t->name, "patch_embedding.weight");
    *channels_last = (n == 5 || n == 4) && ends_with(t->name, ".weight") && !(patch && video);
    if (patch && video) reshape(out, 2, (const int64_t[]){t->dim[0], 4 * t->dim[1]});
    if (video && vae == WN_VAE_22 && part == WN_PART_VAE && ends_with(t->name, ".gamma"))
        reshape(out, 1, t->dim);
    if (!*channels_last) return;
    for (int i = 1; i + 1 < n; i++) out->dim[i] = t->dim[i + 1];
    out->dim[n - 1] = t->dim[1];
}
