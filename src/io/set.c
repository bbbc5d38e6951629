#include "io/set.h"

#include <string.h>
#include <utf8proc.h>

#include "base/mem.h"

bool wn_grow(void **array, size_t n, size_t *cap, size_t size)
{
    if (n < *cap) return true;
    size_t want = *cap ? 2 * *cap : 16;
    void *p = wn_realloc(*array, wn_size_mul(want, size));
    if (!p) return false;
    *array = p;
    *cap = want;
    return true;
}

bool wn_shape_bytes(enum wn_dtype type, int n_dims, const int64_t *dim, size_t *bytes)
{
    const uint64_t max = (uint64_t)1 << 62;
    uint64_t n = wn_dtype_size(type);
    bool empty = false;
    for (int i = 0; i < n_dims; i++) {
        if (dim[i] < 0) return false;
        if (!dim[i]) {
            empty = true;
            continue;
        }
        if (n > max / (uint64_t)dim[i]) return false;
        n *= (uint64_t)dim[i];
    }
    if (n > SIZE_MAX) return false;
    *bytes = empty ? 0 : (size_t)n;
    return true;
}

enum wan_status wn_set_own(struct wn_weights *w, void *p, struct wn_err *err)
{
    if (!wn_grow((void **)&w->owned, w->n_owned, &w->cap_owned, sizeof *w->owned)) {
        wn_free(p);
        return wn_fail_nomem(err, w->path, w->n_owned * sizeof *w->owned);
    }
    w->owned[w->n_owned++] = p;
    return WAN_OK;
}

char *wn_set_name(struct wn_weights *w, const char *name, size_t n, struct wn_err *err)
{
    char *copy = wn_strndup(name, n);
    if (!copy) {
        wn_fail_nomem(err, "a tensor name", n);
        return NULL;
    }
    return wn_set_own(w, copy, err) ? NULL : copy;
}

enum wan_status wn_set_add(struct wn_weights *w, const struct wn_weight *t, struct wn_err *err)
{
    if (w->n >= WN_MAX_TENSORS)
        return wn_fail(err, WAN_EFORMAT, "%s: more than %d tensors", t->file, WN_MAX_TENSORS);
    if (!wn_grow((void **)&w->item, w->n, &w->cap, sizeof *w->item))
        return wn_fail_nomem(err, "a tensor table", w->n * sizeof *w->item);
    w->item[w->n++] = *t;
    return WAN_OK;
}

enum wan_status wn_set_metadata(struct wn_weights *w, const char *key, const char *value, struct wn_err *err)
{
    if (wn_weights_metadata(w, key)) return WAN_OK;
    char *k, *v;
    if (!wn_grow((void **)&w->meta, w->n_meta + 1, &w->cap_meta, sizeof *w->meta))
        return wn_fail_nomem(err, "metadata", w->n_meta * sizeof *w->meta);
    if (!(k = wn_set_name(w, key, strlen(key), err)) || !(v = wn_set_name(w, value, strlen(value), err)))
        return WAN_ENOMEM;
    w->meta[w->n_meta++] = k;
    w->meta[w->n_meta++] = v;
    return WAN_OK;
}

bool wn_is_utf8(const char *s)
{
    const utf8proc_uint8_t *p = (const utf8proc_uint8_t *)s;
    for (utf8proc_int32_t c; *p;) {
        utf8proc_ssize_t n = utf8proc_iterate(p, -1, &c);
        if (n < 1) return false;
        p += n;
    }
    return true;
}
