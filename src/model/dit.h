/* The diffusion transformer (WanModel): one velocity prediction for packed sequences. */
#ifndef WN_MODEL_DIT_H
#define WN_MODEL_DIT_H

#include "io/config.h"
#include "io/weights.h"
#include "ops/exec.h"

struct wn_dit; /* the weights, mapped; immutable and shareable */

/* `weights` must outlive the model. Shapes are checked against `config`. */
enum wan_status wn_dit_new(struct wn_dit **dit, struct wn_device *dev, const struct wn_weights *weights,
                           const struct wn_dit_config *config, struct wn_err *err);
void wn_dit_free(struct wn_dit *dit); /* NULL is fine */
void wn_dit_rest(struct wn_dit *dit); /* not needed for a while: what the device made of the weights may go */
/* Memory holds the weights of this many blocks from one forward to the next (without a call: of all): those of
 * the others are given back once used, so that they do not push these out. */
void wn_dit_set_resident(struct wn_dit *dit, int n_blocks);
void wn_dit_rest(struct wn_dit *dit); /* not needed for a while: what the device made of the weights may go */
const struct wn_dit_config *wn_dit_config(const struct wn_dit *dit);

/* What depends on the prompts only, computed once for a run: keys and values of every cross attention, for
 * the sequences of a forward in their order. Padding rows of a context (all equal) stand as one key with a
 * log weight. */
struct wn_dit_text;
/* context[i]: [n[i], text_dim] f32 host memory, n[i] <= text_len. */
enum wan_status wn_dit_text_new(struct wn_dit_text **text, struct wn_exec *ex, const struct wn_dit *dit,
                                int n_seq, const float *const *context, const int64_t *n);
void wn_dit_text_free(struct wn_dit_text *text); /* NULL is fine */
size_t wn_dit_text_bytes(const struct wn_dit_text *text);

/* What depends on the latent's size only: the rotary table. Patch grid F x H x W: latent height and width
 * over 2. */
struct wn_dit_grid {
    int64_t F, H, W;
    struct wn_tensor rope; /* [F * H * W, HD] f32, cos and sin interleaved; retained */
};
enum wan_status wn_dit_grid_init(struct wn_dit_grid *grid, struct wn_exec *ex, const struct wn_dit *dit,
                                 int64_t F, int64_t latent_h, int64_t latent_w, int64_t first_frame);
void wn_dit_grid_release(struct wn_dit_grid *grid);

/* Angles of the rotary embedding for tokens with patch coordinates coord[n][3] (frame, row, column): cos and
 * sin of head width `hd`, interleaved, into table [n, hd]. Computed in double. */
void wn_rope_table(float *table, const int64_t (*coord)[3], int64_t n, int hd);
/* emb [n, dim] f32: cos, then sin, of position * 10000^(-i / (dim/2)), computed in double. */
void wn_sinusoid(float *emb, const double *position, int64_t n, int dim);

/* One sequence of a forward. Sequences whose x and t pointers are equal share everything up to the first
 * cross attention. */
struct wn_dit_sequence {
    const float *x;  /* [in_dim, F, latent_h, latent_w], host; an odd last row or column is dropped */
    const double *t; /* timesteps, 0..1000 */
    int64_t n_t;     /* 1, or one for each token */
};

/* v[i]: [out_dim, F, 2 * grid.H, 2 * grid.W] f32 host memory: the flow velocity, noise - x0. `text` was made
 * for the same number of sequences. */
enum wan_status wn_dit_forward(struct wn_exec *ex, const struct wn_dit *dit, const struct wn_dit_grid *grid,
                               const struct wn_dit_text *text, int64_t latent_h, int64_t latent_w,
                               const struct wn_dit_sequence *seq, int n_seq, float *const *v);

/* Pieces of a forward, for tests at true widths: the text of one sequence from rows that are embedded already
 * (rows [n + 1, dim] f32 host memory, the last one standing for all padding, or [n, dim] when n is text_len)
 * ... */
enum wan_status wn_dit_text_from_rows(struct wn_dit_text **text, struct wn_exec *ex, const struct wn_dit *dit,
                                      const float *rows, int64_t n);
/* ... and one block: x [T, dim] f32 (consumed), e0 [1, 6, dim] f32 -> [T, dim] f32. grid->rope [T, HD]. */
struct wn_tensor wn_dit_block_forward(struct wn_exec *ex, const struct wn_dit *dit, int block,
                                      struct wn_tensor x, struct wn_tensor e0, const struct wn_dit_grid *grid,
                                      const struct wn_dit_text *text);

/* Multiply-adds times two of one forward of `tokens` tokens and `text` keys for one sequence: for --plan and
 * bench. */
double wn_dit_flops(const struct wn_dit_config *config, int64_t tokens, int64_t text_keys);

#endif
