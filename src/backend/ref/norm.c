#include "backend/ref/ref.h"

#include <math.h>

#include "base/mem.h"

/* y = (x - *shift) * returned factor */
static double norm_factor(const struct wn_norm_args *a, int64_t row, int64_t D, double *shift)
{
    double sum = 0, squares = 0;
    *shift = 0;
    if (a->kind == WN_NORM_LAYER) {
        for (int64_t i = 0; i < D; i++) sum += wn_ref_get(a->x, row * D + i);
        *shift = sum / (double)D;
    }
    for (int64_t i = 0; i < D; i++) {
        double d = wn_ref_get(a->x, row * D + i) - *shift;
        squares += d * d;
    }
    if (a->kind == WN_NORM_L2) return sqrt((double)D) / fmax(sqrt(squares), (double)a->eps);
    return 1 / sqrt(squares / (double)D + (double)a->eps);
}

enum wan_status wn_ref_norm(struct wn_device *dev, const void *args, struct wn_err *err)
{
    const struct wn_norm_args *a = args;
    int64_t D = wn_last_dim(a->x), T = wn_n_rows(a->x), n_rows = a->mod.table.dim[1];
    for (int64_t t = 0; t < T; t++) {
        int64_t entry;
        if (wn_ref_cancelled(dev, err) ||
            wn_ref_index(&entry, WN_OP_NORM, a->mod.index, t, a->mod.table.dim[0], 0, err))
            return err->code;
        double shift, factor = norm_factor(a, t, D, &shift);
        for (int64_t i = 0; i < D; i++) {
            double y = (wn_ref_get(a->x, t * D + i) - shift) * factor;
            if (wn_has(a->weight)) y *= wn_ref_get(a->weight, i);
            if (wn_has(a->bias)) y += wn_ref_get(a->bias, i);
            if (wn_has(a->mod.table))
                y = y * (1 + wn_ref_get(a->mod.table, (entry * n_rows + a->scale_row) * D + i)) +
                    wn_ref_get(a->mod.table, (entry * n_rows + a->shift_row) * D + i);
            wn_ref_put(a->out, t * D + i, wn_act_eval(a->act, y));
        }
    }
    return WAN_OK;
}

/* Row t normalised and weighted: y [W] */
static void qk_norm(const struct wn_qk_norm_rope_args *a, int64_t t, int64_t W, double *y)
{
    double squares = 0;
    for (int64_t i = 0; i < W; i++) {
        y[i] = wn_ref_get(a->x, t * W + i);
        squares += y[i] * y[i];
    }
    if (!wn_has(a->weight)) return;
    double factor = 1 / sqrt(squares / (double)W + (double)a->eps);
    for (int64_t i = 0; i < W; i++) y[i] *= factor * wn_ref_get(a->weight, i);
}

/* Turn the pairs of every head of y [W] by row p of the table. */
static void turn(const struct wn_qk_norm_rope_args *a, int64_t p, int64_t W, double *y)
{
    int64_t HD = W / a->n_heads;
    for (int64_t i = 0; i < W; i += 2) {
        double c = wn_ref_get(a->rope, p * HD + i % HD), s = wn_ref_get(a->rope, p * HD + i % HD + 1);
        double even = y[i], odd = y[i + 1];
        y[i] = even * c - odd * s;
        y[i + 1] = even * s + odd * c;
    }
}

enum wan_status wn_ref_qk_norm_rope(struct wn_device *dev, const void *args, struct wn_err *err)
{
    const struct wn_qk_norm_rope_args *a = args;
    int64_t T = a->x.dim[0], W = wn_n_elems(a->x) / T, P = a->rope.dim[0];
    double *y = wn_alloc_n((size_t)W, sizeof *y);
    if (!y) return wn_fail_nomem(err, "a row", (unsigned long long)W * sizeof *y);
    enum wan_status st = WAN_OK;
    for (int64_t t = 0; t < T && !st; t++) {
        int64_t p = 0;
        if ((st = wn_ref_cancelled(dev, err))) break;
        if (wn_has(a->rope) && (st = wn_ref_index(&p, WN_OP_QK_NORM_ROPE, a->index, t, P, t % P, err))) break;
        qk_norm(a, t, W, y);
        if (wn_has(a->rope)) turn(a, p, W, y);
        for (int64_t i = 0; i < W; i++) wn_ref_put(a->out, t * W + i, y[i]);
    }
    wn_free(y);
    return st;
}
