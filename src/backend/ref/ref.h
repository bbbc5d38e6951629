/* The reference device: every operation exactly as op.h states it, in naive loops that accumulate in double
 * and round once. It is slow, single-threaded, and what every other device is measured against. */
#ifndef WN_REF_H
#define WN_REF_H

#include "backend/op.h"

#define WN_OP(ENUM, name, needs, summary) \
    enum wan_status wn_ref_##name(struct wn_device *dev, const void *args, struct wn_err *err);
#include "backend/ops.def"

/* Element i of a float tensor; any type, any alignment. */
double wn_ref_get(struct wn_tensor t, int64_t i);
/* Rounds to t's type once, to nearest even. */
void wn_ref_put(struct wn_tensor t, int64_t i, double v);
/* Elements [first, first + n) as operands of a product: float32, rounded to BF16 first at that precision. */
void wn_ref_operands(float *dst, struct wn_tensor t, int64_t first, int64_t n, enum wn_precision precision);
/* sum_k a[k] b[k] in double: float32 products are exact there. */
double wn_ref_dot(const float *a, const float *b, int64_t n);

/* index[t], or `otherwise` when the index is absent; fails, naming the operation, unless 0 <= index[t] < n.
 */
enum wan_status wn_ref_index(int64_t *entry, enum wn_op op, struct wn_tensor index, int64_t t, int64_t n,
                             int64_t otherwise, struct wn_err *err);

/* WAN_ECANCELED when the device's owner wants to stop; asked once for each row. */
enum wan_status wn_ref_cancelled(struct wn_device *dev, struct wn_err *err);

#endif
