#include "model/load.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum { NAME_BYTES = 256 };

static void format_name(const struct wn_loader *ld, char name[NAME_BYTES], const char *fmt, va_list ap)
{
    size_t n = (size_t)snprintf(name, NAME_BYTES, "%s", ld->prefix ? ld->prefix : "");
    if (n < NAME_BYTES) vsnprintf(name + n, NAME_BYTES - n, fmt, ap);
}

static struct wn_tensor expected(int n_dims, const int64_t *dim)
{
    struct wn_tensor t = {.n_dims = n_dims};
    for (int i = 0; i < n_dims; i++) t.dim[i] = dim[i];
    return t;
}

static bool fits(const struct wn_weight *w, int n_dims, const int64_t *dim)
{
    if (w->n_dims != n_dims) return false;
    for (int i = 0; i < n_dims; i++)
        if (dim[i] >= 0 && dim[i] != w->dim[i]) return false;
    return true;
}

/* "[5120, 16, 1, 2, 2]" without the type, any (-1) as '?'. */
static void dims_text(struct wn_tensor t, char text[WN_SHAPE_TEXT])
{
    size_t n = (size_t)snprintf(text, WN_SHAPE_TEXT, "[");
    for (int i = 0; i < t.n_dims && n < WN_SHAPE_TEXT - 24; i++)
        n += (size_t)(t.dim[i] < 0 ? snprintf(text + n, WN_SHAPE_TEXT - n, "%s?", i ? ", " : "")
                                   : snprintf(text + n, WN_SHAPE_TEXT - n, "%s%lld", i ? ", " : "",
                                              (long long)t.dim[i]));
    snprintf(text + n, WN_SHAPE_TEXT - n, "]");
}

static enum wan_status remember(struct wn_loader *ld, struct wn_tensor t)
{
    if (ld->n == ld->cap) {
        size_t cap = ld->cap ? 2 * ld->cap : 256;
        struct wn_tensor *grown = wn_realloc(ld->item, cap * sizeof *grown);
        if (!grown) return wn_fail_nomem(ld->err, "the list of tensors", cap * sizeof *grown);
        ld->item = grown;
        ld->cap = cap;
    }
    ld->item[ld->n++] = t;
    return WAN_OK;
}

static const struct wn_weight *find(struct wn_loader *ld, const char *name)
{
    if (ld->err->code) return NULL;
    const struct wn_weight *w = wn_weights_find(ld->weights, name);
    if (!w) wn_fail(ld->err, WAN_EFORMAT, "%s: tensor '%s' is missing", wn_weights_path(ld->weights), name);
    return w;
}

static struct wn_tensor load_named(struct wn_loader *ld, int n_dims, const int64_t *dim, const char *name)
{
    const struct wn_tensor none = {0};
    const struct wn_weight *w = find(ld, name);
    if (!w) return none;
    struct wn_tensor have = expected(w->n_dims, w->dim);
    char got[WN_SHAPE_TEXT], want[WN_SHAPE_TEXT];
    dims_text(have, got);
    if (!fits(w, n_dims, dim)) {
        dims_text(expected(n_dims, dim), want);
        wn_fail(ld->err, WAN_EFORMAT, "%s: tensor '%s' has shape %s, expected %s", w->file, name, got, want);
        return none;
    }
    if (!wn_dtype_is_float(w->type) || w->type == WN_F64) {
        wn_fail(ld->err, WAN_EFORMAT, "%s: tensor '%s' has type %s, expected F32, BF16, F16 or FP8", w->file,
                name, wn_dtype_name(w->type));
        return none;
    }
    have.type = w->type;
    struct wn_tensor t = wn_map_tensor(ld->dev, have, w->data, ld->err);
    if (wn_has(t) && remember(ld, t)) {
        wn_unmap(t);
        return none;
    }
    return t;
}

struct wn_tensor wn_load(struct wn_loader *ld, int n_dims, const int64_t *dim, const char *fmt, ...)
{
    char name[NAME_BYTES];
    va_list ap;
    va_start(ap, fmt);
    format_name(ld, name, fmt, ap);
    va_end(ap);
    return load_named(ld, n_dims, dim, name);
}

struct wn_lin wn_load_lin(struct wn_loader *ld, int n_dims, const int64_t *dim, const char *fmt, ...)
{
    char base[NAME_BYTES], name[NAME_BYTES + 8];
    va_list ap;
    va_start(ap, fmt);
    format_name(ld, base, fmt, ap);
    va_end(ap);
    struct wn_lin lin;
    snprintf(name, sizeof name, "%s.weight", base);
    lin.w = load_named(ld, n_dims, dim, name);
    snprintf(name, sizeof name, "%s.bias", base);
    lin.b = load_named(ld, 1, wn_has(lin.w) ? lin.w.dim : dim, name);
    return lin;
}

bool wn_load_has(const struct wn_loader *ld, const char *fmt, ...)
{
    char name[NAME_BYTES];
    va_list ap;
    va_start(ap, fmt);
    format_name(ld, name, fmt, ap);
    va_end(ap);
    return wn_weights_find(ld->weights, name) != NULL;
}

const struct wn_weight *wn_load_find(struct wn_loader *ld, const char *fmt, ...)
{
    char name[NAME_BYTES];
    va_list ap;
    va_start(ap, fmt);
    format_name(ld, name, fmt, ap);
    va_end(ap);
    return find(ld, name);
}

void wn_loader_rest(struct wn_loader *ld)
{
    for (size_t i = 0; i < ld->n && ld->dev->table->buf_rest; i++)
        ld->dev->table->buf_rest(ld->dev, ld->item[i].buf);
}

void wn_loader_release(struct wn_loader *ld)
{
    for (size_t i = 0; i < ld->n; i++) wn_unmap(ld->item[i]);
    wn_free(ld->item);
    ld->item = NULL;
    ld->n = ld->cap = 0;
}
