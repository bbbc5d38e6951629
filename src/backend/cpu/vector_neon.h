/* What the arm64 leaves share, on vectors of four floats. */
#ifndef WN_CPU_VECTOR_NEON_H
#define WN_CPU_VECTOR_NEON_H

#include <arm_neon.h>

#define WN_LANES 4
#define WN_MADD(a, b, c) ((vf)vfmaq_f32((float32x4_t)(c), (float32x4_t)(a), (float32x4_t)(b)))
#define WN_WIDEN_F16(p) ((vf)vcvt_f32_f16((float16x4_t)vld1_u8((const uint8_t *)(p))))
#include "backend/cpu/leaf_row.h"

#endif
