#include "model/vae.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/vae_layers.h"
#include "tensor/convert.h"

/* ---- the two architectures ---- */

/* Residual layers, then a layer that changes the resolution. Channels are in units of the base width. */
struct stage {
    int in, out;
    enum wn_vae_layer_kind resample; /* WN_VAE_RESIDUAL: none */
    int to;                          /* its channels */
    enum wn_vae_shortcut shortcut;
};

struct arch {
    int stride, patch;
    bool nested; /* names: "upsamples.1.upsamples.2", not "upsamples.6" */
    struct stage encoder[WN_VAE_N_STAGES], decoder[WN_VAE_N_STAGES];
    int64_t z; /* officially, with the latent statistics of the released file */
    const float *mean, *std;
};

enum { ENCODER_RESIDUALS = 2, DECODER_RESIDUALS = 3 }; /* in a stage */

static const float mean21[16] = {-0.7571f, -0.7089f, -0.9113f, 0.1075f,  -0.1745f, 0.9653f,
                                 -0.1517f, 1.5508f,  0.4134f,  -0.0715f, 0.5517f,  -0.3632f,
                                 -0.1922f, -0.9497f, 0.2503f,  -0.2921f};
static const float std21[16] = {2.8184f, 1.4541f, 2.3275f, 2.6558f, 1.2196f, 1.7708f, 2.6052f, 2.0743f,
                                3.2687f, 2.1526f, 2.8652f, 1.5579f, 1.6382f, 1.1253f, 2.8251f, 1.9160f};

static const float mean22[48] = {
    -0.2289f, -0.0052f, -0.1323f, -0.2339f, -0.2799f, 0.0174f,  0.1838f,  0.1557f,  -0.1382f, 0.0542f,
    0.2813f,  0.0891f,  0.1570f,  -0.0098f, 0.0375f,  -0.1825f, -0.2246f, -0.1207f, -0.0698f, 0.5109f,
    0.2665f,  -0.2108f, -0.2158f, 0.2502f,  -0.2055f, -0.0322f, 0.1109f,  0.1567f,  -0.0729f, 0.0899f,
    -0.2799f, -0.1230f, -0.0313f, -0.1649f, 0.0117f,  0.0723f,  -0.2839f, -0.2083f, -0.0520f, 0.3748f,
    0.0152f,  0.1957f,  0.1433f,  -0.2944f, 0.3573f,  -0.0548f, -0.1681f, -0.0667f};
static const float std22[48] = {0.4765f, 1.0364f, 0.4514f, 1.1677f, 0.5313f, 0.4990f, 0.4818f, 0.5013f,
                                0.8158f, 1.0344f, 0.5894f, 1.0901f, 0.6885f, 0.6165f, 0.8454f, 0.4978f,
                                0.5759f, 0.3523f, 0.7135f, 0.6804f, 0.5833f, 1.4146f, 0.8986f, 0.5659f,
                                0.7069f, 0.5338f, 0.4889f, 0.4917f, 0.4069f, 0.4999f, 0.6866f, 0.4093f,
                                0.5709f, 0.6065f, 0.6415f, 0.4944f, 0.5726f, 1.2042f, 0.5458f, 1.6887f,
                                0.3971f, 1.0600f, 0.3943f, 0.5537f, 0.5444f, 0.4089f, 0.7468f, 0.7744f};

static const struct arch arch21 = {
    .stride = 8,
    .patch = 1,
    .encoder = {{1, 1, WN_VAE_DOWN_2D, 1, WN_VAE_NO_SHORTCUT},
                {1, 2, WN_VAE_DOWN_3D, 2, WN_VAE_NO_SHORTCUT},
                {2, 4, WN_VAE_DOWN_3D, 4, WN_VAE_NO_SHORTCUT},
                {4, 4, WN_VAE_RESIDUAL, 0, WN_VAE_NO_SHORTCUT}},
    .decoder = {{4, 4, WN_VAE_UP_3D, 2, WN_VAE_NO_SHORTCUT},
                {2, 4, WN_VAE_UP_3D, 2, WN_VAE_NO_SHORTCUT},
                {2, 2, WN_VAE_UP_2D, 1, WN_VAE_NO_SHORTCUT},
                {1, 1, WN_VAE_RESIDUAL, 0, WN_VAE_NO_SHORTCUT}},
    .z = 16,
    .mean = mean21,
    .std = std21,
};
static const struct arch arch22 = {
    .stride = 16,
    .patch = 2,
    .nested = true,
    .encoder = {{1, 1, WN_VAE_DOWN_2D, 1, WN_VAE_AVG_2D},
                {1, 2, WN_VAE_DOWN_3D, 2, WN_VAE_AVG_3D},
                {2, 4, WN_VAE_DOWN_3D, 4, WN_VAE_AVG_3D},
                {4, 4, WN_VAE_RESIDUAL, 0, WN_VAE_SAME}},
    .decoder = {{4, 4, WN_VAE_UP_3D, 4, WN_VAE_DUP_3D},
                {4, 4, WN_VAE_UP_3D, 4, WN_VAE_DUP_3D},
                {4, 2, WN_VAE_UP_2D, 2, WN_VAE_DUP_2D},
                {2, 1, WN_VAE_RESIDUAL, 0, WN_VAE_NO_SHORTCUT}},
    .z = 48,
    .mean = mean22,
    .std = std22,
};

int wn_vae_stride_of(enum wn_vae_kind kind)
{
    return kind == WN_VAE_22 ? arch22.stride : arch21.stride;
}

/* ---- weights ---- */

static void load_residual(struct wn_loader *ld, struct wn_vae_layer *l, int64_t in, int64_t out,
                          const char *at)
{
    l->u.res.norm0 = wn_load(ld, WN_DIMS(in, 1, 1, 1), "%s.residual.0.gamma", at);
    l->u.res.conv2 = wn_load_lin(ld, WN_DIMS(out, in, 3, 3, 3), "%s.residual.2", at);
    l->u.res.norm3 = wn_load(ld, WN_DIMS(out, 1, 1, 1), "%s.residual.3.gamma", at);
    l->u.res.conv6 = wn_load_lin(ld, WN_DIMS(out, out, 3, 3, 3), "%s.residual.6", at);
    if (in != out) l->u.res.shortcut = wn_load_lin(ld, WN_DIMS(out, in, 1, 1, 1), "%s.shortcut", at);
}

static void load_layer(struct wn_loader *ld, struct wn_vae_layer *l, int64_t in, int64_t out, const char *at)
{
    switch (l->kind) {
    case WN_VAE_RESIDUAL: load_residual(ld, l, in, out, at); break;
    case WN_VAE_ATTENTION:
        l->u.att.norm = wn_load(ld, WN_DIMS(in, 1, 1), "%s.norm.gamma", at);
        l->u.att.qkv = wn_load_lin(ld, WN_DIMS(3 * in, in, 1, 1), "%s.to_qkv", at);
        l->u.att.proj = wn_load_lin(ld, WN_DIMS(in, in, 1, 1), "%s.proj", at);
        break;
    case WN_VAE_UP_2D:
    case WN_VAE_UP_3D:
    case WN_VAE_DOWN_2D:
    case WN_VAE_DOWN_3D:
        l->u.up.conv = wn_load_lin(ld, WN_DIMS(out, in, 3, 3), "%s.resample.1", at);
        if (l->kind == WN_VAE_UP_3D)
            l->u.up.time = wn_load_lin(ld, WN_DIMS(2 * in, in, 3, 1, 1), "%s.time_conv", at);
        if (l->kind == WN_VAE_DOWN_3D)
            l->u.up.time = wn_load_lin(ld, WN_DIMS(in, in, 3, 1, 1), "%s.time_conv", at);
        break;
    }
}

static int slots_of(enum wn_vae_layer_kind kind)
{
    return kind == WN_VAE_RESIDUAL ? 2 : kind == WN_VAE_UP_3D || kind == WN_VAE_DOWN_3D ? 1 : 0;
}

/* `at` is "encoder.downsamples.0" or alike; the layer's name is its part after the first dot. */
static struct wn_vae_layer *add_layer(struct wn_loader *ld, struct wn_vae_half *h,
                                      enum wn_vae_layer_kind kind, int64_t in, int64_t out, const char *at)
{
    struct wn_vae_layer *l = &h->layer[h->n_layers++];
    snprintf(l->name, sizeof l->name, "%s", strchr(at, '.') + 1);
    l->kind = kind;
    l->slot = h->n_slots;
    h->n_slots += slots_of(kind);
    if (kind == WN_VAE_UP_3D || kind == WN_VAE_DOWN_3D) h->n_temporal = h->n_layers;
    load_layer(ld, l, in, out, at);
    return l;
}

static void add_middle(struct wn_loader *ld, struct wn_vae_half *h, int64_t C, const char *side)
{
    static const enum wn_vae_layer_kind kind[WN_VAE_N_MIDDLE] = {WN_VAE_RESIDUAL, WN_VAE_ATTENTION,
                                                                 WN_VAE_RESIDUAL};
    h->middle = h->n_layers;
    for (int i = 0; i < WN_VAE_N_MIDDLE; i++) {
        char at[64];
        snprintf(at, sizeof at, "%s.middle.%d", side, i);
        add_layer(ld, h, kind[i], C, C, at);
    }
}

/* `list` is "downsamples" or "upsamples". */
static void add_stages(struct wn_loader *ld, struct wn_vae_half *h, const struct stage *stage, bool nested,
                       int n_residuals, int64_t base, const char *side, const char *list)
{
    int first = h->n_layers;
    for (int s = 0; s < WN_VAE_N_STAGES; s++, stage++) {
        int n = n_residuals + (stage->resample != WN_VAE_RESIDUAL), opens = h->n_layers;
        for (int j = 0; j < n; j++) {
            char at[64];
            if (nested)
                snprintf(at, sizeof at, "%s.%s.%d.%s.%d", side, list, s, list, j);
            else
                snprintf(at, sizeof at, "%s.%s.%d", side, list, h->n_layers - first);
            if (j == n_residuals)
                add_layer(ld, h, stage->resample, base * stage->out, base * stage->to, at);
            else
                add_layer(ld, h, WN_VAE_RESIDUAL, base * (j ? stage->out : stage->in), base * stage->out, at);
        }
        h->layer[opens].opens = h->layer[h->n_layers - 1].closes = stage->shortcut;
    }
}

static void load_encoder(struct wn_vae *m, const struct arch *arch, int64_t base)
{
    struct wn_loader *ld = &m->ld;
    struct wn_vae_half *h = &m->enc;
    h->conv1_slot = h->n_slots++;
    h->conv1 = wn_load_lin(ld, WN_DIMS(base, 3 * arch->patch * arch->patch, 3, 3, 3), "encoder.conv1");
    add_stages(ld, h, arch->encoder, arch->nested, ENCODER_RESIDUALS, base, "encoder", "downsamples");
    add_middle(ld, h, 4 * base, "encoder");
    h->head_norm = wn_load(ld, WN_DIMS(4 * base, 1, 1, 1), "encoder.head.0.gamma");
    h->head_conv = wn_load_lin(ld, WN_DIMS(2 * m->z, 4 * base, 3, 3, 3), "encoder.head.2");
    h->head_slot = h->n_slots++;
    m->quant = wn_load_lin(ld, WN_DIMS(2 * m->z, 2 * m->z, 1, 1, 1), "conv1");
}

static void load_decoder(struct wn_vae *m, const struct arch *arch, int64_t base)
{
    struct wn_loader *ld = &m->ld;
    struct wn_vae_half *h = &m->dec;
    m->post_quant = wn_load_lin(ld, WN_DIMS(m->z, m->z, 1, 1, 1), "conv2");
    h->conv1_slot = h->n_slots++;
    h->conv1 = wn_load_lin(ld, WN_DIMS(4 * base, m->z, 3, 3, 3), "decoder.conv1");
    add_middle(ld, h, 4 * base, "decoder");
    add_stages(ld, h, arch->decoder, arch->nested, DECODER_RESIDUALS, base, "decoder", "upsamples");
    h->head_norm = wn_load(ld, WN_DIMS(base, 1, 1, 1), "decoder.head.0.gamma");
    h->head_conv = wn_load_lin(ld, WN_DIMS(3 * arch->patch * arch->patch, base, 3, 3, 3), "decoder.head.2");
    h->head_slot = h->n_slots++;
}

/* latents_mean / latents_std of the file, [z] in any shape; false when it has none. */
static bool read_statistic(struct wn_vae *m, const char *name, float *out)
{
    if (!wn_load_has(&m->ld, "%s", name)) return false;
    const struct wn_weight *w = wn_load_find(&m->ld, "%s", name);
    int64_t n = 1;
    for (int i = 0; i < w->n_dims; i++) n *= w->dim[i];
    if (n != m->z || !wn_dtype_is_float(w->type)) {
        wn_fail(m->ld.err, WAN_EFORMAT, "%s: tensor '%s' must hold %lld floats", w->file, name,
                (long long)m->z);
        return true;
    }
    wn_to_f32(w->data, w->type, out, n);
    return true;
}

static void load_statistics(struct wn_vae *m, const struct arch *arch)
{
    struct wn_err *err = m->ld.err;
    m->mean = wn_zalloc_n((size_t)m->z, sizeof *m->mean);
    m->inv_std = wn_zalloc_n((size_t)m->z, sizeof *m->inv_std);
    if (!m->mean || !m->inv_std) {
        wn_fail_nomem(err, "the latent statistics", (unsigned long long)m->z * 2 * sizeof *m->mean);
        return;
    }
    bool own = read_statistic(m, "latents_mean", m->mean);
    if (read_statistic(m, "latents_std", m->inv_std) != own)
        wn_fail(err, WAN_EFORMAT, "%s: has one of 'latents_mean' and 'latents_std' without the other",
                wn_weights_path(m->ld.weights));
    if (!own && m->z == arch->z) {
        memcpy(m->mean, arch->mean, (size_t)m->z * sizeof *m->mean);
        memcpy(m->inv_std, arch->std, (size_t)m->z * sizeof *m->inv_std);
    } else if (!own)
        wn_fail(err, WAN_EFORMAT, "%s: %lld latent channels need tensors 'latents_mean' and 'latents_std'",
                wn_weights_path(m->ld.weights), (long long)m->z);
    for (int64_t i = 0; i < m->z; i++) {
        if (!err->code && !(m->inv_std[i] > 0))
            wn_fail(err, WAN_EFORMAT, "%s: 'latents_std' must be positive", wn_weights_path(m->ld.weights));
        m->inv_std[i] = 1 / m->inv_std[i];
    }
}

static void load_all(struct wn_vae *m)
{
    const struct arch *arch = wn_vae_kind_of(m->ld.weights) == WN_VAE_22 ? &arch22 : &arch21;
    const struct wn_weight *post = wn_load_find(&m->ld, "conv2.weight");
    const struct wn_weight *out = wn_load_find(&m->ld, "decoder.head.0.gamma");
    const struct wn_weight *in = wn_load_find(&m->ld, "encoder.conv1.weight");
    if (m->ld.err->code) return;
    m->stride = arch->stride;
    m->patch = arch->patch;
    m->z = post->n_dims ? post->dim[0] : 0;
    load_statistics(m, arch);
    load_encoder(m, arch, in->n_dims ? in->dim[0] : 0);
    load_decoder(m, arch, out->n_dims ? out->dim[0] : 0);
}

enum wan_status wn_vae_new(struct wn_vae **out, struct wn_device *dev, const struct wn_weights *weights,
                           struct wn_err *err)
{
    *out = NULL;
    struct wn_vae *m = wn_zalloc(sizeof *m);
    if (!m) return wn_fail_nomem(err, "the VAE", sizeof *m);
    m->ld = (struct wn_loader){.dev = dev, .weights = weights, .err = err};
    load_all(m);
    m->ld.err = NULL;
    if (err->code) {
        wn_vae_free(m);
        return err->code;
    }
    *out = m;
    return WAN_OK;
}

void wn_vae_rest(struct wn_vae *m)
{
    wn_loader_rest(&m->ld);
}

void wn_vae_free(struct wn_vae *m)
{
    if (!m) return;
    wn_loader_release(&m->ld);
    wn_free(m->mean);
    wn_free(m->inv_std);
    wn_free(m);
}

int64_t wn_vae_z(const struct wn_vae *m)
{
    return m->z;
}

int wn_vae_stride(const struct wn_vae *m)
{
    return m->stride;
}
