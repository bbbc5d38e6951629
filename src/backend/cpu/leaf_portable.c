/* The lowest level: any machine, in the compilers' vector types (SSE2 and NEON do well with them). */
#include "backend/cpu/leaf_row.h"
#include "backend/cpu/peak.h"
#include "backend/cpu/rows.h"

enum { MR = 4, NR = 8 };

float wn_leaf_f8[2][256];

/* `rows` rows of k elements become k groups of `rows` values, a strip of each row at a time. */
static void pack_rows(float *dst, const void *const *row, int rows, int n_rows, enum wn_dtype type, int64_t k,
                      bool round)
{
    float strip[64];
    size_t size = wn_dtype_size(type);
    for (int i = 0; i < rows; i++) {
        const char *src = i < n_rows ? row[i] : NULL;
        for (int64_t p = 0; p < k; p += 64) {
            int64_t n = wn_left(k, p, 64);
            if (src)
                row_to_f32(strip, src + (size_t)p * size, type, n);
            else
                memset(strip, 0, sizeof strip);
            if (src && round) row_round_bf16(strip, n);
            for (int64_t j = 0; j < n; j++) dst[(p + j) * rows + i] = strip[j];
        }
    }
}

static void pack_a_f32(void *dst, const void *const *row, int n_rows, enum wn_dtype type, int64_t k)
{
    pack_rows(dst, row, MR, n_rows, type, k, false);
}

static void pack_a_bf16(void *dst, const void *const *row, int n_rows, enum wn_dtype type, int64_t k)
{
    pack_rows(dst, row, MR, n_rows, type, k, true);
}

static void pack_w_f32(void *dst, const void *const *row, int n_rows, enum wn_dtype type, int64_t k)
{
    pack_rows(dst, row, NR, n_rows, type, k, false);
}

static void pack_w_bf16(void *dst, const void *const *row, int n_rows, enum wn_dtype type, int64_t k)
{
    pack_rows(dst, row, NR, n_rows, type, k, true);
}

static void pack_kn(float *dst, const char *src, size_t stride, int n, enum wn_dtype type, int64_t k,
                    bool round)
{
    for (int64_t p = 0; p < k; p++, dst += NR, src += stride) {
        vf v = v_load_n(src, type, n);
        v_store(dst, round ? v_round_bf16(v) : v);
    }
}

static void pack_kn_f32(void *dst, const void *src, size_t stride, int n, enum wn_dtype type, int64_t k)
{
    pack_kn(dst, src, stride, n, type, k, false);
}

static void pack_kn_bf16(void *dst, const void *src, size_t stride, int n, enum wn_dtype type, int64_t k)
{
    pack_kn(dst, src, stride, n, type, k, true);
}

static void kernel(int64_t k, const float *a, const float *w, float *c, int64_t ldc, bool accumulate)
{
    vf acc[MR] = {v_set(0), v_set(0), v_set(0), v_set(0)};
    for (int64_t p = 0; p < k; p++, a += MR, w += NR) {
        vf b = v_load(w);
        for (int i = 0; i < MR; i++) acc[i] += a[i] * b;
    }
    for (int i = 0; i < MR; i++) {
        if (accumulate) acc[i] += v_load(c + i * ldc);
        v_store(c + i * ldc, acc[i]);
    }
}

static void block(int64_t k, int m_tiles, int n_panels, const void *a, const void *w, size_t w_stride,
                  float *c, int64_t ldc, bool accumulate)
{
    for (int j = 0; j < n_panels; j++)
        for (int i = 0; i < m_tiles; i++)
            kernel(k, (const float *)a + i * MR * k, (const float *)((const char *)w + (size_t)j * w_stride),
                   c + i * MR * ldc + j * NR, ldc, accumulate);
}

static void dot(int64_t k, const float *a, int64_t lda, int m, const float *w, int64_t ldw, int n, float *c,
                int64_t ldc)
{
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            const float *x = a + i * lda, *y = w + j * ldw;
            vf acc[2] = {v_set(0), v_set(0)};
            int64_t p = 0;
            for (; p + 16 <= k; p += 16)
                for (int u = 0; u < 2; u++) acc[u] += v_load(x + p + 8 * u) * v_load(y + p + 8 * u);
            for (; p < k; p += 8) {
                int64_t left = wn_left(k, p, 8);
                acc[0] += v_load_n(x + p, WN_F32, left) * v_load_n(y + p, WN_F32, left);
            }
            c[i * ldc + j] += v_sum(acc[0] + acc[1]);
        }
}

static void to_f32(float *dst, const void *src, enum wn_dtype type, int64_t n)
{
    row_to_f32(dst, src, type, n);
}

void wn_leaf_portable(struct wn_leaf *leaf)
{
    const struct wn_leaf_gemm f32 = {.mr = MR,
                                     .nr = NR,
                                     .kr = 1,
                                     .mc = 128,
                                     .nc = 256,
                                     .kc = 256,
                                     .a_bytes = 4,
                                     .w_bytes = 4,
                                     .pack_a = pack_a_f32,
                                     .pack_w = pack_w_f32,
                                     .pack_kn = pack_kn_f32,
                                     .block = block};
    *leaf = (struct wn_leaf){.isa = "portable",
                             .rows = &wn_rows_portable,
                             .peak_f32 = wn_peak_f32_portable,
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
