/* Names, axis order and quantised groups of models that were converted for MLX, to and from the official
 * ones. What such files hold is told in docs/files.md. */
#ifndef WN_IO_DIALECT_H
#define WN_IO_DIALECT_H

#include <stdbool.h>

#include "io/checkpoint.h"
#include "io/weights.h"

/* The tensors of a set under the names that official files have. Nothing changes where they have them. Before
 * the set is shared. */
enum wan_status wn_dialect_names(struct wn_weights *w, struct wn_err *err);
/* Then, of a set with official names: shapes as official; convolution weights whose channels are last and
 * quantised groups become packed tensors. What a config.json beside the file says of the groups is heard. */
enum wan_status wn_dialect_layout(struct wn_weights *w, struct wn_err *err);

enum wn_dialect {
    WN_DIALECT_MLX,      /* names of mlx.nn modules: what PyTorch calls a Sequential has `.layers.N.` */
    WN_DIALECT_MLX_VIDEO /* of the program mlx_video */
};
enum { WN_DIALECT_NAME_BYTES = 256 };

/* What tensor `t`, of official name and shape, is in a dialect: its name into `name`, its shape into *out
 * (type and name are left), and whether a convolution's channels move to the end. */
void wn_dialect_tensor(enum wn_dialect dialect, enum wn_part part, enum wn_vae_kind vae,
                       const struct wn_weight *t, char name[WN_DIALECT_NAME_BYTES], struct wn_weight *out,
                       bool *channels_last);

#endif
