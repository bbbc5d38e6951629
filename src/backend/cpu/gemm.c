/* The product driver, once for all instruction sets.
 *
 * The columns of C are taken in chunks whose packed weights fit PACKED_BYTES. For each chunk the weights are
 * packed (converted) panel by panel, once for all rows; then every task computes one block of C, mc rows by
 * nc columns: runs of kc inputs of its rows are packed into the thread's scratch, multiplied into a float32
 * block there, and the caller's finish turns the block into output while it is in cache. So a weight is read
 * once from its file and an activation once for each nc columns. Blocks and runs depend on shapes only, never
 * on the number of threads: the same sums in the same order.
 */
#include "backend/cpu/cpu.h"

#include "base/mem.h"

/* Enough for the blocks of a few threads, small enough to stay in a last-level cache. */
enum { PACKED_BYTES = 12 << 20, PACKED_MAX_BYTES = 64 << 20 };

struct job {
    struct wn_cpu *cpu;
    const struct wn_gemm *g;
    int64_t K_pad, kc;
    int64_t m_blocks, mb, nb; /* blocks of C; mb, nb: extents */
    int64_t n0, n1;           /* columns of the chunk */
    size_t a_bytes, c_bytes;  /* parts of the thread scratch, then tmp */
    size_t panel_bytes;
    uint8_t *packed;
};

const struct wn_leaf_gemm *wn_leaf_product(const struct wn_leaf *leaf, enum wn_precision precision,
                                           enum wn_dtype w_type)
{
    bool one_part = w_type == WN_BF16 || w_type == WN_F8_E4M3 || w_type == WN_F8_E5M2;
    switch (precision) {
    case WN_PREC_BF16: return &leaf->gemm[WN_LEAF_BF16];
    case WN_PREC_F32X: return &leaf->gemm[one_part ? WN_LEAF_F32X_W1 : WN_LEAF_F32X];
    default: return &leaf->gemm[WN_LEAF_F32];
    }
}

static void pack_task(void *arg, int64_t task, int thread)
{
    struct job *j = arg;
    int64_t nr = j->g->leaf->nr, n = j->n0 + task * nr;
    uint8_t *tmp = wn_cpu_thread_scratch(j->cpu, thread) + j->a_bytes + j->c_bytes;
    j->g->pack_w(j->g, j->packed + (size_t)task * j->panel_bytes, n, wn_min64(nr, j->n1 - n), tmp);
}

static void block_task(void *arg, int64_t task, int thread)
{
    struct job *j = arg;
    const struct wn_gemm *g = j->g;
    const struct wn_leaf_gemm *leaf = g->leaf;
    int64_t m0 = task % j->m_blocks * j->mb, m = wn_min64(j->mb, g->M - m0);
    int64_t n0 = j->n0 + task / j->m_blocks * j->nb, n = wn_min64(j->nb, j->n1 - n0);
    uint8_t *a = wn_cpu_thread_scratch(j->cpu, thread), *tmp = a + j->a_bytes + j->c_bytes;
    float *c = (float *)(a + j->a_bytes);
    const uint8_t *w = j->packed + (size_t)((n0 - j->n0) / leaf->nr) * j->panel_bytes;
    int n_panels = (int)wn_div_up(n, leaf->nr);
    for (int64_t k0 = 0; k0 < g->K; k0 += j->kc) {
        int64_t k = wn_min64(j->kc, g->K - k0);
        const uint8_t *from = w + (size_t)(k0 * leaf->nr) * leaf->w_bytes;
        int64_t done = 0;
        if (g->rows) {
            struct wn_leaf_rows rows;
            done = m / leaf->mr * leaf->mr;
            g->rows(g, &rows, m0, k0, k);
            leaf->block_rows(&rows, (int)(done / leaf->mr), n_panels, from, j->panel_bytes, c, j->nb, k0 > 0);
        }
        if (done == m) continue;
        g->pack_a(g, a, m0 + done, m - done, k0, k, tmp);
        leaf->block(wn_round_up(k, leaf->kr), (int)wn_div_up(m - done, leaf->mr), n_panels, a, from,
                    j->panel_bytes, c + done * j->nb, j->nb, k0 > 0);
    }
    g->finish(g, c, j->nb, m0, m, n0, n);
}

/* Columns of one chunk: whole blocks, as many as fit, and more when the threads would idle otherwise. */
static int64_t chunk_columns(const struct job *j, int n_threads)
{
    size_t block = j->panel_bytes * (size_t)(j->nb / j->g->leaf->nr);
    int64_t fit = (int64_t)(PACKED_BYTES / block), most = (int64_t)(PACKED_MAX_BYTES / block);
    int64_t wanted = wn_min64(wn_div_up(4 * n_threads, j->m_blocks), most);
    return wn_max64(1, wn_max64(fit, wanted)) * j->nb;
}

enum wan_status wn_gemm_run(struct wn_cpu *cpu, struct wn_gemm *g, size_t keep,
                            enum wan_status (*prepare)(struct wn_gemm *, uint8_t *, struct wn_err *),
                            struct wn_err *err)
{
    const struct wn_leaf_gemm *leaf = g->leaf;
    struct job j = {.cpu = cpu, .g = g, .K_pad = wn_round_up(g->K, leaf->kr)};
    j.kc = wn_min64(g->kc ? g->kc : wn_even_block(g->K, leaf->kc, leaf->kr), j.K_pad);
    j.mb = wn_even_block(g->M, leaf->mc, leaf->mr);
    j.nb = wn_even_block(g->N, leaf->nc, leaf->nr);
    j.m_blocks = wn_div_up(g->M, j.mb);
    j.panel_bytes = wn_size_mul((size_t)j.K_pad, (size_t)leaf->nr * leaf->w_bytes);
    int64_t packed_rows = g->rows ? leaf->mr : j.mb;
    j.a_bytes = (size_t)wn_round_up((int64_t)((size_t)(packed_rows * j.kc) * leaf->a_bytes), WN_ALIGN);
    j.c_bytes = (size_t)wn_round_up(j.mb * j.nb * 4, WN_ALIGN);
    int64_t chunk = wn_min64(chunk_columns(&j, wn_pool_n_threads(cpu->base.pool)), wn_round_up(g->N, j.nb));
    keep = (keep + WN_ALIGN - 1) / WN_ALIGN * WN_ALIGN;
    size_t shared = wn_size_add(keep, wn_size_mul(j.panel_bytes, (size_t)(chunk / leaf->nr)));
    enum wan_status st = wn_cpu_scratch(cpu, shared, j.a_bytes + j.c_bytes + g->tmp_bytes, err);
    if (st) return st;
    if (prepare && (st = prepare(g, cpu->scratch, err))) return st;
    j.packed = cpu->scratch + keep;
    for (j.n0 = 0; j.n0 < g->N && !st; j.n0 += chunk) {
        j.n1 = wn_min64(j.n0 + chunk, g->N);
        st = wn_cpu_run(cpu, wn_div_up(j.n1 - j.n0, leaf->nr), pack_task, &j, err);
        if (!st) st = wn_cpu_run(cpu, j.m_blocks * wn_div_up(j.n1 - j.n0, j.nb), block_task, &j, err);
    }
    return st;
}
