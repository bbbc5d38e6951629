/* AVX-512 (F, BW, DQ, VL): 512-bit vectors, thirty-two registers. */
#include "backend/cpu/peak.h"
#include "backend/cpu/rows.h"
#include "backend/cpu/vector_512.h"

#define v_transpose transpose_16
#include "backend/cpu/leaf_f32.h"

/* Beside the sums, two registers hold a row of w, and a's elements are read as they are broadcast. The sums
 * have names of their own: in an array, compilers keep copies of them in memory. */
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

void wn_leaf_avx512(struct wn_leaf *leaf)
{
    /* A run of 192 keeps a panel of w (24 KB) in the first-level cache; a block of a (180 KB) and the sums
     * (240 x 256, 240 KB) fit a second level of 512 KB and more. */
    *leaf = f32_leaf("avx512", &wn_rows_avx512, 192);
    leaf->peak_f32 = wn_peak_f32_avx512;
}
