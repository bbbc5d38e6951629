/* Linear layers: the product driver for many rows, a dot-product form for few, and their common ending. */
#include <string.h>

#include "backend/cpu/cpu.h"
#include "base/mem.h"

/* With at most this many rows the weights are read once, straight from where they are. */
enum { FEW_ROWS = 32 };
/* Of the few-rows form: weight rows of one task; inputs taken at a time (long runs, which the prefetchers
 * follow, yet activations that stay near); weight rows converted together. */
enum { DOT_COLUMNS = 64, DOT_RUN = 4096, DOT_ROWS = 4 };
/* Of the form for few rows on a matrix unit: most rows (with more of them, packing the weights pays), weight
 * rows of one task. */
enum { SWAPPED_ROWS = 128, SWAPPED_COLUMNS = 64 };
/* Of the form for many rows: bytes of bf16 parts made at a time. */
enum { PARTS_BYTES = 64 << 20 };

struct linear {
    const struct wn_linear_args *a;
    struct wn_cpu *cpu;
    int64_t T, N, K;
    int64_t t0;        /* many rows: the first of those in work */
    const float *bias; /* in scratch */
    const float *x;    /* few rows: the activations in float32, rounded where the precision says so */
    uint16_t *parts;   /* many rows: their bf16 parts, [T, K] each, where a leaf reads rows; NULL: x itself */
};

static struct linear linear_of(struct wn_cpu *cpu, const struct wn_linear_args *a)
{
    return (struct linear){
        .a = a, .cpu = cpu, .T = wn_n_rows(a->x), .N = wn_last_dim(a->out), .K = wn_last_dim(a->x)};
}

static const char *element(struct wn_tensor t, int64_t i)
{
    return (const char *)wn_host(t) + (size_t)i * wn_dtype_size(t.type);
}

/* Apply bias, activation, factors and addition to sums of rows [m0, m0 + m), columns [n0, n0 + n). */
static void finish(const struct linear *l, const float *c, int64_t ldc, int64_t m0, int64_t m, int64_t n0,
                   int64_t n)
{
    const struct wn_linear_args *a = l->a;
    struct wn_row_end end = {.bias = l->bias ? l->bias + n0 : NULL,
                             .act = a->act,
                             .mul_type = a->mul.type,
                             .add_type = a->add.type,
                             .out_type = a->out.type};
    for (int64_t i = 0; i < m; i++) {
        int64_t t = m0 + i, at = t * l->N + n0;
        if (wn_has(a->mul)) end.mul = element(a->mul, at);
        if (wn_has(a->add)) end.add = element(a->add, at);
        if (wn_has(a->gate.table)) {
            int32_t entry = 0;
            if (wn_has(a->gate.index)) memcpy(&entry, element(a->gate.index, t), sizeof entry);
            int64_t R = a->gate.table.dim[1];
            end.gate = (const float *)element(a->gate.table, (entry * R + a->gate_row) * l->N + n0);
        }
        end.out = (void *)(uintptr_t)element(a->out, at);
        l->cpu->leaf.end_row(c + i * ldc, n, &end);
    }
}

static void gemm_pack_a(const struct wn_gemm *g, void *dst, int64_t m0, int64_t m, int64_t k0, int64_t k,
                        void *tmp)
{
    (void)tmp;
    const struct linear *l = g->ctx;
    const struct wn_leaf_gemm *leaf = g->leaf;
    size_t tile = (size_t)(leaf->mr * wn_round_up(k, leaf->kr)) * leaf->a_bytes;
    const void *row[WN_LEAF_MAX_MR];
    for (int64_t i = 0; i < m; i += leaf->mr, dst = (char *)dst + tile) {
        int n = (int)wn_min64(leaf->mr, m - i);
        for (int r = 0; r < n; r++) row[r] = element(l->a->x, (l->t0 + m0 + i + r) * l->K + k0);
        leaf->pack_a(dst, row, n, l->a->x.type, k);
    }
}

static void gemm_pack_w(const struct wn_gemm *g, void *dst, int64_t n0, int64_t n, void *tmp)
{
    (void)tmp;
    const struct linear *l = g->ctx;
    const void *row[WN_LEAF_MAX_NR];
    for (int64_t i = 0; i < n; i++) row[i] = element(l->a->w, (n0 + i) * l->K);
    g->leaf->pack_w(dst, row, (int)n, l->a->w.type, l->K);
}

static void gemm_rows(const struct wn_gemm *g, struct wn_leaf_rows *rows, int64_t m0, int64_t k0, int64_t k)
{
    static const ptrdiff_t start = 0;
    const struct linear *l = g->ctx;
    const uint16_t *x = l->parts ? l->parts : (const void *)element(l->a->x, l->t0 * l->K);
    const ptrdiff_t row = l->K * (ptrdiff_t)sizeof *x;
    *rows = (struct wn_leaf_rows){
        .hi = x + m0 * l->K + k0, .lo = g->M * row, .row = row, .n_runs = 1, .run = &start, .k = k};
}

static void gemm_finish(const struct wn_gemm *g, const float *c, int64_t ldc, int64_t m0, int64_t m,
                        int64_t n0, int64_t n)
{
    const struct linear *l = g->ctx;
    finish(l, c, ldc, l->t0 + m0, m, n0, n);
}

static void keep_bias(struct linear *l, uint8_t *kept)
{
    if (!wn_has(l->a->b)) return;
    l->cpu->leaf.to_f32((float *)kept, wn_host(l->a->b), l->a->b.type, l->N);
    l->bias = (const float *)kept;
}

static size_t bias_bytes(const struct linear *l)
{
    return wn_has(l->a->b) ? (size_t)wn_round_up(l->N * 4, WN_ALIGN) : 0;
}

static void split_task(void *arg, int64_t task, int thread)
{
    const struct wn_gemm *g = arg;
    const struct linear *l = g->ctx;
    (void)thread;
    int64_t at = task * l->K;
    g->leaf->split(l->parts + at, l->parts + g->M * l->K + at, element(l->a->x, (l->t0 + task) * l->K),
                   l->a->x.type, l->K);
}

static enum wan_status gemm_prepare(struct wn_gemm *g, uint8_t *kept, struct wn_err *err)
{
    struct linear *l = (struct linear *)(uintptr_t)g->ctx;
    keep_bias(l, kept);
    if (!g->rows || l->a->x.type == WN_BF16) return WAN_OK;
    l->parts = (uint16_t *)(kept + bias_bytes(l));
    return wn_cpu_run(l->cpu, g->M, split_task, g, err);
}

/* Rows of which the parts fit PARTS_BYTES, where they have to be made. */
static int64_t band_rows(const struct linear *l, const struct wn_gemm *g)
{
    if (!g->rows || l->a->x.type == WN_BF16) return l->T;
    int64_t rows = PARTS_BYTES / (l->K * (int64_t)g->leaf->a_bytes);
    return wn_min64(l->T, wn_max64(rows / g->leaf->mc, 1) * g->leaf->mc);
}

static enum wan_status many_rows(struct linear *l, struct wn_err *err)
{
    struct wn_gemm g = {.leaf = wn_leaf_product(&l->cpu->leaf, l->a->precision, l->a->w.type),
                        .N = l->N,
                        .K = l->K,
                        .ctx = l,
                        .pack_a = gemm_pack_a,
                        .pack_w = gemm_pack_w,
                        .finish = gemm_finish};
    /* A bf16 row has one part, and nothing says where the second of two would be. */
    bool one_part = l->a->precision == WN_PREC_BF16 || l->a->x.type != WN_BF16;
    if (g.leaf->block_rows && l->K % g.leaf->kr == 0 && one_part) g.rows = gemm_rows;
    int64_t band = band_rows(l, &g);
    enum wan_status st = WAN_OK;
    for (l->t0 = 0; l->t0 < l->T && !st; l->t0 += band) {
        g.M = wn_min64(band, l->T - l->t0);
        size_t parts = g.rows && l->a->x.type != WN_BF16 ? (size_t)(g.M * l->K) * g.leaf->a_bytes : 0;
        st = wn_gemm_run(l->cpu, &g, bias_bytes(l) + parts, gemm_prepare, err);
    }
    return st;
}

/* DOT_ROWS weight rows from column n, inputs [k0, k0 + k), as float32: in place where they can be used so. */
static const float *dot_weights(const struct linear *l, int64_t n, int64_t rows, int64_t k0, int64_t k,
                                float *tmp, int64_t *ldw)
{
    struct wn_tensor w = l->a->w;
    bool round = l->a->precision == WN_PREC_BF16 && w.type != WN_BF16;
    const char *first = element(w, n * l->K + k0);
    *ldw = l->K;
    if (w.type == WN_F32 && !round && (uintptr_t)first % 4 == 0) return (const float *)first;
    *ldw = DOT_RUN;
    for (int64_t i = 0; i < rows; i++) {
        l->cpu->leaf.to_f32(tmp + i * DOT_RUN, element(w, (n + i) * l->K + k0), w.type, k);
        if (round) l->cpu->leaf.round_bf16(tmp + i * DOT_RUN, k);
    }
    return tmp;
}

static void dot_task(void *arg, int64_t task, int thread)
{
    const struct linear *l = arg;
    int64_t n0 = task * DOT_COLUMNS, n = wn_min64(DOT_COLUMNS, l->N - n0);
    float *c = (float *)wn_cpu_thread_scratch(l->cpu, thread), *tmp = c + FEW_ROWS * DOT_COLUMNS;
    memset(c, 0, (size_t)l->T * DOT_COLUMNS * sizeof *c);
    for (int64_t k0 = 0; k0 < l->K; k0 += DOT_RUN) {
        int64_t k = wn_min64(DOT_RUN, l->K - k0);
        for (int64_t i = 0; i < n; i += DOT_ROWS) {
            int64_t rows = wn_min64(DOT_ROWS, n - i), ldw;
            const float *w = dot_weights(l, n0 + i, rows, k0, k, tmp, &ldw);
            l->cpu->leaf.dot(k, l->x + k0, l->K, (int)l->T, w, ldw, (int)rows, c + i, DOT_COLUMNS);
        }
    }
    finish(l, c, DOT_COLUMNS, 0, l->T, n0, n);
}

static enum wan_status few_rows(struct linear *l, struct wn_err *err)
{
    size_t bias = bias_bytes(l), x = (size_t)(l->T * l->K) * 4;
    enum wan_status st =
        wn_cpu_scratch(l->cpu, bias + x, (FEW_ROWS * DOT_COLUMNS + DOT_ROWS * DOT_RUN) * sizeof(float), err);
    if (st) return st;
    keep_bias(l, l->cpu->scratch);
    float *copy = (float *)(l->cpu->scratch + bias);
    l->cpu->leaf.to_f32(copy, wn_host(l->a->x), l->a->x.type, l->T * l->K);
    if (l->a->precision == WN_PREC_BF16 && l->a->x.type != WN_BF16)
        l->cpu->leaf.round_bf16(copy, l->T * l->K);
    l->x = copy;
    return wn_cpu_run(l->cpu, wn_div_up(l->N, DOT_COLUMNS), dot_task, l, err);
}

/* ---- few rows on a matrix unit: the weights' rows are A, read once from where they are ---- */

struct swapped {
    struct linear *l;
    const struct wn_leaf_gemm *leaf;
    int64_t panels; /* of rows of x */
    size_t panel_bytes;
    uint8_t *packed; /* x */
};

static void swapped_pack(void *arg, int64_t task, int thread)
{
    const struct swapped *s = arg;
    const struct linear *l = s->l;
    const void *row[WN_LEAF_MAX_NR];
    (void)thread;
    int n = (int)wn_min64(s->leaf->nr, l->T - task * s->leaf->nr);
    for (int i = 0; i < n; i++) row[i] = element(l->a->x, (task * s->leaf->nr + i) * l->K);
    s->leaf->pack_w(s->packed + (size_t)task * s->panel_bytes, row, n, l->a->x.type, l->K);
}

static void swapped_task(void *arg, int64_t task, int thread)
{
    static const ptrdiff_t start = 0;
    const struct swapped *s = arg;
    const struct linear *l = s->l;
    const int64_t n0 = task * SWAPPED_COLUMNS, n = wn_min64(SWAPPED_COLUMNS, l->N - n0),
                  T = s->panels * s->leaf->nr;
    float *sums = (float *)wn_cpu_thread_scratch(l->cpu, thread), *row = sums + SWAPPED_COLUMNS * T;
    uint16_t *last = (uint16_t *)(row + SWAPPED_COLUMNS);
    struct wn_leaf_rows a = {.hi = (const void *)element(l->a->w, n0 * l->K),
                             .row = (ptrdiff_t)(l->K * 2),
                             .n_runs = 1,
                             .run = &start,
                             .k = l->K};
    int tiles = (int)(n / s->leaf->mr), left = (int)(n % s->leaf->mr);
    s->leaf->block_rows(&a, tiles, (int)s->panels, s->packed, s->panel_bytes, sums, T, false);
    if (left) { /* a whole tile is read: those rows that there are, and any values after them */
        memcpy(last, element(l->a->w, (n0 + n - left) * l->K), (size_t)(left * l->K) * sizeof *last);
        a.hi = last;
        s->leaf->block_rows(&a, 1, (int)s->panels, s->packed, s->panel_bytes, sums + (n - left) * T, T,
                            false);
    }
    for (int64_t t = 0; t < l->T; t++) {
        for (int64_t i = 0; i < n; i++) row[i] = sums[i * T + t];
        finish(l, row, SWAPPED_COLUMNS, t, 1, n0, n);
    }
}

/* The leaf's form for it, where it has one. */
static const struct wn_leaf_gemm *swapped_leaf(const struct linear *l)
{
    const struct wn_linear_args *a = l->a;
    const struct wn_leaf *leaf = &l->cpu->leaf;
    const struct wn_leaf_gemm *g = a->precision == WN_PREC_BF16   ? &leaf->swapped_bf16
                                   : a->precision == WN_PREC_F32X ? &leaf->swapped_f32x
                                                                  : NULL;
    bool fits = g && g->block_rows && a->w.type == WN_BF16 && l->K % g->kr == 0 && l->N >= g->mr;
    return fits ? g : NULL;
}

static enum wan_status swapped_rows(struct linear *l, const struct wn_leaf_gemm *leaf, struct wn_err *err)
{
    struct swapped s = {.l = l, .leaf = leaf, .panels = wn_div_up(l->T, leaf->nr)};
    s.panel_bytes = (size_t)(l->K * leaf->nr) * leaf->w_bytes;
    int64_t floats = SWAPPED_COLUMNS * (s.panels * leaf->nr + 1);
    size_t last = (size_t)(leaf->mr * l->K) * sizeof(uint16_t);
    enum wan_status st = wn_cpu_scratch(l->cpu, bias_bytes(l) + (size_t)s.panels * s.panel_bytes,
                                        (size_t)floats * sizeof(float) + last, err);
    if (st) return st;
    keep_bias(l, l->cpu->scratch);
    s.packed = l->cpu->scratch + bias_bytes(l);
    st = wn_cpu_run(l->cpu, s.panels, swapped_pack, &s, err);
    return st ? st : wn_cpu_run(l->cpu, wn_div_up(l->N, SWAPPED_COLUMNS), swapped_task, &s, err);
}

/* A gate index outside its table would read past it. */
static enum wan_status check_gate(const struct wn_linear_args *a, int64_t T, struct wn_err *err)
{
    if (!wn_has(a->gate.table) || !wn_has(a->gate.index)) return WAN_OK;
    for (int64_t t = 0; t < T; t++) {
        int32_t entry;
        memcpy(&entry, element(a->gate.index, t), sizeof entry);
        if (entry < 0 || entry >= a->gate.table.dim[0])
            return wn_fail(err, WAN_EINVAL, "%s: index %d of row %lld is outside its table of %lld rows",
                           wn_op_name(WN_OP_LINEAR), (int)entry, (long long)t,
                           (long long)a->gate.table.dim[0]);
    }
    return WAN_OK;
}

enum wan_status wn_cpu_linear(struct wn_device *dev, const void *args, struct wn_err *err)
{
    const struct wn_linear_args *a = args;
    struct linear l = linear_of(wn_cpu_of(dev), a);
    enum wan_status st = check_gate(a, l.T, err);
    if (st) return st;
    const struct wn_leaf_gemm *swapped = l.T <= SWAPPED_ROWS ? swapped_leaf(&l) : NULL;
    if (swapped) return swapped_rows(&l, swapped, err);
    return l.T <= FEW_ROWS ? few_rows(&l, err) : many_rows(&l, err);
}
