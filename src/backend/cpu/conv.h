/* What the two forms of the convolution share. */
#ifndef WN_CPU_CONV_H
#define WN_CPU_CONV_H

#include "backend/cpu/cpu.h"

struct conv {
    const struct wn_conv_args *a;
    struct wn_cpu *cpu;
    int64_t H_out, W_out, Co;
    int64_t KH, KW, taps;
    int64_t H, W, Ci, Tc; /* of the input; frames of the cache */
    size_t size;          /* of an input element */
    bool direct;          /* runs are packed from where they are */
    const float *bias;
};

/* `out` [taps, step] floats: weights [n, taps] of output channel co from input channel c0 on; `in` holds n *
 * taps floats. */
void wn_conv_reorder(const struct conv *c, float *out, int64_t step, int64_t co, int64_t c0, int64_t n,
                     float *in);
/* Finished sums of n output channels from n0 on, of m neighbouring outputs from position m0. */
void wn_conv_finish(const struct conv *c, const float *sums, int64_t ldc, int64_t m0, int64_t m, int64_t n0,
                    int64_t n);
void wn_conv_keep_bias(struct conv *c, uint8_t *kept);

/* The form for leaves that read rows: can it take this one, and do it. */
bool wn_conv_takes_rows(const struct conv *c, const struct wn_leaf_gemm *leaf);
enum wan_status wn_conv_rows(struct conv *c, const struct wn_leaf_gemm *leaf, struct wn_err *err);

#endif
