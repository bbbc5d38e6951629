/* The operations a device runs: their list (ops.def) and the argument struct of each. Model code calls them
 * through ops/ops.h, which checks shapes and allocates `out`; a device receives the filled struct.
 *
 * Letters: T tokens (rows), D width, K inputs and N outputs of a product, NH heads, HD head width.
 *
 * Number formats: tensors are F32 or BF16 unless said otherwise; weights (w, b, weight, bias, table) may be
 * F32, BF16, F16 or FP8, in place at any alignment, read and never changed. Everything is accumulated in
 * float32 or better. Where an output is BF16 it is rounded once, at the end.
 *
 * Precision of products (enum wn_precision): F32 multiplies float32 operands; F32X multiplies them as sums of
 * BF16 parts (hi + lo, three products, error about 2^-16 relative to |x||w|) where there is a matrix unit and
 * exactly as F32 elsewhere; BF16 rounds both operands to BF16 first.
 *
 * Outputs never alias inputs, except where an argument is marked "consumed": without a tape the operation may
 * use that tensor's memory for its output, and the caller must not use the tensor afterwards.
 */
#ifndef WN_OP_H
#define WN_OP_H

#include "backend/device.h"

enum wn_op {
#define WN_OP(ENUM, name, needs, summary) WN_OP_##ENUM,
#include "backend/ops.def"
    WN_OP_COUNT
};

const char *wn_op_name(enum wn_op op);
const char *wn_op_summary(enum wn_op op);
const char *wn_op_grad_needs(enum wn_op op);

enum wn_act { WN_ACT_NONE, WN_ACT_SILU, WN_ACT_GELU_TANH, WN_ACT_GELU_ERF };

/* One row of a modulation table for each token: table[index[t], row, :]. */
struct wn_mod {
    struct wn_tensor table; /* [n, R, D] f32 */
    struct wn_tensor index; /* [T] i32, each in [0, n); absent: every token takes entry 0 */
};

/* out[t,n] = add[t,n] + gate[t,n] * (act(sum_k x[t,k] w[n,k] + b[n]) * mul[t,n]) */
struct wn_linear_args {
    struct wn_tensor x; /* [.., K]; leading axes are rows */
    struct wn_tensor w; /* [N, K] or any shape whose first extent is N and whose rest multiplies to K */
    struct wn_tensor b; /* [N], optional */
    enum wn_act act;
    struct wn_tensor mul; /* [T, N], optional */
    struct wn_mod gate;   /* optional (no table: 1) */
    int gate_row;
    struct wn_tensor add;        /* [T, N] f32, optional, consumed */
    enum wn_dtype out_type;      /* WN_NONE: f32 with `add`; else bf16 for BF16 products, f32 otherwise */
    enum wn_precision precision; /* WN_PREC_DEFAULT: the exec's */
    struct wn_tensor out;        /* [.., N] */
};

enum wn_norm_kind {
    WN_NORM_LAYER, /* (x - mean) / sqrt(var + eps), biased variance */
    WN_NORM_RMS,   /* x / sqrt(mean(x^2) + eps) */
    WN_NORM_L2     /* x / max(sqrt(sum(x^2)), eps) * sqrt(D): the VAE's "RMS_norm", eps 1e-12 */
};

/* y = norm(x); y = y * weight + bias; y = y * (1 + mod[scale_row]) + mod[shift_row]; out = act(y) */
struct wn_norm_args {
    struct wn_tensor x; /* [.., D] */
    enum wn_norm_kind kind;
    float eps;
    struct wn_tensor weight, bias; /* D elements, any shape, optional */
    struct wn_mod mod;             /* optional */
    int shift_row, scale_row;
    enum wn_act act;
    enum wn_dtype out_type; /* WN_NONE: bf16 when the exec's precision is BF16, else f32 */
    struct wn_tensor out;   /* [.., D] */
};

/* y = x / sqrt(mean over NH*HD (x^2) + eps) * weight (when there is a weight), split into heads; then, with a
 * rope table, pair (2j, 2j+1) of every head is turned: (a, b) -> (a c - b s, a s + b c), c = rope[p, 2j], s =
 * rope[p, 2j+1], p = index[t], or t mod P without an index. */
struct wn_qk_norm_rope_args {
    struct wn_tensor x;      /* [T, NH * HD] or [T, NH, HD] */
    struct wn_tensor weight; /* [NH * HD], optional: no norm at all without it */
    float eps;
    int n_heads;
    struct wn_tensor rope;  /* [P, HD] f32, cos and sin interleaved, optional */
    struct wn_tensor index; /* [T] i32, optional */
    enum wn_dtype out_type; /* WN_NONE: as wn_norm */
    struct wn_tensor out;   /* [T, NH, HD] */
};

/* Attention within segments: query rows q_seg[i]..q_seg[i+1]-1 see key rows k_seg[i]..k_seg[i+1]-1.
 * With Lq and Lk the lengths of a segment, query i and key j stand at distance (j - i) - (Lk - Lq): causal
 * keeps distances <= 0, a window keeps -left..right (a negative bound is none). Rows without any key give 0.
 */
struct wn_attention_args {
    struct wn_tensor q; /* [Tq, NH, HD] */
    struct wn_tensor k; /* [Tk, NH, HD] */
    struct wn_tensor v; /* [Tk, NH, HD] */
    float scale;        /* 0: 1 / sqrt(HD) */
    bool causal, windowed;
    int64_t window_left, window_right;
    const int64_t *q_seg, *k_seg; /* host memory, n_seg + 1 rising offsets each; NULL: one segment */
    int n_seg;
    struct wn_tensor
        key_log_weight; /* [Tk] f32, optional: added to the logits (log m: a key that counts m times) */
    struct wn_tensor
        rel_bias; /* [NH, 2R - 1] f32, optional: rel_bias[h, (j - i) + R - 1] is added; R >= lengths */
    enum wn_dtype out_type; /* WN_NONE: as wn_norm */
    enum wn_precision precision;
    struct wn_tensor out; /* [Tq, NH, HD] */
};

/* out = add + conv(x') + b, where x' is: cache frames, then pad_front zero frames in their place when there
 * is no cache (so [zeros][cache][x] in time), nearest-upsampled x `upsample` times in H and W, zero-padded by
 * pad_h and pad_w. Layout channels last: x [T, H, W, Ci]. The weight stays in PyTorch's order. */
struct wn_conv_args {
    struct wn_tensor x;     /* [T, H, W, Ci] */
    struct wn_tensor cache; /* [Tc, H, W, Ci] of x's type, optional: frames before x */
    struct wn_tensor w;     /* [Co, Ci, KT, KH, KW] or [Co, Ci, KH, KW] (KT = 1) */
    struct wn_tensor b;     /* [Co], optional */
    int pad_front;          /* zero frames before the cache */
    int pad_h[2], pad_w[2]; /* zero rows above and below, columns left and right, after upsampling */
    int stride[3];          /* t, h, w; 0 means 1 */
    int upsample;           /* 0 or 1: none; 2: each pixel becomes 2 x 2 */
    struct wn_tensor add;   /* [T', H', W', Co], optional, consumed */
    enum wn_dtype out_type; /* WN_NONE: f32 */
    enum wn_precision precision;
    struct wn_tensor out; /* [T', H', W', Co] */
};

struct wn_unary_args {
    struct wn_tensor x; /* any float type */
    enum wn_act act;
    enum wn_dtype out_type; /* WN_NONE: x's; else any float type */
    struct wn_tensor out;
};

enum wn_binary_kind { WN_ADD, WN_SUB, WN_MUL };

struct wn_binary_args {
    enum wn_binary_kind kind;
    struct wn_tensor a;     /* [.., shape of b] */
    struct wn_tensor b;     /* repeated over a's leading axes; its element count divides a's */
    enum wn_dtype out_type; /* WN_NONE: f32 */
    struct wn_tensor out;   /* shape of a */
};

struct wn_concat_args {
    struct wn_tensor a, b; /* same type, same extents but the first; any type */
    struct wn_tensor out;
};

struct wn_gather_args {
    struct wn_tensor table; /* [V, D], any float type */
    struct wn_tensor
        index; /* [n] i32; host-checked to be in [0, V) by the caller, checked again by the device */
    enum wn_dtype out_type; /* WN_NONE: f32 */
    struct wn_tensor out;   /* [n, D] */
};

struct wn_permute_args {
    struct wn_tensor x;     /* any type */
    int axis[WN_MAX_DIMS];  /* out axis i is x's axis axis[i] */
    enum wn_dtype out_type; /* WN_NONE: x's; else f32 or bf16 */
    struct wn_tensor out;
};

/* Floating-point operations of the products in one call (two for each multiply-add); 0 for operations without. Masked
 * attention is counted as if nothing were masked. `args` is checked and has its `out`. */
double wn_op_flops(enum wn_op op, const void *args);

/* Host evaluation of an activation in double: what ref computes and tests compare with. */
double wn_act_eval(enum wn_act act, double x);

#endif
