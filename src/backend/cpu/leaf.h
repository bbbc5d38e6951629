/* Leaves: the innermost loops, once per instruction-set level. A leaf never allocates, threads, dispatches or
 * fails; drivers (gemm.c, linear.c, conv.c, attention.c) own tiling and threads and are written once. The
 * table is filled from the lowest level upwards, each level overwriting what it does faster.
 *
 * A product C[M, N] = A[M, K] W[N, K]^T is computed from packed operands:
 *   - A in tiles of mr rows, W in panels of nr rows (columns of C), both with k running slowest, so that a
 * run of k begins at a multiple of k * mr * a_bytes (k * nr * w_bytes) wherever k is a multiple of kr;
 *   - runs of k whose length is no multiple of kr, absent rows and absent columns are filled with zeros.
 * The bytes between are the leaf's own business.
 */
#ifndef WN_CPU_LEAF_H
#define WN_CPU_LEAF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/op.h"

/* Limits that let drivers keep small arrays on the stack. */
enum { WN_LEAF_MAX_MR = 32, WN_LEAF_MAX_NR = 32, WN_LEAF_MAX_KR = 32 };

/* Rows of A that are read where they lie, in bf16 (its parts in planes of their own): row i of the first run
 * begins at hi + i * row bytes, other runs run[r] bytes later. The sum is over n_runs runs of k inputs, a
 * multiple of kr. All rows of a tile are read. */
struct wn_leaf_rows {
    const uint16_t *hi;
    ptrdiff_t lo, row; /* bytes from an element to its low part, and to the same element of the next row */
    int n_runs;
    const ptrdiff_t *run;
    int64_t k;
};

struct wn_leaf_gemm {
    int mr, nr, kr;          /* tile rows, panel columns, granule of k */
    int mc, nc, kc;          /* block of C and run of k that suit the caches; kc is a multiple of kr */
    size_t a_bytes, w_bytes; /* of one packed element, all its parts together */

    /* Pack k elements of each of up to mr (nr) rows; row[i] NULL, and rows past n_rows, are zeros. Elements
     * of a row are contiguous; `type` is any float type for w, F32 or BF16 for a; any alignment. */
    void (*pack_a)(void *dst, const void *const *row, int n_rows, enum wn_dtype type, int64_t k);
    void (*pack_w)(void *dst, const void *const *row, int n_rows, enum wn_dtype type, int64_t k);
    /* Pack a panel from W^T: k rows, `stride` bytes apart, of n <= nr contiguous elements, F32 or BF16. */
    void (*pack_kn)(void *dst, const void *src, size_t stride, int n, enum wn_dtype type, int64_t k);

    /* The following two are NULL where the leaf knows A only as packed. */

    /* c (+)= a w^T as below, with rows of a where they lie; w begins at the first run. */
    void (*block_rows)(const struct wn_leaf_rows *a, int m_tiles, int n_panels, const void *w,
                       size_t w_stride, float *c, int64_t ldc, bool accumulate);
    /* n elements of F32 or BF16 as the parts that block_rows reads; lo is not written where a has one part.
     */
    void (*split)(uint16_t *hi, uint16_t *lo, const void *src, enum wn_dtype type, int64_t n);

    /* c[m_tiles * mr, n_panels * nr] (+)= a w^T over k (a multiple of kr). Tiles of a follow each other,
     * panels of w are w_stride bytes apart. */
    void (*block)(int64_t k, int m_tiles, int n_panels, const void *a, const void *w, size_t w_stride,
                  float *c, int64_t ldc, bool accumulate);
};

/* out[j] = add[j] + gate[j] * (act(c[j] + bias[j]) * mul[j]); absent pointers drop their term. */
struct wn_row_end {
    const float *bias, *gate; /* gate: any alignment */
    const void *mul, *add;
    void *out; /* may be `add` */
    enum wn_act act;
    enum wn_dtype mul_type, add_type, out_type; /* F32 or BF16 */
};

/* One query row against a block of keys: the running maximum m and sum l of an online softmax. */
struct wn_softmax_row {
    float scale;
    const float *log_weight; /* of the block's first key; NULL: none */
    const float *bias;       /* of this row and the block's first key; NULL: none */
    float m, l;              /* -inf and 0 before the first block */
    float alpha;             /* out: what the earlier blocks' sums must be multiplied by */
};

/* Products by precision. F32X_W1: weights that are exact in bf16, so that they have no low part. */
enum wn_leaf_product { WN_LEAF_F32, WN_LEAF_BF16, WN_LEAF_F32X, WN_LEAF_F32X_W1, WN_LEAF_PRODUCTS };

struct wn_leaf {
    const char *isa;
    const struct wn_rows *rows; /* rows.h */
    /* Loops that show what the arithmetic units can do (peak.h); NULL: no bf16 products. */
    double (*peak_f32)(int64_t rounds, float *sink), (*peak_bf16)(int64_t rounds, float *sink);
    struct wn_leaf_gemm gemm[WN_LEAF_PRODUCTS];

    /* For few rows and weights in bf16: products in which A is the weights, rows that lie where they are, and
     * W the activations. block_rows and pack_w alone are there; NULL: not at all. Without and with low parts
     * of the activations. */
    struct wn_leaf_gemm swapped_bf16, swapped_f32x;
    int attention_rows; /* queries of a block of attention */

    /* c[i, j] += sum_k a[i, k] w[j, k]; m and n small, all rows contiguous f32 at any 4-byte alignment. For
     * products with few rows, which read each weight once. */
    void (*dot)(int64_t k, const float *a, int64_t lda, int m, const float *w, int64_t ldw, int n, float *c,
                int64_t ldc);
    void (*to_f32)(float *dst, const void *src, enum wn_dtype type, int64_t n); /* any float type */
    void (*round_bf16)(float *x, int64_t n);
    void (*scale)(float *x, float by, int64_t n);
    void (*end_row)(const float *c, int64_t n, const struct wn_row_end *end);
    /* Turn n logits products into probabilities: s[j] = exp(logit_j - m) for j in [lo, hi), 0 elsewhere in
     * [0, n); updates r->m, r->l and sets r->alpha. */
    void (*softmax_row)(float *s, int lo, int hi, int n, struct wn_softmax_row *r);
};

void wn_leaf_portable(struct wn_leaf *leaf);
/* Each fills what it does faster than the level before it. */
void wn_leaf_avx2(struct wn_leaf *leaf);       /* AVX2, FMA and F16C */
void wn_leaf_avx512(struct wn_leaf *leaf);     /* AVX-512 F, BW, DQ and VL */
void wn_leaf_avx512bf16(struct wn_leaf *leaf); /* AVX512_BF16 */
void wn_leaf_amx(struct wn_leaf *leaf);        /* AMX-TILE and AMX-BF16 */
void wn_leaf_neon(struct wn_leaf *leaf);       /* arm64: NEON is part of it */
void wn_leaf_neonbf16(struct wn_leaf *leaf);   /* FEAT_BF16 */

/* Values of the two fp8 formats: [0] E4M3, [1] E5M2. Filled before any leaf runs. */
extern float wn_leaf_f8[2][256];

#endif
