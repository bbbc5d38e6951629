/* Compiled for AVX2, FMA and F16C. */
#include <immintrin.h>

#define WN_MADD(a, b, c) ((vf)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#define WN_ROWS wn_rows_avx2
#include "backend/cpu/rows_kernel.h"
