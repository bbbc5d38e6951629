/* Loops that do nothing but keep the arithmetic units busy: what `wan bench` compares every figure with. */
#ifndef WN_CPU_PEAK_H
#define WN_CPU_PEAK_H

#include <stdint.h>

/* Run `rounds` rounds and return the floating-point operations done (two for each multiply-add). `sink`
 * receives something that depends on every result. */
typedef double wn_peak_fn(int64_t rounds, float *sink);

wn_peak_fn wn_peak_f32_portable;
wn_peak_fn wn_peak_f32_avx2;        /* AVX2 and FMA */
wn_peak_fn wn_peak_f32_avx512;      /* AVX-512 F */
wn_peak_fn wn_peak_bf16_avx512bf16; /* AVX512_BF16, from registers */
wn_peak_fn wn_peak_bf16_amx;        /* AMX-BF16, tiles from the first cache */
wn_peak_fn wn_peak_f32_neon;        /* arm64 */
wn_peak_fn wn_peak_bf16_neonbf16;   /* FEAT_BF16: BFMMLA, from registers */

#endif
