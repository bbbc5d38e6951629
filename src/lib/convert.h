/* Making the files of another layout from the weights of a part: what wan_convert is put together from. */
#ifndef WN_LIB_CONVERT_H
#define WN_LIB_CONVERT_H

#include "io/checkpoint.h"
#include "io/dialect.h"

/* How tensors are to be stored. */
struct wn_store {
    enum wn_dialect dialect;
    enum wn_dtype type; /* of transformer and text encoder; WN_NONE: as they are stored */
    int bits;           /* 4 or 8: quantise the matrices of the transformer's blocks; 0: do not */
    int group;          /* elements of a group */
};

/* One output file: tensors and where they come from. */
struct wn_part_file;
/* `w` stays the caller's and outlives the file. */
enum wan_status wn_part_file_new(struct wn_part_file **file, const struct wn_weights *w, enum wn_part part,
                                 const struct wn_store *store, struct wn_err *err);
void wn_part_file_free(struct wn_part_file *file); /* NULL is fine */
size_t wn_part_file_bytes(const struct wn_part_file *file);
size_t wn_part_file_n_tensors(const struct wn_part_file *file);
/* Write it. `tick` is told before each panel that `bytes` more are being written, of tensor number `tensor`;
 * what it returns other than WAN_OK stops. */
enum wan_status wn_part_file_write(struct wn_part_file *file, const char *path, const char *const *metadata,
                                   enum wan_status (*tick)(void *ctx, size_t tensor, size_t bytes,
                                                           struct wn_err *err),
                                   void *ctx, struct wn_err *err);

#endif
