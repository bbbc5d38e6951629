#include "backend/ref/ref.h"

#include <math.h>
#include <string.h>

#include "base/half.h"
#include "base/mem.h"
#include "tensor/convert.h"

/* ---- elements ---- */

double wn_ref_get(struct wn_tensor t, int64_t i)
{
    const char *p = (const char *)wn_host(t) + (size_t)i * wn_dtype_size(t.type);
    if (t.type == WN_F64) {
        double d;
        memcpy(&d, p, sizeof d);
        return d;
    }
    float f = 0;
    wn_to_f32(p, t.type, &f, 1);
    return f;
}

/* `v` as float32 rounded to odd: inexact values take the neighbour whose last bit is 1. A second rounding to
 * any narrower type then equals one rounding of v. */
static float to_odd_f32(double v)
{
    float f = (float)v;
    if ((double)f == v || isnan(v)) return f;
    if (fabs((double)f) > fabs(v)) f = nextafterf(f, 0);
    return wn_bits_f32(wn_f32_bits(f) | 1);
}

void wn_ref_put(struct wn_tensor t, int64_t i, double v)
{
    char *p = (char *)wn_host(t) + (size_t)i * wn_dtype_size(t.type);
    if (t.type == WN_F64) {
        memcpy(p, &v, sizeof v);
        return;
    }
    float f = t.type == WN_F32 ? (float)v : to_odd_f32(v);
    wn_from_f32(&f, t.type, p, 1);
}

void wn_ref_operands(float *dst, struct wn_tensor t, int64_t first, int64_t n, enum wn_precision precision)
{
    wn_to_f32((const char *)wn_host(t) + (size_t)first * wn_dtype_size(t.type), t.type, dst, n);
    if (precision == WN_PREC_BF16)
        for (int64_t i = 0; i < n; i++) dst[i] = wn_round_bf16(dst[i]);
}

double wn_ref_dot(const float *a, const float *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

enum wan_status wn_ref_index(int64_t *entry, enum wn_op op, struct wn_tensor index, int64_t t, int64_t n,
                             int64_t otherwise, struct wn_err *err)
{
    *entry = otherwise;
    if (!wn_has(index)) return WAN_OK;
    int32_t i;
    memcpy(&i, (const char *)wn_host(index) + (size_t)t * sizeof i, sizeof i);
    if (i < 0 || i >= n)
        return wn_fail(err, WAN_EINVAL, "%s: index %d of row %lld is outside its table of %lld rows",
                       wn_op_name(op), i, (long long)t, (long long)n);
    *entry = i;
    return WAN_OK;
}

enum wan_status wn_ref_cancelled(struct wn_device *dev, struct wn_err *err)
{
    if (dev->cancelled && dev->cancelled(dev->cancel_ctx)) return wn_fail(err, WAN_ECANCELED, "cancelled");
    return WAN_OK;
}

/* ---- the device ---- */

static void ref_close(struct wn_device *dev)
{
    wn_free(dev);
}

static enum wan_status ref_alloc(struct wn_device *dev, struct wn_buf *buf, struct wn_err *err)
{
    (void)dev;
    buf->handle = buf->host = wn_alloc(buf->bytes);
    return buf->host ? WAN_OK : wn_fail_nomem(err, "a tensor", buf->bytes);
}

static enum wan_status ref_map(struct wn_device *dev, struct wn_buf *buf, const void *data,
                               struct wn_err *err)
{
    (void)dev, (void)err;
    buf->handle = buf->host = (void *)(uintptr_t)data;
    return WAN_OK;
}

static void ref_free(struct wn_device *dev, struct wn_buf *buf)
{
    (void)dev;
    if (!buf->mapped) wn_free(buf->host);
}

static enum wan_status ref_upload(struct wn_device *dev, struct wn_buf *buf, size_t offset, const void *data,
                                  size_t bytes, struct wn_err *err)
{
    (void)dev, (void)err;
    memcpy((char *)buf->host + offset, data, bytes);
    return WAN_OK;
}

static enum wan_status ref_download(struct wn_device *dev, const struct wn_buf *buf, size_t offset,
                                    void *data, size_t bytes, struct wn_err *err)
{
    (void)dev, (void)err;
    memcpy(data, (const char *)buf->host + offset, bytes);
    return WAN_OK;
}

/* Operations are done when they return, and nothing is cached. */
static void ref_nothing(struct wn_device *dev)
{
    (void)dev;
}

static enum wan_status ref_sync(struct wn_device *dev, struct wn_err *err)
{
    (void)dev, (void)err;
    return WAN_OK;
}

static enum wan_status (*const ref_run[WN_OP_COUNT])(struct wn_device *, const void *, struct wn_err *) = {
#define WN_OP(ENUM, name, needs, summary) [WN_OP_##ENUM] = wn_ref_##name,
#include "backend/ops.def"
};

static const struct wn_device_table ref_table = {
    .name = "ref",
    .close = ref_close,
    .buf_alloc = ref_alloc,
    .buf_map = ref_map,
    .buf_free = ref_free,
    .upload = ref_upload,
    .download = ref_download,
    .scope_begin = ref_nothing,
    .scope_end = ref_sync,
    .sync = ref_sync,
    .trim = ref_nothing,
    .run = ref_run,
};

enum wan_status wn_ref_open(struct wn_device **dev, const struct wn_device_params *params, struct wn_err *err)
{
    *dev = wn_zalloc(sizeof **dev);
    if (!*dev) return wn_fail_nomem(err, "the reference device", sizeof **dev);
    **dev = (struct wn_device){.table = &ref_table,
                               .isa = "",
                               .log = params->log,
                               .cancelled = params->cancelled,
                               .cancel_ctx = params->cancel_ctx};
    return WAN_OK;
}
