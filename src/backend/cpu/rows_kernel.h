/* The row leaves in vector types: one body that the files rows_*.c compile for their level. The
 * including file defines WN_ROWS, the table's name, and may define WN_MADD. */
#include "backend/cpu/leaf_row.h"
#include "backend/cpu/rows.h"
#include "tensor/convert.h"

/* Elements summed in one set of partial sums. Short runs keep the rounding error of a long row near that of a
 * row of 512: each of the lanes of four vectors adds a few terms, and the runs are added up after. */
enum { RUN = 512, STRIP = 512 };

WN_INLINE vf load_v(const void *p, enum wn_dtype type, int64_t i, int64_t left)
{
    return v_load_n((const char *)p + (size_t)i * (type == WN_BF16 ? 2 : 4), type, left);
}

WN_INLINE void store_v(void *p, enum wn_dtype type, int64_t i, vf v, int64_t left)
{
    v_store_n((char *)p + (size_t)i * (type == WN_BF16 ? 2 : 4), v, type, left);
}

/* Keep the first `left` lanes, zero the others. */
WN_INLINE vf first_lanes(vf v, int64_t left)
{
    return (vf)(v_before(left) & (vi)v);
}

/* Sum over i of (x[i] - mean), or of its square. */
WN_INLINE float sum_row(const void *x, enum wn_dtype type, int64_t n, float mean, bool squared)
{
    const vf m = v_set(mean);
    vf total = v_set(0);
    for (int64_t run = 0; run < n; run += RUN) {
        int64_t i = run, end = run + wn_left(n, run, RUN);
        vf sum[4] = {v_set(0), v_set(0), v_set(0), v_set(0)};
        for (; i + 4 * WN_LANES <= end; i += 4 * WN_LANES)
            for (int u = 0; u < 4; u++) {
                vf d = load_v(x, type, i + WN_LANES * u, WN_LANES) - m;
                sum[u] = squared ? WN_MADD(d, d, sum[u]) : sum[u] + d;
            }
        for (int u = 0; i < end; i += WN_LANES, u++) {
            int64_t left = wn_left(end, i, WN_LANES);
            vf d = first_lanes(load_v(x, type, i, left) - m, left);
            sum[u] = squared ? WN_MADD(d, d, sum[u]) : sum[u] + d;
        }
        total += (sum[0] + sum[1]) + (sum[2] + sum[3]);
    }
    return v_sum(total);
}

WN_INLINE void norm_v(const struct wn_norm_row *r, enum wn_dtype x_type, enum wn_dtype out_type, float mean,
                      float factor, int64_t i, int64_t left)
{
    vf y = (load_v(r->x, x_type, i, left) - v_set(mean)) * v_set(factor);
    if (r->weight) y *= load_v(r->weight, WN_F32, i, left);
    if (r->bias) y += load_v(r->bias, WN_F32, i, left);
    if (r->scale)
        y = WN_MADD(y, v_set(1) + load_v(r->scale, WN_F32, i, left), load_v(r->shift, WN_F32, i, left));
    store_v(r->out, out_type, i, v_act(y, r->act), left);
}

WN_INLINE void norm_typed(const struct wn_norm_row *r, enum wn_dtype x_type, enum wn_dtype out_type)
{
    int64_t n = r->n, i = 0;
    float mean = 0;
    if (r->kind == WN_NORM_LAYER) mean = sum_row(r->x, x_type, n, 0, false) / (float)n;
    double squares = (double)sum_row(r->x, x_type, n, mean, true), factor;
    if (r->kind == WN_NORM_L2)
        factor = sqrt((double)n) / fmax(sqrt(squares), (double)r->eps);
    else
        factor = 1 / sqrt(squares / (double)n + (double)r->eps);
    for (; i + WN_LANES <= n; i += WN_LANES) norm_v(r, x_type, out_type, mean, (float)factor, i, WN_LANES);
    if (i < n) norm_v(r, x_type, out_type, mean, (float)factor, i, n - i);
}

static void norm(const struct wn_norm_row *r)
{
    if (r->x_type == WN_F32 && r->out_type == WN_F32)
        norm_typed(r, WN_F32, WN_F32);
    else if (r->x_type == WN_F32)
        norm_typed(r, WN_F32, WN_BF16);
    else if (r->out_type == WN_F32)
        norm_typed(r, WN_BF16, WN_F32);
    else
        norm_typed(r, WN_BF16, WN_BF16);
}

#if defined(__clang__)
#define SHUFFLE(v, ...) __builtin_shufflevector(v, v, __VA_ARGS__)
#else
#define SHUFFLE(v, ...) __builtin_shuffle(v, (vi){__VA_ARGS__})
#endif
#if WN_LANES == 16
#define EVENS 0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12, 12, 14, 14
#define ODDS 1, 1, 3, 3, 5, 5, 7, 7, 9, 9, 11, 11, 13, 13, 15, 15
#define MINUS                                                                                         \
    INT32_MIN, 0, INT32_MIN, 0, INT32_MIN, 0, INT32_MIN, 0, INT32_MIN, 0, INT32_MIN, 0, INT32_MIN, 0, \
        INT32_MIN, 0
#define SWAPPED 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14
#elif WN_LANES == 8
#define EVENS 0, 0, 2, 2, 4, 4, 6, 6
#define ODDS 1, 1, 3, 3, 5, 5, 7, 7
#define SWAPPED 1, 0, 3, 2, 5, 4, 7, 6
#define MINUS INT32_MIN, 0, INT32_MIN, 0, INT32_MIN, 0, INT32_MIN, 0
#else
#define EVENS 0, 0, 2, 2
#define ODDS 1, 1, 3, 3
#define SWAPPED 1, 0, 3, 2
#define MINUS INT32_MIN, 0, INT32_MIN, 0
#endif

/* (a, b) -> (a c - b s, a s + b c) for each pair; cs is c, s, c, s, … */
WN_INLINE vf turn_v(vf y, vf cs)
{
    const vi minus = {MINUS};
    vf c = SHUFFLE(cs, EVENS), s = SHUFFLE(cs, ODDS), other = SHUFFLE(y, SWAPPED);
    return WN_MADD(y, c, other * (vf)((vi)s ^ minus));
}

WN_INLINE void qk_v(const struct wn_qk_row *r, enum wn_dtype x_type, enum wn_dtype out_type, float factor,
                    int64_t i, int64_t j, int64_t left)
{
    vf y = load_v(r->x, x_type, i, left);
    if (r->weight) y *= v_set(factor) * load_v(r->weight, WN_F32, i, left);
    if (r->rope) y = turn_v(y, load_v(r->rope, WN_F32, j, left));
    store_v(r->out, out_type, i, y, left);
}

WN_INLINE void qk_typed(const struct wn_qk_row *r, enum wn_dtype x_type, enum wn_dtype out_type)
{
    float factor = 1;
    if (r->weight) {
        double squares = (double)sum_row(r->x, x_type, r->n, 0, true);
        factor = (float)(1 / sqrt(squares / (double)r->n + (double)r->eps));
    }
    for (int64_t head = 0; head < r->n; head += r->hd) {
        int64_t j = 0;
        for (; j + WN_LANES <= r->hd; j += WN_LANES) qk_v(r, x_type, out_type, factor, head + j, j, WN_LANES);
        if (j < r->hd) qk_v(r, x_type, out_type, factor, head + j, j, r->hd - j);
    }
}

static void qk(const struct wn_qk_row *r)
{
    if (r->x_type == WN_F32 && r->out_type == WN_F32)
        qk_typed(r, WN_F32, WN_F32);
    else if (r->x_type == WN_F32)
        qk_typed(r, WN_F32, WN_BF16);
    else if (r->out_type == WN_F32)
        qk_typed(r, WN_BF16, WN_F32);
    else
        qk_typed(r, WN_BF16, WN_BF16);
}

static bool is_vector_type(enum wn_dtype type)
{
    return type == WN_F32 || type == WN_BF16;
}

WN_INLINE void act_typed(void *out, enum wn_dtype out_type, const void *x, enum wn_dtype x_type,
                         enum wn_act act, int64_t n)
{
    int64_t i = 0;
    for (; i + WN_LANES <= n; i += WN_LANES)
        store_v(out, out_type, i, v_act(load_v(x, x_type, i, WN_LANES), act), WN_LANES);
    if (i < n) store_v(out, out_type, i, v_act(load_v(x, x_type, i, n - i), act), n - i);
}

static void act_vector(void *out, enum wn_dtype out_type, const void *x, enum wn_dtype x_type,
                       enum wn_act act, int64_t n)
{
    if (x_type == WN_F32 && out_type == WN_F32)
        act_typed(out, WN_F32, x, WN_F32, act, n);
    else if (x_type == WN_F32)
        act_typed(out, WN_BF16, x, WN_F32, act, n);
    else if (out_type == WN_F32)
        act_typed(out, WN_F32, x, WN_BF16, act, n);
    else
        act_typed(out, WN_BF16, x, WN_BF16, act, n);
}

static void act_n(void *out, enum wn_dtype out_type, const void *x, enum wn_dtype x_type, enum wn_act act,
                  int64_t n)
{
    if (is_vector_type(x_type) && is_vector_type(out_type)) {
        act_vector(out, out_type, x, x_type, act, n);
        return;
    }
    float strip[STRIP];
    size_t x_size = wn_dtype_size(x_type), out_size = wn_dtype_size(out_type);
    for (int64_t i = 0; i < n; i += STRIP) {
        int64_t left = wn_left(n, i, STRIP);
        row_to_f32(strip, (const char *)x + (size_t)i * x_size, x_type, left);
        act_vector(strip, WN_F32, strip, WN_F32, act, left);
        wn_from_f32(strip, out_type, (char *)out + (size_t)i * out_size, left);
    }
}

WN_INLINE void binary_v(void *out, enum wn_dtype out_type, const void *a, enum wn_dtype a_type, const void *b,
                        enum wn_dtype b_type, enum wn_binary_kind kind, int64_t i, int64_t left)
{
    vf x = load_v(a, a_type, i, left), y = load_v(b, b_type, i, left);
    store_v(out, out_type, i, kind == WN_ADD ? x + y : kind == WN_SUB ? x - y : x * y, left);
}

/* Operands F32 or BF16. */
WN_INLINE void binary_kind(void *out, enum wn_dtype out_type, const void *a, enum wn_dtype a_type,
                           const void *b, enum wn_dtype b_type, enum wn_binary_kind kind, int64_t n)
{
    int64_t i = 0;
    for (; i + WN_LANES <= n; i += WN_LANES) binary_v(out, out_type, a, a_type, b, b_type, kind, i, WN_LANES);
    if (i < n) binary_v(out, out_type, a, a_type, b, b_type, kind, i, n - i);
}

static void binary_vector(void *out, enum wn_dtype out_type, const void *a, enum wn_dtype a_type,
                          const void *b, enum wn_dtype b_type, enum wn_binary_kind kind, int64_t n)
{
    if (out_type == WN_F32 && a_type == WN_F32 && b_type == WN_F32)
        binary_kind(out, WN_F32, a, WN_F32, b, WN_F32, kind, n);
    else
        binary_kind(out, out_type, a, a_type, b, b_type, kind, n);
}

static void binary_n(void *out, enum wn_dtype out_type, const void *a, enum wn_dtype a_type, const void *b,
                     enum wn_dtype b_type, enum wn_binary_kind kind, int64_t n)
{
    if (is_vector_type(a_type) && is_vector_type(b_type)) {
        binary_vector(out, out_type, a, a_type, b, b_type, kind, n);
        return;
    }
    float x[STRIP], y[STRIP];
    size_t a_size = wn_dtype_size(a_type), b_size = wn_dtype_size(b_type), out_size = wn_dtype_size(out_type);
    for (int64_t i = 0; i < n; i += STRIP) {
        int64_t left = wn_left(n, i, STRIP);
        row_to_f32(x, (const char *)a + (size_t)i * a_size, a_type, left);
        row_to_f32(y, (const char *)b + (size_t)i * b_size, b_type, left);
        binary_vector((char *)out + (size_t)i * out_size, out_type, x, WN_F32, y, WN_F32, kind, left);
    }
}

const struct wn_rows WN_ROWS = {.norm = norm, .qk = qk, .act = act_n, .binary = binary_n};
