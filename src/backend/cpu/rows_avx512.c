/* Compiled for AVX-512. */
#include "backend/cpu/vector_512.h"
#define WN_ROWS wn_rows_avx512
#include "backend/cpu/rows_kernel.h"
