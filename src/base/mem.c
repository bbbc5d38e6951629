#define _GNU_SOURCE /* MAP_ANONYMOUS, madvise */
#include "base/mem.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Each block is preceded by WN_ALIGN bytes that hold its size and the address to hand back to the hook, or
 * the extent of its own mapping. */
struct header {
    void *base;
    size_t bytes, mapped; /* mapped 0: from the hook */
};

/* Large blocks are mappings of their own: freed, they leave the process at once, where malloc would keep the
 * pages in its heap between smaller blocks. Larger ones still get huge pages, where the system gives them on
 * request. Address sanitizers watch malloc, so that they get everything. */
#if defined(__SANITIZE_ADDRESS__)
enum { MAP_FROM = 0 };
#else
enum { MAP_FROM = 1 << 18 };
#endif
enum { HUGE_PAGE = 1 << 21, HUGE_FROM = 4 * HUGE_PAGE };

static void *sys_alloc(void *ctx, size_t bytes)
{
    (void)ctx;
    return malloc(bytes);
}

static void sys_free(void *ctx, void *p)
{
    (void)ctx;
    free(p);
}

static void *map_block(size_t bytes, size_t *mapped)
{
    size_t unit = bytes >= HUGE_FROM ? HUGE_PAGE : 4096, n = (bytes + unit - 1) / unit * unit;
    size_t slack = bytes >= HUGE_FROM ? HUGE_PAGE : 0;
    char *p = mmap(NULL, n + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
    if (slack) { /* cut to whole huge pages */
        size_t front = (HUGE_PAGE - (uintptr_t)p % HUGE_PAGE) % HUGE_PAGE;
        if (front) munmap(p, front);
        if (slack - front) munmap(p + front + n, slack - front);
        p += front;
#if defined(MADV_HUGEPAGE)
        madvise(p, n, MADV_HUGEPAGE);
#endif
    }
    *mapped = n;
    return p;
}

static const struct wn_mem_hook sys_hook = {sys_alloc, sys_free, NULL};
static struct wn_mem_hook hook = {sys_alloc, sys_free, NULL};
static atomic_llong fail_in = -1;
static atomic_llong n_requests;
static atomic_size_t used, peak;

void wn_mem_set_hook(const struct wn_mem_hook *h)
{
    hook = h ? *h : sys_hook;
}

void wn_mem_fail_after(int64_t n)
{
    atomic_store(&fail_in, n);
}

size_t wn_mem_used(void)
{
    return atomic_load(&used);
}

size_t wn_mem_peak(void)
{
    return atomic_load(&peak);
}

void wn_mem_reset_peak(void)
{
    atomic_store(&peak, atomic_load(&used));
}

int64_t wn_mem_n_requests(void)
{
    return atomic_load(&n_requests);
}

size_t wn_size_mul(size_t a, size_t b)
{
    return b && a > SIZE_MAX / b ? SIZE_MAX : a * b;
}

size_t wn_size_add(size_t a, size_t b)
{
    return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}

static int must_fail(void)
{
    atomic_fetch_add(&n_requests, 1);
    if (atomic_load(&fail_in) < 0) return 0;
    return atomic_fetch_sub(&fail_in, 1) == 0;
}

static void count_up(size_t bytes)
{
    size_t now = atomic_fetch_add(&used, bytes) + bytes;
    size_t top = atomic_load(&peak);
    while (now > top && !atomic_compare_exchange_weak(&peak, &top, now)) {
    }
}

static struct header *header_of(void *p)
{
    return (struct header *)((char *)p - WN_ALIGN);
}

/* What a block takes from the system. */
static size_t counted(const struct header *h)
{
    return h->mapped ? h->mapped : h->bytes;
}

void *wn_alloc(size_t bytes)
{
    if (must_fail() || bytes > SIZE_MAX - 2 * WN_ALIGN) return NULL;
    size_t all = bytes + 2 * WN_ALIGN, mapped = 0;
    bool own = MAP_FROM && bytes >= MAP_FROM && hook.alloc == sys_alloc;
    char *base = own ? map_block(all, &mapped) : hook.alloc(hook.ctx, all);
    if (!base) return NULL;
    char *p = (char *)(((uintptr_t)base + 2 * WN_ALIGN - 1) & ~(uintptr_t)(WN_ALIGN - 1));
    *header_of(p) = (struct header){base, bytes, mapped};
    count_up(counted(header_of(p)));
    return p;
}

void *wn_zalloc(size_t bytes)
{
    void *p = wn_alloc(bytes);
    if (p) memset(p, 0, bytes);
    return p;
}

void *wn_alloc_n(size_t n, size_t size)
{
    return wn_alloc(wn_size_mul(n, size));
}

void *wn_zalloc_n(size_t n, size_t size)
{
    return wn_zalloc(wn_size_mul(n, size));
}

void *wn_realloc(void *p, size_t bytes)
{
    if (!p) return wn_alloc(bytes);
    void *q = wn_alloc(bytes);
    if (!q) return NULL;
    size_t old = header_of(p)->bytes;
    memcpy(q, p, old < bytes ? old : bytes);
    wn_free(p);
    return q;
}

void wn_free(void *p)
{
    if (!p) return;
    struct header *h = header_of(p);
    atomic_fetch_sub(&used, counted(h));
    if (h->mapped)
        munmap(h->base, h->mapped);
    else
        hook.free(hook.ctx, h->base);
}

char *wn_strndup(const char *s, size_t n)
{
    char *p = wn_alloc(wn_size_add(n, 1));
    if (!p) return NULL;
    memcpy(p, s, n);
    p[n] = 0;
    return p;
}

char *wn_strdup(const char *s)
{
    return wn_strndup(s, strlen(s));
}

char *wn_sprintf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *p = n < 0 ? NULL : wn_alloc((size_t)n + 1);
    if (!p) return NULL;
    va_start(ap, fmt);
    vsnprintf(p, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return p;
}

static int str_reserve(struct wn_str *s, size_t n)
{
    size_t max = s->max ? s->max : (size_t)1 << 30;
    if (n > max || s->n > max - n) return -1;
    size_t want = s->n + n + 1;
    if (want <= s->cap) return 0;
    size_t cap = s->cap ? s->cap : 64;
    while (cap < want) cap *= 2;
    char *p = wn_realloc(s->data, cap);
    if (!p) return -1;
    s->data = p;
    s->cap = cap;
    return 0;
}

int wn_str_add(struct wn_str *s, const void *data, size_t n)
{
    if (str_reserve(s, n)) return -1;
    if (n) memcpy(s->data + s->n, data, n);
    s->n += n;
    s->data[s->n] = 0;
    return 0;
}

int wn_str_addf(struct wn_str *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0 || str_reserve(s, (size_t)n)) return -1;
    va_start(ap, fmt);
    vsnprintf(s->data + s->n, (size_t)n + 1, fmt, ap);
    va_end(ap);
    s->n += (size_t)n;
    return 0;
}

void wn_str_clear(struct wn_str *s)
{
    s->n = 0;
    if (s->data) s->data[0] = 0;
}

void wn_str_release(struct wn_str *s)
{
    wn_free(s->data);
    *s = (struct wn_str){.max = s->max};
}
