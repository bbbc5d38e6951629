#include "ops/ops.h"

#include <string.h>

#include "base/clock.h"

static const struct wn_tensor none;

/* Fail with "op: what, shape" unless the condition holds; the shape is that of the tensor at fault. */
static bool need(struct wn_exec *ex, enum wn_op op, bool holds, const char *what, struct wn_tensor t)
{
    if (holds) return true;
    char text[WN_SHAPE_TEXT];
    wn_exec_fail(ex, WAN_EINTERNAL, "%s: %s, got %s", wn_op_name(op), what, wn_shape_text(t, text));
    return false;
}

static bool is_act_type(struct wn_tensor t)
{
    return t.type == WN_F32 || t.type == WN_BF16;
}

/* Present tensors must live on the exec's device. */
static bool on_device(struct wn_exec *ex, enum wn_op op, struct wn_tensor t)
{
    return !wn_has(t) || need(ex, op, t.buf && t.buf->dev == ex->dev, "tensor of another device", t);
}

static enum wn_dtype default_act_type(const struct wn_exec *ex)
{
    return ex->precision == WN_PREC_BF16 ? WN_BF16 : WN_F32;
}

static void trace(struct wn_device *dev, enum wn_op op, struct wn_tensor out, double seconds)
{
    char shape[WN_SHAPE_TEXT];
    wn_logf(&dev->log, WN_LOG_NOTICE, "%-12s %10.3f ms  %s", wn_op_name(op), seconds * 1e3,
            wn_shape_text(out, shape));
}

static struct wn_tensor run(struct wn_exec *ex, enum wn_op op, const void *args, struct wn_tensor out)
{
    if (!wn_ok(ex)) return none;
    if (ex->tape) {
        wn_exec_fail(ex, WAN_EUNSUPPORTED, "%s: gradients are not implemented", wn_op_name(op));
        return none;
    }
    struct wn_device *dev = ex->dev;
    const char *why = dev->table->supports ? dev->table->supports(dev, op, args) : NULL;
    if (why) {
        wn_exec_fail(ex, WAN_EUNSUPPORTED, "%s on device %s: %s", wn_op_name(op), dev->table->name, why);
        return none;
    }
    bool timed = ex->on_op || dev->trace;
    double start = timed ? wn_now() : 0;
    if (wn_n_elems(out) && dev->table->run[op](dev, args, &ex->err)) return none;
    if (!timed || dev->table->sync(dev, &ex->err)) return wn_ok(ex) ? out : none;
    double seconds = wn_now() - start;
    if (ex->on_op) ex->on_op(ex->on_op_ctx, op, args, out, seconds);
    if (dev->trace) trace(dev, op, out, seconds);
    return out;
}

/* A modulation table fits rows of width D over T tokens. */
static bool check_mod(struct wn_exec *ex, enum wn_op op, struct wn_mod mod, int row_a, int row_b, int64_t T,
                      int64_t D)
{
    struct wn_tensor t = mod.table, i = mod.index;
    return need(ex, op, t.type == WN_F32 && t.n_dims == 3 && t.dim[0] > 0 && t.dim[2] == D,
                "modulation table must be F32 [n, R, D], n > 0", t) &&
           need(ex, op, row_a >= 0 && row_b >= 0 && row_a < t.dim[1] && row_b < t.dim[1],
                "modulation row out of range", t) &&
           need(ex, op, !wn_has(i) || (i.type == WN_I32 && wn_n_elems(i) == T),
                "modulation index must be I32 [T]", i) &&
           on_device(ex, op, t) && on_device(ex, op, i);
}

struct wn_tensor wn_linear_op(struct wn_exec *ex, struct wn_linear_args a)
{
    const enum wn_op op = WN_OP_LINEAR;
    if (!wn_ok(ex)) return none;
    if (a.precision == WN_PREC_DEFAULT) a.precision = ex->precision;
    int64_t K = wn_last_dim(a.x), T = wn_n_rows(a.x), N = a.w.n_dims ? a.w.dim[0] : 0;
    if (!need(ex, op, is_act_type(a.x) && a.x.n_dims >= 1, "x must be F32 or BF16", a.x) ||
        !need(ex, op, wn_dtype_is_float(a.w.type) && N > 0 && wn_n_elems(a.w) == N * K,
              "weight does not fit x's width", a.w) ||
        !need(ex, op, !wn_has(a.b) || (wn_dtype_is_float(a.b.type) && wn_n_elems(a.b) == N),
              "bias must be [N]", a.b) ||
        !need(ex, op, !wn_has(a.mul) || (is_act_type(a.mul) && wn_n_elems(a.mul) == T * N),
              "mul must be [T, N]", a.mul) ||
        !need(ex, op, !wn_has(a.add) || (a.add.type == WN_F32 && wn_n_elems(a.add) == T * N),
              "add must be F32 [T, N]", a.add) ||
        !on_device(ex, op, a.x) || !on_device(ex, op, a.w) || !on_device(ex, op, a.b) ||
        !on_device(ex, op, a.mul) || !on_device(ex, op, a.add))
        return none;
    if (wn_has(a.gate.table) && !check_mod(ex, op, a.gate, a.gate_row, a.gate_row, T, N)) return none;
    if (wn_has(a.add)) {
        if (!need(ex, op, a.out_type == WN_NONE || a.out_type == WN_F32, "with add the output is F32", a.add))
            return none;
        a.out = a.add;
    } else {
        if (a.out_type == WN_NONE) a.out_type = a.precision == WN_PREC_BF16 ? WN_BF16 : WN_F32;
        struct wn_tensor s = a.x;
        s.type = a.out_type;
        if (!need(ex, op, is_act_type(s), "output must be F32 or BF16", s)) return none;
        s.dim[s.n_dims - 1] = N;
        a.out = wn_new(ex, s);
    }
    return run(ex, op, &a, a.out);
}

struct wn_tensor wn_norm_op(struct wn_exec *ex, struct wn_norm_args a)
{
    const enum wn_op op = WN_OP_NORM;
    if (!wn_ok(ex)) return none;
    int64_t D = wn_last_dim(a.x);
    if (!need(ex, op, is_act_type(a.x) && a.x.n_dims >= 1, "x must be F32 or BF16", a.x) ||
        !need(ex, op, !wn_has(a.weight) || (wn_dtype_is_float(a.weight.type) && wn_n_elems(a.weight) == D),
              "weight must be [D]", a.weight) ||
        !need(ex, op, !wn_has(a.bias) || (wn_dtype_is_float(a.bias.type) && wn_n_elems(a.bias) == D),
              "bias must be [D]", a.bias) ||
        !on_device(ex, op, a.x) || !on_device(ex, op, a.weight) || !on_device(ex, op, a.bias))
        return none;
    if (wn_has(a.mod.table) && !check_mod(ex, op, a.mod, a.shift_row, a.scale_row, wn_n_rows(a.x), D))
        return none;
    if (a.out_type == WN_NONE) a.out_type = default_act_type(ex);
    struct wn_tensor s = a.x;
    s.type = a.out_type;
    if (!need(ex, op, is_act_type(s), "output must be F32 or BF16", s)) return none;
    a.out = wn_new(ex, s);
    return run(ex, op, &a, a.out);
}

struct wn_tensor wn_qk_norm_rope_op(struct wn_exec *ex, struct wn_qk_norm_rope_args a)
{
    const enum wn_op op = WN_OP_QK_NORM_ROPE;
    if (!wn_ok(ex)) return none;
    int64_t T = a.x.n_dims ? a.x.dim[0] : 0;
    int64_t W = T ? wn_n_elems(a.x) / T : 0;
    if (!need(ex, op, is_act_type(a.x) && T > 0 && a.n_heads > 0 && W % a.n_heads == 0,
              "x must be [T, NH * HD]", a.x))
        return none;
    int64_t HD = W / a.n_heads;
    if (!need(ex, op, !wn_has(a.weight) || (wn_dtype_is_float(a.weight.type) && wn_n_elems(a.weight) == W),
              "weight must be [NH * HD]", a.weight) ||
        !need(ex, op,
              !wn_has(a.rope) || (a.rope.type == WN_F32 && a.rope.n_dims == 2 && a.rope.dim[0] > 0 &&
                                  a.rope.dim[1] == HD && HD % 2 == 0),
              "rope table must be F32 [P, HD]", a.rope) ||
        !need(ex, op, !wn_has(a.index) || (a.index.type == WN_I32 && wn_n_elems(a.index) == T),
              "rope index must be I32 [T]", a.index) ||
        !on_device(ex, op, a.x) || !on_device(ex, op, a.weight) || !on_device(ex, op, a.rope) ||
        !on_device(ex, op, a.index))
        return none;
    if (a.out_type == WN_NONE) a.out_type = default_act_type(ex);
    struct wn_tensor s = wn_shape_of(a.out_type, T, a.n_heads, HD);
    if (!need(ex, op, is_act_type(s), "output must be F32 or BF16", s)) return none;
    a.out = wn_new(ex, s);
    return run(ex, op, &a, a.out);
}

/* n + 1 offsets that rise from 0 to `end`. */
static bool check_segments(const int64_t *seg, int n, int64_t end)
{
    if (seg[0] != 0 || seg[n] != end) return false;
    for (int i = 0; i < n; i++)
        if (seg[i] > seg[i + 1]) return false;
    return true;
}

struct wn_tensor wn_attention_op(struct wn_exec *ex, struct wn_attention_args a)
{
    const enum wn_op op = WN_OP_ATTENTION;
    if (!wn_ok(ex)) return none;
    if (a.precision == WN_PREC_DEFAULT) a.precision = ex->precision;
    int64_t Tk = a.k.dim[0], NH = a.q.dim[1], HD = a.q.dim[2];
    if (!need(ex, op, is_act_type(a.q) && a.q.n_dims == 3, "q must be [Tq, NH, HD]", a.q) ||
        !need(ex, op, is_act_type(a.k) && a.k.n_dims == 3 && a.k.dim[1] == NH && a.k.dim[2] == HD,
              "k must be [Tk, NH, HD]", a.k) ||
        !need(ex, op, is_act_type(a.v) && wn_same_shape(a.v, a.k), "v must have k's shape", a.v) ||
        !need(ex, op,
              !wn_has(a.key_log_weight) ||
                  (a.key_log_weight.type == WN_F32 && wn_n_elems(a.key_log_weight) == Tk),
              "key_log_weight must be F32 [Tk]", a.key_log_weight) ||
        !on_device(ex, op, a.q) || !on_device(ex, op, a.k) || !on_device(ex, op, a.v) ||
        !on_device(ex, op, a.key_log_weight) || !on_device(ex, op, a.rel_bias))
        return none;
    const int64_t one_q[2] = {0, a.q.dim[0]}, one_k[2] = {0, Tk};
    if (!a.q_seg && !a.k_seg) {
        a.q_seg = one_q;
        a.k_seg = one_k;
        a.n_seg = 1;
    }
    if (!need(ex, op, a.q_seg && a.k_seg && a.n_seg > 0 && check_segments(a.q_seg, a.n_seg, a.q.dim[0]),
              "query segments do not cover q", a.q) ||
        !need(ex, op, check_segments(a.k_seg, a.n_seg, Tk), "key segments do not cover k", a.k))
        return none;
    if (wn_has(a.rel_bias)) {
        int64_t R = (a.rel_bias.n_dims == 2 ? a.rel_bias.dim[1] + 1 : 0) / 2, longest = 0;
        for (int i = 0; i < a.n_seg; i++) {
            int64_t lq = a.q_seg[i + 1] - a.q_seg[i], lk = a.k_seg[i + 1] - a.k_seg[i];
            longest = lq > longest ? lq : longest;
            longest = lk > longest ? lk : longest;
        }
        if (!need(ex, op,
                  a.rel_bias.type == WN_F32 && a.rel_bias.n_dims == 2 && a.rel_bias.dim[0] == NH &&
                      a.rel_bias.dim[1] % 2 == 1 && R >= longest,
                  "rel_bias must be F32 [NH, 2R - 1]", a.rel_bias))
            return none;
    }
    if (a.out_type == WN_NONE) a.out_type = default_act_type(ex);
    struct wn_tensor s = a.q;
    s.type = a.out_type;
    if (!need(ex, op, is_act_type(s), "output must be F32 or BF16", s)) return none;
    a.out = wn_new(ex, s);
    return run(ex, op, &a, a.out);
}

struct wn_tensor wn_conv_op(struct wn_exec *ex, struct wn_conv_args a)
{
    const enum wn_op op = WN_OP_CONV;
    if (!wn_ok(ex)) return none;
    if (a.precision == WN_PREC_DEFAULT) a.precision = ex->precision;
    for (int i = 0; i < 3; i++)
        if (!a.stride[i]) a.stride[i] = 1;
    if (!a.upsample) a.upsample = 1;
    if (a.w.n_dims == 4) {
        int64_t d[5] = {a.w.dim[0], a.w.dim[1], 1, a.w.dim[2], a.w.dim[3]};
        a.w = wn_reshape(a.w, 5, d);
    }
    if (!need(ex, op, is_act_type(a.x) && a.x.n_dims == 4, "x must be [T, H, W, Ci]", a.x) ||
        !need(ex, op, wn_dtype_is_float(a.w.type) && a.w.n_dims == 5 && a.w.dim[1] == a.x.dim[3],
              "weight must be [Co, Ci, KT, KH, KW]", a.w) ||
        !need(ex, op, !wn_has(a.b) || (wn_dtype_is_float(a.b.type) && wn_n_elems(a.b) == a.w.dim[0]),
              "bias must be [Co]", a.b) ||
        !on_device(ex, op, a.x) || !on_device(ex, op, a.cache) || !on_device(ex, op, a.w) ||
        !on_device(ex, op, a.b) || !on_device(ex, op, a.add))
        return none;
    int64_t Tc = wn_has(a.cache) ? a.cache.dim[0] : 0;
    if (Tc && !need(ex, op,
                    a.cache.type == a.x.type && a.cache.n_dims == 4 &&
                        !memcmp(a.cache.dim + 1, a.x.dim + 1, 3 * sizeof(int64_t)),
                    "cache must be frames like x", a.cache))
        return none;
    int64_t in[3] = {a.pad_front + Tc + a.x.dim[0], a.pad_h[0] + a.x.dim[1] * a.upsample + a.pad_h[1],
                     a.pad_w[0] + a.x.dim[2] * a.upsample + a.pad_w[1]};
    int64_t d[4] = {0, 0, 0, a.w.dim[0]};
    for (int i = 0; i < 3; i++) {
        if (!need(ex, op, a.stride[i] > 0 && in[i] >= a.w.dim[2 + i], "kernel larger than its padded input",
                  a.x))
            return none;
        d[i] = (in[i] - a.w.dim[2 + i]) / a.stride[i] + 1;
    }
    if (a.out_type == WN_NONE) a.out_type = wn_has(a.add) ? a.add.type : WN_F32;
    struct wn_tensor s = wn_shape(a.out_type, 4, d);
    if (!need(ex, op, is_act_type(s), "output must be F32 or BF16", s)) return none;
    if (wn_has(a.add)) {
        if (!need(ex, op, a.add.type == s.type && wn_n_elems(a.add) == wn_n_elems(s),
                  "add must be like the output", a.add))
            return none;
        a.out = wn_reshape(a.add, 4, d);
    } else {
        a.out = wn_new(ex, s);
    }
    return run(ex, op, &a, a.out);
}

struct wn_tensor wn_unary_op(struct wn_exec *ex, struct wn_unary_args a)
{
    const enum wn_op op = WN_OP_UNARY;
    if (!wn_ok(ex)) return none;
    if (a.out_type == WN_NONE) a.out_type = a.x.type;
    struct wn_tensor s = a.x;
    s.type = a.out_type;
    if (!need(ex, op, wn_dtype_is_float(a.x.type), "x must be a float type", a.x) ||
        !need(ex, op, wn_dtype_is_float(a.out_type), "output must be a float type", s) ||
        !on_device(ex, op, a.x))
        return none;
    a.out = wn_new(ex, s);
    return run(ex, op, &a, a.out);
}

struct wn_tensor wn_binary_op(struct wn_exec *ex, struct wn_binary_args a)
{
    const enum wn_op op = WN_OP_BINARY;
    if (!wn_ok(ex)) return none;
    if (a.out_type == WN_NONE) a.out_type = WN_F32;
    int64_t n = wn_n_elems(a.b);
    struct wn_tensor s = a.a;
    s.type = a.out_type;
    if (!need(ex, op, wn_dtype_is_float(a.a.type), "a must be a float type", a.a) ||
        !need(ex, op, wn_dtype_is_float(a.b.type) && n > 0 && wn_n_elems(a.a) % n == 0, "b must divide a",
              a.b) ||
        !need(ex, op, is_act_type(s), "output must be F32 or BF16", s) || !on_device(ex, op, a.a) ||
        !on_device(ex, op, a.b))
        return none;
    a.out = wn_new(ex, s);
    return run(ex, op, &a, a.out);
}

struct wn_tensor wn_concat_op(struct wn_exec *ex, struct wn_concat_args a)
{
    const enum wn_op op = WN_OP_CONCAT;
    if (!wn_ok(ex)) return none;
    struct wn_tensor s = a.a;
    s.dim[0] = a.b.dim[0];
    if (!need(ex, op, a.a.n_dims > 0 && a.a.type == a.b.type && wn_same_shape(s, a.b),
              "a and b must agree in all axes but the first", a.b) ||
        !on_device(ex, op, a.a) || !on_device(ex, op, a.b))
        return none;
    s.dim[0] = a.a.dim[0] + a.b.dim[0];
    a.out = wn_new(ex, s);
    return run(ex, op, &a, a.out);
}

struct wn_tensor wn_gather_op(struct wn_exec *ex, struct wn_gather_args a)
{
    const enum wn_op op = WN_OP_GATHER;
    if (!wn_ok(ex)) return none;
    if (a.out_type == WN_NONE) a.out_type = WN_F32;
    if (!need(ex, op, wn_dtype_is_float(a.table.type) && a.table.n_dims == 2, "table must be [V, D]",
              a.table) ||
        !need(ex, op, a.index.type == WN_I32 && a.index.n_dims == 1, "index must be I32 [n]", a.index) ||
        !on_device(ex, op, a.table) || !on_device(ex, op, a.index))
        return none;
    struct wn_tensor s = wn_shape_of(a.out_type, a.index.dim[0], a.table.dim[1]);
    if (!need(ex, op, is_act_type(s), "output must be F32 or BF16", s)) return none;
    a.out = wn_new(ex, s);
    return run(ex, op, &a, a.out);
}

struct wn_tensor wn_permute_op(struct wn_exec *ex, struct wn_permute_args a)
{
    const enum wn_op op = WN_OP_PERMUTE;
    if (!wn_ok(ex)) return none;
    if (a.out_type == WN_NONE) a.out_type = a.x.type;
    struct wn_tensor s = a.x;
    s.type = a.out_type;
    unsigned seen = 0;
    for (int i = 0; i < a.x.n_dims; i++) {
        if (!need(ex, op, a.axis[i] >= 0 && a.axis[i] < a.x.n_dims, "axis out of range", a.x)) return none;
        seen |= 1u << a.axis[i];
        s.dim[i] = a.x.dim[a.axis[i]];
    }
    if (!need(ex, op, seen == (1u << a.x.n_dims) - 1, "axes must be a permutation", a.x) ||
        !need(ex, op, a.out_type == a.x.type || (is_act_type(s) && is_act_type(a.x)),
              "cannot convert to this type", s) ||
        !on_device(ex, op, a.x))
        return none;
    a.out = wn_new(ex, s);
    return run(ex, op, &a, a.out);
}
