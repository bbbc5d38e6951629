/* Cases of linear and conv. */
#include "check.h"

#include <math.h>
#include <stddef.h>

#include "base/mem.h"

/* ---- linear ---- */

enum gate { NO_GATE, GATE_ALL, GATE_INDEX };

struct linear {
    int64_t T, K, N;
    enum wn_dtype x, w, out;
    enum wn_precision prec;
    enum wn_act act;
    bool b, mul, add;
    enum gate gate;
    int align;
};

#define LINEAR(f) offsetof(struct wn_linear_args, f)

/* The widths of the models with few rows, and shapes around tile borders. */
static const struct linear linear_table[] = {
    {1, 1, 1, WN_F32, WN_F32, WN_NONE, WN_PREC_F32, WN_ACT_NONE, 0, 0, 0, NO_GATE, 0},
    {3, 1536, 8960, WN_BF16, WN_BF16, WN_NONE, WN_PREC_BF16, WN_ACT_GELU_TANH, 1, 0, 0, NO_GATE, 2},
    {5, 8960, 1536, WN_BF16, WN_BF16, WN_NONE, WN_PREC_BF16, WN_ACT_NONE, 1, 0, 1, GATE_INDEX, CK_TIGHT},
    {2, 3072, 3072, WN_BF16, WN_F32, WN_NONE, WN_PREC_BF16, WN_ACT_NONE, 1, 0, 1, GATE_ALL, 0},
    {1, 5120, 5120, WN_BF16, WN_F8_E4M3, WN_NONE, WN_PREC_BF16, WN_ACT_NONE, 1, 0, 0, NO_GATE, 1},
    {7, 4096, 1031, WN_F32, WN_BF16, WN_NONE, WN_PREC_F32X, WN_ACT_GELU_TANH, 0, 1, 0, NO_GATE, CK_TIGHT},
    {66, 1536, 515, WN_F32, WN_F32, WN_NONE, WN_PREC_F32X, WN_ACT_NONE, 1, 0, 1, GATE_INDEX, 0},
    {131, 300, 517, WN_F32, WN_F32, WN_NONE, WN_PREC_F32, WN_ACT_SILU, 1, 0, 0, NO_GATE, 0},
    {257, 1280, 97, WN_F32, WN_F16, WN_NONE, WN_PREC_F32, WN_ACT_GELU_ERF, 1, 0, 0, NO_GATE, CK_TIGHT},
    {515, 129, 257, WN_BF16, WN_BF16, WN_F32, WN_PREC_BF16, WN_ACT_NONE, 1, 1, 1, GATE_INDEX, 0},
};
enum {
    N_LINEAR = sizeof linear_table / sizeof *linear_table,
    N_LINEAR_GRID = 5 * 3 * 2 * 4,
    N_LINEAR_RANDOM = 140
};

/* Every weight type x precision x activation type x placement, at a shape that is no multiple of anything. */
static struct linear linear_grid(int i)
{
    static const enum wn_dtype w[] = {WN_F32, WN_BF16, WN_F16, WN_F8_E4M3, WN_F8_E5M2};
    static const enum wn_precision prec[] = {WN_PREC_F32, WN_PREC_F32X, WN_PREC_BF16};
    static const int align[] = {0, 1, 2, CK_TIGHT};
    return (struct linear){.T = 7 + i % 3,
                           .K = 67,
                           .N = 35,
                           .w = w[i % 5],
                           .prec = prec[i / 5 % 3],
                           .x = i / 15 % 2 ? WN_BF16 : WN_F32,
                           .align = align[i / 30],
                           .b = i % 2};
}

static struct linear linear_random(struct ck_rng *r)
{
    struct linear s = {
        .T = CK_PICK(r, 1, 2, 3, 4, 5, 6, 7, 8, 13, 16, 31, 33, 48, 64, 97, 130, 193),
        .K = CK_PICK(r, 1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 256, 259, 511, 769, 1120),
        .N = CK_PICK(r, 1, 2, 5, 7, 8, 15, 16, 17, 24, 31, 33, 64, 65, 96, 133, 260),
        .x = ck_act_type(r),
        .w = ck_weight_type(r),
        .prec = (enum wn_precision)(WN_PREC_F32 + ck_below(r, 3)),
        .act = (enum wn_act)ck_below(r, 4),
        .b = ck_chance(r, 60),
        .mul = ck_chance(r, 25),
        .add = ck_chance(r, 40),
        .gate = (enum gate)CK_PICK(r, NO_GATE, NO_GATE, GATE_ALL, GATE_INDEX),
        .align = ck_align(r)};
    if (!s.add) s.out = (enum wn_dtype)CK_PICK(r, WN_NONE, WN_NONE, WN_F32, WN_BF16);
    return s;
}

static void linear_build(struct ck_case *c, struct linear s)
{
    struct ck_rng *r = &c->rng;
    const char *gate[] = {"", " gate", " gate[index]"};
    ck_text(c, "T=%lld K=%lld N=%lld %s x, %s w @%d, %s, %s%s%s%s%s", (long long)s.T, (long long)s.K,
            (long long)s.N, wn_dtype_name(s.x), wn_dtype_name(s.w), s.align, ck_precision_name(s.prec),
            ck_act_name(s.act), s.b ? " bias" : "", s.mul ? " mul" : "", gate[s.gate], s.add ? " add" : "");
    c->precision = s.prec;
    c->args.linear = (struct wn_linear_args){.act = s.act, .out_type = s.out, .precision = s.prec};
    c->flops = 2.0 * (double)s.T * (double)s.K * (double)s.N;
    double w_size = 1 / sqrt((double)s.K);
    ck_input(c, LINEAR(x), wn_shape_of(s.x, s.T, s.K), ck_place(r), 0, 1);
    ck_input(c, LINEAR(w), wn_shape_of(s.w, s.N, s.K), CK_MAPPED, s.align, w_size < 0.05 ? 0.05 : w_size);
    if (s.b) ck_input(c, LINEAR(b), wn_shape_of(s.w, s.N), CK_MAPPED, s.align, 0.5);
    if (s.mul) ck_input(c, LINEAR(mul), wn_shape_of(s.x, s.T, s.N), ck_place(r), 0, 1);
    if (s.gate) {
        int64_t rows = 1 + ck_below(r, 6), n = s.gate == GATE_INDEX ? 3 : 1;
        c->args.linear.gate_row = (int)ck_below(r, rows);
        ck_input(c, LINEAR(gate.table), wn_shape_of(WN_F32, n, rows, s.N), ck_place(r), 0, 1);
        if (s.gate == GATE_INDEX) ck_index(c, LINEAR(gate.index), s.T, n);
    }
    if (s.add) ck_input(c, LINEAR(add), wn_shape_of(WN_F32, s.T, s.N), ck_place(r), 0, 1)->consumed = true;
}

static void linear_make(struct ck_case *c, int i)
{
    if (i < N_LINEAR)
        linear_build(c, linear_table[i]);
    else if (i < N_LINEAR + N_LINEAR_GRID)
        linear_build(c, linear_grid(i - N_LINEAR));
    else
        linear_build(c, linear_random(&c->rng));
}

/* Errors of the sum over K, relative to sum |x||w| + |b|, pass the activation, mul and gate; each later step
 * adds a rounding or two of its operands. */
static bool linear_bound(const struct ck_case *c, const struct ck_env *env, double *tol)
{
    const size_t fields[] = {LINEAR(x), LINEAR(w), LINEAR(b)};
    const struct ck_input *x = ck_find(c, LINEAR(x)), *mul = ck_find(c, LINEAR(mul)),
                          *add = ck_find(c, LINEAR(add));
    const struct ck_input *table = ck_find(c, LINEAR(gate.table)), *index = ck_find(c, LINEAR(gate.index));
    const struct wn_linear_args *a = &c->args.linear;
    int64_t K = x->shape.dim[1], N = env->n / x->shape.dim[0];
    float *sum = wn_alloc_n((size_t)env->n, sizeof *sum);
    struct ck_case abs;
    if (!sum || !ck_absolute(&abs, c, fields, 3)) {
        wn_free(sum);
        return false;
    }
    abs.args.linear = (struct wn_linear_args){.precision = a->precision};
    bool ok = env->run_ref(&abs, sum, env->n);
    double unit = (ck_sum_error(K) + ck_product_error(a->precision, env, K)) * (a->act ? CK_ACT_SLOPE : 1) +
                  (a->act ? CK_ACT_ULPS : 1) * CK_EPS;
    for (int64_t i = 0; i < env->n && ok; i++) {
        int64_t entry = index ? ck_int(index, i / N) : 0;
        double by = mul ? fabs(ck_value(mul, i)) : 1;
        if (table) by *= fabs(ck_value(table, (entry * table->shape.dim[1] + a->gate_row) * N + i % N));
        tol[i] = (unit + 3 * CK_EPS) * (double)sum[i] * by + (add ? 2 * CK_EPS * fabs(ck_value(add, i)) : 0);
    }
    ck_release(&abs);
    wn_free(sum);
    return ok;
}

static const struct linear linear_bench[] = {
    {1560, 1536, 8960, WN_BF16, WN_BF16, WN_NONE, WN_PREC_BF16, WN_ACT_GELU_TANH, 1, 0, 0, NO_GATE, 0},
    {1560, 8960, 1536, WN_BF16, WN_BF16, WN_NONE, WN_PREC_BF16, WN_ACT_NONE, 1, 0, 1, GATE_ALL, 0},
    {1560, 1536, 1536, WN_BF16, WN_BF16, WN_NONE, WN_PREC_BF16, WN_ACT_NONE, 1, 0, 0, NO_GATE, 0},
    {1560, 1536, 1536, WN_BF16, WN_F32, WN_NONE, WN_PREC_BF16, WN_ACT_NONE, 1, 0, 0, NO_GATE, 0},
    {512, 3072, 3072, WN_BF16, WN_F8_E4M3, WN_NONE, WN_PREC_BF16, WN_ACT_NONE, 1, 0, 0, NO_GATE, 0},
    {512, 4096, 4096, WN_F32, WN_BF16, WN_NONE, WN_PREC_F32X, WN_ACT_NONE, 0, 0, 0, NO_GATE, 0},
    {512, 4096, 4096, WN_F32, WN_F32, WN_NONE, WN_PREC_F32, WN_ACT_NONE, 0, 0, 0, NO_GATE, 0},
    {1, 1536, 9216, WN_F32, WN_BF16, WN_NONE, WN_PREC_F32, WN_ACT_NONE, 1, 0, 0, NO_GATE, 0},
};

static void linear_make_bench(struct ck_case *c, int i)
{
    linear_build(c, linear_bench[i]);
}

const struct ck_op ck_linear = {N_LINEAR + N_LINEAR_GRID + N_LINEAR_RANDOM, linear_make, linear_bound,
                                sizeof linear_bench / sizeof *linear_bench, linear_make_bench};

/* ---- conv ---- */

struct conv {
    int64_t T, H, W, Ci, Co, k[3], Tc;
    int pad_front, pad_h[2], pad_w[2], stride[3], upsample;
    enum wn_dtype x, w, out;
    enum wn_precision prec;
    bool b, add, flat; /* flat: the weight has four axes */
    int align;
};

#define CONV(f) offsetof(struct wn_conv_args, f)

/* The layers of the VAEs at small frames: causal 3x3x3 with and without a cache, the 1x1 shortcuts, both
 * resamplings, the patch embedding. */
static const struct conv conv_table[] = {
    {1, 1, 1, 1, 1, {1, 1, 1}, 0, 0, {0}, {0}, {0}, 0, WN_F32, WN_F32, WN_NONE, WN_PREC_F32, 0, 0, 0, 0},
    {1,   9, 7,      96,     96,      {3, 3, 3},    0, 2, {1, 1}, {1, 1},
     {0}, 0, WN_F32, WN_F32, WN_NONE, WN_PREC_F32X, 1, 1, 0,      0},
    {2,   7, 9,      96,      192,     {3, 3, 3},    2, 0, {1, 1}, {1, 1},
     {0}, 0, WN_F32, WN_BF16, WN_NONE, WN_PREC_F32X, 1, 0, 0,      2},
    {4,   6, 10,     192,    96,      {1, 1, 1},   0, 0, {0}, {0},
     {0}, 0, WN_F32, WN_F32, WN_NONE, WN_PREC_F32, 1, 0, 0,   CK_TIGHT},
    {2,   5, 7,      192,    96,      {1, 3, 3},    0, 0, {1, 1}, {1, 1},
     {0}, 2, WN_F32, WN_F32, WN_NONE, WN_PREC_F32X, 1, 0, 1,      0},
    {2,         11, 13,     96,     96,      {1, 3, 3},   0, 0, {0, 1}, {0, 1},
     {1, 2, 2}, 0,  WN_F32, WN_F16, WN_NONE, WN_PREC_F32, 1, 0, 1,      0},
    {4,         5, 6,      96,     96,      {3, 1, 1},   1, 0, {0}, {0},
     {2, 1, 1}, 0, WN_F32, WN_F32, WN_NONE, WN_PREC_F32, 1, 0, 0,   0},
    {4,   5, 6,       96,      192,     {3, 1, 1},    2, 0, {0}, {0},
     {0}, 0, WN_BF16, WN_BF16, WN_NONE, WN_PREC_BF16, 1, 0, 0,   1},
    {3,         12, 10,     16,      384,     {1, 2, 2},    0, 0, {0}, {0},
     {1, 2, 2}, 0,  WN_F32, WN_BF16, WN_BF16, WN_PREC_BF16, 1, 0, 0,   2},
    {1,           28, 28,     3,      160,     {1, 14, 14}, 0, 0, {0}, {0},
     {1, 14, 14}, 0,  WN_F32, WN_F32, WN_NONE, WN_PREC_F32, 0, 0, 1,   0},
    {1,   13, 17,     384,    3,       {3, 3, 3},    1, 1, {1, 1}, {1, 1},
     {0}, 0,  WN_F32, WN_F32, WN_NONE, WN_PREC_F32X, 1, 0, 0,      CK_TIGHT},
    {2,   40, 66,      12,         20,      {3, 3, 3},    2, 0, {1, 1}, {1, 1},
     {0}, 0,  WN_BF16, WN_F8_E4M3, WN_BF16, WN_PREC_BF16, 1, 1, 0,      0},
};
enum { N_CONV = sizeof conv_table / sizeof *conv_table, N_CONV_RANDOM = 160 };

static struct conv conv_random(struct ck_rng *r)
{
    struct conv s = {.T = CK_PICK(r, 1, 1, 2, 3, 5),
                     .H = CK_PICK(r, 1, 2, 3, 5, 8, 11, 17),
                     .W = CK_PICK(r, 1, 2, 4, 7, 9, 16, 19, 35),
                     .Ci = CK_PICK(r, 1, 2, 3, 5, 8, 12, 16, 17, 31, 32, 33, 48, 64, 67, 96, 320),
                     .Co = CK_PICK(r, 1, 2, 3, 4, 8, 13, 16, 17, 32, 33, 50),
                     .Tc = CK_PICK(r, 0, 0, 1, 2),
                     .pad_front = (int)ck_below(r, 3),
                     .upsample = (int)CK_PICK(r, 0, 1, 1, 2),
                     .x = ck_act_type(r),
                     .w = ck_weight_type(r),
                     .out = (enum wn_dtype)CK_PICK(r, WN_NONE, WN_F32, WN_BF16),
                     .prec = (enum wn_precision)(WN_PREC_F32 + ck_below(r, 3)),
                     .b = ck_chance(r, 60),
                     .add = ck_chance(r, 35),
                     .align = ck_align(r)};
    if (s.Ci >= 64) { /* many channels, few positions, among them rows that are cut into blocks */
        s.T = s.T < 2 ? s.T : 2;
        s.H = s.H < 3 ? s.H : 3;
        s.W = CK_PICK(r, 1, 7, 16, 35, 70, 131);
    }
    for (int i = 0; i < 3; i++) {
        s.k[i] = CK_PICK(r, 1, 1, 2, 3, 3, 3, 4, 5);
        s.stride[i] = (int)CK_PICK(r, 0, 1, 1, 1, 2, 3);
    }
    for (int i = 0; i < 2; i++) {
        s.pad_h[i] = (int)ck_below(r, 3);
        s.pad_w[i] = (int)ck_below(r, 3);
    }
    int64_t up = s.upsample == 2 ? 2 : 1;
    int64_t in[3] = {s.pad_front + s.Tc + s.T, s.pad_h[0] + s.H * up + s.pad_h[1],
                     s.pad_w[0] + s.W * up + s.pad_w[1]};
    for (int i = 0; i < 3; i++) s.k[i] = s.k[i] < in[i] ? s.k[i] : in[i];
    s.flat = s.k[0] == 1 && ck_chance(r, 50);
    return s;
}

static void conv_build(struct ck_case *c, struct conv s)
{
    struct ck_rng *r = &c->rng;
    ck_text(c,
            "%lldx%lldx%lldx%lld -> %lld k=%lldx%lldx%lld cache=%lld front=%d pad=%d,%d,%d,%d "
            "stride=%d,%d,%d up=%d "
            "%s x, %s w @%d, %s%s%s",
            (long long)s.T, (long long)s.H, (long long)s.W, (long long)s.Ci, (long long)s.Co,
            (long long)s.k[0], (long long)s.k[1], (long long)s.k[2], (long long)s.Tc, s.pad_front, s.pad_h[0],
            s.pad_h[1], s.pad_w[0], s.pad_w[1], s.stride[0], s.stride[1], s.stride[2], s.upsample,
            wn_dtype_name(s.x), wn_dtype_name(s.w), s.align, ck_precision_name(s.prec), s.b ? " bias" : "",
            s.add ? " add" : "");
    c->precision = s.prec;
    struct wn_conv_args *a = &c->args.conv;
    *a = (struct wn_conv_args){.pad_front = s.pad_front,
                               .pad_h = {s.pad_h[0], s.pad_h[1]},
                               .pad_w = {s.pad_w[0], s.pad_w[1]},
                               .stride = {s.stride[0], s.stride[1], s.stride[2]},
                               .upsample = s.upsample,
                               .out_type = s.out,
                               .precision = s.prec};
    int64_t volume = s.k[0] * s.k[1] * s.k[2], up = s.upsample == 2 ? 2 : 1, o[3];
    int64_t in[3] = {s.pad_front + s.Tc + s.T, s.pad_h[0] + s.H * up + s.pad_h[1],
                     s.pad_w[0] + s.W * up + s.pad_w[1]};
    for (int i = 0; i < 3; i++) o[i] = (in[i] - s.k[i]) / (s.stride[i] ? s.stride[i] : 1) + 1;
    c->flops = 2.0 * (double)(o[0] * o[1] * o[2]) * (double)(s.Co * s.Ci * volume);
    double w_size = 1 / sqrt((double)(s.Ci * volume));
    ck_input(c, CONV(x), wn_shape_of(s.x, s.T, s.H, s.W, s.Ci), ck_place(r), 0, 1);
    if (s.Tc) ck_input(c, CONV(cache), wn_shape_of(s.x, s.Tc, s.H, s.W, s.Ci), ck_place(r), 0, 1);
    struct wn_tensor w = s.flat ? wn_shape_of(s.w, s.Co, s.Ci, s.k[1], s.k[2])
                                : wn_shape_of(s.w, s.Co, s.Ci, s.k[0], s.k[1], s.k[2]);
    ck_input(c, CONV(w), w, CK_MAPPED, s.align, w_size < 0.05 ? 0.05 : w_size);
    if (s.b) ck_input(c, CONV(b), wn_shape_of(s.w, s.Co), CK_MAPPED, s.align, 0.5);
    if (s.add) {
        enum wn_dtype type = s.out ? s.out : WN_F32;
        ck_input(c, CONV(add), wn_shape_of(type, o[0], o[1], o[2], s.Co), ck_place(r), 0, 1)->consumed = true;
    }
}

static void conv_make(struct ck_case *c, int i)
{
    conv_build(c, i < N_CONV ? conv_table[i] : conv_random(&c->rng));
}

static bool conv_bound(const struct ck_case *c, const struct ck_env *env, double *tol)
{
    const size_t fields[] = {CONV(x), CONV(cache), CONV(w), CONV(b)};
    const struct ck_input *w = ck_find(c, CONV(w)), *add = ck_find(c, CONV(add));
    int64_t K = wn_n_elems(w->shape) / w->shape.dim[0];
    float *sum = wn_alloc_n((size_t)env->n, sizeof *sum);
    struct ck_case abs;
    if (!sum || !ck_absolute(&abs, c, fields, 4)) {
        wn_free(sum);
        return false;
    }
    abs.args.conv.out_type = WN_F32;
    bool ok = env->run_ref(&abs, sum, env->n);
    double unit = ck_sum_error(K) + ck_product_error(c->args.conv.precision, env, K) + 2 * CK_EPS;
    for (int64_t i = 0; i < env->n && ok; i++)
        tol[i] = unit * (double)sum[i] + (add ? 2 * CK_EPS * fabs(ck_value(add, i)) : 0);
    ck_release(&abs);
    wn_free(sum);
    return ok;
}

static const struct conv conv_bench[] = {
    {1,   240, 416,    96,     96,      {3, 3, 3},    2, 0, {1, 1}, {1, 1},
     {0}, 0,   WN_F32, WN_F32, WN_NONE, WN_PREC_F32X, 1, 1, 0,      0},
    {1,   240, 416,    96,     96,      {3, 3, 3},   2, 0, {1, 1}, {1, 1},
     {0}, 0,   WN_F32, WN_F32, WN_NONE, WN_PREC_F32, 1, 1, 0,      0},
    {1,   120, 208,    192,    192,     {3, 3, 3},    2, 0, {1, 1}, {1, 1},
     {0}, 0,   WN_F32, WN_F32, WN_NONE, WN_PREC_F32X, 1, 1, 0,      0},
    {1,   60, 104,    384,    384,     {3, 3, 3},    2, 0, {1, 1}, {1, 1},
     {0}, 0,  WN_F32, WN_F32, WN_NONE, WN_PREC_F32X, 1, 1, 0,      0},
    {1,   120, 208,    192,    96,      {1, 3, 3},    0, 0, {1, 1}, {1, 1},
     {0}, 2,   WN_F32, WN_F32, WN_NONE, WN_PREC_F32X, 1, 0, 0,      0},
};

static void conv_make_bench(struct ck_case *c, int i)
{
    conv_build(c, conv_bench[i]);
}

const struct ck_op ck_conv = {N_CONV + N_CONV_RANDOM, conv_make, conv_bound,
                              sizeof conv_bench / sizeof *conv_bench, conv_make_bench};
