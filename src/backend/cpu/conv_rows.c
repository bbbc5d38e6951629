/* 3D convolution for leaves that read rows of A where they lie (AMX).
 *
 * The outputs of a frame are taken in blocks of bh rows and bw columns. What a block sees of the input, so
 * many channels at a time, is put into a plane of bf16 parts in the thread's scratch: once for each element,
 * padding, cache, upsampling and the conversion done, ph = bh - 1 + KH rows and pw = bw - 1 + KW columns for
 * each of KT frames. With outputs numbered y * pw + x, row m of A is then the plane from pixel m on, and each
 * tap is the same rows from another pixel: a tap is a run of leaf->block_rows. (The KW - 1 numbers after the
 * last column of a row are computed and dropped.) Weights are packed once, a panel [channels in groups, taps,
 * channels of the group].
 */
#include <string.h>

#include "backend/cpu/conv.h"
#include "base/mem.h"

/* Bytes of a plane and of a block's sums, which a second-level cache holds together; of packed weights. */
enum { PLANE_BYTES = 768 << 10, SUM_BYTES = 512 << 10, PACKED_BYTES = 12 << 20 };
/* Columns of a block; input channels in the plane at a time; weight rows reordered at a time. */
enum { BLOCK_COLUMNS = 64, CHANNELS = 256, W_CHANNELS = 64, MAX_TAPS = 64 };

struct job {
    struct conv *c;
    const struct wn_leaf_gemm *leaf;
    int parts;
    int64_t KT;
    int64_t bh, bw, ph, pw;
    int64_t by, bx;          /* blocks down and across a frame */
    int64_t channels, m_pad; /* of a group; rows of A and of the sums */
    int64_t n0, n1, ldc;     /* columns in work */
    size_t plane_bytes, panel_bytes;
    const uint8_t *packed;
};

bool wn_conv_takes_rows(const struct conv *c, const struct wn_leaf_gemm *leaf)
{
    const struct wn_conv_args *a = c->a;
    return leaf->block_rows && c->Ci % leaf->kr == 0 && a->stride[1] == 1 && a->stride[2] == 1 &&
           c->taps <= MAX_TAPS;
}

/* ---- weights ---- */

static void pack_panel(void *arg, int64_t task, int thread)
{
    const struct job *j = arg;
    const struct conv *c = j->c;
    const struct wn_leaf_gemm *leaf = j->leaf;
    int64_t n0 = j->n0 + task * leaf->nr;
    int n = (int)wn_min64(leaf->nr, j->n1 - n0);
    uint8_t *dst = (uint8_t *)(uintptr_t)j->packed + (size_t)task * j->panel_bytes;
    float *rows = (float *)wn_cpu_thread_scratch(c->cpu, thread),
          *in = rows + leaf->nr * c->taps * W_CHANNELS;
    const void *row[WN_LEAF_MAX_NR];
    for (int64_t g = 0; g < c->Ci; g += j->channels) {
        int64_t channels = wn_min64(j->channels, c->Ci - g);
        for (int64_t at = 0; at < channels; at += W_CHANNELS) {
            int64_t count = wn_min64(W_CHANNELS, channels - at);
            for (int r = 0; r < n; r++)
                wn_conv_reorder(c, rows + r * c->taps * W_CHANNELS, W_CHANNELS, n0 + r, g + at, count, in);
            for (int64_t tap = 0; tap < c->taps; tap++) {
                for (int r = 0; r < n; r++) row[r] = rows + (r * c->taps + tap) * W_CHANNELS;
                int64_t k = c->taps * g + tap * channels + at;
                leaf->pack_w(dst + (size_t)(k * leaf->nr) * leaf->w_bytes, row, n, WN_F32, count);
            }
        }
    }
}

/* ---- input ---- */

struct place {
    int64_t t, y0, x0, h, w; /* output frame; first row and column; rows and columns */
};

/* A run of `n` pixels of a row, from column x of the (upsampled) input on, into the plane. */
static void put_pixels(const struct job *j, uint16_t *hi, uint16_t *lo, const char *row, int64_t x, int64_t n,
                       int64_t channels)
{
    const struct conv *c = j->c;
    const int64_t up = c->a->upsample;
    const size_t pixel = (size_t)c->Ci * c->size;
    if (up == 1 && channels == c->Ci) {
        j->leaf->split(hi, lo, row + (size_t)x * pixel, c->a->x.type, n * channels);
        return;
    }
    for (int64_t i = 0; i < n; i++, hi += channels, lo += channels) {
        if (i > 0 && (x + i) % up != 0) { /* the pixel before it, again */
            memcpy(hi, hi - channels, (size_t)channels * sizeof *hi);
            if (j->parts == 2) memcpy(lo, lo - channels, (size_t)channels * sizeof *lo);
        } else {
            j->leaf->split(hi, lo, row + (size_t)((x + i) / up) * pixel, c->a->x.type, channels);
        }
    }
}

static void put_zeros(const struct job *j, uint16_t *hi, uint16_t *lo, int64_t n)
{
    if (n <= 0) return;
    memset(hi, 0, (size_t)n * sizeof *hi);
    if (j->parts == 2) memset(lo, 0, (size_t)n * sizeof *lo);
}

/* Row `y` of frame `f` of the padded input, columns from x0 on; `f` NULL: zeros. */
static void put_row(const struct job *j, uint16_t *hi, uint16_t *lo, const char *frame, int64_t y, int64_t x0,
                    int64_t channels)
{
    const struct conv *c = j->c;
    const int64_t up = c->a->upsample, H = c->H * up, W = c->W * up;
    int64_t left = wn_min64(wn_max64(-x0, 0), j->pw), right = wn_min64(wn_max64(x0 + j->pw - W, 0), j->pw);
    if (!frame || y < 0 || y >= H || left + right >= j->pw) {
        put_zeros(j, hi, lo, j->pw * channels);
        return;
    }
    put_zeros(j, hi, lo, left * channels);
    put_pixels(j, hi + left * channels, lo + left * channels,
               frame + (size_t)(y / up * c->W * c->Ci) * c->size, x0 + left, j->pw - left - right, channels);
    int64_t at = (j->pw - right) * channels;
    put_zeros(j, hi + at, lo + at, right * channels);
}

/* Input channels [c0, c0 + channels) of all that a block sees. */
static void fill_plane(const struct job *j, uint16_t *hi, const struct place *p, int64_t c0, int64_t channels)
{
    const struct conv *c = j->c;
    const struct wn_conv_args *a = c->a;
    uint16_t *lo = hi + j->plane_bytes / 2 / sizeof *hi; /* not written where there is one part */
    for (int64_t k = 0; k < j->KT; k++) {
        int64_t f = p->t * a->stride[0] - a->pad_front + k;
        const char *frame = NULL;
        if (f >= 0) {
            struct wn_tensor from = f < c->Tc ? a->cache : a->x;
            frame = (const char *)wn_host(from) +
                    (size_t)((f < c->Tc ? f : f - c->Tc) * c->H * c->W * c->Ci + c0) * c->size;
        }
        for (int64_t y = 0; y < j->ph; y++, hi += j->pw * channels, lo += j->pw * channels)
            put_row(j, hi, lo, frame, p->y0 + y - a->pad_h[0], p->x0 - a->pad_w[0], channels);
    }
}

/* ---- blocks ---- */

/* Sums over the taps of a group of channels, so many taps at a time that a panel of their weights stays in
 * the first-level cache. */
static void add_group(const struct job *j, const uint16_t *plane, int64_t c0, int64_t channels, float *sums)
{
    const struct conv *c = j->c;
    const struct wn_leaf_gemm *leaf = j->leaf;
    int64_t taps = wn_min64(wn_max64(leaf->kc / channels, 1), c->taps);
    ptrdiff_t run[MAX_TAPS];
    for (int64_t tap = 0; tap < c->taps; tap++) {
        int64_t kx = tap % c->KW, ky = tap / c->KW % c->KH, kf = tap / c->KW / c->KH;
        run[tap] = (ptrdiff_t)(((kf * j->ph + ky) * j->pw + kx) * channels * (int64_t)sizeof *plane);
    }
    for (int64_t tap = 0; tap < c->taps; tap += taps) {
        struct wn_leaf_rows rows = {.hi = plane,
                                    .lo = (ptrdiff_t)(j->plane_bytes / 2),
                                    .row = (ptrdiff_t)(channels * (int64_t)sizeof *plane),
                                    .n_runs = (int)wn_min64(taps, c->taps - tap),
                                    .run = run + tap,
                                    .k = channels};
        int64_t k = c->taps * c0 + tap * channels;
        leaf->block_rows(&rows, (int)(j->m_pad / leaf->mr), (int)wn_div_up(j->n1 - j->n0, leaf->nr),
                         j->packed + (size_t)(k * leaf->nr) * leaf->w_bytes, j->panel_bytes, sums, j->ldc,
                         k > 0);
    }
}

static void block_task(void *arg, int64_t task, int thread)
{
    const struct job *j = arg;
    const struct conv *c = j->c;
    uint16_t *plane = (uint16_t *)wn_cpu_thread_scratch(c->cpu, thread);
    float *sums = (float *)((uint8_t *)plane + j->plane_bytes);
    struct place p = {
        .t = task / j->bx / j->by, .y0 = task / j->bx % j->by * j->bh, .x0 = task % j->bx * j->bw};
    p.h = wn_min64(j->bh, c->H_out - p.y0);
    p.w = wn_min64(j->bw, c->W_out - p.x0);
    for (int64_t g = 0; g < c->Ci; g += j->channels) {
        int64_t channels = wn_min64(j->channels, c->Ci - g);
        fill_plane(j, plane, &p, g, channels);
        add_group(j, plane, g, channels, sums);
    }
    for (int64_t y = 0; y < p.h; y++)
        wn_conv_finish(c, sums + y * j->pw * j->ldc, j->ldc, (p.t * c->H_out + p.y0 + y) * c->W_out + p.x0,
                       p.w, j->n0, j->n1 - j->n0);
}

/* Blocks as near to square as the caches allow: what is seen beyond a block's own outputs is converted again
 * for each neighbour. */
static void choose_blocks(struct job *j, int64_t columns)
{
    const struct conv *c = j->c;
    const int64_t pixel = j->KT * j->channels * 2 * j->parts, most = SUM_BYTES / (4 * columns);
    for (int64_t w = wn_min64(BLOCK_COLUMNS, c->W_out);; w = wn_div_up(w, 2)) {
        j->bw = wn_even_block(c->W_out, w, 1);
        j->pw = j->bw - 1 + c->KW;
        int64_t h = wn_min64(PLANE_BYTES / (pixel * j->pw) - c->KH + 1, most / j->pw);
        j->bh = wn_even_block(c->H_out, wn_max64(1, wn_min64(h, c->H_out)), 1);
        if (h >= 4 || h >= c->H_out || w <= 8) break;
    }
    j->ph = j->bh - 1 + c->KH;
    j->by = wn_div_up(c->H_out, j->bh);
    j->bx = wn_div_up(c->W_out, j->bw);
    j->m_pad = wn_round_up((j->bh - 1) * j->pw + j->bw, j->leaf->mr);
    /* Whole tiles are read, from every tap: up to mr rows and a few pixels past the plane. */
    int64_t pixels = j->KT * j->ph * j->pw + j->m_pad - j->bh * j->pw + c->KW;
    int64_t bytes = wn_round_up(wn_max64(pixels, 1) * j->channels * 2, WN_ALIGN);
    j->plane_bytes = 2 * (size_t)bytes; /* of both parts, even where there is one */
}

enum wan_status wn_conv_rows(struct conv *c, const struct wn_leaf_gemm *leaf, struct wn_err *err)
{
    struct wn_cpu *cpu = c->cpu;
    struct job j = {.c = c,
                    .leaf = leaf,
                    .parts = leaf->a_bytes == 4 ? 2 : 1,
                    .KT = c->a->w.dim[2],
                    .channels = wn_even_block(c->Ci, CHANNELS, leaf->kr)};
    int64_t K = c->taps * c->Ci, N = wn_round_up(c->Co, leaf->nr);
    j.panel_bytes = wn_size_mul((size_t)K, (size_t)leaf->nr * leaf->w_bytes);
    int64_t chunk = wn_min64(N, wn_max64(1, PACKED_BYTES / (int64_t)j.panel_bytes) * leaf->nr);
    j.ldc = chunk;
    choose_blocks(&j, chunk);
    size_t keep = wn_has(c->a->b) ? (size_t)wn_round_up(c->Co * 4, WN_ALIGN) : 0;
    size_t shared = wn_size_add(keep, wn_size_mul(j.panel_bytes, (size_t)(chunk / leaf->nr)));
    size_t w_bytes = (size_t)((leaf->nr + 1) * c->taps * W_CHANNELS) * sizeof(float);
    size_t thread = j.plane_bytes + (size_t)(j.m_pad * chunk) * sizeof(float);
    enum wan_status st = wn_cpu_scratch(cpu, shared, thread > w_bytes ? thread : w_bytes, err);
    if (st) return st;
    wn_conv_keep_bias(c, cpu->scratch);
    j.packed = cpu->scratch + keep;
    for (j.n0 = 0; j.n0 < c->Co && !st; j.n0 += chunk) {
        j.n1 = wn_min64(j.n0 + chunk, c->Co);
        st = wn_cpu_run(cpu, wn_div_up(j.n1 - j.n0, leaf->nr), pack_panel, &j, err);
        if (!st) st = wn_cpu_run(cpu, c->a->out.dim[0] * j.by * j.bx, block_task, &j, err);
    }
    return st;
}
