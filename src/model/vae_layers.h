/* What both VAEs are made of. vae.c fills it from a file, in the order of its tables; vae_run.c runs it. */
#ifndef WN_MODEL_VAE_LAYERS_H
#define WN_MODEL_VAE_LAYERS_H

#include "model/load.h"
#include "model/vae.h"

enum wn_vae_layer_kind {
    WN_VAE_RESIDUAL,
    WN_VAE_ATTENTION,
    WN_VAE_UP_2D,
    WN_VAE_UP_3D,
    WN_VAE_DOWN_2D,
    WN_VAE_DOWN_3D
};

/* VAE 2.2 adds to a stage's result its input, brought to that shape without weights. */
enum wn_vae_shortcut {
    WN_VAE_NO_SHORTCUT,
    WN_VAE_SAME,   /* the input itself */
    WN_VAE_AVG_2D, /* C -> C: means of 2 x 2 pixels */
    WN_VAE_AVG_3D, /* C -> 2C: and the frames of a pair become neighbouring channels */
    WN_VAE_DUP_2D, /* C -> C / 2: pixels doubled each way, channel 2c + (row mod 2) becomes c */
    WN_VAE_DUP_3D  /* C -> C: pixels doubled each way, and frames but the clip's first */
};

/* One entry of `downsamples`, `upsamples` or `middle`. */
struct wn_vae_layer {
    enum wn_vae_layer_kind kind;
    int slot;                           /* first of its history slots */
    enum wn_vae_shortcut opens, closes; /* of the stage that begins here, and of the one that ends here */
    union {
        struct {
            struct wn_tensor norm0, norm3; /* gamma [C] */
            struct wn_lin conv2, conv6, shortcut;
        } res;
        struct {
            struct wn_tensor norm;
            struct wn_lin qkv, proj; /* [3C, C, 1, 1], [C, C, 1, 1] */
        } att;
        struct {
            struct wn_lin conv, time; /* Conv2d 3x3; Conv3d (3,1,1) in the 3d kinds */
        } up;
    } u;
    char name[32]; /* for --dump: "upsamples.3" */
};

enum {
    WN_VAE_N_MIDDLE = 3,
    WN_VAE_N_STAGES = 4,
    WN_VAE_MAX_LAYERS = WN_VAE_N_MIDDLE + 15,
    WN_VAE_MAX_SLOTS = 48
};

struct wn_vae_half { /* the encoder or the decoder */
    struct wn_lin conv1, head_conv;
    struct wn_tensor head_norm;
    struct wn_vae_layer layer[WN_VAE_MAX_LAYERS];
    int n_layers;
    int n_temporal; /* layers up to and with the last that makes or joins frames */
    int middle;     /* first of the WN_VAE_N_MIDDLE layers at latent resolution, which see whole frames */
    int n_slots, conv1_slot, head_slot;
};

struct wn_vae {
    struct wn_loader ld;
    int stride; /* 8 or 16 pixels */
    int patch;  /* pixels that become channels, each way: 1 or 2 */
    struct wn_vae_half enc, dec;
    struct wn_lin quant, post_quant; /* 1x1x1: [2z, 2z], [z, z] */
    int64_t z;
    float *mean, *inv_std; /* [z] */
};

#endif
