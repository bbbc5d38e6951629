#include "base/half.h"

#include <math.h>

/* Widen a float of `e` exponent and `m` mantissa bits held in the low bits of `h`; IEEE rules for the top
 * exponent. */
static float widen(uint32_t h, int e, int m)
{
    uint32_t sign = h >> (e + m) & 1, expo = h >> m & ((1u << e) - 1), frac = h & ((1u << m) - 1);
    int bias = (1 << (e - 1)) - 1;
    if (expo == (1u << e) - 1) return wn_bits_f32(sign << 31 | 0x7f800000u | frac << (23 - m));
    float v =
        expo ? ldexpf((float)(frac | 1u << m), (int)expo - bias - m) : ldexpf((float)frac, 1 - bias - m);
    return sign ? -v : v;
}

/* Nearest-even narrowing of |f| (finite) to a code of `m` mantissa bits and exponent bias `bias`; may come
 * out past the format's largest, which the caller handles. */
static uint32_t narrow(float a, int bias, int m)
{
    int expo;
    frexpf(a, &expo);
    if (a == 0) return 0;
    int lsb = (expo - 1 < 1 - bias ? 1 - bias : expo - 1) - m; /* exponent of the last kept bit */
    double scaled = ldexp((double)a, -lsb);
    uint32_t q = (uint32_t)nearbyint(scaled);
    /* A subnormal has q < 2^m and code q; a normal adds its exponent. */
    int e = lsb + m + bias; /* biased exponent, >= 1 */
    return (uint32_t)(e - 1) * (1u << m) + q;
}

float wn_f16_f32(uint16_t h)
{
    return widen(h, 5, 10);
}

uint16_t wn_f32_f16(float f)
{
    uint16_t sign = (uint16_t)(wn_f32_bits(f) >> 16 & 0x8000);
    if (isnan(f)) return sign | 0x7e00;
    float a = fabsf(f);
    if (a >= 65520.0f) return sign | 0x7c00;
    return (uint16_t)(sign | narrow(a, 15, 10));
}

float wn_f8e4m3_f32(uint8_t h)
{
    if ((h & 0x7f) == 0x7f) return wn_bits_f32((uint32_t)(h & 0x80) << 24 | 0x7fc00000u);
    uint32_t sign = h >> 7, expo = h >> 3 & 15, frac = h & 7;
    float v = expo ? ldexpf((float)(frac | 8), (int)expo - 10) : ldexpf((float)frac, -9);
    return sign ? -v : v;
}

uint8_t wn_f32_f8e4m3(float f)
{
    uint8_t sign = (uint8_t)(wn_f32_bits(f) >> 24 & 0x80);
    if (isnan(f)) return sign | 0x7f;
    float a = fabsf(f);
    uint32_t q = a >= 448.0f ? 0x7e : narrow(a, 7, 3);
    return (uint8_t)(sign | (q > 0x7e ? 0x7e : q));
}

float wn_f8e5m2_f32(uint8_t h)
{
    return widen(h, 5, 2);
}

uint8_t wn_f32_f8e5m2(float f)
{
    uint8_t sign = (uint8_t)(wn_f32_bits(f) >> 24 & 0x80);
    if (isnan(f)) return sign | 0x7e;
    float a = fabsf(f);
    if (a >= 61440.0f) return sign | 0x7c;
    return (uint8_t)(sign | narrow(a, 15, 2));
}
