/* The pickles that torch.save writes, read as plain data. Nothing in a pickle is ever executed: the few
 * classes and functions that state dicts name are recognised, any other is an error. */
#ifndef WN_IO_PICKLE_H
#define WN_IO_PICKLE_H

#include <stdbool.h>

#include "base/status.h"
#include "tensor/tensor.h"

/* Far above the pickle of any model (T5: 60 KB), low enough that a hostile one stays below a gigabyte. */
enum { WN_PICKLE_MAX_BYTES = 32 << 20, WN_PICKLE_MAX_VALUES = 2 * 1000 * 1000 };

enum wn_pickle_kind {
    WN_PICKLE_NONE,
    WN_PICKLE_BOOL,
    WN_PICKLE_INT,
    WN_PICKLE_FLOAT,
    WN_PICKLE_STR,
    WN_PICKLE_BYTES,
    WN_PICKLE_TUPLE,
    WN_PICKLE_LIST,
    WN_PICKLE_DICT,
    WN_PICKLE_GLOBAL, /* a function, class or dtype of the known ones */
    WN_PICKLE_STORAGE,
    WN_PICKLE_TENSOR,
    WN_PICKLE_OPAQUE /* a device: nothing that matters here */
};

struct wn_pickle_text {
    const char *s; /* inside the pickle, not NUL-terminated */
    size_t n;
};

/* A file entry that holds elements. */
struct wn_pickle_storage {
    struct wn_pickle_text key;
    enum wn_dtype type; /* WN_NONE: bytes (the tensor says of what) */
    int64_t numel;      /* elements, or bytes of an untyped storage; not negative */
};

struct wn_pickle_tensor {
    const struct wn_pickle_storage *storage;
    enum wn_dtype type;
    int64_t offset; /* elements; this and the next are as found, unchecked */
    int n_dims;
    int64_t dim[WN_MAX_DIMS], stride[WN_MAX_DIMS];
};

struct wn_pv {
    enum wn_pickle_kind kind;
    union {
        int64_t i; /* INT, BOOL */
        double f;
        struct wn_pickle_text text; /* STR, BYTES */
        struct {
            struct wn_pv **item; /* DICT: key, value, key, value, …, as they were set */
            size_t n, cap;
        } seq; /* TUPLE, LIST, DICT; may be shared and may contain itself */
        const struct wn_pickle_global *global;
        struct wn_pickle_storage storage;
        struct wn_pickle_tensor *tensor;
    };
};

struct wn_pickle_chunk;
struct wn_pickle {
    struct wn_pv *root;
    struct wn_pickle_chunk *chunks; /* owns all values */
};

/* `data` [n bytes] must outlive the result. `path` is for messages. */
enum wan_status wn_pickle_read(struct wn_pickle *pickle, const uint8_t *data, size_t n, const char *path,
                               struct wn_err *err);
void wn_pickle_release(struct wn_pickle *pickle); /* fine on a zeroed struct */

#endif
