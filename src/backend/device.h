/* The contract between operations and a device (ref, cpu, mlx, cuda): buffers that the device owns, and one
 * function for each operation. Nothing here knows what a transformer is.
 *
 * A buffer is a count, a size and a handle that means something to its device only. On ref and cpu the handle
 * is the address of memory and `host` equals it. A device with lazy, immutable arrays (MLX) puts an array in
 * `handle` when an operation runs, and frees it in buf_free; it never needs the address. Operations fill
 * args->out, whose buffer has been given by buf_alloc; where args->add is consumed, args->out names the same
 * buffer, and such a device replaces the buffer's array by the new one.
 */
#ifndef WN_DEVICE_H
#define WN_DEVICE_H

#include "base/log.h"
#include "base/status.h"
#include "tensor/tensor.h"

enum wn_precision { WN_PREC_DEFAULT, WN_PREC_F32, WN_PREC_F32X, WN_PREC_BF16 };

struct wn_device;
struct wn_pool;

struct wn_buf {
    struct wn_device *dev;
    size_t bytes;
    void *handle; /* the device's */
    void *host;   /* the address, when the device's memory is host memory; else NULL */
    int n_refs;
    bool later;                  /* of wn_buf_later: no pages of a file */
    bool empty;                  /* and not filled: the device knows nothing of it */
    bool mapped;                 /* memory of a file or of the caller: read-only, not freed with the buffer */
    struct wn_buf *next, **link; /* in a scope's list; link NULL: in none */
};

/* What a machine can do at most, measured on all of a device's threads together. 0: not there, or not
 * measured. */
struct wn_peak {
    double f32_flops;  /* vector multiply-adds in float32, from registers */
    double f32x_flops; /* float32-grade products in the way that the device makes them */
    double bf16_flops; /* products of bf16 on a unit for them, operands in the first cache */
    double read_bytes; /* a second, from main memory */
};

/* FLOP/s that products of this precision are measured against; 0: not known. */
double wn_peak_flops(const struct wn_peak *peak, enum wn_precision precision);

/* Bytes held for a device's work, the library's own memory included. */
struct wn_memory {
    size_t used, peak;
    size_t least; /* of a dry device: the peak where it waits rather than hold what is done with; else the
                     peak */
    size_t limit; /* what the device may hold; 0: not told */
};

/* Every function returns a status and records a sentence in err. `args` is the operation's argument struct
 * (op.h), checked and with `out` allocated. */
struct wn_device_table {
    const char *name;
    void (*close)(struct wn_device *dev);
    enum wan_status (*buf_alloc)(struct wn_device *dev, struct wn_buf *buf, struct wn_err *err);
    enum wan_status (*buf_map)(struct wn_device *dev, struct wn_buf *buf, const void *data,
                               struct wn_err *err);
    void (*buf_free)(struct wn_device *dev, struct wn_buf *buf);
    enum wan_status (*upload)(struct wn_device *dev, struct wn_buf *buf, size_t offset, const void *data,
                              size_t bytes, struct wn_err *err);
    enum wan_status (*download)(struct wn_device *dev, const struct wn_buf *buf, size_t offset, void *data,
                                size_t bytes, struct wn_err *err);
    void (*scope_begin)(struct wn_device *dev);
    enum wan_status (*scope_end)(struct wn_device *dev,
                                 struct wn_err *err); /* the scope's buffers are freed */
    enum wan_status (*sync)(struct wn_device *dev, struct wn_err *err);
    void (*trim)(struct wn_device *dev); /* give cached free memory back */
    /* Advice about a part of a mapped buffer: it is read soon, or not before others are. NULL: not taken. */
    void (*advise)(struct wn_device *dev, const struct wn_buf *buf, size_t offset, size_t bytes, bool soon);
    /* Mapped memory is not needed for a while: what was made of it goes. NULL: nothing is. */
    void (*buf_rest)(struct wn_device *dev, struct wn_buf *buf);
    /* Add what is held beside the library's own memory, and begin a new peak. NULL: nothing is held. */
    void (*memory)(struct wn_device *dev, struct wn_memory *memory);
    void (*reset_peak)(struct wn_device *dev);
    /* Takes about a second; NULL where the device cannot tell. */
    enum wan_status (*peak)(struct wn_device *dev, struct wn_peak *peak, struct wn_err *err);
    /* NULL when the device can run the operation with these arguments, else why not, in a few words. */
    const char *(*supports)(struct wn_device *dev, int op, const void *args);
    enum wan_status (*const *run)(struct wn_device *dev, const void *args,
                                  struct wn_err *err); /* [WN_OP_COUNT] */
};

struct wn_device {
    const struct wn_device_table *table;
    const char *isa;      /* level in use: "avx2"; "" where that means nothing */
    struct wn_pool *pool; /* NULL where the device needs none */
    struct wn_log log;
    bool trace;                  /* log each operation, waited for */
    bool dry;                    /* nothing is computed: see wn_device_params */
    int (*cancelled)(void *ctx); /* asked at least once a second while an operation runs; NULL: never */
    void *cancel_ctx;
};

struct wn_device_params {
    const char *name;  /* "auto", "ref", "cpu", "mlx"; NULL: auto */
    const char *isa;   /* highest level to use: "portable", "avx2", "neon", …; NULL: the best there is */
    int n_threads;     /* 0: one for each core */
    size_t max_memory; /* bytes the library may hold; 0: no limit */
    bool dry; /* memory is allocated, or counted, as in a real run, and nothing is computed: downloads give
                 zeros. For plans; cpu and mlx */
    struct wn_log log;
    int (*cancelled)(void *ctx);
    void *cancel_ctx;
};

enum wan_status wn_device_open(struct wn_device **dev, const struct wn_device_params *params,
                               struct wn_err *err);
void wn_device_close(struct wn_device *dev); /* NULL is fine */
struct wn_memory wn_device_memory(struct wn_device *dev);
void wn_device_reset_peak(struct wn_device *dev);
bool wn_device_built(const char *name); /* is a device of this name in this build? */

/* Levels this build knows and this machine can run, lowest first; *n is set. */
const char *const *wn_cpu_isa_list(int *n);

/* Used by wn_device_open. */
enum wan_status wn_ref_open(struct wn_device **dev, const struct wn_device_params *params,
                            struct wn_err *err);
enum wan_status wn_cpu_open(struct wn_device **dev, const struct wn_device_params *params,
                            struct wn_err *err);
enum wan_status wn_mlx_open(struct wn_device **dev, const struct wn_device_params *params,
                            struct wn_err *err);
bool wn_mlx_has_gpu(void); /* is there a GPU that MLX can use? */

/* Address of a tensor's first element on a host-memory device. */
static inline void *wn_host(struct wn_tensor t)
{
    return (char *)t.buf->host + t.offset;
}

/* Count of buffers (not scopes): retain adds one reference, release drops one and frees at zero. */
void wn_buf_retain(struct wn_buf *buf);
void wn_buf_release(struct wn_buf *buf);
enum wan_status wn_buf_new(struct wn_buf **buf, struct wn_device *dev, size_t bytes, struct wn_err *err);
enum wan_status wn_buf_map(struct wn_buf **buf, struct wn_device *dev, size_t bytes, const void *data,
                           struct wn_err *err);
/* A buffer for memory that is not there yet. wn_buf_fill maps it, wn_buf_empty forgets it, any number of
 * times; an empty one is only good for wn_buf_release. */
enum wan_status wn_buf_later(struct wn_buf **buf, struct wn_device *dev, size_t bytes, struct wn_err *err);
enum wan_status wn_buf_fill(struct wn_buf *buf, const void *data, struct wn_err *err);
void wn_buf_empty(struct wn_buf *buf);

#endif
