/* Taking a model's tensors from a weight set: found by name, checked against the shape the model expects,
 * mapped on a device, and remembered so that one call gives them back. */
#ifndef WN_MODEL_LOAD_H
#define WN_MODEL_LOAD_H

#include "io/weights.h"
#include "ops/exec.h"

struct wn_loader {
    struct wn_device *dev;
    const struct wn_weights *weights;
    const char *prefix; /* put before every name; "" for none */
    struct wn_err *err; /* first failure; later calls do nothing */
    struct wn_tensor *item;
    size_t n, cap;
    struct wn_made *made; /* tensors that are packed in the file: their memory is made when they are needed */
    size_t n_made, cap_made;
};

/* A weight product's matrix and bias. */
struct wn_lin {
    struct wn_tensor w, b;
};

/* The tensor `fmt…` with the extents given (each -1: any), terminated by the count. Absent or misshapen: a
 * failure that names file, tensor and both shapes. */
struct wn_tensor wn_load(struct wn_loader *ld, int n_dims, const int64_t *dim, const char *fmt, ...)
    WN_PRINTF(4, 5);
/* NAME.weight with the extents given and NAME.bias [dim[0]]. */
struct wn_lin wn_load_lin(struct wn_loader *ld, int n_dims, const int64_t *dim, const char *fmt, ...)
    WN_PRINTF(4, 5);
/* Is NAME there? */
bool wn_load_has(const struct wn_loader *ld, const char *fmt, ...) WN_PRINTF(2, 3);
/* The tensor's record in the file (NULL and a failure when it is absent). */
const struct wn_weight *wn_load_find(struct wn_loader *ld, const char *fmt, ...) WN_PRINTF(2, 3);

/* All elements of a record as float32. */
enum wan_status wn_load_floats(const struct wn_weight *w, float *out, struct wn_err *err);

/* To be called before the tensors are used: those that are packed in the file (wn_weight.packed) get memory
 * of their own. Nothing to do where none is, or all are. */
enum wan_status wn_loader_wake(const struct wn_loader *ld, struct wn_err *err);
/* Not needed for a while: that memory goes, and what the device made of the tensors. */
void wn_loader_rest(const struct wn_loader *ld);
void wn_loader_release(struct wn_loader *ld); /* gives every tensor back */

#define WN_DIMS(...)                                                             \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]) \
    {                                                                            \
        __VA_ARGS__                                                              \
    }

#endif
