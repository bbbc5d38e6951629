/* Tensors that are not stored element after element in our order. Private to src/io. */
#ifndef WN_IO_PACKED_H
#define WN_IO_PACKED_H

#include "io/weights.h"

enum wn_packing {
    WN_PACKED_CHANNELS_LAST, /* a convolution's weight [out, taps, in], which is [out, in, taps] here */
    WN_PACKED_GROUPS         /* MLX's affine quantisation: w = scale * q + bias, for each group of a row */
};

struct wn_packed {
    enum wn_packing kind;
    const void *data; /* the stored elements: channels last, or the integers q, packed into 32-bit words from
                         the lowest bits up */
    size_t bytes;
    /* CHANNELS_LAST */
    int64_t n_in, n_taps;
    /* GROUPS */
    int bits;                    /* 4 or 8 */
    int64_t group, n_groups;     /* elements of a group; groups of a row */
    const void *scales, *biases; /* [rows, n_groups] of the tensor's type */
    size_t group_bytes;          /* of each of the two */
};

#endif
