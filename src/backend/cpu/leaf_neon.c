/* NEON, which every arm64 machine has: 128-bit vectors, thirty-two registers. */
#include "backend/cpu/peak.h"
#include "backend/cpu/rows.h"
#include "backend/cpu/vector_neon.h"

/* Rows 4 x 4 become columns. */
WN_INLINE void v_transpose(vf r[4])
{
    float32x4x2_t t = vtrnq_f32((float32x4_t)r[0], (float32x4_t)r[1]),
                  u = vtrnq_f32((float32x4_t)r[2], (float32x4_t)r[3]);
    r[0] = (vf)vcombine_f32(vget_low_f32(t.val[0]), vget_low_f32(u.val[0]));
    r[1] = (vf)vcombine_f32(vget_low_f32(t.val[1]), vget_low_f32(u.val[1]));
    r[2] = (vf)vcombine_f32(vget_high_f32(t.val[0]), vget_high_f32(u.val[0]));
    r[3] = (vf)vcombine_f32(vget_high_f32(t.val[1]), vget_high_f32(u.val[1]));
}

/* Tiles and panels are whole vectors. */
#define v_store_first(dst, v, n) v_store(dst, v)
#include "backend/cpu/leaf_f32.h"

/* Beside the sums, two registers hold a row of w and three a column of a, whose elements are multiplied with
 * as they stand. The sums have names of their own: in an array, compilers keep copies of them in memory. */
#define EACH_ROW(DO) \
    DO(0, x0, 0)     \
    DO(1, x0, 1)     \
    DO(2, x0, 2)     \
    DO(3, x0, 3)     \
    DO(4, x1, 0)     \
    DO(5, x1, 1)     \
    DO(6, x1, 2)     \
    DO(7, x1, 3)     \
    DO(8, x2, 0)     \
    DO(9, x2, 1)     \
    DO(10, x2, 2)    \
    DO(11, x2, 3)
#define ROW_ZERO(i, x, lane) float32x4_t lo##i = vdupq_n_f32(0), hi##i = lo##i;
#define ROW_STEP(i, x, lane)                     \
    lo##i = vfmaq_laneq_f32(lo##i, w0, x, lane); \
    hi##i = vfmaq_laneq_f32(hi##i, w1, x, lane);
#define ROW_ADD(i, x, lane)                           \
    lo##i = vaddq_f32(lo##i, vld1q_f32(c + i * ldc)); \
    hi##i = vaddq_f32(hi##i, vld1q_f32(c + i * ldc + 4));
#define ROW_STORE(i, x, lane)      \
    vst1q_f32(c + i * ldc, lo##i); \
    vst1q_f32(c + i * ldc + 4, hi##i);

static void kernel(int64_t k, const float *a, const float *w, float *c, int64_t ldc, bool accumulate)
{
    EACH_ROW(ROW_ZERO)
    for (; k > 0; k--, a += MR, w += NR) {
        float32x4_t w0 = vld1q_f32(w), w1 = vld1q_f32(w + 4);
        float32x4_t x0 = vld1q_f32(a), x1 = vld1q_f32(a + 4), x2 = vld1q_f32(a + 8);
        EACH_ROW(ROW_STEP)
    }
    if (accumulate) {
        EACH_ROW(ROW_ADD)
    }
    EACH_ROW(ROW_STORE)
}

void wn_leaf_neon(struct wn_leaf *leaf)
{
    /* Reasoned, not measured: a run of 256 keeps a panel of w (8 KB) and a tile of a (12 KB) in the
     * first-level cache; a block of a (240 KB) and the sums (240 x 256, 240 KB) fit a second level of 512 KB
     * and more. */
    *leaf = f32_leaf("neon", &wn_rows_neon, 256);
    leaf->peak_f32 = wn_peak_f32_neon;
}
