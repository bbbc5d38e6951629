/* Blockwise attention: scores exist for one block of queries against one block of keys at a time.
 *
 * Keys and values of a (segment, head) pair are packed once and shared by all its query blocks; pairs are
 * taken in groups whose packed bytes fit GROUP_BYTES (a single pair may exceed it: it is then the size of its
 * own K and V). A task is one query block of a pair. It walks the key blocks in order with an online softmax
 * in float32: running maximum m and sum l of each row, and an output block that is rescaled when the maximum
 * moves.
 */
#include <math.h>
#include <string.h>

#include "backend/cpu/cpu.h"
#include "base/mem.h"

enum { GROUP_BYTES = 64 << 20 };
/* Keys of a block (a multiple of every leaf's nr and kr), keys packed by one task. */
enum { K_BLOCK = 256, PACK_KEYS = 512 };

struct attention {
    const struct wn_attention_args *a;
    struct wn_cpu *cpu;
    const struct wn_leaf_gemm *qk, *pv;
    int64_t NH, HD, q_block;
    int64_t hd_k, hd_n;            /* HD padded as an inner and as an outer extent */
    int64_t pair0, pair1;          /* the group: pair = segment * NH + head */
    size_t q_at, s_at, p_at, o_at; /* in the thread scratch, rows' state first */
};

/* One pair's place. */
struct pair {
    int seg;
    int64_t head, q0, lq, k0, lk; /* first rows and lengths */
    const uint8_t *k, *v;         /* packed */
};

static const char *row_of(const struct attention *t, struct wn_tensor x, int64_t row, int64_t head)
{
    return (const char *)wn_host(x) + (size_t)((row * t->NH + head) * t->HD) * wn_dtype_size(x.type);
}

static int64_t k_panel_bytes(const struct attention *t)
{
    return t->qk->nr * t->hd_k * (int64_t)t->qk->w_bytes;
}

static int64_t v_panel_bytes(const struct attention *t, int64_t lk)
{
    return t->pv->nr * wn_round_up(lk, t->pv->kr) * (int64_t)t->pv->w_bytes;
}

static int64_t k_bytes(const struct attention *t, int64_t lk)
{
    return wn_round_up(wn_div_up(lk, t->qk->nr) * k_panel_bytes(t), WN_ALIGN);
}

static int64_t pair_bytes(const struct attention *t, int seg)
{
    int64_t lk = t->a->k_seg[seg + 1] - t->a->k_seg[seg];
    return k_bytes(t, lk) + wn_round_up(t->hd_n / t->pv->nr * v_panel_bytes(t, lk), WN_ALIGN);
}

static int64_t q_blocks(const struct attention *t, int seg)
{
    return wn_div_up(t->a->q_seg[seg + 1] - t->a->q_seg[seg], t->q_block);
}

static int64_t pack_blocks(const struct attention *t, int seg)
{
    return wn_div_up(t->a->k_seg[seg + 1] - t->a->k_seg[seg], PACK_KEYS);
}

/* Heads of a segment that belong to the group. */
static int64_t heads_in_group(const struct attention *t, int seg, int64_t *first)
{
    int64_t begin = wn_max64(t->pair0, seg * t->NH), end = wn_min64(t->pair1, (seg + 1) * t->NH);
    *first = begin - seg * t->NH;
    return wn_max64(0, end - begin);
}

/* Tasks of the group where a pair of segment s has per_pair(s) of them. */
static int64_t count_tasks(const struct attention *t, int64_t (*per_pair)(const struct attention *, int))
{
    int64_t n = 0, first;
    for (int seg = 0; seg < t->a->n_seg; seg++) n += heads_in_group(t, seg, &first) * per_pair(t, seg);
    return n;
}

/* The pair that a task of the group belongs to; returns the task's index within the pair. */
static int64_t find_pair(const struct attention *t, int64_t task,
                         int64_t (*per_pair)(const struct attention *, int), struct pair *p)
{
    const struct wn_attention_args *a = t->a;
    int64_t at = 0, first = 0, each = 0;
    int seg = (int)(t->pair0 / t->NH);
    for (;; seg++) {
        int64_t heads = heads_in_group(t, seg, &first);
        each = per_pair(t, seg);
        if (task < heads * each) break;
        task -= heads * each;
        at += heads * pair_bytes(t, seg);
    }
    at += task / each * pair_bytes(t, seg);
    *p = (struct pair){.seg = seg, .head = first + task / each, .q0 = a->q_seg[seg], .k0 = a->k_seg[seg]};
    p->lq = a->q_seg[seg + 1] - p->q0;
    p->lk = a->k_seg[seg + 1] - p->k0;
    p->k = t->cpu->scratch + at;
    p->v = p->k + k_bytes(t, p->lk);
    return task % each;
}

static void pack_task(void *arg, int64_t task, int thread)
{
    (void)thread;
    const struct attention *t = arg;
    const struct wn_attention_args *a = t->a;
    struct pair p;
    int64_t first = find_pair(t, task, pack_blocks, &p) * PACK_KEYS, n = wn_min64(PACK_KEYS, p.lk - first);
    const void *row[WN_LEAF_MAX_NR];
    uint8_t *k = (uint8_t *)(uintptr_t)p.k, *v = (uint8_t *)(uintptr_t)p.v;
    for (int64_t j = first; j < first + n; j += t->qk->nr) {
        int rows = (int)wn_min64(t->qk->nr, p.lk - j);
        for (int r = 0; r < rows; r++) row[r] = row_of(t, a->k, p.k0 + j + r, p.head);
        t->qk->pack_w(k + j / t->qk->nr * k_panel_bytes(t), row, rows, a->k.type, t->HD);
    }
    size_t stride = (size_t)(t->NH * t->HD) * wn_dtype_size(a->v.type);
    const char *src = row_of(t, a->v, p.k0 + first, p.head);
    for (int64_t c = 0; c < t->HD; c += t->pv->nr)
        t->pv->pack_kn(v + c / t->pv->nr * v_panel_bytes(t, p.lk) +
                           first * t->pv->nr * (int64_t)t->pv->w_bytes,
                       src + (size_t)c * wn_dtype_size(a->v.type), stride,
                       (int)wn_min64(t->pv->nr, t->HD - c), a->v.type, n);
}

/* The keys [lo, hi) that query i of a pair sees; rising with i. */
static void visible(const struct wn_attention_args *a, const struct pair *p, int64_t i, int64_t *lo,
                    int64_t *hi)
{
    int64_t diagonal = i + p->lk - p->lq, far = p->lk + p->lq; /* no key is further off than `far` */
    *lo = 0;
    *hi = p->lk;
    if (a->causal) *hi = wn_min64(*hi, diagonal + 1);
    if (a->windowed && a->window_right >= 0)
        *hi = wn_min64(*hi, diagonal + wn_min64(a->window_right, far) + 1);
    if (a->windowed && a->window_left >= 0) *lo = wn_max64(0, diagonal - wn_min64(a->window_left, far));
    if (*hi < 0) *hi = 0;
}

static void pack_tiles(const struct wn_leaf_gemm *leaf, uint8_t *dst, const char *src, size_t stride,
                       int64_t m, enum wn_dtype type, int64_t k)
{
    size_t tile = (size_t)(leaf->mr * wn_round_up(k, leaf->kr)) * leaf->a_bytes;
    const void *row[WN_LEAF_MAX_MR];
    for (int64_t i = 0; i < m; i += leaf->mr, dst += tile) {
        int n = (int)wn_min64(leaf->mr, m - i);
        for (int r = 0; r < n; r++) row[r] = src + (size_t)(i + r) * stride;
        leaf->pack_a(dst, row, n, type, k);
    }
}

/* Scores [m, n] of queries from i0 against keys from k0 become probabilities, and the output block o is
 * rescaled. */
static void soften(const struct attention *t, const struct pair *p, int64_t i0, int64_t m, int64_t k0, int n,
                   float *s, float *o, struct wn_softmax_row *rows)
{
    const struct wn_attention_args *a = t->a;
    const float *weight =
        wn_has(a->key_log_weight) ? (const float *)wn_host(a->key_log_weight) + p->k0 + k0 : NULL;
    int64_t span = wn_has(a->rel_bias) ? a->rel_bias.dim[1] : 0;
    for (int64_t i = 0; i < m; i++) {
        struct wn_softmax_row *r = &rows[i];
        int64_t lo, hi;
        visible(a, p, i0 + i, &lo, &hi);
        lo = wn_min64(wn_max64(lo - k0, 0), n);
        hi = wn_max64(wn_min64(hi - k0, n), lo);
        r->log_weight = weight;
        if (span)
            r->bias = (const float *)wn_host(a->rel_bias) + p->head * span + (k0 - (i0 + i)) + (span - 1) / 2;
        t->cpu->leaf.softmax_row(s + i * K_BLOCK, (int)lo, (int)hi, n, r);
        if (r->alpha != 1) t->cpu->leaf.scale(o + i * t->hd_n, r->alpha, t->hd_n);
    }
}

static void store(const struct attention *t, const struct pair *p, int64_t i0, int64_t m, float *o,
                  const struct wn_softmax_row *rows)
{
    struct wn_row_end end = {.out_type = t->a->out.type};
    for (int64_t i = 0; i < m; i++) {
        float l = rows[i].l;
        t->cpu->leaf.scale(o + i * t->hd_n, l != 0 ? 1 / l : 0, t->HD);
        end.out = (void *)(uintptr_t)row_of(t, t->a->out, p->q0 + i0 + i, p->head);
        t->cpu->leaf.end_row(o + i * t->hd_n, t->HD, &end);
    }
}

static void query_task(void *arg, int64_t task, int thread)
{
    const struct attention *t = arg;
    const struct wn_attention_args *a = t->a;
    uint8_t *scratch = wn_cpu_thread_scratch(t->cpu, thread);
    struct wn_softmax_row *rows = (struct wn_softmax_row *)scratch;
    uint8_t *q = scratch + t->q_at, *prob = scratch + t->p_at;
    float *s = (float *)(scratch + t->s_at), *o = (float *)(scratch + t->o_at);
    struct pair p;
    int64_t i0 = find_pair(t, task, q_blocks, &p) * t->q_block, m = wn_min64(t->q_block, p.lq - i0);
    int m_tiles = (int)wn_div_up(m, t->qk->mr);

    size_t stride = (size_t)(t->NH * t->HD) * wn_dtype_size(a->q.type);
    pack_tiles(t->qk, q, row_of(t, a->q, p.q0 + i0, p.head), stride, m, a->q.type, t->HD);
    for (int64_t i = 0; i < m; i++) rows[i] = (struct wn_softmax_row){.scale = a->scale, .m = -INFINITY};
    memset(o, 0, (size_t)(wn_round_up(m, t->pv->mr) * t->hd_n) * sizeof *o);

    int64_t begin, end, other;
    visible(a, &p, i0, &begin, &other);
    visible(a, &p, i0 + m - 1, &other, &end);
    for (int64_t k0 = begin / K_BLOCK * K_BLOCK; k0 < end; k0 += K_BLOCK) {
        int n = (int)wn_min64(K_BLOCK, p.lk - k0);
        t->qk->block(t->hd_k, m_tiles, (int)wn_div_up(n, t->qk->nr), q,
                     p.k + k0 / t->qk->nr * k_panel_bytes(t), (size_t)k_panel_bytes(t), s, K_BLOCK, false);
        soften(t, &p, i0, m, k0, n, s, o, rows);
        pack_tiles(t->pv, prob, (const char *)s, K_BLOCK * sizeof *s, m, WN_F32, n);
        t->pv->block(wn_round_up(n, t->pv->kr), m_tiles, (int)(t->hd_n / t->pv->nr), prob,
                     p.v + k0 * t->pv->nr * (int64_t)t->pv->w_bytes, (size_t)v_panel_bytes(t, p.lk), o,
                     t->hd_n, true);
    }
    store(t, &p, i0, m, o, rows);
}

/* Lay out the thread scratch; returns its size. */
static size_t plan_scratch(struct attention *t)
{
    size_t rows = (size_t)t->q_block;
    size_t at = wn_size_mul(rows, sizeof(struct wn_softmax_row));
    t->q_at = at = (at + WN_ALIGN - 1) / WN_ALIGN * WN_ALIGN;
    at += (wn_size_mul(rows * (size_t)t->hd_k, t->qk->a_bytes) + WN_ALIGN - 1) / WN_ALIGN * WN_ALIGN;
    t->s_at = at;
    t->p_at = at += rows * K_BLOCK * sizeof(float);
    t->o_at = at += rows * K_BLOCK * t->pv->a_bytes;
    return at + rows * (size_t)t->hd_n * sizeof(float);
}

static enum wan_status run_group(struct attention *t, struct wn_err *err)
{
    enum wan_status st = wn_cpu_run(t->cpu, count_tasks(t, pack_blocks), pack_task, t, err);
    return st ? st : wn_cpu_run(t->cpu, count_tasks(t, q_blocks), query_task, t, err);
}

enum wan_status wn_cpu_attention(struct wn_device *dev, const void *args, struct wn_err *err)
{
    struct wn_attention_args a = *(const struct wn_attention_args *)args;
    struct wn_cpu *cpu = wn_cpu_of(dev);
    struct attention t = {.a = &a, .cpu = cpu, .NH = a.q.dim[1], .HD = a.q.dim[2]};
    if (a.scale == 0) a.scale = 1 / sqrtf((float)t.HD);
    t.qk = wn_leaf_product(&cpu->leaf, a.precision, a.k.type);
    t.pv = wn_leaf_product(&cpu->leaf, a.precision, a.v.type);
    t.hd_k = wn_round_up(t.HD, t.qk->kr);
    t.hd_n = wn_round_up(t.HD, t.pv->nr);
    int64_t longest = 1;
    for (int i = 0; i < a.n_seg; i++) longest = wn_max64(longest, a.q_seg[i + 1] - a.q_seg[i]);
    t.q_block = wn_round_up(wn_min64(cpu->leaf.attention_rows, longest), t.qk->mr);

    size_t thread_bytes = plan_scratch(&t);
    int64_t pairs = a.n_seg * t.NH;
    enum wan_status st = WAN_OK;
    for (; t.pair0 < pairs && !st; t.pair0 = t.pair1) {
        int64_t bytes = 0;
        for (t.pair1 = t.pair0; t.pair1 < pairs; t.pair1++) {
            int64_t more = pair_bytes(&t, (int)(t.pair1 / t.NH));
            if (t.pair1 > t.pair0 && bytes + more > GROUP_BYTES) break;
            bytes += more;
        }
        st = wn_cpu_scratch(cpu, (size_t)bytes, thread_bytes, err);
        if (!st) st = run_group(&t, err);
    }
    return st;
}
