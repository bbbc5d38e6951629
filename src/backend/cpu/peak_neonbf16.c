#include <arm_neon.h>

#include "backend/cpu/peak.h"

/* BFMMLA from registers: sums of 2 x 2 over four inputs, twenty-four of them as in the product. */
double wn_peak_bf16_neonbf16(int64_t rounds, float *sink)
{
    enum { N = 24, PER_ROUND = 64 };
    float32x4_t sum[N];
    const bfloat16x8_t a = vreinterpretq_bf16_u16(vdupq_n_u16(0x3eab)), /* 0.333 */
        b = vreinterpretq_bf16_u32(vdupq_n_u32(0x3dcd3a83));            /* 0.1, 0.001 */
#pragma GCC unroll 24
    for (int i = 0; i < N; i++) sum[i] = vdupq_n_f32((float)i);
    for (int64_t r = 0; r < rounds; r++)
        for (int k = 0; k < PER_ROUND; k++)
#pragma GCC unroll 24
            for (int i = 0; i < N; i++) sum[i] = vbfmmlaq_f32(sum[i], a, b);
#pragma GCC unroll 24
    for (int i = 0; i < N; i++) *sink += vaddvq_f32(sum[i]);
    return 2.0 * 2 * 2 * 4 * N * PER_ROUND * (double)rounds;
}
