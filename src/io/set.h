/* A weight set while it is being read: what the readers of single files fill. Private to src/io. */
#ifndef WN_IO_SET_H
#define WN_IO_SET_H

#include <stdbool.h>

#include "io/weights.h"

/* More tensors than any model has; keeps hostile files from costing gigabytes. */
enum { WN_MAX_TENSORS = 1 << 18 };

struct wn_weights {
    char *path;
    struct wn_map *map; /* the files; their `path` is what wn_weight.file points to */
    size_t n_maps, cap_maps;
    struct wn_weight *item; /* in name order once open */
    size_t n, cap;
    void **owned; /* names, and tensor data that could not stay in place */
    size_t n_owned, cap_owned;
    char **meta; /* key, value, key, value, …: owned */
    size_t n_meta, cap_meta;
    size_t copied; /* bytes of tensor data in `owned` */
};

/* Room for one more element in an array that doubles; false: out of memory. */
bool wn_grow(void **array, size_t n, size_t *cap, size_t size);

bool wn_is_utf8(const char *s);

/* A copy of name[n] that lives as long as the set; NULL: out of memory (recorded). */
char *wn_set_name(struct wn_weights *w, const char *name, size_t n, struct wn_err *err);
/* `p` (from wn_alloc) is freed with the set, and at once when this fails. */
enum wan_status wn_set_own(struct wn_weights *w, void *p, struct wn_err *err);
enum wan_status wn_set_add(struct wn_weights *w, const struct wn_weight *t, struct wn_err *err);
/* Tensors in name order; two of one name are WAN_EFORMAT. */
enum wan_status wn_set_sort(struct wn_weights *w, struct wn_err *err);
/* Keeps the first value of a key. */
enum wan_status wn_set_metadata(struct wn_weights *w, const char *key, const char *value, struct wn_err *err);

/* Readers of one mapped file (which belongs to `w`): add its tensors. */
enum wan_status wn_safetensors_load(struct wn_weights *w, const struct wn_map *map, struct wn_err *err);
enum wan_status wn_pth_load(struct wn_weights *w, const struct wn_map *map, struct wn_err *err);

/* A set from one file that is mapped already, by whatever means; it borrows `map`. */
enum wan_status wn_set_open_map(struct wn_weights **w, const struct wn_map *map, struct wn_err *err);

#endif
