/* The tensors that each part of an official model has (spec/checkpoints.md 1 to 5), one call for each. */
#ifndef WN_IO_KEYS_H
#define WN_IO_KEYS_H

#include <stdint.h>

#include "io/config.h"

struct wn_key_visitor {
    /* n_dims < 0: the tensor may be there, in any shape, and need not. */
    void (*key)(void *ctx, const char *name, int n_dims, const int64_t *dim);
    void *ctx;
};

void wn_dit_keys(const struct wn_dit_config *c, struct wn_key_visitor v);

struct wn_t5_dims {
    int64_t vocab, dim, attn_dim, ffn_dim, n_buckets, n_heads;
    int n_layers;
};
void wn_t5_keys(const struct wn_t5_dims *d, struct wn_key_visitor v);

/* Widths at full resolution: 96 and 96, z 16 (2.1); 160 and 256, z 48 (2.2) officially. */
struct wn_vae_dims {
    int64_t encoder, decoder, z;
};
void wn_vae21_keys(const struct wn_vae_dims *d, struct wn_key_visitor v);
void wn_vae22_keys(const struct wn_vae_dims *d, struct wn_key_visitor v);

/* Image tower; the text tower, unused, is allowed. */
struct wn_clip_dims {
    int64_t dim, ffn_dim, patch, n_tokens, out_dim;
    int n_layers;
};
void wn_clip_keys(const struct wn_clip_dims *d, struct wn_key_visitor v);

#endif
