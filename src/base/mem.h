/* The one way to allocate: 64-byte aligned blocks through a hook, counted, with a way to fail the Nth
 * request. */
#ifndef WN_BASE_MEM_H
#define WN_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

enum { WN_ALIGN = 64 };

/* All return NULL on failure (and never abort); size 0 gives a valid block. Thread-safe. */
void *wn_alloc(size_t bytes);
void *wn_zalloc(size_t bytes);           /* zero-filled */
void *wn_alloc_n(size_t n, size_t size); /* n * size, checked for overflow */
void *wn_zalloc_n(size_t n, size_t size);
void *wn_realloc(void *p, size_t bytes); /* keeps contents; on failure the old block stays valid */
void wn_free(void *p);                   /* NULL is fine */
char *wn_strdup(const char *s);
char *wn_strndup(const char *s, size_t n);
char *wn_sprintf(const char *fmt, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 1, 2)))
#endif
    ;

/* Replace the system allocator; call before anything is allocated. Blocks must be at least 16-byte aligned.
 */
struct wn_mem_hook {
    void *(*alloc)(void *ctx, size_t bytes);
    void (*free)(void *ctx, void *p);
    void *ctx;
};
void wn_mem_set_hook(const struct wn_mem_hook *hook); /* NULL: malloc and free again */

/* Tests: let `n` more requests succeed and fail the one after them (once). Negative: never fail. */
void wn_mem_fail_after(int64_t n);

/* Bytes held now, and the most ever held since the last reset. Excludes mapped files. */
size_t wn_mem_used(void);
size_t wn_mem_peak(void);
void wn_mem_reset_peak(void);
int64_t wn_mem_n_requests(void); /* since start: the N of a fail-the-Nth loop */

/* a * b and a + b, or SIZE_MAX when that overflows; wn_alloc(SIZE_MAX) fails. */
size_t wn_size_mul(size_t a, size_t b);
size_t wn_size_add(size_t a, size_t b);

/* Growable byte buffer with a ceiling. Zero-initialise. */
struct wn_str {
    char *data; /* always NUL-terminated once anything was appended */
    size_t n, cap;
    size_t max; /* 0: 1 GiB */
};
/* 0 on success, -1 when out of memory or past the ceiling (the buffer stays valid). */
int wn_str_add(struct wn_str *s, const void *data, size_t n);
int wn_str_addf(struct wn_str *s, const char *fmt, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;
void wn_str_clear(struct wn_str *s);
void wn_str_release(struct wn_str *s);

#endif
