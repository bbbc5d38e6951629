#include "backend/ref/ref.h"

#include "base/mem.h"

struct conv {
    const struct wn_conv_args *a;
    float *cache, *x; /* frames in float32: [Tc, H, W, Ci] [T, H, W, Ci] */
    float *w;         /* one output channel: [Ci, KT, KH, KW] */
    int64_t Tc, T, H, W, Ci;
};

/* The Ci values at frame t, row h, column w of the padded input; NULL: zeros. */
static const float *pixel(const struct conv *c, int64_t t, int64_t h, int64_t w)
{
    const struct wn_conv_args *a = c->a;
    t -= a->pad_front;
    h -= a->pad_h[0];
    w -= a->pad_w[0];
    if (t < 0 || h < 0 || w < 0 || h >= c->H * a->upsample || w >= c->W * a->upsample) return NULL;
    const float *frames = t < c->Tc ? c->cache : c->x;
    if (t >= c->Tc) t -= c->Tc;
    return frames + ((t * c->H + h / a->upsample) * c->W + w / a->upsample) * c->Ci;
}

/* at: output frame, row, column */
static double tap_sum(const struct conv *c, const int64_t at[3])
{
    const struct wn_conv_args *a = c->a;
    const int64_t *K = a->w.dim + 2;
    int64_t volume = K[0] * K[1] * K[2];
    double sum = 0;
    for (int64_t i = 0; i < volume; i++) {
        const float *p = pixel(c, at[0] * a->stride[0] + i / (K[1] * K[2]),
                               at[1] * a->stride[1] + i / K[2] % K[1], at[2] * a->stride[2] + i % K[2]);
        for (int64_t ci = 0; p && ci < c->Ci; ci++) sum += (double)p[ci] * c->w[ci * volume + i];
    }
    return sum;
}

static void channel(const struct conv *c, int64_t co)
{
    const struct wn_conv_args *a = c->a;
    int64_t n = wn_n_elems(a->w) / a->w.dim[0], Co = a->w.dim[0];
    wn_ref_operands(c->w, a->w, co * n, n, a->precision);
    double bias = wn_has(a->b) ? wn_ref_get(a->b, co) : 0;
    const int64_t *O = a->out.dim;
    for (int64_t i = 0; i < O[0] * O[1] * O[2]; i++) {
        const int64_t at[3] = {i / (O[1] * O[2]), i / O[2] % O[1], i % O[2]};
        double y = tap_sum(c, at) + bias;
        if (wn_has(a->add)) y += wn_ref_get(a->add, i * Co + co);
        wn_ref_put(a->out, i * Co + co, y);
    }
}

enum wan_status wn_ref_conv(struct wn_device *dev, const void *args, struct wn_err *err)
{
    const struct wn_conv_args *a = args;
    int64_t n_cache = wn_has(a->cache) ? wn_n_elems(a->cache) : 0, n_x = wn_n_elems(a->x), Co = a->w.dim[0];
    int64_t n_w = wn_n_elems(a->w) / Co;
    float *room = wn_alloc_n((size_t)(n_cache + n_x + n_w), sizeof *room);
    if (!room)
        return wn_fail_nomem(err, "conv's operands",
                             (unsigned long long)(n_cache + n_x + n_w) * sizeof *room);
    struct conv c = {.a = a,
                     .cache = room,
                     .x = room + n_cache,
                     .w = room + n_cache + n_x,
                     .Tc = n_cache ? a->cache.dim[0] : 0,
                     .T = a->x.dim[0],
                     .H = a->x.dim[1],
                     .W = a->x.dim[2],
                     .Ci = a->x.dim[3]};
    if (n_cache) wn_ref_operands(c.cache, a->cache, 0, n_cache, a->precision);
    wn_ref_operands(c.x, a->x, 0, n_x, a->precision);
    enum wan_status st = WAN_OK;
    for (int64_t co = 0; co < Co && !st; co++)
        if (!(st = wn_ref_cancelled(dev, err))) channel(&c, co);
    wn_free(room);
    return st;
}
