#include <math.h>

#include "backend/op.h"

double wn_act_eval(enum wn_act act, double x)
{
    const double sqrt_half = 0.70710678118654752440, sqrt_2_pi = 0.79788456080286535588;
    switch (act) {
    case WN_ACT_NONE: return x;
    case WN_ACT_SILU: return x / (1 + exp(-x));
    case WN_ACT_GELU_TANH: /* 0.5 (1 + tanh u) = 1 / (1 + exp(-2u)), without its cancellation for u << 0 */
        return x / (1 + exp(-2 * sqrt_2_pi * (x + 0.044715 * x * x * x)));
    case WN_ACT_GELU_ERF: return 0.5 * x * erfc(-x * sqrt_half);
    }
    return x;
}
