/* What the implementation files of the public API share. */
#ifndef WN_LIB_H
#define WN_LIB_H

#include "base/log.h"
#include "ops/exec.h"
#include "pipe/parts.h"
#include "wan/parts.h"
#include "wan/wan.h"

struct wan_context {
    struct wn_device *dev;
    struct wn_err err;
    struct wn_log log;
    struct wan_context_params params; /* strings not kept */
    char device_text[96];
    char maker[160]; /* build, device and instruction set: what the bits of results depend on */
};

/* Start of every public call: forget the last failure. */
struct wn_err *wn_enter(struct wan_context *ctx);

/* "f32", "f32x", "bf16" -> precision; NULL -> `otherwise`; anything else fails, naming `option`. */
enum wan_status wn_precision_parse(const char *name, enum wn_precision otherwise, const char *option,
                                   enum wn_precision *out, struct wn_err *err);

/* "torch-cpu", "torch-cuda[:SMS[:THREADS_PER_SM]]" (NULL: torch-cpu): n normal floats from `seed`. */
enum wan_status wn_noise_draw(const char *rng, int64_t seed, float *out, int64_t n, struct wn_err *err);

struct wan_tensors {
    struct wn_weights *file; /* read from a file, or NULL */
    struct wan_array *item;  /* added; each owns its name and data */
    size_t n, cap;
};

/* Find a tensor of `n_dims` axes (negative: any) as float32 in new memory (wn_free). The failure names it. */
enum wan_status wn_tensors_f32(const struct wan_tensors *t, const char *name, int n_dims, float **data,
                               struct wan_array *info, struct wn_err *err);
/* Likewise I64 (I32 is widened). */
enum wan_status wn_tensors_i64(const struct wan_tensors *t, const char *name, int n_dims, int64_t **data,
                               struct wan_array *info, struct wn_err *err);
enum wan_status wn_tensors_put(struct wan_tensors *t, const char *name, struct wn_tensor shape,
                               const void *data, struct wn_err *err);
int64_t wn_array_elems(const struct wan_array *a);

#endif
