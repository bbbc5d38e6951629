#include "model/load.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/thread.h"
#include "tensor/convert.h"

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

/* A tensor that is made from what the file holds. */
struct wn_made {
    const struct wn_weight *weight;
    struct wn_buf *buf;
    void *memory; /* NULL: not made */
};

static enum wan_status remember_made(struct wn_loader *ld, const struct wn_weight *w, struct wn_buf *buf)
{
    if (ld->n_made == ld->cap_made) {
        size_t cap = ld->cap_made ? 2 * ld->cap_made : 64;
        struct wn_made *grown = wn_realloc(ld->made, cap * sizeof *grown);
        if (!grown) return wn_fail_nomem(ld->err, "the list of tensors", cap * sizeof *grown);
        ld->made = grown;
        ld->cap_made = cap;
    }
    ld->made[ld->n_made++] = (struct wn_made){w, buf, NULL};
    return WAN_OK;
}

/* A tensor of shape `have` that wn_loader_wake gives its memory. */
static struct wn_tensor make_later(struct wn_loader *ld, struct wn_tensor have, const struct wn_weight *w)
{
    struct wn_buf *buf;
    if (wn_buf_later(&buf, ld->dev, w->bytes, ld->err)) return (struct wn_tensor){0};
    if (remember_made(ld, w, buf)) {
        wn_buf_release(buf);
        return (struct wn_tensor){0};
    }
    have.buf = buf;
    return have;
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
    struct wn_tensor t = w->packed ? make_later(ld, have, w) : wn_map_tensor(ld->dev, have, w->data, ld->err);
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

/* ---- packed tensors ---- */

enum wan_status wn_load_floats(const struct wn_weight *w, float *out, struct wn_err *err)
{
    const int64_t n = (int64_t)(w->bytes / wn_dtype_size(w->type));
    if (!w->packed) {
        wn_to_f32(w->data, w->type, out, n);
        return WAN_OK;
    }
    void *made = wn_alloc(w->bytes);
    if (!made) return wn_fail_nomem(err, w->name, w->bytes);
    wn_weight_read(w, 0, wn_weight_n_rows(w), made);
    wn_to_f32(made, w->type, out, n);
    wn_free(made);
    return WAN_OK;
}

/* Rows of a tensor that one task makes. */
enum { TASK_BYTES = 1 << 20 };

struct making {
    const struct wn_made *made;
    int64_t n_rows, rows_each;
};

static void make_rows(void *arg, int64_t task, int thread)
{
    const struct making *m = arg;
    const int64_t first = task * m->rows_each, rest = m->n_rows - first;
    const size_t row_bytes = m->made->weight->bytes / (size_t)m->n_rows;
    (void)thread;
    wn_weight_read(m->made->weight, first, rest < m->rows_each ? rest : m->rows_each,
                   (char *)m->made->memory + (size_t)first * row_bytes);
}

/* The memory of one tensor, and what is in it. */
static enum wan_status make(struct wn_device *dev, struct wn_made *made, struct wn_err *err)
{
    const struct wn_weight *w = made->weight;
    if (!(made->memory = wn_alloc(w->bytes))) return wn_fail_nomem(err, w->name, w->bytes);
    struct making m = {.made = made, .n_rows = wn_weight_n_rows(w)};
    const size_t row_bytes = m.n_rows ? w->bytes / (size_t)m.n_rows : 0;
    m.rows_each = row_bytes < TASK_BYTES ? (int64_t)(TASK_BYTES / (row_bytes + 1)) + 1 : 1;
    const int64_t n_tasks = (m.n_rows + m.rows_each - 1) / m.rows_each;
    bool done = true;
    if (dev->dry) /* a plan wants the memory only */
        done = true;
    else if (dev->pool)
        done = wn_pool_run(dev->pool, n_tasks, make_rows, &m);
    else
        for (int64_t i = 0; i < n_tasks && done; i++) {
            make_rows(&m, i, 0);
            done = !dev->cancelled || !dev->cancelled(dev->cancel_ctx);
        }
    if (!done) return wn_fail(err, WAN_ECANCELED, "canceled");
    return wn_buf_fill(made->buf, made->memory, err);
}

static void unmake(struct wn_made *made)
{
    wn_buf_empty(made->buf);
    wn_free(made->memory);
    made->memory = NULL;
}

enum wan_status wn_loader_wake(const struct wn_loader *ld, struct wn_err *err)
{
    enum wan_status st = WAN_OK;
    for (size_t i = 0; i < ld->n_made && !st; i++)
        if (!ld->made[i].memory && (st = make(ld->dev, &ld->made[i], err))) unmake(&ld->made[i]);
    return st;
}

void wn_loader_rest(const struct wn_loader *ld)
{
    for (size_t i = 0; i < ld->n && ld->dev->table->buf_rest; i++)
        ld->dev->table->buf_rest(ld->dev, ld->item[i].buf);
    for (size_t i = 0; i < ld->n_made; i++) unmake(&ld->made[i]);
}

void wn_loader_release(struct wn_loader *ld)
{
    wn_loader_rest(ld);
    for (size_t i = 0; i < ld->n; i++) wn_unmap(ld->item[i]);
    wn_free(ld->item);
    wn_free(ld->made);
    ld->item = NULL;
    ld->made = NULL;
    ld->n = ld->cap = ld->n_made = ld->cap_made = 0;
}
