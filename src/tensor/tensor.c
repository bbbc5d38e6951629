#include "tensor/tensor.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    uint8_t size;
    bool is_float;
} dtypes[WN_DTYPE_COUNT] = {
    [WN_NONE] = {"none", 0, false}, [WN_F32] = {"F32", 4, true},         [WN_BF16] = {"BF16", 2, true},
    [WN_F16] = {"F16", 2, true},    [WN_F8_E4M3] = {"F8_E4M3", 1, true}, [WN_F8_E5M2] = {"F8_E5M2", 1, true},
    [WN_F64] = {"F64", 8, true},    [WN_I64] = {"I64", 8, false},        [WN_I32] = {"I32", 4, false}, [WN_U32] = {"U32", 4, false},
    [WN_I16] = {"I16", 2, false},   [WN_I8] = {"I8", 1, false},          [WN_U8] = {"U8", 1, false},
    [WN_BOOL] = {"BOOL", 1, false},
};

const char *wn_dtype_name(enum wn_dtype type)
{
    return type < WN_DTYPE_COUNT ? dtypes[type].name : "?";
}

size_t wn_dtype_size(enum wn_dtype type)
{
    return type < WN_DTYPE_COUNT ? dtypes[type].size : 0;
}

bool wn_dtype_is_float(enum wn_dtype type)
{
    return type < WN_DTYPE_COUNT && dtypes[type].is_float;
}

enum wn_dtype wn_dtype_parse(const char *name)
{
    for (int i = WN_NONE + 1; i < WN_DTYPE_COUNT; i++)
        if (!strcmp(name, dtypes[i].name)) return (enum wn_dtype)i;
    return WN_NONE;
}

struct wn_tensor wn_shape(enum wn_dtype type, int n_dims, const int64_t *dim)
{
    assert(n_dims >= 0 && n_dims <= WN_MAX_DIMS);
    struct wn_tensor t = {.type = type, .n_dims = n_dims};
    for (int i = 0; i < n_dims; i++) t.dim[i] = dim[i];
    return t;
}

int64_t wn_n_elems(struct wn_tensor t)
{
    int64_t n = 1;
    for (int i = 0; i < t.n_dims; i++) n *= t.dim[i];
    return n;
}

size_t wn_n_bytes(struct wn_tensor t)
{
    return (size_t)wn_n_elems(t) * wn_dtype_size(t.type);
}

int64_t wn_last_dim(struct wn_tensor t)
{
    return t.n_dims ? t.dim[t.n_dims - 1] : 1;
}

int64_t wn_n_rows(struct wn_tensor t)
{
    int64_t n = 1;
    for (int i = 0; i + 1 < t.n_dims; i++) n *= t.dim[i];
    return n;
}

bool wn_same_shape(struct wn_tensor a, struct wn_tensor b)
{
    if (a.n_dims != b.n_dims) return false;
    for (int i = 0; i < a.n_dims; i++)
        if (a.dim[i] != b.dim[i]) return false;
    return true;
}

char *wn_shape_text(struct wn_tensor t, char text[WN_SHAPE_TEXT])
{
    size_t n = 0;
    n += (size_t)snprintf(text + n, WN_SHAPE_TEXT - n, "[");
    for (int i = 0; i < t.n_dims; i++)
        n += (size_t)snprintf(text + n, WN_SHAPE_TEXT - n, "%s%lld", i ? ", " : "", (long long)t.dim[i]);
    snprintf(text + n, WN_SHAPE_TEXT - n, "] %s", wn_dtype_name(t.type));
    return text;
}

struct wn_tensor wn_reshape(struct wn_tensor t, int n_dims, const int64_t *dim)
{
    struct wn_tensor r = wn_shape(t.type, n_dims, dim);
    assert(!wn_has(t) || wn_n_elems(r) == wn_n_elems(t));
    r.buf = t.buf;
    r.offset = t.offset;
    return r;
}

struct wn_tensor wn_rows(struct wn_tensor t, int64_t begin, int64_t end)
{
    if (!wn_has(t)) return t;
    assert(t.n_dims > 0 && 0 <= begin && begin <= end && end <= t.dim[0]);
    size_t row = t.dim[0] ? wn_n_bytes(t) / (size_t)t.dim[0] : 0;
    t.offset += row * (size_t)begin;
    t.dim[0] = end - begin;
    return t;
}
