#include "backend/ref/ref.h"

#include "base/mem.h"

/* The terms of one output element after its sum: bias, activation, mul, gate, add. */
static double finish(const struct wn_linear_args *a, double sum, int64_t t, int64_t n, int64_t N,
                     int64_t entry)
{
    if (wn_has(a->b)) sum += wn_ref_get(a->b, n);
    double y = wn_act_eval(a->act, sum);
    if (wn_has(a->mul)) y *= wn_ref_get(a->mul, t * N + n);
    if (wn_has(a->gate.table))
        y *= wn_ref_get(a->gate.table, (entry * a->gate.table.dim[1] + a->gate_row) * N + n);
    if (wn_has(a->add)) y += wn_ref_get(a->add, t * N + n);
    return y;
}

/* Column n of the output. x [T, K] operands; w room for K; entry [T] rows of the gate's table */
static void column(const struct wn_linear_args *a, const float *x, float *w, const int64_t *entry, int64_t n,
                   int64_t T, int64_t N, int64_t K)
{
    wn_ref_operands(w, a->w, n * K, K, a->precision);
    for (int64_t t = 0; t < T; t++)
        wn_ref_put(a->out, t * N + n, finish(a, wn_ref_dot(x + t * K, w, K), t, n, N, entry[t]));
}

enum wan_status wn_ref_linear(struct wn_device *dev, const void *args, struct wn_err *err)
{
    const struct wn_linear_args *a = args;
    int64_t K = wn_last_dim(a->x), T = wn_n_rows(a->x), N = a->w.dim[0];
    float *x = wn_alloc_n((size_t)T, wn_size_mul((size_t)K, sizeof *x)),
          *w = wn_alloc_n((size_t)K, sizeof *w);
    int64_t *entry = wn_alloc_n((size_t)T, sizeof *entry);
    enum wan_status st = WAN_OK;
    if (!x || !w || !entry)
        st = wn_fail_nomem(err, "linear's operands",
                           (unsigned long long)T * (unsigned long long)K * sizeof *x);
    for (int64_t t = 0; t < T && !st; t++)
        st = wn_ref_index(&entry[t], WN_OP_LINEAR, a->gate.index, t, a->gate.table.dim[0], 0, err);
    if (!st) wn_ref_operands(x, a->x, 0, T * K, a->precision);
    for (int64_t n = 0; n < N && !st; n++)
        if (!(st = wn_ref_cancelled(dev, err))) column(a, x, w, entry, n, T, N, K);
    wn_free(x);
    wn_free(w);
    wn_free(entry);
    return st;
}
