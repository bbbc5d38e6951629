/* Narrow floats: bfloat16, IEEE half, and the two fp8 formats, to and from float32.
 * Narrowing rounds to nearest, ties to even; NaN stays NaN. Loads are safe at any alignment. */
#ifndef WN_BASE_HALF_H
#define WN_BASE_HALF_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t wn_f32_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

static inline float wn_bits_f32(uint32_t u)
{
    float f;
    memcpy(&f, &u, 4);
    return f;
}

static inline float wn_bf16_f32(uint16_t h)
{
    return wn_bits_f32((uint32_t)h << 16);
}

static inline uint16_t wn_f32_bf16(float f)
{
    uint32_t u = wn_f32_bits(f);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

/* `f` rounded to the nearest bfloat16. */
static inline float wn_round_bf16(float f)
{
    return wn_bf16_f32(wn_f32_bf16(f));
}

float wn_f16_f32(uint16_t h);
uint16_t wn_f32_f16(float f);
float wn_f8e4m3_f32(uint8_t h); /* E4M3FN: no infinity, 0x7f and 0xff are NaN, largest 448 */
uint8_t wn_f32_f8e4m3(float f); /* values past 448 saturate */
float wn_f8e5m2_f32(uint8_t h);
uint8_t wn_f32_f8e5m2(float f);

#endif
