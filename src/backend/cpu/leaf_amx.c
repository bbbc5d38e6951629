/* AMX: 16 x 16 float32 tiles of sums from 16 x 32 tiles of bf16. Replaces the bf16 product and adds
 * float32-grade products as sums of bf16 parts: x = hi + lo, x y = hi hi + hi lo + lo hi, leaving out lo lo
 * (2^-18 of the product) and what lo cannot hold. The float32 product and all else stay as the level below
 * left them.
 *
 * Both operands are packed in steps of 32 inputs:
 *   a: for each part (hi, lo), two tiles of 16 rows x 32 inputs;
 *   w: for each part, two tiles of 16 input pairs x 16 columns, the two inputs of a pair side by side.
 * Tiles of a are also loaded from rows that lie elsewhere (block_rows): packing costs a good part of the
 * time that the products take.
 */
#include "backend/cpu/peak.h"
#include "backend/cpu/vector_512.h"

#if defined(WN_ISA_EMULATION)
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
/* Bytes that rows in main memory are asked for in advance. */
enum { AHEAD = 1024 };

/* ---- packing ---- */

/* What bf16 rounding took off; 0 where that is not finite, so that an infinite x stays infinite. */
WN_INLINE vf low_part(vf x)
{
    vf low = x - v_round_bf16(x);
    return (vf)((vi)low & (((vi)low & 0x7f800000) != 0x7f800000));
}

/* Up to 16 elements; without `lo` only their high parts. */
WN_INLINE void split_16(uint16_t *hi, uint16_t *lo, const char *src, enum wn_dtype type, int64_t n)
{
    vf x = load_any(src, type, n);
    v_store_bf16(hi, x);
    if (lo) v_store_bf16(lo, low_part(x));
}

/* n elements of a row. */
WN_INLINE void split(uint16_t *hi, uint16_t *lo, const void *src, enum wn_dtype type, int64_t n)
{
    const size_t size = wn_dtype_size(type);
    if (type == WN_BF16) { /* nothing is rounded off */
        memcpy(hi, src, (size_t)n * sizeof *hi);
        if (lo) memset(lo, 0, (size_t)n * sizeof *lo);
        return;
    }
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        split_16(hi + i, lo ? lo + i : NULL, (const char *)src + (size_t)i * size, type, 16);
    if (i == n) return;
    uint16_t last[2][16];
    split_16(last[0], last[1], (const char *)src + (size_t)i * size, type, n - i);
    memcpy(hi + i, last[0], (size_t)(n - i) * sizeof *hi);
    if (lo) memcpy(lo + i, last[1], (size_t)(n - i) * sizeof *lo);
}

static void split_1(uint16_t *hi, uint16_t *lo, const void *src, enum wn_dtype type, int64_t n)
{
    (void)lo;
    split(hi, NULL, src, type, n);
}

static void split_2(uint16_t *hi, uint16_t *lo, const void *src, enum wn_dtype type, int64_t n)
{
    split(hi, lo, src, type, n);
}

/* Inputs [p, p + n) of a row, n <= 32, and zeros after them; row NULL: zeros. */
WN_INLINE void split_step(uint16_t *hi, uint16_t *lo, const char *row, enum wn_dtype type, int64_t p,
                          int64_t n)
{
    if (!row || n < STEP) {
        memset(hi, 0, STEP * sizeof *hi);
        if (lo) memset(lo, 0, STEP * sizeof *lo);
    }
    if (!row) return;
    const char *src = row + (size_t)p * wn_dtype_size(type);
    if (n == STEP)
        split(hi, lo, src, type, STEP);
    else
        split(hi, lo, src, type, n);
}

WN_INLINE void pack_a(uint8_t *dst, const void *const *row, int n_rows, enum wn_dtype type, int64_t k,
                      int parts)
{
    for (int64_t p = 0; p < k; p += STEP, dst += parts * PAIR_BYTES)
        for (int i = 0; i < MR; i++) {
            uint16_t *hi = (uint16_t *)dst + i * STEP, *lo = parts == 2 ? hi + MR * STEP : NULL;
            split_step(hi, lo, i < n_rows ? row[i] : NULL, type, p, wn_left(k, p, STEP));
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
    vf r[16];
    for (int i = 0; i < 16; i++) r[i] = v_load(src[i]);
    transpose_16(r);
    for (int i = 0; i < 16; i++) v_store(dst + i * 64, r[i]);
}

WN_INLINE void pack_w(uint8_t *dst, const void *const *row, int n_rows, enum wn_dtype type, int64_t k,
                      int parts)
{
    uint16_t hi[16][STEP], lo[16][STEP];
    for (int half = 0; half < 2; half++) /* rows of a file, each read in the order of its inputs */
        for (int64_t p = 0; p < k; p += STEP) {
            uint8_t *to = dst + p / STEP * parts * PAIR_BYTES + half * TILE_BYTES;
            for (int i = 0; i < 16; i++) {
                int r = half * 16 + i;
                split_step(hi[i], parts == 2 ? lo[i] : NULL, r < n_rows ? row[r] : NULL, type, p,
                           wn_left(k, p, STEP));
            }
            turn_tile(to, hi);
            if (parts == 2) turn_tile(to + PAIR_BYTES, lo);
        }
}

static void pack_w_1(void *dst, const void *const *row, int n_rows, enum wn_dtype type, int64_t k)
{
    if (type == WN_BF16)
        pack_w(dst, row, n_rows, WN_BF16, k, 1);
    else
        pack_w(dst, row, n_rows, type, k, 1);
}

static void pack_w_2(void *dst, const void *const *row, int n_rows, enum wn_dtype type, int64_t k)
{
    pack_w(dst, row, n_rows, type, k, 2);
}

WN_INLINE void pack_kn(uint8_t *dst, const char *src, size_t stride, int n, enum wn_dtype type, int64_t k,
                       int parts)
{
    const size_t size = type == WN_BF16 ? 2 : 4;
    for (int64_t p = 0; p < (k + STEP - 1) / STEP * STEP; p += 2) {
        uint8_t *to = dst + p / STEP * parts * PAIR_BYTES + p % STEP / 2 * 64;
        for (int c = 0; c < NR; c += 16) {
            int left = n - c < 16 ? n - c : 16;
            const char *at = src + (size_t)p * stride + (size_t)c * size;
            vf even = left > 0 && p < k ? v_load_n(at, type, left) : v_set(0);
            vf odd = left > 0 && p + 1 < k ? v_load_n(at + stride, type, left) : v_set(0);
            uint8_t *pair = to + c / 16 * TILE_BYTES;
            v_store(pair, (vf)(v_narrow_bf16(even) | v_narrow_bf16(odd) << 16));
            if (parts == 2)
                v_store(pair + PAIR_BYTES,
                        (vf)(v_narrow_bf16(low_part(even)) | v_narrow_bf16(low_part(odd)) << 16));
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

/* ---- products ---- */

/* Tiles of a, packed or not: bytes from a row to the next, from a step of 32 inputs to the next, and from
 * high to low parts. */
struct a_form {
    int64_t row, step, lo;
};

/* Tiles 0..3: sums; 4, 5: rows of a; 6, 7: columns of w. */
#define DOT_FOUR()         \
    do {                   \
        TILE_DOT(0, 4, 6); \
        TILE_DOT(1, 4, 7); \
        TILE_DOT(2, 5, 6); \
        TILE_DOT(3, 5, 7); \
    } while (0)

#define LOAD_A(src)                                    \
    do {                                               \
        TILE_LOAD(4, src, form.row);                   \
        TILE_LOAD(5, (src) + 16 * form.row, form.row); \
    } while (0)

#define LOAD_W(src)                           \
    do {                                      \
        TILE_LOAD(6, src, 64);                \
        TILE_LOAD(7, (src) + TILE_BYTES, 64); \
    } while (0)

WN_INLINE void kernel(int64_t k, int n_runs, const ptrdiff_t *run, const uint8_t *a, struct a_form form,
                      const uint8_t *w, float *c, int64_t ldc, bool accumulate, int a_parts, int w_parts,
                      bool far)
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
    for (int r = 0; r < n_runs; r++) {
        const uint8_t *at = a + run[r];
        for (int64_t left = k; left > 0; left -= STEP, at += form.step, w += w_parts * PAIR_BYTES) {
            if (far)
                for (int i = 0; i < MR; i++)
                    _mm_prefetch((const char *)at + AHEAD + i * form.row, _MM_HINT_T0);
            LOAD_A(at);
            if (w_parts == 2) {
                LOAD_W(w + PAIR_BYTES);
                DOT_FOUR();
            }
            LOAD_W(w);
            DOT_FOUR();
            if (a_parts == 2) {
                LOAD_A(at + form.lo);
                DOT_FOUR();
            }
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
    static const ptrdiff_t start = 0;
    const struct a_form form = {64, a_parts * PAIR_BYTES, PAIR_BYTES};
    TILES_BEGIN();
    for (int j = 0; j < n_panels; j++)
        for (int i = 0; i < m_tiles; i++)
            kernel(k, 1, &start, a + i * (k / STEP) * form.step, form, w + (size_t)j * w_stride,
                   c + i * MR * ldc + j * NR, ldc, accumulate, a_parts, w_parts, false);
    TILES_END();
}

WN_INLINE void block_rows(const struct wn_leaf_rows *a, int m_tiles, int n_panels, const uint8_t *w,
                          size_t w_stride, float *c, int64_t ldc, bool accumulate, int a_parts, int w_parts)
{
    const struct a_form form = {a->row, STEP * sizeof *a->hi, a->lo};
    TILES_BEGIN();
    for (int j = 0; j < n_panels; j++)
        for (int i = 0; i < m_tiles; i++)
            kernel(a->k, a->n_runs, a->run, (const uint8_t *)a->hi + i * MR * a->row, form,
                   w + (size_t)j * w_stride, c + i * MR * ldc + j * NR, ldc, accumulate, a_parts, w_parts,
                   false);
    TILES_END();
}

/* A from main memory, which hardware that looks for streams does not fetch ahead of 32 rows at a time. */
WN_INLINE void block_far(const struct wn_leaf_rows *a, int m_tiles, int n_panels, const uint8_t *w,
                         size_t w_stride, float *c, int64_t ldc, bool accumulate, int w_parts)
{
    const struct a_form form = {a->row, STEP * sizeof *a->hi, a->lo};
    TILES_BEGIN();
    for (int i = 0; i < m_tiles; i++)
        for (int j = 0; j < n_panels; j++) {
            const uint8_t *at = (const uint8_t *)a->hi + i * MR * a->row;
            float *to = c + i * MR * ldc + j * NR;
            if (j == 0)
                kernel(a->k, a->n_runs, a->run, at, form, w, to, ldc, accumulate, 1, w_parts, true);
            else
                kernel(a->k, a->n_runs, a->run, at, form, w + (size_t)j * w_stride, to, ldc, accumulate, 1,
                       w_parts, false);
        }
    TILES_END();
}

/* The functions of a product with A of A_PARTS and W of W_PARTS. */
#define PRODUCT(A_PARTS, W_PARTS)                                                                            \
    static void block_##A_PARTS##W_PARTS(int64_t k, int m_tiles, int n_panels, const void *a, const void *w, \
                                         size_t w_stride, float *c, int64_t ldc, bool accumulate)            \
    {                                                                                                        \
        block(k, m_tiles, n_panels, a, w, w_stride, c, ldc, accumulate, A_PARTS, W_PARTS);                   \
    }                                                                                                        \
    static void rows_##A_PARTS##W_PARTS(const struct wn_leaf_rows *a, int m_tiles, int n_panels,             \
                                        const void *w, size_t w_stride, float *c, int64_t ldc,               \
                                        bool accumulate)                                                     \
    {                                                                                                        \
        block_rows(a, m_tiles, n_panels, w, w_stride, c, ldc, accumulate, A_PARTS, W_PARTS);                 \
    }
PRODUCT(1, 1)
PRODUCT(2, 1)
PRODUCT(2, 2)

static void far_11(const struct wn_leaf_rows *a, int m_tiles, int n_panels, const void *w, size_t w_stride,
                   float *c, int64_t ldc, bool accumulate)
{
    block_far(a, m_tiles, n_panels, w, w_stride, c, ldc, accumulate, 1);
}

static void far_12(const struct wn_leaf_rows *a, int m_tiles, int n_panels, const void *w, size_t w_stride,
                   float *c, int64_t ldc, bool accumulate)
{
    block_far(a, m_tiles, n_panels, w, w_stride, c, ldc, accumulate, 2);
}

void wn_leaf_amx(struct wn_leaf *leaf)
{
    /* A panel of w over a run (32 KB) stays in the first-level cache; a block of a (256 KB a part) and the
     * sums (512 KB) fit the second level of machines with AMX, 2 MB. */
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
                                      .block_rows = rows_11,
                                      .split = split_1,
                                      .block = block_11};
    struct wn_leaf_gemm f32x = bf16, f32x_w1 = bf16;
    f32x.kc = 256;
    f32x.a_bytes = f32x_w1.a_bytes = f32x.w_bytes = 4;
    f32x.pack_a = f32x_w1.pack_a = pack_a_2;
    f32x.split = f32x_w1.split = split_2;
    f32x.pack_w = pack_w_2;
    f32x.pack_kn = pack_kn_2;
    f32x.block = block_22;
    f32x.block_rows = rows_22;
    f32x_w1.block = block_21;
    f32x_w1.block_rows = rows_21;
    leaf->isa = "amx";
    leaf->peak_bf16 = wn_peak_bf16_amx;
    leaf->gemm[WN_LEAF_BF16] = bf16;
    leaf->gemm[WN_LEAF_F32X] = f32x;
    leaf->gemm[WN_LEAF_F32X_W1] = f32x_w1;
    leaf->swapped_bf16 = bf16;
    leaf->swapped_bf16.block_rows = far_11;
    leaf->swapped_f32x = f32x;
    leaf->swapped_f32x.a_bytes = 2;
    leaf->swapped_f32x.block_rows = far_12;
    leaf->attention_rows = 192; /* keys and values are then read from afar half as often */
}
