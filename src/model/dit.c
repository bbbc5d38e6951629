#include "model/dit.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "model/load.h"
#include "ops/ops.h"

/* Rows of a block's modulation, in file order. */
enum { SHIFT_SA, SCALE_SA, GATE_SA, SHIFT_FFN, SCALE_FFN, GATE_FFN, N_MOD };
enum { MAX_SEQ = 64 };

struct attn {
    struct wn_lin q, k, v, o;        /* [D, D] */
    struct wn_tensor norm_q, norm_k; /* [D]: over all heads */
};

struct block {
    struct wn_tensor modulation; /* [1, 6, D] */
    struct attn self, cross;
    struct wn_lin norm3; /* [D] each: before cross attention */
    struct wn_lin ffn0, ffn2;
};

struct wn_dit {
    struct wn_dit_config cfg;
    struct wn_loader ld;
    struct wn_lin patch;                      /* [D, C, 1, 2, 2] */
    struct wn_lin text0, text2, time0, time2; /* [D, text_dim] [D, D] [D, freq] [D, D] */
    struct wn_lin time_proj;                  /* [6D, D] */
    struct block *block;
    int n_resident;                   /* blocks that memory keeps from one forward to the next */
    struct wn_tensor head_modulation; /* [1, 2, D] */
    struct wn_lin head;               /* [4 * out_dim, D] */
};

struct wn_dit_text {
    int n_seq, n_layers;
    int64_t *seg;                /* [n_seq + 1]: key offsets of the sequences */
    struct wn_tensor log_weight; /* [keys] f32 */
    struct wn_tensor *k, *v;     /* [n_layers] each [keys, NH, HD] */
};

/* ---- weights ---- */

static void load_attn(struct wn_loader *ld, struct attn *a, int64_t D, int i, const char *which)
{
    a->q = wn_load_lin(ld, WN_DIMS(D, D), "blocks.%d.%s.q", i, which);
    a->k = wn_load_lin(ld, WN_DIMS(D, D), "blocks.%d.%s.k", i, which);
    a->v = wn_load_lin(ld, WN_DIMS(D, D), "blocks.%d.%s.v", i, which);
    a->o = wn_load_lin(ld, WN_DIMS(D, D), "blocks.%d.%s.o", i, which);
    a->norm_q = wn_load(ld, WN_DIMS(D), "blocks.%d.%s.norm_q.weight", i, which);
    a->norm_k = wn_load(ld, WN_DIMS(D), "blocks.%d.%s.norm_k.weight", i, which);
}

static void load_block(struct wn_loader *ld, struct block *b, int64_t D, int64_t F, int i)
{
    b->modulation = wn_load(ld, WN_DIMS(1, N_MOD, D), "blocks.%d.modulation", i);
    load_attn(ld, &b->self, D, i, "self_attn");
    load_attn(ld, &b->cross, D, i, "cross_attn");
    b->norm3 = wn_load_lin(ld, WN_DIMS(D), "blocks.%d.norm3", i);
    b->ffn0 = wn_load_lin(ld, WN_DIMS(F, D), "blocks.%d.ffn.0", i);
    b->ffn2 = wn_load_lin(ld, WN_DIMS(D, F), "blocks.%d.ffn.2", i);
}

static void load_all(struct wn_dit *m)
{
    struct wn_loader *ld = &m->ld;
    const struct wn_dit_config *c = &m->cfg;
    int64_t D = c->dim;
    m->patch = wn_load_lin(ld, WN_DIMS(D, c->in_dim, 1, 2, 2), "patch_embedding");
    m->text0 = wn_load_lin(ld, WN_DIMS(D, c->text_dim), "text_embedding.0");
    m->text2 = wn_load_lin(ld, WN_DIMS(D, D), "text_embedding.2");
    m->time0 = wn_load_lin(ld, WN_DIMS(D, c->freq_dim), "time_embedding.0");
    m->time2 = wn_load_lin(ld, WN_DIMS(D, D), "time_embedding.2");
    m->time_proj = wn_load_lin(ld, WN_DIMS(N_MOD * D, D), "time_projection.1");
    for (int i = 0; i < c->n_layers && !ld->err->code; i++) load_block(ld, &m->block[i], D, c->ffn_dim, i);
    m->head_modulation = wn_load(ld, WN_DIMS(1, 2, D), "head.modulation");
    m->head = wn_load_lin(ld, WN_DIMS(4 * c->out_dim, D), "head.head");
}

enum wan_status wn_dit_new(struct wn_dit **out, struct wn_device *dev, const struct wn_weights *weights,
                           const struct wn_dit_config *config, struct wn_err *err)
{
    *out = NULL;
    struct wn_dit *m = wn_zalloc(sizeof *m);
    if (!m) return wn_fail_nomem(err, "the transformer", sizeof *m);
    m->cfg = *config;
    m->n_resident = config->n_layers;
    m->ld = (struct wn_loader){.dev = dev, .weights = weights, .err = err};
    m->block = wn_zalloc_n((size_t)config->n_layers, sizeof *m->block);
    if (!m->block)
        wn_fail_nomem(err, "the transformer", (size_t)config->n_layers * sizeof *m->block);
    else if (wn_load_has(&m->ld, "img_emb.proj.0.weight") ||
             wn_load_has(&m->ld, "vace_patch_embedding.weight"))
        wn_fail(err, WAN_EUNSUPPORTED,
                "%s: transformers with an image branch (Wan2.1 I2V, FLF2V) or VACE blocks "
                "cannot be run yet",
                wn_weights_path(weights));
    else
        load_all(m);
    m->ld.err = NULL;
    if (err->code) {
        wn_dit_free(m);
        return err->code;
    }
    *out = m;
    return WAN_OK;
}

void wn_dit_rest(struct wn_dit *m)
{
    wn_loader_rest(&m->ld);
}

void wn_dit_free(struct wn_dit *m)
{
    if (!m) return;
    wn_loader_release(&m->ld);
    wn_free(m->block);
    wn_free(m);
}

const struct wn_dit_config *wn_dit_config(const struct wn_dit *m)
{
    return &m->cfg;
}

/* ---- positions and times ---- */

void wn_rope_table(float *table, const int64_t (*coord)[3], int64_t n, int hd)
{
    /* The pairs of a head are split over frame, row and column: 22 + 21 + 21 of 64. */
    const int pairs = hd / 2, spatial = hd / 6;
    const int n_axis[3] = {pairs - 2 * spatial, spatial, spatial};
    for (int axis = 0, p = 0; axis < 3; axis++)
        for (int j = 0; j < n_axis[axis]; j++, p++) {
            double frequency = 1 / pow(10000.0, (double)j / n_axis[axis]);
            for (int64_t i = 0; i < n; i++) {
                double angle = (double)coord[i][axis] * frequency;
                table[i * hd + 2 * p] = (float)cos(angle);
                table[i * hd + 2 * p + 1] = (float)sin(angle);
            }
        }
}

void wn_sinusoid(float *emb, const double *position, int64_t n, int dim)
{
    int half = dim / 2;
    for (int64_t i = 0; i < n; i++)
        for (int j = 0; j < half; j++) {
            double angle = position[i] * pow(10000.0, -(double)j / half);
            emb[i * dim + j] = (float)cos(angle);
            emb[i * dim + half + j] = (float)sin(angle);
        }
}

static enum wan_status fill_rope(struct wn_dit_grid *g, struct wn_exec *ex, int hd, int64_t first_frame)
{
    int64_t n = g->F * g->H * g->W;
    int64_t(*coord)[3] = wn_alloc_n((size_t)n, sizeof *coord);
    float *table = wn_alloc_n((size_t)n, (size_t)hd * sizeof *table);
    struct wn_scope scope;
    wn_scope_begin(ex, &scope);
    if (coord && table) {
        for (int64_t i = 0; i < n; i++) {
            coord[i][0] = first_frame + i / (g->H * g->W);
            coord[i][1] = i / g->W % g->H;
            coord[i][2] = i % g->W;
        }
        wn_rope_table(table, (const int64_t(*)[3])coord, n, hd);
        g->rope = wn_retain(ex, wn_upload(ex, wn_shape_of(WN_F32, n, hd), table));
    } else
        wn_fail_nomem(&ex->err, "the rotary table", (unsigned long long)n * (unsigned)hd * sizeof *table);
    wn_scope_end(ex, &scope);
    wn_free(coord);
    wn_free(table);
    return ex->err.code;
}

enum wan_status wn_dit_grid_init(struct wn_dit_grid *g, struct wn_exec *ex, const struct wn_dit *m, int64_t F,
                                 int64_t latent_h, int64_t latent_w, int64_t first_frame)
{
    *g = (struct wn_dit_grid){.F = F, .H = latent_h / 2, .W = latent_w / 2};
    if (!wn_ok(ex)) return ex->err.code;
    const int64_t most = 1024; /* the official tables end there */
    if (g->F < 1 || g->H < 1 || g->W < 1 || first_frame < 0 || first_frame + g->F > most || g->H > most ||
        g->W > most)
        return wn_exec_fail(ex, WAN_EINVAL,
                            "latent of %lld frames, %lld x %lld: the transformer takes 1 to %lld patches "
                            "of 1 x 2 x 2 along each axis",
                            (long long)F, (long long)latent_h, (long long)latent_w, (long long)most);
    return fill_rope(g, ex, (int)(m->cfg.dim / m->cfg.n_heads), first_frame);
}

void wn_dit_grid_release(struct wn_dit_grid *g)
{
    wn_release(g->rope);
    *g = (struct wn_dit_grid){0};
}

/* ---- text ---- */

/* Key counts: the real rows, and one row that stands for all the padding. */
static int64_t n_keys_of(int64_t n, int64_t text_len)
{
    return n < text_len ? n + 1 : n;
}

/* Log weights of the keys: 0 for a real row, the logarithm of their number for the padding rows. */
static void upload_log_weights(struct wn_exec *ex, const struct wn_dit *m, struct wn_dit_text *t,
                               const int64_t *n)
{
    int64_t keys = t->seg[t->n_seq];
    float *lw = wn_zalloc_n((size_t)keys, sizeof *lw);
    if (!lw) {
        wn_fail_nomem(&ex->err, "the text context", (unsigned long long)keys * sizeof *lw);
        return;
    }
    for (int i = 0; i < t->n_seq; i++)
        if (t->seg[i + 1] - t->seg[i] > n[i])
            lw[t->seg[i] + n[i]] = (float)log((double)(m->cfg.text_len - n[i]));
    t->log_weight = wn_retain(ex, wn_upload(ex, wn_shape_of(WN_F32, keys), lw));
    wn_free(lw);
}

/* ctx [keys, D] in the current scope: the contexts, with a zero row after each that is shorter than text_len,
 * through the text embedding. */
static struct wn_tensor embed_text(struct wn_exec *ex, const struct wn_dit *m, const struct wn_dit_text *t,
                                   const float *const *context, const int64_t *n)
{
    size_t width = (size_t)m->cfg.text_dim;
    struct wn_tensor shape = wn_shape_of(WN_F32, t->seg[t->n_seq], m->cfg.text_dim), x = {0};
    float *rows = wn_zalloc(wn_n_bytes(shape));
    if (rows) {
        for (int i = 0; i < t->n_seq; i++)
            memcpy(rows + (size_t)t->seg[i] * width, context[i], (size_t)n[i] * width * sizeof *rows);
        x = wn_upload(ex, shape, rows);
    } else
        wn_fail_nomem(&ex->err, "the text context", wn_n_bytes(shape));
    wn_free(rows);
    x = wn_linear(ex, .x = x, .w = m->text0.w, .b = m->text0.b, .act = WN_ACT_GELU_TANH);
    x = wn_linear(ex, .x = x, .w = m->text2.w, .b = m->text2.b);
    wn_name(ex, x, "text");
    return x;
}

static void text_keys(struct wn_exec *ex, const struct wn_dit *m, struct wn_dit_text *t, struct wn_tensor ctx)
{
    int64_t keys = t->seg[t->n_seq], NH = m->cfg.n_heads, HD = m->cfg.dim / NH;
    for (int i = 0; i < t->n_layers && wn_ok(ex); i++) {
        const struct attn *a = &m->block[i].cross;
        struct wn_scope scope;
        wn_scope_begin(ex, &scope);
        struct wn_tensor k = wn_linear(ex, .x = ctx, .w = a->k.w, .b = a->k.b);
        k = wn_qk_norm_rope(ex, .x = k, .weight = a->norm_k, .eps = m->cfg.eps, .n_heads = (int)NH);
        struct wn_tensor v = wn_linear(ex, .x = ctx, .w = a->v.w, .b = a->v.b);
        if (wn_ok(ex)) {
            t->k[i] = wn_retain(ex, k);
            t->v[i] = wn_reshape_to(wn_retain(ex, v), keys, NH, HD);
        }
        wn_scope_end(ex, &scope);
    }
}

static struct wn_dit_text *text_alloc(struct wn_exec *ex, const struct wn_dit *m, int n_seq, const int64_t *n)
{
    struct wn_dit_text *t = wn_zalloc(sizeof *t);
    if (t) {
        t->n_seq = n_seq;
        t->n_layers = m->cfg.n_layers;
        t->seg = wn_zalloc_n((size_t)n_seq + 1, sizeof *t->seg);
        t->k = wn_zalloc_n((size_t)t->n_layers, sizeof *t->k);
        t->v = wn_zalloc_n((size_t)t->n_layers, sizeof *t->v);
    }
    if (!t || !t->seg || !t->k || !t->v) {
        wn_fail_nomem(&ex->err, "the text keys", (size_t)m->cfg.n_layers * 2 * sizeof *t->k);
        wn_dit_text_free(t);
        return NULL;
    }
    for (int i = 0; i < n_seq; i++) t->seg[i + 1] = t->seg[i] + n_keys_of(n[i], m->cfg.text_len);
    return t;
}

/* Hand a finished text over, or free it after a failure. */
static enum wan_status text_done(struct wn_exec *ex, struct wn_dit_text *t, struct wn_dit_text **out)
{
    if (wn_ok(ex))
        *out = t;
    else
        wn_dit_text_free(t);
    return ex->err.code;
}

static bool check_rows(struct wn_exec *ex, const struct wn_dit *m, int n_seq, const int64_t *n)
{
    if (n_seq < 1 || n_seq > MAX_SEQ) {
        wn_exec_fail(ex, WAN_EINVAL, "%d sequences in one forward: 1 to %d are possible", n_seq, MAX_SEQ);
        return false;
    }
    for (int i = 0; i < n_seq; i++)
        if (n[i] < 0 || n[i] > m->cfg.text_len) {
            wn_exec_fail(ex, WAN_EINVAL, "text of %lld tokens: this transformer takes at most %lld",
                         (long long)n[i], (long long)m->cfg.text_len);
            return false;
        }
    return true;
}

enum wan_status wn_dit_text_new(struct wn_dit_text **out, struct wn_exec *ex, const struct wn_dit *m,
                                int n_seq, const float *const *context, const int64_t *n)
{
    *out = NULL;
    if (!wn_ok(ex) || !check_rows(ex, m, n_seq, n) || wn_loader_wake(&m->ld, &ex->err)) return ex->err.code;
    struct wn_dit_text *t = text_alloc(ex, m, n_seq, n);
    if (!t) return ex->err.code;
    struct wn_scope scope;
    wn_scope_begin(ex, &scope);
    upload_log_weights(ex, m, t, n);
    text_keys(ex, m, t, embed_text(ex, m, t, context, n));
    wn_scope_end(ex, &scope);
    return text_done(ex, t, out);
}

enum wan_status wn_dit_text_from_rows(struct wn_dit_text **out, struct wn_exec *ex, const struct wn_dit *m,
                                      const float *rows, int64_t n)
{
    *out = NULL;
    if (!wn_ok(ex) || !check_rows(ex, m, 1, &n) || wn_loader_wake(&m->ld, &ex->err)) return ex->err.code;
    struct wn_dit_text *t = text_alloc(ex, m, 1, &n);
    if (!t) return ex->err.code;
    struct wn_scope scope;
    wn_scope_begin(ex, &scope);
    upload_log_weights(ex, m, t, &n);
    text_keys(ex, m, t, wn_upload(ex, wn_shape_of(WN_F32, t->seg[1], m->cfg.dim), rows));
    wn_scope_end(ex, &scope);
    return text_done(ex, t, out);
}

void wn_dit_text_free(struct wn_dit_text *t)
{
    if (!t) return;
    for (int i = 0; i < t->n_layers; i++) {
        if (t->k) wn_release(t->k[i]);
        if (t->v) wn_release(t->v[i]);
    }
    wn_release(t->log_weight);
    wn_free(t->k);
    wn_free(t->v);
    wn_free(t->seg);
    wn_free(t);
}

size_t wn_dit_text_bytes(const struct wn_dit_text *t)
{
    size_t n = 0;
    for (int i = 0; i < t->n_layers; i++) n += wn_n_bytes(t->k[i]) + wn_n_bytes(t->v[i]);
    return n;
}

/* ---- forward ---- */

/* What a forward carries through its blocks. */
struct pass {
    const struct wn_dit *m;
    const struct wn_dit_grid *grid;
    const struct wn_dit_text *text;
    int n_seq;                  /* sequences packed in x now: 1 while the prefix is shared */
    int64_t T;                  /* tokens of one sequence */
    int64_t q_seg[MAX_SEQ + 1]; /* multiples of T */
    struct wn_tensor e, e0;     /* [n, D], [n, 6, D] f32: one entry for each distinct timestep */
    struct wn_tensor index;     /* [n_seq * T] i32: which entry each token takes; absent: entry 0 */
};

/* The distinct values among all timesteps, in order of appearance, and for each token the position of its
 * value. */
static int64_t distinct_times(const struct wn_dit_sequence *seq, int n_seq, int64_t T, double *value,
                              int32_t *index)
{
    int64_t n = 0, last = 0;
    for (int s = 0; s < n_seq; s++)
        for (int64_t i = 0; i < T; i++) {
            double t = seq[s].t[seq[s].n_t == 1 ? 0 : i];
            int64_t j = last;
            if (n == 0 || value[j] != t)
                for (j = 0; j < n && value[j] != t;) j++;
            if (j == n) value[n++] = t;
            index[s * T + i] = (int32_t)(last = j);
        }
    return n;
}

/* Time embeddings of n distinct timesteps, in float32 whatever the precision. */
static void embed_times(struct wn_exec *ex, struct pass *p, const double *value, int64_t n)
{
    const struct wn_dit *m = p->m;
    int64_t D = m->cfg.dim, W = m->cfg.freq_dim;
    float *emb = wn_alloc_n((size_t)n, (size_t)W * sizeof *emb);
    if (!emb) {
        wn_fail_nomem(&ex->err, "the time embedding", (unsigned long long)(n * W) * sizeof *emb);
        return;
    }
    wn_sinusoid(emb, value, n, (int)W);
    struct wn_tensor x = wn_upload(ex, wn_shape_of(WN_F32, n, W), emb);
    wn_free(emb);
    x = wn_linear(ex, .x = x, .w = m->time0.w, .b = m->time0.b, .act = WN_ACT_SILU, .precision = WN_PREC_F32);
    p->e = wn_linear(ex, .x = x, .w = m->time2.w, .b = m->time2.b, .precision = WN_PREC_F32);
    x = wn_unary(ex, .x = p->e, .act = WN_ACT_SILU);
    x = wn_linear(ex, .x = x, .w = m->time_proj.w, .b = m->time_proj.b, .precision = WN_PREC_F32);
    if (!wn_ok(ex)) return;
    p->e0 = wn_reshape_to(x, n, N_MOD, D);
    wn_name(ex, p->e, "time");
    wn_name(ex, p->e0, "time_proj");
}

static void prepare_times(struct wn_exec *ex, struct pass *p, const struct wn_dit_sequence *seq, int n_seq)
{
    int64_t rows = n_seq * p->T;
    double *value = wn_alloc_n((size_t)rows, sizeof *value);
    int32_t *index = wn_alloc_n((size_t)rows, sizeof *index);
    if (value && index) {
        int64_t n = distinct_times(seq, n_seq, p->T, value, index);
        embed_times(ex, p, value, n);
        if (n > 1) p->index = wn_upload(ex, wn_shape_of(WN_I32, rows), index);
    } else
        wn_fail_nomem(&ex->err, "the timesteps", (unsigned long long)rows * sizeof *value);
    wn_free(value);
    wn_free(index);
}

/* Tokens [T, D] f32 of one latent. Feature order (c, row, column) of each 2 x 2 patch, as the weight has it.
 */
static struct wn_tensor patchify(struct wn_exec *ex, const struct pass *p, const float *x, int64_t h,
                                 int64_t w)
{
    const struct wn_dit *m = p->m;
    int64_t C = m->cfg.in_dim, F = p->grid->F, H = p->grid->H, W = p->grid->W;
    struct wn_tensor none = {0};
    float *even = NULL;
    if (h != 2 * H || w != 2 * W) { /* drop the odd row or column */
        if (!(even = wn_alloc_n((size_t)(C * F), (size_t)(4 * H * W) * sizeof *even))) {
            wn_fail_nomem(&ex->err, "the latent", (unsigned long long)(C * F * 4 * H * W) * sizeof *even);
            return none;
        }
        for (int64_t i = 0; i < C * F; i++)
            for (int64_t y = 0; y < 2 * H; y++)
                memcpy(even + (i * 2 * H + y) * 2 * W, x + (i * h + y) * w, (size_t)(2 * W) * sizeof *x);
        x = even;
    }
    struct wn_tensor t = wn_upload(ex, wn_shape_of(WN_F32, C, F, H, 2, W, 2), x);
    wn_free(even);
    t = wn_permute(ex, .x = t, .axis = {1, 2, 4, 0, 3, 5});
    if (!wn_ok(ex)) return none;
    t = wn_linear(ex, .x = wn_reshape_to(t, p->T, 4 * C), .w = m->patch.w, .b = m->patch.b);
    t = wn_unary(ex, .x = t, .out_type = WN_F32);
    wn_name(ex, t, "patch");
    return t;
}

/* Queries or keys [T, NH, HD] of h [T, D]: product, norm over all heads, rotation where there is a table. */
static struct wn_tensor project(struct wn_exec *ex, const struct pass *p, struct wn_tensor h,
                                struct wn_lin lin, struct wn_tensor norm, struct wn_tensor rope)
{
    struct wn_tensor y = wn_linear(ex, .x = h, .w = lin.w, .b = lin.b);
    struct wn_tensor z = wn_qk_norm_rope(ex, .x = y, .weight = norm, .eps = p->m->cfg.eps,
                                         .n_heads = p->m->cfg.n_heads, .rope = rope);
    wn_drop(ex, y);
    return z;
}

/* x + gate * o(attention(q, k, v)) */
static struct wn_tensor self_attention(struct wn_exec *ex, const struct pass *p, const struct block *b,
                                       struct wn_tensor x, struct wn_mod mod)
{
    const struct attn *a = &b->self;
    int64_t NH = p->m->cfg.n_heads, D = p->m->cfg.dim, rows = x.dim[0];
    struct wn_tensor h = wn_norm(ex, .x = x, .kind = WN_NORM_LAYER, .eps = p->m->cfg.eps, .mod = mod,
                                 .shift_row = SHIFT_SA, .scale_row = SCALE_SA);
    struct wn_tensor q = project(ex, p, h, a->q, a->norm_q, p->grid->rope);
    struct wn_tensor k = project(ex, p, h, a->k, a->norm_k, p->grid->rope);
    struct wn_tensor v = wn_linear(ex, .x = h, .w = a->v.w, .b = a->v.b);
    wn_drop(ex, h);
    if (!wn_ok(ex)) return x;
    struct wn_tensor o = wn_attention(ex, .q = q, .k = k, .v = wn_reshape_to(v, rows, NH, D / NH),
                                      .q_seg = p->q_seg, .k_seg = p->q_seg, .n_seg = p->n_seq);
    if (!wn_ok(ex)) return x;
    wn_drop(ex, q);
    wn_drop(ex, k);
    wn_drop(ex, v);
    x = wn_linear(ex, .x = wn_reshape_to(o, rows, D), .w = a->o.w, .b = a->o.b, .gate = mod,
                  .gate_row = GATE_SA, .add = x);
    wn_drop(ex, o);
    return x;
}

static struct wn_tensor cross_attention(struct wn_exec *ex, const struct pass *p, int i, struct wn_tensor x)
{
    const struct block *b = &p->m->block[i];
    const struct attn *a = &b->cross;
    const struct wn_tensor no_rope = {0};
    struct wn_tensor h = wn_norm(ex, .x = x, .kind = WN_NORM_LAYER, .eps = p->m->cfg.eps,
                                 .weight = b->norm3.w, .bias = b->norm3.b);
    struct wn_tensor q = project(ex, p, h, a->q, a->norm_q, no_rope);
    wn_drop(ex, h);
    if (!wn_ok(ex)) return x;
    struct wn_tensor o =
        wn_attention(ex, .q = q, .k = p->text->k[i], .v = p->text->v[i], .q_seg = p->q_seg,
                     .k_seg = p->text->seg, .n_seg = p->n_seq, .key_log_weight = p->text->log_weight);
    wn_drop(ex, q);
    if (!wn_ok(ex)) return x;
    x = wn_linear(ex, .x = wn_reshape_to(o, x.dim[0], p->m->cfg.dim), .w = a->o.w, .b = a->o.b, .add = x);
    wn_drop(ex, o);
    return x;
}

static struct wn_tensor feed_forward(struct wn_exec *ex, const struct pass *p, const struct block *b,
                                     struct wn_tensor x, struct wn_mod mod)
{
    struct wn_tensor h = wn_norm(ex, .x = x, .kind = WN_NORM_LAYER, .eps = p->m->cfg.eps, .mod = mod,
                                 .shift_row = SHIFT_FFN, .scale_row = SCALE_FFN);
    struct wn_tensor u = wn_linear(ex, .x = h, .w = b->ffn0.w, .b = b->ffn0.b, .act = WN_ACT_GELU_TANH);
    wn_drop(ex, h);
    return wn_linear(ex, .x = u, .w = b->ffn2.w, .b = b->ffn2.b, .gate = mod, .gate_row = GATE_FFN, .add = x);
}

/* The rows of sequence 0 once for each of n sequences. */
static struct wn_tensor repeat_rows(struct wn_exec *ex, struct wn_tensor x, int n)
{
    struct wn_tensor all = x;
    for (int i = 1; i < n && wn_ok(ex); i++) all = wn_concat(ex, .a = all, .b = x);
    return all;
}

/* x [n_seq * T, D] f32 in, the same out (memory reused); n_total: sequences there must be after self
 * attention */
static struct wn_tensor block_forward(struct wn_exec *ex, struct pass *p, int i, struct wn_tensor x,
                                      int n_total)
{
    const struct block *b = &p->m->block[i];
    struct wn_mod mod = {.index = p->index};
    mod.table = wn_binary(ex, .kind = WN_ADD, .a = p->e0, .b = b->modulation);
    if (p->n_seq < n_total && wn_has(p->index)) mod.index = wn_rows(p->index, 0, p->T);
    x = self_attention(ex, p, b, x, mod);
    if (p->n_seq < n_total) {
        x = repeat_rows(ex, x, n_total);
        p->n_seq = n_total;
        mod.index = p->index;
    }
    x = cross_attention(ex, p, i, x);
    return feed_forward(ex, p, b, x, mod);
}

/* [n_seq * T, 4 * out_dim] f32 */
static struct wn_tensor head_forward(struct wn_exec *ex, const struct pass *p, struct wn_tensor x)
{
    const struct wn_dit *m = p->m;
    int64_t D = m->cfg.dim;
    if (!wn_ok(ex)) return x;
    struct wn_tensor rows = wn_reshape_to(m->head_modulation, 2, D);
    struct wn_tensor shift = wn_binary(ex, .kind = WN_ADD, .a = p->e, .b = wn_rows(rows, 0, 1));
    struct wn_tensor scale = wn_binary(ex, .kind = WN_ADD, .a = p->e, .b = wn_rows(rows, 1, 2));
    struct wn_tensor both = wn_concat(ex, .a = shift, .b = scale);
    if (!wn_ok(ex)) return x;
    both = wn_permute(ex, .x = wn_reshape_to(both, 2, p->e.dim[0], D), .axis = {1, 0, 2});
    struct wn_mod mod = {.table = both, .index = p->index};
    x = wn_norm(ex, .x = x, .kind = WN_NORM_LAYER, .eps = m->cfg.eps, .mod = mod, .shift_row = 0,
                .scale_row = 1, .out_type = WN_F32);
    x = wn_linear(ex, .x = x, .w = m->head.w, .b = m->head.b, .precision = WN_PREC_F32);
    wn_name(ex, x, "head");
    return x;
}

/* Head features are ordered (row, column, c) in each patch. */
static void unpatchify(struct wn_exec *ex, const struct pass *p, struct wn_tensor x, float *const *v)
{
    int64_t C = p->m->cfg.out_dim, F = p->grid->F, H = p->grid->H, W = p->grid->W;
    for (int s = 0; s < p->n_seq && wn_ok(ex); s++) {
        struct wn_tensor t = wn_reshape_to(wn_rows(x, s * p->T, (s + 1) * p->T), F, H, W, 2, 2, C);
        t = wn_permute(ex, .x = t, .axis = {5, 0, 1, 3, 2, 4});
        wn_download(ex, t, v[s]);
    }
}

static bool same_input(const struct wn_dit_sequence *seq, int n_seq)
{
    for (int i = 1; i < n_seq; i++)
        if (seq[i].x != seq[0].x || seq[i].t != seq[0].t || seq[i].n_t != seq[0].n_t) return false;
    return true;
}

static bool check_input(struct wn_exec *ex, const struct pass *p, const struct wn_dit_sequence *seq,
                        int n_seq)
{
    if (p->text->n_seq != n_seq) {
        wn_exec_fail(ex, WAN_EINTERNAL, "text of %d sequences for a forward of %d", p->text->n_seq, n_seq);
        return false;
    }
    for (int s = 0; s < n_seq; s++)
        if (seq[s].n_t != 1 && seq[s].n_t != p->T) {
            wn_exec_fail(ex, WAN_EINVAL, "%lld timesteps for %lld tokens: give 1 or one for each token",
                         (long long)seq[s].n_t, (long long)p->T);
            return false;
        }
    return true;
}

static void advise_attn(struct wn_exec *ex, const struct attn *a, bool soon)
{
    const struct wn_tensor w[] = {a->q.w, a->k.w, a->v.w, a->o.w};
    for (size_t i = 0; i < sizeof w / sizeof *w; i++) wn_advise(ex, w[i], soon);
}

/* Block i comes next: its weights are brought in while the one before it is computed, and those of that one
 * leave, where they would only push out what is used before them again. */
static void advise_blocks(struct wn_exec *ex, const struct wn_dit *m, int i)
{
    const struct block *next = i < m->cfg.n_layers ? &m->block[i] : NULL;
    const struct block *done = i - 2 >= m->n_resident ? &m->block[i - 2] : NULL;
    if (next) {
        advise_attn(ex, &next->self, true);
        wn_advise(ex, next->cross.q.w, true);
        wn_advise(ex, next->cross.o.w, true);
        wn_advise(ex, next->ffn0.w, true);
        wn_advise(ex, next->ffn2.w, true);
    }
    if (done) {
        advise_attn(ex, &done->self, false);
        advise_attn(ex, &done->cross, false);
        wn_advise(ex, done->ffn0.w, false);
        wn_advise(ex, done->ffn2.w, false);
    }
}

void wn_dit_set_resident(struct wn_dit *m, int n_blocks)
{
    m->n_resident = n_blocks;
}

enum wan_status wn_dit_forward(struct wn_exec *ex, const struct wn_dit *m, const struct wn_dit_grid *grid,
                               const struct wn_dit_text *text, int64_t latent_h, int64_t latent_w,
                               const struct wn_dit_sequence *seq, int n_seq, float *const *v)
{
    struct pass p = {.m = m, .grid = grid, .text = text, .T = grid->F * grid->H * grid->W};
    if (!wn_ok(ex) || !check_input(ex, &p, seq, n_seq) || wn_loader_wake(&m->ld, &ex->err))
        return ex->err.code;
    bool shared = same_input(seq, n_seq);
    p.n_seq = shared ? 1 : n_seq;
    for (int s = 0; s <= n_seq; s++) p.q_seg[s] = s * p.T;

    struct wn_scope outer;
    wn_scope_begin(ex, &outer);
    prepare_times(ex, &p, seq, n_seq);
    struct wn_tensor x = patchify(ex, &p, seq[0].x, latent_h, latent_w);
    for (int s = 1; s < p.n_seq && wn_ok(ex); s++)
        x = wn_concat(ex, .a = x, .b = patchify(ex, &p, seq[s].x, latent_h, latent_w));
    for (int i = 0; i < m->cfg.n_layers && wn_ok(ex); i++) {
        struct wn_scope scope;
        wn_scope_begin(ex, &scope);
        if (i == 0) advise_blocks(ex, m, 0);
        advise_blocks(ex, m, i + 1);
        x = wn_keep(ex, block_forward(ex, &p, i, x, n_seq));
        wn_scope_end(ex, &scope);
        wn_name(ex, x, "block.%d", i);
    }
    advise_blocks(ex, m, m->cfg.n_layers + 1);
    x = head_forward(ex, &p, x);
    unpatchify(ex, &p, x, v);
    wn_scope_end(ex, &outer);
    return ex->err.code;
}

struct wn_tensor wn_dit_block_forward(struct wn_exec *ex, const struct wn_dit *m, int block,
                                      struct wn_tensor x, struct wn_tensor e0, const struct wn_dit_grid *grid,
                                      const struct wn_dit_text *text)
{
    struct pass p = {.m = m, .grid = grid, .text = text, .n_seq = 1, .T = x.dim[0], .e0 = e0};
    p.q_seg[1] = p.T;
    if (!wn_ok(ex) || wn_loader_wake(&m->ld, &ex->err)) return x;
    return block_forward(ex, &p, block, x, 1);
}

double wn_dit_flops(const struct wn_dit_config *c, int64_t tokens, int64_t text_keys)
{
    double T = (double)tokens, D = (double)c->dim, F = (double)c->ffn_dim;
    double block = T * (6 * D * D + 2 * D * F) + 2 * T * T * D + 2 * T * (double)text_keys * D;
    double ends = T * D * 4 * (double)(c->in_dim + c->out_dim);
    return 2 * (c->n_layers * block + ends);
}
