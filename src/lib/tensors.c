#include <string.h>

#include "base/mem.h"
#include "io/weights.h"
#include "lib/lib.h"
#include "tensor/convert.h"

enum wan_status wan_tensors_new(struct wan_context *ctx, struct wan_tensors **t)
{
    struct wn_err *err = wn_enter(ctx);
    *t = wn_zalloc(sizeof **t);
    return *t ? WAN_OK : wn_fail_nomem(err, "a set of tensors", sizeof **t);
}

enum wan_status wan_tensors_read(struct wan_context *ctx, struct wan_tensors **t, const char *path)
{
    if (wan_tensors_new(ctx, t)) return ctx->err.code;
    if (wn_weights_open(&(*t)->file, path, &ctx->err)) {
        wan_tensors_free(*t);
        *t = NULL;
    }
    return ctx->err.code;
}

void wan_tensors_free(struct wan_tensors *t)
{
    if (!t) return;
    for (size_t i = 0; i < t->n; i++) {
        wn_free((void *)t->item[i].name);
        wn_free((void *)t->item[i].data);
    }
    wn_free(t->item);
    wn_weights_close(t->file);
    wn_free(t);
}

size_t wan_tensors_count(const struct wan_tensors *t)
{
    return t->n + (t->file ? wn_weights_count(t->file) : 0);
}

static struct wan_array from_weight(const struct wn_weight *w)
{
    struct wan_array a = {.name = w->name,
                          .dtype = wn_dtype_name(w->type),
                          .n_dims = w->n_dims,
                          .data = w->data,
                          .bytes = w->bytes};
    memcpy(a.dims, w->dim, sizeof a.dims);
    return a;
}

struct wan_array wan_tensors_at(const struct wan_tensors *t, size_t i)
{
    size_t in_file = t->file ? wn_weights_count(t->file) : 0;
    return i < in_file ? from_weight(wn_weights_at(t->file, i)) : t->item[i - in_file];
}

int wan_tensors_find(const struct wan_tensors *t, const char *name, struct wan_array *out)
{
    for (size_t i = 0; i < t->n; i++)
        if (!strcmp(t->item[i].name, name)) {
            *out = t->item[i];
            return 1;
        }
    const struct wn_weight *w = t->file ? wn_weights_find(t->file, name) : NULL;
    if (w) *out = from_weight(w);
    return w != NULL;
}

int64_t wn_array_elems(const struct wan_array *a)
{
    int64_t n = 1;
    for (int i = 0; i < a->n_dims; i++) n *= a->dims[i];
    return n;
}

static enum wan_status add(struct wan_tensors *t, const struct wan_array *a, struct wn_err *err)
{
    struct wan_array old;
    enum wn_dtype type = wn_dtype_parse(a->dtype);
    size_t bytes;
    if (wan_tensors_find(t, a->name, &old))
        return wn_fail(err, WAN_EINVAL, "tensor '%s' is there already", a->name);
    if (type == WN_NONE || a->n_dims < 0 || a->n_dims > WN_MAX_DIMS ||
        !wn_shape_bytes(type, a->n_dims, a->dims, &bytes) || bytes != a->bytes)
        return wn_fail(err, WAN_EINVAL, "tensor '%s': shape, dtype and size do not agree", a->name);
    if (t->n == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 16;
        struct wan_array *grown = wn_realloc(t->item, cap * sizeof *grown);
        if (!grown) return wn_fail_nomem(err, "a set of tensors", cap * sizeof *grown);
        t->item = grown;
        t->cap = cap;
    }
    struct wan_array copy = *a;
    void *data = wn_alloc(a->bytes);
    copy.name = wn_strdup(a->name);
    copy.dtype = wn_dtype_name(type);
    copy.data = data;
    if (!data || !copy.name) {
        wn_free(data);
        wn_free((void *)copy.name);
        return wn_fail_nomem(err, a->name, a->bytes);
    }
    if (a->bytes) memcpy(data, a->data, a->bytes);
    t->item[t->n++] = copy;
    return WAN_OK;
}

enum wan_status wan_tensors_add(struct wan_context *ctx, struct wan_tensors *t, const struct wan_array *array)
{
    return add(t, array, wn_enter(ctx));
}

enum wan_status wn_tensors_put(struct wan_tensors *t, const char *name, struct wn_tensor shape,
                               const void *data, struct wn_err *err)
{
    struct wan_array a = {.name = name,
                          .dtype = wn_dtype_name(shape.type),
                          .n_dims = shape.n_dims,
                          .data = data,
                          .bytes = wn_n_bytes(shape)};
    memcpy(a.dims, shape.dim, sizeof a.dims);
    return add(t, &a, err);
}

enum wan_status wan_tensors_write(struct wan_context *ctx, const struct wan_tensors *t, const char *path)
{
    struct wn_err *err = wn_enter(ctx);
    size_t n = wan_tensors_count(t);
    struct wn_weight *w = wn_zalloc_n(n, sizeof *w);
    if (!w) return wn_fail_nomem(err, "a set of tensors", n * sizeof *w);
    for (size_t i = 0; i < n; i++) {
        struct wan_array a = wan_tensors_at(t, i);
        w[i] = (struct wn_weight){.name = a.name,
                                  .type = wn_dtype_parse(a.dtype),
                                  .n_dims = a.n_dims,
                                  .data = a.data,
                                  .bytes = a.bytes};
        memcpy(w[i].dim, a.dims, sizeof a.dims);
    }
    wn_safetensors_write(path, w, n, NULL, err);
    wn_free(w);
    return err->code;
}

static enum wan_status find(const struct wan_tensors *t, const char *name, int n_dims, struct wan_array *a,
                            struct wn_err *err)
{
    if (!t || !wan_tensors_find(t, name, a))
        return wn_fail(err, WAN_EINVAL, "input tensor '%s' is missing", name);
    if (n_dims >= 0 && a->n_dims != n_dims)
        return wn_fail(err, WAN_EINVAL, "input tensor '%s' has %d axes, expected %d", name, a->n_dims,
                       n_dims);
    return WAN_OK;
}

enum wan_status wn_tensors_f32(const struct wan_tensors *t, const char *name, int n_dims, float **data,
                               struct wan_array *info, struct wn_err *err)
{
    struct wan_array a;
    *data = NULL;
    if (find(t, name, n_dims, &a, err)) return err->code;
    enum wn_dtype type = wn_dtype_parse(a.dtype);
    if (!wn_dtype_is_float(type))
        return wn_fail(err, WAN_EINVAL, "input tensor '%s' is %s, expected F32", name, a.dtype);
    int64_t n = wn_array_elems(&a);
    if (!(*data = wn_alloc_n((size_t)n, sizeof **data)))
        return wn_fail_nomem(err, name, (unsigned long long)n * sizeof **data);
    wn_to_f32(a.data, type, *data, n);
    if (info) *info = a;
    return WAN_OK;
}

enum wan_status wn_tensors_i64(const struct wan_tensors *t, const char *name, int n_dims, int64_t **data,
                               struct wan_array *info, struct wn_err *err)
{
    struct wan_array a;
    *data = NULL;
    if (find(t, name, n_dims, &a, err)) return err->code;
    enum wn_dtype type = wn_dtype_parse(a.dtype);
    if (type != WN_I64 && type != WN_I32)
        return wn_fail(err, WAN_EINVAL, "input tensor '%s' is %s, expected I64", name, a.dtype);
    int64_t n = wn_array_elems(&a);
    if (!(*data = wn_alloc_n((size_t)n, sizeof **data)))
        return wn_fail_nomem(err, name, (unsigned long long)n * sizeof **data);
    for (int64_t i = 0; i < n; i++) {
        int32_t narrow;
        if (type == WN_I64)
            memcpy(*data + i, (const char *)a.data + 8 * i, 8);
        else {
            memcpy(&narrow, (const char *)a.data + 4 * i, 4);
            (*data)[i] = narrow;
        }
    }
    if (info) *info = a;
    return WAN_OK;
}
