#include "backend/cpu/peak.h"

/* This file: a multiply and an add are one instruction. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT ON
#else
#pragma GCC optimize("fp-contract=fast")
#endif

typedef float vector __attribute__((vector_size(64)));
#define VECTOR vector
#define NAME wn_peak_f32_avx512
#include "backend/cpu/peak_body.h"
