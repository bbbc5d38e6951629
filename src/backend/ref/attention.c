#include "backend/ref/ref.h"

#include <math.h>

#include "base/mem.h"

/* What one segment of one head works on: operands in float32. */
struct part {
    const struct wn_attention_args *a;
    const float *q, *k, *v; /* [Lq, HD] [Lk, HD] [Lk, HD] of one head */
    double *logit;          /* [Lk]; -inf: the query does not see this key */
    double *sum;            /* [HD] */
    int64_t q0, k0, Lq, Lk, h, HD;
    double scale;
};

static bool sees(const struct part *p, int64_t i, int64_t j)
{
    const struct wn_attention_args *a = p->a;
    int64_t distance = (j - i) - (p->Lk - p->Lq);
    if (a->causal && distance > 0) return false;
    if (!a->windowed) return true;
    return (a->window_left < 0 || distance >= -a->window_left) &&
           (a->window_right < 0 || distance <= a->window_right);
}

/* Fills p->logit for query i and returns the largest. */
static double logits(const struct part *p, int64_t i)
{
    const struct wn_attention_args *a = p->a;
    double most = -INFINITY;
    int64_t n_bias = a->rel_bias.dim[1], R = (n_bias + 1) / 2;
    for (int64_t j = 0; j < p->Lk; j++) {
        p->logit[j] = -INFINITY;
        if (!sees(p, i, j)) continue;
        double s = p->scale * wn_ref_dot(p->q + i * p->HD, p->k + j * p->HD, p->HD);
        if (wn_has(a->key_log_weight)) s += wn_ref_get(a->key_log_weight, p->k0 + j);
        if (wn_has(a->rel_bias)) s += wn_ref_get(a->rel_bias, p->h * n_bias + (j - i) + R - 1);
        p->logit[j] = s;
        most = fmax(most, s);
    }
    return most;
}

static void query(const struct part *p, int64_t i)
{
    double most = logits(p, i), total = 0;
    for (int64_t d = 0; d < p->HD; d++) p->sum[d] = 0;
    for (int64_t j = 0; j < p->Lk; j++) {
        if (p->logit[j] == -INFINITY) continue;
        double e = exp(p->logit[j] - most);
        total += e;
        for (int64_t d = 0; d < p->HD; d++) p->sum[d] += e * (double)p->v[j * p->HD + d];
    }
    int64_t NH = p->a->q.dim[1], at = ((p->q0 + i) * NH + p->h) * p->HD;
    for (int64_t d = 0; d < p->HD; d++) wn_ref_put(p->a->out, at + d, total != 0 ? p->sum[d] / total : 0);
}

/* Rows [first, first + n) of head h of t [T, NH, HD]. */
static void load_head(float *dst, struct wn_tensor t, int64_t first, int64_t n, int64_t h,
                      enum wn_precision prec)
{
    int64_t NH = t.dim[1], HD = t.dim[2];
    for (int64_t i = 0; i < n; i++) wn_ref_operands(dst + i * HD, t, ((first + i) * NH + h) * HD, HD, prec);
}

static enum wan_status segment(struct wn_device *dev, struct part *p, struct wn_err *err)
{
    const struct wn_attention_args *a = p->a;
    int64_t n = p->Lq + 2 * p->Lk;
    float *rows = wn_alloc_n((size_t)n, (size_t)p->HD * sizeof *rows);
    p->logit = wn_alloc_n((size_t)(p->Lk + p->HD), sizeof *p->logit);
    enum wan_status st = WAN_OK;
    if (!rows || !p->logit)
        st = wn_fail_nomem(err, "attention's operands", (unsigned long long)(n * p->HD) * sizeof *rows);
    for (p->h = 0; p->h < a->q.dim[1] && !st; p->h++) {
        float *k = rows + p->Lq * p->HD, *v = k + p->Lk * p->HD;
        load_head(rows, a->q, p->q0, p->Lq, p->h, a->precision);
        load_head(k, a->k, p->k0, p->Lk, p->h, a->precision);
        load_head(v, a->v, p->k0, p->Lk, p->h, a->precision);
        p->q = rows;
        p->k = k;
        p->v = v;
        p->sum = p->logit + p->Lk;
        for (int64_t i = 0; i < p->Lq && !st; i++)
            if (!(st = wn_ref_cancelled(dev, err))) query(p, i);
    }
    wn_free(rows);
    wn_free(p->logit);
    return st;
}

enum wan_status wn_ref_attention(struct wn_device *dev, const void *args, struct wn_err *err)
{
    const struct wn_attention_args *a = args;
    int64_t HD = a->q.dim[2];
    enum wan_status st = WAN_OK;
    for (int s = 0; s < a->n_seg && !st; s++) {
        struct part p = {.a = a,
                         .q0 = a->q_seg[s],
                         .k0 = a->k_seg[s],
                         .Lq = a->q_seg[s + 1] - a->q_seg[s],
                         .Lk = a->k_seg[s + 1] - a->k_seg[s],
                         .HD = HD,
                         .scale = a->scale != 0 ? (double)a->scale : 1 / sqrt((double)HD)};
        st = segment(dev, &p, err);
    }
    return st;
}
