/* Compiled for arm64. */
#include "backend/cpu/vector_neon.h"
#define WN_ROWS wn_rows_neon
#include "backend/cpu/rows_kernel.h"
