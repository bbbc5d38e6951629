/* AVX-512 (F, BW, DQ, VL): 512-bit vectors, thirty-two registers. With AVX512_BF16 in addition: products of
 * bf16 pairs, two for one, summed in float32. */
#include "backend/cpu/peak.h"
#include "backend/cpu/rows.h"
#include "backend/cpu/vector_512.h"

/* 12 x 32 sums fill twenty-four registers; two hold a row of w, and a's elements are read as they are
 * broadcast. */
enum { MR = 12, NR = 32 };

/* ---- packing ---- */

/* `rows` rows of k elements of any float type become k groups of `rows` float32 values, a strip at a time. */
WN_INLINE void pack_rows(float *dst, const void *const *row, int rows, int n_rows, enum wn_dtype type,
                         int64_t k, bool round)
{
    enum { STRIP = 16 };
    const size_t size = wn_dtype_size(type);
    for (int g = 0; g < rows; g += STRIP) {
        const int group = rows - g < STRIP ? rows - g : STRIP;
        for (int64_t p = 0; p < k; p += STRIP) {
            const int64_t left = wn_left(k, p, STRIP);
            vf r[STRIP];
            for (int i = 0; i < STRIP; i++) {
                const char *src = i < group && g + i < n_rows ? row[g + i] : NULL;
                r[i] = src ? load_any(src + (size_t)p * size, type, left) : v_set(0);
                if (round) r[i] = v_round_bf16(r[i]);
            }
            transpose_16(r);
            float *to = dst + p * rows + g;
            for (int j = 0; j < STRIP && j < left; j++) v_store_first(to + j * rows, r[j], group);
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
    const size_t half = type == WN_BF16 ? 32 : 64;
    const int n0 = n < 16 ? n : 16, n1 = n - n0;
    for (int64_t p = 0; p < k; p++, dst += NR, src += stride) {
        vf v0 = v_load_n(src, type, n0), v1 = n1 ? v_load_n(src + half, type, n1) : v_set(0);
        v_store(dst, round ? v_round_bf16(v0) : v0);
        v_store(dst + 16, round ? v_round_bf16(v1) : v1);
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

/* ---- float32 product ---- */

/* The sums have names of their own: in an array, compilers keep copies of them in memory. */
#define EACH_ROW(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)
#define ROW_ZERO(i) vf lo##i = v_set(0), hi##i = lo##i;
#define ROW_STEP(i)                \
    x = v_set(a[i]);               \
    lo##i = WN_MADD(x, w0, lo##i); \
    hi##i = WN_MADD(x, w1, hi##i);
#define ROW_ADD(i)                \
    lo##i += v_load(c + i * ldc); \
    hi##i += v_load(c + i * ldc + 16);
#define ROW_STORE(i)             \
    v_store(c + i * ldc, lo##i); \
    v_store(c + i * ldc + 16, hi##i);

static void kernel(int64_t k, const float *a, const float *w, float *c, int64_t ldc, bool accumulate)
{
    EACH_ROW(ROW_ZERO)
    for (; k > 0; k--, a += MR, w += NR) {
        vf w0 = v_load(w), w1 = v_load(w + 16), x;
        EACH_ROW(ROW_STEP)
    }
    if (accumulate) {
        EACH_ROW(ROW_ADD)
    }
    EACH_ROW(ROW_STORE)
}

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
#define LOAD_REST(p) v_load_n(p, WN_F32, k & 15)

static void dot_4x4(int64_t k, const float *a, int64_t lda, const float *w, int64_t ldw, float *c,
                    int64_t ldc)
{
    DOT_ZERO(0)
    DOT_ZERO(1)
    DOT_ZERO(2)
    DOT_ZERO(3)
    int64_t p = 0;
    for (; p + 16 <= k; p += 16) {
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
    for (; p + 16 <= k; p += 16) {
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
    for (; p + 16 <= k; p += 16) sum = WN_MADD(v_load(a + p), v_load(w + p), sum);
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

static void to_f32(float *dst, const void *src, enum wn_dtype type, int64_t n)
{
    if (type != WN_F16) {
        row_to_f32(dst, src, type, n);
        return;
    }
    const char *s = src;
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) v_store(dst + i, v_widen_f16(s + 2 * i));
    row_to_f32(dst + i, s + 2 * i, WN_F16, n - i);
}

void wn_leaf_avx512(struct wn_leaf *leaf)
{
    /* A run of 192 keeps a panel of w (24 KB) in the first-level cache; a block of a (180 KB) and the sums
     * (240 x 256, 240 KB) fit a second level of 512 KB and more. */
    const struct wn_leaf_gemm f32 = {.mr = MR,
                                     .nr = NR,
                                     .kr = 1,
                                     .mc = 240,
                                     .nc = 256,
                                     .kc = 192,
                                     .a_bytes = 4,
                                     .w_bytes = 4,
                                     .pack_a = pack_a_f32,
                                     .pack_w = pack_w_f32,
                                     .pack_kn = pack_kn_f32,
                                     .block = block};
    *leaf = (struct wn_leaf){.isa = "avx512",
                             .rows = &wn_rows_avx512,
                             .peak_f32 = wn_peak_f32_avx512,
                             .attention_rows = 96,
                             .dot = dot,
                             .to_f32 = to_f32,
                             .round_bf16 = row_round_bf16,
                             .scale = row_scale,
                             .end_row = row_end,
                             .softmax_row = row_softmax};
    for (int i = 0; i < WN_LEAF_PRODUCTS; i++) leaf->gemm[i] = f32;
    leaf->gemm[WN_LEAF_BF16].pack_a = pack_a_bf16;
    leaf->gemm[WN_LEAF_BF16].pack_w = pack_w_bf16;
    leaf->gemm[WN_LEAF_BF16].pack_kn = pack_kn_bf16;
}
