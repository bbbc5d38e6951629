/* AVX2, FMA and F16C: 256-bit vectors, sixteen registers. */
#include "backend/cpu/leaf_x86.h"
#include "backend/cpu/peak.h"
#include "backend/cpu/rows.h"

/* 6 x 16 sums fill twelve registers, leaving two for a row of w and one or two for a's broadcasts. */
enum { MR = 6, NR = 16 };

/* Eight (or fewer) columns of up to eight rows, in columns of `rows` values. The stores of a six-row tile run
 * two values past their column, over the next one's place; only the tile's last column is stored exactly. */
WN_INLINE void pack_columns(float *dst, const char *const *src, int rows, enum wn_dtype type, int64_t left,
                            bool round, int n_src, bool last)
{
    const __m256i six = _mm256_setr_epi32(-1, -1, -1, -1, -1, -1, 0, 0);
    __m256 r[8];
    for (int i = 0; i < 8; i++) {
        vf v = i < n_src ? v_load_n(src[i], type, left) : v_set(0);
        r[i] = (__m256)(round ? v_round_bf16(v) : v);
    }
    transpose_8(r);
    for (int j = 0; j < 8; j++) {
        if (j >= left) break;
        if (n_src == 8)
            _mm256_storeu_ps(dst + j * rows, r[j]);
        else if (last && j == left - 1)
            _mm256_maskstore_ps(dst + j * rows, six, r[j]);
        else
            _mm256_storeu_ps(dst + j * rows, r[j]);
    }
}

/* `rows` rows (6 or 16) of k elements of F32 or BF16. */
WN_INLINE void pack_rows(float *dst, const void *const *row, int rows, int n_rows, enum wn_dtype type,
                         int64_t k, bool round)
{
    static const float zeros[8];
    const size_t size = type == WN_BF16 ? 2 : 4;
    const int group = rows < 8 ? rows : 8;
    for (int g = 0; g < rows; g += group) {
        const char *src[8];
        size_t step[8];
        for (int i = 0; i < group; i++) {
            bool have = g + i < n_rows && row[g + i];
            src[i] = have ? row[g + i] : (const char *)zeros;
            step[i] = have ? 8 * size : 0;
        }
        float *to = dst + g;
        int64_t p = 0;
        for (; p + 8 <= k; p += 8, to += 8 * rows) {
            pack_columns(to, src, rows, type, 8, round, group, p + 8 == k);
            for (int i = 0; i < group; i++) src[i] += step[i];
        }
        if (p < k) pack_columns(to, src, rows, type, k - p, round, group, true);
    }
}

/* Types without a vector load come through float32 strips. */
static void pack_strips(float *dst, const void *const *row, int n_rows, enum wn_dtype type, int64_t k,
                        bool round)
{
    enum { STRIP = 64 };
    float strip[NR][STRIP];
    const void *from[NR];
    size_t size = wn_dtype_size(type);
    for (int64_t p = 0; p < k; p += STRIP, dst += STRIP * NR) {
        int64_t n = wn_left(k, p, STRIP);
        for (int i = 0; i < n_rows; i++) {
            from[i] = row[i] ? strip[i] : NULL;
            if (row[i]) row_to_f32(strip[i], (const char *)row[i] + (size_t)p * size, type, n);
        }
        pack_rows(dst, from, NR, n_rows, WN_F32, n, round);
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
        pack_strips(dst, row, n_rows, type, k, false);
}

static void pack_w_bf16(void *dst, const void *const *row, int n_rows, enum wn_dtype type, int64_t k)
{
    if (type == WN_BF16)
        pack_rows(dst, row, NR, n_rows, WN_BF16, k, false);
    else if (type == WN_F32)
        pack_rows(dst, row, NR, n_rows, WN_F32, k, true);
    else
        pack_strips(dst, row, n_rows, type, k, true);
}

WN_INLINE void pack_kn(float *dst, const char *src, size_t stride, int n, enum wn_dtype type, int64_t k,
                       bool round)
{
    const size_t half = type == WN_BF16 ? 16 : 32;
    const int n0 = n < 8 ? n : 8, n1 = n - n0;
    for (int64_t p = 0; p < k; p++, dst += NR, src += stride) {
        vf v0 = v_load_n(src, type, n0), v1 = n1 ? v_load_n(src + half, type, n1) : v_set(0);
        v_store(dst, round ? v_round_bf16(v0) : v0);
        v_store(dst + 8, round ? v_round_bf16(v1) : v1);
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

/* The sums have names of their own: in an array, compilers keep copies of them in memory. */
#define EACH_ROW(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)
#define ROW_ZERO(i) __m256 lo##i = _mm256_setzero_ps(), hi##i = lo##i;
#define ROW_STEP(i)                        \
    x = _mm256_broadcast_ss(a + i);        \
    lo##i = _mm256_fmadd_ps(x, w0, lo##i); \
    hi##i = _mm256_fmadd_ps(x, w1, hi##i);
#define ROW_ADD(i)                                              \
    lo##i = _mm256_add_ps(lo##i, _mm256_loadu_ps(c + i * ldc)); \
    hi##i = _mm256_add_ps(hi##i, _mm256_loadu_ps(c + i * ldc + 8));
#define ROW_STORE(i)                      \
    _mm256_storeu_ps(c + i * ldc, lo##i); \
    _mm256_storeu_ps(c + i * ldc + 8, hi##i);

static void kernel(int64_t k, const float *a, const float *w, float *c, int64_t ldc, bool accumulate)
{
    EACH_ROW(ROW_ZERO)
    for (; k > 0; k--, a += MR, w += NR) {
        __m256 w0 = _mm256_loadu_ps(w), w1 = _mm256_loadu_ps(w + 8), x;
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

/* One row of a against four rows of w, and three rows of a against them: the sums are named as in `kernel`.
 */
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
#define LOAD_REST(p) v_load_n(p, WN_F32, k & 7)

static void dot_3x4(int64_t k, const float *a, int64_t lda, const float *w, int64_t ldw, float *c,
                    int64_t ldc)
{
    DOT_ZERO(0)
    DOT_ZERO(1)
    DOT_ZERO(2)
    int64_t p = 0;
    for (; p + 8 <= k; p += 8) {
        DOT_W(v_load)
        DOT_STEP(0, v_load)
        DOT_STEP(1, v_load)
        DOT_STEP(2, v_load)
    }
    if (p < k) {
        DOT_W(LOAD_REST)
        DOT_STEP(0, LOAD_REST)
        DOT_STEP(1, LOAD_REST)
        DOT_STEP(2, LOAD_REST)
    }
    DOT_SUM(0)
    DOT_SUM(1)
    DOT_SUM(2)
}

static void dot_1x4(int64_t k, const float *a, int64_t lda, const float *w, int64_t ldw, float *c,
                    int64_t ldc)
{
    DOT_ZERO(0)
    int64_t p = 0;
    for (; p + 8 <= k; p += 8) {
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
    for (; p + 8 <= k; p += 8) sum = WN_MADD(v_load(a + p), v_load(w + p), sum);
    if (p < k) sum = WN_MADD(LOAD_REST(a + p), LOAD_REST(w + p), sum);
    return v_sum(sum);
}

static void dot(int64_t k, const float *a, int64_t lda, int m, const float *w, int64_t ldw, int n, float *c,
                int64_t ldc)
{
    int j = 0;
    for (; j + 4 <= n; j += 4) {
        int i = 0;
        for (; i + 3 <= m; i += 3) dot_3x4(k, a + i * lda, lda, w + j * ldw, ldw, c + i * ldc + j, ldc);
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
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(s + 2 * i))));
    row_to_f32(dst + i, s + 2 * i, WN_F16, n - i);
}

void wn_leaf_avx2(struct wn_leaf *leaf)
{
    /* A run of 256 keeps a panel of w (16 KB) in the first-level cache; mc x kc and the sums fit the second.
     */
    const struct wn_leaf_gemm f32 = {.mr = MR,
                                     .nr = NR,
                                     .kr = 1,
                                     .mc = 192,
                                     .nc = 256,
                                     .kc = 256,
                                     .a_bytes = 4,
                                     .w_bytes = 4,
                                     .pack_a = pack_a_f32,
                                     .pack_w = pack_w_f32,
                                     .pack_kn = pack_kn_f32,
                                     .block = block};
    *leaf = (struct wn_leaf){.isa = "avx2",
                             .rows = &wn_rows_avx2,
                             .peak_f32 = wn_peak_f32_avx2,
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
