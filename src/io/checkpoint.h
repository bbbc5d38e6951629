/* What a checkpoint folder or file holds: which parts, where, and what model it is. Opening looks at file
 * names and small JSON files only (a lone weight file: at its header); each part's weights are opened when
 * asked for. */
#ifndef WN_IO_CHECKPOINT_H
#define WN_IO_CHECKPOINT_H

#include <stdbool.h>

#include "base/status.h"
#include "io/config.h"
#include "io/weights.h"

enum wn_part {
    WN_PART_DIT,      /* the only transformer */
    WN_PART_DIT_HIGH, /* the expert of the noisy steps (high_noise_model/) */
    WN_PART_DIT_LOW,  /* the expert of the clean steps (low_noise_model/) */
    WN_N_DITS,
    WN_PART_T5 = WN_N_DITS,
    WN_PART_VAE,
    WN_PART_CLIP,
    WN_PART_TOKENIZER, /* a folder or file as wn_tokenizer_open takes it; not a weight file */
    WN_PART_COUNT
};
const char *
wn_part_name(enum wn_part part); /* "transformer", "high-noise transformer", "text encoder", "VAE", … */

enum wn_task {
    WN_TASK_UNKNOWN,
    WN_TASK_T2V,
    WN_TASK_I2V,
    WN_TASK_TI2V, /* text and image, Wan2.2 5B */
    WN_TASK_FLF2V,
    WN_TASK_VACE,
    WN_TASK_S2V,
    WN_TASK_ANIMATE
};
const char *wn_task_name(enum wn_task task); /* "t2v", … */

enum wn_vae_kind {
    WN_VAE_UNKNOWN,
    WN_VAE_21, /* stride 4 x 8 x 8, 16 channels officially */
    WN_VAE_22  /* stride 4 x 16 x 16, 48 channels officially */
};

/* Sentences about what is wrong or unusual; after WN_MAX_PROBLEMS only counted. */
enum { WN_MAX_PROBLEMS = 64 };
struct wn_problems {
    char *text[WN_MAX_PROBLEMS];
    int n;      /* sentences kept */
    int n_more; /* and not kept */
};
/* Add a sentence; false: out of memory. */
bool wn_problems_add(struct wn_problems *p, const char *fmt, ...) WN_PRINTF(2, 3);
void wn_problems_release(struct wn_problems *p); /* fine on a zeroed struct */

struct wn_checkpoint_part {
    char *path;        /* what wn_weights_open takes (file, index or folder); NULL: not there */
    char **file;       /* shards that have no index: opened together instead of `path` */
    size_t n_files;    /* 0: open `path` */
    char *config_path; /* its config.json (transformers); NULL: none, dimensions come from the tensors */
};

struct wn_checkpoint {
    char *path; /* as given */
    struct wn_checkpoint_part part[WN_PART_COUNT];
    bool has_config; /* the next is filled, except what only tensors tell (text_dim, image_dim, …) */
    struct wn_dit_config
        config; /* of the transformer, or of the high-noise expert (else the low-noise one) */
    enum wn_task task;
    bool a14b;        /* a Wan2.2 A14B model, with both experts or one of them */
    const char *told; /* what told `task` and `a14b`, for reports: "its two experts", "--model-type", … */
    bool guessed;     /* nothing did: a lone T2V transformer, taken for Wan2.1's */
    enum wn_vae_kind vae_kind;   /* told from the VAE's file name, else from the transformer's channels */
    bool image_branch;           /* CLIP features are wanted (Wan2.1 i2v, flf2v; Animate) */
    char name[96];               /* "Wan2.1 T2V 1.3B", "Wan2.2 I2V A14B, high-noise expert", "umt5-xxl.pth" */
    struct wn_problems problems; /* of the folder: parts named twice, layouts not read yet, … */
};

/* `path`: an official checkpoint folder (Wan2.1, or Wan2.2 with its experts), one expert's own folder, a
 * folder with just a tokenizer, or a single file of one part (recognised by tensor names). Fails when nothing
 * of a model is there. */
enum wan_status wn_checkpoint_open(struct wn_checkpoint *ck, const char *path, struct wn_err *err);

/* Parts named one by one, and what cannot be seen in files. Everything may be NULL but one of path, high,
 * low. */
struct wn_checkpoint_files {
    const char *path;                /* as above; NULL: the folder that holds `high` (else `low`) */
    const char *part[WN_PART_COUNT]; /* a file, index or folder for this part instead of the folder's; an
                                        expert replaces any single transformer there */
    const char *model_type;          /* "t2v", "i2v", "ti2v", "t2v-a14b", "i2v-a14b": what the model is */
};
enum wan_status wn_checkpoint_open_files(struct wn_checkpoint *ck, const struct wn_checkpoint_files *files,
                                         struct wn_err *err);
void wn_checkpoint_release(struct wn_checkpoint *ck); /* fine on a zeroed struct */

bool wn_checkpoint_has(const struct wn_checkpoint *ck, enum wn_part part);
/* The transformer that speaks for the checkpoint: the only one, else the high-noise expert, else the
 * low-noise one; WN_PART_COUNT: there is none. */
enum wn_part wn_checkpoint_dit(const struct wn_checkpoint *ck);
/* Experts (one or both) instead of a single transformer? */
bool wn_checkpoint_has_experts(const struct wn_checkpoint *ck);
/* Parts that generation with this model needs and that are not there, as bits 1 << part. */
unsigned wn_checkpoint_missing(const struct wn_checkpoint *ck);

/* Map the weights of a part, with official names (a prefix such as "model.diffusion_model." is taken off). A
 * part that is not there is WAN_EFORMAT, naming the file that was looked for. The set outlives the
 * checkpoint. */
enum wan_status wn_checkpoint_weights(const struct wn_checkpoint *ck, enum wn_part part,
                                      struct wn_weights **w, struct wn_err *err);
/* Dimensions of a transformer part, complete: from its config.json and the tensors, which must agree. */
enum wan_status wn_checkpoint_dit_config(const struct wn_checkpoint *ck, enum wn_part part,
                                         const struct wn_weights *w, struct wn_dit_config *config,
                                         struct wn_err *err);

/* Which part the tensors of a file belong to: WN_PART_DIT, T5, VAE or CLIP; WN_PART_COUNT: none of them. */
enum wn_part wn_part_of_weights(const struct wn_weights *w);
enum wn_vae_kind wn_vae_kind_of(const struct wn_weights *w);

/* Compare the tensors of a part with those that the official model of these dimensions has: missing,
 * unexpected, of the wrong shape or of a type that is not floating point. Sentences are added to `out`.
 * `config` is for transformers, as filled by wn_checkpoint_dit_config; NULL for the others. Fails only for
 * lack of memory. */
enum wan_status wn_part_check(enum wn_part part, const struct wn_weights *w,
                              const struct wn_dit_config *config, struct wn_problems *out,
                              struct wn_err *err);

#endif
