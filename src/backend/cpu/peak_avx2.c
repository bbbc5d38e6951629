#include "backend/cpu/peak.h"

#pragma GCC optimize("fp-contract=fast") /* this file: a multiply and an add are one instruction */

typedef float vector __attribute__((vector_size(32)));
#define VECTOR vector
#define NAME wn_peak_f32_avx2
#include "backend/cpu/peak_body.h"
