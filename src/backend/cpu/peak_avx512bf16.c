#if defined(WN_ISA_EMULATION) /* nothing to be measured */
#include "backend/cpu/peak.h"
double wn_peak_bf16_avx512bf16(int64_t rounds, float *sink)
{
    *sink += (float)rounds;
    return 0;
}
#else
#include <immintrin.h>

#include "backend/cpu/peak.h"

/* Twelve independent sums, as in peak_body.h. */
double wn_peak_bf16_avx512bf16(int64_t rounds, float *sink)
{
    enum { N = 12, PER_ROUND = 64 };
    __m512 sum[N];
    const __m512bh a = (__m512bh)_mm512_set1_epi32(0x3eab3eab), b = (__m512bh)_mm512_set1_epi32(0x3dcd3f80);
    for (int i = 0; i < N; i++) sum[i] = _mm512_set1_ps((float)i);
    for (int64_t r = 0; r < rounds; r++)
        for (int k = 0; k < PER_ROUND; k++)
#pragma GCC unroll 12
            for (int i = 0; i < N; i++) sum[i] = _mm512_dpbf16_ps(sum[i], a, b);
    for (int i = 0; i < N; i++) *sink += _mm512_reduce_add_ps(sum[i]);
    return 2.0 * 2 * 16 * N * PER_ROUND * (double)rounds;
}
#endif
