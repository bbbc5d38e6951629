/* Float32 multiply-adds from registers: NAME is the function, VECTOR a GCC vector of floats. Twelve
 * independent sums cover the latency of two units. */
double NAME(int64_t rounds, float *sink)
{
    enum { N = 12, PER_ROUND = 64 };
    VECTOR sum[N], a, b;
    const int lanes = (int)(sizeof a / sizeof(float));
    for (int j = 0; j < lanes; j++) {
        a[j] = 0.999f + 1e-5f * (float)j;
        b[j] = 1e-3f * (float)(j + 1);
    }
    for (int i = 0; i < N; i++) sum[i] = b * (float)(i + 1);
    for (int64_t r = 0; r < rounds; r++)
        for (int k = 0; k < PER_ROUND; k++)
#pragma GCC unroll 12
            for (int i = 0; i < N; i++) sum[i] = sum[i] * a + b;
    VECTOR all = sum[0];
    for (int i = 1; i < N; i++) all += sum[i];
    for (int j = 0; j < lanes; j++) *sink += all[j];
    return 2.0 * lanes * N * PER_ROUND * (double)rounds;
}
