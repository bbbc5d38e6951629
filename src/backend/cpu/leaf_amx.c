/* AMX: 16 x 16 float32 tiles of sums from 16 x 32 tiles of bf16. Replaces the bf16 product and adds
 * float32-grade products as sums of bf16 parts: x = hi + lo, x y = hi hi + hi lo + lo hi, leaving out lo lo
 * (2^-18 of the product) and what lo cannot hold. The float32 product and all else stay as the level below
 * left them.
 *
 * Both operands are packed in steps of 32 inputs:
 *   a: for each part (hi, lo), two tiles of 16 rows x 32 inputs;
 *   w: for each part, two tiles of 16 input pairs x 16 columns, the two inputs of a pair side by side.
 */
#include "backend/cpu/leaf_x86.h"

#if defined(WN_AMX_EMULATION)
#include "backend/cpu/amx_emulation.h"
#else
/* All eight tiles 16 rows of 64 bytes. */
static const struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config = {
    .palette = 1, .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
#define TILES_BEGIN() _tile_loadconfig(&tile_config)
#define TILES_END() _tile_release()
#define TILE_ZERO(t) _tile_zero(t)
#define TILE_LOAD(t, src, stride) _tile_loadd(t, src, stride)
#define TILE_STORE(t, dst, stride) _tile_stored(t, dst, stride)
#define TILE_DOT(c, a, b) _tile_dpbf16ps(c, a, b)
#endif

enum { MR = 32, NR = 32, STEP = 32, TILE_BYTES = 1024, PAIR_BYTES = 2 * TILE_BYTES };

/* 16 floats as 16 bf16 values in memory order. */
WN_INLINE void store_bf16(uint16_t *dst, v8f v0, v8f v1)
{
    v8h h0 = __builtin_convertvector(v8_narrow_bf16(v0), v8h),
        h1 = __builtin_convertvector(v8_narrow_bf16(v1), v8h);
    memcpy(dst, &h0, sizeof h0);
    memcpy(dst + 8, &h1, sizeof h1);
}

/* What bf16 rounding took off; 0 where that is not finite, so that an infinite x stays infinite. */
WN_INLINE v8f low_part(v8f x)
{
    v8f low = x - v8_round_bf16(x);
    return (v8f)((v8i)low & (((v8i)low & 0x7f800000) != 0x7f800000));
}

/* n <= 32 elements of a row, zeros after them; src NULL: zeros. lo may be NULL. */
static inline void split_row(uint16_t *hi, uint16_t *lo, const void *src, enum wn_dtype type, int64_t n)
{
    float x[STEP];
    if (!src || type == WN_BF16) {
        memset(hi, 0, STEP * sizeof *hi);
        if (src) memcpy(hi, src, (size_t)n * sizeof *hi);
        if (lo) memset(lo, 0, STEP * sizeof *lo);
        return;
    }
    if (n < STEP) memset(x, 0, sizeof x);
    row_to_f32(x, src, type, n);
    for (int i = 0; i < STEP; i += 16) {
        v8f v0 = v8_load(x + i), v1 = v8_load(x + i + 8);
        store_bf16(hi + i, v0, v1);
        if (lo) store_bf16(lo + i, low_part(v0), low_part(v1));
    }
}

static const void *row_at(const void *row, enum wn_dtype type, int64_t k)
{
    return row ? (const char *)row + (size_t)k * wn_dtype_size(type) : NULL;
}

WN_INLINE void pack_a(uint8_t *dst, const void *const *row, int n_rows, enum wn_dtype type, int64_t k,
                      int parts)
{
    for (int64_t p = 0; p < k; p += STEP, dst += parts * PAIR_BYTES)
        for (int i = 0; i < MR; i++) {
            uint16_t *hi = (uint16_t *)dst + i * STEP, *lo = parts == 2 ? hi + MR * STEP : NULL;
            split_row(hi, lo, i < n_rows ? row_at(row[i], type, p) : NULL, type, wn_left(k, p, STEP));
        }
}

static void pack_a_1(void *dst, const void *const *row, int n_rows, enum wn_dtype type, int64_t k)
{
    pack_a(dst, row, n_rows, type, k, 1);
}

static void pack_a_2(void *dst, const void *const *row, int n_rows, enum wn_dtype type, int64_t k)
{
    pack_a(dst, row, n_rows, type, k, 2);
}

/* 16 rows of 16 input pairs become 16 pairs of 16 columns. */
static void turn_tile(uint8_t *dst, uint16_t src[16][STEP])
{
    for (int i = 0; i < 16; i += 8)
        for (int j = 0; j < 16; j += 8) {
            __m256 r[8];
            for (int u = 0; u < 8; u++)
                r[u] = _mm256_loadu_ps((const float *)(const void *)&src[i + u][2 * j]);
            transpose_8(r);
            for (int u = 0; u < 8; u++) _mm256_storeu_ps((float *)(void *)(dst + (j + u) * 64 + i * 4), r[u]);
        }
}

WN_INLINE void pack_w(uint8_t *dst, const void *const *row, int n_rows, enum wn_dtype type, int64_t k,
                      int parts)
{
    uint16_t hi[16][STEP], lo[16][STEP];
    for (int64_t p = 0; p < k; p += STEP, dst += parts * PAIR_BYTES)
        for (int half = 0; half < 2; half++) {
            for (int i = 0; i < 16; i++) {
                int r = half * 16 + i;
                split_row(hi[i], parts == 2 ? lo[i] : NULL, r < n_rows ? row_at(row[r], type, p) : NULL, type,
                          wn_left(k, p, STEP));
            }
            turn_tile(dst + half * TILE_BYTES, hi);
            if (parts == 2) turn_tile(dst + PAIR_BYTES + half * TILE_BYTES, lo);
        }
}

static void pack_w_1(void *dst, const void *const *row, int n_rows, enum wn_dtype type, int64_t k)
{
    pack_w(dst, row, n_rows, type, k, 1);
}

static void pack_w_2(void *dst, const void *const *row, int n_rows, enum wn_dtype type, int64_t k)
{
    pack_w(dst, row, n_rows, type, k, 2);
}

/* Two neighbouring inputs of 8 columns, side by side. */
WN_INLINE void store_pairs(uint8_t *dst, v8f even, v8f odd)
{
    v8u pairs = v8_narrow_bf16(even) | v8_narrow_bf16(odd) << 16;
    memcpy(dst, &pairs, sizeof pairs);
}

WN_INLINE void pack_kn(uint8_t *dst, const char *src, size_t stride, int n, enum wn_dtype type, int64_t k,
                       int parts)
{
    const size_t size = type == WN_BF16 ? 2 : 4;
    for (int64_t p = 0; p < (k + STEP - 1) / STEP * STEP; p += 2) {
        uint8_t *to = dst + p / STEP * parts * PAIR_BYTES + p % STEP / 2 * 64;
        for (int c = 0; c < NR; c += 8) {
            int left = n - c < 8 ? n - c : 8;
            const char *at = src + (size_t)p * stride + (size_t)c * size;
            v8f even = left > 0 && p < k ? v8_load_n(at, type, left) : v8_set(0);
            v8f odd = left > 0 && p + 1 < k ? v8_load_n(at + stride, type, left) : v8_set(0);
            uint8_t *pair = to + c / 16 * TILE_BYTES + c % 16 * 4;
            store_pairs(pair, even, odd);
            if (parts == 2) store_pairs(pair + PAIR_BYTES, low_part(even), low_part(odd));
        }
    }
}

static void pack_kn_1(void *dst, const void *src, size_t stride, int n, enum wn_dtype type, int64_t k)
{
    pack_kn(dst, src, stride, n, type, k, 1);
}

static void pack_kn_2(void *dst, const void *src, size_t stride, int n, enum wn_dtype type, int64_t k)
{
    pack_kn(dst, src, stride, n, type, k, 2);
}

/* Tiles 0..3: sums; 4, 5: rows of a; 6, 7: columns of w. */
#define DOT_FOUR()         \
    do {                   \
        TILE_DOT(0, 4, 6); \
        TILE_DOT(1, 4, 7); \
        TILE_DOT(2, 5, 6); \
        TILE_DOT(3, 5, 7); \
    } while (0)

#define LOAD_A(src)                           \
    do {                                      \
        TILE_LOAD(4, src, 64);                \
        TILE_LOAD(5, (src) + TILE_BYTES, 64); \
    } while (0)

#define LOAD_W(src)                           \
    do {                                      \
        TILE_LOAD(6, src, 64);                \
        TILE_LOAD(7, (src) + TILE_BYTES, 64); \
    } while (0)

WN_INLINE void kernel(int64_t k, const uint8_t *a, const uint8_t *w, float *c, int64_t ldc, bool accumulate,
                      int a_parts, int w_parts)
{
    float *c1 = c + 16 * ldc;
    const size_t stride = (size_t)ldc * sizeof *c;
    if (accumulate) {
        TILE_LOAD(0, c, stride);
        TILE_LOAD(1, c + 16, stride);
        TILE_LOAD(2, c1, stride);
        TILE_LOAD(3, c1 + 16, stride);
    } else {
        TILE_ZERO(0);
        TILE_ZERO(1);
        TILE_ZERO(2);
        TILE_ZERO(3);
    }
    for (; k > 0; k -= STEP, a += a_parts * PAIR_BYTES, w += w_parts * PAIR_BYTES) {
        LOAD_A(a);
        if (w_parts == 2) {
            LOAD_W(w + PAIR_BYTES);
            DOT_FOUR();
        }
        LOAD_W(w);
        DOT_FOUR();
        if (a_parts == 2) {
            LOAD_A(a + PAIR_BYTES);
            DOT_FOUR();
        }
    }
    TILE_STORE(0, c, stride);
    TILE_STORE(1, c + 16, stride);
    TILE_STORE(2, c1, stride);
    TILE_STORE(3, c1 + 16, stride);
}

WN_INLINE void block(int64_t k, int m_tiles, int n_panels, const uint8_t *a, const uint8_t *w,
                     size_t w_stride, float *c, int64_t ldc, bool accumulate, int a_parts, int w_parts)
{
    TILES_BEGIN();
    for (int j = 0; j < n_panels; j++)
        for (int i = 0; i < m_tiles; i++)
            kernel(k, a + i * (k / STEP) * a_parts * PAIR_BYTES, w + (size_t)j * w_stride,
                   c + i * MR * ldc + j * NR, ldc, accumulate, a_parts, w_parts);
    TILES_END();
}

static void block_11(int64_t k, int m_tiles, int n_panels, const void *a, const void *w, size_t w_stride,
                     float *c, int64_t ldc, bool accumulate)
{
    block(k, m_tiles, n_panels, a, w, w_stride, c, ldc, accumulate, 1, 1);
}

static void block_21(int64_t k, int m_tiles, int n_panels, const void *a, const void *w, size_t w_stride,
                     float *c, int64_t ldc, bool accumulate)
{
    block(k, m_tiles, n_panels, a, w, w_stride, c, ldc, accumulate, 2, 1);
}

static void block_22(int64_t k, int m_tiles, int n_panels, const void *a, const void *w, size_t w_stride,
                     float *c, int64_t ldc, bool accumulate)
{
    block(k, m_tiles, n_panels, a, w, w_stride, c, ldc, accumulate, 2, 2);
}

void wn_leaf_amx(struct wn_leaf *leaf)
{
    /* A block of a (256 KB a part) and the sums (512 KB) fit the second-level cache of machines with AMX, 2
     * MB. */
    const struct wn_leaf_gemm bf16 = {.mr = MR,
                                      .nr = NR,
                                      .kr = STEP,
                                      .mc = 256,
                                      .nc = 512,
                                      .kc = 512,
                                      .a_bytes = 2,
                                      .w_bytes = 2,
                                      .pack_a = pack_a_1,
                                      .pack_w = pack_w_1,
                                      .pack_kn = pack_kn_1,
                                      .block = block_11};
    struct wn_leaf_gemm f32x = bf16, f32x_w1 = bf16;
    f32x.a_bytes = f32x_w1.a_bytes = f32x.w_bytes = 4;
    f32x.pack_a = f32x_w1.pack_a = pack_a_2;
    f32x.pack_w = pack_w_2;
    f32x.pack_kn = pack_kn_2;
    f32x.block = block_22;
    f32x_w1.block = block_21;
    leaf->isa = "amx";
    leaf->gemm[WN_LEAF_BF16] = bf16;
    leaf->gemm[WN_LEAF_F32X] = f32x;
    leaf->gemm[WN_LEAF_F32X_W1] = f32x_w1;
}
