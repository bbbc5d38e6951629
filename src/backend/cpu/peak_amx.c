#if defined(WN_ISA_EMULATION) /* nothing to be measured */
#include "backend/cpu/peak.h"
double wn_peak_bf16_amx(int64_t rounds, float *sink)
{
    *sink += (float)rounds;
    return 0;
}
#else
#include <immintrin.h>
#include <string.h>

#include "backend/cpu/peak.h"

/* Two by two tiles of sums, as a product would hold them, over operands of 16 KiB that stay in the first
 * cache. */
double wn_peak_bf16_amx(int64_t rounds, float *sink)
{
    enum { ROWS = 16, BYTES = 64, N = 4 };
    static const uint8_t one_third[2] = {0xab, 0x3e}; /* bf16 0.333 */
    uint8_t a[2 * N][ROWS * BYTES], b[2 * N][ROWS * BYTES];
    float c[ROWS * BYTES / 4];
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t colsb[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.colsb[i] = BYTES;
        config.rows[i] = ROWS;
    }
    for (int t = 0; t < 2 * N; t++)
        for (int i = 0; i < ROWS * BYTES; i++)
            a[t][i] = b[t][i] = (uint8_t)(one_third[i & 1] + (i & 1 ? 0 : i / 64 % 7));
    __asm__ volatile("" ::: "memory"); /* gcc 12's intrinsics do not tell what memory they read */
    _tile_loadconfig(&config);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t r = 0; r < rounds; r++)
        for (int k = 0; k < N; k++) {
            _tile_loadd(4, a[2 * k], BYTES);
            _tile_loadd(5, a[2 * k + 1], BYTES);
            _tile_loadd(6, b[2 * k], BYTES);
            _tile_loadd(7, b[2 * k + 1], BYTES);
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
    _tile_stored(0, c, BYTES);
    *sink += c[0];
    _tile_stored(3, c, BYTES);
    *sink += c[1];
    _tile_release();
    return 2.0 * ROWS * 16 * 32 * 4 * N * (double)rounds;
}
#endif
