/* Cases of attention. */
#include "check.h"

#include <math.h>
#include <stddef.h>

#include "base/mem.h"

struct attention {
    int n_seg;
    int64_t lq[CK_MAX_SEGS], lk[CK_MAX_SEGS], NH, HD;
    bool causal, windowed;
    int64_t left, right;
    bool log_weight, rel_bias, other_scale;
    enum wn_dtype type, out;
    enum wn_precision prec;
};

#define ATTENTION(f) offsetof(struct wn_attention_args, f)

/* Self and cross attention of the transformers, one VAE frame, T5 with its bias, and the edges of segments.
 */
static const struct attention attention_table[] = {
    {1, {1}, {1}, 1, 2, 0, 0, 0, 0, 0, 0, 0, WN_F32, WN_NONE, WN_PREC_F32},
    {1, {195}, {195}, 3, 128, 0, 0, 0, 0, 0, 0, 0, WN_BF16, WN_NONE, WN_PREC_BF16},
    {2, {130, 130}, {23, 130}, 2, 128, 0, 0, 0, 0, 1, 0, 0, WN_BF16, WN_NONE, WN_PREC_BF16},
    {2, {99, 101}, {99, 101}, 1, 384, 0, 0, 0, 0, 0, 0, 0, WN_F32, WN_NONE, WN_PREC_F32X},
    {1, {67}, {67}, 4, 64, 0, 0, 0, 0, 0, 1, 1, WN_F32, WN_NONE, WN_PREC_F32X},
    {1, {67}, {67}, 4, 64, 0, 0, 0, 0, 0, 1, 1, WN_F32, WN_NONE, WN_PREC_F32},
    {4, {5, 0, 7, 3}, {3, 6, 0, 9}, 2, 32, 0, 0, 0, 0, 0, 0, 0, WN_F32, WN_NONE, WN_PREC_F32},
    {1, {20}, {9}, 1, 16, 1, 0, 0, 0, 0, 0, 0, WN_F32, WN_NONE, WN_PREC_F32}, /* first rows see nothing */
    {1, {9}, {140}, 2, 64, 1, 0, 0, 0, 0, 0, 0, WN_BF16, WN_F32, WN_PREC_BF16},
    {1, {150}, {150}, 2, 32, 0, 1, 5, 0, 0, 0, 0, WN_F32, WN_NONE, WN_PREC_F32},
    {1, {150}, {150}, 2, 32, 1, 1, 70, -1, 1, 1, 0, WN_F32, WN_BF16, WN_PREC_BF16},
    {1, {3}, {515}, 2, 128, 0, 0, 0, 0, 1, 0, 0, WN_F32, WN_NONE, WN_PREC_F32},
    /* keys in several blocks: the sums so far are scaled when a larger logit comes */
    {1, {5}, {1300}, 2, 64, 0, 0, 0, 0, 0, 0, 1, WN_F32, WN_NONE, WN_PREC_F32},
    {2, {70, 3}, {1031, 777}, 1, 128, 0, 0, 0, 0, 1, 0, 1, WN_BF16, WN_F32, WN_PREC_BF16},
    {1, {601}, {601}, 1, 40, 1, 0, 0, 0, 0, 0, 1, WN_F32, WN_NONE, WN_PREC_F32X},
    {1, {37}, {1999}, 1, 16, 0, 1, 900, 0, 0, 1, 0, WN_F32, WN_NONE, WN_PREC_F32},
    {1, {1200}, {1200}, 1, 8, 1, 1, 1000, -1, 1, 1, 1, WN_BF16, WN_F32, WN_PREC_BF16},
};
enum { N_ATTENTION = sizeof attention_table / sizeof *attention_table, N_ATTENTION_RANDOM = 130 };

static struct attention attention_random(struct ck_rng *r)
{
    struct attention s = {.n_seg = (int)CK_PICK(r, 1, 1, 1, 2, 3, 5),
                          .NH = CK_PICK(r, 1, 1, 2, 3, 5),
                          .HD = CK_PICK(r, 1, 2, 8, 12, 16, 20, 32, 40, 64, 72, 80, 128, 130),
                          .causal = ck_chance(r, 30),
                          .windowed = ck_chance(r, 30),
                          .left = CK_PICK(r, -1, 0, 1, 4, 17, 90),
                          .right = CK_PICK(r, -1, 0, 1, 3, 20, 80),
                          .log_weight = ck_chance(r, 30),
                          .rel_bias = ck_chance(r, 30),
                          .other_scale = ck_chance(r, 30),
                          .type = ck_act_type(r),
                          .out = (enum wn_dtype)CK_PICK(r, WN_NONE, WN_NONE, WN_F32, WN_BF16),
                          .prec = (enum wn_precision)(WN_PREC_F32 + ck_below(r, 3))};
    for (int i = 0; i < s.n_seg; i++) {
        s.lq[i] = CK_PICK(r, 0, 1, 2, 5, 8, 13, 16, 33, 64, 70, 129);
        s.lk[i] = CK_PICK(r, 0, 1, 3, 7, 8, 15, 16, 32, 37, 64, 65, 131, 200, 530, 1050);
        if (ck_chance(r, 40)) s.lk[i] = s.lq[i];
    }
    if (!s.lq[0]) s.lq[0] = 4;
    if (!s.lk[s.n_seg - 1]) s.lk[s.n_seg - 1] = 9;
    return s;
}

static void attention_build(struct ck_case *c, struct attention s)
{
    struct ck_rng *r = &c->rng;
    int64_t longest = 1;
    ck_text(c, "NH=%lld HD=%lld", (long long)s.NH, (long long)s.HD);
    for (int i = 0; i < s.n_seg; i++) {
        c->q_seg[i + 1] = c->q_seg[i] + s.lq[i];
        c->k_seg[i + 1] = c->k_seg[i] + s.lk[i];
        longest = longest < s.lq[i] ? s.lq[i] : longest;
        longest = longest < s.lk[i] ? s.lk[i] : longest;
        c->flops += 4.0 * (double)(s.lq[i] * s.lk[i]) * (double)(s.NH * s.HD);
        ck_text(c, " %lldx%lld", (long long)s.lq[i], (long long)s.lk[i]);
    }
    ck_text(c, "%s", s.causal ? " causal" : "");
    if (s.windowed) ck_text(c, " window=%lld,%lld", (long long)s.left, (long long)s.right);
    ck_text(c, "%s%s %s, %s", s.log_weight ? " log-weights" : "", s.rel_bias ? " bias" : "",
            wn_dtype_name(s.type), ck_precision_name(s.prec));
    c->precision = s.prec;
    c->args.attention = (struct wn_attention_args){.scale = s.other_scale ? 0.3f : 0,
                                                   .causal = s.causal,
                                                   .windowed = s.windowed,
                                                   .window_left = s.left,
                                                   .window_right = s.right,
                                                   .n_seg = s.n_seg,
                                                   .out_type = s.out,
                                                   .precision = s.prec};
    int64_t Tq = c->q_seg[s.n_seg], Tk = c->k_seg[s.n_seg];
    ck_input(c, ATTENTION(q), wn_shape_of(s.type, Tq, s.NH, s.HD), ck_place(r), 0, 1);
    ck_input(c, ATTENTION(k), wn_shape_of(s.type, Tk, s.NH, s.HD), ck_place(r), 0, 1);
    ck_input(c, ATTENTION(v), wn_shape_of(s.type, Tk, s.NH, s.HD), ck_place(r), 0, 1);
    if (s.log_weight) {
        struct ck_input *lw =
            ck_input(c, ATTENTION(key_log_weight), wn_shape_of(WN_F32, Tk), ck_place(r), 0, 1);
        /* Some keys count no times at all; the last of a segment stays, as nobody asks what remains of none.
         */
        for (int64_t j = 0; j + 1 < Tk && lw->data; j += 3 + ck_below(r, 11)) {
            bool last = false;
            for (int i = 0; i < s.n_seg; i++) last |= j + 1 == c->k_seg[i + 1];
            if (!last) ((float *)lw->data)[j] = -INFINITY;
        }
    }
    if (s.rel_bias) {
        int64_t R = longest + ck_below(r, 4);
        ck_input(c, ATTENTION(rel_bias), wn_shape_of(WN_F32, s.NH, 2 * R - 1), ck_place(r), 0, 1);
    }
}

static void attention_make(struct ck_case *c, int i)
{
    attention_build(c, i < N_ATTENTION ? attention_table[i] : attention_random(&c->rng));
}

/* Euclidean length of head h of row t. */
static double head_length(const struct ck_input *in, int64_t t, int64_t h)
{
    int64_t NH = in->shape.dim[1], HD = in->shape.dim[2];
    double sum = 0;
    for (int64_t d = 0; d < HD; d++) {
        double v = ck_value(in, (t * NH + h) * HD + d);
        sum += v * v;
    }
    return sqrt(sum);
}

static double largest(const struct ck_input *in)
{
    double most = 0;
    for (int64_t i = 0; in && i < wn_n_elems(in->shape); i++) {
        double v = fabs(ck_value(in, i));
        if (v < INFINITY && v > most) most = v;
    }
    return most;
}

static double longest_key(const struct ck_input *k, int64_t h)
{
    double most = 0;
    for (int64_t t = 0; t < k->shape.dim[0]; t++) most = fmax(most, head_length(k, t, h));
    return most;
}

/* A logit errs by e relative to scale sum |q||k| <= scale |q|_2 |k|_2 (Cauchy-Schwarz, the longest key); with
 * logits off by at most dl, each probability is off by a factor within exp(+-2 dl), so the output by
 * expm1(2 dl) sum p |v|, which ref computes from |v|. In BF16 the probabilities, operands of the second
 * product, may be rounded to bf16 (2^-8); F32X splits them in parts. */
static bool attention_bound(const struct ck_case *c, const struct ck_env *env, double *tol)
{
    const struct wn_attention_args *a = &c->args.attention;
    const struct ck_input *q = ck_find(c, ATTENTION(q)), *k = ck_find(c, ATTENTION(k)),
                          *v = ck_find(c, ATTENTION(v));
    int64_t NH = q->shape.dim[1], HD = q->shape.dim[2], Tk = k->shape.dim[0];
    float *sum = wn_alloc_n((size_t)env->n, sizeof *sum);
    struct ck_case abs = *c;
    struct ck_case only_v;
    const size_t field = ATTENTION(v);
    if (!sum || !ck_absolute(&only_v, c, &field, 1)) {
        wn_free(sum);
        return false;
    }
    for (int i = 0; i < abs.n_in; i++)
        if (abs.in[i].data == v->data) abs.in[i].data = only_v.in[0].data;
    abs.args.attention.out_type = WN_F32;
    bool ok = env->run_ref(&abs, sum, env->n);
    double scale = a->scale != 0 ? (double)a->scale : 1 / sqrt((double)HD);
    double added = largest(ck_find(c, ATTENTION(key_log_weight))) + largest(ck_find(c, ATTENTION(rel_bias)));
    double first = ck_sum_error(HD) + ck_product_error(a->precision, env, HD);
    double second = ck_sum_error(Tk) + CK_ACT_ULPS * CK_EPS + ck_product_error(a->precision, env, 1) +
                    (a->precision == WN_PREC_BF16 ? 0x1p-8 : 0);
    for (int64_t h = 0; h < NH && ok; h++) {
        double key = longest_key(k, h);
        for (int64_t t = 0; t < q->shape.dim[0]; t++) {
            double logit = scale * head_length(q, t, h) * key * 1.01; /* 1.01: rounding of q and k to bf16 */
            double dl = first * logit + 4 * CK_EPS * (logit + added);
            for (int64_t d = 0; d < HD; d++) {
                int64_t i = (t * NH + h) * HD + d;
                tol[i] = (expm1(2 * dl) + second) * (double)sum[i];
            }
        }
    }
    ck_release(&only_v);
    wn_free(sum);
    return ok;
}

static const struct attention attention_bench[] = {
    {1, {1560}, {1560}, 24, 128, 0, 0, 0, 0, 0, 0, 0, WN_BF16, WN_NONE, WN_PREC_BF16},
    {1, {1560}, {1560}, 12, 128, 0, 0, 0, 0, 0, 0, 0, WN_BF16, WN_NONE, WN_PREC_BF16},
    {2, {1560, 1560}, {60, 120}, 12, 128, 0, 0, 0, 0, 1, 0, 0, WN_BF16, WN_NONE, WN_PREC_BF16},
    {1, {1560}, {1560}, 1, 384, 0, 0, 0, 0, 0, 0, 0, WN_F32, WN_NONE, WN_PREC_F32X},
    {1, {512}, {512}, 64, 64, 0, 0, 0, 0, 0, 1, 1, WN_F32, WN_NONE, WN_PREC_F32X},
};

static void attention_make_bench(struct ck_case *c, int i)
{
    attention_build(c, attention_bench[i]);
}

const struct ck_op ck_attention = {N_ATTENTION + N_ATTENTION_RANDOM, attention_make, attention_bound,
                                   sizeof attention_bench / sizeof *attention_bench, attention_make_bench};
