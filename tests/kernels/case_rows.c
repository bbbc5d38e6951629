/* Cases of the operations on rows and elements. */
#include "check.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* ---- norm ---- */

struct norm {
    int64_t T, D;
    enum wn_norm_kind kind;
    enum wn_dtype x, w, out;
    enum wn_act act;
    bool weight, bias;
    int mod; /* 0: none, 1: one entry, 2: by index */
    double mean;
    int align;
};

#define NORM(f) offsetof(struct wn_norm_args, f)

static const struct norm norm_table[] = {
    {1, 1, WN_NORM_RMS, WN_F32, WN_F32, WN_NONE, WN_ACT_NONE, 0, 0, 0, 0, 0},
    {5, 1536, WN_NORM_LAYER, WN_F32, WN_F32, WN_BF16, WN_ACT_NONE, 0, 0, 2, 0, 0},
    {3, 5120, WN_NORM_LAYER, WN_F32, WN_BF16, WN_BF16, WN_ACT_NONE, 1, 1, 0, 0, 2},
    {4, 3072, WN_NORM_RMS, WN_BF16, WN_BF16, WN_BF16, WN_ACT_NONE, 1, 0, 0, 0, CK_TIGHT},
    {67, 96, WN_NORM_L2, WN_F32, WN_F32, WN_F32, WN_ACT_SILU, 1, 0, 0, 0, 0},
    {9, 4096, WN_NORM_RMS, WN_F32, WN_F32, WN_F32, WN_ACT_NONE, 1, 0, 0, 0, 1},
    {6, 1280, WN_NORM_LAYER, WN_F32, WN_F16, WN_F32, WN_ACT_GELU_ERF, 1, 1, 0, 50,
     0}, /* mean far from zero */
    {300, 384, WN_NORM_L2, WN_BF16, WN_F32, WN_BF16, WN_ACT_SILU, 1, 0, 0, 0, CK_TIGHT},
};
enum { N_NORM = sizeof norm_table / sizeof *norm_table, N_NORM_RANDOM = 120 };

static struct norm norm_random(struct ck_rng *r)
{
    return (struct norm){
        .T = CK_PICK(r, 1, 2, 3, 5, 17, 64, 131),
        .D = CK_PICK(r, 1, 2, 3, 5, 7, 8, 9, 15, 16, 31, 32, 33, 40, 63, 100, 257, 511, 513, 1029),
        .kind = (enum wn_norm_kind)ck_below(r, 3),
        .x = ck_act_type(r),
        .w = ck_weight_type(r),
        .out = (enum wn_dtype)CK_PICK(r, WN_NONE, WN_F32, WN_BF16),
        .act = (enum wn_act)ck_below(r, 4),
        .weight = ck_chance(r, 60),
        .bias = ck_chance(r, 40),
        .mod = (int)CK_PICK(r, 0, 0, 1, 2),
        .mean = ck_chance(r, 25) ? 3 : 0,
        .align = ck_align(r)};
}

static void norm_build(struct ck_case *c, struct norm s)
{
    static const char *const kind[] = {"layer", "rms", "l2"};
    struct ck_rng *r = &c->rng;
    ck_text(c, "T=%lld D=%lld %s %s x, %s w @%d, %s%s%s mod=%d", (long long)s.T, (long long)s.D, kind[s.kind],
            wn_dtype_name(s.x), wn_dtype_name(s.w), s.align, ck_act_name(s.act), s.weight ? " weight" : "",
            s.bias ? " bias" : "", s.mod);
    c->precision = ck_chance(r, 50) ? WN_PREC_BF16 : WN_PREC_F32;
    struct wn_norm_args *a = &c->args.norm;
    /* A row of one element has variance 0 and would be divided by sqrt(eps). */
    *a = (struct wn_norm_args){.kind = s.kind,
                               .eps = s.kind == WN_NORM_L2 ? 1e-12f
                                      : s.D < 4            ? 0.1f
                                                           : 1e-6f,
                               .act = s.act,
                               .out_type = s.out};
    c->flops = 8.0 * (double)(s.T * s.D);
    struct ck_input *x = ck_input(c, NORM(x), wn_shape_of(WN_F32, s.T, s.D), ck_place(r), 0, 1);
    for (int64_t i = 0; x->data && i < s.T * s.D; i++) ((float *)x->data)[i] += (float)s.mean;
    if (s.x == WN_BF16 && x->data) {
        uint16_t *to = x->data;
        for (int64_t i = 0; i < s.T * s.D; i++) to[i] = (uint16_t)(((uint32_t *)x->data)[i] >> 16);
        x->shape.type = WN_BF16;
    }
    if (s.weight) ck_input(c, NORM(weight), wn_shape_of(s.w, s.D), CK_MAPPED, s.align, 1);
    if (s.bias) ck_input(c, NORM(bias), wn_shape_of(s.w, s.D), CK_MAPPED, s.align, 1);
    if (!s.mod) return;
    int64_t rows = 2 + ck_below(r, 5), n = s.mod == 2 ? 3 : 1;
    a->shift_row = (int)ck_below(r, rows);
    a->scale_row = (int)ck_below(r, rows);
    ck_input(c, NORM(mod.table), wn_shape_of(WN_F32, n, rows, s.D), ck_place(r), 0, 1);
    if (s.mod == 2) ck_index(c, NORM(mod.index), s.T, n);
}

static void norm_make(struct ck_case *c, int i)
{
    norm_build(c, i < N_NORM ? norm_table[i] : norm_random(&c->rng));
}

/* The factor that normalises a row, its mean, and the mean of |x|. */
static double row_factor(const struct ck_case *c, const struct ck_input *x, int64_t t, int64_t D,
                         double *mean, double *abs_mean)
{
    const struct wn_norm_args *a = &c->args.norm;
    double sum = 0, abs_sum = 0, squares = 0;
    for (int64_t i = 0; i < D; i++) {
        sum += ck_value(x, t * D + i);
        abs_sum += fabs(ck_value(x, t * D + i));
    }
    *mean = a->kind == WN_NORM_LAYER ? sum / (double)D : 0;
    *abs_mean = a->kind == WN_NORM_LAYER ? abs_sum / (double)D : 0;
    for (int64_t i = 0; i < D; i++) squares += pow(ck_value(x, t * D + i) - *mean, 2);
    if (a->kind == WN_NORM_L2) return sqrt((double)D) / fmax(sqrt(squares), (double)a->eps);
    return 1 / sqrt(squares / (double)D + (double)a->eps);
}

/* Sums err by ck_sum_error of their magnitudes: the mean by that of mean |x|, the factor by half that,
 * relative. So a normalised value errs by that unit times (|x| + mean |x|) factor + |value|; weight, bias,
 * modulation carry magnitudes on, each with a rounding of its own (4 in all). */
static bool norm_bound(const struct ck_case *c, const struct ck_env *env, double *tol)
{
    const struct wn_norm_args *a = &c->args.norm;
    const struct ck_input *x = ck_find(c, NORM(x)), *w = ck_find(c, NORM(weight)),
                          *b = ck_find(c, NORM(bias));
    const struct ck_input *table = ck_find(c, NORM(mod.table)), *index = ck_find(c, NORM(mod.index));
    int64_t D = x->shape.dim[1], T = x->shape.dim[0], R = table ? table->shape.dim[1] : 0;
    double unit = (env->sums * ck_sum_error(D) + 4 * CK_EPS) * (a->act ? CK_ACT_SLOPE : 1) +
                  (a->act ? CK_ACT_ULPS * CK_EPS : 0);
    for (int64_t t = 0; t < T; t++) {
        int64_t first = (index ? ck_int(index, t) : 0) * R;
        double mean, abs_mean, factor = row_factor(c, x, t, D, &mean, &abs_mean);
        for (int64_t i = 0; i < D; i++) {
            double v = ck_value(x, t * D + i), size = (fabs(v) + abs_mean + fabs(v - mean)) * factor;
            if (w) size *= fabs(ck_value(w, i));
            if (b) size += fabs(ck_value(b, i));
            if (table)
                size = size * (1 + fabs(ck_value(table, (first + a->scale_row) * D + i))) +
                       fabs(ck_value(table, (first + a->shift_row) * D + i));
            tol[t * D + i] = unit * size;
        }
    }
    return true;
}

static const struct norm norm_bench[] = {
    {1560, 1536, WN_NORM_LAYER, WN_F32, WN_F32, WN_BF16, WN_ACT_NONE, 0, 0, 1, 0, 0},
    {1560, 5120, WN_NORM_LAYER, WN_F32, WN_F32, WN_BF16, WN_ACT_NONE, 0, 0, 1, 0, 0},
    {99840, 96, WN_NORM_L2, WN_F32, WN_F32, WN_F32, WN_ACT_SILU, 1, 0, 0, 0, 0},
    {24960, 384, WN_NORM_L2, WN_F32, WN_F32, WN_F32, WN_ACT_SILU, 1, 0, 0, 0, 0},
    {512, 4096, WN_NORM_RMS, WN_F32, WN_F32, WN_F32, WN_ACT_NONE, 1, 0, 0, 0, 0},
};

static void norm_make_bench(struct ck_case *c, int i)
{
    norm_build(c, norm_bench[i]);
}

const struct ck_op ck_norm = {N_NORM + N_NORM_RANDOM, norm_make, norm_bound,
                              sizeof norm_bench / sizeof *norm_bench, norm_make_bench};

/* ---- qk_norm_rope ---- */

struct qk {
    int64_t T, NH, HD, P; /* P 0: no rope */
    enum wn_dtype x, w, out;
    bool weight, index, flat;
    int align;
};

#define QK(f) offsetof(struct wn_qk_norm_rope_args, f)

static const struct qk qk_table[] = {
    {7, 12, 128, 7, WN_BF16, WN_BF16, WN_NONE, 1, 0, 1, 2},
    {5, 40, 128, 30, WN_BF16, WN_F32, WN_BF16, 1, 1, 0, 0},
    {9, 24, 128, 0, WN_BF16, WN_BF16, WN_BF16, 1, 0, 1, CK_TIGHT},
    {11, 12, 128, 4, WN_F32, WN_F32, WN_F32, 1, 0, 1, 0},
    {3, 1, 2, 2, WN_F32, WN_F32, WN_F32, 0, 0, 0, 0},
};
enum { N_QK = sizeof qk_table / sizeof *qk_table, N_QK_RANDOM = 80 };

static struct qk qk_random(struct ck_rng *r)
{
    return (struct qk){.T = CK_PICK(r, 1, 2, 3, 13, 33, 70),
                       .NH = CK_PICK(r, 1, 2, 3, 5, 8),
                       .HD = CK_PICK(r, 2, 4, 6, 8, 10, 16, 18, 32, 64, 78, 128),
                       .P = CK_PICK(r, 0, 1, 5, 40, 100),
                       .x = ck_act_type(r),
                       .w = ck_weight_type(r),
                       .out = (enum wn_dtype)CK_PICK(r, WN_NONE, WN_F32, WN_BF16),
                       .weight = ck_chance(r, 70),
                       .index = ck_chance(r, 50),
                       .flat = ck_chance(r, 50),
                       .align = ck_align(r)};
}

static void qk_build(struct ck_case *c, struct qk s)
{
    struct ck_rng *r = &c->rng;
    ck_text(c, "T=%lld NH=%lld HD=%lld P=%lld %s x, %s w @%d%s%s", (long long)s.T, (long long)s.NH,
            (long long)s.HD, (long long)s.P, wn_dtype_name(s.x), wn_dtype_name(s.w), s.align,
            s.weight ? " weight" : "", s.index ? " index" : "");
    c->precision = ck_chance(r, 50) ? WN_PREC_BF16 : WN_PREC_F32;
    c->args.qk_norm_rope =
        (struct wn_qk_norm_rope_args){.eps = 1e-6f, .n_heads = (int)s.NH, .out_type = s.out};
    c->flops = 8.0 * (double)(s.T * s.NH * s.HD);
    struct wn_tensor x = s.flat ? wn_shape_of(s.x, s.T, s.NH * s.HD) : wn_shape_of(s.x, s.T, s.NH, s.HD);
    ck_input(c, QK(x), x, ck_place(r), 0, 2);
    if (s.weight) ck_input(c, QK(weight), wn_shape_of(s.w, s.NH * s.HD), CK_MAPPED, s.align, 1);
    if (!s.P) return;
    ck_input(c, QK(rope), wn_shape_of(WN_F32, s.P, s.HD), ck_place(r), 0, 0.7);
    if (s.index) ck_index(c, QK(index), s.T, s.P);
}

static void qk_make(struct ck_case *c, int i)
{
    qk_build(c, i < N_QK ? qk_table[i] : qk_random(&c->rng));
}

/* As norm: the factor errs by half of ck_sum_error, then weight, two products and their sum round: 5 units of
 * |a c| + |b s|. */
static bool qk_bound(const struct ck_case *c, const struct ck_env *env, double *tol)
{
    const struct wn_qk_norm_rope_args *a = &c->args.qk_norm_rope;
    const struct ck_input *x = ck_find(c, QK(x)), *w = ck_find(c, QK(weight)), *rope = ck_find(c, QK(rope));
    const struct ck_input *index = ck_find(c, QK(index));
    int64_t T = x->shape.dim[0], W = env->n / T, HD = W / a->n_heads;
    double unit = (w ? env->sums * ck_sum_error(W) : 0) + 5 * CK_EPS;
    for (int64_t t = 0; t < T; t++) {
        double squares = 0;
        for (int64_t i = 0; i < W; i++) squares += pow(ck_value(x, t * W + i), 2);
        double factor = w ? 1 / sqrt(squares / (double)W + (double)a->eps) : 1;
        int64_t p = rope ? (index ? ck_int(index, t) : t % rope->shape.dim[0]) : 0;
        for (int64_t i = 0; i < W; i++) {
            int64_t j = i ^ 1; /* the other of the pair */
            double y = factor * fabs(ck_value(x, t * W + i)) * (w ? fabs(ck_value(w, i)) : 1), z = 0;
            if (rope) {
                z = factor * fabs(ck_value(x, t * W + j)) * (w ? fabs(ck_value(w, j)) : 1);
                y *= fabs(ck_value(rope, p * HD + (i % HD & ~(int64_t)1)));
                z *= fabs(ck_value(rope, p * HD + (i % HD | 1)));
            }
            tol[t * W + i] = unit * (y + z);
        }
    }
    return true;
}

static const struct qk qk_bench[] = {
    {1560, 12, 128, 1560, WN_BF16, WN_BF16, WN_BF16, 1, 0, 1, 0},
    {1560, 40, 128, 1560, WN_BF16, WN_BF16, WN_BF16, 1, 0, 1, 0},
};

static void qk_make_bench(struct ck_case *c, int i)
{
    qk_build(c, qk_bench[i]);
}

const struct ck_op ck_qk_norm_rope = {N_QK + N_QK_RANDOM, qk_make, qk_bound,
                                      sizeof qk_bench / sizeof *qk_bench, qk_make_bench};

/* ---- unary ---- */

#define UNARY(f) offsetof(struct wn_unary_args, f)

static const enum wn_dtype float_type[] = {WN_F32, WN_BF16, WN_F16, WN_F8_E4M3, WN_F8_E5M2, WN_F64};
enum { N_FLOATS = 6, N_UNARY = N_FLOATS * N_FLOATS * 6 };

static void unary_build(struct ck_case *c, int64_t n, enum wn_dtype x, enum wn_dtype out, enum wn_act act)
{
    ck_text(c, "n=%lld %s -> %s %s", (long long)n, wn_dtype_name(x), wn_dtype_name(out), ck_act_name(act));
    c->args.unary = (struct wn_unary_args){.act = act, .out_type = out};
    c->flops = (double)n;
    /* From F64 two roundings may differ from one; everything else has one right answer. */
    c->exact = act == WN_ACT_NONE && (x != WN_F64 || out == WN_F64);
    struct ck_input *in = ck_input(c, UNARY(x), wn_shape_of(x, n), ck_place(&c->rng), 0, 2);
    if (x != WN_F32 || !in->data) return;
    /* Halfway between two BF16 numbers, with an even and an odd one below; and what lies at the ends. */
    uint32_t *u = in->data;
    for (int64_t i = 0; i < n; i += 3) u[i] = (u[i] & 0xffff0000) | 0x8000;
    const uint32_t ends[] = {0x80000000, 0x7f800000, 0xff7fffff, 0x00000001, 0x3f807fff, 0x3f808001};
    for (size_t i = 0; i < sizeof ends / sizeof *ends && c->exact && n > 30; i++) u[4 * i + 1] = ends[i];
}

/* Every pair of types: plain conversion at three lengths, then each activation. */
static void unary_make(struct ck_case *c, int i)
{
    const int64_t n[] = {9, 33, 20011};
    int group = i / N_FLOATS / N_FLOATS;
    unary_build(c, group < 3 ? n[group] : CK_PICK(&c->rng, 1, 2, 7, 8, 9, 31, 513, 1000, 20011),
                float_type[i % N_FLOATS], float_type[i / N_FLOATS % N_FLOATS],
                group < 3 ? WN_ACT_NONE : (enum wn_act)(group - 2));
}

static bool unary_bound(const struct ck_case *c, const struct ck_env *env, double *tol)
{
    const struct ck_input *x = ck_find(c, UNARY(x));
    for (int64_t i = 0; i < env->n; i++) tol[i] = CK_ACT_ULPS * CK_EPS * fabs(ck_value(x, i));
    return true;
}

static void unary_make_bench(struct ck_case *c, int i)
{
    static const enum wn_act act[] = {WN_ACT_NONE, WN_ACT_SILU, WN_ACT_GELU_TANH, WN_ACT_GELU_ERF};
    unary_build(c, 1 << 22, WN_F32, i ? WN_F32 : WN_BF16, act[i]);
}

const struct ck_op ck_unary = {N_UNARY, unary_make, unary_bound, 4, unary_make_bench};

/* ---- binary ---- */

#define BINARY(f) offsetof(struct wn_binary_args, f)
enum { N_BINARY = N_FLOATS * N_FLOATS * 3 };

static void binary_build(struct ck_case *c, int64_t rows, int64_t n, enum wn_dtype a, enum wn_dtype b,
                         enum wn_dtype out, enum wn_binary_kind kind)
{
    static const char *const name[] = {"add", "sub", "mul"};
    ck_text(c, "%s [%lld, %lld] %s, %s -> %s", name[kind], (long long)rows, (long long)n, wn_dtype_name(a),
            wn_dtype_name(b), wn_dtype_name(out));
    c->args.binary = (struct wn_binary_args){.kind = kind, .out_type = out};
    c->flops = (double)(rows * n);
    ck_input(c, BINARY(a), wn_shape_of(a, rows, n), ck_place(&c->rng), 0, 1);
    ck_input(c, BINARY(b), wn_shape_of(b, n), ck_place(&c->rng), 0, 1);
}

static void binary_make(struct ck_case *c, int i)
{
    struct ck_rng *r = &c->rng;
    int64_t n = CK_PICK(r, 1, 2, 3, 7, 8, 17, 64, 96, 511, 512, 700, 1537), rows = CK_PICK(r, 1, 1, 2, 5, 40);
    if (n <= 8 && ck_chance(r, 50)) rows = 7013;
    binary_build(c, rows, n, float_type[i % N_FLOATS], float_type[i / N_FLOATS % N_FLOATS],
                 (enum wn_dtype)CK_PICK(r, WN_NONE, WN_F32, WN_BF16),
                 (enum wn_binary_kind)(i / N_FLOATS / N_FLOATS));
}

/* Each operand rounds to float32 (F64 only), then the result. */
static bool binary_bound(const struct ck_case *c, const struct ck_env *env, double *tol)
{
    const struct ck_input *a = ck_find(c, BINARY(a)), *b = ck_find(c, BINARY(b));
    int64_t n = wn_n_elems(b->shape);
    for (int64_t i = 0; i < env->n; i++) {
        double x = fabs(ck_value(a, i)), y = fabs(ck_value(b, i % n));
        tol[i] = 3 * CK_EPS * (c->args.binary.kind == WN_MUL ? x * y : x + y);
    }
    return true;
}

static void binary_make_bench(struct ck_case *c, int i)
{
    binary_build(c, 1560, 1536, WN_F32, i ? WN_BF16 : WN_F32, WN_F32, WN_ADD);
}

const struct ck_op ck_binary = {N_BINARY, binary_make, binary_bound, 2, binary_make_bench};

/* ---- concat ---- */

#define CONCAT(f) offsetof(struct wn_concat_args, f)
enum { N_CONCAT = (WN_DTYPE_COUNT - 1) * 3 };

/* Only bits are copied, so integers may hold the bits of floats. */
static struct ck_input *bits(struct ck_case *c, size_t field, struct wn_tensor shape)
{
    enum wn_dtype type = shape.type;
    static const enum wn_dtype same_size[] = {[1] = WN_F8_E5M2, [2] = WN_BF16, [4] = WN_F32, [8] = WN_F64};
    shape.type = same_size[wn_dtype_size(type)];
    struct ck_input *in = ck_input(c, field, shape, ck_place(&c->rng), 0, 1);
    in->shape.type = type;
    return in;
}

static void concat_build(struct ck_case *c, enum wn_dtype type, int64_t a, int64_t b, int64_t n)
{
    ck_text(c, "%s [%lld + %lld, 3, %lld]", wn_dtype_name(type), (long long)a, (long long)b, (long long)n);
    c->exact = true;
    bits(c, CONCAT(a), wn_shape_of(type, a, 3, n));
    bits(c, CONCAT(b), wn_shape_of(type, b, 3, n));
}

static void concat_make(struct ck_case *c, int i)
{
    struct ck_rng *r = &c->rng;
    concat_build(c, (enum wn_dtype)(1 + i / 3), CK_PICK(r, 0, 1, 2, 7), CK_PICK(r, 1, 3, 40),
                 CK_PICK(r, 1, 5, 37, 5003));
}

static void concat_make_bench(struct ck_case *c, int i)
{
    concat_build(c, WN_F32, 1 + i, 1, 1 << 20);
}

const struct ck_op ck_concat = {N_CONCAT, concat_make, NULL, 1, concat_make_bench};

/* ---- gather ---- */

#define GATHER(f) offsetof(struct wn_gather_args, f)
enum { N_GATHER = 60 };

static void gather_build(struct ck_case *c, int64_t V, int64_t D, int64_t n, enum wn_dtype table,
                         enum wn_dtype out)
{
    ck_text(c, "V=%lld D=%lld n=%lld %s -> %s", (long long)V, (long long)D, (long long)n,
            wn_dtype_name(table), wn_dtype_name(out));
    c->args.gather.out_type = out;
    c->exact = table != WN_F64;
    c->bytes = (double)(n * D) * (double)wn_dtype_size(table);
    ck_input(c, GATHER(table), wn_shape_of(table, V, D), CK_MAPPED, ck_align(&c->rng), 1);
    ck_index(c, GATHER(index), n, V);
}

static void gather_make(struct ck_case *c, int i)
{
    struct ck_rng *r = &c->rng;
    gather_build(c, CK_PICK(r, 1, 2, 11, 300), CK_PICK(r, 1, 3, 8, 33, 64, 1025), CK_PICK(r, 1, 2, 13, 512),
                 float_type[i % N_FLOATS], (enum wn_dtype)CK_PICK(r, WN_NONE, WN_F32, WN_BF16));
}

static bool gather_bound(const struct ck_case *c, const struct ck_env *env, double *tol)
{
    (void)c;
    for (int64_t i = 0; i < env->n; i++) tol[i] = CK_EPS * fabs((double)env->y[i]);
    return true;
}

static void gather_make_bench(struct ck_case *c, int i)
{
    gather_build(c, 4096, 4096, 512, i ? WN_F32 : WN_BF16, WN_F32);
}

const struct ck_op ck_gather = {N_GATHER, gather_make, gather_bound, 2, gather_make_bench};

/* ---- permute ---- */

#define PERMUTE(f) offsetof(struct wn_permute_args, f)
enum { N_PERMUTE = 150 };

static void permute_build(struct ck_case *c, struct wn_tensor shape, const int *axis, enum wn_dtype out)
{
    char text[WN_SHAPE_TEXT];
    ck_text(c, "%s -> %s axes", wn_shape_text(shape, text), wn_dtype_name(out));
    c->exact = true;
    c->args.permute.out_type = out;
    for (int i = 0; i < shape.n_dims; i++) {
        c->args.permute.axis[i] = axis[i];
        ck_text(c, " %d", axis[i]);
    }
    bits(c, PERMUTE(x), shape);
}

static void permute_make(struct ck_case *c, int i)
{
    struct ck_rng *r = &c->rng;
    struct wn_tensor shape = {.n_dims = 1 + (int)ck_below(r, 6)};
    int axis[WN_MAX_DIMS];
    int64_t n = 1;
    for (int d = 0; d < shape.n_dims; d++) {
        shape.dim[d] = CK_PICK(r, 1, 2, 3, 4, 7, 16, 31, 33, 65, 130);
        if (n * shape.dim[d] > 200000) shape.dim[d] = 2;
        n *= shape.dim[d];
        axis[d] = d;
    }
    for (int d = shape.n_dims - 1; d > 0; d--) {
        int e = (int)ck_below(r, d + 1), t = axis[d];
        axis[d] = axis[e];
        axis[e] = t;
    }
    shape.type = (enum wn_dtype)(1 + i % (WN_DTYPE_COUNT - 1));
    enum wn_dtype out = WN_NONE;
    if (i % 5 == 0) {
        shape.type = ck_act_type(r);
        out = ck_act_type(r);
    }
    permute_build(c, shape, axis, out);
}

static void permute_make_bench(struct ck_case *c, int i)
{
    static const int swap[] = {1, 0}, frames[] = {0, 2, 1, 3};
    if (i == 0)
        permute_build(c, wn_shape_of(WN_F32, 1560, 1536), swap, WN_NONE);
    else
        permute_build(c, wn_shape_of(WN_F32, 2, 60 * 104, 2, 384), frames, WN_NONE);
}

const struct ck_op ck_permute = {N_PERMUTE, permute_make, NULL, 2, permute_make_bench};
