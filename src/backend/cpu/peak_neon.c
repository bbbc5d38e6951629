#include <arm_neon.h>

#include "backend/cpu/peak.h"

/* Twenty-four independent sums, as many as the product has: they cover the latency of four units. */
double wn_peak_f32_neon(int64_t rounds, float *sink)
{
    enum { N = 24, PER_ROUND = 64 };
    float32x4_t sum[N];
    const float32x4_t a = vdupq_n_f32(0.333f), b = {1e-3f, 2e-3f, 3e-3f, 4e-3f};
#pragma GCC unroll 24
    for (int i = 0; i < N; i++) sum[i] = vdupq_n_f32((float)i);
    for (int64_t r = 0; r < rounds; r++)
        for (int k = 0; k < PER_ROUND; k++)
#pragma GCC unroll 24
            for (int i = 0; i < N; i++) sum[i] = vfmaq_f32(sum[i], a, b);
#pragma GCC unroll 24
    for (int i = 0; i < N; i++) *sink += vaddvq_f32(sum[i]);
    return 2.0 * 4 * N * PER_ROUND * (double)rounds;
}
