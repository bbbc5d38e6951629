/* FEAT_BF16 beside NEON: BFMMLA, which adds the products of two rows by two columns over four inputs, four
 * multiply-adds for one of float32 in the cores whose tables are published (one instruction of either for
 * each vector unit and cycle). So the bf16 product has four times the rate of float32. A float32-grade
 * product with weights that are exact in bf16 takes two of them, half of the time, and is done so, with x =
 * hi + lo as in leaf_amx.c; with other weights three of them would take 3/4, before both operands are split:
 * it stays in float32, as does everything else of the level below.
 *
 * Operands are packed in groups of four inputs: for each of a's parts (hi, lo) 12 rows, for w 8 columns, the
 * four inputs of one side by side. Groups past the end of a run are filled with zeros.
 */
#include "backend/cpu/peak.h"
#include "backend/cpu/vector_neon.h"

enum { MR = 12, NR = 8, GROUP = 4 };

/* ---- packing ---- */

/* What bf16 rounding to `hi` took off; 0 where that is not finite, so that an infinite x stays infinite. */
WN_INLINE uint16x4_t low_part(vf x, uint16x4_t hi)
{
    vf low = x - (vf)vshll_n_u16(hi, 16);
    low = (vf)((vi)low & (((vi)low & 0x7f800000) != 0x7f800000));
    return vreinterpret_u16_bf16(vcvt_bf16_f32((float32x4_t)low));
}

WN_INLINE uint16x4_t high_part(vf x)
{
    return vreinterpret_u16_bf16(vcvt_bf16_f32((float32x4_t)x));
}

/* Up to four inputs of a row and zeros after them; `lo` NULL: only their high parts. */
WN_INLINE void pack_group(uint16_t *hi, uint16_t *lo, const char *src, enum wn_dtype type, int64_t n)
{
    if (type == WN_BF16) { /* nothing is rounded off */
        uint16x4_t h = vdup_n_u16(0);
        memcpy(&h, src, n < GROUP ? (size_t)n * sizeof *hi : sizeof h);
        vst1_u16(hi, h);
        if (lo) vst1_u16(lo, vdup_n_u16(0));
        return;
    }
    vf x = load_any(src, type, n);
    vst1_u16(hi, high_part(x));
    if (lo) vst1_u16(lo, low_part(x, high_part(x)));
}

WN_INLINE void pack_rows(uint16_t *dst, const void *const *row, int rows, int n_rows, enum wn_dtype type,
                         int64_t k, int parts)
{
    const size_t size = wn_dtype_size(type);
    for (int i = 0; i < rows; i++) {
        const char *src = i < n_rows ? row[i] : NULL;
        uint16_t *to = dst + i * GROUP;
        for (int64_t p = 0; p < k; p += GROUP, to += parts * rows * GROUP) {
            uint16_t *lo = parts == 2 ? to + rows * GROUP : NULL;
            if (src)
                pack_group(to, lo, src + (size_t)p * size, type, wn_left(k, p, GROUP));
            else {
                vst1_u16(to, vdup_n_u16(0));
                if (lo) vst1_u16(lo, vdup_n_u16(0));
            }
        }
    }
}

static void pack_a_1(void *dst, const void *const *row, int n_rows, enum wn_dtype type, int64_t k)
{
    if (type == WN_BF16)
        pack_rows(dst, row, MR, n_rows, WN_BF16, k, 1);
    else
        pack_rows(dst, row, MR, n_rows, WN_F32, k, 1);
}

static void pack_a_2(void *dst, const void *const *row, int n_rows, enum wn_dtype type, int64_t k)
{
    if (type == WN_BF16)
        pack_rows(dst, row, MR, n_rows, WN_BF16, k, 2);
    else
        pack_rows(dst, row, MR, n_rows, WN_F32, k, 2);
}

static void pack_w(void *dst, const void *const *row, int n_rows, enum wn_dtype type, int64_t k)
{
    if (type == WN_BF16)
        pack_rows(dst, row, NR, n_rows, WN_BF16, k, 1);
    else
        pack_rows(dst, row, NR, n_rows, type, k, 1);
}

/* Up to eight columns of one input. */
WN_INLINE uint16x8_t load_columns(const char *src, enum wn_dtype type, int n)
{
    if (type == WN_BF16) {
        uint16x8_t h = vdupq_n_u16(0);
        memcpy(&h, src, n < NR ? (size_t)n * sizeof(uint16_t) : sizeof h);
        return h;
    }
    vf lo = v_load_n(src, type, n < 4 ? n : 4), hi = n > 4 ? v_load_n(src + 16, type, n - 4) : v_set(0);
    return vcombine_u16(high_part(lo), high_part(hi));
}

WN_INLINE void pack_columns(uint16_t *dst, const char *src, size_t stride, int n, enum wn_dtype type,
                            int64_t k)
{
    for (int64_t p = 0; p < k; p += GROUP, dst += NR * GROUP, src += GROUP * stride) {
        uint16x8x4_t in;
        for (int j = 0; j < GROUP; j++)
            in.val[j] = p + j < k ? load_columns(src + (size_t)j * stride, type, n) : vdupq_n_u16(0);
        vst4q_u16(dst, in); /* interleaves them */
    }
}

static void pack_kn(void *dst, const void *src, size_t stride, int n, enum wn_dtype type, int64_t k)
{
    if (type == WN_BF16)
        pack_columns(dst, src, stride, n, WN_BF16, k);
    else
        pack_columns(dst, src, stride, n, WN_F32, k);
}

/* ---- products ---- */

/* Sums of rows 2i and 2i + 1 by columns 2j and 2j + 1: six pairs of rows by four of columns fill twenty-four
 * registers, four hold the columns. As in leaf_f32.h, each has a name of its own. */
#define EACH_PAIR(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)
#define PAIR_ZERO(i) \
    float32x4_t s##i##0 = vdupq_n_f32(0), s##i##1 = s##i##0, s##i##2 = s##i##0, s##i##3 = s##i##0;
#define PAIR_MUL(i, from)                   \
    x = load_pair(from, i);                 \
    s##i##0 = vbfmmlaq_f32(s##i##0, x, w0); \
    s##i##1 = vbfmmlaq_f32(s##i##1, x, w1); \
    s##i##2 = vbfmmlaq_f32(s##i##2, x, w2); \
    s##i##3 = vbfmmlaq_f32(s##i##3, x, w3);
#define PAIR_STEP(i)                \
    PAIR_MUL(i, a)                  \
    if (a_parts == 2) {             \
        PAIR_MUL(i, a + MR * GROUP) \
    }
#define PAIR_STORE(i)                                               \
    store_pair(c + 2 * i * ldc, ldc, s##i##0, s##i##1, accumulate); \
    store_pair(c + 2 * i * ldc + 4, ldc, s##i##2, s##i##3, accumulate);

/* The four inputs of pair i of rows or columns. */
WN_INLINE bfloat16x8_t load_pair(const uint16_t *p, int i)
{
    return vreinterpretq_bf16_u16(vld1q_u16(p + 2 * GROUP * i));
}

/* Two rows by four columns. */
WN_INLINE void store_pair(float *c, int64_t ldc, float32x4_t left, float32x4_t right, bool accumulate)
{
    float32x4_t even = vcombine_f32(vget_low_f32(left), vget_low_f32(right)),
                odd = vcombine_f32(vget_high_f32(left), vget_high_f32(right));
    if (accumulate) {
        even = vaddq_f32(even, vld1q_f32(c));
        odd = vaddq_f32(odd, vld1q_f32(c + ldc));
    }
    vst1q_f32(c, even);
    vst1q_f32(c + ldc, odd);
}

WN_INLINE void kernel(int64_t k, const uint16_t *a, const uint16_t *w, float *c, int64_t ldc, bool accumulate,
                      int a_parts)
{
    EACH_PAIR(PAIR_ZERO)
    for (; k > 0; k -= GROUP, a += a_parts * MR * GROUP, w += NR * GROUP) {
        bfloat16x8_t w0 = load_pair(w, 0), w1 = load_pair(w, 1), w2 = load_pair(w, 2), w3 = load_pair(w, 3),
                     x;
        EACH_PAIR(PAIR_STEP)
    }
    EACH_PAIR(PAIR_STORE)
}

WN_INLINE void block(int64_t k, int m_tiles, int n_panels, const void *a, const void *w, size_t w_stride,
                     float *c, int64_t ldc, bool accumulate, int a_parts)
{
    for (int j = 0; j < n_panels; j++)
        for (int i = 0; i < m_tiles; i++)
            kernel(k, (const uint16_t *)a + i * MR * k * a_parts,
                   (const uint16_t *)((const char *)w + (size_t)j * w_stride), c + i * MR * ldc + j * NR, ldc,
                   accumulate, a_parts);
}

static void block_1(int64_t k, int m_tiles, int n_panels, const void *a, const void *w, size_t w_stride,
                    float *c, int64_t ldc, bool accumulate)
{
    block(k, m_tiles, n_panels, a, w, w_stride, c, ldc, accumulate, 1);
}

static void block_2(int64_t k, int m_tiles, int n_panels, const void *a, const void *w, size_t w_stride,
                    float *c, int64_t ldc, bool accumulate)
{
    block(k, m_tiles, n_panels, a, w, w_stride, c, ldc, accumulate, 2);
}

void wn_leaf_neonbf16(struct wn_leaf *leaf)
{
    /* Reasoned, not measured: as in leaf_neon.c, with twice the run in the same bytes. */
    const struct wn_leaf_gemm bf16 = {.mr = MR,
                                      .nr = NR,
                                      .kr = GROUP,
                                      .mc = 240,
                                      .nc = 256,
                                      .kc = 512,
                                      .a_bytes = 2,
                                      .w_bytes = 2,
                                      .pack_a = pack_a_1,
                                      .pack_w = pack_w,
                                      .pack_kn = pack_kn,
                                      .block = block_1};
    struct wn_leaf_gemm f32x_w1 = bf16;
    f32x_w1.kc = 256;
    f32x_w1.a_bytes = 4;
    f32x_w1.pack_a = pack_a_2;
    f32x_w1.block = block_2;
    leaf->isa = "neonbf16";
    leaf->peak_bf16 = wn_peak_bf16_neonbf16;
    leaf->gemm[WN_LEAF_BF16] = bf16;
    leaf->gemm[WN_LEAF_F32X_W1] = f32x_w1;
}
