/* Dimensions of a diffusion transformer: from its config.json, and from the shapes of its tensors (official
 * names, see spec/checkpoints.md 1 and 6). */
#ifndef WN_IO_CONFIG_H
#define WN_IO_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "io/weights.h"

enum { WN_MAX_LAYERS = 1024, WN_HEAD_DIM = 128 /* of every official model */ };

struct wn_dit_config {
    char class_name[48]; /* "_class_name": "WanModel", "VaceWanModel", …; "" when absent */
    char model_type[16]; /* "t2v", "i2v", "ti2v", "flf2v", "vace", "s2v", "animate", … */
    int64_t dim, ffn_dim, freq_dim;
    int64_t in_dim, out_dim;
    int64_t text_len; /* rows of a padded prompt; 512 where there is no config */
    int64_t text_dim; /* width of the text encoder; 0 until tensors were seen */
    int n_heads, n_layers;
    float eps;
    /* Seen in tensors or config; the base model above stays the same. */
    int64_t image_dim;  /* width of CLIP features of the image branch (1280), 0: no image branch */
    int64_t image_rows; /* rows of img_emb.emb_pos (514, first and last frame), 0: no such table */
    int n_vace_layers;  /* 0: no VACE blocks */
    int16_t vace_layer[WN_MAX_LAYERS]; /* block that VACE block j feeds */
    int64_t vace_in_dim;
};

/* Read a config.json. Values are bounded; a wrong or missing one is WAN_EFORMAT naming file and key.
 * freq_dim, text_len, eps and model_type may be absent (256, 512, 1e-6, told from the dimensions); text_dim,
 * image_dim and image_rows are left 0. */
enum wan_status wn_dit_config_read(struct wn_dit_config *c, const char *path, struct wn_err *err);

/* Everything from tensor shapes: heads = dim / 128, text_len 512, eps 1e-6. */
enum wan_status wn_dit_config_derive(struct wn_dit_config *c, const struct wn_weights *w, struct wn_err *err);

/* Compare a config that was read with the tensors, and fill what it does not hold (text_dim, image_dim,
 * image_rows). A disagreement is WAN_EFORMAT naming the key, both values and the tensor. Missing or misshapen
 * tensors beyond those that carry dimensions are left to wn_part_check (checkpoint.h). */
enum wan_status wn_dit_config_match(struct wn_dit_config *c, const struct wn_weights *w, struct wn_err *err);

/* `path` NULL: derive; else read and match. */
enum wan_status wn_dit_config_load(struct wn_dit_config *c, const char *path, const struct wn_weights *w,
                                   struct wn_err *err);

/* Parameters of the transformer (closed form of spec/wan.md 1.5, text_dim 0 taken as 4096). */
int64_t wn_dit_n_params(const struct wn_dit_config *c);

#endif
