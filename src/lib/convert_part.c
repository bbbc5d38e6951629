/* Tensors of one part in another layout, made a panel of rows at a time: read in the official order, narrowed
 * or widened, quantised, and put into the order of the layout. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "lib/convert.h"
#include "tensor/convert.h"

/* Of a quantised matrix three tensors are stored. */
enum piece { PIECE_ALL, PIECE_WORDS, PIECE_SCALES, PIECE_BIASES };

struct recipe {
    const struct wn_weight *from;
    enum wn_dtype type; /* of the elements, before they are quantised */
    enum piece piece;
    int64_t n_in, n_taps; /* channels that move to the end; 0: none do */
};

struct wn_part_file {
    struct wn_weight *item; /* what is stored; names are owned */
    struct recipe *recipe;
    size_t n, cap;
    int bits, group;
    void *scratch[2];
    size_t scratch_bytes[2];
    enum wan_status (*tick)(void *ctx, size_t tensor, size_t bytes, struct wn_err *err);
    void *tick_ctx;
};

/* ---- what is stored ---- */

static enum wan_status add(struct wn_part_file *f, const char *name, struct wn_weight t,
                           const struct recipe *r, struct wn_err *err)
{
    if (f->n == f->cap) {
        const size_t cap = f->cap ? 2 * f->cap : 128;
        struct wn_weight *item = wn_realloc(f->item, cap * sizeof *item);
        if (item) f->item = item;
        struct recipe *recipe = wn_realloc(f->recipe, cap * sizeof *recipe);
        if (recipe) f->recipe = recipe;
        if (!item || !recipe) return wn_fail_nomem(err, "a list of tensors", cap * sizeof *item);
        f->cap = cap;
    }
    char *copy = wn_strdup(name);
    if (!copy) return wn_fail_nomem(err, name, strlen(name));
    t.name = copy;
    t.data = NULL;
    t.packed = NULL;
    f->item[f->n] = t;
    f->recipe[f->n++] = *r;
    if (wn_shape_bytes(t.type, t.n_dims, t.dim, &f->item[f->n - 1].bytes)) return WAN_OK;
    return wn_fail(err, WAN_EFORMAT, "%s: tensor '%s': its shape is too large", t.file, name);
}

/* Is t one of the matrices that are quantised: those of the blocks' attention and feed-forward? */
static bool is_heavy(const struct wn_weight *t)
{
    static const char *const ends[] = {".self_attn.q.weight",  ".self_attn.k.weight",  ".self_attn.v.weight",
                                       ".self_attn.o.weight",  ".cross_attn.q.weight", ".cross_attn.k.weight",
                                       ".cross_attn.v.weight", ".cross_attn.o.weight", ".ffn.0.weight",
                                       ".ffn.2.weight"};
    const size_t n = strlen(t->name);
    for (size_t i = 0; t->n_dims == 2 && i < sizeof ends / sizeof *ends; i++)
        if (n > strlen(ends[i]) && !strcmp(t->name + n - strlen(ends[i]), ends[i])) return true;
    return false;
}

/* The three tensors of a matrix [rows, width] in groups. */
static enum wan_status add_groups(struct wn_part_file *f, const char *name, struct wn_weight t,
                                  struct recipe r, struct wn_err *err)
{
    static const char *const what[] = {[PIECE_SCALES] = "scales", [PIECE_BIASES] = "biases"};
    char stem[WN_DIALECT_NAME_BYTES], other[WN_DIALECT_NAME_BYTES + 8];
    const int64_t width = t.dim[1];
    if (width % f->group || t.dim[0] < 1)
        return wn_fail(err, WAN_EINVAL,
                       "--quantize: rows of '%s' have %lld elements, which do not make groups of %d", t.name,
                       (long long)width, f->group);
    snprintf(stem, sizeof stem, "%.*s", (int)(strlen(name) - strlen(".weight")), name);
    r.piece = PIECE_WORDS;
    t.type = WN_U32;
    t.dim[1] = width * f->bits / 32;
    if (add(f, name, t, &r, err)) return err->code;
    for (int p = PIECE_SCALES; p <= PIECE_BIASES; p++) {
        r.piece = (enum piece)p;
        t.type = r.type;
        t.dim[1] = width / f->group;
        snprintf(other, sizeof other, "%s.%s", stem, what[p]);
        if (add(f, other, t, &r, err)) return err->code;
    }
    return WAN_OK;
}

/* The type in which MLX has a place for `t`: it has none for FP8 and F64, nor has a VAE any other than its
 * own. */
static enum wn_dtype type_for(const struct wn_weight *t, enum wn_part part, enum wn_dtype wanted)
{
    if (!wn_dtype_is_float(t->type)) return t->type;
    if (wanted != WN_NONE && part != WN_PART_VAE) return wanted;
    if (t->type == WN_F8_E4M3 || t->type == WN_F8_E5M2) return WN_BF16; /* holds their values */
    return t->type == WN_F64 ? WN_F32 : t->type;
}

static enum wan_status add_tensor(struct wn_part_file *f, const struct wn_weight *t, enum wn_part part,
                                  enum wn_vae_kind vae, const struct wn_store *store, struct wn_err *err)
{
    char name[WN_DIALECT_NAME_BYTES];
    bool last;
    struct wn_weight out = {.file = t->file};
    struct recipe r = {.from = t, .type = type_for(t, part, store->type)};
    if (strlen(t->name) + 32 > sizeof name)
        return wn_fail(err, WAN_EFORMAT, "%s: tensor '%s': its name is too long", t->file, t->name);
    wn_dialect_tensor(store->dialect, part, vae, t, name, &out, &last);
    out.type = r.type;
    if (last && t->dim[1] > 0 && t->dim[0] > 0) {
        r.n_in = t->dim[1];
        r.n_taps = 1;
        for (int i = 2; i < t->n_dims; i++) r.n_taps *= t->dim[i];
    }
    if (!store->bits || part >= WN_N_DITS || !is_heavy(t)) return add(f, name, out, &r, err);
    out.name = t->name;
    return add_groups(f, name, out, r, err);
}

enum wan_status wn_part_file_new(struct wn_part_file **out, const struct wn_weights *w, enum wn_part part,
                                 const struct wn_store *store, struct wn_err *err)
{
    *out = NULL;
    struct wn_part_file *f = wn_zalloc(sizeof *f);
    if (!f) return wn_fail_nomem(err, "a list of tensors", sizeof *f);
    f->bits = store->bits;
    f->group = store->group;
    const enum wn_vae_kind vae = wn_vae_kind_of(w);
    for (size_t i = 0; i < wn_weights_count(w) && !err->code; i++)
        add_tensor(f, wn_weights_at(w, i), part, vae, store, err);
    if (err->code)
        wn_part_file_free(f);
    else
        *out = f;
    return err->code;
}

void wn_part_file_free(struct wn_part_file *f)
{
    if (!f) return;
    for (size_t i = 0; i < f->n; i++) wn_free((void *)f->item[i].name);
    wn_free(f->scratch[0]);
    wn_free(f->scratch[1]);
    wn_free(f->recipe);
    wn_free(f->item);
    wn_free(f);
}

size_t wn_part_file_bytes(const struct wn_part_file *f)
{
    size_t n = 0;
    for (size_t i = 0; i < f->n; i++) n += f->item[i].bytes;
    return n;
}

size_t wn_part_file_n_tensors(const struct wn_part_file *f)
{
    return f->n;
}

/* ---- making it ---- */

/* What MLX's quantize makes of a group: the end of its range that is further from zero is met exactly. */
struct fit {
    float scale, bias;
};

static struct fit fit_group(const float *v, int n, int bits)
{
    const float n_steps = (float)((1 << bits) - 1), eps = 1e-7f;
    float lo = v[0], hi = v[0];
    for (int i = 1; i < n; i++) {
        lo = v[i] < lo ? v[i] : lo;
        hi = v[i] > hi ? v[i] : hi;
    }
    const bool low_end = fabsf(lo) > fabsf(hi);
    const float step = fmaxf((hi - lo) / n_steps, eps), edge = low_end ? lo : hi;
    struct fit f = {low_end ? step : -step, 0};
    const float q = rintf(edge / f.scale);
    if (q != 0) f = (struct fit){edge / q, edge};
    return f;
}

static void pack_group(const float *v, int n, int bits, struct fit f, uint8_t *out)
{
    const float most = (float)((1 << bits) - 1);
    for (int i = 0; i < n; i++) {
        const float x = rintf((v[i] - f.bias) / f.scale);
        const uint8_t q = (uint8_t)(x > most ? most : x > 0 ? x : 0);
        if (bits == 8)
            out[i] = q;
        else if (i % 2)
            out[i / 2] |= (uint8_t)(q << 4);
        else
            out[i / 2] = q;
    }
}

/* v [n_groups, group] of whole rows, as a piece of their quantised form. */
static void quantise(const struct wn_part_file *f, const struct recipe *r, const float *v, int64_t n_groups,
                     uint8_t *out)
{
    const size_t size = wn_dtype_size(r->type);
    for (int64_t g = 0; g < n_groups; g++, v += f->group) {
        const struct fit fit = fit_group(v, f->group, f->bits);
        if (r->piece == PIECE_WORDS)
            pack_group(v, f->group, f->bits, fit, out + g * f->group * f->bits / 8);
        else
            wn_from_f32(r->piece == PIECE_SCALES ? &fit.scale : &fit.bias, r->type, out + (size_t)g * size,
                        1);
    }
}

/* out [rows, taps, in] of in [rows, in, taps] */
static void move_last(const struct recipe *r, const uint8_t *in, int64_t n_rows, size_t size, uint8_t *out)
{
    for (int64_t i = 0; i < n_rows; i++)
        for (int64_t k = 0; k < r->n_taps; k++)
            for (int64_t c = 0; c < r->n_in; c++, out += size)
                memcpy(out, in + (size_t)((i * r->n_in + c) * r->n_taps + k) * size, size);
}

static void *scratch(struct wn_part_file *f, int which, size_t bytes, struct wn_err *err)
{
    if (bytes <= f->scratch_bytes[which]) return f->scratch[which];
    void *p = wn_realloc(f->scratch[which], bytes);
    if (!p) {
        wn_fail_nomem(err, "a panel of a tensor", bytes);
        return NULL;
    }
    f->scratch[which] = p;
    f->scratch_bytes[which] = bytes;
    return p;
}

/* Elements that are made at a time, in whole rows: what bounds the memory of a conversion. */
enum { BATCH = 1 << 20 };

/* n rows of a recipe, few enough for the scratch memory. */
static enum wan_status make_batch(struct wn_part_file *f, const struct recipe *r, int64_t first, int64_t n,
                                  uint8_t *out, struct wn_err *err)
{
    const struct wn_weight *t = r->from;
    const size_t from_size = wn_dtype_size(t->type), size = wn_dtype_size(r->type);
    const int64_t n_elems = n * (int64_t)(t->bytes / from_size) / wn_weight_n_rows(t);
    uint8_t *rows = scratch(f, 0, (size_t)n_elems * (from_size > size ? from_size : size), err);
    float *v = scratch(f, 1, (size_t)n_elems * sizeof *v, err);
    if (!rows || !v) return err->code;
    wn_weight_read(t, first, n, rows);
    if (r->type != t->type) {
        wn_to_f32(rows, t->type, v, n_elems);
        wn_from_f32(v, r->type, rows, n_elems);
    }
    if (r->piece != PIECE_ALL) {
        wn_to_f32(rows, r->type, v, n_elems);
        quantise(f, r, v, n_elems / f->group, out);
    } else if (r->n_in)
        move_last(r, rows, n, size, out);
    else
        memcpy(out, rows, (size_t)n_elems * size);
    return WAN_OK;
}

static enum wan_status make_rows(void *ctx, size_t i, int64_t first, int64_t n, void *out, struct wn_err *err)
{
    struct wn_part_file *f = ctx;
    const struct recipe *r = &f->recipe[i];
    const int64_t rows = wn_weight_n_rows(&f->item[i]);
    const size_t out_row = f->item[i].bytes / (size_t)rows,
                 n_elems = r->from->bytes / wn_dtype_size(r->from->type);
    const int64_t row_elems = (int64_t)n_elems / rows, each = row_elems < BATCH ? BATCH / row_elems : 1;
    for (int64_t k = 0; k < n; k += each) {
        const int64_t m = n - k < each ? n - k : each;
        if (f->tick(f->tick_ctx, i, (size_t)m * out_row, err) ||
            make_batch(f, r, first + k, m, (uint8_t *)out + (size_t)k * out_row, err))
            return err->code;
    }
    return WAN_OK;
}

enum wan_status wn_part_file_write(struct wn_part_file *f, const char *path, const char *const *metadata,
                                   enum wan_status (*tick)(void *ctx, size_t tensor, size_t bytes,
                                                           struct wn_err *err),
                                   void *ctx, struct wn_err *err)
{
    f->tick = tick;
    f->tick_ctx = ctx;
    const struct wn_row_source source = {make_rows, f};
    return wn_safetensors_stream(path, f->item, f->n, metadata, &source, err);
}
