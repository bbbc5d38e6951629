/* Pages of mapped files: brought in ahead of their use by a thread of its own, and given back. */
#ifndef WN_BASE_PAGES_H
#define WN_BASE_PAGES_H

#include <stddef.h>

#include "base/status.h"

/* Memory that this process may use: the machine's, or less where a control group says so. 0: not told. */
size_t wn_machine_memory(void);

struct wn_pages;
enum wan_status wn_pages_new(struct wn_pages **p, struct wn_err *err);
void wn_pages_free(struct wn_pages *p); /* what waits is dropped; NULL is fine */
/* Advice about [data, data + bytes) of a read-only map: it is needed soon, or not before others are. Returns
 * at once. Advice only: pages that do not come are read when they are touched, and where the system cannot do
 * it, or there is more of it than can wait, nothing happens. */
void wn_pages_soon(struct wn_pages *p, const void *data, size_t bytes);
void wn_pages_later(struct wn_pages *p, const void *data, size_t bytes);
/* Until what was asked for so far is done. */
void wn_pages_wait(struct wn_pages *p);

#endif
