/* The exec: where operations run and how. Model code takes one and hands it to every operation; the first
 * failure sticks in it and later operations do nothing, so model code checks once per block. Not thread-safe.
 */
#ifndef WN_EXEC_H
#define WN_EXEC_H

#include "backend/device.h"
#include "base/log.h"

struct wn_tape; /* gradient tape (training); none exists yet: the pointer is NULL and operations run for
                   inference */

/* A list of the buffers made since wn_scope_begin. */
struct wn_scope {
    struct wn_scope *parent;
    struct wn_buf *first;
};

struct wn_exec {
    struct wn_device *dev;
    enum wn_precision precision; /* of products, where an operation names none */
    struct wn_tape *tape;
    struct wn_scope *scope; /* innermost; NULL: buffers live until released by hand */
    struct wn_err err;
    const struct wn_log *log;
    /* Called with intermediates that have a name (wn_name), for `wan eval --dump`; may be NULL. */
    void (*on_named)(void *ctx, struct wn_exec *ex, const char *name, struct wn_tensor t);
    void *on_named_ctx;
    /* Called after each operation with its argument struct and seconds, for benches and profiles; may be
     * NULL. */
    void (*on_op)(void *ctx, int op, const void *args, struct wn_tensor out, double seconds);
    void *on_op_ctx;
};

static inline bool wn_ok(const struct wn_exec *ex)
{
    return ex->err.code == WAN_OK;
}

/* Buffers made between begin and end are freed at end, save those whose tensors are passed to wn_keep: these
 * move to the enclosing scope. Scopes nest; `scope` is the caller's, usually on its stack. */
void wn_scope_begin(struct wn_exec *ex, struct wn_scope *scope);
struct wn_tensor wn_keep(struct wn_exec *ex, struct wn_tensor t); /* returns t; absent tensors are fine */
void wn_scope_end(struct wn_exec *ex, struct wn_scope *scope);

/* A new, unfilled tensor of t's shape on the exec's device, owned by the current scope. */
struct wn_tensor wn_new(struct wn_exec *ex, struct wn_tensor shape);
/* Give the memory of a tensor back before its scope ends. */
void wn_drop(struct wn_exec *ex, struct wn_tensor t);

/* Host memory to the device (copied) and back. `data` holds wn_n_bytes(shape). Download waits for the result.
 */
struct wn_tensor wn_upload(struct wn_exec *ex, struct wn_tensor shape, const void *data);
enum wan_status wn_download(struct wn_exec *ex, struct wn_tensor t, void *data);
/* Memory that outlives the tensor (a mapped file), used in place where the device can. Release with wn_unmap.
 */
struct wn_tensor wn_map_tensor(struct wn_device *dev, struct wn_tensor shape, const void *data,
                               struct wn_err *err);
void wn_unmap(struct wn_tensor t);
/* Advice about weights: they are read soon, or not before others are. Absent tensors are fine. */
void wn_advise(struct wn_exec *ex, struct wn_tensor t, bool soon);
/* A tensor that belongs to no scope, until wn_release (text K/V, caches): takes the buffer out of its scope.
 */
struct wn_tensor wn_retain(struct wn_exec *ex, struct wn_tensor t);
void wn_release(struct wn_tensor t);

/* Give an intermediate a name for --dump. printf format. */
void wn_name(struct wn_exec *ex, struct wn_tensor t, const char *fmt, ...) WN_PRINTF(3, 4);

/* Record a failure from model code. */
enum wan_status wn_exec_fail(struct wn_exec *ex, enum wan_status code, const char *fmt, ...) WN_PRINTF(3, 4);

#endif
