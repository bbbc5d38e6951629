/* The cpu device's inner parts: its state, its scratch memory, the product driver, and the operations. */
#ifndef WN_CPU_H
#define WN_CPU_H

#include "backend/cpu/leaf.h"
#include "base/pages.h"
#include "base/thread.h"

struct wn_cpu_block; /* a piece of memory of the buffer cache */

struct wn_cpu {
    struct wn_device base; /* first: a wn_device * is a wn_cpu * */
    struct wn_leaf leaf;
    bool dry;
    struct wn_pages *pages; /* NULL in a dry run */
    /* Freed blocks wait here, the last freed first, for a buffer that they fit. live + idle never exceeds the
     * most that was ever live, so that caching does not raise the peak. */
    struct wn_cpu_block *idle;
    size_t live_bytes, idle_bytes, peak_bytes;
    uint8_t *scratch; /* shared part, then one part for each thread */
    size_t scratch_bytes, shared_bytes, thread_bytes;
};

static inline struct wn_cpu *wn_cpu_of(struct wn_device *dev)
{
    return (struct wn_cpu *)dev;
}

/* Scratch for one operation: contents undefined, lost at the next call. Never called while tasks run. */
enum wan_status wn_cpu_scratch(struct wn_cpu *cpu, size_t shared, size_t per_thread, struct wn_err *err);

static inline uint8_t *wn_cpu_thread_scratch(const struct wn_cpu *cpu, int thread)
{
    return cpu->scratch + cpu->shared_bytes + (size_t)thread * cpu->thread_bytes;
}

/* Run tasks on the device's pool; WAN_ECANCELED when the caller asked to stop. */
enum wan_status wn_cpu_run(struct wn_cpu *cpu, int64_t n_tasks,
                           void (*fn)(void *arg, int64_t task, int thread), void *arg, struct wn_err *err);

/* Fill the leaf table up to the level of that index in wn_cpu_isa_list. */
void wn_isa_fill(struct wn_leaf *leaf, int level);

/* C = A W^T from operands that a caller packs and into a place that a caller knows. */
struct wn_gemm {
    const struct wn_leaf_gemm *leaf;
    int64_t M, N, K;
    int64_t kc; /* run of k packed at a time, a multiple of the leaf's kr; 0: the leaf's */
    const void *ctx;
    size_t tmp_bytes; /* of scratch for one call of pack_a or pack_w */
    /* Rows [m0, m0 + m), inputs [k0, k0 + k), into tiles of round_up(k, kr) * mr elements. */
    void (*pack_a)(const struct wn_gemm *g, void *dst, int64_t m0, int64_t m, int64_t k0, int64_t k,
                   void *tmp);
    /* One panel: columns [n0, n0 + n), n <= nr, all K. */
    void (*pack_w)(const struct wn_gemm *g, void *dst, int64_t n0, int64_t n, void *tmp);
    /* Inputs [k0, k0 + k) of the rows from m0 where they lie as leaf->block_rows reads them; one run. NULL:
     * they do not, or the leaf cannot. Whole tiles are then read from there and only a last part of one is
     * packed. */
    void (*rows)(const struct wn_gemm *g, struct wn_leaf_rows *rows, int64_t m0, int64_t k0, int64_t k);
    /* Finished sums of rows [m0, m0 + m) and columns [n0, n0 + n), ldc apart. */
    void (*finish)(const struct wn_gemm *g, const float *c, int64_t ldc, int64_t m0, int64_t m, int64_t n0,
                   int64_t n);
};
/* `keep` bytes at the start of the shared scratch are the caller's: filled by `prepare` (may be NULL), which
 * is called once the scratch stands and before anything is packed. */
enum wan_status wn_gemm_run(struct wn_cpu *cpu, struct wn_gemm *g, size_t keep,
                            enum wan_status (*prepare)(struct wn_gemm *g, uint8_t *kept, struct wn_err *err),
                            struct wn_err *err);

/* The product for a precision with weights of a type. */
const struct wn_leaf_gemm *wn_leaf_product(const struct wn_leaf *leaf, enum wn_precision precision,
                                           enum wn_dtype w_type);

enum wan_status wn_cpu_peak(struct wn_device *dev, struct wn_peak *peak, struct wn_err *err);
enum wan_status wn_cpu_linear(struct wn_device *dev, const void *args, struct wn_err *err);
enum wan_status wn_cpu_attention(struct wn_device *dev, const void *args, struct wn_err *err);
enum wan_status wn_cpu_conv(struct wn_device *dev, const void *args, struct wn_err *err);

static inline int64_t wn_min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t wn_max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static inline int64_t wn_div_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static inline int64_t wn_round_up(int64_t a, int64_t to)
{
    return wn_div_up(a, to) * to;
}

/* Block length near `most` that divides n evenly, in steps of `step`. */
static inline int64_t wn_even_block(int64_t n, int64_t most, int64_t step)
{
    return wn_round_up(wn_div_up(n, wn_div_up(n, most)), step);
}

#endif
