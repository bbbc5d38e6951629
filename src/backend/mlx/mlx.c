/* The mlx device: opening, its operation table, and what it cannot run. */
#include "backend/mlx/mlx.h"

#include <pthread.h>
#include <string.h>

#include "backend/selftest.h"
#include "base/mem.h"

static struct wn_mlx *mlx_of(struct wn_device *dev)
{
    return (struct wn_mlx *)dev;
}

static void close_mlx(struct wn_device *dev)
{
    struct wn_memory m = {0};
    wn_mlx_memory(dev, &m);
    wn_logf(&dev->log, WN_LOG_INFO, "mlx: %lld evaluations, at most %.0f MB of arrays",
            (long long)wn_mlx_n_evaluations(dev), (double)m.peak * 1e-6);
    wn_mlx_state_free(mlx_of(dev));
    wn_free(dev);
}

/* MLX counts elements along an axis in 32 bits, and some views are taken of a tensor laid out flat. */
static bool fits(struct wn_tensor t)
{
    return !wn_has(t) || wn_n_elems(t) <= INT32_MAX;
}

static bool all_fit(int op, const void *args)
{
    const struct wn_linear_args *linear = args;
    const struct wn_attention_args *attention = args;
    const struct wn_conv_args *conv = args;
    const struct wn_unary_args *unary = args;
    const struct wn_binary_args *binary = args;
    const struct wn_concat_args *concat = args;
    const struct wn_gather_args *gather = args;
    const struct wn_permute_args *permute = args;
    const struct wn_norm_args *norm = args;
    const struct wn_qk_norm_rope_args *qk = args;
    switch (op) {
    case WN_OP_LINEAR: return fits(linear->x) && fits(linear->w) && fits(linear->out);
    case WN_OP_NORM: return fits(norm->x);
    case WN_OP_QK_NORM_ROPE: return fits(qk->x);
    case WN_OP_ATTENTION: return fits(attention->q) && fits(attention->k);
    case WN_OP_CONV: return fits(conv->x) && fits(conv->cache) && fits(conv->w) && fits(conv->out);
    case WN_OP_UNARY: return fits(unary->x);
    case WN_OP_BINARY: return fits(binary->a);
    case WN_OP_CONCAT: return fits(concat->out);
    case WN_OP_GATHER: return fits(gather->table) && fits(gather->out);
    case WN_OP_PERMUTE: return fits(permute->x);
    default: return true;
    }
}

static bool uses_f64(int op, const void *args)
{
    const struct wn_unary_args *unary = args;
    const struct wn_binary_args *binary = args;
    const struct wn_gather_args *gather = args;
    if (op == WN_OP_UNARY)
        return unary->out_type != unary->x.type && (unary->x.type == WN_F64 || unary->out_type == WN_F64);
    if (op == WN_OP_BINARY) return binary->a.type == WN_F64 || binary->b.type == WN_F64;
    return op == WN_OP_GATHER && gather->table.type == WN_F64;
}

static const char *supports(struct wn_device *dev, int op, const void *args)
{
    const struct wn_linear_args *linear = args;
    const struct wn_conv_args *conv = args;
    if ((op == WN_OP_LINEAR && wn_last_dim(linear->x) < 1) || (op == WN_OP_CONV && wn_n_elems(conv->w) < 1))
        return "no inputs to sum over";
    if (!all_fit(op, args)) return "a tensor has more than 2^31 - 1 elements";
    if (mlx_of(dev)->gpu && uses_f64(op, args)) return "no float64 on the GPU";
    return NULL;
}

static enum wan_status (*const run[WN_OP_COUNT])(struct wn_device *, const void *, struct wn_err *) = {
#define WN_OP(ENUM, name, needs, summary) [WN_OP_##ENUM] = wn_mlx_##name,
#include "backend/ops.def"
};

static const struct wn_device_table table = {
    .name = "mlx",
    .close = close_mlx,
    .buf_alloc = wn_mlx_alloc,
    .buf_map = wn_mlx_map,
    .buf_free = wn_mlx_release,
    .upload = wn_mlx_upload,
    .download = wn_mlx_download,
    .scope_end = wn_mlx_evaluate,
    .sync = wn_mlx_evaluate,
    .trim = wn_mlx_trim,
    .buf_rest = wn_mlx_rest,
    .memory = wn_mlx_memory,
    .reset_peak = wn_mlx_reset_peak,
    .supports = supports,
    .run = run,
};

/* Where and how to compute. The last two are for tests: what a GPU would run, on a machine without one; to
 * compile, MLX's CPU back end calls a C++ compiler. */
static const struct form {
    const char *name;
    bool gpu, fast, compiled;
} forms[] = {{"gpu", true, true, true},
             {"cpu", false, false, false},
             {"cpu-as-gpu", false, true, false},
             {"cpu-compiled", false, true, true}};
enum { N_FORMS = sizeof forms / sizeof *forms };

/* The form named, or the first that this machine has; -1: none. */
static int find_form(const char *name)
{
    for (int i = 0; i < N_FORMS; i++)
        if ((!name || !strcmp(name, forms[i].name)) && (!forms[i].gpu || wn_mlx_has_gpu())) return i;
    return -1;
}

/* The self-test, once in a process for each form. What memory or the owner stopped is tried again. */
static enum wan_status prove(struct wn_mlx *m, int form, struct wn_err *err)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct {
        bool done;
        struct wn_err err;
    } proof[N_FORMS];
    pthread_mutex_lock(&lock);
    if (!proof[form].done) {
        struct wn_err found = {0};
        enum wan_status st = wn_selftest(&m->base, &found);
        proof[form].done = !st || st == WAN_EUNSUPPORTED;
        proof[form].err = found;
    }
    struct wn_err result = proof[form].err;
    pthread_mutex_unlock(&lock);
    return result.code ? wn_fail(err, result.code, "%s", result.text) : WAN_OK;
}

enum wan_status wn_mlx_open(struct wn_device **dev, const struct wn_device_params *params, struct wn_err *err)
{
    *dev = NULL;
    int form = find_form(params->isa);
    if (form < 0)
        return wn_fail(err, WAN_EUNSUPPORTED, "device mlx has no '%s' here; it has: cpu%s", params->isa,
                       wn_mlx_has_gpu() ? ", gpu" : "");
    struct wn_mlx *m = wn_zalloc(sizeof *m);
    if (!m) return wn_fail_nomem(err, "a device", sizeof *m);
    m->gpu = forms[form].gpu;
    m->fast = forms[form].fast;
    m->compiled = forms[form].compiled;
    m->base = (struct wn_device){.table = &table,
                                 .isa = forms[form].name,
                                 .log = params->log,
                                 .cancelled = params->cancelled,
                                 .cancel_ctx = params->cancel_ctx};
    enum wan_status st = wn_mlx_state_new(m, params, err);
    if (st) {
        wn_free(m);
        return st;
    }
    if (params->dry) {
        *dev = &m->base;
        return WAN_OK;
    }
    if ((st = prove(m, form, err))) {
        close_mlx(&m->base);
        return st;
    }
    wn_logf(&m->base.log, WN_LOG_INFO, "mlx: MLX %s on the %s", wn_mlx_version(), m->gpu ? "GPU" : "CPU");
    *dev = &m->base;
    return WAN_OK;
}
