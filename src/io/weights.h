/* Weight files as found: named tensors mapped in place, read-only, in the type they are stored in. */
#ifndef WN_IO_WEIGHTS_H
#define WN_IO_WEIGHTS_H

#include "base/file.h"
#include "base/status.h"
#include "tensor/tensor.h"

/* One tensor of a weight file. */
struct wn_weight {
    const char *name;
    enum wn_dtype type;
    int n_dims;
    int64_t dim[WN_MAX_DIMS];
    const void *data; /* inside a mapped file (any alignment), or memory of the set when the file's layout is
                         not ours; NULL where `packed` */
    size_t bytes;     /* of the tensor: its extents times its type */
    const char *file; /* path of the file it came from, for messages */
    const struct wn_packed *packed; /* NULL: `data` holds the elements, row-major. Else they are stored in
                                       another order, or quantised, and wn_weight_read makes them */
};

struct wn_weights; /* a set of tensors from one or several files; immutable once open; shareable between
                      threads */

/* `path`: a .safetensors file, a .pth/.pt/.ckpt zip archive, an index (.safetensors.index.json: all its
 * shards), or a folder (its index, else all its .safetensors files). The kind is decided by content, not by
 * extension. Everything read from the file is checked: offsets, sizes, overlaps, shapes times type,
 * duplicates. */
enum wan_status wn_weights_open(struct wn_weights **w, const char *path, struct wn_err *err);
/* Several files as one set; `path` is what they are called together. */
enum wan_status wn_weights_open_files(struct wn_weights **w, const char *path, const char *const *files,
                                      size_t n, struct wn_err *err);
void wn_weights_close(struct wn_weights *w); /* NULL is fine */

/* Keep only the tensors whose names start with `prefix`, without it. Before the set is shared. */
void wn_weights_strip_prefix(struct wn_weights *w, const char *prefix);

size_t wn_weights_count(const struct wn_weights *w);
const struct wn_weight *wn_weights_at(const struct wn_weights *w, size_t i);           /* in name order */
const struct wn_weight *wn_weights_find(const struct wn_weights *w, const char *name); /* NULL: not there */
const char *wn_weights_path(const struct wn_weights *w);
/* A value of the safetensors __metadata__ object, or NULL. */
const char *wn_weights_metadata(const struct wn_weights *w, const char *key);
int64_t wn_weights_n_elems(const struct wn_weights *w); /* parameters in all */
size_t wn_weights_n_bytes(const struct wn_weights *w);  /* bytes of tensor data mapped: as stored */
size_t
wn_weights_n_packed(const struct wn_weights *w); /* bytes that packed tensors take when they are made */
/* Tells sets of weights apart without reading them whole: names, types, shapes, and a few bytes from the
 * beginning, middle and end of every tensor. */
uint64_t wn_weights_fingerprint(const struct wn_weights *w);
/* Pages of all tensors may leave this process (they stay in the page cache): between the experts of a run,
 * after T5. */
void wn_weights_release_pages(const struct wn_weights *w);

/* Rows [first, first + n) of a tensor's axis 0 (a scalar is one row) into `out`, in its type, row-major. */
void wn_weight_read(const struct wn_weight *t, int64_t first, int64_t n, void *out);
int64_t wn_weight_n_rows(const struct wn_weight *t); /* extent of axis 0; 1 for a scalar */
size_t wn_weight_stored_bytes(const struct wn_weight *t);
int wn_weight_bits(const struct wn_weight *t); /* of a quantised element; 0: it is not */

/* type × dims in bytes; false when an extent is negative or the product passes 2^62 (zero extents count as 1
 * there, so that any partial product is safe to compute). */
bool wn_shape_bytes(enum wn_dtype type, int n_dims, const int64_t *dim, size_t *bytes);

/* Write tensors to a safetensors file, whole or not at all. */
enum wan_status wn_safetensors_write(const char *path, const struct wn_weight *tensors, size_t n,
                                     const char *const *metadata, /* key, value, …, NULL; may be NULL */
                                     struct wn_err *err);

/* The same of tensors that are made while they are written: `data` of the tensors is not looked at. `rows`
 * puts rows [first, first + n) of axis 0 of tensors[i] into `out`; it is called for all rows of a tensor in
 * turn, for as many as fit in WN_PANEL_BYTES and at least one. */
enum { WN_PANEL_BYTES = 4 << 20 };
struct wn_row_source {
    enum wan_status (*rows)(void *ctx, size_t i, int64_t first, int64_t n, void *out, struct wn_err *err);
    void *ctx;
};
enum wan_status wn_safetensors_stream(const char *path, const struct wn_weight *tensors, size_t n,
                                      const char *const *metadata, const struct wn_row_source *source,
                                      struct wn_err *err);

#endif
