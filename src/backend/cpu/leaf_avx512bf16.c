/* AVX512_BF16 beside AVX-512: the bf16 product, two inputs at a time. Both operands are packed in pairs of
 * inputs, 12 rows or 32 columns of pairs for each. Everything else stays as the level below left it: three
 * such products take longer than one in float32. */
#include "backend/cpu/peak.h"
#include "backend/cpu/vector_512.h"

enum { MR = 12, NR = 32 };

/* c[i] += a[2i] w[2i] + a[2i + 1] w[2i + 1], of bf16 pairs. */
WN_INLINE vf dot_pairs(vf c, vu a, vu w)
{
#if defined(WN_ISA_EMULATION)
    c += (vf)(a << 16) * (vf)(w << 16);
    return c + (vf)(a & 0xffff0000) * (vf)(w & 0xffff0000);
#else
    return (vf)_mm512_dpbf16_ps((__m512)c, (__m512bh)a, (__m512bh)w);
#endif
}

/* Two neighbouring inputs of a row, n_rows apart in the result: row i of `dst` is its pair. */
WN_INLINE vu pairs_of(const char *src, enum wn_dtype type, int64_t n)
{
    uint16_t h[32] = {0};
    const size_t size = wn_dtype_size(type);
    if (type == WN_BF16) {
        memcpy(h, src, (size_t)n * 2);
    } else {
        v_store_bf16(h, load_any(src, type, n < 16 ? n : 16));
        if (n > 16) v_store_bf16(h + 16, load_any(src + 16 * size, type, n - 16));
    }
    vu pairs;
    memcpy(&pairs, h, sizeof pairs);
    return pairs;
}

/* `rows` rows of k inputs become ceil(k / 2) groups of `rows` pairs. */
WN_INLINE void pack_rows(uint32_t *dst, const void *const *row, int rows, int n_rows, enum wn_dtype type,
                         int64_t k)
{
    const size_t size = wn_dtype_size(type);
    for (int g = 0; g < rows; g += 16) {
        const int group = rows - g < 16 ? rows - g : 16;
        for (int64_t p = 0; p < k; p += 32) {
            const int64_t left = wn_left(k, p, 32);
            vf r[16];
            for (int i = 0; i < 16; i++) {
                const char *src = i < group && g + i < n_rows ? row[g + i] : NULL;
                r[i] = src ? (vf)pairs_of(src + (size_t)p * size, type, left) : v_set(0);
            }
            transpose_16(r);
            uint32_t *to = dst + p / 2 * rows + g;
            for (int j = 0; j < 16 && 2 * j < left; j++) v_store_first((float *)(to + j * rows), r[j], group);
        }
    }
}

static void pack_a(void *dst, const void *const *row, int n_rows, enum wn_dtype type, int64_t k)
{
    if (type == WN_BF16)
        pack_rows(dst, row, MR, n_rows, WN_BF16, k);
    else
        pack_rows(dst, row, MR, n_rows, WN_F32, k);
}

static void pack_w(void *dst, const void *const *row, int n_rows, enum wn_dtype type, int64_t k)
{
    if (type == WN_BF16)
        pack_rows(dst, row, NR, n_rows, WN_BF16, k);
    else
        pack_rows(dst, row, NR, n_rows, type, k);
}

static void pack_kn(void *dst, const void *src, size_t stride, int n, enum wn_dtype type, int64_t k)
{
    const size_t half = type == WN_BF16 ? 32 : 64;
    uint32_t *to = dst;
    const char *s = src;
    for (int64_t p = 0; p < k; p += 2, to += NR, s += 2 * stride)
        for (int c = 0; c < 2; c++) {
            int left = n - 16 * c < 16 ? n - 16 * c : 16;
            const char *at = s + (size_t)c * half;
            vf even = left > 0 ? v_load_n(at, type, left) : v_set(0);
            vf odd = left > 0 && p + 1 < k ? v_load_n(at + stride, type, left) : v_set(0);
            vu pairs = v_narrow_bf16(even) | v_narrow_bf16(odd) << 16;
            memcpy(to + 16 * c, &pairs, sizeof pairs);
        }
}

/* As in leaf_avx512.c, with pairs for elements. */
#define EACH_ROW(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)
#define ROW_ZERO(i) vf lo##i = v_set(0), hi##i = lo##i;
#define ROW_STEP(i)                  \
    x = (vu){0} + a[i];              \
    lo##i = dot_pairs(lo##i, x, w0); \
    hi##i = dot_pairs(hi##i, x, w1);
#define ROW_ADD(i)                \
    lo##i += v_load(c + i * ldc); \
    hi##i += v_load(c + i * ldc + 16);
#define ROW_STORE(i)             \
    v_store(c + i * ldc, lo##i); \
    v_store(c + i * ldc + 16, hi##i);

static void kernel(int64_t k, const uint32_t *a, const uint32_t *w, float *c, int64_t ldc, bool accumulate)
{
    EACH_ROW(ROW_ZERO)
    for (; k > 0; k -= 2, a += MR, w += NR) {
        vu w0 = (vu)v_load(w), w1 = (vu)v_load(w + 16), x;
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
            kernel(k, (const uint32_t *)a + i * MR * k / 2,
                   (const uint32_t *)((const char *)w + (size_t)j * w_stride), c + i * MR * ldc + j * NR, ldc,
                   accumulate);
}

void wn_leaf_avx512bf16(struct wn_leaf *leaf)
{
    leaf->isa = "avx512bf16";
    leaf->peak_bf16 = wn_peak_bf16_avx512bf16;
    leaf->gemm[WN_LEAF_BF16] = (struct wn_leaf_gemm){.mr = MR,
                                                     .nr = NR,
                                                     .kr = 2,
                                                     .mc = 240,
                                                     .nc = 256,
                                                     .kc = 384,
                                                     .a_bytes = 2,
                                                     .w_bytes = 2,
                                                     .pack_a = pack_a,
                                                     .pack_w = pack_w,
                                                     .pack_kn = pack_kn,
                                                     .block = block};
}
