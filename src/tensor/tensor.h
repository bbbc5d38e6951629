/* A tensor: element type, shape, and a place in a buffer that a device owns. Row-major, contiguous, last axis
 * fastest. Tensors are small values and are passed by value; the buffer is counted (see backend/device.h). */
#ifndef WN_TENSOR_H
#define WN_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wn_dtype {
    WN_NONE = 0, /* no tensor: an absent optional argument */
    WN_F32,
    WN_BF16,
    WN_F16,
    WN_F8_E4M3,
    WN_F8_E5M2,
    WN_F64,
    WN_I64,
    WN_I32,
    WN_U32,
    WN_I16,
    WN_I8,
    WN_U8,
    WN_BOOL,
    WN_DTYPE_COUNT
};

enum { WN_MAX_DIMS = 8 };

struct wn_buf;

struct wn_tensor {
    enum wn_dtype type;
    int n_dims;
    int64_t dim[WN_MAX_DIMS];
    struct wn_buf *buf;
    size_t offset; /* bytes from the buffer's start; any alignment */
};

const char *wn_dtype_name(enum wn_dtype type); /* safetensors' names: "F32", "BF16", "F8_E4M3", … */
size_t wn_dtype_size(enum wn_dtype type);      /* bytes of one element; 0 for WN_NONE */
bool wn_dtype_is_float(enum wn_dtype type);
enum wn_dtype wn_dtype_parse(const char *name); /* from a safetensors name; WN_NONE when unknown */

/* A shape without a place. `dim` lists n_dims extents. */
struct wn_tensor wn_shape(enum wn_dtype type, int n_dims, const int64_t *dim);
#define wn_shape_of(type, ...) \
    wn_shape(type, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]){__VA_ARGS__})

static inline bool wn_has(struct wn_tensor t)
{
    return t.type != WN_NONE;
}
int64_t wn_n_elems(struct wn_tensor t);
size_t wn_n_bytes(struct wn_tensor t);
int64_t wn_last_dim(struct wn_tensor t); /* 1 for a scalar */
int64_t wn_n_rows(struct wn_tensor t);   /* product of all but the last extent */
bool wn_same_shape(struct wn_tensor a, struct wn_tensor b);
/* "[24, 1560, 128] BF16" into text; returns text. */
enum { WN_SHAPE_TEXT = 160 };
char *wn_shape_text(struct wn_tensor t, char text[WN_SHAPE_TEXT]);

/* Views: the same buffer seen differently. reshape needs the same element count. rows gives [begin, end) of
 * axis 0. */
struct wn_tensor wn_reshape(struct wn_tensor t, int n_dims, const int64_t *dim);
#define wn_reshape_to(t, ...) \
    wn_reshape(t, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]){__VA_ARGS__})
struct wn_tensor wn_rows(struct wn_tensor t, int64_t begin, int64_t end);

#endif
