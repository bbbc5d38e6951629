/* The tile instructions that leaf_amx.c uses, in plain C. FOR TESTING ONLY: it lets the packing and the tile
 * arithmetic of that leaf be checked on machines without AMX (meson option amx_emulation), and is far slower
 * than every other leaf. Products are accumulated pair by pair in float32, as the instruction does. */
#ifndef WN_CPU_AMX_EMULATION_H
#define WN_CPU_AMX_EMULATION_H

#include <stdint.h>
#include <string.h>

enum { EMU_TILES = 8, EMU_ROWS = 16, EMU_ROW_BYTES = 64 };

static _Thread_local uint8_t emu_tile[EMU_TILES][EMU_ROWS][EMU_ROW_BYTES];

static inline void emu_load(int t, const void *src, int64_t stride)
{
    for (int i = 0; i < EMU_ROWS; i++) memcpy(emu_tile[t][i], (const char *)src + i * stride, EMU_ROW_BYTES);
}

static inline void emu_store(int t, void *dst, int64_t stride)
{
    for (int i = 0; i < EMU_ROWS; i++) memcpy((char *)dst + i * stride, emu_tile[t][i], EMU_ROW_BYTES);
}

static inline void emu_zero(int t)
{
    memset(emu_tile[t], 0, sizeof emu_tile[t]);
}

/* c[m, n] += a[m, 2k] b[k, 2n] + a[m, 2k + 1] b[k, 2n + 1] for every k. */
static inline void emu_dot(int c, int a, int b)
{
    for (int m = 0; m < EMU_ROWS; m++) {
        float sum[16];
        uint16_t x[32], y[32];
        memcpy(sum, emu_tile[c][m], sizeof sum);
        memcpy(x, emu_tile[a][m], sizeof x);
        for (int k = 0; k < EMU_ROWS; k++) {
            memcpy(y, emu_tile[b][k], sizeof y);
            for (int n = 0; n < 16; n++) {
                sum[n] += wn_bf16_f32(x[2 * k]) * wn_bf16_f32(y[2 * n]);
                sum[n] += wn_bf16_f32(x[2 * k + 1]) * wn_bf16_f32(y[2 * n + 1]);
            }
        }
        memcpy(emu_tile[c][m], sum, sizeof sum);
    }
}

#define TILES_BEGIN() ((void)0)
#define TILES_END() ((void)0)
#define TILE_ZERO(t) emu_zero(t)
#define TILE_LOAD(t, src, stride) emu_load(t, src, (int64_t)(stride))
#define TILE_STORE(t, dst, stride) emu_store(t, dst, (int64_t)(stride))
#define TILE_DOT(c, a, b) emu_dot(c, a, b)

#endif
