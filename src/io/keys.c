#include "io/keys.h"

#include <stdarg.h>
#include <stdio.h>

enum { NAME_BYTES = 128 };

#define DIMS(...)                                                                \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]) \
    {                                                                            \
        __VA_ARGS__                                                              \
    }

/* One tensor, its name printed. */
static void key(struct wn_key_visitor v, int n_dims, const int64_t *dim, const char *fmt, ...)
    WN_PRINTF(4, 5);
static void key(struct wn_key_visitor v, int n_dims, const int64_t *dim, const char *fmt, ...)
{
    char name[NAME_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    v.key(v.ctx, name, n_dims, dim);
}

/* PREFIX.NAME.weight [out, in] and .bias [out] */
static void linear(struct wn_key_visitor v, int64_t in, int64_t out, const char *prefix, const char *name)
{
    key(v, DIMS(out, in), "%s%s.weight", prefix, name);
    key(v, DIMS(out), "%s%s.bias", prefix, name);
}

static void affine(struct wn_key_visitor v, int64_t n, const char *prefix, const char *name)
{
    key(v, DIMS(n), "%s%s.weight", prefix, name);
    key(v, DIMS(n), "%s%s.bias", prefix, name);
}

/* ---- transformer ---- */

static void attention(struct wn_key_visitor v, int64_t D, const char *block, const char *name)
{
    char prefix[NAME_BYTES / 2];
    snprintf(prefix, sizeof prefix, "%s%s.", block, name);
    linear(v, D, D, prefix, "q");
    linear(v, D, D, prefix, "k");
    linear(v, D, D, prefix, "v");
    linear(v, D, D, prefix, "o");
    key(v, DIMS(D), "%snorm_q.weight", prefix);
    key(v, DIMS(D), "%snorm_k.weight", prefix);
}

static void dit_block(const struct wn_dit_config *c, struct wn_key_visitor v, const char *prefix)
{
    key(v, DIMS(1, 6, c->dim), "%smodulation", prefix);
    attention(v, c->dim, prefix, "self_attn");
    attention(v, c->dim, prefix, "cross_attn");
    affine(v, c->dim, prefix, "norm3");
    linear(v, c->dim, c->ffn_dim, prefix, "ffn.0");
    linear(v, c->ffn_dim, c->dim, prefix, "ffn.2");
}

static void image_branch(const struct wn_dit_config *c, struct wn_key_visitor v)
{
    const int64_t D = c->dim, W = c->image_dim;
    char prefix[NAME_BYTES / 2];
    for (int i = 0; i < c->n_layers; i++) {
        snprintf(prefix, sizeof prefix, "blocks.%d.cross_attn.", i);
        linear(v, D, D, prefix, "k_img");
        linear(v, D, D, prefix, "v_img");
        key(v, DIMS(D), "%snorm_k_img.weight", prefix);
    }
    affine(v, W, "", "img_emb.proj.0");
    linear(v, W, W, "", "img_emb.proj.1");
    linear(v, W, D, "", "img_emb.proj.3");
    affine(v, D, "", "img_emb.proj.4");
    if (c->image_rows) key(v, DIMS(1, c->image_rows, W), "img_emb.emb_pos");
}

static void vace_branch(const struct wn_dit_config *c, struct wn_key_visitor v)
{
    char prefix[NAME_BYTES / 2];
    key(v, DIMS(c->dim, c->vace_in_dim, 1, 2, 2), "vace_patch_embedding.weight");
    key(v, DIMS(c->dim), "vace_patch_embedding.bias");
    for (int i = 0; i < c->n_vace_layers; i++) {
        snprintf(prefix, sizeof prefix, "vace_blocks.%d.", i);
        dit_block(c, v, prefix);
        if (!i) linear(v, c->dim, c->dim, prefix, "before_proj");
        linear(v, c->dim, c->dim, prefix, "after_proj");
    }
}

void wn_dit_keys(const struct wn_dit_config *c, struct wn_key_visitor v)
{
    const int64_t D = c->dim;
    char prefix[NAME_BYTES / 2];
    key(v, DIMS(D, c->in_dim, 1, 2, 2), "patch_embedding.weight");
    key(v, DIMS(D), "patch_embedding.bias");
    linear(v, c->text_dim, D, "", "text_embedding.0");
    linear(v, D, D, "", "text_embedding.2");
    linear(v, c->freq_dim, D, "", "time_embedding.0");
    linear(v, D, D, "", "time_embedding.2");
    linear(v, D, 6 * D, "", "time_projection.1");
    for (int i = 0; i < c->n_layers; i++) {
        snprintf(prefix, sizeof prefix, "blocks.%d.", i);
        dit_block(c, v, prefix);
    }
    key(v, DIMS(1, 2, D), "head.modulation");
    linear(v, D, 4 * c->out_dim, "", "head.head");
    if (c->image_dim) image_branch(c, v);
    if (c->n_vace_layers) vace_branch(c, v);
}

/* ---- text encoder ---- */

void wn_t5_keys(const struct wn_t5_dims *d, struct wn_key_visitor v)
{
    key(v, DIMS(d->vocab, d->dim), "token_embedding.weight");
    for (int i = 0; i < d->n_layers; i++) {
        key(v, DIMS(d->dim), "blocks.%d.norm1.weight", i);
        key(v, DIMS(d->dim), "blocks.%d.norm2.weight", i);
        for (const char *c = "qkv"; *c; c++)
            key(v, DIMS(d->attn_dim, d->dim), "blocks.%d.attn.%c.weight", i, *c);
        key(v, DIMS(d->dim, d->attn_dim), "blocks.%d.attn.o.weight", i);
        key(v, DIMS(d->ffn_dim, d->dim), "blocks.%d.ffn.gate.0.weight", i);
        key(v, DIMS(d->ffn_dim, d->dim), "blocks.%d.ffn.fc1.weight", i);
        key(v, DIMS(d->dim, d->ffn_dim), "blocks.%d.ffn.fc2.weight", i);
        key(v, DIMS(d->n_buckets, d->n_heads), "blocks.%d.pos_embedding.embedding.weight", i);
    }
    key(v, DIMS(d->dim), "norm.weight");
}

/* ---- VAE ---- */

static void conv3d(struct wn_key_visitor v, int64_t in, int64_t out, int64_t kt, int64_t k,
                   const char *prefix, const char *name)
{
    key(v, DIMS(out, in, kt, k, k), "%s%s.weight", prefix, name);
    key(v, DIMS(out), "%s%s.bias", prefix, name);
}

static void residual(struct wn_key_visitor v, int64_t in, int64_t out, const char *prefix)
{
    key(v, DIMS(in, 1, 1, 1), "%sresidual.0.gamma", prefix);
    conv3d(v, in, out, 3, 3, prefix, "residual.2");
    key(v, DIMS(out, 1, 1, 1), "%sresidual.3.gamma", prefix);
    conv3d(v, out, out, 3, 3, prefix, "residual.6");
    if (in != out) conv3d(v, in, out, 1, 1, prefix, "shortcut");
}

static void middle(struct wn_key_visitor v, int64_t C, const char *side)
{
    char prefix[NAME_BYTES / 2];
    snprintf(prefix, sizeof prefix, "%s.middle.0.", side);
    residual(v, C, C, prefix);
    key(v, DIMS(C, 1, 1), "%s.middle.1.norm.gamma", side);
    key(v, DIMS(3 * C, C, 1, 1), "%s.middle.1.to_qkv.weight", side);
    key(v, DIMS(3 * C), "%s.middle.1.to_qkv.bias", side);
    key(v, DIMS(C, C, 1, 1), "%s.middle.1.proj.weight", side);
    key(v, DIMS(C), "%s.middle.1.proj.bias", side);
    snprintf(prefix, sizeof prefix, "%s.middle.2.", side);
    residual(v, C, C, prefix);
}

/* resample.1 [out, in, 3, 3]; time_out: channels of time_conv, 0 for none. */
static void resample(struct wn_key_visitor v, int64_t in, int64_t out, int64_t time_out, const char *prefix)
{
    key(v, DIMS(out, in, 3, 3), "%sresample.1.weight", prefix);
    key(v, DIMS(out), "%sresample.1.bias", prefix);
    if (!time_out) return;
    key(v, DIMS(time_out, in, 3, 1, 1), "%stime_conv.weight", prefix);
    key(v, DIMS(time_out), "%stime_conv.bias", prefix);
}

/* What both VAEs have around their stages: ends, middles, the two 1x1x1 convolutions of the latent. */
static void vae_frame(const struct wn_vae_dims *d, int64_t pixels, struct wn_key_visitor v)
{
    const int64_t E = 4 * d->encoder, C = 4 * d->decoder;
    conv3d(v, pixels, d->encoder, 3, 3, "encoder.", "conv1");
    middle(v, E, "encoder");
    key(v, DIMS(E, 1, 1, 1), "encoder.head.0.gamma");
    conv3d(v, E, 2 * d->z, 3, 3, "encoder.", "head.2");
    conv3d(v, 2 * d->z, 2 * d->z, 1, 1, "", "conv1");
    conv3d(v, d->z, d->z, 1, 1, "", "conv2");
    conv3d(v, d->z, C, 3, 3, "decoder.", "conv1");
    middle(v, C, "decoder");
    key(v, DIMS(d->decoder, 1, 1, 1), "decoder.head.0.gamma");
    conv3d(v, d->decoder, pixels, 3, 3, "decoder.", "head.2");
    key(v, -1, NULL, "latents_mean");
    key(v, -1, NULL, "latents_std");
}

/* Width factors of the encoder's four stages; the decoder's are the same backwards. */
static const int64_t factor[5] = {1, 1, 2, 4, 4};

void wn_vae21_keys(const struct wn_vae_dims *d, struct wn_key_visitor v)
{
    char p[NAME_BYTES / 2];
    vae_frame(d, 3, v);
    for (int s = 0, n = 0; s < 4; s++) {
        const int64_t in = d->encoder * factor[s], out = d->encoder * factor[s + 1];
        for (int j = 0; j < 2; j++, n++) {
            snprintf(p, sizeof p, "encoder.downsamples.%d.", n);
            residual(v, j ? out : in, out, p);
        }
        if (s == 3) break;
        snprintf(p, sizeof p, "encoder.downsamples.%d.", n++);
        resample(v, out, out, s ? out : 0, p);
    }
    for (int s = 0, n = 0; s < 4; s++) {
        const int64_t out = d->decoder * factor[4 - s];
        const int64_t in = s ? d->decoder * factor[5 - s] / 2 : out; /* upsampling halves the channels */
        for (int j = 0; j < 3; j++, n++) {
            snprintf(p, sizeof p, "decoder.upsamples.%d.", n);
            residual(v, j ? out : in, out, p);
        }
        if (s == 3) break;
        snprintf(p, sizeof p, "decoder.upsamples.%d.", n++);
        resample(v, out, out / 2, s < 2 ? 2 * out : 0, p);
    }
}

void wn_vae22_keys(const struct wn_vae_dims *d, struct wn_key_visitor v)
{
    char p[NAME_BYTES / 2];
    vae_frame(d, 12, v);
    for (int s = 0; s < 4; s++) {
        const int64_t in = d->encoder * factor[s], out = d->encoder * factor[s + 1];
        for (int j = 0; j < 2; j++) {
            snprintf(p, sizeof p, "encoder.downsamples.%d.downsamples.%d.", s, j);
            residual(v, j ? out : in, out, p);
        }
        snprintf(p, sizeof p, "encoder.downsamples.%d.downsamples.2.", s);
        if (s < 3) resample(v, out, out, s ? out : 0, p);
    }
    for (int s = 0; s < 4; s++) {
        const int64_t in = d->decoder * factor[s ? 5 - s : 4], out = d->decoder * factor[4 - s];
        for (int j = 0; j < 3; j++) {
            snprintf(p, sizeof p, "decoder.upsamples.%d.upsamples.%d.", s, j);
            residual(v, j ? out : in, out, p);
        }
        snprintf(p, sizeof p, "decoder.upsamples.%d.upsamples.3.", s);
        if (s < 3) resample(v, out, out, s < 2 ? 2 * out : 0, p);
    }
}

/* ---- CLIP ---- */

void wn_clip_keys(const struct wn_clip_dims *d, struct wn_key_visitor v)
{
    const int64_t D = d->dim;
    char p[NAME_BYTES / 2];
    key(v, -1, NULL, "log_scale");
    key(v, DIMS(1, 1, D), "visual.cls_embedding");
    key(v, DIMS(1, d->n_tokens, D), "visual.pos_embedding");
    key(v, DIMS(D, 3, d->patch, d->patch), "visual.patch_embedding.weight");
    affine(v, D, "visual.", "pre_norm");
    for (int i = 0; i < d->n_layers; i++) {
        snprintf(p, sizeof p, "visual.transformer.%d.", i);
        affine(v, D, p, "norm1");
        affine(v, D, p, "norm2");
        linear(v, D, 3 * D, p, "attn.to_qkv");
        linear(v, D, D, p, "attn.proj");
        linear(v, D, d->ffn_dim, p, "mlp.0");
        linear(v, d->ffn_dim, D, p, "mlp.2");
    }
    key(v, -1, NULL, "visual.post_norm.weight");
    key(v, -1, NULL, "visual.post_norm.bias");
    key(v, -1, NULL, "visual.head");
}
