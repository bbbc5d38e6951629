/* UMT5 text encoder (spec: Raffel et al. 2020, gated GELU, a relative position table in every layer). */
#ifndef WN_MODEL_T5_H
#define WN_MODEL_T5_H

#include "io/weights.h"
#include "ops/exec.h"

struct wn_t5;

/* Widths come from tensor shapes: heads from the position table [32, heads], head width from attention width
 * / heads. `weights` must outlive the model. */
enum wan_status wn_t5_new(struct wn_t5 **t5, struct wn_device *dev, const struct wn_weights *weights,
                          struct wn_err *err);
void wn_t5_free(struct wn_t5 *t5); /* NULL is fine */
void wn_t5_rest(struct wn_t5 *t5); /* not needed for a while: what the device made of the weights may go */

int64_t wn_t5_width(const struct wn_t5 *t5);
int64_t wn_t5_vocab(const struct wn_t5 *t5);
int wn_t5_n_layers(const struct wn_t5 *t5);

/* Encode n ids, real tokens only, to [n, width] f32 in the current scope. Ids are checked against the
 * vocabulary. */
struct wn_tensor wn_t5_encode(struct wn_exec *ex, const struct wn_t5 *t5, const int32_t *ids, int64_t n);

struct wn_t5_text {
    const int32_t *ids; /* [n] */
    int64_t n;
    float *rows; /* [n, width] host memory, filled */
};
/* Told after each layer. */
struct wn_t5_listener {
    void (*on_layer)(void *ctx, int done, int n_layers); /* NULL: nobody is */
    void *ctx;
};
/* Several texts. Each gets the bytes that it gets alone: they go through the layers one after the other, not
 * as the rows of one product. Layer by layer, so that the weights come from the disk once. */
void wn_t5_encode_all(struct wn_exec *ex, const struct wn_t5 *t5, const struct wn_t5_text *text, size_t n,
                      struct wn_t5_listener listener);

#endif
