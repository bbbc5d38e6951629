/* The mlx device: arrays and operations of the MLX library. mlx.c is the device; shim.cpp holds every call
 * into MLX, behind the C functions below. None lets an exception out: each becomes a status.
 *
 * MLX arrays are lazy and never change. A buffer's handle is a slot that holds one array; an operation puts a
 * new array there, which is a formula until it is evaluated. The device keeps a list of the slots with such
 * arrays and evaluates all that still live when a scope ends, or when a host address is needed: what a block
 * made and dropped is then a step of the computation and no result.
 */
#ifndef WN_MLX_H
#define WN_MLX_H

#ifdef __cplusplus
extern "C" {
#endif

#include "backend/op.h"

struct wn_mlx_state; /* the stream, and the slots to evaluate */

struct wn_mlx {
    struct wn_device base; /* first: a wn_device * is a wn_mlx * */
    struct wn_mlx_state *state;
    bool gpu;
    bool fast; /* MLX's own norms and BF16 products, as a GPU has them, not the exact ones that its CPU needs
                */
    bool compiled; /* steps between products are joined to one by mlx::core::compile */
};

const char *wn_mlx_version(void);

/* Of the parameters: max_memory and dry. */
enum wan_status wn_mlx_state_new(struct wn_mlx *m, const struct wn_device_params *params, struct wn_err *err);
void wn_mlx_state_free(struct wn_mlx *m);

/* The device table's. */
enum wan_status wn_mlx_alloc(struct wn_device *dev, struct wn_buf *buf, struct wn_err *err);
enum wan_status wn_mlx_map(struct wn_device *dev, struct wn_buf *buf, const void *data, struct wn_err *err);
void wn_mlx_release(struct wn_device *dev, struct wn_buf *buf);
enum wan_status wn_mlx_upload(struct wn_device *dev, struct wn_buf *buf, size_t offset, const void *data,
                              size_t bytes, struct wn_err *err);
enum wan_status wn_mlx_download(struct wn_device *dev, const struct wn_buf *buf, size_t offset, void *data,
                                size_t bytes, struct wn_err *err);
/* Evaluates what is pending and waits for it, asking the device's owner whether to stop. */
enum wan_status wn_mlx_evaluate(struct wn_device *dev, struct wn_err *err);
void wn_mlx_trim(struct wn_device *dev);
void wn_mlx_rest(struct wn_device *dev, struct wn_buf *buf);
void wn_mlx_memory(struct wn_device *dev, struct wn_memory *memory); /* of MLX in this process */
void wn_mlx_reset_peak(struct wn_device *dev);

int64_t wn_mlx_n_evaluations(struct wn_device *dev);
/* MLX's names of the steps that an evaluation would take now; a view looks at elements that are there. For
 * tests. */
void wn_mlx_steps(struct wn_device *dev, void (*visit)(void *ctx, const char *name, bool view), void *ctx);

#define WN_OP(ENUM, name, needs, summary) \
    enum wan_status wn_mlx_##name(struct wn_device *dev, const void *args, struct wn_err *err);
#include "backend/ops.def"

#ifdef __cplusplus
}
#endif
#endif
