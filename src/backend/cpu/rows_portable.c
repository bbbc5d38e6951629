#define WN_ROWS wn_rows_portable
#include "backend/cpu/rows_kernel.h"
