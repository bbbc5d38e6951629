/* Operations that work on rows or elements: bound by memory, so each row is read while it is in the cache,
 * once. Threads take blocks of rows; no sum crosses a row, so results do not depend on the thread count. */
#ifndef WN_CPU_ROWS_H
#define WN_CPU_ROWS_H

#include "backend/op.h"

enum wan_status wn_cpu_norm(struct wn_device *dev, const void *args, struct wn_err *err);
enum wan_status wn_cpu_qk_norm_rope(struct wn_device *dev, const void *args, struct wn_err *err);
enum wan_status wn_cpu_unary(struct wn_device *dev, const void *args, struct wn_err *err);
enum wan_status wn_cpu_binary(struct wn_device *dev, const void *args, struct wn_err *err);
enum wan_status wn_cpu_concat(struct wn_device *dev, const void *args, struct wn_err *err);
enum wan_status wn_cpu_gather(struct wn_device *dev, const void *args, struct wn_err *err);
enum wan_status wn_cpu_permute(struct wn_device *dev, const void *args, struct wn_err *err);

/* ---- leaves: one row, or a run of elements; any alignment ---- */

/* One row of wn_norm. Absent pointers drop their term. */
struct wn_norm_row {
    const void *x;
    void *out;
    int64_t n;
    enum wn_dtype x_type, out_type; /* F32 or BF16 */
    enum wn_norm_kind kind;
    float eps;
    const float *weight, *bias;
    const void *scale, *shift; /* f32 */
    enum wn_act act;
};

/* One token of wn_qk_norm_rope: n = heads * hd. */
struct wn_qk_row {
    const void *x;
    void *out;
    int64_t n, hd;
    enum wn_dtype x_type, out_type; /* F32 or BF16 */
    float eps;
    const float *weight; /* [n]; NULL: no norm */
    const void *rope;    /* f32 [hd]; NULL: no turn */
};

struct wn_rows {
    void (*norm)(const struct wn_norm_row *r);
    void (*qk)(const struct wn_qk_row *r);
    /* out[i] = act(x[i]), any float types */
    void (*act)(void *out, enum wn_dtype out_type, const void *x, enum wn_dtype x_type, enum wn_act act,
                int64_t n);
    /* out[i] = a[i] op b[i]; any float types in, F32 or BF16 out */
    void (*binary)(void *out, enum wn_dtype out_type, const void *a, enum wn_dtype a_type, const void *b,
                   enum wn_dtype b_type, enum wn_binary_kind kind, int64_t n);
};

extern const struct wn_rows wn_rows_portable, wn_rows_avx2, wn_rows_avx512, wn_rows_neon;

#endif
