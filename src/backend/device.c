#include "backend/device.h"

#include <string.h>

#include "backend/op.h"
#include "base/mem.h"

static const struct {
    const char *name, *summary, *needs;
} ops[WN_OP_COUNT] = {
#define WN_OP(ENUM, name, needs, summary) [WN_OP_##ENUM] = {#name, summary, needs},
#include "backend/ops.def"
};

const char *wn_op_name(enum wn_op op)
{
    return op < WN_OP_COUNT ? ops[op].name : "?";
}

const char *wn_op_summary(enum wn_op op)
{
    return op < WN_OP_COUNT ? ops[op].summary : "?";
}

const char *wn_op_grad_needs(enum wn_op op)
{
    return op < WN_OP_COUNT ? ops[op].needs : "-";
}

static double attention_flops(const struct wn_attention_args *a)
{
    double pairs = 0;
    if (!a->q_seg) return 4 * (double)a->q.dim[0] * (double)wn_n_elems(a->k);
    for (int i = 0; i < a->n_seg; i++)
        pairs += (double)(a->q_seg[i + 1] - a->q_seg[i]) * (double)(a->k_seg[i + 1] - a->k_seg[i]);
    return 4 * pairs * (double)(a->q.dim[1] * a->q.dim[2]);
}

double wn_op_flops(enum wn_op op, const void *args)
{
    if (op == WN_OP_LINEAR) {
        const struct wn_linear_args *a = args;
        return 2 * (double)wn_n_elems(a->w) * (double)wn_n_rows(a->x);
    }
    if (op == WN_OP_CONV) {
        const struct wn_conv_args *a = args;
        return 2 * (double)wn_n_elems(a->w) * (double)wn_n_rows(a->out);
    }
    return op == WN_OP_ATTENTION ? attention_flops(args) : 0;
}

double wn_peak_flops(const struct wn_peak *peak, enum wn_precision precision)
{
    if (precision == WN_PREC_BF16 && peak->bf16_flops > 0) return peak->bf16_flops;
    return precision == WN_PREC_F32X ? peak->f32x_flops : peak->f32_flops;
}

static const struct {
    const char *name;
    enum wan_status (*open)(struct wn_device **dev, const struct wn_device_params *params,
                            struct wn_err *err);
} built[] = {
    {"ref", wn_ref_open},
    {"cpu", wn_cpu_open},
#if defined(WN_HAVE_MLX)
    {"mlx", wn_mlx_open},
#endif
};
enum { N_BUILT = sizeof built / sizeof *built };

bool wn_device_built(const char *name)
{
    for (int i = 0; i < N_BUILT; i++)
        if (!strcmp(name, built[i].name)) return true;
    return false;
}

/* The fastest device there is: a GPU's where it works, and else the cpu. An instruction set is the cpu's. */
static enum wan_status open_auto(struct wn_device **dev, const struct wn_device_params *params,
                                 struct wn_err *err)
{
#if defined(WN_HAVE_MLX)
    if (!params->isa && wn_mlx_has_gpu()) {
        struct wn_err why = {0};
        if (wn_mlx_open(dev, params, &why) != WAN_EUNSUPPORTED)
            return why.code ? wn_fail(err, why.code, "%s", why.text) : WAN_OK;
        wn_logf(&params->log, WN_LOG_NOTICE, "computing on the cpu: %s", why.text);
    }
#endif
    return wn_cpu_open(dev, params, err);
}

enum wan_status wn_device_open(struct wn_device **dev, const struct wn_device_params *params,
                               struct wn_err *err)
{
    *dev = NULL;
    const char *name = params->name ? params->name : "auto";
    if (params->dry && strcmp(name, "cpu") && strcmp(name, "mlx"))
        return wn_fail(err, WAN_EUNSUPPORTED, "a run on device '%s' cannot be planned", name);
    if (!strcmp(name, "auto")) return open_auto(dev, params, err);
    for (int i = 0; i < N_BUILT; i++) {
        if (strcmp(name, built[i].name)) continue;
        enum wan_status st = built[i].open(dev, params, err);
        if (!st) (*dev)->dry = params->dry;
        return st;
    }
    if (strcmp(name, "cuda") && strcmp(name, "mlx"))
        return wn_fail(err, WAN_EINVAL, "unknown device '%s'; there are: auto, ref, cpu, cuda, mlx", name);
    return wn_fail(err, WAN_EUNSUPPORTED, "device '%s' is not in this build; it has: ref, cpu%s", name,
                   wn_device_built("mlx") ? ", mlx" : "");
}

void wn_device_close(struct wn_device *dev)
{
    if (dev) dev->table->close(dev);
}

struct wn_memory wn_device_memory(struct wn_device *dev)
{
    struct wn_memory m = {.used = wn_mem_used(), .peak = wn_mem_peak()};
    m.least = m.peak;
    if (dev->table->memory) dev->table->memory(dev, &m);
    return m;
}

void wn_device_reset_peak(struct wn_device *dev)
{
    wn_mem_reset_peak();
    if (dev->table->reset_peak) dev->table->reset_peak(dev);
}

static enum wan_status buf_make(struct wn_buf **out, struct wn_device *dev, size_t bytes, struct wn_err *err)
{
    *out = wn_zalloc(sizeof **out);
    if (!*out) return wn_fail_nomem(err, "a buffer record", sizeof **out);
    **out = (struct wn_buf){.dev = dev, .bytes = bytes, .n_refs = 1};
    return WAN_OK;
}

enum wan_status wn_buf_new(struct wn_buf **out, struct wn_device *dev, size_t bytes, struct wn_err *err)
{
    enum wan_status st = buf_make(out, dev, bytes, err);
    if (st == WAN_OK && (st = dev->table->buf_alloc(dev, *out, err))) {
        wn_free(*out);
        *out = NULL;
    }
    return st;
}

enum wan_status wn_buf_map(struct wn_buf **out, struct wn_device *dev, size_t bytes, const void *data,
                           struct wn_err *err)
{
    enum wan_status st = buf_make(out, dev, bytes, err);
    if (st) return st;
    (*out)->mapped = true;
    if ((st = dev->table->buf_map(dev, *out, data, err))) {
        wn_free(*out);
        *out = NULL;
    }
    return st;
}

enum wan_status wn_buf_later(struct wn_buf **out, struct wn_device *dev, size_t bytes, struct wn_err *err)
{
    enum wan_status st = buf_make(out, dev, bytes, err);
    if (!st) (*out)->mapped = (*out)->later = (*out)->empty = true;
    return st;
}

enum wan_status wn_buf_fill(struct wn_buf *buf, const void *data, struct wn_err *err)
{
    enum wan_status st = buf->dev->table->buf_map(buf->dev, buf, data, err);
    if (!st) buf->empty = false;
    return st;
}

void wn_buf_empty(struct wn_buf *buf)
{
    if (buf->empty) return;
    buf->dev->table->buf_free(buf->dev, buf);
    buf->handle = buf->host = NULL;
    buf->empty = true;
}

void wn_buf_retain(struct wn_buf *buf)
{
    buf->n_refs++;
}

void wn_buf_release(struct wn_buf *buf)
{
    if (--buf->n_refs > 0) return;
    if (!buf->empty) buf->dev->table->buf_free(buf->dev, buf);
    wn_free(buf);
}
