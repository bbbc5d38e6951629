#include "model/t5.h"

#include "base/mem.h"
#include "model/load.h"
#include "ops/ops.h"
#include "tensor/convert.h"

enum { N_BUCKETS = 32, MAX_LAYERS = 256 };

struct layer {
    struct wn_tensor norm1, norm2;         /* [D] */
    struct wn_tensor q, k, v, o;           /* [A, D], o [D, A]; A = NH * HD */
    struct wn_tensor gate, fc1, fc2;       /* [F, D], [F, D], [D, F] */
    const struct wn_weight *position_bias; /* [32, NH], read on the host */
};

struct wn_t5 {
    struct wn_loader ld;
    int64_t vocab, D, A, F;
    int n_heads, n_layers;
    struct wn_tensor embedding, norm; /* [V, D], [D] */
    struct layer *layer;
};

static const float eps = 1e-6f;

static void load_layer(struct wn_t5 *m, struct layer *l, int i)
{
    struct wn_loader *ld = &m->ld;
    int64_t D = m->D, A = m->A, F = m->F;
    l->norm1 = wn_load(ld, WN_DIMS(D), "blocks.%d.norm1.weight", i);
    l->norm2 = wn_load(ld, WN_DIMS(D), "blocks.%d.norm2.weight", i);
    l->q = wn_load(ld, WN_DIMS(A, D), "blocks.%d.attn.q.weight", i);
    l->k = wn_load(ld, WN_DIMS(A, D), "blocks.%d.attn.k.weight", i);
    l->v = wn_load(ld, WN_DIMS(A, D), "blocks.%d.attn.v.weight", i);
    l->o = wn_load(ld, WN_DIMS(D, A), "blocks.%d.attn.o.weight", i);
    l->gate = wn_load(ld, WN_DIMS(F, D), "blocks.%d.ffn.gate.0.weight", i);
    l->fc1 = wn_load(ld, WN_DIMS(F, D), "blocks.%d.ffn.fc1.weight", i);
    l->fc2 = wn_load(ld, WN_DIMS(D, F), "blocks.%d.ffn.fc2.weight", i);
    wn_load(ld, WN_DIMS(N_BUCKETS, m->n_heads), "blocks.%d.pos_embedding.embedding.weight", i);
    l->position_bias = wn_load_find(ld, "blocks.%d.pos_embedding.embedding.weight", i);
}

/* The widths, from the shapes of the first layer. */
static void read_widths(struct wn_t5 *m)
{
    struct wn_loader *ld = &m->ld;
    m->embedding = wn_load(ld, WN_DIMS(-1, -1), "token_embedding.weight");
    const struct wn_weight *q = wn_load_find(ld, "blocks.0.attn.q.weight");
    const struct wn_weight *f = wn_load_find(ld, "blocks.0.ffn.fc1.weight");
    const struct wn_weight *p = wn_load_find(ld, "blocks.0.pos_embedding.embedding.weight");
    if (ld->err->code) return;
    m->vocab = m->embedding.dim[0];
    m->D = m->embedding.dim[1];
    m->A = q->n_dims == 2 ? q->dim[0] : 0;
    m->F = f->n_dims == 2 ? f->dim[0] : 0;
    m->n_heads = p->n_dims == 2 && p->dim[1] > 0 && p->dim[1] <= 4096 ? (int)p->dim[1] : 0;
    if (!m->vocab || !m->D)
        wn_fail(ld->err, WAN_EFORMAT, "%s: tensor 'token_embedding.weight' is empty",
                wn_weights_path(ld->weights));
    if (!m->A || !m->F || !m->n_heads || m->A % m->n_heads)
        wn_fail(ld->err, WAN_EFORMAT, "%s: attention width %lld does not divide into %lld heads",
                wn_weights_path(ld->weights), (long long)m->A, (long long)(p->n_dims == 2 ? p->dim[1] : 0));
    while (m->n_layers < MAX_LAYERS && wn_load_has(ld, "blocks.%d.attn.q.weight", m->n_layers)) m->n_layers++;
}

enum wan_status wn_t5_new(struct wn_t5 **out, struct wn_device *dev, const struct wn_weights *weights,
                          struct wn_err *err)
{
    *out = NULL;
    struct wn_t5 *m = wn_zalloc(sizeof *m);
    if (!m) return wn_fail_nomem(err, "the text encoder", sizeof *m);
    m->ld = (struct wn_loader){.dev = dev, .weights = weights, .err = err};
    read_widths(m);
    m->norm = wn_load(&m->ld, WN_DIMS(m->D), "norm.weight");
    if (!err->code && !(m->layer = wn_zalloc_n((size_t)m->n_layers, sizeof *m->layer)))
        wn_fail_nomem(err, "the text encoder", (size_t)m->n_layers * sizeof *m->layer);
    for (int i = 0; !err->code && i < m->n_layers; i++) load_layer(m, &m->layer[i], i);
    m->ld.err = NULL;
    if (err->code) {
        wn_t5_free(m);
        return err->code;
    }
    *out = m;
    return WAN_OK;
}

void wn_t5_rest(struct wn_t5 *m)
{
    wn_loader_rest(&m->ld);
}

void wn_t5_free(struct wn_t5 *m)
{
    if (!m) return;
    wn_loader_release(&m->ld);
    wn_free(m->layer);
    wn_free(m);
}

int64_t wn_t5_width(const struct wn_t5 *m)
{
    return m->D;
}

int64_t wn_t5_vocab(const struct wn_t5 *m)
{
    return m->vocab;
}

int wn_t5_n_layers(const struct wn_t5 *m)
{
    return m->n_layers;
}

/* Bucket of relative position r = key - query: exact to 7, then logarithmic to 128. The thresholds are where
 * 8 + trunc(log(n / 8) / log(16) * 8), evaluated in float32, steps. */
static int bucket(int64_t r)
{
    static const int step[] = {8, 12, 16, 23, 32, 46, 64, 91};
    int64_t n = r < 0 ? -r : r;
    int g = n < 8 ? (int)n : 7;
    for (int i = 0; i < 8; i++) g += n >= step[i];
    return g + (r > 0 ? N_BUCKETS / 2 : 0);
}

/* The bias of every relative position within R tokens: [NH, 2R - 1] f32. */
static struct wn_tensor relative_bias(struct wn_exec *ex, const struct wn_t5 *m, const struct layer *l,
                                      int64_t R)
{
    struct wn_tensor none = {0}, shape = wn_shape_of(WN_F32, m->n_heads, 2 * R - 1);
    size_t n_table = (size_t)N_BUCKETS * (size_t)m->n_heads;
    float *table = wn_alloc_n(n_table, sizeof *table), *bias = wn_alloc(wn_n_bytes(shape));
    if (table && bias && !wn_load_floats(l->position_bias, table, &ex->err)) {
        for (int h = 0; h < m->n_heads; h++)
            for (int64_t r = 1 - R; r < R; r++)
                bias[h * (2 * R - 1) + r + R - 1] = table[bucket(r) * m->n_heads + h];
    } else if (wn_ok(ex))
        wn_fail_nomem(&ex->err, "the position bias", wn_n_bytes(shape));
    struct wn_tensor t = wn_ok(ex) ? wn_upload(ex, shape, bias) : none;
    wn_free(table);
    wn_free(bias);
    return t;
}

/* x [T, D] f32 is consumed; returns [T, D] f32 */
static struct wn_tensor layer_forward(struct wn_exec *ex, const struct wn_t5 *m, const struct layer *l,
                                      struct wn_tensor x)
{
    int64_t T = x.dim[0], NH = m->n_heads, HD = m->A / m->n_heads;
    const int64_t seg[2] = {0, T};
    struct wn_tensor h = wn_norm(ex, .x = x, .kind = WN_NORM_RMS, .eps = eps, .weight = l->norm1);
    struct wn_tensor q = wn_linear(ex, .x = h, .w = l->q);
    struct wn_tensor k = wn_linear(ex, .x = h, .w = l->k);
    struct wn_tensor v = wn_linear(ex, .x = h, .w = l->v);
    struct wn_tensor bias = relative_bias(ex, m, l, T);
    if (!wn_ok(ex)) return x;
    struct wn_tensor a = wn_attention(ex, .q = wn_reshape_to(q, T, NH, HD), .k = wn_reshape_to(k, T, NH, HD),
                                      .v = wn_reshape_to(v, T, NH, HD), .scale = 1, .q_seg = seg,
                                      .k_seg = seg, .n_seg = 1, .rel_bias = bias);
    if (!wn_ok(ex)) return x;
    x = wn_linear(ex, .x = wn_reshape_to(a, T, m->A), .w = l->o, .add = x);
    h = wn_norm(ex, .x = x, .kind = WN_NORM_RMS, .eps = eps, .weight = l->norm2);
    struct wn_tensor u = wn_linear(ex, .x = h, .w = l->fc1);
    u = wn_linear(ex, .x = h, .w = l->gate, .act = WN_ACT_GELU_TANH, .mul = u);
    return wn_linear(ex, .x = u, .w = l->fc2, .add = x);
}

static bool check_ids(struct wn_exec *ex, const struct wn_t5 *m, const int32_t *ids, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= m->vocab) {
            wn_exec_fail(ex, WAN_EINVAL,
                         "token %lld has id %d, outside the text encoder's vocabulary of %lld", (long long)i,
                         ids[i], (long long)m->vocab);
            return false;
        }
    return true;
}

/* x[i] becomes what the layers make of text i, [its tokens, D] f32 in the current scope. */
static void encode(struct wn_exec *ex, const struct wn_t5 *m, const struct wn_t5_text *text, size_t n,
                   struct wn_tensor *x, struct wn_t5_listener listener)
{
    struct wn_scope outer;
    for (size_t t = 0; t < n; t++)
        if (!wn_ok(ex) || !check_ids(ex, m, text[t].ids, text[t].n)) return;
    if (wn_loader_wake(&m->ld, &ex->err)) return;
    wn_scope_begin(ex, &outer);
    for (size_t t = 0; t < n; t++) {
        struct wn_tensor index = wn_upload(ex, wn_shape_of(WN_I32, text[t].n), text[t].ids);
        x[t] = wn_gather(ex, .table = m->embedding, .index = index, .out_type = WN_F32);
        wn_name(ex, x[t], "embedding");
    }
    for (int i = 0; i < m->n_layers; i++) {
        for (size_t t = 0; t < n && wn_ok(ex); t++) {
            struct wn_scope scope;
            wn_scope_begin(ex, &scope);
            x[t] = wn_keep(ex, layer_forward(ex, m, &m->layer[i], x[t]));
            wn_scope_end(ex, &scope);
            wn_name(ex, x[t], "block.%d", i);
        }
        if (listener.on_layer && wn_ok(ex)) listener.on_layer(listener.ctx, i + 1, m->n_layers);
    }
    for (size_t t = 0; t < n; t++)
        x[t] = wn_keep(ex, wn_norm(ex, .x = x[t], .kind = WN_NORM_RMS, .eps = eps, .weight = m->norm,
                                   .out_type = WN_F32));
    wn_scope_end(ex, &outer);
}

struct wn_tensor wn_t5_encode(struct wn_exec *ex, const struct wn_t5 *m, const int32_t *ids, int64_t n)
{
    struct wn_tensor x = {0};
    encode(ex, m, &(const struct wn_t5_text){.ids = ids, .n = n}, 1, &x, (struct wn_t5_listener){0});
    return x;
}

void wn_t5_encode_all(struct wn_exec *ex, const struct wn_t5 *m, const struct wn_t5_text *text, size_t n,
                      struct wn_t5_listener listener)
{
    struct wn_scope scope;
    struct wn_tensor *x = wn_zalloc_n(n, sizeof *x);
    if (!x) wn_fail_nomem(&ex->err, "the prompts", (unsigned long long)n * sizeof *x);
    wn_scope_begin(ex, &scope);
    if (x) encode(ex, m, text, n, x, listener);
    for (size_t t = 0; t < n && wn_ok(ex); t++) wn_download(ex, x[t], text[t].rows);
    wn_scope_end(ex, &scope);
    wn_free(x);
}
