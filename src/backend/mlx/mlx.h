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
};

const char *wn_mlx_version(void);

enum wan_status wn_mlx_state_new(struct wn_mlx *m, struct wn_err *err);
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
/* Of this device, and of MLX in this process. */
void wn_mlx_counts(struct wn_mlx *m, int64_t *n_evaluations, size_t *peak_bytes);
/* MLX's names of the steps that an evaluation would take now; for tests. */
void wn_mlx_steps(struct wn_device *dev, void (*visit)(void *ctx, const char *name), void *ctx);

#define WN_OP(ENUM, name, needs, summary) \
    enum wan_status wn_mlx_##name(struct wn_device *dev, const void *args, struct wn_err *err);
#include "backend/ops.def"

#ifdef __cplusplus
}
#endif
#endif
