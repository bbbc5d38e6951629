/* What the leaves of AVX-512 and beyond share, on vectors of sixteen floats. In builds for tests
 * (meson option isa_emulation) the instructions that AVX2 lacks are plain C, slow and good for any machine.
 */
#ifndef WN_CPU_VECTOR_512_H
#define WN_CPU_VECTOR_512_H

#include <immintrin.h>

#define WN_LANES 16
#if !defined(WN_ISA_EMULATION)
#define WN_MADD(a, b, c) ((vf)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define WN_WIDEN_F16(p) ((vf)_mm512_cvtph_ps(_mm256_loadu_si256((const void *)(p))))
#endif
#include "backend/cpu/leaf_row.h"

/* The first n lanes, to any 4-byte aligned place. */
WN_INLINE void v_store_first(float *dst, vf v, int n)
{
#if defined(WN_ISA_EMULATION)
    memcpy(dst, &v, (size_t)n * sizeof *dst);
#else
    _mm512_mask_storeu_ps(dst, (__mmask16)((1u << n) - 1), (__m512)v);
#endif
}

#if defined(__clang__)
#define SHUFFLE_2(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE_2(a, b, ...) __builtin_shuffle(a, b, (vi){__VA_ARGS__})
#endif
/* Of each quarter (four lanes) of a and b: lanes 0, 0, 1, 1; 2, 2, 3, 3; pairs. Then quarters themselves. */
#define UNPACK_LO 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29
#define UNPACK_HI 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31
#define PAIRS_LO 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define PAIRS_HI 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#define QUARTERS_EVEN 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27
#define QUARTERS_ODD 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31

/* Rows 16 x 16 become columns. */
WN_INLINE void transpose_16(vf r[16])
{
    vf t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = SHUFFLE_2(r[i], r[i + 1], UNPACK_LO);
        t[i + 1] = SHUFFLE_2(r[i], r[i + 1], UNPACK_HI);
    }
    for (int i = 0; i < 16; i += 4) { /* r[i + c]: column 4 q + c of rows i to i + 3, in quarter q */
        r[i] = SHUFFLE_2(t[i], t[i + 2], PAIRS_LO);
        r[i + 1] = SHUFFLE_2(t[i], t[i + 2], PAIRS_HI);
        r[i + 2] = SHUFFLE_2(t[i + 1], t[i + 3], PAIRS_LO);
        r[i + 3] = SHUFFLE_2(t[i + 1], t[i + 3], PAIRS_HI);
    }
    for (int c = 0; c < 4; c++) {
        vf lo_even = SHUFFLE_2(r[c], r[4 + c], QUARTERS_EVEN),
           lo_odd = SHUFFLE_2(r[c], r[4 + c], QUARTERS_ODD);
        vf hi_even = SHUFFLE_2(r[8 + c], r[12 + c], QUARTERS_EVEN),
           hi_odd = SHUFFLE_2(r[8 + c], r[12 + c], QUARTERS_ODD);
        t[c] = SHUFFLE_2(lo_even, hi_even, QUARTERS_EVEN);    /* quarter 0 of all rows */
        t[8 + c] = SHUFFLE_2(lo_even, hi_even, QUARTERS_ODD); /* 2 */
        t[4 + c] = SHUFFLE_2(lo_odd, hi_odd, QUARTERS_EVEN);  /* 1 */
        t[12 + c] = SHUFFLE_2(lo_odd, hi_odd, QUARTERS_ODD);  /* 3 */
    }
    for (int i = 0; i < 16; i++) r[i] = t[i];
}

/* Sixteen values as bf16, nearest even, in the order of memory. */
WN_INLINE void v_store_bf16(void *dst, vf v)
{
    vh h = __builtin_convertvector(v_narrow_bf16(v), vh);
    memcpy(dst, &h, sizeof h);
}

#endif
