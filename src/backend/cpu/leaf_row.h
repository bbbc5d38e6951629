/* Row functions in the compilers' vector types: one body that every leaf file compiles with its own
 * instruction set. The including file may define WN_MADD(a, b, c) as a fused a * b + c first.
 */
#ifndef WN_CPU_LEAF_ROW_H
#define WN_CPU_LEAF_ROW_H

#include <math.h>
#include <string.h>

#include "backend/cpu/leaf.h"
#include "base/half.h"

typedef float v8f __attribute__((vector_size(32)));
typedef int32_t v8i __attribute__((vector_size(32)));
typedef uint32_t v8u __attribute__((vector_size(32)));
typedef uint16_t v8h __attribute__((vector_size(16)));

#ifndef WN_MADD
#define WN_MADD(a, b, c) ((a) * (b) + (c))
#endif
#define WN_INLINE static inline __attribute__((always_inline))

WN_INLINE v8f v8_set(float x)
{
    return (v8f){x, x, x, x, x, x, x, x};
}

WN_INLINE v8f v8_pick(v8i mask, v8f yes, v8f no)
{
    return (v8f)((mask & (v8i)yes) | (~mask & (v8i)no));
}

WN_INLINE v8f v8_load(const void *p)
{
    v8f v;
    memcpy(&v, p, sizeof v);
    return v;
}

WN_INLINE void v8_store(void *p, v8f v)
{
    memcpy(p, &v, sizeof v);
}

WN_INLINE v8f v8_widen_bf16(v8h h)
{
    return (v8f)(__builtin_convertvector(h, v8u) << 16);
}

/* Nearest, ties to even; NaN stays NaN. The result sits in the low halves. */
WN_INLINE v8u v8_narrow_bf16(v8f v)
{
    v8u u = (v8u)v;
    v8u r = (u + 0x7fff + (u >> 16 & 1)) >> 16;
    v8u nan = (v8u)((u & 0x7fffffff) > 0x7f800000);
    return (nan & (u >> 16 | 0x40)) | (~nan & r);
}

WN_INLINE v8f v8_round_bf16(v8f v)
{
    return (v8f)(v8_narrow_bf16(v) << 16);
}

/* n <= 8 elements of F32 or BF16; zeros after them. */
WN_INLINE v8f v8_load_n(const void *p, enum wn_dtype type, int64_t n)
{
    if (type == WN_BF16) {
        v8h h = {0};
        if (n == 8)
            memcpy(&h, p, sizeof h);
        else
            memcpy(&h, p, (size_t)(n & 7) * 2);
        return v8_widen_bf16(h);
    }
    v8f v = {0};
    if (n == 8) return v8_load(p);
    memcpy(&v, p, (size_t)(n & 7) * 4);
    return v;
}

WN_INLINE void v8_store_n(void *p, v8f v, enum wn_dtype type, int64_t n)
{
    if (type == WN_BF16) {
        v8h h = __builtin_convertvector(v8_narrow_bf16(v), v8h);
        if (n == 8)
            memcpy(p, &h, sizeof h);
        else
            memcpy(p, &h, (size_t)(n & 7) * 2);
    } else if (n == 8) {
        v8_store(p, v);
    } else {
        memcpy(p, &v, (size_t)(n & 7) * 4);
    }
}

/* exp to about 1 ulp. With n the integer nearest to x / ln 2, exp(x) = 2^n exp(r), |r| <= ln(2) / 2, and the
 * Taylor series of degree 7 leaves r^8 / 8! < 6e-9. Adding 1.5 * 2^23 rounds to integer and leaves n in the
 * low bits. ln 2 is split so that n * hi is exact. Arguments below -87.3 give 0; NaN stays NaN. */
WN_INLINE v8f v8_exp(v8f x)
{
    const v8f low = v8_set(-87.3f), high = v8_set(88.3f), magic = v8_set(12582912.0f);
    v8i tiny = x < low;
    x = v8_pick(tiny, low, x);
    x = v8_pick(x > high, high, x);
    v8f z = WN_MADD(x, v8_set(1.44269504f), magic);
    v8f n = z - magic;
    v8f r = WN_MADD(n, v8_set(-0.693359375f), x);
    r = WN_MADD(n, v8_set(2.12194440e-4f), r);
    v8f p = WN_MADD(r, v8_set(1.0f / 5040), v8_set(1.0f / 720));
    p = WN_MADD(p, r, v8_set(1.0f / 120));
    p = WN_MADD(p, r, v8_set(1.0f / 24));
    p = WN_MADD(p, r, v8_set(1.0f / 6));
    p = WN_MADD(p, r, v8_set(0.5f));
    p = WN_MADD(p, r, v8_set(1.0f));
    p = WN_MADD(p, r, v8_set(1.0f));
    v8f pow2 = (v8f)(((v8i)z + 127) << 23);
    return v8_pick(tiny, v8_set(0), p * pow2);
}

WN_INLINE v8f v8_act(v8f x, enum wn_act act)
{
    const v8f one = v8_set(1);
    switch (act) {
    case WN_ACT_NONE: return x;
    case WN_ACT_SILU: return x / (one + v8_exp(-x));
    case WN_ACT_GELU_TANH: {
        /* 0.5 (1 + tanh u) = 1 / (1 + exp(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3) */
        v8f u2 = v8_set(-1.595769122f) * x * WN_MADD(v8_set(0.044715f) * x, x, one);
        return x / (one + v8_exp(u2));
    }
    case WN_ACT_GELU_ERF: {
        for (int i = 0; i < 8; i++) x[i] = 0.5f * x[i] * (1.0f + erff(x[i] * 0.70710678f));
        return x;
    }
    }
    return x;
}

WN_INLINE float v8_sum(v8f v)
{
    return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}

WN_INLINE float v8_max(v8f v)
{
    float m = v[0];
    for (int i = 1; i < 8; i++) m = v[i] > m ? v[i] : m;
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
        for (; i + 8 <= n; i += 8) v8_store(dst + i, v8_load_n(s + 2 * i, WN_BF16, 8));
        if (i < n) v8_store_n(dst + i, v8_load_n(s + 2 * i, WN_BF16, n - i), WN_F32, n - i);
        return;
    case WN_F16:
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

static inline void row_round_bf16(float *x, int64_t n)
{
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) v8_store(x + i, v8_round_bf16(v8_load(x + i)));
    if (i < n) v8_store_n(x + i, v8_round_bf16(v8_load_n(x + i, WN_F32, n - i)), WN_F32, n - i);
}

static inline void row_scale(float *x, float by, int64_t n)
{
    v8f b = v8_set(by);
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) v8_store(x + i, v8_load(x + i) * b);
    if (i < n) v8_store_n(x + i, v8_load_n(x + i, WN_F32, n - i) * b, WN_F32, n - i);
}

WN_INLINE void end_8(const float *c, int64_t j, int64_t left, const struct wn_row_end *e)
{
    size_t mul_size = e->mul_type == WN_BF16 ? 2 : 4, add_size = e->add_type == WN_BF16 ? 2 : 4;
    v8f v = v8_load_n(c + j, WN_F32, left);
    if (e->bias) v += v8_load_n(e->bias + j, WN_F32, left);
    v = v8_act(v, e->act);
    if (e->mul) v *= v8_load_n((const char *)e->mul + (size_t)j * mul_size, e->mul_type, left);
    if (e->gate) v *= v8_load_n((const char *)e->gate + (size_t)j * 4, WN_F32, left);
    if (e->add) v += v8_load_n((const char *)e->add + (size_t)j * add_size, e->add_type, left);
    v8_store_n((char *)e->out + (size_t)j * (e->out_type == WN_BF16 ? 2 : 4), v, e->out_type, left);
}

static inline void row_end(const float *c, int64_t n, const struct wn_row_end *e)
{
    int64_t j = 0;
    for (; j + 8 <= n; j += 8) end_8(c, j, 8, e);
    if (j < n) end_8(c, j, n - j, e);
}

/* Lanes past the first `left` become -inf. */
WN_INLINE v8f v8_mask_logits(v8f v, int left)
{
    const v8i lane = {0, 1, 2, 3, 4, 5, 6, 7}, n = {left, left, left, left, left, left, left, left};
    return v8_pick(lane < n, v, v8_set(-INFINITY));
}

/* Logits of `left` keys from j, stored; the other lanes are -inf. */
WN_INLINE v8f logits_8(float *s, int j, int left, const struct wn_softmax_row *r)
{
    v8f v = v8_load_n(s + j, WN_F32, left) * v8_set(r->scale);
    if (r->log_weight) v += v8_load_n((const char *)r->log_weight + (size_t)j * 4, WN_F32, left);
    if (r->bias) v += v8_load_n((const char *)r->bias + (size_t)j * 4, WN_F32, left);
    v8_store_n(s + j, v, WN_F32, left);
    return left < 8 ? v8_mask_logits(v, left) : v;
}

static inline void row_softmax(float *s, int lo, int hi, int n, struct wn_softmax_row *r)
{
    r->alpha = 1;
    if (hi <= lo) {
        memset(s, 0, (size_t)n * 4);
        return;
    }
    v8f top = v8_set(-INFINITY);
    int j = lo;
    for (; j + 8 <= hi; j += 8) {
        v8f v = logits_8(s, j, 8, r);
        top = v8_pick(v > top, v, top);
    }
    if (j < hi) {
        v8f v = logits_8(s, j, hi - j, r);
        top = v8_pick(v > top, v, top);
    }
    float m = v8_max(top);
    m = m > r->m ? m : r->m;
    /* Only keys of weight 0 so far: any finite reference gives exp(-inf) = 0. */
    float ref = m == -INFINITY ? 0 : m;
    v8f sum = v8_set(0), at = v8_set(ref);
    for (j = lo; j + 8 <= hi; j += 8) {
        v8f v = v8_exp(v8_load(s + j) - at);
        sum += v;
        v8_store(s + j, v);
    }
    if (j < hi) {
        v8f v = v8_exp(v8_mask_logits(v8_load_n(s + j, WN_F32, hi - j), hi - j) - at);
        sum += v;
        v8_store_n(s + j, v, WN_F32, hi - j);
    }
    if (lo > 0) memset(s, 0, (size_t)lo * 4);
    if (hi < n) memset(s + hi, 0, (size_t)(n - hi) * 4);
    r->alpha = r->m == -INFINITY ? 0 : v8_exp(v8_set(r->m - ref))[0];
    r->l = r->l * r->alpha + v8_sum(sum);
    r->m = m;
}

#endif
