/* Row functions in the compilers' vector types: one body that every leaf file compiles with its own
 * instruction set. The including file may first define WN_LANES, the floats of a vector (4, 8 or 16),
 * WN_MADD(a, b, c) as a fused a * b + c, and WN_WIDEN_F16(p), a vector of the F16 values at p.
 */
#ifndef WN_CPU_LEAF_ROW_H
#define WN_CPU_LEAF_ROW_H

#include <math.h>
#include <string.h>

#include "backend/cpu/leaf.h"
#include "base/half.h"

#ifndef WN_LANES
#define WN_LANES 8
#endif
typedef float vf __attribute__((vector_size(4 * WN_LANES)));
typedef int32_t vi __attribute__((vector_size(4 * WN_LANES)));
typedef uint32_t vu __attribute__((vector_size(4 * WN_LANES)));
typedef uint16_t vh __attribute__((vector_size(2 * WN_LANES)));

#ifndef WN_MADD
#define WN_MADD(a, b, c) ((a) * (b) + (c))
#endif
#define WN_INLINE static inline __attribute__((always_inline))

WN_INLINE vf v_set(float x)
{
#if WN_LANES == 16
    return (vf){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
#elif WN_LANES == 8
    return (vf){x, x, x, x, x, x, x, x};
#else
    return (vf){x, x, x, x};
#endif
}

/* Which lanes come before `n`. */
WN_INLINE vi v_before(int64_t n)
{
    const int32_t m = (int32_t)n;
#if WN_LANES == 16
    const vi lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return lane < (vi){m, m, m, m, m, m, m, m, m, m, m, m, m, m, m, m};
#elif WN_LANES == 8
    const vi lane = {0, 1, 2, 3, 4, 5, 6, 7};
    return lane < (vi){m, m, m, m, m, m, m, m};
#else
    const vi lane = {0, 1, 2, 3};
    return lane < (vi){m, m, m, m};
#endif
}

WN_INLINE vf v_pick(vi mask, vf yes, vf no)
{
    return (vf)((mask & (vi)yes) | (~mask & (vi)no));
}

WN_INLINE vf v_load(const void *p)
{
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}

WN_INLINE void v_store(void *p, vf v)
{
    memcpy(p, &v, sizeof v);
}

WN_INLINE vf v_widen_bf16(vh h)
{
    return (vf)(__builtin_convertvector(h, vu) << 16);
}

/* Nearest, ties to even; NaN stays NaN. The result sits in the low halves. */
WN_INLINE vu v_narrow_bf16(vf v)
{
    vu u = (vu)v;
    vu r = (u + 0x7fff + (u >> 16 & 1)) >> 16;
    vu nan = (vu)((u & 0x7fffffff) > 0x7f800000);
    return (nan & (u >> 16 | 0x40)) | (~nan & r);
}

WN_INLINE vf v_round_bf16(vf v)
{
    return (vf)(v_narrow_bf16(v) << 16);
}

/* n <= WN_LANES elements of F32 or BF16; zeros after them. */
WN_INLINE vf v_load_n(const void *p, enum wn_dtype type, int64_t n)
{
    if (type == WN_BF16) {
        vh h = {0};
        if (n == WN_LANES)
            memcpy(&h, p, sizeof h);
        else
            memcpy(&h, p, (size_t)(n & (WN_LANES - 1)) * 2);
        return v_widen_bf16(h);
    }
    vf v = {0};
    if (n == WN_LANES) return v_load(p);
    memcpy(&v, p, (size_t)(n & (WN_LANES - 1)) * 4);
    return v;
}

WN_INLINE void v_store_n(void *p, vf v, enum wn_dtype type, int64_t n)
{
    if (type == WN_BF16) {
        vh h = __builtin_convertvector(v_narrow_bf16(v), vh);
        if (n == WN_LANES)
            memcpy(p, &h, sizeof h);
        else
            memcpy(p, &h, (size_t)(n & (WN_LANES - 1)) * 2);
    } else if (n == WN_LANES) {
        v_store(p, v);
    } else {
        memcpy(p, &v, (size_t)(n & (WN_LANES - 1)) * 4);
    }
}

/* exp to about 1 ulp. With n the integer nearest to x / ln 2, exp(x) = 2^n exp(r), |r| <= ln(2) / 2, and the
 * Taylor series of degree 7 leaves r^8 / 8! < 6e-9. Adding 1.5 * 2^23 rounds to integer and leaves n in the
 * low bits. ln 2 is split so that n * hi is exact. Arguments below -87.3 give 0; NaN stays NaN. */
WN_INLINE vf v_exp(vf x)
{
    const vf low = v_set(-87.3f), high = v_set(88.3f), magic = v_set(12582912.0f);
    vi tiny = x < low;
    x = v_pick(tiny, low, x);
    x = v_pick(x > high, high, x);
    vf z = WN_MADD(x, v_set(1.44269504f), magic);
    vf n = z - magic;
    vf r = WN_MADD(n, v_set(-0.693359375f), x);
    r = WN_MADD(n, v_set(2.12194440e-4f), r);
    vf p = WN_MADD(r, v_set(1.0f / 5040), v_set(1.0f / 720));
    p = WN_MADD(p, r, v_set(1.0f / 120));
    p = WN_MADD(p, r, v_set(1.0f / 24));
    p = WN_MADD(p, r, v_set(1.0f / 6));
    p = WN_MADD(p, r, v_set(0.5f));
    p = WN_MADD(p, r, v_set(1.0f));
    p = WN_MADD(p, r, v_set(1.0f));
    vf pow2 = (vf)(((vi)z + 127) << 23);
    return v_pick(tiny, v_set(0), p * pow2);
}

/* 0.5 x erfc(-x / sqrt 2), to about 2e-6 relative. With z = |x| / sqrt 2 and t = 1 / (1 + z / 2), erfc(z) =
 * t exp(-z^2 + p(t)); p, fitted to log(erfcx(z) / t) at Chebyshev points, is within 6e-8 of it. */
WN_INLINE vf v_gelu_erf(vf x)
{
    static const float p[] = {0.153529317f,   -0.725516453f, 1.25648543f,  -0.821296484f, 0.0163284997f,
                              -0.0462219084f, 0.0493849898f, 0.383843937f, 0.998923327f,  -1.26546059f};
    const vf one = v_set(1), half = v_set(0.5f);
    vf z = (vf)((vi)x & 0x7fffffff) * v_set(0.70710678f);
    vf t = one / WN_MADD(z, half, one);
    vf sum = v_set(p[0]);
    for (int i = 1; i < 10; i++) sum = WN_MADD(sum, t, v_set(p[i]));
    vf e = half * t * v_exp(sum - z * z);
    return x * v_pick(x < v_set(0), e, one - e);
}

WN_INLINE vf v_act(vf x, enum wn_act act)
{
    const vf one = v_set(1);
    switch (act) {
    case WN_ACT_NONE: return x;
    case WN_ACT_SILU: return x / (one + v_exp(-x));
    case WN_ACT_GELU_TANH: {
        /* 0.5 (1 + tanh u) = 1 / (1 + exp(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3) */
        vf u2 = v_set(-1.595769122f) * x * WN_MADD(v_set(0.044715f) * x, x, one);
        return x / (one + v_exp(u2));
    }
    case WN_ACT_GELU_ERF: return v_gelu_erf(x);
    }
    return x;
}

WN_INLINE float v_sum(vf v)
{
    for (int n = WN_LANES / 2; n > 0; n /= 2)
        for (int i = 0; i < n; i++) v[i] += v[i + n];
    return v[0];
}

WN_INLINE float v_max(vf v)
{
    float m = v[0];
    for (int i = 1; i < WN_LANES; i++) m = v[i] > m ? v[i] : m;
    return m;
}

WN_INLINE int64_t wn_left(int64_t n, int64_t i, int64_t most)
{
    return n - i < most ? n - i : most;
}

static inline void row_to_f32(float *dst, const void *src, enum wn_dtype type, int64_t n)
{
    const uint8_t *s = src;
    int64_t i = 0;
    switch (type) {
    case WN_F32: memcpy(dst, s, (size_t)n * 4); return;
    case WN_BF16:
        for (; i + WN_LANES <= n; i += WN_LANES) v_store(dst + i, v_load_n(s + 2 * i, WN_BF16, WN_LANES));
        if (i < n) v_store_n(dst + i, v_load_n(s + 2 * i, WN_BF16, n - i), WN_F32, n - i);
        return;
    case WN_F16:
#if defined(WN_WIDEN_F16)
        for (; i + WN_LANES <= n; i += WN_LANES) v_store(dst + i, WN_WIDEN_F16(s + 2 * i));
#endif
        for (; i < n; i++) {
            uint16_t h;
            memcpy(&h, s + 2 * i, 2);
            dst[i] = wn_f16_f32(h);
        }
        return;
    case WN_F8_E4M3:
        for (; i < n; i++) dst[i] = wn_leaf_f8[0][s[i]];
        return;
    case WN_F8_E5M2:
        for (; i < n; i++) dst[i] = wn_leaf_f8[1][s[i]];
        return;
    case WN_F64:
        for (; i < n; i++) {
            double d;
            memcpy(&d, s + 8 * i, 8);
            dst[i] = (float)d;
        }
        return;
    default: memset(dst, 0, (size_t)n * 4);
    }
}

/* n <= WN_LANES elements of any float type, zeros after them. */
WN_INLINE vf load_any(const void *src, enum wn_dtype type, int64_t n)
{
    if (type == WN_F32 || type == WN_BF16) return v_load_n(src, type, n);
#if defined(WN_WIDEN_F16)
    if (type == WN_F16 && n == WN_LANES) return WN_WIDEN_F16(src);
#endif
    float x[WN_LANES] = {0};
    row_to_f32(x, src, type, n);
    return v_load(x);
}

static inline void row_round_bf16(float *x, int64_t n)
{
    int64_t i = 0;
    for (; i + WN_LANES <= n; i += WN_LANES) v_store(x + i, v_round_bf16(v_load(x + i)));
    if (i < n) v_store_n(x + i, v_round_bf16(v_load_n(x + i, WN_F32, n - i)), WN_F32, n - i);
}

static inline void row_scale(float *x, float by, int64_t n)
{
    vf b = v_set(by);
    int64_t i = 0;
    for (; i + WN_LANES <= n; i += WN_LANES) v_store(x + i, v_load(x + i) * b);
    if (i < n) v_store_n(x + i, v_load_n(x + i, WN_F32, n - i) * b, WN_F32, n - i);
}

WN_INLINE void end_v(const float *c, int64_t j, int64_t left, const struct wn_row_end *e)
{
    size_t mul_size = e->mul_type == WN_BF16 ? 2 : 4, add_size = e->add_type == WN_BF16 ? 2 : 4;
    vf v = v_load_n(c + j, WN_F32, left);
    if (e->bias) v += v_load_n(e->bias + j, WN_F32, left);
    v = v_act(v, e->act);
    if (e->mul) v *= v_load_n((const char *)e->mul + (size_t)j * mul_size, e->mul_type, left);
    if (e->gate) v *= v_load_n((const char *)e->gate + (size_t)j * 4, WN_F32, left);
    if (e->add) v += v_load_n((const char *)e->add + (size_t)j * add_size, e->add_type, left);
    v_store_n((char *)e->out + (size_t)j * (e->out_type == WN_BF16 ? 2 : 4), v, e->out_type, left);
}

static inline void row_end(const float *c, int64_t n, const struct wn_row_end *e)
{
    int64_t j = 0;
    for (; j + WN_LANES <= n; j += WN_LANES) end_v(c, j, WN_LANES, e);
    if (j < n) end_v(c, j, n - j, e);
}

/* Lanes past the first `left` become -inf. */
WN_INLINE vf v_mask_logits(vf v, int left)
{
    return v_pick(v_before(left), v, v_set(-INFINITY));
}

/* Logits of `left` keys from j, stored; the other lanes are -inf. */
WN_INLINE vf logits_v(float *s, int j, int left, const struct wn_softmax_row *r)
{
    vf v = v_load_n(s + j, WN_F32, left) * v_set(r->scale);
    if (r->log_weight) v += v_load_n((const char *)r->log_weight + (size_t)j * 4, WN_F32, left);
    if (r->bias) v += v_load_n((const char *)r->bias + (size_t)j * 4, WN_F32, left);
    v_store_n(s + j, v, WN_F32, left);
    return left < WN_LANES ? v_mask_logits(v, left) : v;
}

static inline void row_softmax(float *s, int lo, int hi, int n, struct wn_softmax_row *r)
{
    r->alpha = 1;
    if (hi <= lo) {
        memset(s, 0, (size_t)n * 4);
        return;
    }
    vf top = v_set(-INFINITY);
    int j = lo;
    for (; j + WN_LANES <= hi; j += WN_LANES) {
        vf v = logits_v(s, j, WN_LANES, r);
        top = v_pick(v > top, v, top);
    }
    if (j < hi) {
        vf v = logits_v(s, j, hi - j, r);
        top = v_pick(v > top, v, top);
    }
    float m = v_max(top);
    m = m > r->m ? m : r->m;
    /* Only keys of weight 0 so far: any finite reference gives exp(-inf) = 0. */
    float ref = m == -INFINITY ? 0 : m;
    vf sum = v_set(0), at = v_set(ref);
    for (j = lo; j + WN_LANES <= hi; j += WN_LANES) {
        vf v = v_exp(v_load(s + j) - at);
        sum += v;
        v_store(s + j, v);
    }
    if (j < hi) {
        vf v = v_exp(v_mask_logits(v_load_n(s + j, WN_F32, hi - j), hi - j) - at);
        sum += v;
        v_store_n(s + j, v, WN_F32, hi - j);
    }
    if (lo > 0) memset(s, 0, (size_t)lo * 4);
    if (hi < n) memset(s + hi, 0, (size_t)(n - hi) * 4);
    r->alpha = r->m == -INFINITY ? 0 : v_exp(v_set(r->m - ref))[0];
    r->l = r->l * r->alpha + v_sum(sum);
    r->m = m;
}

#endif
