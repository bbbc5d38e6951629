#include "backend/ref/ref.h"

#include <string.h>

/* Elements between two questions whether to stop. */
enum { STRETCH = 1 << 16 };

enum wan_status wn_ref_unary(struct wn_device *dev, const void *args, struct wn_err *err)
{
    const struct wn_unary_args *a = args;
    int64_t n = wn_n_elems(a->x);
    if (a->act == WN_ACT_NONE && a->out.type == a->x.type) {
        memcpy(wn_host(a->out), wn_host(a->x), wn_n_bytes(a->x));
        return WAN_OK;
    }
    for (int64_t i = 0; i < n; i++) {
        if (i % STRETCH == 0 && wn_ref_cancelled(dev, err)) return err->code;
        wn_ref_put(a->out, i, wn_act_eval(a->act, wn_ref_get(a->x, i)));
    }
    return WAN_OK;
}

enum wan_status wn_ref_binary(struct wn_device *dev, const void *args, struct wn_err *err)
{
    const struct wn_binary_args *a = args;
    int64_t n = wn_n_elems(a->a), n_b = wn_n_elems(a->b);
    for (int64_t i = 0; i < n; i++) {
        if (i % STRETCH == 0 && wn_ref_cancelled(dev, err)) return err->code;
        double x = wn_ref_get(a->a, i), y = wn_ref_get(a->b, i % n_b);
        wn_ref_put(a->out, i, a->kind == WN_ADD ? x + y : a->kind == WN_SUB ? x - y : x * y);
    }
    return WAN_OK;
}

enum wan_status wn_ref_concat(struct wn_device *dev, const void *args, struct wn_err *err)
{
    (void)dev, (void)err;
    const struct wn_concat_args *a = args;
    memcpy(wn_host(a->out), wn_host(a->a), wn_n_bytes(a->a));
    memcpy((char *)wn_host(a->out) + wn_n_bytes(a->a), wn_host(a->b), wn_n_bytes(a->b));
    return WAN_OK;
}

enum wan_status wn_ref_gather(struct wn_device *dev, const void *args, struct wn_err *err)
{
    const struct wn_gather_args *a = args;
    int64_t n = a->index.dim[0], D = a->table.dim[1];
    for (int64_t t = 0; t < n; t++) {
        int64_t row;
        if (wn_ref_cancelled(dev, err) ||
            wn_ref_index(&row, WN_OP_GATHER, a->index, t, a->table.dim[0], 0, err))
            return err->code;
        for (int64_t i = 0; i < D; i++) wn_ref_put(a->out, t * D + i, wn_ref_get(a->table, row * D + i));
    }
    return WAN_OK;
}

enum wan_status wn_ref_permute(struct wn_device *dev, const void *args, struct wn_err *err)
{
    const struct wn_permute_args *a = args;
    int n_dims = a->x.n_dims;
    int64_t n = wn_n_elems(a->x), stride[WN_MAX_DIMS], step = 1;
    for (int i = n_dims - 1; i >= 0; i--) {
        stride[i] = step;
        step *= a->x.dim[i];
    }
    size_t size = wn_dtype_size(a->x.type);
    for (int64_t o = 0; o < n; o++) {
        if (o % STRETCH == 0 && wn_ref_cancelled(dev, err)) return err->code;
        int64_t from = 0, left = o;
        for (int i = n_dims - 1; i >= 0; i--) {
            from += left % a->out.dim[i] * stride[a->axis[i]];
            left /= a->out.dim[i];
        }
        if (a->out.type == a->x.type)
            memcpy((char *)wn_host(a->out) + (size_t)o * size, (char *)wn_host(a->x) + (size_t)from * size,
                   size);
        else
            wn_ref_put(a->out, o, wn_ref_get(a->x, from));
    }
    return WAN_OK;
}
