/* 3D convolution as a product without an im2col matrix: the rows of A are output positions, its columns (tap,
 * input channel), and a tap of a position is one run of Ci neighbouring elements of x, of the cache, or
 * zeros. The packing of A gathers these runs for one block at a time; panels of the weights are reordered
 * from [Co, Ci, taps] as they are packed. */
#include <string.h>

#include "backend/cpu/conv.h"

/* Runs shorter than this are first gathered into rows: a call per run would cost more than its elements. */
enum { MIN_RUN = 16 };
/* Input channels of a weight reordered at a time. */
enum { W_CHANNELS = 64 };

/* Where the receptive field of an output position begins, in padded and upsampled coordinates less the
 * padding. */
struct place {
    int64_t f, y, x;
};

static struct place place_of(const struct conv *c, int64_t row)
{
    const struct wn_conv_args *a = c->a;
    int64_t w = row % c->W_out, h = row / c->W_out % c->H_out, t = row / c->W_out / c->H_out;
    return (struct place){t * a->stride[0] - a->pad_front, h * a->stride[1] - a->pad_h[0],
                          w * a->stride[2] - a->pad_w[0]};
}

/* The Ci elements under a tap, or NULL for zeros. */
static const char *pixel(const struct conv *c, const struct place *p, int64_t tap)
{
    const struct wn_conv_args *a = c->a;
    int64_t kx = tap % c->KW, ky = tap / c->KW % c->KH, kf = tap / c->KW / c->KH;
    int64_t f = p->f + kf, y = p->y + ky, x = p->x + kx, up = a->upsample;
    if (f < 0 || y < 0 || x < 0 || y >= c->H * up || x >= c->W * up) return NULL;
    if (up != 1) {
        y /= up;
        x /= up;
    }
    const char *from = f < c->Tc ? wn_host(a->cache) : wn_host(a->x);
    if (f >= c->Tc) f -= c->Tc;
    return from + (size_t)(((f * c->H + y) * c->W + x) * c->Ci) * c->size;
}

/* One tile straight from the input, run by run. */
static void pack_runs(const struct wn_gemm *g, uint8_t *dst, const struct place *place, int n, int64_t k0,
                      int64_t k)
{
    const struct conv *c = g->ctx;
    const void *row[WN_LEAF_MAX_MR];
    for (int64_t done = 0, run; done < k; done += run) {
        int64_t tap = (k0 + done) / c->Ci, ci = (k0 + done) % c->Ci;
        run = wn_min64(c->Ci - ci, k - done);
        for (int r = 0; r < n; r++) {
            const char *p = pixel(c, &place[r], tap);
            row[r] = p ? p + (size_t)ci * c->size : NULL;
        }
        g->leaf->pack_a(dst + (size_t)(done * g->leaf->mr) * g->leaf->a_bytes, row, n, c->a->x.type, run);
    }
}

/* One tile by way of rows of k elements in tmp. */
static void pack_gathered(const struct wn_gemm *g, uint8_t *dst, const struct place *place, int n, int64_t k0,
                          int64_t k, uint8_t *tmp)
{
    const struct conv *c = g->ctx;
    const void *row[WN_LEAF_MAX_MR];
    for (int r = 0; r < n; r++) {
        uint8_t *to = tmp + (size_t)(r * k) * c->size;
        row[r] = to;
        for (int64_t done = 0, run; done < k; done += run) {
            int64_t tap = (k0 + done) / c->Ci, ci = (k0 + done) % c->Ci;
            run = wn_min64(c->Ci - ci, k - done);
            const char *p = pixel(c, &place[r], tap);
            if (p)
                memcpy(to, p + (size_t)ci * c->size, (size_t)run * c->size);
            else
                memset(to, 0, (size_t)run * c->size);
            to += (size_t)run * c->size;
        }
    }
    g->leaf->pack_a(dst, row, n, c->a->x.type, k);
}

static void pack_a(const struct wn_gemm *g, void *dst, int64_t m0, int64_t m, int64_t k0, int64_t k,
                   void *tmp)
{
    const struct conv *c = g->ctx;
    const int mr = g->leaf->mr;
    size_t tile = (size_t)(mr * wn_round_up(k, g->leaf->kr)) * g->leaf->a_bytes;
    struct place place[WN_LEAF_MAX_MR];
    uint8_t *to = dst;
    for (int64_t i = 0; i < m; i += mr, to += tile) {
        int n = (int)wn_min64(mr, m - i);
        for (int r = 0; r < n; r++) place[r] = place_of(c, m0 + i + r);
        if (c->direct)
            pack_runs(g, to, place, n, k0, k);
        else
            pack_gathered(g, to, place, n, k0, k, tmp);
    }
}

static const char *weight(const struct conv *c, int64_t co, int64_t ci)
{
    return (const char *)wn_host(c->a->w) +
           (size_t)((co * c->Ci + ci) * c->taps) * wn_dtype_size(c->a->w.type);
}

void wn_conv_reorder(const struct conv *c, float *out, int64_t step, int64_t co, int64_t c0, int64_t n,
                     float *in)
{
    c->cpu->leaf.to_f32(in, weight(c, co, c0), c->a->w.type, n * c->taps);
    for (int64_t tap = 0; tap < c->taps; tap++)
        for (int64_t i = 0; i < n; i++) out[tap * step + i] = in[i * c->taps + tap];
}

static void pack_w(const struct wn_gemm *g, void *dst, int64_t n0, int64_t n, void *tmp)
{
    const struct conv *c = g->ctx;
    const struct wn_leaf_gemm *leaf = g->leaf;
    const void *row[WN_LEAF_MAX_NR];
    if (c->taps == 1) {
        for (int64_t r = 0; r < n; r++) row[r] = weight(c, n0 + r, 0);
        leaf->pack_w(dst, row, (int)n, c->a->w.type, c->Ci);
        return;
    }
    int64_t step = c->direct ? W_CHANNELS : c->Ci, each = c->taps * step;
    float *rows = tmp, *in = rows + leaf->nr * each;
    for (int64_t c0 = 0; c0 < c->Ci; c0 += step) {
        int64_t count = wn_min64(step, c->Ci - c0);
        for (int64_t r = 0; r < n; r++) {
            wn_conv_reorder(c, rows + r * each, step, n0 + r, c0, count, in);
            row[r] = rows + r * each;
        }
        if (!c->direct) {
            leaf->pack_w(dst, row, (int)n, WN_F32, each);
            continue;
        }
        for (int64_t tap = 0; tap < c->taps; tap++) {
            size_t at = (size_t)((tap * c->Ci + c0) * leaf->nr) * leaf->w_bytes;
            leaf->pack_w((uint8_t *)dst + at, row, (int)n, WN_F32, count);
            for (int64_t r = 0; r < n; r++) row[r] = (const float *)row[r] + step;
        }
    }
}

void wn_conv_finish(const struct conv *c, const float *sums, int64_t ldc, int64_t m0, int64_t m, int64_t n0,
                    int64_t n)
{
    const struct wn_conv_args *a = c->a;
    struct wn_row_end end = {
        .bias = c->bias ? c->bias + n0 : NULL, .add_type = a->add.type, .out_type = a->out.type};
    for (int64_t i = 0; i < m; i++) {
        size_t at = (size_t)((m0 + i) * c->Co + n0);
        if (wn_has(a->add)) end.add = (const char *)wn_host(a->add) + at * wn_dtype_size(a->add.type);
        end.out = (char *)wn_host(a->out) + at * wn_dtype_size(a->out.type);
        c->cpu->leaf.end_row(sums + i * ldc, n, &end);
    }
}

static void finish(const struct wn_gemm *g, const float *sums, int64_t ldc, int64_t m0, int64_t m, int64_t n0,
                   int64_t n)
{
    wn_conv_finish(g->ctx, sums, ldc, m0, m, n0, n);
}

void wn_conv_keep_bias(struct conv *c, uint8_t *kept)
{
    if (!wn_has(c->a->b)) return;
    c->cpu->leaf.to_f32((float *)kept, wn_host(c->a->b), c->a->b.type, c->Co);
    c->bias = (const float *)kept;
}

static enum wan_status prepare(struct wn_gemm *g, uint8_t *kept, struct wn_err *err)
{
    (void)err;
    wn_conv_keep_bias((struct conv *)(uintptr_t)g->ctx, kept);
    return WAN_OK;
}

/* Inputs packed at a time: whole taps where several fit, else an even part of one. */
static int64_t run_length(const struct conv *c, const struct wn_leaf_gemm *leaf)
{
    if (!c->direct) return 0;
    return c->Ci <= leaf->kc ? leaf->kc / c->Ci * c->Ci : wn_even_block(c->Ci, leaf->kc, leaf->kr);
}

enum wan_status wn_cpu_conv(struct wn_device *dev, const void *args, struct wn_err *err)
{
    const struct wn_conv_args *a = args;
    struct wn_cpu *cpu = wn_cpu_of(dev);
    const struct wn_leaf_gemm *leaf = wn_leaf_product(&cpu->leaf, a->precision, a->w.type);
    struct conv c = {.a = a,
                     .cpu = cpu,
                     .H_out = a->out.dim[1],
                     .W_out = a->out.dim[2],
                     .Co = a->out.dim[3],
                     .KH = a->w.dim[3],
                     .KW = a->w.dim[4],
                     .taps = a->w.dim[2] * a->w.dim[3] * a->w.dim[4],
                     .H = a->x.dim[1],
                     .W = a->x.dim[2],
                     .Ci = a->x.dim[3],
                     .Tc = wn_has(a->cache) ? a->cache.dim[0] : 0,
                     .size = wn_dtype_size(a->x.type)};
    if (wn_conv_takes_rows(&c, leaf)) return wn_conv_rows(&c, leaf, err);
    c.direct = c.Ci % leaf->kr == 0 && c.Ci >= MIN_RUN;
    struct wn_gemm g = {.leaf = leaf,
                        .M = wn_n_elems(a->out) / c.Co,
                        .N = c.Co,
                        .K = c.taps * c.Ci,
                        .ctx = &c,
                        .kc = run_length(&c, leaf),
                        .pack_a = pack_a,
                        .pack_w = pack_w,
                        .finish = finish};
    int64_t step = c.direct ? W_CHANNELS : c.Ci;
    size_t w_tmp = (size_t)(c.taps * step * (leaf->nr + 1)) * sizeof(float);
    size_t a_tmp = (size_t)(leaf->mr * wn_min64(g.K, leaf->kc + leaf->kr)) * c.size;
    g.tmp_bytes = w_tmp > a_tmp ? w_tmp : a_tmp;
    return wn_gemm_run(cpu, &g, wn_has(a->b) ? (size_t)c.Co * 4 : 0, prepare, err);
}
