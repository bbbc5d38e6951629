/* The typed operations that model code is written in. Call them with named arguments:
 *
 *     h = wn_linear(ex, .x = h, .w = w->ffn0.w, .b = w->ffn0.b, .act = WN_ACT_GELU_TANH);
 *
 * Each takes the argument struct of backend/op.h, where shapes, number formats and exact semantics are
 * written; optional tensors are left out. It checks shapes, allocates its output on the exec's device (shape
 * given beside `out`), and runs there. It returns an empty tensor once the exec holds a failure.
 */
#ifndef WN_OPS_H
#define WN_OPS_H

#include "backend/op.h"
#include "ops/exec.h"

#define WN_OP(ENUM, name, needs, summary) \
    struct wn_tensor wn_##name##_op(struct wn_exec *ex, struct wn_##name##_args args);
#include "backend/ops.def"

#define wn_linear(ex, ...) wn_linear_op(ex, (struct wn_linear_args){__VA_ARGS__})
#define wn_norm(ex, ...) wn_norm_op(ex, (struct wn_norm_args){__VA_ARGS__})
#define wn_qk_norm_rope(ex, ...) wn_qk_norm_rope_op(ex, (struct wn_qk_norm_rope_args){__VA_ARGS__})
#define wn_attention(ex, ...) wn_attention_op(ex, (struct wn_attention_args){__VA_ARGS__})
#define wn_conv(ex, ...) wn_conv_op(ex, (struct wn_conv_args){__VA_ARGS__})
#define wn_unary(ex, ...) wn_unary_op(ex, (struct wn_unary_args){__VA_ARGS__})
#define wn_binary(ex, ...) wn_binary_op(ex, (struct wn_binary_args){__VA_ARGS__})
#define wn_concat(ex, ...) wn_concat_op(ex, (struct wn_concat_args){__VA_ARGS__})
#define wn_gather(ex, ...) wn_gather_op(ex, (struct wn_gather_args){__VA_ARGS__})
#define wn_permute(ex, ...) wn_permute_op(ex, (struct wn_permute_args){__VA_ARGS__})

#endif
