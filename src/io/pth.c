/* torch.save archives: a zip with NAME/data.pkl (the structure) and NAME/data/KEY (one entry for each
 * storage, stored as it is), little-endian. Tensors that are contiguous stay in the mapped file; others are
 * copied in order. */
#include <string.h>

#include "base/mem.h"
#include "io/pickle.h"
#include "io/set.h"
#include "io/zip.h"

enum { MAX_DEPTH = 8, MAX_STEPS = 1 << 20, MAX_NAME = 512, MAX_ENTRY_NAME = 1024 };
/* Tensors that are not contiguous may need this much more memory than the file has bytes: an expanded tensor
 * of one element can claim any size. */
static const size_t copy_slack = (size_t)64 << 20;

struct source {
    struct wn_weights *w;
    const struct wn_map *map;
    struct wn_zip zip;
    const char *prefix; /* "NAME/", inside the archive */
    size_t prefix_len;
    size_t copy_limit; /* for wn_weights.copied */
    int steps;         /* dict items looked at: bounds shared and cyclic dicts */
    struct wn_err *err;
};

/* ---- entries ---- */

static const struct wn_zip_entry *find(const struct source *s, const char *dir, struct wn_pickle_text name)
{
    char full[MAX_ENTRY_NAME];
    size_t d = strlen(dir);
    if (s->prefix_len + d + name.n > sizeof full) return NULL;
    if (s->prefix_len) memcpy(full, s->prefix, s->prefix_len);
    memcpy(full + s->prefix_len, dir, d);
    memcpy(full + s->prefix_len + d, name.s, name.n);
    return wn_zip_find(&s->zip, full, s->prefix_len + d + name.n);
}

static enum wan_status check_stored(const struct source *s, const struct wn_zip_entry *e)
{
    if (!e->method) return WAN_OK;
    return wn_fail(
        s->err, WAN_EUNSUPPORTED,
        "%s: entry '%.*s' is compressed (method %d); torch.save never does that: pack it again without "
        "compression",
        s->map->path, (int)(e->name_len < 200 ? e->name_len : 200), e->name, e->method);
}

/* NAME/data.pkl, the only one. */
static enum wan_status find_pickle(struct source *s, const struct wn_zip_entry **pickle)
{
    static const char tail[] = "data.pkl";
    const size_t n = sizeof tail - 1;
    *pickle = NULL;
    for (size_t i = 0; i < s->zip.n; i++) {
        const struct wn_zip_entry *e = &s->zip.entry[i];
        if (e->name_len < n || memcmp(e->name + e->name_len - n, tail, n)) continue;
        if (e->name_len > n && e->name[e->name_len - n - 1] != '/') continue;
        if (*pickle)
            return wn_fail(s->err, WAN_EFORMAT, "%s: more than one data.pkl in this archive", s->map->path);
        *pickle = e;
    }
    if (!*pickle)
        return wn_fail(s->err, WAN_EFORMAT, "%s: a zip archive, but not one of torch.save (no data.pkl)",
                       s->map->path);
    s->prefix = (*pickle)->name;
    s->prefix_len = (*pickle)->name_len - n;
    return check_stored(s, *pickle);
}

static enum wan_status check_byte_order(const struct source *s)
{
    const struct wn_zip_entry *e = find(s, "", (struct wn_pickle_text){"byteorder", 9});
    if (!e) return WAN_OK; /* older archives have none and are little-endian */
    enum wan_status st = check_stored(s, e);
    if (!st && (e->size != 6 || memcmp(e->data, "little", 6)))
        st = wn_fail(s->err, WAN_EUNSUPPORTED,
                     "%s: its byte order is '%.*s'; only little-endian files can be read", s->map->path,
                     (int)(e->size < 16 ? e->size : 16), (const char *)e->data);
    return st;
}

/* ---- tensors ---- */

static enum wan_status bad(const struct source *s, const struct wn_weight *t, const char *what)
{
    return wn_fail(s->err, WAN_EFORMAT, "%s: tensor '%s': %s", s->map->path, t->name, what);
}

/* The storage's bytes. */
static enum wan_status find_storage(const struct source *s, const struct wn_weight *t,
                                    const struct wn_pickle_storage *st, const struct wn_zip_entry **e,
                                    size_t *bytes)
{
    if (!(*e = find(s, "data/", st->key)))
        return wn_fail(s->err, WAN_EFORMAT, "%s: tensor '%s': its data (entry data/%.*s) is missing",
                       s->map->path, t->name, (int)(st->key.n < 64 ? st->key.n : 64), st->key.s);
    enum wan_status status = check_stored(s, *e);
    if (status) return status;
    uint64_t size = st->type ? wn_dtype_size(st->type) : 1;
    if ((uint64_t)st->numel > (*e)->size / size)
        return bad(s, t, "its data is shorter than the storage it claims");
    *bytes = (size_t)((uint64_t)st->numel * size);
    return WAN_OK;
}

/* Does every element lie inside a storage of `room` elements? */
static bool is_inside(const struct wn_pickle_tensor *p, uint64_t room)
{
    if (p->offset < 0 || (uint64_t)p->offset >= room) return false;
    uint64_t last = (uint64_t)p->offset;
    for (int i = 0; i < p->n_dims; i++) {
        uint64_t steps = (uint64_t)p->dim[i] - 1;
        if (p->stride[i] < 0) return false;
        if (steps && (uint64_t)p->stride[i] > (room - 1 - last) / steps) return false;
        last += steps * (uint64_t)p->stride[i];
    }
    return true;
}

static bool is_contiguous(const struct wn_pickle_tensor *p)
{
    int64_t want = 1;
    for (int i = p->n_dims; i-- > 0;) {
        if (p->dim[i] != 1 && p->stride[i] != want) return false;
        want *= p->dim[i];
    }
    return true;
}

/* dst: the elements of `p` one after another; base: the storage. */
static void copy_strided(uint8_t *dst, const uint8_t *base, const struct wn_pickle_tensor *p, size_t n,
                         size_t size)
{
    int64_t at[WN_MAX_DIMS] = {0};
    int64_t offset = p->offset;
    for (size_t k = 0; k < n; k++) {
        memcpy(dst + k * size, base + (size_t)offset * size, size);
        for (int i = p->n_dims; i-- > 0;) {
            if (p->dim[i] == 1) continue; /* its stride is any number */
            offset += p->stride[i];
            if (++at[i] < p->dim[i]) break;
            offset -= at[i] * p->stride[i];
            at[i] = 0;
        }
    }
}

static enum wan_status copy_tensor(struct source *s, struct wn_weight *t, const uint8_t *base,
                                   const struct wn_pickle_tensor *p)
{
    if (t->bytes > s->copy_limit - s->w->copied)
        return bad(s, t, "it is expanded beyond the size of its file");
    void *copy = wn_alloc(t->bytes);
    if (!copy) return wn_fail_nomem(s->err, t->name, t->bytes);
    size_t size = wn_dtype_size(t->type);
    copy_strided(copy, base, p, t->bytes / size, size);
    s->w->copied += t->bytes;
    t->data = copy;
    return wn_set_own(s->w, copy, s->err);
}

static enum wan_status place_tensor(struct source *s, struct wn_weight *t, const struct wn_pickle_tensor *p)
{
    const struct wn_zip_entry *e;
    size_t bytes = 0, size = wn_dtype_size(t->type);
    enum wan_status st = find_storage(s, t, p->storage, &e, &bytes);
    if (st) return st;
    t->data = e->data;
    if (!t->bytes) return WAN_OK;
    if (!is_inside(p, bytes / size)) return bad(s, t, "it reaches outside of its storage");
    if (!is_contiguous(p)) return copy_tensor(s, t, e->data, p);
    t->data = e->data + (size_t)p->offset * size;
    return WAN_OK;
}

static enum wan_status add_tensor(struct source *s, const struct wn_str *name,
                                  const struct wn_pickle_tensor *p)
{
    struct wn_weight t = {.type = p->type, .n_dims = p->n_dims, .file = s->map->path};
    memcpy(t.dim, p->dim, sizeof t.dim);
    if (memchr(name->data, 0, name->n) || !wn_is_utf8(name->data))
        return wn_fail(s->err, WAN_EFORMAT, "%s: a tensor's name is not UTF-8 text", s->map->path);
    if (!(t.name = wn_set_name(s->w, name->data, name->n, s->err))) return WAN_ENOMEM;
    if (!wn_shape_bytes(t.type, t.n_dims, t.dim, &t.bytes))
        return bad(s, &t, "its shape is negative or too large");
    enum wan_status st = place_tensor(s, &t, p);
    return st ? st : wn_set_add(s->w, &t, s->err);
}

/* ---- the structure ---- */

static bool has_tensor(const struct wn_pv *dict)
{
    for (size_t i = 1; i < dict->seq.n; i += 2)
        if (dict->seq.item[i]->kind == WN_PICKLE_TENSOR) return true;
    return false;
}

static struct wn_pv *dict_at(const struct wn_pv *dict, const char *key)
{
    for (size_t i = 0; i + 1 < dict->seq.n; i += 2) {
        const struct wn_pv *k = dict->seq.item[i];
        if (k->kind == WN_PICKLE_STR && k->text.n == strlen(key) && !memcmp(k->text.s, key, k->text.n) &&
            dict->seq.item[i + 1]->kind == WN_PICKLE_DICT)
            return dict->seq.item[i + 1];
    }
    return NULL;
}

/* Trainers put the state dict beside other things: {"state_dict": {…}, "step": 7}. */
static const struct wn_pv *unwrap(const struct wn_pv *v)
{
    static const char *const keys[] = {"state_dict", "model_state_dict", "model",  "module",
                                       "params_ema", "generator_ema",    "params", "generator"};
    for (int depth = 0; depth < MAX_DEPTH && !has_tensor(v); depth++) {
        const struct wn_pv *inner = NULL;
        for (size_t i = 0; i < sizeof keys / sizeof *keys && !inner; i++) inner = dict_at(v, keys[i]);
        if (!inner) break;
        v = inner;
    }
    return v;
}

/* Tensors of a dict and of the dicts in it, under names joined with dots. Anything else is passed over. */
static enum wan_status collect(struct source *s, const struct wn_pv *dict, struct wn_str *name, int depth)
{
    enum wan_status st = WAN_OK;
    const size_t base = name->n;
    for (size_t i = 0; i + 1 < dict->seq.n && !st; i += 2) {
        const struct wn_pv *k = dict->seq.item[i], *v = dict->seq.item[i + 1];
        if (++s->steps > MAX_STEPS)
            return wn_fail(s->err, WAN_EFORMAT, "%s: more than %d items", s->map->path, MAX_STEPS);
        if (k->kind != WN_PICKLE_STR || (v->kind != WN_PICKLE_TENSOR && v->kind != WN_PICKLE_DICT)) continue;
        if (k->text.n > MAX_NAME || depth >= MAX_DEPTH)
            return wn_fail(s->err, WAN_EFORMAT, "%s: a tensor's name is too long", s->map->path);
        if (wn_str_add(name, k->text.s, k->text.n)) return wn_fail_nomem(s->err, s->map->path, name->n);
        if (v->kind == WN_PICKLE_TENSOR)
            st = add_tensor(s, name, v->tensor);
        else if (wn_str_add(name, ".", 1))
            st = wn_fail_nomem(s->err, s->map->path, name->n);
        else
            st = collect(s, v, name, depth + 1);
        name->n = base;
    }
    return st;
}

static enum wan_status read_structure(struct source *s, const struct wn_zip_entry *e)
{
    struct wn_pickle pickle;
    struct wn_str name = {0};
    enum wan_status st = wn_pickle_read(&pickle, e->data, e->size, s->map->path, s->err);
    if (st) return st;
    size_t before = s->w->n;
    if (pickle.root->kind == WN_PICKLE_DICT) st = collect(s, unwrap(pickle.root), &name, 0);
    if (!st && s->w->n == before)
        st = wn_fail(s->err, WAN_EFORMAT, "%s: no named tensors in this file", s->map->path);
    wn_str_release(&name);
    wn_pickle_release(&pickle);
    return st;
}

enum wan_status wn_pth_load(struct wn_weights *w, const struct wn_map *map, struct wn_err *err)
{
    struct source s = {.w = w, .map = map, .err = err};
    s.copy_limit = wn_size_add(w->copied, wn_size_add(map->size, copy_slack));
    const struct wn_zip_entry *pickle;
    enum wan_status st = wn_zip_open(&s.zip, map, err);
    if (st) return st;
    st = find_pickle(&s, &pickle);
    if (!st) st = check_byte_order(&s);
    if (!st) st = read_structure(&s, pickle);
    wn_zip_close(&s.zip);
    return st;
}
