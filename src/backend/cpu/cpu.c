/* The cpu device: opening, its operation table, and its buffers. */
#include "backend/cpu/cpu.h"

#include <pthread.h>
#include <string.h>

#include "backend/cpu/rows.h"
#include "base/half.h"
#include "base/mem.h"

/* In front of every buffer's memory; WN_ALIGN bytes, so that what follows stays aligned. */
struct wn_cpu_block {
    struct wn_cpu_block *next; /* while idle */
    size_t bytes;              /* usable ones, after this header */
};

static void *block_memory(struct wn_cpu_block *b)
{
    return (uint8_t *)b + WN_ALIGN;
}

static struct wn_cpu_block *block_of(void *memory)
{
    return (struct wn_cpu_block *)((uint8_t *)memory - WN_ALIGN);
}

/* Free the blocks that have waited longest until at most `keep` idle bytes remain. */
static void shrink_idle(struct wn_cpu *cpu, size_t keep)
{
    size_t kept = 0;
    struct wn_cpu_block **at = &cpu->idle;
    while (keep && *at && kept + (*at)->bytes <= keep) { /* empty ones too go when none are kept */
        kept += (*at)->bytes;
        at = &(*at)->next;
    }
    struct wn_cpu_block *b = *at;
    *at = NULL;
    cpu->idle_bytes = kept;
    while (b) {
        struct wn_cpu_block *next = b->next;
        wn_free(b);
        b = next;
    }
}

/* The smallest idle block that holds `bytes` and wastes at most an eighth; NULL when there is none. */
static struct wn_cpu_block *take_idle(struct wn_cpu *cpu, size_t bytes)
{
    struct wn_cpu_block **best = NULL;
    for (struct wn_cpu_block **at = &cpu->idle; *at; at = &(*at)->next) {
        size_t n = (*at)->bytes;
        if (n >= bytes && n - bytes <= bytes / 8 + 256 && (!best || n < (*best)->bytes)) best = at;
    }
    if (!best) return NULL;
    struct wn_cpu_block *b = *best;
    *best = b->next;
    cpu->idle_bytes -= b->bytes;
    return b;
}

static enum wan_status buf_alloc(struct wn_device *dev, struct wn_buf *buf, struct wn_err *err)
{
    struct wn_cpu *cpu = wn_cpu_of(dev);
    struct wn_cpu_block *b = take_idle(cpu, buf->bytes);
    if (!b) {
        size_t live = wn_size_add(cpu->live_bytes, buf->bytes);
        shrink_idle(cpu, live < cpu->peak_bytes ? cpu->peak_bytes - live : 0);
        b = wn_alloc(wn_size_add(buf->bytes, WN_ALIGN));
        if (!b) return wn_fail_nomem(err, "a tensor", buf->bytes);
        b->bytes = buf->bytes;
    }
    cpu->live_bytes += b->bytes;
    if (cpu->live_bytes > cpu->peak_bytes) cpu->peak_bytes = cpu->live_bytes;
    buf->handle = buf->host = block_memory(b);
    return WAN_OK;
}

static enum wan_status buf_map(struct wn_device *dev, struct wn_buf *buf, const void *data,
                               struct wn_err *err)
{
    (void)dev;
    (void)err;
    buf->handle = buf->host = (void *)(uintptr_t)data; /* `mapped` keeps it from being written */
    return WAN_OK;
}

static void buf_free(struct wn_device *dev, struct wn_buf *buf)
{
    struct wn_cpu *cpu = wn_cpu_of(dev);
    if (buf->mapped || !buf->handle) return;
    struct wn_cpu_block *b = block_of(buf->handle);
    cpu->live_bytes -= b->bytes;
    b->next = cpu->idle;
    cpu->idle = b;
    cpu->idle_bytes += b->bytes;
}

static enum wan_status upload(struct wn_device *dev, struct wn_buf *buf, size_t offset, const void *data,
                              size_t bytes, struct wn_err *err)
{
    (void)dev;
    if (buf->mapped || offset > buf->bytes || bytes > buf->bytes - offset)
        return wn_fail(err, WAN_EINTERNAL, "upload of %zu bytes does not fit its buffer", bytes);
    if (bytes) memcpy((uint8_t *)buf->host + offset, data, bytes);
    return WAN_OK;
}

static enum wan_status download(struct wn_device *dev, const struct wn_buf *buf, size_t offset, void *data,
                                size_t bytes, struct wn_err *err)
{
    if (offset > buf->bytes || bytes > buf->bytes - offset)
        return wn_fail(err, WAN_EINTERNAL, "download of %zu bytes passes the end of its buffer", bytes);
    if (wn_cpu_of(dev)->dry)
        memset(data, 0, bytes);
    else if (bytes)
        memcpy(data, (const uint8_t *)buf->host + offset, bytes);
    return WAN_OK;
}

static enum wan_status sync(struct wn_device *dev, struct wn_err *err)
{
    (void)dev;
    (void)err;
    return WAN_OK; /* operations are done when they return */
}

static void drop_scratch(struct wn_cpu *cpu)
{
    wn_free(cpu->scratch);
    cpu->scratch = NULL;
    cpu->scratch_bytes = 0;
}

static void trim(struct wn_device *dev)
{
    struct wn_cpu *cpu = wn_cpu_of(dev);
    shrink_idle(cpu, 0);
    cpu->peak_bytes = cpu->live_bytes;
    drop_scratch(cpu);
}

static void advise(struct wn_device *dev, const struct wn_buf *buf, size_t offset, size_t bytes, bool soon)
{
    struct wn_cpu *cpu = wn_cpu_of(dev);
    if (!cpu->pages) return;
    (soon ? wn_pages_soon : wn_pages_later)(cpu->pages, (const char *)buf->host + offset, bytes);
}

static void close_cpu(struct wn_device *dev)
{
    struct wn_cpu *cpu = wn_cpu_of(dev);
    wn_pages_free(cpu->pages);
    wn_pool_free(dev->pool);
    shrink_idle(cpu, 0);
    drop_scratch(cpu);
    wn_free(cpu);
}

enum wan_status wn_cpu_scratch(struct wn_cpu *cpu, size_t shared, size_t per_thread, struct wn_err *err)
{
    /* Thread parts start on pages of their own, a cache line off each other's sets. */
    shared = wn_size_add(shared, WN_ALIGN - 1) / WN_ALIGN * WN_ALIGN;
    per_thread = wn_size_add(per_thread, 4095) / 4096 * 4096 + 2 * WN_ALIGN;
    size_t all = wn_size_add(shared, wn_size_mul(per_thread, (size_t)wn_pool_n_threads(cpu->base.pool)));
    if (all > cpu->scratch_bytes) {
        drop_scratch(cpu);
        cpu->scratch = wn_alloc(all);
        if (!cpu->scratch) return wn_fail_nomem(err, "scratch memory", all);
        cpu->scratch_bytes = all;
    }
    cpu->shared_bytes = shared;
    cpu->thread_bytes = per_thread;
    return WAN_OK;
}

enum wan_status wn_cpu_run(struct wn_cpu *cpu, int64_t n_tasks, void (*fn)(void *, int64_t, int), void *arg,
                           struct wn_err *err)
{
    if (cpu->dry) return WAN_OK;
    if (wn_pool_run(cpu->base.pool, n_tasks, fn, arg)) return WAN_OK;
    return wn_fail(err, WAN_ECANCELED, "canceled");
}

/* Products over nothing have no blocks to cut. */
static const char *supports(struct wn_device *dev, int op, const void *args)
{
    (void)dev;
    const struct wn_linear_args *linear = args;
    const struct wn_conv_args *conv = args;
    if ((op == WN_OP_LINEAR && wn_last_dim(linear->x) < 1) || (op == WN_OP_CONV && wn_n_elems(conv->w) < 1))
        return "no inputs to sum over";
    return NULL;
}

static enum wan_status (*const run[WN_OP_COUNT])(struct wn_device *, const void *, struct wn_err *) = {
#define WN_OP(ENUM, name, needs, summary) [WN_OP_##ENUM] = wn_cpu_##name,
#include "backend/ops.def"
};

static const struct wn_device_table table = {
    .name = "cpu",
    .close = close_cpu,
    .buf_alloc = buf_alloc,
    .buf_map = buf_map,
    .buf_free = buf_free,
    .upload = upload,
    .download = download,
    .sync = sync,
    .trim = trim,
    .advise = advise,
    .peak = wn_cpu_peak,
    .supports = supports,
    .run = run,
};

static void fill_f8(void)
{
    for (int i = 0; i < 256; i++) {
        wn_leaf_f8[0][i] = wn_f8e4m3_f32((uint8_t)i);
        wn_leaf_f8[1][i] = wn_f8e5m2_f32((uint8_t)i);
    }
}

/* Fill the leaf table up to the level named, or to the highest present. */
static enum wan_status choose_leaves(struct wn_leaf *leaf, const char *isa, struct wn_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill_f8);
    int n, top = -1;
    const char *const *name = wn_cpu_isa_list(&n);
    for (int i = 0; i < n; i++)
        if (!isa || !strcmp(isa, name[i])) top = i;
    if (top < 0)
        return wn_fail(err, WAN_EUNSUPPORTED,
                       "instruction set '%s' is unknown or not on this machine, which has up to %s", isa,
                       name[n - 1]);
    wn_isa_fill(leaf, top);
    return WAN_OK;
}

enum wan_status wn_cpu_open(struct wn_device **dev, const struct wn_device_params *params, struct wn_err *err)
{
    *dev = NULL;
    struct wn_cpu *cpu = wn_zalloc(sizeof *cpu);
    if (!cpu) return wn_fail_nomem(err, "a device", sizeof *cpu);
    enum wan_status st = choose_leaves(&cpu->leaf, params->isa, err);
    if (!st) st = wn_pool_new(&cpu->base.pool, params->n_threads, err);
    if (!st && !params->dry) st = wn_pages_new(&cpu->pages, err);
    if (st) {
        wn_pool_free(cpu->base.pool);
        wn_free(cpu);
        return st;
    }
    cpu->base.table = &table;
    cpu->dry = params->dry;
    cpu->base.isa = cpu->leaf.isa;
    cpu->base.log = params->log;
    cpu->base.cancelled = params->cancelled;
    cpu->base.cancel_ctx = params->cancel_ctx;
    wn_pool_set_cancel(cpu->base.pool, params->cancelled, params->cancel_ctx);
    wn_logf(&cpu->base.log, WN_LOG_INFO, "cpu: %s leaves, %d threads", cpu->leaf.isa,
            wn_pool_n_threads(cpu->base.pool));
    *dev = &cpu->base;
    return WAN_OK;
}
