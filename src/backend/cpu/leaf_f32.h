/* The float32 leaf where there are thirty-two vector registers, in vectors of WN_LANES floats: 12 rows by two
 * vectors of sums fill twenty-four. The including file has v_transpose, which turns WN_LANES rows into
 * columns, and v_store_first, which stores the first lanes of a vector. */
#ifndef WN_CPU_LEAF_F32_H
#define WN_CPU_LEAF_F32_H

#include "backend/cpu/leaf_row.h"

enum { MR = 12, NR = 2 * WN_LANES };

/* ---- packing ---- */

/* `rows` rows of k elements of any float type become k groups of `rows` float32 values, a strip at a time. */
WN_INLINE void pack_rows(float *dst, const void *const *row, int rows, int n_rows, enum wn_dtype type,
                         int64_t k, bool round)
{
    const size_t size = wn_dtype_size(type);
    for (int g = 0; g < rows; g += WN_LANES) {
        const int group = rows - g < WN_LANES ? rows - g : WN_LANES;
        for (int64_t p = 0; p < k; p += WN_LANES) {
            const int64_t left = wn_left(k, p, WN_LANES);
            vf r[WN_LANES];
            for (int i = 0; i < WN_LANES; i++) {
                const char *src = i < group && g + i < n_rows ? row[g + i] : NULL;
                r[i] = src ? load_any(src + (size_t)p * size, type, left) : v_set(0);
                if (round) r[i] = v_round_bf16(r[i]);
            }
            v_transpose(r);
            float *to = dst + p * rows + g;
            for (int j = 0; j < WN_LANES && j < left; j++) v_store_first(to + j * rows, r[j], group);
        }
    }
}

static void pack_a_f32(void *dst, const void *const *row, int n_rows, enum wn_dtype type, int64_t k)
{
    if (type == WN_BF16)
        pack_rows(dst, row, MR, n_rows, WN_BF16, k, false);
    else
        pack_rows(dst, row, MR, n_rows, WN_F32, k, false);
}

static void pack_a_bf16(void *dst, const void *const *row, int n_rows, enum wn_dtype type, int64_t k)
{
    if (type == WN_BF16)
        pack_rows(dst, row, MR, n_rows, WN_BF16, k, false);
    else
        pack_rows(dst, row, MR, n_rows, WN_F32, k, true);
}

static void pack_w_f32(void *dst, const void *const *row, int n_rows, enum wn_dtype type, int64_t k)
{
    if (type == WN_BF16)
        pack_rows(dst, row, NR, n_rows, WN_BF16, k, false);
    else if (type == WN_F32)
        pack_rows(dst, row, NR, n_rows, WN_F32, k, false);
    else
        pack_rows(dst, row, NR, n_rows, type, k, false);
}

static void pack_w_bf16(void *dst, const void *const *row, int n_rows, enum wn_dtype type, int64_t k)
{
    if (type == WN_BF16)
        pack_rows(dst, row, NR, n_rows, WN_BF16, k, false);
    else
        pack_rows(dst, row, NR, n_rows, type, k, true);
}

WN_INLINE void pack_kn(float *dst, const char *src, size_t stride, int n, enum wn_dtype type, int64_t k,
                       bool round)
{
    const size_t half = (type == WN_BF16 ? 2 : 4) * WN_LANES;
    const int n0 = n < WN_LANES ? n : WN_LANES, n1 = n - n0;
    for (int64_t p = 0; p < k; p++, dst += NR, src += stride) {
        vf v0 = v_load_n(src, type, n0), v1 = n1 ? v_load_n(src + half, type, n1) : v_set(0);
        v_store(dst, round ? v_round_bf16(v0) : v0);
        v_store(dst + WN_LANES, round ? v_round_bf16(v1) : v1);
    }
}

static void pack_kn_f32(void *dst, const void *src, size_t stride, int n, enum wn_dtype type, int64_t k)
{
    if (type == WN_BF16)
        pack_kn(dst, src, stride, n, WN_BF16, k, false);
    else
        pack_kn(dst, src, stride, n, WN_F32, k, false);
}

static void pack_kn_bf16(void *dst, const void *src, size_t stride, int n, enum wn_dtype type, int64_t k)
{
    if (type == WN_BF16)
        pack_kn(dst, src, stride, n, WN_BF16, k, false);
    else
        pack_kn(dst, src, stride, n, WN_F32, k, true);
}

/* ---- product ---- */

/* One tile: c [MR, NR] (+)= a [k][MR] w [k][NR]. */
static void kernel(int64_t k, const float *a, const float *w, float *c, int64_t ldc, bool accumulate);

static void block(int64_t k, int m_tiles, int n_panels, const void *a, const void *w, size_t w_stride,
                  float *c, int64_t ldc, bool accumulate)
{
    for (int j = 0; j < n_panels; j++)
        for (int i = 0; i < m_tiles; i++)
            kernel(k, (const float *)a + i * MR * k, (const float *)((const char *)w + (size_t)j * w_stride),
                   c + i * MR * ldc + j * NR, ldc, accumulate);
}

/* ---- few rows ---- */

#define DOT_ZERO(i) vf s##i##0 = v_set(0), s##i##1 = s##i##0, s##i##2 = s##i##0, s##i##3 = s##i##0;
#define DOT_STEP(i, load)              \
    x = load(a + i * lda + p);         \
    s##i##0 = WN_MADD(x, y0, s##i##0); \
    s##i##1 = WN_MADD(x, y1, s##i##1); \
    s##i##2 = WN_MADD(x, y2, s##i##2); \
    s##i##3 = WN_MADD(x, y3, s##i##3);
#define DOT_W(load) \
    vf y0 = load(w + p), y1 = load(w + ldw + p), y2 = load(w + 2 * ldw + p), y3 = load(w + 3 * ldw + p), x;
#define DOT_SUM(i)                    \
    c[i * ldc] += v_sum(s##i##0);     \
    c[i * ldc + 1] += v_sum(s##i##1); \
    c[i * ldc + 2] += v_sum(s##i##2); \
    c[i * ldc + 3] += v_sum(s##i##3);
#define LOAD_REST(p) v_load_n(p, WN_F32, k &(WN_LANES - 1))

static void dot_4x4(int64_t k, const float *a, int64_t lda, const float *w, int64_t ldw, float *c,
                    int64_t ldc)
{
    DOT_ZERO(0)
    DOT_ZERO(1)
    DOT_ZERO(2)
    DOT_ZERO(3)
    int64_t p = 0;
    for (; p + WN_LANES <= k; p += WN_LANES) {
        DOT_W(v_load)
        DOT_STEP(0, v_load)
        DOT_STEP(1, v_load)
        DOT_STEP(2, v_load)
        DOT_STEP(3, v_load)
    }
    if (p < k) {
        DOT_W(LOAD_REST)
        DOT_STEP(0, LOAD_REST)
        DOT_STEP(1, LOAD_REST)
        DOT_STEP(2, LOAD_REST)
        DOT_STEP(3, LOAD_REST)
    }
    DOT_SUM(0)
    DOT_SUM(1)
    DOT_SUM(2)
    DOT_SUM(3)
}

static void dot_1x4(int64_t k, const float *a, int64_t lda, const float *w, int64_t ldw, float *c,
                    int64_t ldc)
{
    DOT_ZERO(0)
    int64_t p = 0;
    for (; p + WN_LANES <= k; p += WN_LANES) {
        DOT_W(v_load)
        DOT_STEP(0, v_load)
    }
    if (p < k) {
        DOT_W(LOAD_REST)
        DOT_STEP(0, LOAD_REST)
    }
    DOT_SUM(0)
}

static float dot_1x1(int64_t k, const float *a, const float *w)
{
    vf sum = v_set(0);
    int64_t p = 0;
    for (; p + WN_LANES <= k; p += WN_LANES) sum = WN_MADD(v_load(a + p), v_load(w + p), sum);
    if (p < k) sum = WN_MADD(LOAD_REST(a + p), LOAD_REST(w + p), sum);
    return v_sum(sum);
}

static void dot(int64_t k, const float *a, int64_t lda, int m, const float *w, int64_t ldw, int n, float *c,
                int64_t ldc)
{
    int j = 0;
    for (; j + 4 <= n; j += 4) {
        int i = 0;
        for (; i + 4 <= m; i += 4) dot_4x4(k, a + i * lda, lda, w + j * ldw, ldw, c + i * ldc + j, ldc);
        for (; i < m; i++) dot_1x4(k, a + i * lda, lda, w + j * ldw, ldw, c + i * ldc + j, ldc);
    }
    for (; j < n; j++)
        for (int i = 0; i < m; i++) c[i * ldc + j] += dot_1x1(k, a + i * lda, w + j * ldw);
}

/* ---- the table ---- */

static struct wn_leaf f32_leaf(const char *isa, const struct wn_rows *rows, int kc)
{
    const struct wn_leaf_gemm f32 = {.mr = MR,
                                     .nr = NR,
                                     .kr = 1,
                                     .mc = 240,
                                     .nc = 256,
                                     .kc = kc,
                                     .a_bytes = 4,
                                     .w_bytes = 4,
                                     .pack_a = pack_a_f32,
                                     .pack_w = pack_w_f32,
                                     .pack_kn = pack_kn_f32,
                                     .block = block};
    struct wn_leaf leaf = {.isa = isa,
                           .rows = rows,
                           .attention_rows = 96,
                           .dot = dot,
                           .to_f32 = row_to_f32,
                           .round_bf16 = row_round_bf16,
                           .scale = row_scale,
                           .end_row = row_end,
                           .softmax_row = row_softmax};
    for (int i = 0; i < WN_LEAF_PRODUCTS; i++) leaf.gemm[i] = f32;
    leaf.gemm[WN_LEAF_BF16].pack_a = pack_a_bf16;
    leaf.gemm[WN_LEAF_BF16].pack_w = pack_w_bf16;
    leaf.gemm[WN_LEAF_BF16].pack_kn = pack_kn_bf16;
    return leaf;
}

#endif
