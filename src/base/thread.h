/* A pool of threads that runs numbered tasks. Idle threads sleep; none spin. */
#ifndef WN_BASE_THREAD_H
#define WN_BASE_THREAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

struct wn_pool;

/* n_threads <= 0: one for each core this process may use. The caller's thread counts as one of them. */
enum wan_status wn_pool_new(struct wn_pool **pool, int n_threads, struct wn_err *err);
void wn_pool_free(struct wn_pool *pool); /* NULL is fine */
int wn_pool_n_threads(const struct wn_pool *pool);

/* Asked between tasks, from the thread that called wn_pool_run; non-zero stops the run early. */
void wn_pool_set_cancel(struct wn_pool *pool, int (*cancelled)(void *ctx), void *ctx);

/* Call fn(arg, task, thread) once for every task in [0, n_tasks), in any order, thread in [0, n_threads).
 * Returns when all are done: true, or false when cancelled (then some tasks never ran). Results must not
 * depend on which thread ran a task. One run at a time per pool; not to be called from within a task. */
bool wn_pool_run(struct wn_pool *pool, int64_t n_tasks, void (*fn)(void *arg, int64_t task, int thread),
                 void *arg);

/* A thread for work in the background. */
struct wn_thread;
enum wan_status wn_thread_start(struct wn_thread **thread, void (*fn)(void *arg), void *arg,
                                struct wn_err *err);
void wn_thread_join(struct wn_thread *thread); /* waits for fn to return; NULL is fine */

int wn_cpu_count(void); /* cores this process may run on */

#endif
